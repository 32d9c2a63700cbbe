"""The oracle: a classifier trained independently of the model, with which its images are evaluated.

It learns all labels of the training split, and for rendered data also the variants in which they show. It never sees the model.
Every number that uses it is reported beside its own accuracy on rows that it was not trained on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from ccvae.data.dataset import Dataset
from ccvae.evaluation.oracle.predictions import Predictions
from ccvae.evaluation.oracle.training import OracleConfig, train_network
from ccvae.labels import Binary, Categorical, Label, LabelSpace
from ccvae.model.inference import evaluating
from ccvae.storage.cache import built_once

__all__ = ["OracleConfig", "OracleNetwork", "known_labels", "trained_oracle"]

VERSION = 1
"""Increased whenever a newly trained oracle would differ, so that older ones in the cache are not used for it."""
WEIGHTS = "oracle.safetensors"
FEATURES = 256
DROPOUT = 0.2
COARSEST_SIDE, FINEST_SIDE = 4, 32
ROWS_AT_ONCE = 64


class OracleNetwork(nn.Module):
    """Classifier of all labels and of the variants in which they show. An `Oracle`.

    Args:
        space: the labels.
        input_shape: shape of one input.
        variants: names of the variants by label; None where they are not known.
        width: see `OracleConfig`.
    """

    def __init__(
        self,
        space: LabelSpace,
        input_shape: Sequence[int],
        variants: Mapping[str, Sequence[str]] | None = None,
        width: int = OracleConfig.width,
    ) -> None:
        super().__init__()
        self.space = space
        self.variant_names = {name: tuple(names) for name, names in (variants or {}).items()}
        self.network = network(tuple(input_shape), width)
        self.sizes = [outputs(label) for label in space] + [len(names) for names in self.variant_names.values()]
        self.heads = nn.Linear(FEATURES, sum(self.sizes))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """Last hidden layer `(rows, features)`."""
        features: Tensor = self.network(x)
        return features

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of every head: labels in order, then variants."""
        parts: tuple[Tensor, ...] = self.heads(self.features(x)).split(self.sizes, -1)
        return parts

    def predict(self, images: Tensor) -> Predictions:
        """Predictions for images `(rows, *input_shape)`."""
        with evaluating(self), torch.no_grad():
            device = self.heads.weight.device
            features = torch.cat([self.features(chunk.to(device)) for chunk in images.split(ROWS_AT_ONCE)])
            parts = self.heads(features).cpu().split(self.sizes, -1)
        values = {label.name: to_prediction(label, part).numpy() for label, part in zip(self.space, parts, strict=False)}
        variants = {
            name: part.softmax(-1).numpy() for name, part in zip(self.variant_names, parts[len(self.space) :], strict=True)
        }
        return Predictions(values, variants, features.cpu().numpy())

    def loss(self, x: Tensor, y: Tensor, variants: Tensor) -> Tensor:
        """Loss of a batch: labels `(rows, labels)` with NaN where unknown, variants `(rows, labels)` with -1 where unknown."""
        parts = self.logits(x)
        losses = [
            label_loss(label, part, y[:, column]) for column, (label, part) in enumerate(zip(self.space, parts, strict=False))
        ]
        for name, part in zip(self.variant_names, parts[len(self.space) :], strict=True):
            target = variants[:, self.space.index(name)]
            losses.append(cross_entropy(part, target, ignore_index=-1, reduction="sum") / (target >= 0).sum().clamp_min(1))
        return torch.stack(losses).sum()


