"""Contrastive pretraining: features for teachers from all images, labelled or not, before any label is looked at.

A network learns to recognise an image among others by two random views of it: crops, mirrored where that is allowed, and
recoloured (SimCLR: Chen et al., 2020). With very few labels, teachers that start from its features are better:
`benchmarks/results/few_labels.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, normalize

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.distributed.gathering import all_rows
from ccvae.distributed.shard import Shard
from ccvae.model.inference import full
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.pooled import pooled_encoder
from ccvae.training.augmentation import Augmentation
from ccvae.training.classifiers import PointEncoder, classifier
from ccvae.training.few_labels import PRETRAINING_BATCH, Recipe
from ccvae.training.first_stages import Tensors, Train, in_epochs, result_of, train_alone
from ccvae.training.module import mixed_seed
from ccvae.training.stage import Stage

__all__ = ["FOLDER", "Contrast", "pretrained_features"]

FOLDER = "pretraining"
FILE = f"{FOLDER}/features.safetensors"
LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.01
TEMPERATURE = 0.2
PROJECTED = 128
"""Dimensions in which views are compared."""
SMALLEST_CROP = 0.6
"""Of an image's sides."""
COLOR = 0.4


@dataclass(frozen=True)
class Agreement:
    """Log probability of finding an image's other view. See `ccvae.model.objective.Terms`.

    Args:
        total: `(batch,)` nats.
        log_q_y: None, for no label is read.
        posterior: None.
    """

    total: Tensor
    log_q_y: Tensor | None = None
    posterior: Normal | None = None

    def terms(self) -> dict[str, Tensor]:
        """The total; there is one term only."""
        return {"total": self.total, "agreement": self.total}

    def weighted(
        self, kl_weight: float = 1.0, classification_weight: float = 1.0, label_weights: Tensor | None = None
    ) -> Tensor:
        """The total: no other term is there to be weighed against."""
        return self.total


@dataclass(frozen=True)
class Contrast:
    """Log probability of each view's partner among all other views of a batch (SimCLR's NT-Xent): an objective.

    See `ccvae.model.objective.Objective`. Views are compared over the rows of all processes.

    Args:
        flip: whether views may be mirrored.
        temperature: of the softmax over cosines.
    """

    flip: bool
    temperature: float = TEMPERATURE

    def __call__(
        self, model: LatentModel, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
    ) -> Agreement:
        """The mean over an image's two views, `(batch,)` nats."""
        shard = shard or Shard(len(x))
        views = torch.cat([view(x, self.flip, generator, shard) for _ in range(2)])
        means, _ = full(model.encoder(views)).chunk(2, -1)
        own = normalize(means, dim=1)
        first, second = (all_rows(each, shard) for each in own.chunk(2))
        everything = torch.cat([first, second])
        cosines = own @ everything.T / self.temperature
        mine = torch.arange(shard.total, device=x.device)[shard.rows]
        itself = torch.cat([mine, mine + shard.total])
        partner = torch.cat([mine + shard.total, mine])
        cosines = cosines.scatter(1, itself[:, None], -math.inf)
        nats = -cross_entropy(cosines, partner, reduction="none")
        return Agreement(nats.unflatten(0, (2, -1)).mean(0))


def view(x: Tensor, flip: bool, generator: torch.Generator | None, shard: Shard) -> Tensor:
    """A random view of each image `(batch, channels, height, width)`: a crop at the image's size, recoloured."""
    crop = x.new_empty(shard.total, 3).uniform_(generator=generator)[shard.rows]
    size = SMALLEST_CROP + (1 - SMALLEST_CROP) * crop[:, 0]
    centre = (2 * crop[:, 1:] - 1) * (1 - size)[:, None]
    zero = torch.zeros_like(size)
    rows = [torch.stack([size, zero, centre[:, 0]], 1), torch.stack([zero, size, centre[:, 1]], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    cropped = grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return Augmentation(flip=flip, color=COLOR)(cropped, generator, shard)


class Projected(nn.Module):
    """Features and two layers beyond them, in which views are compared and which are dropped afterwards.

    Args:
        features: `pooled_encoder` with `PROJECTED` outputs.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.beyond = nn.Sequential(nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))

    def forward(self, x: Tensor) -> Tensor:
        """Project images: `(batch, PROJECTED)`."""
        projected: Tensor = self.beyond(self.features(x))
        return projected


def projected_features(shape: tuple[int, ...], sizes: Sequence[int], width: int, dropout: float) -> nn.Module:
    """A network to pretrain. Arguments as those of `ccvae.training.classifiers.Means`; blocks play no part."""
    return Projected(pooled_encoder(shape, PROJECTED, width, dropout))


def pretrained_features(data: Dataset, config: TrainConfig, recipe: Recipe, stage: Stage, train: Train) -> Tensors | None:
    """Features for teachers from all training images; None if the recipe has no pretraining.

    Arguments as those of `ccvae.training.teachers.teach`; a resumed run takes what is trained, or continues it.

    Returns:
        Weights of `pooled_encoder` by name, without its last layer.

    Raises:
        Interrupted: Ctrl-C was pressed.
    """
    if not recipe.pretraining_steps:
        return None
    seed = mixed_seed(config.seed, 0) % 2**31
    model = classifier(data, seed, recipe.width, 0.0, projected_features)
    for parameter in model.blocks.parameters():
        parameter.requires_grad_(False)  # no label is read, and DDP wants gradients of all that is trained
    network = cast(Projected, cast(PointEncoder, model.encoder).means)
    rows = data.splits["train"]
    batch = min(PRETRAINING_BATCH, len(rows))
    length = in_epochs(recipe.pretraining_steps, max(1, len(rows) // batch))
    settings = replace(
        config,
        epochs=length.epochs,
        batch_size=batch,
        labelled_share=None,
        balanced=False,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        seed=seed,
    )

    def trained(own: Stage) -> tuple[Tensors, bool]:
        own = replace(own, passes=length.passes)
        stopped = train_alone(model, data, rows, settings, own, train, Contrast(recipe.flip))
        return features_of(network), stopped

    return result_of(FILE, "pretraining", features_of(network), stage, trained)


def features_of(network: Projected) -> Tensors:
    """Weights of all layers but the last one, which only projects."""
    state = network.features.state_dict()
    last = f"{len(cast(nn.Sequential, network.features)) - 1}."
    return {name: tensor.detach().clone() for name, tensor in state.items() if not name.startswith(last)}
