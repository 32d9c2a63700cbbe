"""The sections of an evaluation; each measures one thing or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ccvae.config import EvaluationConfig
from ccvae.data.dataset import Dataset
from ccvae.evaluation.bootstrap import Estimate, average, mean_estimates
from ccvae.evaluation.metrics.classification import classification
from ccvae.evaluation.metrics.disentanglement import color_reading, leakage, variant_reading
from ccvae.evaluation.metrics.generation import conditional_generation
from ccvae.evaluation.metrics.ground_truth import interventions_against_truth, pooled, transfer_pairs, transfers_against_truth
from ccvae.evaluation.metrics.interventions import flip_matrix, label_dependence, set_matrix, traversal_matrix
from ccvae.evaluation.metrics.latent_usage import latent_usage
from ccvae.evaluation.metrics.likelihood import bound_terms, log_evidence, reconstruction_error
from ccvae.evaluation.metrics.sample_quality import sample_quality
from ccvae.evaluation.metrics.self_consistency import self_consistency
from ccvae.evaluation.metrics.transfers import transfers_by_variant
from ccvae.evaluation.oracle.accuracy import oracle_accuracy
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import Classifier, GenerativeModel, Sample, exact_probabilities, sample_of
from ccvae.model.calibration import fit_temperatures, tempered
from ccvae.model.ccvae import CCVAE

__all__ = ["COSTLIEST_FIRST", "Evaluation", "Skipped"]

COSTLIEST_FIRST = (
    "likelihood", "characteristics", "interventions", "leakage", "counterfactuals", "classification", "realism", "oracle",
    "generation", "latents", "consistency",
)  # fmt: skip
"""All sections, slowest first (on 32×32 images), so that processes that share them finish at about the same time."""


class Skipped(Exception):  # noqa: N818 — not an error: the results state what was skipped and why
    """A section cannot be measured; the message says why."""


class Evaluation:
    """The sections of an evaluation: each method measures one thing or raises `Skipped`.

    Args:
        model: the model.
        data: its data.
        sample: rows to measure on.
        config: numbers of rows, samples and images.
        oracle: predicts labels of images.
    """

    def __init__(self, model: Any, data: Dataset, sample: Sample, config: EvaluationConfig, oracle: Oracle) -> None:
        self.model, self.data, self.sample, self.config, self.oracle = model, data, sample, config, oracle
        self.train = sample_of(data, "train", max(config.probe_rows, config.pictures), config.seed + 1)

    def sections(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """The sections in the order of `metrics.json`."""
        return {
            "oracle": self.oracle_accuracy,
            "classification": self.classification,
            "likelihood": self.likelihood,
            "latents": self.latents,
            "generation": self.generation,
            "interventions": self.interventions,
            "counterfactuals": self.counterfactuals,
            "characteristics": self.characteristics,
            "leakage": self.leakage,
            "consistency": self.consistency,
            "realism": self.sample_quality,
        }

    # ------------------------------------------------------------------ requirements

    def generative_model(self) -> GenerativeModel:
        """The model, if it generates and edits images."""
        needed = ("reconstruct", "generate", "intervene", "traverse", "transfer")
        missing = [name for name in needed if not callable(getattr(self.model, name, None))]
        if missing:
            raise Skipped(f"the model cannot {', '.join(missing)}")
        model: GenerativeModel = self.model
        return model

    def latent_model(self) -> CCVAE:
        """The model, if it has latent blocks."""
        if not isinstance(self.model, CCVAE):
            raise Skipped("the model has no latent blocks")
        return self.model

    def with_truth(self, count: int) -> Sample:
        """The first rows of the sample, if the data have ground truth."""
        if self.data.truth is None:
            raise Skipped("these data have no ground truth; only rendered data have it, such as the avatars")
        return self.sample.first(count)

    # ------------------------------------------------------------------ sections

    def oracle_accuracy(self) -> dict[str, Any]:
        """Accuracy of the oracle on the rows and on the model's reconstructions of them."""
        return oracle_accuracy(self.model, self.oracle, self.sample)

    def classification(self) -> dict[str, Any]:
        """Classification by the exact q(y|x), and the effect of calibration."""
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
        """The bound, log p(x) and reconstruction errors."""
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
        """What each part of the latent vector is used for."""
        return latent_usage(self.latent_model(), self.sample.x, self.config.seed)

    def generation(self) -> dict[str, Any]:
        """Conditional generation."""
        conditions = self.config.conditions
        results = conditional_generation(
            self.generative_model(), self.oracle, self.sample, conditions, self.config.repeats, self.config.seed
        )
        if results["variants"]:
            coverage = [each["coverage"] for each in results["variants"].values() if not np.isnan(each["coverage"])]
            entropies = [each["entropy"] for each in results["variants"].values() if not np.isnan(each["entropy"])]
            results["mean"] |= {"coverage": float(np.mean(coverage)) if coverage else np.nan,
                                "entropy": float(np.mean(entropies)) if entropies else np.nan}  # fmt: skip
        return results

    def interventions(self) -> dict[str, Any]:
        """Interventions and traversals."""
        model, sample = self.generative_model(), self.sample.first(self.config.edit_rows)
        return {
            "flip": flip_matrix(model, self.oracle, sample).results(),
            "set": set_matrix(model, self.oracle, sample).results(),
            "traversal": traversal_matrix(model, self.oracle, sample.first(self.config.walk_rows)),
            "data": {"matrix": label_dependence(self.sample.y, self.data.space)},
        }

    def counterfactuals(self) -> dict[str, Any]:
        """Edited images against rendered ground truth."""
        sample, model = self.with_truth(self.config.truth_rows), self.generative_model()
        flips = interventions_against_truth(model, self.oracle, sample)
        pairs = {name: transfer_pairs(self.sample, name, self.config.truth_rows) for name in self.data.space.names}
        transfers = transfers_against_truth(model, self.oracle, self.sample, pairs)
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
        """Variants: read from latents, and transferred."""
        sample, model = self.with_truth(self.config.rows), self.generative_model()
        pairs = {name: transfer_pairs(sample, name, self.config.pairs) for name in self.data.space.names}
        transfers = transfers_by_variant(model, self.oracle, sample, pairs)
        found = {"transfers": {"mean": mean_of(list(transfers.values())), "labels": transfers}}
        if isinstance(self.model, CCVAE):
            reading = variant_reading(self.model, self.train.first(self.config.probe_rows), sample)
            found["reading"] = {"mean": mean_of(list(reading.values())), "labels": reading}
            colors = color_reading(self.model, self.train.first(self.config.probe_rows), sample)
            if colors:
                found["colors"] = {"mean": mean_of(list(colors.values())), "labels": colors}
        return found

    def leakage(self) -> dict[str, Any]:
        """Labels read from latents by probes."""
        found = leakage(self.latent_model(), self.train.first(self.config.probe_rows), self.sample)
        return {"mean": mean_of(list(found.values())), "labels": found}

    def consistency(self) -> dict[str, Any]:
        """Agreement of the classifier with the conditional prior."""
        found = self_consistency(self.latent_model(), self.config.seed)
        return {
            "mean": {"consistency": average(list(found.values()))},
            "labels": {name: {"consistency": each} for name, each in found.items()},
        }

    def sample_quality(self) -> dict[str, Any]:
        """Distances between the distributions of generated images and data."""
        model, pictures = self.generative_model(), self.config.pictures
        if len(self.sample) < 4:
            raise Skipped(f"{len(self.sample)} rows are too few to compare two halves")
        return sample_quality(model, self.oracle, self.train, self.sample, pictures, self.config.seed)


def mean_of(nested: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over labels of estimates and plain numbers, with the same nesting; labels without a number do not count."""
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
