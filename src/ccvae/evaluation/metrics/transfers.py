"""Transfers: whether an oracle recognizes the source's variant on the target after a label's characteristic was transferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ccvae.evaluation.bootstrap import share_estimate
from ccvae.evaluation.metrics.ground_truth import Pairs, as_tensor
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import GenerativeModel, Sample

__all__ = ["METRICS", "TABLES", "transfers_by_variant"]

METRICS = (
    Metric("characteristics.transfers.mean.recognised", "transfer recognised",
           "fraction of transfers in which the oracle predicts the source's variant for the target", "higher",
           "Characteristics"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Transfers by label",
        "Recognised: fraction of transfers in which the oracle predicts the source's variant. Present: predicts the label at "
        "all. Reconstruction and truth: recognised in the model's reconstructions of the true images, and in those themselves.",
        "characteristics.transfers.labels",
        {name: name for name in ("recognised", "present", "reconstruction", "truth", "chance")},
        uses_oracle=True,
    ),
)


def transfers_by_variant(
    model: GenerativeModel, oracle: Oracle, sample: Sample, pairs: Mapping[str, Pairs]
) -> dict[str, dict[str, Any]]:
    """How often an oracle recognizes the source's variant on the target after the label's characteristic was transferred.

    Returns:
        By label: "recognised", fraction of images that show the label in the source's variant; "present", that show the label
        at all; "by_variant", "recognised" of each variant; "truth", "recognised" in the true images, and "reconstruction", in
        the model's reconstructions of those: limits set by the oracle and by the model's sharpness; "chance", frequency of the
        most frequent variant.
    """
    truth = sample.data.truth
    assert truth is not None
    found: dict[str, dict[str, Any]] = {}
    for name, chosen in pairs.items():
        names = truth.variant_names[name]
        if not len(chosen.sources) or len(names) < 2:
            continue
        true = as_tensor(
            [
                truth.transfer(source, target, name)
                for source, target in zip(chosen.sources.tolist(), chosen.targets.tolist(), strict=True)
            ]
        )
        moved = model.transfer(sample.data.tensor(chosen.sources), sample.data.tensor(chosen.targets), [name])
        expected = chosen.variants
        shares, present = {}, None
        for title, images in (("recognised", moved), ("truth", true), ("reconstruction", model.reconstruct(true))):
            predictions = oracle.predict(images)
            shows = predictions.value(name) == 1
            shares[title] = shows & (predictions.variant(name) == expected)
            present = shows if present is None else present
        found[name] = {
            **{title: share_estimate(hits) for title, hits in shares.items()},
            "present": share_estimate(present if present is not None else []),
            "by_variant": {
                names[variant]: share_estimate(shares["recognised"][expected == variant])
                for variant in np.unique(expected).tolist()
            },
            "chance": float(np.bincount(expected).max() / len(expected)),
        }
    return found
