"""A run folder: what was trained, on which data and how, readable without this package.

    config.yaml         input shape, settings of model, training and data, version of this package
    labels.json         the labels with their priors
    inputs.json         how raw rows of a table, or images of any size, become the model's inputs
    model.safetensors   the weights, once there are trained ones; those of an interrupted training say so
    calibration.json    temperatures and thresholds fitted on held-out labelled rows, if there were any
    splits.csv          the split of every row
    data.safetensors    inputs and labels, where they were in memory only, so that no file could be read again
    metrics.csv         terms of the bound by epoch
    checkpoints/        last.ckpt and previous.ckpt, to resume training from, and best.ckpt
    figures/, report.html

Nothing in it is ever unpickled: weights are safetensors, settings are text, and checkpoints are read as plain tensors only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few
from ccvae.storage.atomic import writing
from ccvae.storage.files import check_regular, is_there, read_json, read_text
from ccvae.storage.limits import check_limit
from ccvae.storage.links import check_inside, check_no_link
from ccvae.storage.yaml_text import LARGEST_TEXT, read_yaml

__all__ = [
    "CALIBRATION",
    "CONFIG",
    "INPUTS",
    "LABELS",
    "WEIGHTS",
    "check_free",
    "check_resumable",
    "figures_folder",
    "hash_of_weights",
    "read_entries",
    "read_labels",
    "read_settings",
    "read_settings_text",
    "read_table",
    "read_weights",
    "write_entries",
    "write_labels",
    "write_settings",
    "write_weights",
]

RESUMABLE_CHANGES = ("accelerator", "devices", "num_nodes", "strategy", "compile", "logger", "log_pictures")
RESOLVED = (("latent_dim", 0), ("precision", "auto"), ("network", "auto"), ("block_dim", None), ("epochs", None))
"""Settings for which the run folder has the value that was chosen instead."""
FORMERLY = {
    "redrawn_share": 0.0,
    "prior_components": 1,
    "students": 0,
    "student_steps": 1500,
    "student_dropout": 0.3,
}
"""What was done before there were these settings, in runs that do not have them."""
PARTIAL = "interrupted after"
"""Name of the entry in the weights' metadata that says how far an interrupted training came."""
CONFIG, LABELS, WEIGHTS, CALIBRATION = "config.yaml", "labels.json", "model.safetensors", "calibration.json"
INPUTS = "inputs.json"


def write_settings(folder: Path, sections: Mapping[str, Any]) -> None:
    """Write sections of `config.yaml` and the version of this package; other sections in the file are kept."""
    known = read_settings(folder) if (folder / CONFIG).exists() else {}
    with writing(folder / CONFIG) as path:
        path.write_text(yaml.safe_dump({**known, "ccvae": version("ccvae"), **sections}, sort_keys=False), encoding="utf-8")


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Sections of a run folder's `config.yaml`; raises `ValueError` if the file is missing or is not a mapping."""
    path = Path(folder) / CONFIG
    if not path.exists():
        named = re.fullmatch(r"(?:https?:/+huggingface\.co/)?([\w.-]+/[\w.-]+)/?", str(folder))
        hub = f", or hf://{named[1]} for a model on the Hugging Face Hub" if named and not Path(folder).exists() else ""
        raise ValueError(f"{folder} is no run folder: it has no {CONFIG}; give the folder that training wrote{hub}")
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected sections such as model and training, found {type(settings).__name__}")
    return settings


def read_settings_text(folder: Path) -> str | None:
    """Text of `config.yaml`, to be shown; None if there is none.

    Raises:
        ValueError: it is a link that leads out of the folder, too large, or not UTF-8.
    """
    if not is_there(folder / CONFIG):
        return None
    check_inside(folder, [CONFIG])
    return read_text(folder / CONFIG, 4 * LARGEST_TEXT)


def read_table(folder: Path, name: str, columns: Iterable[str], **options: Any) -> pd.DataFrame:
    """A CSV file of a run folder.

    Args:
        folder: the run folder.
        name: of the file, such as "splits.csv".
        columns: those that it must have.
        options: of `pandas.read_csv`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a link that leads out of the folder, no regular file, too large, damaged, or lacks columns.
    """
    path = folder / name
    check_inside(folder, [name])
    check_regular(path)
    check_limit("table_bytes", path.stat().st_size, str(path))
    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not {*columns} <= {*table.columns}:
        raise ValueError(f"{path}: expected the columns {' and '.join(columns)}, found {first_few(list(table.columns))}")
    return table