def network(shape: tuple[int, ...], width: int) -> nn.Module:
    """Features of inputs: a convolutional network for images, two hidden layers for vectors."""
    if len(shape) == 1:
        hidden = 8 * width
        return nn.Sequential(*dense(shape[0], hidden), *dense(hidden, FEATURES), nn.Dropout(DROPOUT))
    side = min(shape[1:])
    # large images are downsampled first, so they cost about as much as small ones
    shrunk = max(0, round(math.log2(side / FINEST_SIDE)))
    stages = max(1, round(math.log2(side / COARSEST_SIDE)) - shrunk)
    widths = [shape[0], width // 2, *(width * 2 ** min(stage, 2) for stage in range(stages))]
    layers = convolution(shape[0], widths[1], 2 if shrunk else 1)
    for _ in range(shrunk - 1):
        layers += convolution(widths[1], widths[1], 2)
    for narrow, wide in pairwise(widths[1:]):
        layers += convolution(narrow, wide, 2)
    sizes = list(shape[1:])
    for _ in range(shrunk + stages):
        sizes = [(size + 1) // 2 for size in sizes]
    return nn.Sequential(*layers, nn.Flatten(), *dense(widths[-1] * math.prod(sizes), FEATURES), nn.Dropout(DROPOUT))


def convolution(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    """3×3 convolution with batch normalization."""
    return [nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]


def dense(narrow: int, wide: int) -> list[nn.Module]:
    """Hidden layer with batch normalization."""
    return [nn.Linear(narrow, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU()]


def outputs(label: Label) -> int:
    """Number of outputs of a label's head."""
    return len(label.values) if isinstance(label, Categorical) else 1


def to_prediction(label: Label, part: Tensor) -> Tensor:
    """A head's outputs as `Predictions.values`."""
    if isinstance(label, Binary):
        present = part.sigmoid()
        return torch.cat([1 - present, present], -1)
    return part.softmax(-1) if isinstance(label, Categorical) else label.mean + label.scale * part


def label_loss(label: Label, part: Tensor, y: Tensor) -> Tensor:
    """Mean loss of one label's head over the rows in which the label is known."""
    known = ~y.isnan()
    if not known.any():
        return part.sum() * 0
    part, y = part[known], y[known]
    if isinstance(label, Binary):
        return binary_cross_entropy_with_logits(part[:, 0], y)
    if isinstance(label, Categorical):
        return cross_entropy(part, y.long())
    return mse_loss(part[:, 0], (y - label.mean) / label.scale)


def known_labels(data: Dataset, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Labels of rows as far as they are known; for rendered data, including those hidden from the model."""
    labels = data.labels[rows]
    if data.truth is None:
        return labels
    return np.where(np.isnan(labels), data.truth.variants[rows] >= 0, labels).astype(np.float32)


def train(data: Dataset, config: OracleConfig, progress: bool = False, device: torch.device | str = "cpu") -> OracleNetwork:
    """Train an oracle on the training split."""
    labels = known_labels(data)
    space = data.space.with_priors(labels[data.splits["train"]])
    variants = np.full(data.labels.shape, -1) if data.truth is None else data.truth.variants
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        names = None if data.truth is None else data.truth.variant_names
        oracle = OracleNetwork(space, data.input_shape, names, config.width).to(device)
        train_network(oracle, data, labels, variants, config, progress, device)
    return oracle.eval()


def trained_oracle(
    data: Dataset, config: OracleConfig | None = None, progress: bool = False, device: torch.device | str = "cpu"
) -> OracleNetwork:
    """The oracle of a data set, from the cache or newly trained.

    Args:
        data: trained on its training split, with all known labels.
        config: architecture and training.
        progress: whether to show a progress bar while training.
        device: device of training and prediction.

    Raises:
        ValueError: a label is unknown in all training rows, or constant.
        OSError: the cache cannot be written.
    """
    config = config or OracleConfig()
    space = data.space.with_priors(known_labels(data)[data.splits["train"]])
    variants = None if data.truth is None else data.truth.variant_names

    def build(folder: Path) -> None:
        weights = train(data, config, progress, device).state_dict()
        save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)

    folder = built_once(f"oracle-{fingerprint(data, config)}", build)
    oracle = OracleNetwork(space, data.input_shape, variants, config.width)
    oracle.load_state_dict(load_file(folder / WEIGHTS))
    return oracle.to(device).eval()


def fingerprint(data: Dataset, config: OracleConfig) -> str:
    """Hash of everything that an oracle depends on: training rows, their known labels, architecture and training."""
    told = hashlib.sha256(json.dumps([VERSION, repr(config), list(data.input_shape), list(data.space.names)]).encode())
    told.update(json.dumps([[label.kind, list(getattr(label, "values", ()))] for label in data.space]).encode())
    rows = data.splits["train"]
    told.update(np.ascontiguousarray(known_labels(data)[rows]).tobytes())
    for start in range(0, len(rows), 1024):
        told.update(np.ascontiguousarray(data.inputs[rows[start : start + 1024]]).tobytes())
    return told.hexdigest()[:16]
