"""Evaluation: everything that can be measured of a model, with numbers that say how sure they are.

What this package exports is imported on first use, so that its settings and comparisons need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from ccvae.config import EvaluationConfig

if TYPE_CHECKING:
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

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["compare_runs"],
        "evaluate": ["evaluate", "evaluate_run"],
        "metrics.subtypes": ["merge_labels", "subtype_capture"],
        "oracle.oracle": ["trained_oracle"],
    },
)
