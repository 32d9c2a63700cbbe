"""The oracle: an independent classifier that judges pictures, trained once for each data set and kept in the cache.

It reads every label and, where a program drew the data, every label's variant (which glasses). It is trained on the data's own
training rows with all labels that are known of them, never meets a model, and is the eye with which pictures of models are
looked at. All numbers that rest on it are shown beside its own accuracy on rows that it was not trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, mse_loss, relu

from ccvae.config import ModelConfig
from ccvae.data.cache import built_once
from ccvae.data.dataset import Dataset
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model import evaluating
from ccvae.networks import build_encoder

__all__ = ["Judge", "Opinion", "Oracle", "OracleConfig", "known_labels", "trained_oracle"]

VERSION = 1
"""Raised whenever an oracle trained anew would differ, so that those in the cache are not mistaken for it."""
FEATURES = 128
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class OracleConfig:
    """How an oracle is made.

    Args:
        epochs: passes over the training rows.
        width: channels of its first convolution, or units of a hidden layer divided by eight.
        batch_size: rows a step.
        learning_rate: highest learning rate (Adam with decoupled weight decay, one cycle).
        blur: share of training images that are softened, so that a blurred picture is judged by what it shows.
        seed: of weights, batches and blur.
    """

    epochs: int = 8
    width: int = 48
    batch_size: int = 128
    learning_rate: float = 4e-3
    blur: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Opinion:
    """What an oracle sees in pictures.

    Args:
        values: by label, probabilities `(rows, values)` of a binary or categorical label's values, or a continuous one's
            expected value `(rows, 1)`.
        variants: by label that has variants, probabilities `(rows, variants)` of each, given that the label holds.
        features: what it rests on, `(rows, features)`; distances between them compare pictures by what they show.
    """

    values: Mapping[str, np.ndarray]
    variants: Mapping[str, np.ndarray]
    features: np.ndarray

    def says(self, label: str) -> np.ndarray:
        """The most probable value's position `(rows,)`, or a continuous label's expected value."""
        values = self.values[label]
        return values[:, 0] if values.shape[1] == 1 else values.argmax(1)

    def variant(self, label: str) -> np.ndarray:
        """Position `(rows,)` of the most probable variant."""
        return self.variants[label].argmax(1)

    def rows(self, chosen: np.ndarray | slice) -> Opinion:
        """The opinion on some of the pictures."""
        return Opinion(
            {name: values[chosen] for name, values in self.values.items()},
            {name: variants[chosen] for name, variants in self.variants.items()},
            self.features[chosen],
        )


class Judge(Protocol):
    """What gives opinions on pictures: the oracle, or whatever stands in for it."""

    def look(self, pictures: Tensor) -> Opinion:
        """Opinion on pictures `(rows, *input_shape)`."""
        ...


class Oracle(nn.Module):
    """A classifier of all labels, and of the variants that show them.

    Args:
        space: the labels.
        input_shape: of one input.
        variants: names of the variants by label; none where they are not known.
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
        config = ModelConfig(latent_dim=FEATURES // 2, width=width, dropout=0.2)
        self.network = build_encoder(config, tuple(input_shape))
        self.sizes = [outputs(label) for label in space] + [len(names) for names in self.variant_names.values()]
        self.heads = nn.Linear(FEATURES, sum(self.sizes))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """What the heads see of inputs: `(rows, features)`."""
        return relu(self.network(x))

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of every head: of the labels in order, then of the variants."""
        parts: tuple[Tensor, ...] = self.heads(self.features(x)).split(self.sizes, -1)
        return parts

    def look(self, pictures: Tensor) -> Opinion:
        """Opinion on pictures `(rows, *input_shape)`."""
        with evaluating(self), torch.no_grad():
            features = torch.cat([self.features(chunk) for chunk in pictures.split(ROWS_AT_ONCE)])
            parts = self.heads(features).split(self.sizes, -1)
        values = {label.name: readable(label, part).numpy() for label, part in zip(self.space, parts, strict=False)}
        variants = {
            name: part.softmax(-1).numpy() for name, part in zip(self.variant_names, parts[len(self.space) :], strict=True)
        }
        return Opinion(values, variants, features.numpy())

    def loss(self, x: Tensor, y: Tensor, variants: Tensor) -> Tensor:
        """Mean loss of a batch: labels `(rows, labels)` with NaN where unknown, variants `(rows, labels)` with -1 for none."""
        parts = self.logits(x)
        losses = [
            label_loss(label, part, y[:, column]) for column, (label, part) in enumerate(zip(self.space, parts, strict=False))
        ]
        for name, part in zip(self.variant_names, parts[len(self.space) :], strict=True):
            target = variants[:, self.space.index(name)]
            losses.append(cross_entropy(part, target, ignore_index=-1, reduction="sum") / (target >= 0).sum().clamp_min(1))
        return torch.stack(losses).sum()


def outputs(label: Any) -> int:
    """Outputs of a label's head."""
    return len(label.values) if isinstance(label, Categorical) else 1


def readable(label: Any, part: Tensor) -> Tensor:
    """A head's outputs as `Opinion.values`."""
    if isinstance(label, Binary):
        present = part.sigmoid()
        return torch.cat([1 - present, present], -1)
    return part.softmax(-1) if isinstance(label, Categorical) else label.mean + label.scale * part


def label_loss(label: Any, part: Tensor, y: Tensor) -> Tensor:
    """Mean loss of one label's head over the rows where the label is known."""
    known = ~y.isnan()
    if not known.any():
        return part.sum() * 0
    part, y = part[known], y[known]
    if isinstance(label, Binary):
        return binary_cross_entropy_with_logits(part[:, 0], y)
    if isinstance(label, Categorical):
        return cross_entropy(part, y.long())
    return mse_loss(part[:, 0], (y - label.mean) / label.scale)


def known_labels(data: Dataset) -> np.ndarray:
    """All labels that are known of the data: where a program drew them, also those hidden from models."""
    if data.truth is None:
        return data.labels
    return np.where(np.isnan(data.labels), data.truth.variants >= 0, data.labels).astype(np.float32)


def soften(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Images of which a share is mixed with its own 3×3 mean, from a little to wholly."""
    blurred = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    drawn = torch.rand(2, len(x), 1, 1, 1, generator=generator)
    return torch.lerp(x, blurred, drawn[0] * (drawn[1] < share))


def train(data: Dataset, config: OracleConfig, progress: bool = False) -> Oracle:
    """An oracle trained on a data set's training rows."""
    from tqdm import tqdm

    rows, labels = data.splits["train"], known_labels(data)
    space = data.space.with_priors(labels[rows])
    variants = np.full(data.labels.shape, -1) if data.truth is None else data.truth.variants
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        oracle = Oracle(space, data.input_shape, None if data.truth is None else data.truth.variant_names, config.width).train()
        generator = torch.Generator().manual_seed(config.seed)
        matrices = [parameter for parameter in oracle.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in oracle.parameters() if parameter.ndim <= 1]
        optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}])
        size = min(config.batch_size, len(rows))
        steps = config.epochs * (len(rows) // size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
        for step in tqdm(range(steps), desc="training the oracle (once for this data)", disable=not progress, leave=False):
            place = step % (len(rows) // size)
            if place == 0:
                order = torch.randperm(len(rows), generator=generator).numpy()
            chosen = np.sort(rows[order[place * size : (place + 1) * size]])
            x = data.tensor(chosen)
            if x.ndim == 4 and config.blur:
                x = soften(x, config.blur, generator)
            loss = oracle.loss(x, torch.tensor(labels[chosen]), torch.tensor(variants[chosen], dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return oracle.eval()


def trained_oracle(data: Dataset, config: OracleConfig | None = None, progress: bool = False) -> Oracle:
    """The oracle of a data set: read from the cache, or trained first.

    Args:
        data: its training rows, with all labels known of them, are trained on.
        config: how it is made.
        progress: whether to show a progress bar while it is trained.

    Raises:
        ValueError: a label is unknown in all training rows, or constant.
        OSError: the cache cannot be written to.
    """
    config = config or OracleConfig()
    space = data.space.with_priors(known_labels(data)[data.splits["train"]])
    variants = None if data.truth is None else data.truth.variant_names

    def build(folder: Path) -> None:
        save_file(train(data, config, progress).state_dict(), folder / "oracle.safetensors")

    folder = built_once(f"oracle-{fingerprint(data, config)}", build)
    oracle = Oracle(space, data.input_shape, variants, config.width)
    oracle.load_state_dict(load_file(folder / "oracle.safetensors"))
    return oracle.eval()


def fingerprint(data: Dataset, config: OracleConfig) -> str:
    """Text that changes with all that an oracle depends on: the training rows, their known labels, and how it is made."""
    told = hashlib.sha256(json.dumps([VERSION, repr(config), list(data.input_shape), list(data.space.names)]).encode())
    told.update(json.dumps([[label.kind, list(getattr(label, "values", ()))] for label in data.space]).encode())
    rows = data.splits["train"]
    told.update(np.ascontiguousarray(known_labels(data)[rows]).tobytes())
    for start in range(0, len(rows), 1024):
        told.update(np.ascontiguousarray(data.inputs[rows[start : start + 1024]]).tobytes())
    return told.hexdigest()[:16]
