"""What training maximises: an objective is a function from a model and a batch to named terms, one number per row.

The exact bound and the paper's estimator (`ccvae.model.bound.ESTIMATORS`) are two objectives of a `LatentModel`; every baseline
has its own. The trainer needs only these two protocols.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ccvae.distributed.shard import Shard

__all__ = ["Objective", "Terms"]

Model = TypeVar("Model", bound=nn.Module, contravariant=True)


class Terms(Protocol):
    """The value of an objective for a batch, term by term. All terms are `(batch,)`, in nats, and larger is better."""

    @property
    def total(self) -> Tensor:
        """The objective without weights: `(batch,)`."""
        ...

    @property
    def log_q_y(self) -> Tensor | None:
        """Log q(y_i|x) of each label, `(batch, labels)`, 0 where the label is missing; None if not computed per label."""
        ...

    @property
    def posterior(self) -> Normal | None:
        """q(z|x) over `(batch, latent_dim)`; None if the model has none."""
        ...

    def terms(self) -> dict[str, Tensor]:
        """The total and its terms, by name, in a fixed order. These are the training metrics."""
        ...

    def weighted(
        self, kl_weight: float = 1.0, classification_weight: float = 1.0, label_weights: Tensor | None = None
    ) -> Tensor:
        """What to maximise: the objective with weights on its terms, `(batch,)`. All weights at 1 give `total`.

        Args:
            kl_weight: weight of the terms that compare posterior and priors.
            classification_weight: weight of the classification term.
            label_weights: `(labels,)`, weight of each label within the classification term.

        Raises:
            ValueError: `label_weights` without a `log_q_y` for each label.
        """
        ...


class Objective(Protocol[Model]):
    """A function from a model and a batch to the terms that training maximises.

    The exact bound, the paper's estimator and every baseline have this signature, so one trainer serves all.
    """

    def __call__(
        self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
    ) -> Terms:
        """Evaluate the objective.

        Args:
            model: the model.
            x: inputs `(batch, *input_shape)`.
            y: labels `(batch, labels)`, NaN where missing.
            generator: source of random numbers; torch's global one by default.
            shard: which rows of the full batch these are, if several processes share one; all of it by default. Noise is drawn
                for the full batch and sliced, so results do not depend on world size.
        """
        ...
