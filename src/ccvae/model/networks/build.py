"""What encoders and decoders are, and how the configured ones are built for the shape of the data.

An encoder is any module from inputs `(batch, *shape)` to `(batch, 2 * latent_dim)`: means, then scales before softplus. A
decoder is any module from `(batch, latent_dim)` to `(batch, *shape)`, before the likelihood's sigmoid. One file per network.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ccvae.config import ModelConfig
from ccvae.model.defaults import resolved
from ccvae.model.networks.attentive import attentive_networks
from ccvae.model.networks.conv import conv_networks
from ccvae.model.networks.mlp import mlp_networks, separate_mlp_networks
from ccvae.model.networks.paper import paper_networks

__all__ = ["Decoder", "Encoder", "build_decoder", "build_encoder"]

SMALLEST_SIDE, LARGEST_SIDE = 16, 256
"""Sides of images that the networks take, in pixels."""
HIDDEN_UNITS_PER_WIDTH = 8
"""Units of a hidden layer of a multilayer perceptron, per unit of `ModelConfig.width`."""


class Encoder(Protocol):
    """Any function from inputs `(batch, *shape)` to means and unconstrained scales, `(batch, 2 * latent_dim)`."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Encode."""
        ...


class Decoder(Protocol):
    """Any function from latents `(batch, latent_dim)` to the data's location before the sigmoid, `(batch, *shape)`."""

    def __call__(self, z: Tensor, /) -> Tensor:
        """Decode."""
        ...


def build_encoder(config: ModelConfig, shape: Sequence[int], sizes: Sequence[int] = ()) -> nn.Module:
    """Encoder of a configuration.

    Args:
        config: the configuration, with a `latent_dim`.
        shape: of one input.
        sizes: dimensions of each label's block, which come first in the latent vector; needed by networks in which labels have
            parts of their own.

    Raises:
        ValueError: the shape is neither (channels, height, width) with sides from 16 to 256 nor (features,), or the network
            cannot take it.
    """
    if config.encoder is not None:
        return class_at(config.encoder)(tuple(shape), 2 * config.latent_dim)
    return build_networks(config, tuple(shape), sizes)[0]


def build_decoder(config: ModelConfig, shape: Sequence[int], sizes: Sequence[int] = ()) -> nn.Module:
    """Decoder of a configuration; arguments and errors as `build_encoder`'s."""
    if config.decoder is not None:
        return class_at(config.decoder)(config.latent_dim, tuple(shape))
    return build_networks(config, tuple(shape), sizes)[1]


def build_networks(config: ModelConfig, shape: tuple[int, ...], sizes: Sequence[int] = ()) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of one of our own networks."""
    image = len(shape) == 3
    if len(shape) not in (1, 3):
        raise ValueError(f"inputs must be (channels, height, width) or (features,), not {shape}")
    if image and not SMALLEST_SIDE <= min(shape[1:]) <= max(shape[1:]) <= LARGEST_SIDE:
        raise ValueError(
            f"images must have sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, not {shape[1]}×{shape[2]}; resize them"
        )
    network = resolved(config, len(sizes) or 1, shape).network
    if not image and network not in ("attentive", "mlp"):
        raise ValueError(f"network {network!r} is for images; for vectors of {shape[0]} features choose attentive or mlp")
    latent, width, dropout = config.latent_dim, config.width, config.dropout
    hidden = HIDDEN_UNITS_PER_WIDTH * width
    if network == "attentive":
        if not sizes:
            raise ValueError("network 'attentive' has parts for each label: give the sizes of their blocks")
        if image:
            return attentive_networks(shape, latent, sizes, width, dropout)
        return separate_mlp_networks(shape, latent, sizes, hidden, dropout)
    if network == "paper":
        return paper_networks(shape, latent, dropout)
    if network == "mlp":
        return mlp_networks(shape, latent, hidden, dropout)
    return conv_networks(shape, latent, width, dropout, residual=network == "resnet")


def check_image_size(config: ModelConfig, size: int) -> None:
    """Raise `ValueError` if the configured networks cannot take square images of a size, before any are read."""
    with torch.device("meta"):
        if config.encoder is None and config.decoder is None:
            shape = (3, size, size)
            build_networks(resolved(replace(config, latent_dim=max(2, config.latent_dim)), 1, shape), shape, (1,))


def class_at(path: str) -> type[nn.Module]:
    """Class of a path "package.module:Class".

    This imports the module, which runs its code: only for paths that the caller chose, never for those that a file names.

    Raises:
        ValueError: there is no such class, or it is not a subclass of `nn.Module`; nothing of it is called then.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'no network {path!r}: {error}; write "package.module:Class", importable from here') from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"network {path!r}: expected a subclass of torch.nn.Module, found {found!r}")
    return found
