"""What may be restored of a checkpoint, which may come from a stranger.

A checkpoint is compared with the state of the training that is to be resumed, as it is before its first step. Only what has the
same structure is restored: the same names, tensors of the same shape and type with finite values, numbers of the same type, the
same texts. So a checkpoint holds no path of its own, no name of a class, and no setting that differs from the run's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ccvae.training.callbacks import Checkpoints
from ccvae.training.module import TrainingModule

__all__ = ["restorable", "same_structure", "with_clean_callbacks"]

CHANGING = {"lr", "betas", "last_epoch", "_step_count", "_is_initial", "_get_lr_called_within_step", "_last_lr"}
"""Entries of the optimizer's groups and of the schedule that change from step to step; all others must be equal."""
MOMENTS = ("exp_avg", "exp_avg_sq")


def restorable(checkpoint: Mapping[str, Any], path: Path, trainer: Trainer, module: TrainingModule) -> dict[str, Any]:
    """What may be restored of a checkpoint; all else in it is left out.

    Args:
        checkpoint: what was read.
        path: where from, for messages.
        trainer: what will restore it.
        module: what was configured, before its first step.

    Raises:
        ValueError: the checkpoint is not one of this training; the message names the entry.
    """
    try:
        optimizer, schedule = module.optimizer()
        most = 2 * module.steps + len(module.validation or ()) * (trainer.max_epochs or 1) + 2
        loops = {name: loop.state_dict() for name, loop in loops_of(trainer).items()}
        loops["fit_loop"]["state_dict"] = {"combined_loader": [{"position": 0}]}
        clean = {
            "epoch": count(checkpoint.get("epoch"), "epoch", most),
            "global_step": count(checkpoint.get("global_step"), "global_step", module.steps),
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": same_structure(checkpoint.get("state_dict"), module.state_dict(), "state_dict"),
            "loops": counts_like(checkpoint.get("loops"), loops, "loops", most),
            "callbacks": callback_states(checkpoint.get("callbacks"), trainer, path),
            "optimizer_states": [optimizer_state(only(checkpoint, "optimizer_states"), optimizer)],
            "lr_schedulers": [schedule_state(only(checkpoint, "lr_schedulers"), schedule.state_dict())],
        }
        plugin = trainer.precision_plugin
        if plugin.state_dict():
            name = type(plugin).__qualname__
            clean[name] = same_structure(checkpoint.get(name), plugin.state_dict(), name)
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}. It is damaged, or not of this training: delete it, or give the same settings"
        ) from None
    return clean


def with_clean_callbacks(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    """Leave only states of callbacks that may be restored, in place; for checkpoints of strategies such as FSDP."""
    checkpoint["callbacks"] = callback_states(checkpoint.get("callbacks"), trainer, Path("checkpoint"))


def loops_of(trainer: Trainer) -> dict[str, Any]:
    """Lightning's loops, by the names under which a checkpoint has their state."""
    return {
        "fit_loop": trainer.fit_loop,
        "validate_loop": trainer.validate_loop,
        "test_loop": trainer.test_loop,
        "predict_loop": trainer.predict_loop,
    }


def schedule_state(value: Any, expected: dict[str, Any]) -> Any:
    """State of a schedule; one for fewer steps gets the expected length, for training may be resumed for more epochs."""
    if isinstance(value, dict) and type(value.get("total_steps")) is int and value["total_steps"] < expected["total_steps"]:
        value = {**value, **{name: expected[name] for name in ("total_steps", "_schedule_phases")}}
    return same_values(value, expected, "lr_schedulers")


def only(checkpoint: Mapping[str, Any], name: str) -> Any:
    """The only element of a list in a checkpoint."""
    value = checkpoint.get(name)
    if not isinstance(value, list) or len(value) != 1:
        raise ValueError(f"{name}: expected a list of one, found {shown(value)}")
    return value[0]


def count(value: Any, where: str, most: int) -> int:
    """A whole number from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{where}: expected a whole number from 0 to {most}, found {shown(value)}")
    return value


def counts_like(value: Any, expected: Any, where: str, most: int) -> Any:
    """Counters in dictionaries and lists of the expected structure."""
    if isinstance(expected, dict):
        return {
            name: counts_like(part, expected[name], f"{where}.{name}", most) for name, part in entries(value, expected, where)
        }
    if isinstance(expected, list):
        if type(value) is not list or len(value) != len(expected):
            raise ValueError(f"{where}: expected a list of {len(expected)}, found {shown(value)}")
        return [counts_like(part, like, where, most) for part, like in zip(value, expected, strict=True)]
    if isinstance(expected, bool):
        if type(value) is not bool:
            raise ValueError(f"{where}: expected true or false, found {shown(value)}")
        return value
    return count(value, where, most)


def same_structure(value: Any, expected: Any, where: str) -> Any:
    """Dictionaries of tensors and numbers with the expected names, shapes and types."""
    if isinstance(expected, dict):
        return {name: same_structure(part, expected[name], f"{where}.{name}") for name, part in entries(value, expected, where)}
    if isinstance(expected, Tensor):
        return tensor_like(value, expected, where)
    return number_like(value, expected, where)


def same_values(value: Any, expected: Any, where: str) -> Any:
    """What equals the expected, but for numbers under the names in `CHANGING`."""
    if isinstance(expected, dict):
        found = {}
        for name, part in entries(value, expected, where):
            convert = changing if name in CHANGING else same_values
            found[name] = convert(part, expected[name], f"{where}.{name}")
        return found
    if isinstance(expected, list | tuple):
        if type(value) is not type(expected) or len(value) != len(expected):
            raise ValueError(f"{where}: expected {shown(expected)}, found {shown(value)}")
        return type(expected)(same_values(part, like, where) for part, like in zip(value, expected, strict=True))
    if type(value) is not type(expected) or value != expected:
        raise ValueError(f"{where}: expected {shown(expected)}, found {shown(value)}")
    return value


def changing(value: Any, expected: Any, where: str) -> Any:
    """Finite numbers, alone or in a list or tuple of the expected length."""
    if isinstance(expected, list | tuple):
        if type(value) is not type(expected) or len(value) != len(expected):
            raise ValueError(f"{where}: expected {len(expected)} numbers, found {shown(value)}")
        return type(expected)(number_like(part, like, where) for part, like in zip(value, expected, strict=True))
    return number_like(value, expected, where)


def optimizer_state(value: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of AdamW: groups like the optimizer's, and for each parameter its two moments and number of steps."""
    where, expected = "optimizer_states", optimizer.state_dict()
    parts = dict(entries(value, {"state": {}, "param_groups": []}, where))
    groups = same_values(parts["param_groups"], expected["param_groups"], where)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in expected["param_groups"] for number in group["params"]]
    shapes = dict(zip(numbers, parameters, strict=True))
    if type(parts["state"]) is not dict or not parts["state"].keys() <= shapes.keys():
        raise ValueError(f"{where}: expected a state for each of {len(shapes)} parameters, found {shown(parts['state'])}")
    state = {}
    for number, moments in parts["state"].items():
        like = {"step": torch.zeros(()), **{name: shapes[number].detach() for name in MOMENTS}}
        state[number] = same_structure(moments, like, f"{where}.{number}")
    return {"state": state, "param_groups": groups}


