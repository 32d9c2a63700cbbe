"""Transfers: whether an oracle recognizes the source's variant on the target after a label's characteristic was transferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ccvae.evaluation.bootstrap import share_estimate
from ccvae.evaluation.metrics.ground_truth import VISIBLE, Pairs, as_tensor
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import GenerativeModel, Sample

__all__ = ["METRICS", "TABLES", "transfers_by_variant"]

METRICS = (
    Metric("characteristics.transfers.mean.recognised", "transfer recognised",
           "fraction of transfers in which the oracle predicts the source's variant for the target", "higher",
           "Characteristics"),
    Metric("characteristics.transfers.mean.visible.recognised", "… of visible pairs",
           "the same for pairs in which nothing hides the characteristic", "higher",
           "Characteristics"),
    Metric("characteristics.transfers.mean.visible.color", "… color of visible pairs",
           "fraction of visible pairs in which the transferred part has the source's color, by the nearest true image",
           "higher", "Characteristics"),
    Metric("characteristics.transfers.mean.visible.with_color", "… with its color",
           "fraction of visible pairs with both the source's variant and its color; labels with colors of their own only",
           "higher", "Characteristics"),
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
    LabelTable(
        "Transfers by label, visible pairs",
        "Only pairs in which nothing hides the characteristic, such as a hat over hair. Pairs: their fraction. Color: the "
        "transferred part has the source's color, by the nearest true image (labels with colors of their own only); with "
        "color: both variant and color are the source's.",
        "characteristics.transfers.labels",
        {
            name.replace("_", " "): f"visible.{name}"
            for name in (
                "pairs",
                "recognised",
                "reconstruction",
                "truth",
                "chance",
                "color",
                "color_reconstruction",
                "color_chance",
                "with_color",
            )
        },
        uses_oracle=True,
    ),
)

VISIBLE_PIXELS = 0.002
"""Smallest fraction of pixels that has to change for a part to count as visible: two pixels of an image of 32×32."""


def transfers_by_variant(
    model: GenerativeModel, oracle: Oracle, sample: Sample, pairs: Mapping[str, Pairs]
) -> dict[str, dict[str, Any]]:
    """How often an oracle recognizes the source's variant on the target after the label's characteristic was transferred.

    Args:
        model: the model.
        oracle: predicts labels and variants of images.
        sample: rows that the pairs are taken from.
        pairs: by label.

    Returns:
        By label: "recognised", fraction of images that show the label in the source's variant; "present", that show the label
        at all; "by_variant", "recognised" of each variant; "truth", "recognised" in the true images, and "reconstruction", in
        the model's reconstructions of those: limits set by the oracle and by the model's sharpness; "chance", frequency of the
        most frequent variant. "visible": the same for visible pairs only, see `visible_pairs` and `visible_results`.
    """
    truth = sample.data.truth
    assert truth is not None
    found: dict[str, dict[str, Any]] = {}
    for name, chosen in pairs.items():
        names = truth.variant_names[name]
        if not len(chosen.sources) or len(names) < 2:
            continue
        true = as_tensor([truth.transfer(source, target, name) for source, target in rows_of(chosen)])
        images = {
            "recognised": model.transfer(sample.data.tensor(chosen.sources), sample.data.tensor(chosen.targets), [name]).to(
                true
            ),
            "truth": true,
            "reconstruction": model.reconstruct(true).to(true),
        }
        expected = chosen.variants
        predictions = {title: oracle.predict(each) for title, each in images.items()}
        shows = {title: each.value(name) == 1 for title, each in predictions.items()}
        hits = {title: shows[title] & (each.variant(name) == expected) for title, each in predictions.items()}
        found[name] = {
            **{title: share_estimate(each) for title, each in hits.items()},
            "present": share_estimate(shows["recognised"]),
            "by_variant": {
                names[variant]: share_estimate(hits["recognised"][expected == variant])
                for variant in np.unique(expected).tolist()
            },
            "chance": float(np.bincount(expected).max() / len(expected)),
        }
        visible = visible_pairs(sample, chosen, name, true)
        if visible.any():
            colors = color_hits(sample, chosen, name, images, visible)
            found[name]["visible"] = visible_results(visible, hits, expected, colors)
    return found


def visible_pairs(sample: Sample, pairs: Pairs, label: str, true: Tensor) -> np.ndarray:
    """Pairs in which nothing hides the characteristic, neither in the source nor in the true transfer `(pairs,)`.

    Hair can be hidden under a hat, and earrings behind hair. Removing the label from the source, and transferring it to the
    target, have to change at least `VISIBLE_PIXELS` of the image.
    """
    truth = sample.data.truth
    assert truth is not None
    without = as_tensor([truth.intervention(source, label, 0) for source, _ in rows_of(pairs)])
    at_source = changed_pixels(sample.data.tensor(pairs.sources), without) >= VISIBLE_PIXELS
    at_target = changed_pixels(sample.data.tensor(pairs.targets), true) >= VISIBLE_PIXELS
    visible: np.ndarray = at_source & at_target
    return visible


def changed_pixels(first: Tensor, second: Tensor) -> np.ndarray:
    """Fraction of pixels that differ visibly between images `(rows,)`."""
    fraction: np.ndarray = ((first - second).abs().amax(1) > VISIBLE).float().flatten(1).mean(1).numpy()
    return fraction


def color_hits(
    sample: Sample, pairs: Pairs, label: str, images: Mapping[str, Tensor], visible: np.ndarray
) -> dict[str, np.ndarray]:
    """Whether images show the color of the source's part, of visible pairs; empty if the label has no colors of its own.

    The color of an image is that of the nearest true image, among those with the expected variant in every color, in the
    region that differs between colors.

    Returns:
        By name of the images, 1, 0, or NaN where no color shows `(visible pairs,)`; and "color", index of the source's color,
        -1 where none shows.
    """
    truth = sample.data.truth
    assert truth is not None
    names = truth.color_names.get(label, ())
    if len(names) < 2:
        return {}
    chosen = np.flatnonzero(visible)
    shown = truth.colors(pairs.sources[chosen])[label]
    nearest: dict[str, list[int]] = {name: [] for name in images}
    for pair in chosen.tolist():
        source, target = int(pairs.sources[pair]), int(pairs.targets[pair])
        recipe = truth.with_part_of(truth.recipes[target], truth.recipes[source], label)
        candidates = as_tensor([truth.render(truth.with_color(recipe, label, color)) for color in names])
        region = (candidates.amax(0) - candidates.amin(0) > VISIBLE).any(0)
        for name, each in images.items():
            nearest[name].append(int(((candidates - each[pair]).abs() * region).flatten(1).sum(1).argmin()))
    right = {name: np.where(shown < 0, np.nan, np.array(each) == shown) for name, each in nearest.items()}
    return {"color": shown, **right}


def visible_results(
    visible: np.ndarray, hits: Mapping[str, np.ndarray], expected: np.ndarray, colors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Results for visible pairs.

    Returns:
        "pairs", fraction of pairs that are visible; "recognised", "truth" and "reconstruction" as for all pairs; "chance",
        frequency of the most frequent variant among them. For labels with colors of their own also "color" and
        "color_reconstruction", fraction with the source's color in the transferred images and in reconstructions of the true
        ones; "color_chance", frequency of the most frequent color; and "with_color", fraction with both variant and color.
    """
    among = expected[visible]
    found: dict[str, Any] = {
        "pairs": share_estimate(visible),
        **{name: share_estimate(each[visible]) for name, each in hits.items()},
        "chance": float(np.bincount(among).max() / len(among)),
    }
    if colors and (colors["color"] >= 0).any():
        shown = colors["color"][colors["color"] >= 0]
        found |= {
            "color": share_estimate(colors["recognised"]),
            "color_reconstruction": share_estimate(colors["reconstruction"]),
            "color_chance": float(np.bincount(shown).max() / len(shown)),
            "with_color": share_estimate(hits["recognised"][visible] & (colors["recognised"] != 0)),
        }
    return found


def rows_of(pairs: Pairs) -> list[tuple[int, int]]:
    """Row numbers of the sources and targets."""
    return list(zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True))
