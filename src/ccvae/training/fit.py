"""Training: a Lightning module that maximises the bound, and `fit`, which sets up Lightning's trainer around it."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from torch import Tensor

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import Batches, SplitBatches
from ccvae.data.loaders.device_inputs import DeviceInputs
from ccvae.distributed.devices import warn_of_slow_precision
from ccvae.distributed.processes import ending_together, trainer_of
from ccvae.model.bound import Bound, bound
from ccvae.model.calibration import fit_calibration
from ccvae.model.ccvae import CCVAE
from ccvae.model.latent_model import reading_once
from ccvae.model.saving import save
from ccvae.storage.atomic import writing
from ccvae.storage.run_folder import check_free
from ccvae.training.callbacks import STEPS_BETWEEN_LOOKS, EpochTable, Interrupted, InterruptKeeper, checkpoints
from ccvae.training.compilation import compiled
from ccvae.training.intervention_losses import between_passes, kept_elsewhere, misreading
from ccvae.training.optimizer import decayed_names, optimiser
from ccvae.training.training_metrics import TERMS, label_hits, term_sums, wide

__all__ = ["Interrupted", "Training", "fit"]

CLASSIFICATION_SHARE = 0.1
INTERVENTION_SHARE = 0.0007
INTERVENTION_WARMUP = 0.3
"""Share of all steps over which the weight of interventions grows from zero."""
READING_ONCE = 0.15
"""Share of all steps in which the style is read from the input itself: at first, the neutralised input shows nothing yet."""
STEPS_BETWEEN_INTERVENTIONS = 2
"""Interventions take as long as the bound's own step, and teach enough in every second one."""