def callback_states(value: Any, trainer: Trainer, path: Path) -> dict[str, Any]:
    """States of this package's own callbacks and of early stopping; others are not restored, which a message says."""
    if type(value) is not dict:
        raise ValueError(f"callbacks: expected states by name, found {shown(value)}")
    clean: dict[str, Any] = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = value.get(callback.state_key)
        if state is None:
            continue
        where = f"callbacks.{type(callback).__name__}"
        if isinstance(callback, Checkpoints):
            parts = dict(entries(state, {"best_score": None}, where))
            clean[callback.state_key] = {"best_score": optional_number(parts["best_score"], where)}
        elif isinstance(callback, EarlyStopping):
            clean[callback.state_key] = early_stopping_state(state, callback, where)
        else:
            logging.getLogger("ccvae.training").warning(
                "%s: the state of the callback %s is not restored; only this package's own are", path, type(callback).__name__
            )
    return clean


def early_stopping_state(state: Any, callback: EarlyStopping, where: str) -> dict[str, Any]:
    """Counters and the best score of early stopping; its settings are the run's, and its message is dropped."""
    expected = callback.state_dict()
    parts = dict(entries(state, expected, where))
    best = parts["best_score"]
    if type(best) is not Tensor or best.shape or not best.is_floating_point() or best.isnan():
        raise ValueError(f"{where}.best_score: expected a number, found {shown(best)}")
    counters = {name: count(parts[name], f"{where}.{name}", 2**31) for name in ("wait_count", "stopped_epoch")}
    return {**expected, **counters, "best_score": best.clone()}


def entries(value: Any, expected: Mapping[Any, Any], where: str) -> list[tuple[Any, Any]]:
    """Items of a dictionary with the expected names."""
    if not isinstance(value, dict) or value.keys() != expected.keys():
        found = sorted(map(str, value.keys() ^ expected.keys()))[:3] if isinstance(value, dict) else shown(value)
        raise ValueError(f"{where}: expected {len(expected)} entries as in this training; these differ: {found}")
    return list(value.items())


def tensor_like(value: Any, expected: Tensor, where: str) -> Tensor:
    """A finite tensor of the expected shape and type."""
    if type(value) is not Tensor or value.layout != torch.strided or value.is_quantized:
        raise ValueError(f"{where}: expected a tensor, found {shown(value)}")
    if value.shape != expected.shape or value.dtype != expected.dtype:
        wanted = f"{expected.dtype} {tuple(expected.shape)}"
        raise ValueError(f"{where}: expected {wanted}, found {value.dtype} {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        raise ValueError(f"{where}: has values that are not finite")
    return value.clone(memory_format=torch.preserve_format)  # with memory of its own for every element


def number_like(value: Any, expected: Any, where: str) -> Any:
    """A finite number of the expected type."""
    kinds = (bool,) if isinstance(expected, bool) else (int, float)
    if type(value) not in kinds or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{where}: expected a {'truth value' if kinds == (bool,) else 'finite number'}, found {shown(value)}")
    return value


def optional_number(value: Any, where: str) -> float | None:
    """A finite number, or None."""
    return None if value is None else float(number_like(value, 0.0, where))


def shown(value: Any) -> str:
    """A value for a message, shortened."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"
