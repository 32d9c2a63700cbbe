"""The optimiser: Adam with decoupled weight decay on the networks' weights, a larger rate for labels' parameters, one cycle."""

from __future__ import annotations

from typing import Any

from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from ccvae.config import TrainConfig
from ccvae.model.ccvae import CCVAE

__all__ = ["decayed_names", "optimiser"]


def decayed_names(model: CCVAE) -> set[str]:
    """Names of the networks' weights, which decay, while biases, scales and what belongs to labels do not."""
    return {name for name, parameter in model.named_parameters() if parameter.ndim > 1 and not name.startswith("blocks.")}


def optimiser(model: CCVAE, config: TrainConfig, steps: int, decayed: set[str]) -> tuple[AdamW, OneCycleLR]:
    """A model's optimiser, with the schedule of its learning rates.

    Args:
        model: what is trained; FSDP may have taken its parameters apart.
        config: how.
        steps: in all.
        decayed: what `decayed_names` gave before.
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
    chosen = AdamW(groups, fused=True)
    return chosen, OneCycleLR(chosen, [group["lr"] for group in groups], total_steps=steps)
