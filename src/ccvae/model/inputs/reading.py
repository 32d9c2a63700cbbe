"""Inputs as people have them: tables, image files, folders, PIL images, arrays, tensors, data sets and loaders.

They are read a few rows at a time, so that memory stays flat however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ccvae.labels.cells import first_few
from ccvae.model.inputs.decoding import UNREADABLE, decode, pixels_of, reason
from ccvae.model.inputs.files import files_of
from ccvae.model.inputs.format import InputFormat

__all__ = ["Inputs", "open_inputs"]

Batches = Callable[[int], Iterator[Tensor]]


@dataclass
class Inputs:
    """Rows to be read a few at a time.

    Args:
        batches: called with a number of rows, gives tensors `(rows, *input_shape)` of at most as many rows, images as uint8 or
            as floats in [0, 1].
        ids: what names the rows; None where nothing does.
        broken: files that could not be read and why, after all were read; only where these are passed over.
        kept: positions in `ids` of the rows that were read, where broken files are passed over.
    """

    batches: Batches
    ids: pd.Index | None = None
    broken: list[str] = field(default_factory=list)
    kept: list[int] | None = None

    @property
    def read_ids(self) -> pd.Index | None:
        """Ids of the rows that were read, after all were."""
        return self.ids if self.ids is None or self.kept is None else self.ids[self.kept]


def open_inputs(given: Any, shape: tuple[int, ...], form: InputFormat, skip_broken: bool = False) -> Inputs:
    """Inputs of a model from anything that people have.

    Args:
        given: a tensor or array, one input or several (floats as the model takes them, or uint8 images, channels first or last,
            or left out of grey ones); a table of raw rows with the columns of training, or one such row; paths of image files
            or folders; PIL images; a data set or data loader whose items are such inputs, or tuples that begin with one.
        shape: `(channels, height, width)` or `(features,)` of the model.
        form: how tables and images become inputs.
        skip_broken: pass over image files that cannot be read, and list them, instead of an error.

    Raises:
        ValueError: this is nothing that the model can take.
        FileNotFoundError: there is no such file or folder.
    """
    if isinstance(given, Tensor):
        return Inputs(partial(split_tensor, several(given, shape)))
    if isinstance(given, Mapping):
        given = pd.DataFrame([given])  # one row by column
    if isinstance(given, pd.Series) and form.columns is not None:
        given = given.to_frame().T
    if isinstance(given, pd.DataFrame):
        return table_inputs(given, shape, form)
    if isinstance(given, str | Path) or is_list_of(given, (str, Path)):
        return file_inputs([given] if isinstance(given, str | Path) else given, shape, form, skip_broken)
    if isinstance(given, Image.Image):
        return item_inputs([given], shape, form)
    if isinstance(given, DataLoader):
        return Inputs(partial(loader_batches, given, shape, form))
    if hasattr(given, "tensor") and hasattr(given, "ids"):  # a data set of ccvae.data
        return Inputs(lambda size: dataset_batches(given, shape, size), pd.Index(given.ids, name="id"))
    if isinstance(given, np.ndarray) and given.dtype != object:
        return Inputs(partial(split_array, several(checked_array(given, form), shape)))
    if is_list_of(given, (int, float, list, tuple)) and not holds_items(given):
        return Inputs(partial(split_array, several(checked_array(np.array(given), form), shape)))
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return item_inputs(given, shape, form)
    if hasattr(given, "__array__"):
        return Inputs(partial(split_array, several(checked_array(np.asarray(given), form), shape)))
    raise ValueError(
        f"inputs: expected an array, tensor, table, image, path, data set or data loader, found {type(given).__name__}"
    )


def is_list_of(given: Any, kinds: tuple[type, ...]) -> bool:
    """Whether something is a list or tuple, not empty, of things of some kinds."""
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(each, kinds) for each in given)


def holds_items(given: Sequence[Any]) -> bool:
    """Whether a list holds pairs such as (image, label) rather than numbers."""
    return any(
        isinstance(part, str | Path | Image.Image | Tensor | np.ndarray)
        for each in given
        if isinstance(each, list | tuple)
        for part in each
    )


def checked_array(array: np.ndarray, form: InputFormat) -> np.ndarray:
    """An array; raises `ValueError` if the model was trained on a table, for raw and standardised numbers look the same."""
    if form.columns is not None and not form.columns.identity:
        names = ", ".join(column.name for column in form.columns.columns)
        raise ValueError(
            f"inputs: the model was trained on a table, and an array may hold raw or standardised numbers; give raw rows as a "
            f"DataFrame with the columns {names}, or vectors as the model takes them as a tensor, such as data.tensor()"
        )
    return array


def several(given: Any, shape: tuple[int, ...]) -> Any:
    """One input or several, an array or tensor, as `(rows, *shape)`, channels last only if the shape leaves no other way.

    Raises:
        ValueError: the shape is not the model's.
    """
    found = tuple(given.shape)
    if len(shape) == 3 and shape[0] == 1 and found[-2:] == shape[1:] and given.ndim in (2, 3) and found != shape:
        given = given.reshape(-1, *shape)  # grey images without an axis of channels
    elif given.ndim == len(shape):
        given = given[None]
    if len(shape) == 3 and given.ndim == 4 and tuple(given.shape[1:]) != shape:
        given = given.permute(0, 3, 1, 2) if isinstance(given, Tensor) else given.transpose(0, 3, 1, 2)
    if tuple(given.shape[1:]) != shape:
        raise ValueError(f"inputs: the model takes (rows, {', '.join(map(str, shape))}), found {found}")
    return given


def split_tensor(x: Tensor, size: int) -> Iterator[Tensor]:
    """Rows of a tensor, a few at a time; one empty part if there are none."""
    yield from x.split(size)


def split_array(x: np.ndarray, size: int) -> Iterator[Tensor]:
    """Rows of an array, a few at a time; one empty part if there are none."""
    for first in range(0, max(len(x), 1), size):
        yield torch.from_numpy(np.array(x[first : first + size]))  # a copy: arrays may be read-only or reversed


def table_inputs(table: pd.DataFrame, shape: tuple[int, ...], form: InputFormat) -> Inputs:
    """Raw rows of a table."""
    if len(shape) == 3:
        raise ValueError("inputs: the model takes images, found a table; give paths of images, or the images themselves")
    if form.columns is not None:
        index = table.index
        rows = table if index.name is not None else table.rename_axis("row")
        rows = rows.set_axis(pd.Index([str(column).strip() for column in table.columns]), axis=1)
        vectors = form.columns.encode(rows, "table")
        return Inputs(partial(split_array, vectors), index)
    text = [str(name) for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text or table.shape[1:] != shape:
        what = f"columns that are no numbers: {first_few(text)}" if text else f"{table.shape[1]} columns"
        raise ValueError(f"inputs: the model takes vectors of {shape[0]} numbers and knows no columns, found {what}")
    return Inputs(partial(split_array, table.to_numpy(dtype=np.float32, na_value=np.nan)), table.index)


def file_inputs(paths: Sequence[str | Path], shape: tuple[int, ...], form: InputFormat, skip_broken: bool) -> Inputs:
    """Image files, and all those in folders."""
    if len(shape) != 3:
        raise ValueError(f"the model takes vectors of {shape[0]} features, not images; give a table instead")
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        files += [path / name for name in files_of(path)] if path.is_dir() else [path]
    framing = form.framed(shape)
    found = Inputs(lambda _: iter(()), pd.Index([str(file) for file in files], name="id"), kept=[] if skip_broken else None)

    def batches(size: int) -> Iterator[Tensor]:
        found.broken.clear()
        if found.kept is not None:
            found.kept.clear()
        images: list[np.ndarray] = []
        for position, file in enumerate(files):
            try:
                images.append(decode(file, framing, shape[0]))
            except UNREADABLE as error:
                found.broken.append(f"{file}: {reason(error)}")
                continue
            if found.kept is not None:
                found.kept.append(position)
            if len(images) == size:
                yield stacked(images, shape)
                images = []
        if found.broken and not skip_broken:
            raise ValueError(f"unreadable images: {first_few(found.broken)}")
        if found.broken and not found.kept:
            raise ValueError(f"not one of {len(files)} images can be read: {first_few(found.broken)}")
        if images:
            yield stacked(images, shape)

    found.batches = batches
    return found


def stacked(images: Sequence[np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """Images `(height, width, channels)` as one uint8 tensor `(rows, *shape)`, channels last in memory."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def item_inputs(items: Any, shape: tuple[int, ...], form: InputFormat) -> Inputs:
    """Items of a list, or of a torch data set."""

    def batches(size: int) -> Iterator[Tensor]:
        rows: list[Tensor] = []
        for number in range(len(items)):
            try:
                rows.append(item_input(items[number], shape, form))
            except (ValueError, OSError) as error:
                raise ValueError(f"inputs, item {number}: {error}") from None
            if len(rows) == size:
                yield torch.stack(rows)
                rows = []
        if rows:
            yield torch.stack(rows)

    if not len(items):
        raise ValueError("inputs: there are none")
    return Inputs(batches)


