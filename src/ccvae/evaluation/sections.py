"""The sections of an evaluation, each of which measures one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ccvae.config import EvaluationConfig
from ccvae.data.dataset import Dataset
from ccvae.evaluation.bootstrap import Estimate, average, mean_estimates, share_estimate
from ccvae.evaluation.metrics.classification import classification
from ccvae.evaluation.metrics.disentanglement import leakage, self_consistency, transfers_by_variant, variant_reading
from ccvae.evaluation.metrics.generation import conditional_generation
from ccvae.evaluation.metrics.ground_truth import interventions_against_truth, pooled, transfer_pairs, transfers_against_truth
from ccvae.evaluation.metrics.interventions import flip_matrix, label_dependence, set_matrix, traversal_matrix
from ccvae.evaluation.metrics.likelihood import bound_terms, latent_use, log_evidence, reconstruction_error
from ccvae.evaluation.metrics.sample_quality import realism
from ccvae.evaluation.oracle.oracle import known_labels
from ccvae.evaluation.oracle.predictions import Judge, Opinion, agrees
from ccvae.evaluation.samples import Classifier, Painter, Sample, exact_probabilities, sample_of
from ccvae.model.calibration import fit_temperatures, tempered
from ccvae.model.ccvae import CCVAE

__all__ = ["COSTLIEST_FIRST", "Evaluation", "Skipped"]

COSTLIEST_FIRST = (
    "likelihood", "characteristics", "interventions", "leakage", "counterfactuals", "classification", "realism", "oracle",
    "generation", "latents", "consistency",
)  # fmt: skip
"""All sections, those first that took longest on faces of 32×32: processes that share them should end at about one time."""


class Skipped(Exception):  # noqa: N818 — not an error: the results say what was skipped and why
    """A part of the evaluation cannot be done; the message says why."""


class Evaluation:
    """The sections of an evaluation, each a method that measures one thing, or says why it cannot.

    Args:
        model: what is measured.
        data: its data.
        sample: the rows to measure on.
        config: on how many of them.
        judge: the oracle.
    """

    def __init__(self, model: Any, data: Dataset, sample: Sample, config: EvaluationConfig, judge: Judge) -> None:
        self.model, self.data, self.sample, self.config, self.judge = model, data, sample, config, judge
        self.train = sample_of(data, "train", max(config.probe_rows, config.pictures), config.seed + 1)

    def sections(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """The sections, in order."""
        return {
            "oracle": self.oracle,
            "classification": self.classification,
            "likelihood": self.likelihood,
            "latents": self.latents,
            "generation": self.generation,
            "interventions": self.interventions,
            "counterfactuals": self.counterfactuals,
            "characteristics": self.characteristics,
            "leakage": self.leakage,
            "consistency": self.consistency,
            "realism": self.realism,
        }

    # ------------------------------------------------------------------ what can be measured

    def painter(self) -> Painter:
        """The model, if it paints."""
        needed = ("reconstruct", "generate", "intervene", "traverse", "transfer")
        lacks = [name for name in needed if not callable(getattr(self.model, name, None))]
        if lacks:
            raise Skipped(f"the model cannot {', '.join(lacks)}")
        painter: Painter = self.model
        return painter

    def latent_model(self) -> CCVAE:
        """The model, if it has latent blocks."""
        if not isinstance(self.model, CCVAE):
            raise Skipped("the model has no latent blocks")
        return self.model

    def with_truth(self, count: int) -> Sample:
        """So many rows of the sample, if the truth about them is known."""
        if self.data.truth is None:
            raise Skipped("the truth about these data is not known; it is for data that a program draws, such as the avatars")
        return self.sample.first(count)

    # ------------------------------------------------------------------ sections

    def oracle(self) -> dict[str, Any]:
        """How often the oracle is right, on the rows themselves and on the model's reconstructions of them."""
        x = self.sample.x
        opinions = {"accuracy": self.judge.look(x)}
        if callable(getattr(self.model, "reconstruct", None)):
            opinions["reconstructed"] = self.judge.look(self.model.reconstruct(x))
        y = self.sample.y
        tables = {name: oracle_hits(self.data, y, opinion) for name, opinion in opinions.items()}
        labels: dict[str, dict[str, Any]] = {name: {} for name in self.data.space.names}
        for name, table in tables.items():
            for label, estimate in zip(labels.values(), mean_estimates(table), strict=True):
                label[name] = estimate
        variants = {}
        if self.data.truth is not None:
            shown = self.data.truth.variants[self.sample.rows]
            for label_name in opinions["accuracy"].variants:
                true = shown[:, self.data.space.index(label_name)]
                held = true >= 0
                variants[label_name] = {
                    name: share_estimate(opinion.variant(label_name)[held] == true[held]) for name, opinion in opinions.items()
                }
        means = {name: average([label[name] for label in labels.values()]) for name in opinions}
        means |= {f"variant_{name}": average([each[name] for each in variants.values()]) for name in opinions if variants}
        unknown = np.isnan(known_labels(self.data, self.data.splits["train"])).mean()
        return {"mean": means, "labels": labels, "variants": variants, "unknown_training_labels": float(unknown)}

    def classification(self) -> dict[str, Any]:
        """Classification by the exact q(y|x), and what calibration changes."""
        if not isinstance(self.model, Classifier):
            raise Skipped("the model does not classify")
        probabilities = exact_probabilities(self.model, self.sample.x)
        results = classification(probabilities, self.sample.y, self.data.space, self.config.draws)
        if self.config.calibrate and len(self.data.splits["validation"]):
            kept = getattr(self.model, "calibration", None)
            if kept is None:
                validation = sample_of(self.data, "validation", self.config.rows, self.config.seed)
                temperatures = fit_temperatures(exact_probabilities(self.model, validation.x), validation.y, self.data.space)
            else:
                temperatures = dict(kept.temperatures)
            scaled = classification(tempered(probabilities, temperatures, self.data.space), self.sample.y, self.data.space, 20)
            results |= {
                "temperatures": temperatures,
                "calibrated": {"mean": scaled["mean"], "reliability": scaled["reliability"]},
            }
        return results

    def likelihood(self) -> dict[str, Any]:
        """The bound, log p(x) and reconstructions."""
        model, x = self.latent_model(), self.sample.x
        few = self.sample.first(self.config.evidence_rows)
        evidence, effective = log_evidence(model, few.x, self.config.evidence_samples, self.config.seed)
        on_few = bound_terms(model, few.x, few.y, self.config.seed)["unlabelled"]["total"]
        return {
            "bound": bound_terms(model, x, self.sample.y, self.config.seed),
            "evidence": {
                "log_evidence": mean_estimates(evidence.cpu().numpy()[:, None])[0],
                "bound_on_these_rows": on_few,
                "effective_samples": mean_estimates(self.config.evidence_samples * effective.cpu().numpy()[:, None])[0],
                "samples": self.config.evidence_samples,
            },
            "reconstruction": reconstruction_error(x, model.reconstruct(x).cpu()),
            "numbers": int(np.prod(x.shape[1:])),
        }

    def latents(self) -> dict[str, Any]:
        """What every part of the latent vector is used for."""
        return latent_use(self.latent_model(), self.sample.x, self.config.seed)

    def generation(self) -> dict[str, Any]:
        """Conditional generation."""
        conditions = self.config.conditions
        results = conditional_generation(
            self.painter(), self.judge, self.sample, conditions, self.config.repeats, self.config.seed
        )
        if results["variants"]:
            coverage = [each["coverage"] for each in results["variants"].values() if not np.isnan(each["coverage"])]
            entropies = [each["entropy"] for each in results["variants"].values() if not np.isnan(each["entropy"])]
            results["mean"] |= {"coverage": float(np.mean(coverage)) if coverage else np.nan,
                                "entropy": float(np.mean(entropies)) if entropies else np.nan}  # fmt: skip
        return results

    def interventions(self) -> dict[str, Any]:
        """Interventions and traversals."""
        model, sample = self.painter(), self.sample.first(self.config.edit_rows)
        return {
            "flip": flip_matrix(model, self.judge, sample).results(),
            "set": set_matrix(model, self.judge, sample).results(),
            "traversal": traversal_matrix(model, self.judge, sample.first(self.config.walk_rows)),
            "data": {"matrix": label_dependence(self.sample.y, self.data.space)},
        }

    def counterfactuals(self) -> dict[str, Any]:
        """Pictures against drawn truth."""
        sample, model = self.with_truth(self.config.truth_rows), self.painter()
        flips = interventions_against_truth(model, self.judge, sample)
        pairs = {name: transfer_pairs(self.sample, name, self.config.truth_rows) for name in self.data.space.names}
        transfers = transfers_against_truth(model, self.judge, self.sample, pairs)
        kinds = ("ready", "nearest")
        return {
            "interventions": {
                "mean": {kind: pooled([each[kind] for each in flips.values()]).results() for kind in kinds},
                "labels": {name: {kind: each[kind].results() for kind in kinds} for name, each in flips.items()},
            },
            "transfers": {
                "mean": pooled(list(transfers.values())).results(),
                "labels": {name: each.results() for name, each in transfers.items()},
            },
        }

    def characteristics(self) -> dict[str, Any]:
        """Variants, read from latents and moved by transfers."""
        sample, model = self.with_truth(self.config.rows), self.painter()
        pairs = {name: transfer_pairs(sample, name, self.config.pairs) for name in self.data.space.names}
        transfers = transfers_by_variant(model, self.judge, sample, pairs)
        found = {"transfers": {"mean": mean_of(list(transfers.values())), "labels": transfers}}
        if isinstance(self.model, CCVAE):
            reading = variant_reading(self.model, self.train.first(self.config.probe_rows), sample)
            found["reading"] = {"mean": mean_of(list(reading.values())), "labels": reading}
        return found

    def leakage(self) -> dict[str, Any]:
        """Labels read from latents."""
        found = leakage(self.latent_model(), self.train.first(self.config.probe_rows), self.sample)
        return {"mean": mean_of(list(found.values())), "labels": found}

    def consistency(self) -> dict[str, Any]:
        """Agreement of the classifier with the conditional prior."""
        found = self_consistency(self.latent_model(), self.config.seed)
        return {
            "mean": {"consistency": average(list(found.values()))},
            "labels": {name: {"consistency": each} for name, each in found.items()},
        }

    def realism(self) -> dict[str, Any]:
        """Distances of distributions."""
        model, pictures = self.painter(), self.config.pictures
        if len(self.sample) < 4:
            raise Skipped(f"{len(self.sample)} rows are too few to compare two halves of")
        return realism(model, self.judge, self.train, self.sample, pictures, self.config.seed)


def oracle_hits(data: Dataset, y: np.ndarray, opinion: Opinion) -> np.ndarray:
    """Where an oracle is right `(rows, labels)`, NaN where the truth is unknown."""
    hits = [
        np.where(np.isnan(y[:, column]), np.nan, agrees(label, opinion, y[:, column]))
        for column, label in enumerate(data.space)
    ]
    return np.stack(hits, 1)


def mean_of(nested: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over labels of estimates and plain numbers, in the form of each; of what some lack, over the others."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in nested for name in each):
        values = [each[name] for each in nested if name in each]
        if isinstance(values[0], Estimate):
            found[name] = average(values)
        elif isinstance(values[0], float):
            found[name] = float(np.mean(values))
        elif name != "by_variant":
            found[name] = mean_of(values)
    return found
