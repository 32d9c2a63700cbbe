"""The loss that training minimises: a weighted objective, averaged over rows, plus the losses for interventions."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ccvae.config import TrainConfig
from ccvae.distributed.shard import Shard
from ccvae.model.bound import ESTIMATORS, exact_bound
from ccvae.model.latent_distributions import reading_once
from ccvae.model.latent_model import LatentModel
from ccvae.model.objective import Objective
from ccvae.training.augmentation import Augmentation
from ccvae.training.intervention_losses import (
    absent_redrawn,
    elsewhere_kl,
    intervention_loss,
    labels_alone,
    style_consistency,
)
from ccvae.training.training_metrics import correct_predictions, row_sums, widest_float

__all__ = ["Loss", "ObjectiveLoss", "Step", "classification_weight", "intervention_weight"]

CLASSIFICATION_WEIGHT = 0.1
INTERVENTION_WEIGHT = 0.001
"""Default weights, as multiples of the number of input elements divided by the likelihood's scale."""
LEAST_CLASSIFICATION_WEIGHT = 10.0
"""Needed for inputs of few elements: with a weight below 1, the objective prefers a classifier that is wrong."""
INTERVENTION_WARMUP = 0.3
"""Fraction of all steps over which the weight of the intervention loss grows from zero."""
LABELS_ALONE = 0.05
"""Fraction of all steps, at the start, in which the decoder sees labels alone, if the style is read from neutralised inputs."""
SHARE_READ_ONCE, LAST_READ_ONCE = 0.5, 0.5
"""Share of rows that read the style from the input itself afterwards, and the fraction of all steps at which this share has
declined to none. A neutralised input shows no more than the style holds already, so without these rows the style would learn no
further details."""
REDRAWN_SHARE = 0.5
"""Default share of rows in which the blocks of absent labels are drawn again."""
STEPS_BETWEEN_INTERVENTIONS = 2
"""An intervention loss takes as long as the bound's step; computing it in every second step is enough."""


@dataclass(frozen=True)
class Step:
    """A step of training or validation.

    Args:
        number: steps done before.
        steps: steps of the whole training.
        generator: source of noise, in the same state in all processes.
        shard: which rows of the full batch this process has.
    """

    number: int
    steps: int
    generator: torch.Generator
    shard: Shard

    @property
    def done(self) -> float:
        """Fraction of the whole training that is done before."""
        return self.number / self.steps


