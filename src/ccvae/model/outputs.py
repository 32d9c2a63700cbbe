"""What actions give back: tensors, or tables in the users' own units; and conditions, one for all rows or one for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

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
        The tensor; or a `DataFrame` with the columns of training, whose index has the rows' ids, and further
        levels "step" where there are steps.
    """
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


def label_rows(model: LatentModel, conditions: Conditions, count: int, what: str) -> Tensor:
    """Labels `(count, labels)` of conditions, NaN where a label is not given.

    Raises:
        ValueError: an unknown label or value, or a table with another number of rows.
    """
    if not isinstance(conditions, pd.DataFrame):
        row = torch.tensor(model.space.encode_row(conditions), device=model.device)
        return row.expand(count, -1)
    if len(conditions) != count:
        raise ValueError(f"{what}: {len(conditions)} rows of conditions for {count} rows; give one for each")
    unknown = [str(column) for column in conditions.columns if column not in model.space.names]
    if unknown:
        model.space.index(unknown[0])  # raises, and names the labels
    table = pd.DataFrame(
        {name: conditions[name].tolist() if name in conditions else [math.nan] * count for name in model.space.names},
        dtype=object,
    ).rename_axis("row")
    return torch.tensor(model.space.encode(table, what), device=model.device)
