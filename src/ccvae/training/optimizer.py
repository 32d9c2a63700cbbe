"""AdamW with weight decay on the networks' weights, a larger learning rate for label parameters, and a one-cycle schedule."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from ccvae.config import TrainConfig

BETAS = (0.9, 0.99)
"""Of Adam. Trainings of a few thousand steps, whose gradients change fast, learn better than with torch's 0.999."""

__all__ = ["build_optimizer", "decayed_parameters"]


def decayed_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: the networks' weights, but no biases, scales or label parameters."""
    return {name for name, parameter in model.named_parameters() if parameter.ndim > 1 and not name.startswith("blocks.")}


class Schedule(OneCycleLR):
    """One cycle whose length is that of now, when a run that was trained for fewer epochs is resumed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the step of the state, in this schedule's phases."""
        own = {name: getattr(self, name) for name in ("total_steps", "_schedule_phases")}
        super().load_state_dict({**state_dict, **own})


def build_optimizer(model: nn.Module, config: TrainConfig, steps: int, decayed: set[str]) -> tuple[AdamW, OneCycleLR]:
    """Optimizer and learning-rate schedule of a model.

    Args:
        model: the model; FSDP may have flattened its parameters.
        config: learning rates and weight decay.
        steps: number of training steps.
        decayed: names from `decayed_parameters`, taken before FSDP flattened the parameters.
    """
    trained = {
        name.replace("_fsdp_wrapped_module.", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    blocks = {name for name in trained if name.startswith("blocks.")}
    rate, label_rate = config.learning_rate, config.learning_rate * config.label_learning_rate
    parts = [
        (trained.keys() & decayed, rate, config.weight_decay),
        (trained.keys() - decayed - blocks, rate, 0.0),
        (blocks, label_rate, 0.0),
    ]
    groups: list[dict[str, Any]] = [
        {"params": [trained[name] for name in trained if name in names], "lr": rate, "weight_decay": decay}
        for names, rate, decay in parts
        if names
    ]
    # Lightning cannot clip gradients in mixed precision if the optimizer is fused
    optimizer = AdamW(groups, betas=BETAS, fused=not config.gradient_clip)
    return optimizer, Schedule(optimizer, [group["lr"] for group in groups], total_steps=steps)
