"""Data that are in memory already: NumPy arrays, torch tensors and data sets, pandas tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.findings import Delimiter
from ccvae.data.missing_values import MissingValues
from ccvae.data.parsing import choose_columns, parse_labels
from ccvae.data.splits import split_rows
from ccvae.data.stratification import memberships
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few
from ccvae.model.inputs.column_kinds import Number
from ccvae.model.inputs.columns import InputColumns

__all__ = ["arrays"]

CHANNELS = (1, 3)


def arrays(
    inputs: Any,
    labels: Any = None,
    *,
    label_names: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    ids: Sequence[Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    missing_values: MissingValues = None,
    delimiter: Delimiter = None,
    channels_first: bool | None = None,
    groups: Sequence[Any] | None = None,
    splits: Mapping[str, Sequence[int] | np.ndarray] | None = None,
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """Inputs and labels from memory.

    Args:
        inputs: images `(rows, height, width)`, `(rows, height, width, channels)` or `(rows, channels, height, width)`, as whole
            numbers from 0 to 255 or floats from 0 to 1 (kept with 8 bits); vectors `(rows, features)`, taken as they are;
            or a list, torch data set or data loader of such inputs, or of pairs of input and label.
        labels: a pandas table, or columns by name; or an array `(rows,)` or `(rows, labels)`. NaN and None mean *not observed*.
            Not needed where the items of `inputs` are pairs.
        label_names: names of the labels, where `labels` has none; "label", or "label 1", "label 2", …, if not given.
        exclude: columns of a pandas table that are no labels. Those of free text, or with one value throughout, are left out
            with a note.
        ids: texts that name the rows; their numbers if not given.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed (see `LabelSpace.infer`).
        space: labels that are known, such as a trained model's; nothing is guessed or fitted then. Of a table, only its
            columns are read.
        missing_values: values that mean *not observed*, such as -1 or "Unknown" (see `ccvae.data.image_folder`).
        delimiter: what separates findings in a label's cells (see `ccvae.data.image_folder`).
        channels_first: whether channels come before height and width; needed only where the shape leaves it open.
        groups: `(rows,)`, such as patients; each group stays whole in one split.
        splits: row numbers of "train", "validation" and "test" (the last two may be left out), instead of a random
            split stratified by labels.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of rows to validate on.
        test: number (int) or fraction (float) of rows to test on.
        seed: random seed of the splits and of which labels are hidden.
        name: what reports call the data.

    Raises:
        ValueError: shapes disagree, pixels are out of range, vectors not finite, labels unknown, constant or never observed.

    >>> pictures = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    >>> data = arrays(pictures, {"bright": [0, 1, None, 1] * 5})
    >>> data.input_shape, data.space.names, len(data.splits["train"])
    ((1, 16, 16), ('bright',), 16)
    """
    if not isinstance(inputs, np.ndarray | torch.Tensor | pd.DataFrame):
        inputs, labels = collected(inputs, labels)
    columns = None
    if isinstance(inputs, pd.DataFrame):  # numbers as they are, found by name in new rows
        columns = InputColumns(tuple(Number(str(name).strip(), 0.0, 1.0) for name in inputs.columns))
    pixels = as_inputs(inputs, channels_first)
    table = as_table(labels, label_names)
    if len(table) != len(pixels):
        raise ValueError(f"{len(pixels)} inputs, but {len(table)} rows of labels; the counts must agree")
    if len(pixels) < 2:
        raise ValueError(f"{len(pixels)} rows are too few to learn from")
    wanted = None if space is None else space.names
    chosen = choose_columns(table, wanted, (), "labels", delimiter=delimiter, exclude=exclude, missing_values=missing_values)
    named = label_names is not None or not isinstance(labels, pd.DataFrame)
    parsed = parse_labels(chosen.table, "labels", kinds=kinds, space=space, exact=chosen.exact, drop_unusable=not named)
    grouped = None if groups is None else np.array([str(group) for group in groups])
    if splits is None:
        parts = split_rows(len(pixels), validation, test, seed, grouped, memberships(parsed.array, parsed.space))
    else:
        parts = {split: np.sort(np.asarray(rows, dtype=np.int64)) for split, rows in splits.items()}
        parts |= {split: np.array([], dtype=np.int64) for split in ("validation", "test") if split not in parts}
    return assemble(
        pixels,
        parsed,
        [str(row) for row in (range(len(pixels)) if ids is None else ids)],
        parts,
        name=name,
        source="labels",
        fit_priors=space is None,
        labelled=labelled,
        seed=seed,
        groups=grouped,
        columns=columns,
        notes=chosen.notes,
        warnings=chosen.warnings,
    )


def collected(items: Any, labels: Any) -> tuple[np.ndarray, Any]:
    """Inputs and labels of a sequence of items."""
    drawn = items_of(items)
    if drawn and isinstance(drawn[0], tuple | list) and len(drawn[0]) == 2 and labels is None:
        found = [label for _, label in drawn]
        drawn = [item for item, _ in drawn]
        labels = pd.DataFrame(list(found)) if isinstance(found[0], Mapping) else [plain(label) for label in found]
    inputs = [np.asarray(item[0] if isinstance(item, tuple) else item) for item in drawn]
    shapes = sorted({item.shape for item in inputs})
    if len(shapes) != 1:
        raise ValueError(f"inputs must all have one shape, found {first_few([str(shape) for shape in shapes])}")
    return np.stack(inputs), labels


def items_of(items: Any) -> list[Any]:
    """Items of a sequence or torch data set, with a length or without one, or rows of a data loader's batches."""
    if isinstance(items, DataLoader):
        return [row for batch in items for row in rows_of(batch)]
    if isinstance(items, str | bytes | Mapping) or items is None:
        raise ValueError(f"inputs must be an array, tensor, table or data set, not {type(items).__name__}")
    if hasattr(items, "__len__") and hasattr(items, "__getitem__"):
        drawn = [items[row] for row in range(len(items))]
    elif hasattr(items, "__iter__"):
        drawn = list(items)
    else:
        raise ValueError(f"inputs must be an array, tensor, table or data set, not {type(items).__name__}")
    if drawn and isinstance(drawn[0], Mapping):
        raise ValueError("inputs: items are mappings; for a data set of Hugging Face see ccvae.data.hugging_face")
    return drawn


