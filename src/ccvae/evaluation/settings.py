"""Settings of an evaluation: on how many rows each thing is measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ccvae.config import check_range

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation. All counts are upper limits; every number says on how many rows it rests.

    Args:
        rows: rows that are classified, reconstructed, and whose bound is computed.
        evidence_rows: rows whose log p(x) is estimated.
        evidence_samples: samples for each of them; the more, the tighter.
        edit_rows: rows of which every label is edited.
        walk_rows: rows of which every label is traversed.
        truth_rows: rows whose edits are compared with drawn truth.
        pairs: pairs of faces for every label's transfers.
        probe_rows: training rows from which probes learn.
        conditions: combinations of labels under which pictures are generated.
        repeats: pictures for each of them.
        pictures: pictures of each kind for Fréchet and kernel distances.
        draws: resamples for the intervals of classification.
        calibrate: fit a temperature for every label on the validation split; a run keeps them.
        seed: decides rows and samples.
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
        for field in fields(self):
            if field.name not in ("calibrate", "seed"):
                check_range(field.name, getattr(self, field.name), least=2 if field.name != "evidence_samples" else 1)
        check_range("seed", self.seed, least=0)
