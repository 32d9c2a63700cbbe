"""Everything that can be measured of a model on its data, in one go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
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
from ccvae.evaluation.oracle.predictions import Judge
from ccvae.evaluation.samples import Classifier, Painter, sample_of
from ccvae.evaluation.sections import COSTLIEST_FIRST, Evaluation, Skipped
from ccvae.evaluation.summary import summary
from ccvae.model.ccvae import CCVAE, load
from ccvae.storage.atomic import writing

__all__ = ["FORM", "evaluate", "evaluate_run"]

FORM = 1
"""Number of the form of `metrics.json`; it changes when a number moves or changes its meaning."""


def evaluate(
    model: Classifier | Painter,
    data: Dataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    judge: Judge | None = None,
    progress: bool = True,
    queue: WorkQueue | None = None,
) -> dict[str, Any]:
    """Measure a model on a split of its data.

    Args:
        model: a `CCVAE`; or whatever classifies (`predict_proba`) or paints (`Painter`), of which the rest is skipped.
        data: the model's data.
        split: "test", "validation" or "train".
        config: on how many rows.
        judge: the oracle; that of the data is read from the cache, or trained, if not given.
        progress: whether to show progress.
        queue: work queue of the processes that share the evaluation; this process alone by default.

    Returns:
        What `metrics.json` holds, as JSON can hold it; empty in all processes but the first. "summary": the few
        numbers to look at first. Then a section for each thing measured (see the functions that measure them), with numbers
        as {"value", "low", "high", "rows"}: the ends of the 95 % bootstrap interval over rows. "skipped": by section, why it
        is not there. "seconds": by section.

    Raises:
        ValueError: the data are not the model's, or the split has no rows.
    """
    config, queue = config or EvaluationConfig(), queue or WorkQueue()
    progress = progress and queue.is_first
    model.space.check_matches(data.space)
    sample = sample_of(data, split, config.rows, config.seed)
    started = time.monotonic()
    device = model.device if isinstance(model, CCVAE) else torch.device("cpu")
    judge = judge or queue.first_process_first(lambda: trained_oracle(data, progress=progress, device=device))
    seconds = {"oracle_training": time.monotonic() - started}
    sections = Evaluation(model, data, sample, config, judge).sections()
    own = {}
    from tqdm import tqdm

    with tqdm(total=len(sections), desc="evaluating", disable=not progress, leave=False) as bar:
        for place, name in queue.claimed(COSTLIEST_FIRST):
            bar.n = place  # others are at those before it, or through
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
    """A section's results, or why it was skipped, and the seconds it took, as JSON can hold them."""
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
    """Measure a run's model, and write `metrics.json` and `evaluation.html` into its folder.

    Args:
        run: run folder.
        data: the run's data.
        split: "test", "validation" or "train".
        config: on how many rows.
        progress: whether to show progress.
        device: where the model computes, in torch's words; "auto" is a GPU, if there is one.
        queue: work queue of the processes that share the evaluation; this process alone by default. The first writes.
        allow_class_paths: import the classes that the run's `config.yaml` names (see `ccvae.load`).

    Returns:
        See `evaluate`.
    """
    from ccvae.evaluation.page import write_evaluation

    run, queue = Path(run), queue or WorkQueue()
    model = load(run, allow_class_paths=allow_class_paths).to(device_named(device, queue.local_rank))
    results = evaluate(model, data, split, config, progress=progress, queue=queue)
    if not queue.is_first:
        return results
    with writing(run / "metrics.json") as path:
        path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_evaluation(run, results)
    return results
