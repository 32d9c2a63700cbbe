"""Layout of the latent vector: one block for each label, in order, then the style."""

from __future__ import annotations

from collections.abc import Mapping

from ccvae.config import ModelConfig
from ccvae.distributions.normal_nodes import LATTICES
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.label_blocks.binary import BinaryBlocks
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks

__all__ = ["block_slices", "build_blocks"]


def block_slices(space: LabelSpace, config: ModelConfig) -> list[slice]:
    """Slices of the labels' blocks in the latent vector.

    Raises:
        ValueError: a name in `block_dim` is no label, or `latent_dim` is too small for the blocks.
    """
    assert config.block_dim is not None, "see ccvae.model.defaults.resolved"
    sizes = config.block_dim if isinstance(config.block_dim, Mapping) else dict.fromkeys(space.names, config.block_dim)
    for name in sizes:
        space.index(name)
    slices, start = [], 0
    for label in space:
        smallest = len(label.values) - 1 if isinstance(label, Categorical) else 1
        stop = start + max(sizes.get(label.name, 1), smallest)
        slices.append(slice(start, stop))
        start = stop
    if 0 < config.latent_dim < start:
        raise ValueError(
            f"latent_dim: the blocks of {len(space)} labels need {start} dimensions (and the style some more), "
            f"found {config.latent_dim}; raise latent_dim (0 chooses it), or lower block_dim"
        )
    return slices


def build_blocks(space: LabelSpace, slices: list[slice], components: int = 1) -> list[LabelBlocks]:
    """Label blocks: one module for all labels with the same kind, number of values and block size.

    Args:
        space: the labels.
        slices: see `block_slices`.
        components: number of Normals of each p(z_i|y_i) of binary and categorical labels.
    """
    groups: dict[tuple[str, int, int], list[int]] = {}
    for column, label in enumerate(space):
        values = 0 if isinstance(label, Continuous) else len(label.values)
        groups.setdefault((label.kind, values, slices[column].stop - slices[column].start), []).append(column)
    blocks: list[LabelBlocks] = []
    for columns in groups.values():
        labels = [space.labels[column] for column in columns]
        latents = [list(range(slices[column].start, slices[column].stop)) for column in columns]
        if binary := [label for label in labels if isinstance(label, Binary)]:
            blocks.append(BinaryBlocks(columns, latents, binary, components))
        if categorical := [label for label in labels if isinstance(label, Categorical)]:
            kind = LatticeBlocks if len(latents[0]) in LATTICES else SampledBlocks
            blocks.append(kind(columns, latents, categorical, components))
        if continuous := [label for label in labels if isinstance(label, Continuous)]:
            blocks.append(ContinuousBlocks(columns, latents, continuous))
    return blocks