def rows_of(batch: Any) -> list[Any]:
    """Rows of a batch: inputs, or pairs of input and label."""
    return list(zip(*batch, strict=True)) if isinstance(batch, tuple | list) else list(batch)


def plain(label: Any) -> Any:
    """A label as numbers, where it is a tensor of them."""
    return label.tolist() if isinstance(label, torch.Tensor | np.ndarray) else label


def as_inputs(inputs: np.ndarray | torch.Tensor | pd.DataFrame, channels_first: bool | None) -> np.ndarray:
    """Inputs as a `Dataset` holds them: uint8 images, channels last, or float32 vectors."""
    if isinstance(inputs, torch.Tensor):
        if inputs.ndim == 4 and channels_first is None:
            channels_first = inputs.shape[1] in CHANNELS  # as torch has it
        inputs = inputs.detach().cpu().numpy()
    elif isinstance(inputs, pd.DataFrame):
        text = [str(name) for name, kind in inputs.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        if text:
            raise ValueError(
                f"columns of inputs that are no numbers: {first_few(text)}; see ccvae.data.table for mixed columns"
            )
        inputs = inputs.to_numpy(dtype=np.float64, na_value=np.nan)
    if inputs.ndim == 2:
        return inputs.astype(np.float32)
    if inputs.ndim == 3:
        inputs = inputs[..., None]
    elif inputs.ndim == 4:
        if channels_first is None:
            fitting = [axis for axis in (1, 3) if inputs.shape[axis] in CHANNELS]
            if len(fitting) == 2:
                raise ValueError(f"images of shape {inputs.shape}: which axis holds the channels? Pass channels_first")
            channels_first = fitting == [1]
        if channels_first:
            inputs = np.moveaxis(inputs, 1, 3)
    else:
        raise ValueError(f"inputs must be images (3 or 4 axes) or vectors (2 axes), not of shape {inputs.shape}")
    if inputs.shape[3] not in CHANNELS:
        raise ValueError(f"images must have 1 or 3 channels, found the shape {inputs.shape}")
    return as_bytes(inputs)


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Images as uint8."""
    if images.dtype == np.uint8:
        return images
    if images.dtype == bool:
        return images.astype(np.uint8) * 255
    most = 1 if images.dtype.kind == "f" else 255
    wrong = np.flatnonzero(~((images >= 0) & (images <= most)).reshape(len(images), -1).all(axis=1))  # NaN is wrong too
    if len(wrong):
        offenders = first_few([f"row {row} from {images[row].min():g} to {images[row].max():g}" for row in wrong])
        raise ValueError(f"images of type {images.dtype} must lie in 0 to {most}; found {offenders}")
    return np.rint(images * 255).astype(np.uint8) if most == 1 else images.astype(np.uint8)


def as_table(labels: Any, names: Sequence[str] | None) -> pd.DataFrame:
    """Labels as a table, one column a label."""
    if labels is None:
        raise ValueError("labels are missing: pass a table, columns by name, or an array")
    if isinstance(labels, pd.DataFrame):
        table = labels
    elif isinstance(labels, Mapping):
        table = pd.DataFrame({name: pd.Series(list(plain(column)), dtype=object) for name, column in labels.items()})
    elif isinstance(labels, pd.Series):
        table = labels.to_frame(labels.name or "label")
    else:
        rows = [row if isinstance(row, list | tuple) else [row] for row in (plain(label) for label in plain(labels))]
        table = pd.DataFrame(rows, dtype=object)
        names = names or (["label"] if table.shape[1] == 1 else [f"label {number + 1}" for number in range(table.shape[1])])
    if names is not None:
        if len(names) != table.shape[1]:
            raise ValueError(f"{len(names)} label names for {table.shape[1]} columns of labels: {', '.join(names)}")
        table = table.set_axis(list(names), axis=1)
    return table.reset_index(drop=True).rename_axis("row")
