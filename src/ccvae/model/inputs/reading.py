"""Inputs as people have them: tables, image files, folders, PIL images, arrays, tensors, data sets and loaders.

They are read a few rows at a time, so that memory stays flat however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ccvae.labels.cells import first_few
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.arrays import as_floats, checked_array, numbers_of, several, split_array, split_tensor
from ccvae.model.inputs.decoding import UNREADABLE, decode, pixels_of, reason
from ccvae.model.inputs.files import files_of, remedy_for
from ccvae.model.inputs.format import InputFormat

__all__ = ["Inputs", "open_inputs"]

Batches = Callable[[int], Iterator[Tensor]]
INPUT_NAMES = ("image", "images", "img", "pixel_values", "inputs", "input", "x")
"""What data sets call inputs, where their items are mappings."""
BATCH_AXES = 4
"""Axes of a batch of images."""
CLOSE_PATH = 0.8
"""Least similarity of a path that is suggested."""


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
            or folders; PIL images; a data set or data loader whose items are such inputs, or tuples that begin with one; or
            a batch of such a data set, with its inputs under a name such as "image".
        shape: `(channels, height, width)` or `(features,)` of the model.
        form: how tables and images become inputs.
        skip_broken: pass over image files that cannot be read, and list them, instead of an error.

    Raises:
        ValueError: this is nothing that the model can take.
        FileNotFoundError: there is no such file or folder.
    """
    if isinstance(given, Tensor):
        return Inputs(partial(split_tensor, several(given, shape)))
    if len(shape) == 1:
        given = as_table(given)
    if isinstance(given, pd.DataFrame):
        return table_inputs(given, shape, form)
    if isinstance(given, Mapping) and is_batch(given):
        given = input_part(given)
        if isinstance(given, Tensor):
            return Inputs(partial(split_tensor, several(given, shape)))
    if isinstance(given, Mapping | pd.Series):  # images by id
        named = pd.Series(given, dtype=object)
        opened = open_inputs(named.tolist(), shape, form, skip_broken)
        opened.ids = named.index
        return opened
    if isinstance(given, np.ndarray | pd.Index) and given.dtype.kind in "OUT":
        given = given.tolist()
    if isinstance(given, set | frozenset):
        given = sorted(given, key=str)
    if isinstance(given, Iterator) and not hasattr(given, "read"):
        given = PassedOnce(given)
        if isinstance(given.first, str | Path):
            given = list(given)
    if isinstance(given, str | Path) or is_list_of(given, (str, Path)):
        return file_inputs([given] if isinstance(given, str | Path) else given, shape, form, skip_broken)
    if isinstance(given, Image.Image | bytes) or hasattr(given, "read"):
        return item_inputs([given], shape, form)
    if isinstance(given, DataLoader):
        return Inputs(partial(loader_batches, given, shape, form))
    if hasattr(given, "tensor") and hasattr(given, "ids"):  # a data set of ccvae.data
        return Inputs(lambda size: dataset_batches(given, shape, size), pd.Index(given.ids, name="id"))
    if isinstance(given, np.ndarray) and given.dtype != object:
        return Inputs(partial(split_array, several(checked_array(given, form), shape)))
    if is_list_of(given, (int, float, list, tuple)) and not holds_items(given):
        return Inputs(partial(split_array, several(checked_array(np.array(given), form), shape)))
    if isinstance(given, PassedOnce) or (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        return item_inputs(given, shape, form)
    if hasattr(given, "__array__"):
        return Inputs(partial(split_array, several(checked_array(np.asarray(given), form), shape)))
    if isinstance(given, Iterable):
        return item_inputs(PassedOnce(iter(given)), shape, form)
    raise ValueError(
        f"inputs: expected an array, tensor, table, image, path, data set or data loader, found {type(given).__name__}"
    )


class PassedOnce:
    """Items of an iterator, which can be read once.

    Args:
        items: the iterator.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self.items = items
        self.waiting = list(islice(items, 1))

    @property
    def first(self) -> Any:
        """The first item; None if there is none, or after it was read."""
        return self.waiting[0] if self.waiting else None

    def __iter__(self) -> Iterator[Any]:
        while self.waiting:
            yield self.waiting.pop()
        yield from self.items


def as_table(given: Any) -> Any:
    """Rows by column as a table: one mapping or series, several of them, or columns by name; anything else as it is."""
    if isinstance(given, pd.Series):
        return given.to_frame().T
    if isinstance(given, Mapping):
        several_rows = all(isinstance(cells, list | tuple | np.ndarray | pd.Series) for cells in given.values())
        return pd.DataFrame(given if several_rows else [given])
    if is_list_of(given, (Mapping,)):
        return pd.DataFrame(list(given))
    return given


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


def table_inputs(table: pd.DataFrame, shape: tuple[int, ...], form: InputFormat) -> Inputs:
    """Raw rows of a table."""
    if len(shape) == 3:
        raise ValueError("inputs: the model takes images, found a table; give its column of paths, or the images themselves")
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
        raise ValueError(
            f"inputs: the model takes vectors of {shape[0]} features, not files; give a table, such as pandas.read_csv(path), "
            f"or --csv at the command line"
        )
    files: list[Path] = []
    for given in paths:
        if "://" in str(given):
            raise FileNotFoundError(f"{given}: expected a file or folder; download it first")
        path = Path(given).expanduser()
        matches = [path] if path.exists() else matching(path)
        if not matches:
            raise FileNotFoundError(f"{path}: no such file or folder{did_you_mean(path, beside(path), CLOSE_PATH)}")
        for match in matches:
            files += [match / name for name in files_of(match)] if match.is_dir() else [match]
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
                found.broken.append(f"{file}: {remedy_for(file.name) or reason(error)}")
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


def matching(path: Path) -> list[Path]:
    """Paths that a pattern such as "scans/*.png" means, which no shell has expanded."""
    first = next((place for place, part in enumerate(path.parts) if any(sign in part for sign in "*?[")), None)
    if first is None:
        return []
    return sorted(Path(*path.parts[:first]).glob("/".join(path.parts[first:])))


def beside(path: Path) -> list[Path]:
    """What lies in the folder of a path."""
    return list(path.parent.iterdir()) if path.parent.is_dir() else []


def stacked(images: Sequence[np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """Images `(height, width, channels)` as one uint8 tensor `(rows, *shape)`, channels last in memory."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def item_inputs(items: Any, shape: tuple[int, ...], form: InputFormat) -> Inputs:
    """Items of a list, of a torch data set, or of an iterator, which can be read once."""

    def batches(size: int) -> Iterator[Tensor]:
        rows: list[Tensor] = []
        for number, item in enumerate(items if isinstance(items, PassedOnce) else (items[row] for row in range(len(items)))):
            try:
                rows.append(item_input(item, shape, form))
            except (ValueError, OSError) as error:
                raise ValueError(f"inputs, item {number}: {str(error).removeprefix('inputs: ')}") from None
            if len(rows) == size:
                yield torch.stack(rows)
                rows = []
        if rows:
            yield torch.stack(rows)

    if not isinstance(items, PassedOnce) and not len(items):
        raise ValueError("inputs: there are none")
    return Inputs(batches)


def item_input(item: Any, shape: tuple[int, ...], form: InputFormat) -> Tensor:
    """One input `shape` from an image, path, array or tensor, or a tuple or mapping that has one."""
    item = input_part(item)
    if isinstance(item, str | Path | Image.Image | bytes) or hasattr(item, "read"):
        if len(shape) != 3:
            raise ValueError("the model takes vectors, found an image")
        return stacked([framed(item, shape, form)], shape)[0].float() / 255
    array = item if isinstance(item, Tensor) else numbers_of(item, form)
    row = as_floats(several(array, shape), shape)
    if len(row) != 1:
        raise ValueError(f"expected one input, found {len(row)}")
    return row[0]


def input_part(item: Any) -> Any:
    """The input of an item: the first part of a tuple, or what a mapping calls so, or has first."""
    if isinstance(item, Mapping) and item:
        return next((item[name] for name in INPUT_NAMES if name in item), next(iter(item.values())))
    if isinstance(item, tuple | list) and item and not isinstance(item[0], int | float):
        return item[0]
    return item


def is_batch(given: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a batch, as data sets give it: several inputs under a name that says so."""
    part = next((given[name] for name in INPUT_NAMES if name in given), None)
    return isinstance(part, list | tuple) or getattr(part, "ndim", 0) == BATCH_AXES


def framed(image: str | Path | Image.Image | bytes | IO[bytes], shape: tuple[int, ...], form: InputFormat) -> np.ndarray:
    """Pixels of one image as training had them."""
    framing = form.framed(shape)
    try:
        if isinstance(image, Image.Image):
            file = getattr(image, "filename", "")
            if file and getattr(image, "_im", None) is None and Path(file).exists():  # opened, and not read yet
                return decode(Path(file), framing, shape[0])
            return pixels_of(image, framing, shape[0])
        if isinstance(image, bytes):
            return decode(BytesIO(image), framing, shape[0])
        return decode(Path(image) if isinstance(image, str | Path) else image, framing, shape[0])
    except UNREADABLE as error:
        raise ValueError(reason(error)) from None


def loader_batches(loader: Iterable[Any], shape: tuple[int, ...], form: InputFormat, size: int) -> Iterator[Tensor]:
    """Batches of a data loader, of which only the first part of tuples is used."""
    for batch in loader:
        x = input_part(batch)
        yield from split_tensor(several(x if isinstance(x, Tensor) else numbers_of(x, form), shape), size)


def dataset_batches(data: Any, shape: tuple[int, ...], size: int) -> Iterator[Tensor]:
    """Rows of a data set of `ccvae.data`."""
    if tuple(data.input_shape) != shape:
        raise ValueError(f"inputs: the model takes {shape}, {data.name} has {tuple(data.input_shape)}")
    for first in range(0, len(data), size):
        yield data.tensor(slice(first, min(first + size, len(data))))
