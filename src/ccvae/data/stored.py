"""Data that exist in memory only, stored in a run folder so that the run stands alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from ccvae.data.dataset import Dataset
from ccvae.data.splits import SPLITS
from ccvae.labels import LabelSpace
from ccvae.model.inputs.format import InputFormat
from ccvae.storage.atomic import writing
from ccvae.storage.files import check_regular
from ccvae.storage.links import check_inside
from ccvae.storage.run_folder import read_table

__all__ = ["DATA", "MOST_BYTES", "read_stored", "store"]

DATA = "data.safetensors"
MOST_BYTES = 1 << 30
"""Larger data are not stored."""
SOFT = "soft:"


def store(data: Dataset, folder: Path) -> bool:
    """Write inputs and labels into a run folder, beside its `splits.csv`; False if they are too large."""
    size = data.inputs.nbytes + data.labels.nbytes
    if size > MOST_BYTES:
        return False
    arrays = {"inputs": data.inputs, "labels": data.labels} | {f"{SOFT}{name}": soft for name, soft in data.soft.items()}
    content = to_bytes({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, {"name": data.name})
    with writing(folder / DATA, size=len(content)) as path:
        path.write_bytes(content)
    return True


def read_stored(folder: Path, space: LabelSpace, form: InputFormat) -> Dataset:
    """The data that `store` wrote; nothing in the file is run.

    Args:
        folder: run folder, with `splits.csv`.
        space: the run's labels.
        form: how its inputs came from a table or images.

    Raises:
        ValueError: a file is missing or damaged, or a link out of the folder, or files do not belong together.
    """
    path, table = folder / DATA, folder / "splits.csv"
    check_inside(folder, [path.name])
    check_regular(path)
    try:
        arrays = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except (SafetensorError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    if not table.exists() or not {"inputs", "labels"} <= set(arrays):
        raise ValueError(f"{path}: expected inputs and labels, and {table.name} beside it")
    rows = read_table(folder, table.name, ("id", "split"), dtype=str, keep_default_na=False)
    if len(rows) != len(arrays["inputs"]):
        raise ValueError(f"{path} has {len(arrays['inputs'])} rows, {table.name} has {len(rows)}")
    return Dataset(
        arrays["inputs"],
        arrays["labels"],
        space,
        rows["id"].to_numpy(dtype=str),
        {split: np.flatnonzero(rows["split"] == split) for split in SPLITS},
        name=folder.resolve().name,
        groups=rows["group"].to_numpy(dtype=str) if "group" in rows else None,
        soft={name.removeprefix(SOFT): array for name, array in arrays.items() if name.startswith(SOFT)},
        columns=form.columns,
        framing=form.framing,
    )
