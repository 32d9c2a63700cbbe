"""The summary of an evaluation: its most important numbers, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ccvae.evaluation.metrics import (
    classification,
    disentanglement,
    generation,
    ground_truth,
    interventions,
    latent_usage,
    likelihood,
    sample_quality,
    self_consistency,
    transfers,
)
from ccvae.evaluation.metrics.metric import Metric
from ccvae.evaluation.oracle import accuracy
from ccvae.storage.metrics import find

__all__ = ["METRICS", "TABLES", "summary"]

METRICS: tuple[Metric, ...] = (
    *classification.METRICS,
    *likelihood.METRICS,
    *generation.METRICS,
    *interventions.METRICS,
    *ground_truth.METRICS,
    *(metric for metric in disentanglement.METRICS if metric.group == "Characteristics"),
    *transfers.METRICS,
    *(metric for metric in disentanglement.METRICS if metric.group == "Leakage"),
    *self_consistency.METRICS,
    *sample_quality.METRICS,
    *accuracy.METRICS,
)
"""All metrics that a summary may have, in order."""

TABLES = (
    *classification.TABLES,
    *interventions.TABLES,
    *generation.TABLES,
    *ground_truth.TABLES,
    *(table for table in disentanglement.TABLES if table.path.startswith("characteristics")),
    *transfers.TABLES,
    *(table for table in disentanglement.TABLES if table.path.startswith("leakage")),
    *self_consistency.TABLES,
    *latent_usage.TABLES,
    *accuracy.TABLES,
)
"""Tables by label on the evaluation page, in order."""


def summary(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics that the results have: fields of `Metric`, with "value", "low" and "high"."""
    rows = []
    for metric in METRICS:
        found = find(results, metric.path)
        numbers = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
        if numbers.get("value") is not None:
            rows.append({**asdict(metric), **{name: numbers.get(name) for name in ("value", "low", "high")}})
    return rows
