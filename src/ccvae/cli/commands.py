"""Commands of the command line that train, report, predict and look at data. Nothing heavy is imported before one runs."""

import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ccvae.config import DataConfig, EvaluationConfig, ModelConfig, TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ccvae.data import Dataset
    from ccvae.model.ccvae import CCVAE

__all__ = ["cache_data", "check_data", "compare", "evaluate", "predict", "report", "train"]

# real types, not texts: the command line is made from them, and texts would have to be resolved by importing what they name
DATA, MODEL, TRAINING, EVALUATION = DataConfig(), ModelConfig(), TrainConfig(), EvaluationConfig()


def train(
    source: str,
    out: Path | None = None,
    data: DataConfig = DATA,
    model: ModelConfig = MODEL,
    training: TrainConfig = TRAINING,
    resume: bool = False,
    dry_run: bool = False,
    tensorboard: bool = False,
    figures: bool = True,
    allow_class_paths: bool = False,
) -> None:
    """Train a model, and write its run folder with figures and report.

    Args:
        source: "avatars", "digits", "fashion_mnist", "mnist", a folder of images, or a table.
        out: run folder to write; runs/ and the source's name if not given.
        data: how the source is read.
        model: the model's sizes and choices.
        training: how it is trained.
        resume: go on from the last checkpoint in the run folder.
        dry_run: read the data, say what would be done, and stop.
        tensorboard: write logs for TensorBoard too (needs the package tensorboard).
        figures: draw figures and write the report after training.
        allow_class_paths: import the encoder and decoder that a settings file (--config) names, which runs their code; those
            named by --model.encoder and --model.decoder on the command line are allowed already.
    """
    import torch

    from ccvae.data.open import open_data
    from ccvae.distributed.shard import is_first_process
    from ccvae.distributed.shutdown import exit_now
    from ccvae.model.ccvae import CCVAE, load
    from ccvae.storage.run_folder import check_free, check_resumable
    from ccvae.training.fit import Interrupted, fit
    from ccvae.training.losses import classification_weight

    out = out or Path("runs") / Path(source).stem
    first = is_first_process()  # of the processes that train together; the others neither write nor speak
    # Lightning sets these to INFO when imported
    for source_of_messages in ("lightning.pytorch", "lightning.fabric.utilities.distributed"):
        logging.getLogger(source_of_messages).setLevel(logging.WARNING)
    logging.getLogger("ccvae.data").setLevel(logging.ERROR)  # warnings about data are printed with their description
    settings = {"data": {"source": source, **asdict(data)}}
    if resume:
        check_resumable(out, settings | {"model": asdict(model), "training": asdict(training)})
    elif first and not dry_run:
        check_free(out)
    dataset = open_data(source, data)
    if first:
        tell(described(dataset))
    torch.manual_seed(training.seed)
    # a run that is resumed names no other classes than those given here: check_resumable has compared them
    fresh = load(out, allow_class_paths=True) if resume else CCVAE(dataset.space, dataset.input_shape, model)
    weight = classification_weight(fresh, training)
    size = sum(parameter.numel() for parameter in fresh.parameters())
    if first:
        tell(f"model: {size:,} parameters, {fresh.config.latent_dim} latents; log q(y|x) weighs {weight:,.0f}")
    if dry_run:
        tell("dry run: nothing was written")
        return
    started = time.monotonic()
    try:
        fit(fresh, dataset, out, training, resume=resume, settings=settings, loggers=loggers(out, tensorboard))
    except Interrupted as interrupt:
        raise KeyboardInterrupt(str(interrupt)) from None
    if not first:
        exit_now()
        return
    tell(f"trained in {time.monotonic() - started:.0f} s; model, settings and metrics are in {out}")
    if figures:
        draw(out, dataset, allow_class_paths=True)
    exit_now()


