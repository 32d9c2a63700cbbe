"""What actions give back: tensors, or tables in the users' own units; and conditions, one for all rows or one for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ccvae.labels.cells import first_few
from ccvae.model.images import Images
from ccvae.model.inputs.reading import Inputs
from ccvae.model.latent_model import LatentModel

__all__ = ["Conditions", "as_given", "label_rows"]

Conditions = Mapping[str, Any] | pd.DataFrame
"""Label values by name, for all rows; or a table with one row for each, where empty cells leave a label as it is."""


def as_given(model: LatentModel, results: Tensor, given: Any, opened: Inputs | None = None) -> Any:
    """Results in the form of what was given: a tensor, or a table in own units where the model was trained on a table.

    Args:
        model: the model.
        results: `(rows, *steps, *input_shape)`.
        given: the inputs that they were made from, None for new rows. Results of tensors stay tensors.
        opened: the same inputs, for the rows' ids.

    Returns:
        The tensor, which notebooks show as pictures if it has images; or a `DataFrame` with the columns of training, whose
        index has the rows' ids, and further levels "step" where there are steps.
    """
    if len(model.input_shape) == 3:
        return results.as_subclass(Images)
    if model.input_format.columns is None or isinstance(given, Tensor):
        return results
    rows, *steps = results.shape[:-1]
    table = model.input_format.in_own_units(results.reshape(-1, results.shape[-1]).cpu().numpy())
    ids = pd.RangeIndex(rows, name="row") if opened is None or opened.read_ids is None else opened.read_ids
    if not steps:
        table.index = ids
        return table
    names = ["step"] if len(steps) == 1 else [f"step {number + 1}" for number in range(len(steps))]
    places = np.indices((rows, *steps)).reshape(1 + len(steps), -1)
    levels = [ids[places[0]], *places[1:]]
    table.index = pd.MultiIndex.from_arrays(levels, names=[ids.name or "row", *names])
    return table


def label_rows(model: LatentModel, conditions: Conditions, count: int, what: str, ids: pd.Index | None = None) -> Tensor:
    """Labels `(count, labels)` of conditions, NaN where a label is not given.

    Args:
        model: the model.
        conditions: see `Conditions`.
        count: number of rows.
        what: what error messages call the conditions.
        ids: what names the rows. A table whose index has the same names is put into their order.

    Raises:
        ValueError: an unknown label or value, or a table with another number of rows.
    """
    if isinstance(conditions, pd.Series):
        conditions = conditions.to_dict() if set(conditions.index) <= {*model.space.names} else conditions.to_frame()
    if not isinstance(conditions, pd.DataFrame):
        check_conditions(conditions, what)
        row = torch.tensor(model.space.encode_row(conditions), device=model.device)
        return row.expand(count, -1)
    names = [str(column) for column in conditions.columns]
    repeated = sorted({repr(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{what}: columns of conditions must differ; repeated: {first_few(repeated)}")
    if len(conditions) != count:
        raise ValueError(f"{what}: {len(conditions)} rows of conditions for {count} rows; give one for each")
    unknown = [str(column) for column in conditions.columns if column not in model.space.names]
    if unknown:
        model.space.index(unknown[0])  # raises, and names the labels
    conditions = in_order(conditions, ids, what)
    table = pd.DataFrame(
        {name: conditions[name].tolist() if name in conditions else [math.nan] * count for name in model.space.names},
        dtype=object,
    ).rename_axis("row")
    return torch.tensor(model.space.encode(table, what), device=model.device)


def check_conditions(conditions: Any, what: str) -> None:
    """Raise `ValueError` unless conditions are values by label."""
    if not isinstance(conditions, Mapping):
        raise ValueError(f"{what}: expected label values by name, or a DataFrame, found {type(conditions).__name__}")
    several = [repr(name) for name, value in conditions.items() if isinstance(value, list | tuple | np.ndarray | pd.Series)]
    if several:
        raise ValueError(
            f"{what}: label {first_few(several)} has several values; for conditions row by row, give a pandas DataFrame"
        )


def in_order(conditions: pd.DataFrame, ids: pd.Index | None, what: str) -> pd.DataFrame:
    """Conditions in the order of rows with some ids, if their index has these; as they are, if it only counts them.

    Raises:
        ValueError: rows and conditions are named, but differently, so that it is unclear which belong together.
    """
    index = conditions.index
    if ids is None or index.equals(ids) or isinstance(index, pd.RangeIndex) or not index.is_unique:
        return conditions
    if set(index) == set(ids):
        return conditions.loc[ids]
    if isinstance(ids, pd.RangeIndex) or ids.dtype != index.dtype:
        return conditions
    raise ValueError(
        f"{what}: the index of the conditions has other names than the inputs: {first_few([str(name) for name in index])}; "
        f"use the same names, or pass conditions.reset_index(drop=True) for the order of the inputs"
    )
