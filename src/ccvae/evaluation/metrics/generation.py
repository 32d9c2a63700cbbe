"""Whether new pictures show the labels they were asked for, and how differently they show them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccvae.data.dataset import Truth
from ccvae.evaluation.bootstrap import grand_mean, mean_estimates
from ccvae.evaluation.oracle.predictions import Judge, Opinion, agrees
from ccvae.evaluation.samples import Painter, Sample

__all__ = ["conditional_generation"]

RARE = 0.25
"""A variant counts as covered where the model shows it at least so often as this share of how often the data do."""


def conditional_generation(
    model: Painter, judge: Judge, sample: Sample, conditions: int = 64, repeats: int = 8, seed: int = 0
) -> dict[str, Any]:
    """Pictures generated for the labels of rows of the data, several for each, and what an oracle sees in them.

    Args:
        model: the model.
        judge: who looks.
        sample: rows whose labels are asked; those with unknown labels are left out where others are enough.
        conditions: how many rows' labels are asked.
        repeats: pictures for each.
        seed: of the pictures; also of the real ones that diversity is compared with.

    Returns:
        "labels", by label: "agreement" with what was asked. "mean": of it; "joint", the share of pictures that show all labels
        as asked. "variants", by label that has them: see `variety`. "diversity": mean distance of pictures with the same
        labels, in oracle features, and the same of real pictures (drawn with the same labels where a program draws them, else
        any). "pictures": how many.
    """
    asked = chosen_conditions(sample, conditions)
    pictures = torch.cat([generated(model, row, repeats, seed + number * repeats) for number, row in enumerate(asked)])
    opinion = judge.look(pictures)
    wanted = np.repeat(asked, repeats, 0)
    hits = np.stack(
        [
            np.where(np.isnan(wanted[:, column]), np.nan, agrees(label, opinion, wanted[:, column]))
            for column, label in enumerate(sample.space)
        ],
        1,
    )
    # rows asked are what was drawn at random, so they are what is resampled
    by_condition = hits.reshape(len(asked), repeats, -1)
    agreement = by_condition.mean(1)
    joint = (np.nan_to_num(by_condition, nan=1) == 1).all(2).mean(1)
    real = judge.look(real_pictures(sample, asked, repeats, seed))
    return {
        "labels": dict(zip(sample.space.names, ({"agreement": each} for each in mean_estimates(agreement)), strict=True)),
        "mean": {
            "agreement": grand_mean(agreement),
            "joint": mean_estimates(joint[:, None])[0],
        },
        "variants": variety(sample, judge, opinion, wanted),
        "diversity": {
            "generated": mean_estimates(distances(opinion, repeats)[:, None])[0],
            "real": mean_estimates(distances(real, repeats)[:, None])[0],
            "real_has_same_labels": sample.data.truth is not None,
        },
        "pictures": len(pictures),
    }


def chosen_conditions(sample: Sample, count: int) -> np.ndarray:
    """Labels to ask for `(conditions, labels)`: of rows in which most are known."""
    y = sample.y
    return y[np.argsort(np.isnan(y).sum(1), kind="stable")[:count]]


def generated(model: Painter, row: np.ndarray, count: int, seed: int) -> Tensor:
    """Pictures for the known labels of one row."""
    given = {
        label.name: label.decode(number)
        for label, number in zip(model.space, row.tolist(), strict=True)
        if not np.isnan(number)
    }
    return model.generate(count, given, seed)


def real_pictures(sample: Sample, asked: np.ndarray, repeats: int, seed: int) -> Tensor:
    """Real inputs, as many as were generated: other faces drawn with the labels asked, or any rows of the sample."""
    truth = sample.data.truth
    rows = np.random.default_rng(seed).choice(sample.rows, len(asked) * repeats)
    if truth is None:
        return sample.data.tensor(rows)
    drawn = [
        with_labels(truth, truth.recipes[int(row)], sample.space.names, asked[number // repeats])
        for number, row in enumerate(rows)
    ]
    pixels = np.stack([truth.render(recipe) for recipe in drawn])
    return torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32)).permute(0, 3, 1, 2)


def with_labels(truth: Truth, recipe: Any, names: tuple[str, ...], values: np.ndarray) -> Any:
    """A recipe with all labels set."""
    for name, value in zip(names, values.tolist(), strict=True):
        recipe = truth.with_label(recipe, name, round(value))
    return recipe


def distances(opinion: Opinion, repeats: int) -> np.ndarray:
    """Mean distance in features between pictures of each condition `(conditions,)`."""
    features = opinion.features.reshape(-1, repeats, opinion.features.shape[1])
    pairs = [np.linalg.norm(features[:, one] - features[:, other], axis=-1) for one, other in combinations(range(repeats), 2)]
    return np.mean(pairs, 0) if pairs else np.full(len(features), np.nan)


def variety(sample: Sample, judge: Judge, opinion: Opinion, wanted: np.ndarray) -> dict[str, dict[str, float]]:
    """How many ways of showing a label pictures have, by label that has variants.

    Of the pictures for which the label was asked and in which it is seen: "coverage", the share of the data's variants that
    appear, not much rarer than in the data; "entropy" of the variants seen, over that in the data, at most about 1;
    "certainty", how sure the oracle is of the variant, and "real_certainty" on data: a model that mixes variants is seen with
    less; "pictures", how many.
    """
    if sample.data.truth is None:
        return {}
    real = judge.look(sample.x)
    y = sample.y
    found = {}
    for name, probabilities in opinion.variants.items():
        column = sample.space.index(name)
        shown = (wanted[:, column] == 1) & (opinion.says(name) == 1)
        holds = y[:, column] == 1
        if not shown.any() or not holds.any():
            found[name] = {"coverage": 0.0 if holds.any() else np.nan, "entropy": np.nan, "certainty": np.nan,
                           "real_certainty": np.nan, "pictures": int(shown.sum())}  # fmt: skip
            continue
        ours, theirs = probabilities[shown], real.variants[name][holds]
        counts = [np.bincount(each.argmax(1), minlength=each.shape[1]) / len(each) for each in (ours, theirs)]
        found[name] = {
            "coverage": float((counts[0] >= RARE * counts[1])[counts[1] > 0].mean()),
            "entropy": entropy(counts[0]) / entropy(counts[1]) if entropy(counts[1]) else np.nan,
            "certainty": float(ours.max(1).mean()),
            "real_certainty": float(theirs.max(1).mean()),
            "pictures": int(shown.sum()),
        }
    return found


def entropy(shares: np.ndarray) -> float:
    """Entropy of shares that sum to one, in nats."""
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
