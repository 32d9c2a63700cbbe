"""Sample quality: distances between the distributions of generated images and data, in the oracle's features.

Fréchet distance: Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017. Kernel distance: Bińkowski et
al., "Demystifying MMD GANs", ICLR 2018.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ccvae.evaluation.metrics.metric import Metric
from ccvae.evaluation.oracle.predictions import Oracle
from ccvae.evaluation.samples import GenerativeModel, Sample

__all__ = ["METRICS", "frechet_distance", "kernel_distance", "sample_quality"]

METRICS = (
    Metric("realism.generated.frechet", "Fréchet distance",
           "between generated images and data, in the oracle's features", "lower", "Realism", 2),
    Metric("realism.floor.frechet", "… of other rows",
           "the same between two halves of the data: what a perfect model would reach", "as it is", "Realism", 2),
    Metric("realism.reconstructed.frechet", "… of reconstructions",
           "the same between reconstructions and data: the cost of blur", "lower", "Realism", 2),
    Metric("realism.generated.kernel", "kernel distance",
           "squared maximum mean discrepancy in the same features", "lower", "Realism", 4),
)  # fmt: skip

SUBSETS = 50
LARGEST_SUBSET = 500


class Features(nn.Module):
    """Passes precomputed features to torchmetrics."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        """The features, unchanged."""
        return features


def frechet_distance(real: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance between normal fits to two sets of features `(rows, features)`; 0 for equal distributions."""
    metric = FrechetInceptionDistance(Features(real.shape[1]))
    metric.update(torch.tensor(real, dtype=torch.float64), real=True)
    metric.update(torch.tensor(other, dtype=torch.float64), real=False)
    return float(metric.compute())


def kernel_distance(real: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Squared maximum mean discrepancy with a cubic kernel (unbiased): its mean and standard deviation over subsets."""
    size = min(LARGEST_SUBSET, len(real), len(other))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance` will save all")
        metric = KernelInceptionDistance(Features(real.shape[1]), subsets=SUBSETS, subset_size=size)
    metric.update(torch.tensor(real, dtype=torch.float64), real=True)
    metric.update(torch.tensor(other, dtype=torch.float64), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def sample_quality(
    model: GenerativeModel, oracle: Oracle, train: Sample, test: Sample, most: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Distances from real rows in the oracle's features, with equally many images of each kind.

    Args:
        model: the model.
        oracle: its features are compared.
        train: rows that the oracle may have been trained on.
        test: rows that it was not trained on.
        most: maximum number of images of each kind.
        seed: seed of the generated images.

    Returns:
        "generated": images generated without conditions; "reconstructed": reconstructions of the rows; "floor": other real
        rows, what a perfect model would reach; "training": training rows, which the oracle's features fit better. Each with
        "frechet", "kernel" and "kernel_deviation". "pictures": number of each; "features": number of features.

    Raises:
        ValueError: fewer than four test rows.
    """
    count = min(len(train), len(test) // 2, most)
    if count < 2:
        raise ValueError(f"sample quality: {len(test)} rows are too few to compare two halves; choose a split with more rows")
    rows, others, training = test.first(count), Sample(test.data, test.rows[count : 2 * count]), train.first(count)
    real = oracle.predict(rows.x).features
    features = {
        "generated": oracle.predict(model.generate(count, None, seed)).features,
        "reconstructed": oracle.predict(model.reconstruct(rows.x)).features,
        "floor": oracle.predict(others.x).features,
        "training": oracle.predict(training.x).features,
    }
    found: dict[str, Any] = {}
    for name, other in features.items():
        mean, deviation = kernel_distance(real, other, seed)
        found[name] = {"frechet": frechet_distance(real, other), "kernel": mean, "kernel_deviation": deviation}
    return {**found, "pictures": count, "features": real.shape[1]}