def figures_folder(folder: Path) -> Path:
    """Where a run's figures are written; raises `ValueError` if that is a link, by which files elsewhere would be replaced."""
    check_no_link(folder / "figures")
    return folder / "figures"


def write_labels(folder: Path, space: LabelSpace) -> None:
    """Write `labels.json`."""
    with writing(folder / LABELS) as path:
        path.write_text(space.to_json() + "\n", encoding="utf-8")


def read_labels(folder: Path) -> LabelSpace:
    """The labels of a run folder; raises `ValueError` if they are missing or damaged."""
    path = present(folder, LABELS)
    try:
        return LabelSpace.from_entries(read_json(path))
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def write_weights(folder: Path, weights: Mapping[str, Tensor], partial: str | None = None) -> None:
    """Write `model.safetensors`.

    Args:
        folder: the run folder.
        weights: tensors by name.
        partial: how far they are trained, such as "8 of 120 steps"; None if the training has finished.
    """
    metadata = None if partial is None else {PARTIAL: partial}
    content = to_bytes({name: tensor.contiguous().cpu() for name, tensor in weights.items()}, metadata)
    with writing(folder / WEIGHTS, size=len(content)) as path:
        path.write_bytes(content)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Weights by name; those of an interrupted training are logged as such.

    Raises:
        ValueError: they are missing or damaged, or not finite.
    """
    if (folder / CONFIG).exists() and not (folder / WEIGHTS).exists():
        raise ValueError(f"{folder} has no {WEIGHTS}: its training has not finished; continue it with ccvae train … --resume")
    path = present(folder, WEIGHTS)
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            partial = (file.metadata() or {}).get(PARTIAL)
        weights = load_file(path)
    except (SafetensorError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {' '.join(str(error).split())}") from None
    for name, weight in weights.items():
        if not torch.isfinite(weight.float() if weight.dtype.itemsize == 1 else weight).all():
            raise ValueError(
                f"{path}: {name} has values that are NaN or infinite; the weights are damaged, or training diverged"
            )
    if partial is not None:
        logging.getLogger("ccvae").warning(
            "%s: these weights are of an interrupted training (%r); continue it with ccvae train … --resume", path, partial[:40]
        )
    return weights


def hash_of_weights(folder: Path) -> str:
    """SHA-256 of `model.safetensors`, which says whether metrics were measured with these weights."""
    path = present(folder, WEIGHTS)
    check_regular(path)
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_entries(folder: Path, name: str, text: str) -> None:
    """Write a JSON text as `calibration.json` or `inputs.json`."""
    with writing(folder / name) as path:
        path.write_text(text + "\n", encoding="utf-8")


def read_entries(folder: Path, name: str) -> Any:
    """Content of `calibration.json` or `inputs.json`; None if the run has none. Raises `ValueError` if it is damaged."""
    path = folder / name
    return read_json(path) if is_there(path) else None


def present(folder: Path, name: str) -> Path:
    """Path of a file in a run folder; raises `ValueError` if it does not exist."""
    path = folder / name
    if not folder.is_dir():
        raise ValueError(f"{folder} is no run folder; give the folder that training wrote")
    if not path.exists():
        raise ValueError(f"{folder} has no {name}; training did not finish writing it, or this is another kind of folder")
    return path


def check_free(folder: Path) -> None:
    """Raise `ValueError` if a folder contains a training run, or the weights of one."""
    if any(is_there(folder / name) for name in ("checkpoints", "metrics.csv", WEIGHTS)):
        raise ValueError(f"out: {folder} already contains a run; choose another folder, delete it, or continue with resume")


def check_resumable(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a run folder has the same settings: resumed training must be the same training."""
    known = read_settings(folder)
    for section in settings:
        if not isinstance(known.get(section, {}), dict):
            raise ValueError(f"{folder / CONFIG}: {section}: expected a mapping, found {known[section]!r}")
    before = {section: FORMERLY | known.get(section, {}) for section in settings}
    changed = [
        f"{section}.{name} (was {before[section].get(name)!r}, now {value!r})"
        for section, values in settings.items()
        for name, value in yaml.safe_load(yaml.safe_dump(values)).items()
        if before[section].get(name) != value
        and name not in RESUMABLE_CHANGES
        and (name, value) not in RESOLVED
        and not (name == "epochs" and is_longer(value, before[section].get(name)))
    ]
    if changed:
        raise ValueError(f"resume: {folder} was trained with other settings: {'; '.join(changed)}; use the same settings")


def is_longer(epochs: int, before: Any) -> bool:
    """Whether a training of some epochs continues one of a number that `config.yaml` names."""
    return isinstance(before, int) and epochs > before
