"""One door to all readers: what a source is, and how its settings reach the reader."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from ccvae import data as readers
from ccvae.config import READERS, DataConfig, check_type
from ccvae.data.dataset import Dataset
from ccvae.data.tables.files import TABLE_SUFFIXES
from ccvae.distributed.memory import making
from ccvae.labels import LabelSpace
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.files import remedy_for
from ccvae.model.inputs.format import InputFormat

__all__ = ["Known", "open_data"]

WITHOUT_SOURCE = ("avatars", "digits", "fashion_mnist", "mnist")
OTHER_TABLES = (
    ".xlsx",
    ".xls",
    ".ods",
    ".json",
    ".jsonl",
    ".feather",
    ".txt",
    ".dta",
    ".sav",
    ".sas7bdat",
    ".rds",
    ".rdata",
    ".db",
)
OWN_NAMES = {"labels": ("attributes", "observations")}
"""What readers of published data sets call settings."""
CLOSE_PATH = 0.8
"""Least similarity of a path that is suggested."""


@dataclass(frozen=True)
class Known:
    """What a trained model says of its data: labels, input columns or framing, and the shape of an input."""

    space: LabelSpace
    input_format: InputFormat
    input_shape: tuple[int, ...]


def open_data(source: str, config: DataConfig | None = None, model: Known | None = None) -> Dataset:
    """Read data.

    Args:
        source: a name ("avatars", "digits", "fashion_mnist", "mnist"), a folder of images (CelebA's and CheXpert's layouts are
            recognised), or a table file.
        config: settings.
        model: a trained model, whose labels and input columns are taken over, where the reader can, instead of being guessed.

    Raises:
        ValueError: the source is nothing that can be read, or the reader does not know a setting.
        FileNotFoundError: there is no such file or folder.
    """
    config = config or DataConfig()
    name = reader_name(source) if config.reader == "auto" else config.reader
    reader: Callable[..., Dataset] = getattr(readers, name)
    parameters = inspect.signature(reader).parameters
    own = ("reader", "options", "labelled_per_class")  # what is not the reader's
    settings = {key: value for key, value in asdict(config).items() if key not in own and value is not None}
    for key in ("labels", "exclude", "missing_values"):
        if isinstance(settings.get(key), str):
            settings[key] = [part.strip() for part in settings[key].split(",")]
    settings |= config.options
    unknown = [key for key in settings if key not in parameters and key != "seed"]
    if unknown:
        advice = "".join(f"; {remedy}" for remedy in filter(None, (instead_of(key, parameters) for key in unknown)))
        raise ValueError(f"data: reader {name} does not know {', '.join(unknown)}; it knows {', '.join(parameters)}{advice}")
    if name == "table" and "labels" not in settings and model is None:
        raise ValueError(f"{source}: say which columns are labels: --data.labels NAME, or --data.labels NAME,NAME")
    settings = {key: value for key, value in settings.items() if key in parameters}
    if model is not None and "space" in parameters:
        settings |= {"space": model.space, "kinds": None, "labels": list(model.space.names)}
        if "columns" in parameters:
            settings |= {"columns": model.input_format.columns, "inputs": None}
        if "size" in parameters and len(model.input_shape) == 3:
            settings["size"] = tuple(model.input_shape[1:])
        if "channels" in parameters and len(model.input_shape) == 3:
            settings["channels"] = model.input_shape[0]
    hints = get_type_hints(reader)
    for key, value in settings.items():
        if model is None or key not in ("space", "columns", "kinds", "labels", "inputs"):
            check_type(f"data: {key}", value, hints[key])
    # where a reader works without a folder, the source's name is no path
    arguments: list[Any] = [] if name in WITHOUT_SOURCE and source.replace("-", "_") == name else [source]
    with making(f"reading {source}"):
        dataset = reader(*arguments, **settings)
    if not arguments and Path(source).exists():
        note = f"this is the built-in data set; {source} is also a file or folder here: write ./{source} to read that"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    count = config.labelled_per_class
    return dataset if count is None else dataset.hide(seed=config.seed, labelled_per_class=count)


def instead_of(setting: str, known: Collection[str]) -> str:
    """Which argument of a published data set's reader does what a setting is for; empty if none does."""
    own = next((name for name in OWN_NAMES.get(setting, ()) if name in known), None)
    return "" if own is None else f'choose its {setting} with --data.options \'{{"{own}": ["NAME"]}}\''


def reader_name(source: str) -> str:
    """Which reader a source is for."""
    if source.replace("-", "_") in WITHOUT_SOURCE:
        return source.replace("-", "_")
    path = Path(source)
    if not path.exists():
        beside = [str(path) for path in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(source, WITHOUT_SOURCE) or did_you_mean(path, beside, CLOSE_PATH)
        raise FileNotFoundError(
            f"{source}: no such file or folder, nor one of the built-in data sets {', '.join(WITHOUT_SOURCE)}{hint}"
        )
    if path.is_dir():
        if any(path.rglob("list_attr_celeba.*")):
            return "celeba"
        if any((each / "train.csv").exists() and (each / "valid.csv").exists() for each in (path, *path.glob("CheXpert*"))):
            return "chexpert"
        if (path / "dataset_dict.json").exists() or ((path / "state.json").exists() and (path / "dataset_info.json").exists()):
            return "hugging_face"
        return "image_folder"
    if path.suffix.lower() in TABLE_SUFFIXES:
        return "table"
    remedy = "save the table as CSV" if path.suffix.lower() in OTHER_TABLES else remedy_for(path.name)
    remedy = remedy or f"readers are {', '.join(READERS)}"
    raise ValueError(f"{source}: expected a folder of images or a table ({', '.join(TABLE_SUFFIXES)}); {remedy}")
