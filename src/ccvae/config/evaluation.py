"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ccvae.config.validation import check_seed, check_types, check_whole

__all__ = ["EvaluationConfig"]

LARGEST_SAMPLE = 10**6
"""Of rows, samples or images that one metric uses."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation: how many rows, samples and pictures each metric uses.

    All counts are upper limits. Every reported number states how many rows it was measured on.

    Args:
        rows: rows for classification, reconstruction and the bound.
        evidence_rows: rows for the importance-weighted estimate of log p(x).
        evidence_samples: importance samples per row; more samples give a tighter estimate.
        edit_rows: rows in which every label is set to another value.
        walk_rows: rows in which every label is traversed.
        truth_rows: rows whose edits are compared with rendered ground truth.
        pairs: pairs of images per label for transfers.
        probe_rows: training rows on which probes are fitted.
        conditions: combinations of labels under which images are generated.
        repeats: generated images per combination.
        pictures: images of each kind for Fréchet and kernel distances.
        draws: bootstrap resamples for the intervals of classification metrics.
        calibrate: measure calibrated probabilities too, with the run's temperatures, or, if it has none, with temperatures
            fitted on the validation split.
        seed: seed of all choices of rows and all samples.
    """

    rows: int = 4000
    evidence_rows: int = 96
    evidence_samples: int = 512
    edit_rows: int = 300
    walk_rows: int = 64
    truth_rows: int = 48
    pairs: int = 150
    probe_rows: int = 4000
    conditions: int = 64
    repeats: int = 8
    pictures: int = 2000
    draws: int = 100
    calibrate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in fields(self):
            if setting.name not in ("calibrate", "seed"):
                least = 1 if setting.name == "evidence_samples" else 2
                check_whole(setting.name, getattr(self, setting.name), least=least, most=LARGEST_SAMPLE)
        if self.conditions * self.repeats > LARGEST_SAMPLE:
            raise ValueError(f"conditions: conditions × repeats must be at most {LARGEST_SAMPLE:,} generated images")
        check_types(self)
        check_seed(self.seed)
