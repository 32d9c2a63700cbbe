"""Evaluation of a model on its data: all sections, the summary, `metrics.json` and the page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ccvae.config import EvaluationConfig
from ccvae.data.dataset import Dataset
from ccvae.distributed.devices import device_named
from ccvae.distributed.work_queue import WorkQueue
from ccvae.evaluation.bootstrap import plain
from ccvae.evaluation.oracle.oracle import trained_oracle
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import Classifier, GenerativeModel, sample_of
from ccvae.evaluation.sections import COSTLIEST_FIRST, Evaluation, Skipped
from ccvae.evaluation.summary import summary
from ccvae.model.ccvae import CCVAE, load
from ccvae.model.latent_model import tensors_only
from ccvae.storage.atomic import check_writable, writing
from ccvae.storage.metrics import FORM
from ccvae.storage.run_folder import hash_of_weights

__all__ = ["evaluate", "evaluate_run"]


def evaluate(
    model: Classifier | GenerativeModel,
    data: Dataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    oracle: Oracle | None = None,
    progress: bool = True,
    queue: WorkQueue | None = None,
) -> dict[str, Any]:
    """Evaluate a model on a split of its data.

    Args:
        model: a `CCVAE`, a `Classifier` or a `GenerativeModel`; sections that it cannot do are skipped.
        data: the model's data.
        split: "test", "validation" or "train".
        config: numbers of rows, samples and images.
        oracle: predicts labels of images; by default the data's own oracle, from the cache or newly trained.
        progress: whether to show progress.
        queue: work queue of the processes that share the evaluation; by default this process alone.

    Returns:
        The content of `metrics.json`; empty in all processes but the first. "summary": the most important numbers (see
        `ccvae.evaluation.summary`). Then one entry per section (see the functions of `ccvae.evaluation.metrics`), with numbers
        as {"value", "low", "high", "rows"}, where low and high are the ends of the 95 % bootstrap interval over rows.
        "skipped": by section, why it was not measured. "seconds": by section.

    Raises:
        ValueError: the data do not have the model's labels, or the split is empty.
    """
    config, queue = config or EvaluationConfig(), queue or WorkQueue()
    progress = progress and queue.is_first
    model.space.check_matches(data.space)
    sample = sample_of(data, split, config.rows, config.seed)
    started = time.monotonic()
    device = model.device if isinstance(model, CCVAE) else torch.device("cpu")
    oracle = oracle or queue.first_process_first(lambda: trained_oracle(data, progress=progress, device=device))
    seconds = {"oracle_training": time.monotonic() - started}
    sections = Evaluation(model, data, sample, config, oracle).sections()
    own = {}
    from tqdm import tqdm

    bar = tqdm(total=len(sections), desc="evaluating", disable=not progress, leave=False)
    with bar, tensors_only(model) if isinstance(model, CCVAE) else nullcontext():
        for place, name in queue.claimed(COSTLIEST_FIRST):
            bar.n = place  # other processes have taken the sections before it
            bar.set_postfix_str(name)
            own[name] = measured(sections[name])
        bar.set_postfix_str("waiting for the other processes")
        everything = queue.gather(own)
    if not queue.is_first:
        return {}
    parts = {name: everything[name] for name in sections}
    about = {
        "form": FORM,
        "ccvae": version("ccvae"),
        "data": {"name": data.name, "split": split, "rows": len(sample), "labels": list(data.space.names)},
        "model": {"name": type(model).__name__, "config": asdict(model.config) if isinstance(model, CCVAE) else {}},
        "settings": asdict(config),
    }
    results = {name: part["results"] for name, part in parts.items() if "results" in part}
    skipped = {name: part["skipped"] for name, part in parts.items() if "skipped" in part}
    seconds |= {name: part["seconds"] for name, part in parts.items()}
    found: dict[str, Any] = plain({**about, **results, "skipped": skipped, "seconds": seconds})
    return {**found, "summary": summary(found)}


def measured(section: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A section's results, or why it was skipped, and its seconds, as JSON types."""
    started = time.monotonic()
    try:
        found: dict[str, Any] = {"results": section()}
    except Skipped as reason:
        found = {"skipped": str(reason)}
    done: dict[str, Any] = plain({**found, "seconds": time.monotonic() - started})
    return done


def evaluate_run(
    run: Path,
    data: Dataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    progress: bool = True,
    device: str = "auto",
    queue: WorkQueue | None = None,
    allow_class_paths: bool = False,
) -> dict[str, Any]:
    """Evaluate a run's model, and write `metrics.json` and `evaluation.html` into its folder.

    Args:
        run: the run folder.
        data: the run's data.
        split: "test", "validation" or "train".
        config: numbers of rows, samples and images.
        progress: whether to show progress.
        device: device of the model, as in torch; "auto" is a GPU if there is one.
        queue: work queue of the processes that share the evaluation, of which the first writes; by default this process alone.
        allow_class_paths: import the classes that the run's `config.yaml` names (see `ccvae.load`).

    Returns:
        See `evaluate`.

    Raises:
        OSError: the run folder cannot be written; found out before any work.
        ValueError: see `evaluate` and `ccvae.load`.
    """
    from ccvae.evaluation.page import write_evaluation

    run, queue = Path(run), queue or WorkQueue()
    for name in ("metrics.json", "evaluation.html", "figures") if run.is_dir() else ():
        check_writable(run / name)
        if name != "figures" and (run / name).is_dir():
            raise IsADirectoryError(f"cannot write {run / name}: there is a folder of that name; remove or rename it")
    if (run / "figures").is_file():
        raise NotADirectoryError(f"cannot write figures: {run / 'figures'} is a file and no folder; remove or rename it")
    model = load(run, allow_class_paths=allow_class_paths).to(device_named(device, queue.local_rank))
    results = evaluate(model, data, split, config, progress=progress, queue=queue)
    if not queue.is_first:
        return results
    results["model"]["weights"] = hash_of_weights(run)
    with writing(run / "metrics.json") as path:
        path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_evaluation(run, results)
    return results