def report(run: Path, allow_class_paths: bool = False, allow_download: bool = False) -> None:
    """Draw a run's figures and write its report anew.

    Args:
        run: run folder.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    draw(run, data_of(run, allow_download), allow_class_paths)


def draw(run: Path, dataset: "Dataset", allow_class_paths: bool) -> None:
    """Draw figures of a run and its data, and write the report."""
    from ccvae.model.ccvae import load
    from ccvae.reports.figures import draw_all
    from ccvae.reports.report import write_report

    model = load(run, allow_class_paths=allow_class_paths)
    pictures = draw_all(model, dataset, run)
    page = write_report(run, model, dataset)
    tell(f"{len(pictures)} figures in {run / 'figures'}; report: {page}")


def predict(
    run: Path,
    images: list[Path] | Path | None = None,
    out: Path | None = None,
    split: str = "test",
    calibrated: bool = True,
    threshold: Literal["half", "prior", "balanced"] | float | None = None,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Label probabilities of images, or the labels themselves, as CSV.

    Args:
        run: run folder.
        images: image files or folders; the run's own data if none is given.
        out: CSV file to write; the terminal if not given.
        split: of the run's own data: "train", "validation" or "test".
        calibrated: apply the temperatures that training fitted on validation rows; no gives the exact q(y|x).
        threshold: write labels instead of probabilities. "half" takes the most probable value; "prior" and "balanced" (tuned on
            validation rows) suit balanced accuracy; a number is the probability from which a binary label counts as present.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load
    from ccvae.storage.atomic import writing

    model = load(run, allow_class_paths=allow_class_paths)
    names, inputs = inputs_of(model, run, images, split, None, allow_download)
    table = model.predict_proba(inputs, calibrated) if threshold is None else model.predict(inputs, threshold, calibrated)
    table.insert(0, "id", names)
    if out is None:
        sys.stdout.write(table.to_csv(index=False, float_format="%.4f"))
        return
    with writing(out) as path:
        table.to_csv(path, index=False)
    tell(f"{len(table)} rows in {out}")


def evaluate(
    run: Path,
    split: str = "test",
    settings: EvaluationConfig = EVALUATION,
    device: str = "auto",
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Measure a run's model into metrics.json and evaluation.html; processes that torchrun or srun started share the work.

    What to look at first is printed.

    Args:
        run: run folder.
        split: of the run's own data: "train", "validation" or "test".
        settings: on how many rows each thing is measured.
        device: where the model computes, in torch's words ("cpu", "cuda"); "auto" is a GPU, if there is one.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.distributed.work_queue import launched_work_queue
    from ccvae.evaluation import evaluate_run
    from ccvae.evaluation.compare import comparison

    with launched_work_queue() as queue:
        results = evaluate_run(
            run, data_of(run, allow_download), split, settings, device=device, queue=queue, allow_class_paths=allow_class_paths
        )
    if not queue.is_first:
        return
    sys.stdout.write(comparison({run.name: results}).to_string(index=False) + "\n")
    tell(f"page: {run / 'evaluation.html'}")


def compare(first: Path, second: Path, others: list[Path] | None = None) -> None:
    """Evaluated runs side by side, with 95 % intervals.

    Args:
        first: run folder.
        second: run folder.
        others: further run folders, as a list.
    """
    from ccvae.evaluation import compare_runs

    sys.stdout.write(compare_runs([first, second, *(others or [])]).to_string(index=False) + "\n")


def check_data(source: str, data: DataConfig = DATA, html: Path | None = None, json: bool = False) -> int:
    """Look data over before training: counts, labels, duplicates, leaks between splits. Exit code 1 if there are problems.

    Args:
        source: "avatars", "digits", "fashion_mnist", "mnist", a folder of images, or a table.
        data: how the source is read.
        html: page to write, with pictures.
        json: print JSON instead of text.
    """
    from ccvae.data import check
    from ccvae.data.open import open_data
    from ccvae.storage.atomic import writing

    found = check(open_data(source, data))
    sys.stdout.write(found.to_json() + "\n" if json else found.to_text())
    if html is not None:
        with writing(html) as path:
            path.write_text(found.to_html(), encoding="utf-8")
        tell(f"page: {html}")
    return 1 if found.problems else 0


def cache_data(source: str, data: DataConfig = DATA) -> None:
    """Decode a source's images into the cache ahead of training.

    Args:
        source: "avatars", a folder of images, or another source of images.
        data: how the source is read; training finds the cache if it reads it alike.
    """
    import numpy as np

    from ccvae.data.open import open_data

    dataset = open_data(source, data)
    tell(described(dataset))
    if isinstance(dataset.inputs, np.memmap):
        tell(f"{dataset.inputs.nbytes / 1e6:,.0f} MB are cached in {dataset.inputs.filename}")
    else:
        tell("nothing to cache: these data are read at once")


def tell(message: str) -> None:
    """Say something to the person at the terminal, beside what a verb prints."""
    sys.stderr.write(f"{message}\n")


def described(dataset: "Dataset") -> str:
    """What data there are, in a few lines."""
    import numpy as np

    kinds = [label.kind for label in dataset.space]
    train = dataset.labels[dataset.splits["train"]]
    labelled = int((~np.isnan(train)).any(axis=1).sum())
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in dataset.splits.items())
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{dataset.name}: {len(dataset):,} rows of shape {dataset.input_shape} ({sizes}); labels: {counts}"]
    lines += [f"{labelled:,} of {len(train):,} training rows have labels", *dataset.notes]
    lines += [f"warning: {warning}" for warning in dataset.warnings]
    return "\n".join(lines)


def loggers(out: Path, tensorboard: bool) -> list[Any]:
    """Lightning's TensorBoard logger, where asked for."""
    if not tensorboard:
        return []
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return [TensorBoardLogger(out, name="tensorboard", version="")]
    except ModuleNotFoundError:
        raise ValueError("tensorboard: the package is not installed; run: pip install 'ccvae[log]'") from None


