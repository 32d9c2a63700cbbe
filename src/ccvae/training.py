"""Training: a Lightning module that maximises the bound, and `fit`, which sets up Lightning's trainer around it."""

from __future__ import annotations

import math
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import Tensor

from ccvae.bound import bound
from ccvae.config import TrainConfig
from ccvae.data.batches import Batches, SplitBatches
from ccvae.data.dataset import Dataset
from ccvae.labels import Binary, Categorical
from ccvae.model import CCVAE
from ccvae.run import check_free, check_space, save, writing

__all__ = ["Interrupted", "Training", "fit"]

CLASSIFICATION_SHARE = 0.1
STEPS_BETWEEN_CHECKS = 20
"""Steps between looks at the loss on an accelerator, where each look waits for it."""


class Interrupted(Exception):  # noqa: N818 — nothing is wrong: what was trained is kept
    """Training was stopped by Ctrl-C; the message says how to go on."""


class Training(lightning.LightningModule):
    """The bound of a model as Lightning's training and validation steps.

    Args:
        model: what to train.
        config: how.
        batches: what it is trained on.
    """

    label_weights: Tensor | None

    def __init__(self, model: CCVAE, config: TrainConfig, batches: Batches) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.batches = batches
        self.steps = config.epochs * len(batches)
        self.classification_weight = classification_weight(model, config)
        weights = torch.ones(len(model.space))
        for name, weight in config.label_weights.items():
            weights[model.space.index(name)] = weight
        self.register_buffer("label_weights", weights if config.label_weights else None, persistent=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the batch after the checkpoint's."""
        self.batches.position = checkpoint["global_step"]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """One step: the weighted bound's negative, in nats a row."""
        # every step has a seed of its own, so that a resumed run draws what an uninterrupted one would
        torch.manual_seed((self.config.seed << 32) + self.global_step)
        result = bound(self.model, *batch, self.config.estimator)
        loss = -result.objective(self.kl_weight(), self.classification_weight, self.label_weights).mean()
        terms = {name: term.mean() for name, term in result.terms().items()}
        if self.device.type == "cpu" or self.global_step % STEPS_BETWEEN_CHECKS == 0:
            self.check_finite(loss, terms)
        shown = {name: terms.pop(name).detach() for name in ("reconstruction", "labels", "style", "classification")}
        self.log_dict(shown, prog_bar=True, on_step=True, on_epoch=False)
        self.log_dict(
            {f"train/{name}": term.detach() for name, term in {**shown, **terms}.items()}, on_step=False, on_epoch=True
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Terms of the exact bound, and the share of observed discrete labels that are predicted rightly."""
        torch.manual_seed((self.config.seed << 32) + batch_idx)
        x, y = batch
        result = bound(self.model, x, y)
        terms = {f"validation/{name}": term.mean() for name, term in result.terms().items()}
        self.log_dict(terms, batch_size=len(x))
        hits, cells = self.hits(x, y)
        if cells:
            self.log("validation/accuracy", hits / cells, batch_size=cells, prog_bar=True)

    def hits(self, x: Tensor, y: Tensor) -> tuple[float, int]:
        """How many observed binary and categorical labels are predicted rightly, and how many there are."""
        posterior = self.model.posterior(x)
        hits, cells = 0.0, 0
        for block in self.model.label_blocks():
            columns = block.columns.tolist()
            if isinstance(self.model.space.labels[columns[0]], Binary | Categorical):
                predicted = block.predict(posterior.loc[:, block.latents], posterior.scale[:, block.latents]).argmax(-1)
                observed = ~y[:, columns].isnan()
                hits += float((predicted == y[:, columns].round())[observed].sum())
                cells += int(observed.sum())
        return hits, cells

    def kl_weight(self) -> float:
        """The weight of all terms but reconstruction and classification, now."""
        steps = self.config.kl_warmup * self.steps
        return self.config.kl_weight * min(1.0, (self.global_step + 1) / steps if steps else 1.0)

    def configure_optimizers(self) -> Any:
        """Adam with decoupled weight decay on the networks' weights, a larger rate for label maps and priors, one cycle."""
        blocks = [parameter for parameter in self.model.blocks.parameters() if parameter.requires_grad]
        known = {id(parameter) for parameter in blocks}
        networks = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        rate = self.config.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": [p for p in networks if p.ndim > 1], "lr": rate, "weight_decay": self.config.weight_decay},
            {"params": [p for p in networks if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
            {"params": blocks, "lr": rate * self.config.label_learning_rate, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def check_finite(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Raise `ValueError` naming step and term where the loss is not a finite number."""
        if torch.isfinite(loss):
            return
        wrong = [name for name, term in terms.items() if name != "total" and not torch.isfinite(term)]
        checkpoint = getattr(self.trainer.checkpoint_callback, "last_model_path", "")
        raise ValueError(
            f"step {self.global_step} (epoch {self.current_epoch}): {', '.join(wrong) or 'the weighted sum'} is not finite; "
            f"the last good checkpoint is {checkpoint or 'none yet'}. Lower learning_rate, or set gradient_clip (to 100, say)"
        )


def classification_weight(model: CCVAE, config: TrainConfig) -> float:
    """The weight of log q(y|x) that a configuration stands for: see `TrainConfig`."""
    if config.classification_weight is not None:
        return config.classification_weight
    if config.estimator == "paper":
        return 1.0
    return CLASSIFICATION_SHARE * math.prod(model.input_shape) / float(model.likelihood_of.scale)


class EpochTable(Callback):
    """One row of metrics an epoch, in `metrics.csv`; a resumed run goes on below."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the epoch's row."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        row = pd.DataFrame([{"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **metrics}])
        known = pd.read_csv(self.path) if self.path.exists() else row.iloc[:0]
        earlier = known[known["epoch"] < row["epoch"][0]]
        with writing(self.path) as path:
            (pd.concat([earlier, row]) if len(earlier) else row).to_csv(path, index=False)


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

    Args:
        model: what to train, in place.
        data: its training split is trained on, its validation split watched.
        out: run folder to write (see `ccvae.run`); None writes nothing.
        config: how to train.
        resume: go on from the last checkpoint in `out`.
        settings: further sections for the run folder's `config.yaml`, such as where the data came from.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers.
        progress: whether to show a progress bar.
        trainer: further arguments of Lightning's `Trainer`.
        changes: fields of `TrainConfig`, changed from those in `config`.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: labels or inputs are not the model's, nothing can be resumed, or the loss stops being a number.
        Interrupted: Ctrl-C was pressed; all that was trained is kept.
    """
    config = replace(config or TrainConfig(), **changes)
    check_space(model, data.space)
    if data.input_shape != model.input_shape:
        raise ValueError(f"data: the model takes inputs of shape {model.input_shape}, found {data.input_shape}")
    batches = Batches(data, config.batch_size, config.seed, config.labelled_share, config.balanced)
    validation = SplitBatches(data, "validation") if len(data.splits["validation"]) else None
    folder = None if out is None else Path(out)
    last = None if folder is None else folder / "checkpoints" / "last.ckpt"
    if resume and (last is None or not last.exists()):
        raise ValueError(f"resume: no checkpoint at {last}; train without resume first")
    if folder is not None and not resume:
        check_free(folder)
    best = checkpoints(folder, watched=validation is not None) if folder is not None else None
    watched = [*callbacks, *([best, EpochTable(folder / "metrics.csv")] if best is not None and folder is not None else [])]
    if config.patience and validation is not None:
        watched.append(EarlyStopping("validation/total", mode="max", patience=config.patience))
    keeper = InterruptKeeper(last)
    watched.append(keeper)
    if progress:
        watched.append(TQDMProgressBar(refresh_rate=10, leave=False))
    if folder is not None:
        save(model, folder, {"training": asdict(config), **(settings or {})})
        with writing(folder / "splits.csv") as path:
            data.split_table().to_csv(path, index=False)
    module = Training(model.train(), config, batches)
    trained = lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=config.precision,  # type: ignore[arg-type]
        max_epochs=config.epochs,
        gradient_clip_val=config.gradient_clip or None,
        callbacks=watched,
        logger=list(loggers) or False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **(trainer or {}),
    )
    try:
        with keeper.listening(), warnings.catch_warnings():
            # Lightning 2.6 asks torch 2.13 in a way that torch deprecates; and a resumed run's folder is not empty
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            trained.fit(module, batches, validation, ckpt_path=last if resume else None, weights_only=True)
    except Interrupted as interrupt:
        if folder is None:
            raise
        save(model, folder)
        raise Interrupted(f"{interrupt}; all is kept in {folder}: go on with --resume, or fit(…, resume=True)") from None
    if best is not None and best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    model.eval()
    if folder is not None and trained.is_global_zero:
        save(model, folder)
    return model


def checkpoints(folder: Path, watched: bool) -> ModelCheckpoint:
    """Lightning's callback that keeps the last checkpoint, and the best where a validation bound is watched."""
    return ModelCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor="validation/total" if watched else None,
        mode="max",
        save_top_k=1 if watched else 0,
        save_last=True,
        enable_version_counter=False,
    )


class InterruptKeeper(Callback):
    """After Ctrl-C, ends training at the next step's end, with a checkpoint of that very step; a second one ends it at once.

    Args:
        checkpoint: path of the checkpoint, or None to keep nothing.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.asked = False

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Keep the state and stop, if asked to."""
        if self.asked and not trainer.is_last_batch:  # an epoch's end is validated and kept first
            if self.checkpoint is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop, if asked to at the end of the epoch before."""
        if self.asked:
            raise Interrupted(f"stopped after epoch {trainer.current_epoch} of {trainer.max_epochs}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, Ctrl-C asks this to stop. Python hears of it in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
