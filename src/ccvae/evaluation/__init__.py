"""Evaluation: everything that can be measured of a model, with numbers that say how sure they are.

What this package exports is imported on first use, so that its settings and comparisons need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccvae.config import EvaluationConfig
    from ccvae.evaluation.compare import compare_runs
    from ccvae.evaluation.evaluate import evaluate, evaluate_run
    from ccvae.evaluation.metrics.subtypes import merge_labels, subtype_capture
    from ccvae.evaluation.oracle.oracle import trained_oracle

__all__ = [
    "EvaluationConfig",
    "compare_runs",
    "evaluate",
    "evaluate_run",
    "merge_labels",
    "subtype_capture",
    "trained_oracle",
]

HOMES = {
    "EvaluationConfig": "ccvae.config",
    "compare_runs": "ccvae.evaluation.compare",
    "evaluate": "ccvae.evaluation.evaluate",
    "evaluate_run": "ccvae.evaluation.evaluate",
    "merge_labels": "ccvae.evaluation.metrics.subtypes",
    "subtype_capture": "ccvae.evaluation.metrics.subtypes",
    "trained_oracle": "ccvae.evaluation.oracle.oracle",
}
"""The module that each exported name comes from."""


def __getattr__(name: str) -> Any:
    """Import an exported name on its first use."""
    if name not in HOMES:
        raise AttributeError(f"module 'ccvae.evaluation' has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
