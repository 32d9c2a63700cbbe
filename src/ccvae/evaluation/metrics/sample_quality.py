"""How close the distribution of a model's pictures is to the data's, seen through features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ccvae.evaluation.oracle.predictions import Judge
from ccvae.evaluation.samples import Painter, Sample

__all__ = ["frechet_distance", "kernel_distance", "realism"]

SUBSETS = 50
LARGEST_SUBSET = 500


class Features(nn.Module):
    """Features that were computed already, as torchmetrics takes them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        """The features themselves."""
        return features


def frechet_distance(real: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance of Normal fits to two sets of features `(rows, features)`; 0 for the same distribution."""
    metric = FrechetInceptionDistance(Features(real.shape[1]))
    metric.update(torch.tensor(real, dtype=torch.float64), real=True)
    metric.update(torch.tensor(other, dtype=torch.float64), real=False)
    return float(metric.compute())


def kernel_distance(real: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Squared maximum mean discrepancy with a cubic kernel, unbiased: its mean over random subsets, and their deviation."""
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


def realism(model: Painter, judge: Judge, train: Sample, test: Sample, most: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Distances from real rows' features, of equally many pictures of each kind.

    Args:
        model: the model.
        judge: whose features are compared.
        train: rows that the judge may have learned from.
        test: rows that it has not.
        most: pictures of each kind, if half of the rows are as many.
        seed: of what is generated.

    Returns:
        "generated": of new pictures under no condition; "reconstructed": of the rows themselves as the model sees them;
        "floor": of other real rows, which is what a perfect model would reach; "training": of training rows, to which the
        oracle's features are partial. Each with "frechet", "kernel" and "kernel_deviation". "pictures": how many of each;
        "features": how many numbers they are compared by.
    """
    count = min(len(train), len(test) // 2, most)
    if count < 2:
        raise ValueError(f"realism: {len(test)} rows are too few to compare two halves of; choose a split with more")
    rows, others, training = test.first(count), Sample(test.data, test.rows[count : 2 * count]), train.first(count)
    real = judge.look(rows.x).features
    looks = {
        "generated": judge.look(model.generate(count, None, seed)).features,
        "reconstructed": judge.look(model.reconstruct(rows.x)).features,
        "floor": judge.look(others.x).features,
        "training": judge.look(training.x).features,
    }
    found: dict[str, Any] = {}
    for name, features in looks.items():
        mean, deviation = kernel_distance(real, features, seed)
        found[name] = {"frechet": frechet_distance(real, features), "kernel": mean, "kernel_deviation": deviation}
    return {**found, "pictures": count, "features": real.shape[1]}