def item_input(item: Any, shape: tuple[int, ...], form: InputFormat) -> Tensor:
    """One input `shape` from an image, path, array or tensor, or a tuple or mapping that begins with one."""
    if isinstance(item, tuple | list) and item and not isinstance(item[0], int | float):
        item = item[0]
    if isinstance(item, str | Path | Image.Image):
        if len(shape) != 3:
            raise ValueError("the model takes vectors, found an image")
        return stacked([framed(item, shape, form)], shape)[0].float() / 255
    array = item if isinstance(item, Tensor) else torch.from_numpy(np.array(checked_array(np.asarray(item), form)))
    row: Tensor = several(array, shape)
    if len(row) != 1:
        raise ValueError(f"expected one input, found {len(row)}")
    return row[0].float() / 255 if row.dtype == torch.uint8 and len(shape) == 3 else row[0].float()


def framed(image: str | Path | Image.Image, shape: tuple[int, ...], form: InputFormat) -> np.ndarray:
    """Pixels of one image as training had them."""
    framing = form.framed(shape)
    try:
        if isinstance(image, Image.Image):
            file = getattr(image, "filename", "")
            if file and getattr(image, "_im", None) is None and Path(file).exists():  # opened, and not read yet
                return decode(Path(file), framing, shape[0])
            return pixels_of(image, framing, shape[0])
        return decode(Path(image), framing, shape[0])
    except UNREADABLE as error:
        raise ValueError(reason(error)) from None


def loader_batches(loader: Iterable[Any], shape: tuple[int, ...], form: InputFormat, size: int) -> Iterator[Tensor]:
    """Batches of a data loader, of which only the first part of tuples is used."""
    for batch in loader:
        x = batch[0] if isinstance(batch, list | tuple) else batch
        found = several(x if isinstance(x, Tensor) else checked_array(np.asarray(x), form), shape)
        yield from split_tensor(found, size) if isinstance(found, Tensor) else split_array(found, size)


def dataset_batches(data: Any, shape: tuple[int, ...], size: int) -> Iterator[Tensor]:
    """Rows of a data set of `ccvae.data`."""
    if tuple(data.input_shape) != shape:
        raise ValueError(f"inputs: the model takes {shape}, {data.name} has {tuple(data.input_shape)}")
    for first in range(0, len(data), size):
        yield data.tensor(slice(first, min(first + size, len(data))))
