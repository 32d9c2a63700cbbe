"""The network "attentive" for images: labels attend to where they show, and paint maps of their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ccvae.model.networks.attention import LabelAttention
from ccvae.model.networks.conv import conv_encoder
from ccvae.model.networks.painting import PaintingDecoder
from ccvae.model.networks.separate import SeparateEncoder
from ccvae.model.networks.stages import COARSEST_SIDE, stages_to

__all__ = ["attentive_networks"]


def attentive_networks(
    shape: Sequence[int], latent: int, sizes: Sequence[int], width: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """Encoder: attention for the labels' blocks and convolutions for the style. Decoder: every label paints maps of its own."""
    style = latent - sum(sizes)
    labels = LabelAttention(shape, sizes, width, dropout)
    encoder = SeparateEncoder(labels, conv_encoder(shape, 2 * style, width, 0.0) if style else None)
    return encoder, PaintingDecoder(shape, sizes, style, width, stages_to(COARSEST_SIDE, shape[1:]))