class Loss(Protocol):
    """What `ccvae.training.module.TrainingModule` minimises. Metrics are kept as sums over rows, see `row_sums`."""

    def training_loss(self, model: Any, x: Tensor, y: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Loss of this process's rows, whose mean over processes is the loss of the batch; and sums for metrics."""
        ...

    def validation_sums(self, model: Any, x: Tensor, y: Tensor, step: Step) -> Tensor:
        """Sums for metrics of a validation batch, which may be empty."""
        ...

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Metrics by name, from sums over all rows; "total" is the one that early stopping watches."""
        ...


@final
class ObjectiveLoss(nn.Module):
    """The negative weighted objective, averaged over rows, plus the losses of `ccvae.training.intervention_losses`.

    Args:
        model: the model to train; its sizes decide weights that the configuration leaves open.
        config: weights and estimator.
        objective: another objective than the configured estimator, such as a baseline's. Validation then measures it too;
            otherwise validation measures the exact bound.
        augmentation: random changes of training images.
    """

    label_weights: Tensor | None

    def __init__(
        self,
        model: LatentModel,
        config: TrainConfig,
        objective: Objective[Any] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.augmentation = augmentation or Augmentation()
        self.objective: Objective[Any] = objective or ESTIMATORS[config.estimator]
        self.validated: Objective[Any] = objective or exact_bound
        if objective is None:
            self.classification_weight = classification_weight(model, config)
            self.intervention_weight = intervention_weight(model, config)
            self.redrawn_share = redrawn_share(config)
        else:  # the bound's defaults do not suit other objectives
            self.classification_weight = 1.0 if config.classification_weight is None else config.classification_weight
            self.intervention_weight = config.intervention_weight or 0.0
            self.redrawn_share = config.redrawn_share or 0.0
        weights = torch.ones(len(model.space))
        for name, weight in config.label_weights.items():
            weights[model.space.index(name)] = weight
        self.register_buffer("label_weights", weights if config.label_weights else None, persistent=False)
        self.bounds = objective is None
        self.names: tuple[str, ...] = ()

    def training_loss(self, model: LatentModel, x: Tensor, y: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        shard = step.shard
        x = self.augmentation(x, step.generator, shard)
        with ExitStack() as changes:
            neutral = self.bounds and model.neutral_style
            if neutral:
                changes.enter_context(reading_once(model, read_once(step, x)))
            if neutral and step.done < LABELS_ALONE:
                changes.enter_context(labels_alone(model, y, step.generator, shard))
            elif self.redrawn_share:
                changes.enter_context(absent_redrawn(model, y, self.redrawn_share, step.generator, shard))
            terms = self.objective(model, x, y, step.generator, shard)
        maximised = terms.weighted(self.kl_weight(step), self.classification_weight, self.label_weights)
        penalty, first_pass = torch.zeros_like(maximised), getattr(terms, "first_pass", None)
        if first_pass is not None and terms.posterior is not None and first_pass is not terms.posterior:
            penalty = penalty + style_consistency(model, first_pass, terms.posterior)
        if self.config.elsewhere_weight > 1 and terms.posterior is not None:
            extra_weight = self.kl_weight(step) * (self.config.elsewhere_weight - 1)
            penalty = penalty + extra_weight * elsewhere_kl(model, terms.posterior, y)
        if self.intervention_weight and step.number % STEPS_BETWEEN_INTERVENTIONS == 0 and terms.posterior is not None:
            warmup = min(1.0, (step.number + 1) / (INTERVENTION_WARMUP * step.steps))
            weight = STEPS_BETWEEN_INTERVENTIONS * warmup * self.intervention_weight
            penalty = penalty + weight * intervention_loss(model, terms.posterior, step.generator, shard)
        self.names = tuple(terms.terms())
        return -(maximised - penalty).sum() * (shard.world_size / shard.total), row_sums(terms.terms())

    def validation_sums(self, model: LatentModel, x: Tensor, y: Tensor, step: Step) -> Tensor:
        """See `Loss`; the last two sums are counts of correct predictions and of observed labels."""
        if not len(x):  # the last batch may have fewer rows than there are processes
            return torch.zeros(len(self.names) + 3, dtype=widest_float(x.device), device=x.device)
        terms = self.validated(model, x, y, step.generator, step.shard)
        sums = row_sums(terms.terms())
        counts = sums.new_zeros(2) if terms.posterior is None else correct_predictions(model, terms.posterior, y)
        return torch.cat([sums, counts])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """See `Loss`; with "accuracy" if sums end with counts of at least one observed discrete label."""
        rows, *totals = sums.tolist()
        found = {name: total / rows for name, total in zip(self.names, totals, strict=False)}
        counts = totals[len(self.names) :]
        return found | ({"accuracy": counts[0] / counts[1]} if counts and counts[1] else {})

    def kl_weight(self, step: Step) -> float:
        """Weight of the KL terms at a step."""
        warmup = self.config.kl_warmup * step.steps
        return self.config.kl_weight * min(1.0, (step.number + 1) / warmup if warmup else 1.0)


def read_once(step: Step, x: Tensor) -> Tensor:
    """Which rows of a batch of inputs read the style from the input itself at a step: `(batch,)`."""
    share = 1.0 if step.done < LABELS_ALONE else SHARE_READ_ONCE * max(0.0, 1 - step.done / LAST_READ_ONCE)
    return x.new_empty(step.shard.total).uniform_(generator=step.generator)[step.shard.rows] < share


def classification_weight(model: LatentModel, config: TrainConfig) -> float:
    """Weight of log q(y|x), whether configured or chosen by default; see `TrainConfig`."""
    if config.classification_weight is not None:
        return config.classification_weight
    if config.estimator == "paper":
        return 1.0
    return max(LEAST_CLASSIFICATION_WEIGHT, CLASSIFICATION_WEIGHT * elements_per_scale(model))


def intervention_weight(model: LatentModel, config: TrainConfig) -> float:
    """Weight of the intervention loss, whether configured or chosen by default; see `TrainConfig`."""
    if config.intervention_weight is not None:
        return config.intervention_weight
    return 0.0 if config.estimator == "paper" else INTERVENTION_WEIGHT * elements_per_scale(model)


def redrawn_share(config: TrainConfig) -> float:
    """Share of rows in which blocks of absent labels are redrawn, configured or chosen by default; see `TrainConfig`."""
    if config.redrawn_share is not None:
        return config.redrawn_share
    return 0.0 if config.estimator == "paper" else REDRAWN_SHARE


def elements_per_scale(model: LatentModel) -> float:
    """Input elements divided by the likelihood's scale: the order of magnitude of the reconstruction term's gradient."""
    return math.prod(model.input_shape) / float(model.likelihood_of.scale.detach())
