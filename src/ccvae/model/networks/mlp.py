"""Multilayer perceptrons, for vectors and small images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from ccvae.model.networks.separate import SeparateEncoder

__all__ = ["mlp_networks", "separate_mlp_networks"]


def mlp_networks(shape: Sequence[int], latent: int, hidden: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """Two hidden layers with batch normalisation each way."""
    encoder = mlp_encoder(shape, 2 * latent, hidden, dropout)
    decoder = [*mlp_layers(latent, hidden), nn.Linear(hidden, math.prod(shape)), nn.Unflatten(1, tuple(shape))]
    return encoder, nn.Sequential(*decoder)


def mlp_encoder(shape: Sequence[int], outputs: int, hidden: int, dropout: float) -> nn.Module:
    """Two hidden layers with batch normalisation, and dropout before the outputs."""
    layers = mlp_layers(math.prod(shape), hidden)
    return nn.Sequential(nn.Flatten(), *layers, nn.Dropout(dropout), nn.Linear(hidden, outputs))


def mlp_layers(inputs: int, hidden: int) -> list[nn.Module]:
    """Two hidden layers."""
    return [
        *[nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
        *[nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)],
    ]


def separate_mlp_networks(
    shape: Sequence[int], latent: int, sizes: Sequence[int], hidden: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """One network for the labels' blocks and one for the style; the decoder is that of "mlp"."""
    style = latent - sum(sizes)
    labels = mlp_encoder(shape, 2 * sum(sizes), hidden, dropout)
    encoder = SeparateEncoder(labels, mlp_encoder(shape, 2 * style, hidden, 0.0) if style else None)
    return encoder, mlp_networks(shape, latent, hidden, 0.0)[1]
