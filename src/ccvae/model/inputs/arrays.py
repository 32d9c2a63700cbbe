"""Arrays and tensors as a model's inputs: their shapes, and whole numbers as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.model.inputs.format import InputFormat

__all__ = ["as_floats", "checked_array", "numbers_of", "several", "split_array", "split_tensor"]

MOST = 255
"""The largest byte."""


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
        remedy = (
            "; images of other sizes and colors are framed as in training if you give files or PIL images"
            if len(shape) == 3
            else ""
        )
        raise ValueError(f"inputs: the model takes (rows, {', '.join(map(str, shape))}), found {found}{remedy}")
    return given


def split_tensor(x: Tensor, size: int) -> Iterator[Tensor]:
    """Rows of a tensor, a few at a time; one empty part if there are none."""
    yield from x.split(size)


def split_array(x: np.ndarray, size: int) -> Iterator[Tensor]:
    """Rows of an array, a few at a time; one empty part if there are none."""
    for first in range(0, max(len(x), 1), size):
        yield torch.from_numpy(np.array(x[first : first + size]))  # a copy: arrays may be read-only or reversed


def numbers_of(item: Any, form: InputFormat) -> Tensor:
    """An array or nested list as a tensor; raises `ValueError` if it has no numbers."""
    array = checked_array(np.asarray(item), form)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected an image, a path, or an array of numbers, found {type(item).__name__}")
    return torch.from_numpy(np.array(array))


def as_floats(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows as floats: whole numbers of images are bytes, from 0 to 255.

    Raises:
        ValueError: an image has other whole numbers.
    """
    if len(shape) == 1 or rows.is_floating_point() or rows.dtype == torch.bool:
        return rows.float()
    if rows.dtype != torch.uint8 and rows.numel():
        rows = rows.long()  # torch finds no least and greatest of 16 bits without a sign
        if not (rows.min() >= 0 and rows.max() <= MOST):
            raise ValueError(
                f"inputs: whole numbers of images must lie in 0 to {MOST}, found {rows.min()} to {rows.max()}; give images of "
                f"16 bits as files or PIL images, or as floats from 0 to 1"
            )
    return rows.float() / MOST
