"""A run folder: what was trained, on what and how, readable without this package.

    config.yaml         shape of the inputs, settings of model, training and data, version of this package
    labels.json         the labels, with their priors
    model.safetensors   the weights
    splits.csv          which row was in which split
    metrics.csv         terms of the bound by epoch
    checkpoints/        last.ckpt and best.ckpt, to go on training from
    figures/, report.html

Nothing in it is ever unpickled: weights are safetensors, settings text, and checkpoints are read as plain tensors only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from ccvae.config import ModelConfig
from ccvae.labels import LabelSpace
from ccvae.model import CCVAE
from ccvae.networks import Decoder, Encoder

__all__ = [
    "check_free",
    "check_resumable",
    "check_space",
    "device_named",
    "load",
    "read_settings",
    "save",
    "write_settings",
    "writing",
]

RESUMABLE_CHANGES = ("accelerator", "devices", "num_nodes", "strategy", "compile")
FOUND = (("latent_dim", 0),)
"""Settings that stand for what the run folder then names."""
CONFIG, LABELS, WEIGHTS = "config.yaml", "labels.json", "model.safetensors"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path beside the one to write, renamed to it when all is written, so that no half file ever bears its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def save(model: CCVAE, folder: str | Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Write a model into a run folder.

    Args:
        model: the model.
        folder: made if it is not there; a model in it is replaced.
        settings: further sections of `config.yaml` ("training", "data"); those already there stay.

    Returns:
        The folder.
    """
    folder = Path(folder)
    write_settings(model, folder, settings)
    with writing(folder / LABELS) as path:
        path.write_text(model.space.to_json() + "\n", encoding="utf-8")
    with writing(folder / WEIGHTS) as path:
        path.write_bytes(to_bytes({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}))
    return folder


def write_settings(model: CCVAE, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Write `config.yaml`."""
    known = read_settings(folder) if (folder / CONFIG).exists() else {}
    fixed = {"ccvae": version("ccvae"), "input_shape": list(model.input_shape), "model": asdict(model.config)}
    with writing(folder / CONFIG) as path:
        path.write_text(yaml.safe_dump({**known, **fixed, **(settings or {})}, sort_keys=False), encoding="utf-8")


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Sections of a run folder's `config.yaml`; raises `ValueError` if it is not there or no mapping."""
    path = Path(folder) / CONFIG
    if not path.exists():
        raise ValueError(f"{folder} is no run folder: it has no {CONFIG}; name the folder that training wrote")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected sections such as model and training, found {type(settings).__name__}")
    return settings


def load(folder: str | Path, encoder: Encoder | None = None, decoder: Decoder | None = None) -> CCVAE:
    """The model of a run folder, in evaluation mode.

    Args:
        folder: what `save` or training wrote.
        encoder: the module that was given to the model, where one was; its weights are replaced.
        decoder: likewise.

    Raises:
        ValueError: the folder lacks a file, or its weights do not fit the networks.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    for name in (LABELS, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(f"{folder} has no {name}; training has not finished writing it, or this is another kind of folder")
    space = LabelSpace.from_json((folder / LABELS).read_text(encoding="utf-8"))
    try:
        config = ModelConfig(**settings["model"])
        model = CCVAE(space, settings["input_shape"], config, encoder, decoder)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG}: written by another version of this package, or changed: {error}") from None
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(
            f"{folder / WEIGHTS} does not fit the configured networks; a model with an encoder or decoder of your own "
            f"must be loaded with it: load(folder, encoder=…, decoder=…). {error}"
        ) from None
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged, or no safetensors file: {error}") from None
    return model.eval()


def check_space(model: CCVAE, space: LabelSpace, source: str = "data") -> None:
    """Raise `ValueError` unless data have the labels that a model was made for: names, kinds and values, in order."""
    for ours, theirs in zip(model.space, space, strict=False):
        same = (ours.name, ours.kind, getattr(ours, "values", None)) == (
            theirs.name,
            theirs.kind,
            getattr(theirs, "values", None),
        )
        if not same:
            raise ValueError(f"{source}: the model was made for label {described(ours)}, found {described(theirs)}")
    if len(model.space) != len(space):
        raise ValueError(
            f"{source}: the model was made for the labels {', '.join(model.space.names)}, found {', '.join(space.names)}"
        )


def device_named(name: str, number: int = 0) -> torch.device:
    """A device by torch's name for it; "auto" is a GPU, if there is one, else the processor.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", …
        number: of several GPUs, which "auto" is; one that is too high begins again at the first.
    """
    if name != "auto":
        return torch.device(name)
    gpus = torch.cuda.device_count()
    return torch.device(f"cuda:{number % gpus}" if gpus else "cpu")


def check_free(folder: Path) -> None:
    """Raise `ValueError` if a folder holds what a training run wrote."""
    if (folder / "checkpoints").exists() or (folder / "metrics.csv").exists():
        raise ValueError(f"out: {folder} already holds a run; choose another folder, delete it, or go on with resume")


def check_resumable(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a run folder was written with the same settings: resumed training must be the same training."""
    known = read_settings(folder)
    changed = [
        f"{section}.{name} (was {known.get(section, {}).get(name)!r}, now {value!r})"
        for section, values in settings.items()
        for name, value in yaml.safe_load(yaml.safe_dump(values)).items()
        if known.get(section, {}).get(name) != value and name not in RESUMABLE_CHANGES and (name, value) not in FOUND
    ]
    if changed:
        raise ValueError(f"resume: {folder} was trained with other settings: {'; '.join(changed)}; give the same")


def described(label: Any) -> str:
    """A label's name, kind and values, for messages."""
    values = getattr(label, "values", None)
    return f"{label.name!r} ({label.kind}{'' if values is None else ': ' + ', '.join(map(str, values[:8]))})"
