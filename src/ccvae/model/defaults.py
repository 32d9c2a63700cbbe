"""What a model's settings leave open, chosen for the shape of the data. A run folder keeps what was chosen."""

from __future__ import annotations

from dataclasses import replace

from ccvae.config import ModelConfig

__all__ = ["as_first_saved", "resolved"]

ATTENTIVE_BLOCK, OTHER_BLOCK = 8, 2
"""Dimensions of a label's block with the network "attentive" and with others, where they are not configured."""


def resolved(config: ModelConfig, labels: int, input_shape: tuple[int, ...]) -> ModelConfig:
    """Settings with the network and the size of blocks chosen.

    Args:
        config: the settings.
        labels: number of labels.
        input_shape: shape of one input.
    """
    network = config.network
    if network == "auto":
        network = "attentive" if len(input_shape) == 3 else "mlp"
    block_dim = config.block_dim
    if block_dim is None:
        block_dim = ATTENTIVE_BLOCK if network == "attentive" else OTHER_BLOCK
        if config.latent_dim:  # the style gets at least as much as a block
            block_dim = max(1, min(block_dim, config.latent_dim // (labels + 1)))
    return replace(config, network=network, block_dim=block_dim)


def as_first_saved(config: ModelConfig, input_shape: tuple[int, ...]) -> ModelConfig:
    """Settings from a run folder; the first ones keep "auto", which was "conv" for images then."""
    if config.network != "auto":
        return config
    return replace(config, network="conv" if len(input_shape) == 3 else "mlp")