def data_of(run: Path, allow_download: bool = False) -> "Dataset":
    """A run's own data, read and split as it was for training, whatever rows were added since.

    The run's config.yaml may be from a stranger, so it names data of this machine only: a bundled data set, or a local file or
    folder, which is read as data and nothing else. What a run reads from elsewhere must be allowed by the caller.
    """
    import pandas as pd

    from ccvae.data.open import open_data
    from ccvae.storage.run_folder import read_settings

    settings = dict(read_settings(run).get("data", {}))
    if "source" not in settings:
        raise ValueError(f"{run}: config.yaml does not say where the data came from; give images")
    source = settings.pop("source")
    if not isinstance(source, str):
        raise ValueError(f"{run / 'config.yaml'}: data.source: expected a text, found {source!r}")
    config = DataConfig(**settings)
    if config.reader == "hugging_face" and not Path(source).exists() and not allow_download:
        raise ValueError(
            f"{run / 'config.yaml'} names the data set {source!r} of the Hugging Face hub; to download it, or to read it from "
            f"the hub's cache, add --allow_download"
        )
    tell(f"reading {source}, as {run / 'config.yaml'} says")
    dataset = open_data(source, config)
    splits = run / "splits.csv"
    if not splits.exists():
        return dataset
    return dataset.split_as(pd.read_csv(splits, dtype=str, keep_default_na=False), str(splits))


def inputs_of(
    model: "CCVAE", run: Path, images: list[Path] | Path | None, split: str, count: int | None, allow_download: bool
) -> "tuple[list[str], np.ndarray | Tensor]":
    """Names and inputs: of image files, or the first of the run's own data's split."""
    from ccvae.data.open import read_images
    from ccvae.storage.run_folder import read_settings

    if images:
        settings = dict(read_settings(run).get("data", {}))
        settings.pop("source", None)
        return read_images(images if isinstance(images, list) else [images], model.input_shape, DataConfig(**settings))
    dataset = data_of(run, allow_download)
    if split not in dataset.splits:
        raise ValueError(f"split: expected one of {', '.join(dataset.splits)}, found {split!r}")
    rows = dataset.splits[split][:count]
    if not len(rows):
        raise ValueError(f"split {split!r} of {dataset.name} has no rows; name images")
    return [str(name) for name in dataset.ids[rows]], dataset.tensor(rows)