class Training(lightning.LightningModule):
    """The bound of a model as Lightning's training and validation steps.

    Where several processes train, each has its share of every batch, and all goes as if one had the whole: the loss is the mean
    over all rows, the noise is the whole batch's, and metrics are sums over all rows, divided at an epoch's end.

    Args:
        model: what to train.
        config: how.
        batches: what it is trained on.
        validation: what it is watched on.
    """

    label_weights: Tensor | None

    def __init__(self, model: CCVAE, config: TrainConfig, batches: Batches, validation: SplitBatches | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.batches, self.validation = batches, validation
        self.steps = config.epochs * len(batches)
        self.classification_weight = classification_weight(model, config)
        self.intervention_weight = intervention_weight(model, config)
        weights = torch.ones(len(model.space))
        for name, weight in config.label_weights.items():
            weights[model.space.index(name)] = weight
        self.decayed = decayed_names(model)  # now, for FSDP takes parameters apart, and their parts are vectors
        self.register_buffer("label_weights", weights if config.label_weights else None, persistent=False)
        self.generator: torch.Generator | None = None
        self.sums: dict[str, Tensor] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the batch after the checkpoint's."""
        self.batches.position = checkpoint["global_step"]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """One step: the weighted bound's negative, in nats a row; its mean over processes is that over all rows."""
        shard = self.batches.shard
        # every step has seeds of its own, so that a resumed run draws what an uninterrupted one would
        torch.manual_seed(seed_of(self.config.seed, self.global_step, shard.rank))
        noise = self.noise(self.global_step)
        with reading_once(self.model) if self.global_step < READING_ONCE * self.steps else nullcontext():
            result = bound(self.model, *batch, self.config.estimator, noise, shard)
        objective = result.weighted(self.kl_weight(), self.classification_weight, self.label_weights)
        objective = objective - self.editing_terms(result, batch[1], noise)
        loss = -objective.sum() * (shard.world_size / shard.total)
        sums = term_sums(result)
        self.add("train", sums)
        looked_at = self.global_step % STEPS_BETWEEN_LOOKS == 0
        if looked_at or (shard.world_size == 1 and self.device.type == "cpu"):
            self.check_finite(torch.cat([sums, loss.detach()[None]]))
        if looked_at:
            shown = dict(zip(TERMS[1:], (sums[2:] / sums[0]).float(), strict=True))
            self.log_dict(shown, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def editing_terms(self, result: Bound, y: Tensor, noise: torch.Generator) -> Tensor:
        """The weighted terms of `ccvae.training.intervention_losses`: `(batch,)`."""
        assert result.posterior is not None
        terms = torch.zeros_like(result.total)
        if result.first_pass is not None and result.first_pass is not result.posterior:
            terms = terms + between_passes(self.model, result.first_pass, result.posterior)
        if self.config.elsewhere_weight > 1:
            weight = self.kl_weight() * (self.config.elsewhere_weight - 1)
            terms = terms + weight * kept_elsewhere(self.model, result.posterior, y)
        if self.intervention_weight and self.global_step % STEPS_BETWEEN_INTERVENTIONS == 0:
            grown = min(1.0, (self.global_step + 1) / (INTERVENTION_WARMUP * self.steps))
            weight = STEPS_BETWEEN_INTERVENTIONS * grown * self.intervention_weight
            terms = terms + weight * misreading(self.model, result.posterior, noise, self.batches.shard)
        return terms

    def on_train_batch_end(self, *_: Any) -> None:
        """Say an epoch's means, after its last step."""
        if self.trainer.is_last_batch:
            self.log_means("train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add up terms of the exact bound, and how many observed discrete labels are predicted rightly."""
        x, y = batch
        if self.validation is None or not len(x):  # the last batch may have fewer rows than there are processes
            self.add("validation", torch.zeros(len(TERMS) + 3, dtype=wide(self.device), device=self.device))
            return
        result = bound(self.model, x, y, generator=self.noise(batch_idx), shard=self.validation.shard(batch_idx))
        assert result.posterior is not None
        self.add("validation", torch.cat([term_sums(result), label_hits(self.model, result.posterior, y)]))

    def on_validation_epoch_end(self) -> None:
        """Say the means."""
        self.log_means("validation")

    def noise(self, number: int) -> torch.Generator:
        """Source of a step's noise, the same in all processes."""
        if self.generator is None:
            self.generator = torch.Generator(self.device)
        return self.generator.manual_seed((self.config.seed << 32) + number)

    def add(self, stage: str, sums: Tensor) -> None:
        """Add to what is summed in training or validation."""
        self.sums[stage] = self.sums[stage] + sums if stage in self.sums else sums

    def log_means(self, stage: str) -> None:
        """Means over all rows since the last time, whichever processes had them; and accuracy, where there are labels."""
        rows, *sums = self.trainer.strategy.reduce(self.sums.pop(stage), reduce_op="sum").tolist()
        means = {f"{stage}/{name}": total / rows for name, total in zip(TERMS, sums, strict=False)}
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
        if stage == "validation" and sums[-1]:
            accuracy = sums[-2] / sums[-1]
            self.log("validation/accuracy", accuracy, prog_bar=True, sync_dist=True, batch_size=1)

    def kl_weight(self) -> float:
        """The weight of all terms but reconstruction and classification, now."""
        steps = self.config.kl_warmup * self.steps
        return self.config.kl_weight * min(1.0, (self.global_step + 1) / steps if steps else 1.0)

    def configure_optimizers(self) -> Any:
        """See `ccvae.training.optimizer`."""
        optimizer, schedule = optimiser(self.model, self.config, self.steps, self.decayed)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def check_finite(self, sums: Tensor) -> None:
        """Raise `ValueError` naming step and term where the loss is not a finite number, in all processes alike.

        Args:
            sums: what `term_sums` gave, and the loss.
        """
        total = self.trainer.strategy.reduce(sums, reduce_op="sum")
        if torch.isfinite(total[-1]):
            return
        finite = torch.isfinite(total[1:-1]).tolist()
        wrong = [name for name, fine in zip(TERMS, finite, strict=True) if not fine and name != "total"]
        checkpoint = getattr(self.trainer.checkpoint_callback, "last_model_path", "")
        raise ValueError(
            f"step {self.global_step} (epoch {self.current_epoch}): {', '.join(wrong) or 'the weighted sum'} is not finite; "
            f"the last good checkpoint is {checkpoint or 'none yet'}. Lower learning_rate, or set gradient_clip (to 100, say)"
        )


def seed_of(*numbers: int) -> int:
    """A seed that differs wherever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def classification_weight(model: CCVAE, config: TrainConfig) -> float:
    """The weight of log q(y|x) that a configuration stands for: see `TrainConfig`."""
    if config.classification_weight is not None:
        return config.classification_weight
    return 1.0 if config.estimator == "paper" else CLASSIFICATION_SHARE * elements_a_scale(model)


def intervention_weight(model: CCVAE, config: TrainConfig) -> float:
    """The weight of misread interventions that a configuration stands for: see `TrainConfig`."""
    if config.intervention_weight is not None:
        return config.intervention_weight
    return 0.0 if config.estimator == "paper" else INTERVENTION_SHARE * elements_a_scale(model)


def elements_a_scale(model: CCVAE) -> float:
    """Number of an input's elements over the likelihood's scale: about how fast the bound's reconstruction term changes."""
    return math.prod(model.input_shape) / float(model.likelihood_of.scale)


def fit(
    model: CCVAE,
    data: Dataset,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Any] = (),
    progress: bool = True,
    trainer: dict[str, Any] | None = None,
    **changes: Any,
) -> CCVAE:
    """Train a model, and keep in it the weights of the best validation bound (the last ones, without validation rows).

    Afterwards its probabilities are calibrated on the validation rows' labels (see `ccvae.model.calibration`).

    Args:
        model: what to train, in place.
        data: its training split is trained on, its validation split watched.
        out: run folder to write (see `ccvae.storage.run_folder`); None writes nothing.
        config: how to train.
        resume: go on from the last checkpoint in `out`.
        settings: further sections for the run folder's `config.yaml`, such as where the data came from.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers.
        progress: whether to show a progress bar.
        trainer: further arguments of Lightning's `Trainer`; those that are set here too replace ours.
        changes: fields of `TrainConfig`, changed from those in `config`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: labels or inputs are not the model's, nothing can be resumed, the machine lacks what is asked for, or the
            loss stops being a number.
        Interrupted: Ctrl-C was pressed; all that was trained is kept. Of several processes only the first one goes on so; the
            others end.
        ConnectionError: another process of the training is gone.
    """
    config = replace(config or TrainConfig(), **changes)
    for warning in data.warnings:
        logging.getLogger("ccvae.data").warning("%s: %s", data.name, warning)
    model.space.check_matches(data.space)
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    folder = None if out is None else Path(out)
    last = None if folder is None else folder / "checkpoints" / "last.ckpt"
    if resume and (last is None or not last.exists()):
        raise ValueError(f"resume: no checkpoint at {last}; train without resume first")
    watched = len(data.splits["validation"]) > 0
    best = None if folder is None else checkpoints(folder, watched)
    keeper = InterruptKeeper(last)
    watchers = [*callbacks]
    if best is not None and folder is not None:
        watchers += [best, EpochTable(folder / "metrics.csv")]
    if config.patience and watched:
        watchers.append(EarlyStopping("validation/total", mode="max", patience=config.patience))
    watchers.append(keeper)
    if progress:
        watchers.append(TQDMProgressBar(refresh_rate=STEPS_BETWEEN_LOOKS, leave=False))
    own: dict[str, Any] = {
        "callbacks": watchers,
        "logger": list(loggers) or False,
        "enable_checkpointing": folder is not None,
        "enable_progress_bar": progress,
    }
    trained = trainer_of(config, **own | (trainer or {}))
    warn_of_slow_precision(config.precision, trained.strategy.root_device)
    inputs = DeviceInputs(data, trained.strategy.root_device)
    rank, world_size = trained.global_rank, trained.world_size
    batches = Batches(data, config.batch_size, config.seed, config.labelled_share, config.balanced, inputs, rank, world_size)
    validation = SplitBatches(data, "validation", 200, inputs, rank, world_size) if watched else None
    if folder is not None and trained.is_global_zero:
        if not resume:
            check_free(folder)
        save(model, folder, {"training": asdict(config), **(settings or {})})
        with writing(folder / "splits.csv") as path:
            data.split_table().to_csv(path, index=False)
    module = Training(model.train(), config, batches, validation)
    try:
        compiling = compiled(model, networks=world_size == 1) if config.compile else nullcontext()
        with keeper.listening(), ending_together(), compiling, warnings.catch_warnings():
            # Lightning 2.6 asks torch 2.13 in a way that torch deprecates; and a resumed run's folder is not empty
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            trained.fit(module, batches, validation, ckpt_path=last if resume else None, weights_only=True)
    except Interrupted as interrupt:
        if not trained.is_global_zero:
            raise SystemExit(0) from None  # an error here would make Lightning or torchrun end the first process at once
        if folder is None:
            raise
        save(model, folder)
        raise Interrupted(f"{interrupt}; all is kept in {folder}: go on with --resume, or fit(…, resume=True)") from None
    if best is not None and best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    model.eval()
    if validation is not None:
        predictions = pd.concat([model.predict_proba(x, calibrated=False) for x, _ in SplitBatches(data, "validation")])
        model.calibration = fit_calibration(predictions, data.labels[data.splits["validation"]], data.space)
    if folder is not None and trained.is_global_zero:
        save(model, folder)
    trained.strategy.barrier()  # none may leave while others wait for it
    return model
