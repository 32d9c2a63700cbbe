"""Actions of a trained model: reconstruct, generate, intervene, traverse and transfer.

Every function changes label blocks of latents and decodes. Results are expected inputs `(rows, *input_shape)`, images in [0,
1], in the order of the given images. A strength is a quantile of p(z_i|y_i) along the direction in which the classifier's logit
of the label grows: 0.5 is the typical case, 0.95 shows the label strongly. Sample k uses its own seed, `seed + k`, so it does
not depend on the number of samples. Models of tables give tables in their columns' own units, unless they are given tensors.

With several `prior_components`, each draw from p(z_i|y_i) is from one component, and a strength is a quantile of one component:
of that from which the image's present block most probably comes (`intervene`), of one that is drawn (`generate`), or of the
most probable one (`traverse`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ccvae.labels import Continuous
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.model.outputs import Conditions, as_given, label_rows

__all__ = ["generate", "intervene", "reconstruct", "transfer", "traverse"]


@torch.no_grad()
def reconstruct(model: LatentModel, images: Any) -> Any:
    """Reconstruct images (see `CCVAE.inputs`): decoded posterior means, `(rows, *input_shape)`."""
    opened = model.opened(images)
    return as_given(model, model.decode(model.encode(opened).loc), images, opened)


@torch.no_grad()
def generate(
    model: LatentModel,
    count: int | None = None,
    given: Conditions | None = None,
    seed: int = 0,
    strength: float | None = None,
) -> Any:
    """Generate new images with given labels.

    Args:
        model: the model.
        count: number of images; not needed where `given` is a table.
        given: label values by name, or a table with one row for each image; labels not given are drawn from the label prior.
        seed: sample k uses seed + k.
        strength: quantile of p(z_i|y_i) at which the given labels show; None draws their blocks from p(z_i|y_i).

    Returns:
        `(count, *input_shape)`, or a table.

    Raises:
        ValueError: an unknown label or value, or a strength outside (0, 1).
    """
    if count is None and isinstance(given, pd.DataFrame):
        count = len(given)
    if count is None:
        raise ValueError("count: give the number of rows, or a DataFrame of conditions, given, with one row for each")
    if count < 1:
        raise ValueError(f"count: expected at least 1, found {count}")
    noise, uniform = sample_noise(model, count, seed)
    y = model.draw_labels(uniform)
    z = with_labels(model, noise, y, None, noise, model.remaining_uniform(uniform, y))
    if given is not None and len(given):
        z = with_labels(model, z, label_rows(model, given, count, "given"), strength, noise, uniform)
    return as_given(model, model.decode(z), None)


@torch.no_grad()
def intervene(model: LatentModel, images: Any, changes: Conditions, strength: float | None = 0.5, seed: int = 0) -> Any:
    """Set labels of images to other values, and leave everything else as it is.

    Args:
        model: the model.
        images: see `CCVAE.inputs`.
        changes: label values by name, or a table with one row for each image, where empty cells leave a label as it is.
        strength: quantile of p(z_i|y_i) at which the labels show; None draws a block from p(z_i|y_i) for every image.
        seed: seed of those draws; image k uses seed + k.

    Returns:
        `(rows, *input_shape)`, or a table.

    Raises:
        ValueError: an unknown label or value, no change, or a strength outside (0, 1).
    """
    opened = model.opened(images)
    z = model.encode(opened).loc
    y = label_rows(model, changes, len(z), "changes", opened.read_ids)
    if bool(y.isnan().all()):
        raise ValueError("changes: name at least one label and the value it is to have")
    noise, uniform = sample_noise(model, len(z), seed) if strength is None else (None, None)
    return as_given(model, model.decode(with_labels(model, z, y, strength, noise, uniform)), images, opened)


@torch.no_grad()
def traverse(
    model: LatentModel,
    images: Any,
    labels: str | Sequence[str],
    steps: int = 9,
    strength: float = 0.95,
    between: Mapping[str, tuple[Any, Any]] | None = None,
) -> Any:
    """Move images along a label's characteristic, from one value to another.

    Args:
        model: the model.
        images: see `CCVAE.inputs`.
        labels: one label's name, or two for a plane.
        steps: number of images along each label, at least 2.
        strength: quantile of p(z_i|y_i) at which the first and the last value show.
        between: first and last value by label name; by default both values of a binary label, the first and last class of a
            categorical one, and two standard deviations below and above the mean of a continuous one.

    Returns:
        `(rows, steps, *input_shape)`, or `(rows, steps, steps, *input_shape)` for two labels, the first of which changes along
        the first axis of steps.

    Raises:
        ValueError: an unknown label or value, more than two labels, or fewer than two steps.
    """
    names = [labels] if isinstance(labels, str) else list(labels)
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise ValueError(f"labels: expected one label or two different ones, found {', '.join(names) or 'none'}")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, found {steps}")
    opened = model.opened(images)
    mu = model.encode(opened).loc
    walks = [walk(model, name, steps, strength, (between or {}).get(name)) for name in names]
    z = mu.reshape(len(mu), *[1] * len(names), -1).repeat(1, *[steps] * len(names), 1)
    for axis, (name, along) in enumerate(zip(names, walks, strict=True)):
        shape = [1, *[1] * len(names), along.shape[-1]]
        shape[1 + axis] = steps
        z[..., model.block_slices[model.space.index(name)]] = along.reshape(shape)
    walked = model.decode(z.flatten(0, -2)).reshape(*z.shape[:-1], *model.input_shape)
    return as_given(model, walked, images, opened)


@torch.no_grad()
def transfer(model: LatentModel, source: Any, target: Any, labels: Sequence[str]) -> Any:
    """Give targets the characteristics of sources: the value of each named label, and how it shows.

    Args:
        model: the model.
        source: one image for all targets, or one for each.
        target: see `CCVAE.inputs`.
        labels: names of the labels whose blocks are copied.

    Returns:
        `(rows, *input_shape)`.

    Raises:
        ValueError: an unknown label, none, or counts that do not match.
    """
    if isinstance(labels, str):
        labels = [labels]
    if not labels:
        raise ValueError("labels: name at least one label to transfer")
    opened = model.opened(target)
    z_source, z = model.encode(source).loc, model.encode(opened).loc.clone()
    if len(z_source) not in (1, len(z)):
        raise ValueError(f"source: expected 1 or {len(z)} images, as many as targets, found {len(z_source)}")
    for name in labels:
        block = model.block_slices[model.space.index(name)]
        z[:, block] = z_source[:, block]
    return as_given(model, model.decode(z), target, opened)


def block_of(model: LatentModel, column: int) -> tuple[LabelBlocks, int]:
    """The block module of a label, and the label's position in it."""
    for block in model.label_blocks():
        if column in block.columns.tolist():
            return block, block.columns.tolist().index(column)
    raise AssertionError(f"no block for label {column}")


