"""Whether a label's block holds how the label shows, and whether it and nothing else moves in a transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_auroc

from ccvae.evaluation.bootstrap import Estimate, bootstrap, mean_estimates, share_estimate
from ccvae.evaluation.metrics.ground_truth import Pairs, as_tensor
from ccvae.evaluation.metrics.probes import Question, read
from ccvae.evaluation.oracle.predictions import Judge
from ccvae.evaluation.samples import Painter, Sample
from ccvae.labels import Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE

__all__ = ["leakage", "self_consistency", "transfers_by_variant", "variant_reading"]

QUARTERS = 4
"""Classes into which a continuous label is cut to be read."""
CONSISTENCY_SAMPLES = 2000


def latents(model: CCVAE, sample: Sample) -> np.ndarray:
    """Posterior means `(rows, latent_dim)`."""
    means: np.ndarray = model.encode(sample.x).loc.cpu().numpy()
    return means


def sources(model: CCVAE, column: int) -> dict[str, np.ndarray]:
    """Columns of the latent vector: a label's "own" block, "other" blocks, and the "style"."""
    every, own = np.arange(model.config.latent_dim), model.block_slices[column]
    blocks, style = every[: model.style.start], every[model.style]
    return {"own": every[own], "others": np.setdiff1d(blocks, every[own]), "style": style}


def variant_reading(model: CCVAE, train: Sample, test: Sample) -> dict[str, dict[str, Any]]:
    """How well a probe reads which variant shows a label, of rows where it holds.

    Args:
        model: the model.
        train: rows to train probes on.
        test: rows to ask them of.

    Returns:
        By label that has variants: "own", "others" and "style", the share read rightly from the label's own block, from all
        other blocks, and from the style; "chance", the most frequent variant's share; "times_chance", that of "own" over it.
    """
    truth = train.data.truth
    assert truth is not None
    asked = [
        (name, source, columns)
        for column, name in enumerate(train.space.names)
        for source, columns in sources(model, column).items()
        if len(truth.variant_names[name]) > 1 and len(columns)
    ]
    questions = [
        Question(columns, truth.variants[train.rows, train.space.index(name)], len(truth.variant_names[name]))
        for name, _, columns in asked
    ]
    found: dict[str, dict[str, Any]] = {}
    for (name, source, _), answer in zip(asked, read(questions, latents(model, train), latents(model, test)), strict=True):
        target = truth.variants[test.rows, test.space.index(name)]
        holds = target >= 0
        if not holds.any():
            continue
        found.setdefault(name, {})[source] = share_estimate(answer[holds].argmax(1) == target[holds])
        found[name]["chance"] = float(np.bincount(target[holds]).max() / holds.sum())
    for numbers in found.values():
        own, chance = numbers["own"], numbers["chance"]
        numbers["times_chance"] = Estimate(own.value / chance, own.low / chance, own.high / chance, own.rows)
    return found


def leakage(model: CCVAE, train: Sample, test: Sample) -> dict[str, dict[str, Any]]:
    """How well labels are read from latents that should not hold them.

    Returns:
        By label, areas under the ROC curve of a probe (0.5: nothing, 1: all): "own" block, "others", "style"; and "labels",
        of a probe that sees the other labels' true values: what "others" may know without any fault of the model's.
    """
    known_train, known_test = train.y, test.y
    space = train.space
    size = model.config.latent_dim
    inputs = [np.concatenate([latents(model, each), filled(each.y, space)], 1) for each in (train, test)]
    targets = [classes(space, y, known_train) for y in (known_train, known_test)]
    asked = [
        (column, source, columns)
        for column in range(len(space))
        for source, columns in {
            **sources(model, column),
            "labels": size + np.setdiff1d(np.arange(len(space)), [column]),
        }.items()
        if len(columns) and len(np.unique(targets[1][targets[1][:, column] >= 0, column])) > 1
    ]
    questions = [
        Question(columns, targets[0][:, column], QUARTERS if isinstance(label, Continuous) else len(label.values))
        for column, _, columns in asked
        for label in [space.labels[column]]
    ]
    found: dict[str, dict[str, Any]] = {}
    for (column, source, _), answer in zip(asked, read(questions, inputs[0], inputs[1]), strict=True):
        target = targets[1][:, column]
        found.setdefault(space.names[column], {})[source] = area_estimate(answer[target >= 0], target[target >= 0])
    return found


def filled(y: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Labels as inputs of a probe, unknown ones at their mean."""
    means = np.array([np.nanmean(column) if not np.isnan(column).all() else 0.0 for column in y.T])
    return np.where(np.isnan(y), means, y)


def classes(space: LabelSpace, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Labels as classes `(rows, labels)`, -1 where unknown; continuous ones by the quarter of training values they are in."""
    found = np.full(y.shape, -1)
    for column, label in enumerate(space):
        held = ~np.isnan(y[:, column])
        if isinstance(label, Continuous):
            edges = np.nanquantile(train[:, column], np.linspace(0, 1, QUARTERS + 1)[1:-1])
            found[held, column] = np.searchsorted(edges, y[held, column])
        else:
            found[held, column] = y[held, column].round().astype(int)
    return found


def area_estimate(answer: np.ndarray, target: np.ndarray) -> Estimate:
    """Mean area under the ROC curve of each class against the rest, of classes that some rows have, with its interval."""
    p, truth = torch.tensor(answer), torch.tensor(target, dtype=torch.long)

    def area(rows: np.ndarray) -> dict[str, float]:
        chosen = truth[rows]
        present = torch.bincount(chosen, minlength=p.shape[1]) > 0
        if int(present.sum()) < 2:
            return {"area": float("nan")}
        each = multiclass_auroc(p[rows][:, present], relabelled(chosen, present), int(present.sum()), None, validate_args=False)
        return {"area": float(each.mean())}

    return bootstrap(area, len(truth), 40)["area"]


def relabelled(target: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Classes numbered among those present."""
    places: torch.Tensor = present.cumsum(0) - 1
    return places[target]


def self_consistency(model: CCVAE, seed: int = 0, count: int = CONSISTENCY_SAMPLES) -> dict[str, Estimate]:
    """How often q(y_i|z_i) says y_i for z_i drawn from p(z_i|y_i), every value as often; of a continuous label, how often the
    value is within half the prior's deviation of what it says.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = []
    for label in model.space:
        if isinstance(label, Continuous):
            columns.append(label.mean + label.scale * torch.randn(count, generator=generator))
        else:
            columns.append(torch.arange(count).remainder(len(label.values)).float())
    y = torch.stack(columns, -1).to(model.device)
    with torch.no_grad():
        prior = model.conditional_prior(y.to(next(model.parameters()).dtype))
        noise = torch.randn(prior.loc.shape, generator=generator).to(prior.loc)
        maps = model.classifier(prior.loc + prior.scale * noise)
    hits = []
    for column, label in enumerate(model.space):
        said = maps[label.name]
        if isinstance(label, Continuous):
            hits.append((said.mean - y[:, column]).abs() <= label.scale / 2)
        elif len(label.values) == 2 and label.kind == "binary":
            hits.append((said.mean >= 0.5) == (y[:, column] == 1))
        else:
            hits.append(said.probs.argmax(-1) == y[:, column])  # type: ignore[attr-defined]
    estimates = mean_estimates(torch.stack(hits, -1).double().cpu().numpy())
    return dict(zip(model.space.names, estimates, strict=True))


def transfers_by_variant(model: Painter, judge: Judge, sample: Sample, pairs: Mapping[str, Pairs]) -> dict[str, dict[str, Any]]:
    """How often an oracle recognises the source's variant in the target, once the label's characteristic has moved there.

    Returns:
        By label: "recognised", the share of pictures that show the label by the source's variant; "present", that show the
        label at all; "by_variant", "recognised" of each; "truth", the same share of the true pictures, and "reconstruction",
        of the model's reconstructions of those: what the oracle, and the model's sharpness, leave possible; "chance", the
        most frequent variant's share.
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
        # a part that two labels share cannot always move as it is: what the true picture then shows is what to look for
        wanted = variants_of_transfer(sample, chosen, name)
        shares, present = {}, None
        for title, pictures in (("recognised", moved), ("truth", true), ("reconstruction", model.reconstruct(true))):
            opinion = judge.look(pictures)
            shows = opinion.says(name) == 1
            shares[title] = shows & (opinion.variant(name) == wanted)
            present = shows if present is None else present
        found[name] = {
            **{title: share_estimate(hits) for title, hits in shares.items()},
            "present": share_estimate(present if present is not None else []),
            "by_variant": {
                names[variant]: share_estimate(shares["recognised"][wanted == variant])
                for variant in np.unique(wanted).tolist()
            },
            "chance": float(np.bincount(wanted).max() / len(wanted)),
        }
    return found


def variants_of_transfer(sample: Sample, pairs: Pairs, label: str) -> np.ndarray:
    """Which variant each true picture of a transfer shows."""
    truth = sample.data.truth
    assert truth is not None
    names = truth.variant_names[label]
    return np.array(
        [
            names.index(truth.with_part_of(truth.recipes[target], truth.recipes[source], label).variants[label])
            for source, target in zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True)
        ]
    )