def across(block: LabelBlocks, wanted: Tensor) -> Tensor:
    """One label's values `(rows,)`, repeated for all labels of a block module: `(rows, labels)`."""
    return wanted[:, None].expand(-1, len(block.columns))


def walk(model: LatentModel, name: str, steps: int, strength: float, between: tuple[Any, Any] | None) -> Tensor:
    """Blocks `(steps, d)` on the straight line between the blocks of two values."""
    column = model.space.index(name)
    label = model.space.labels[column]
    ends = label.ends if between is None else (label.encode(between[0]), label.encode(between[1]))
    block, position = block_of(model, column)
    y = torch.tensor(ends, device=model.device)
    # the ends of a continuous label are extreme values already
    quantile = 0.5 if isinstance(label, Continuous) else checked_strength(strength)
    first, last = block.quantile(across(block, y), quantile)[:, position]
    along = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)[:, None]
    walked: Tensor = first + (last - first) * along
    return walked


def with_labels(
    model: LatentModel,
    z: Tensor,
    y: Tensor,
    strength: float | None,
    noise: Tensor | None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Latents whose blocks are set by p(z_i|y_i).

    Args:
        model: the model.
        z: latents `(rows, latent_dim)`.
        y: labels `(rows, labels)`; where they are NaN, blocks stay as they are.
        strength: quantile of p(z_i|y_i); None draws from it.
        noise: standard Normal numbers for draws, `(rows, latent_dim)`.
        uniform: numbers in (0, 1) that choose components, `(rows, labels)`, independent of y. If they are not given, components
            are those that the present blocks most probably come from.
    """
    z = z.clone()
    given = ~y.isnan()
    y = y.nan_to_num()
    for block in model.label_blocks():
        values = y[:, block.columns].to(z.dtype)
        if uniform is None:
            prior = block.likely_component(values, z[:, block.latents])
        else:
            prior = block.component(values, uniform[:, block.columns])
        if strength is None:
            assert noise is not None
            blocks = prior.loc + prior.scale * noise[:, block.latents]
        else:
            blocks = block.quantile(values, checked_strength(strength), prior)
        for position, column in enumerate(block.columns.tolist()):
            where = block.latents[position]
            z[:, where] = torch.where(given[:, column, None], blocks[:, position], z[:, where])
    return z


def checked_strength(strength: float) -> float:
    """The strength; raises `ValueError` unless it is a quantile."""
    if not 0 < strength < 1:
        raise ValueError(f"strength: a quantile, expected above 0 and below 1, found {strength}")
    return strength


def sample_noise(model: LatentModel, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Normal noise `(count, latent_dim)` and uniform noise `(count, labels)`; row k uses seed + k.

    They have the model's precision, and single precision at least.
    """
    normal, uniform = torch.empty(count, model.config.latent_dim), torch.empty(count, len(model.space))
    generator = torch.Generator()
    for row in range(count):
        generator.manual_seed(seed + row)
        normal[row].normal_(generator=generator)
        uniform[row].uniform_(generator=generator)
    dtype = torch.promote_types(torch.float32, next(model.parameters()).dtype)
    return normal.to(model.device, dtype), uniform.to(model.device, dtype)
