r"""The bound that a LatentModel maximises, for any pattern of missing labels.

Let O be the labels observed with x and U the others. With q(z, y_U | x, y_O) = q(z|x) q(y_O|z_c) q(y_U|z_c) / q(y_O|x),

    L(x, y_O) = E_q(z|x,y_O)[ log p(x|z)                                                         reconstruction
                              + log p(z_s) − log q(z_s|x)                                        style
                              + Σ_i E_q(y_i|z_i, y_O) log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ]   labels
                + Σ_{i∈O} log q(y_i|x)                                                           classification

which is Eq. 4 of Joy et al. (2021) where all labels are observed and their Eq. 5 where none is. Because q(z|x) is diagonal and
each label looks at its own block only, q(z|x,y_O) factorises and can be drawn from directly, and all but the reconstruction is
computed without sampling (`ccvae.model.label_blocks.base`): no importance weight, no sampled label, one pass for rows of
any pattern.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.distributed.shard import Shard
from ccvae.model.latent_model import LatentModel

__all__ = ["Bound", "bound"]

PAPER_SAMPLES = 100
"""Samples for q(y|x) in the paper's estimator."""


@dataclass(frozen=True)
class Bound:
    """Lower bound on log p(x, y_O), term by term: each `(batch,)`, in nats.

    Beside them, `log_q_y` is log q(y_i|x) label by label, 0 where missing, `(batch, labels)`: its sum is the classification
    term. The paper's estimator knows the sum only. `posterior` is q(z|x).
    """

    reconstruction: Tensor
    labels: Tensor
    style: Tensor
    classification: Tensor
    log_q_y: Tensor | None = None
    posterior: Normal | None = None

    @property
    def total(self) -> Tensor:
        """The bound, the sum of its terms."""
        return self.reconstruction + self.labels + self.style + self.classification

    def objective(
        self, kl_weight: float = 1.0, classification_weight: float = 1.0, label_weights: Tensor | None = None
    ) -> Tensor:
        """The bound with weights on its terms; with all at 1, the bound itself.

        Args:
            kl_weight: of labels and style.
            classification_weight: of classification.
            label_weights: `(labels,)`, of each label within it.
        """
        classification = self.classification
        if label_weights is not None:
            if self.log_q_y is None:
                raise ValueError("label weights need the exact estimator; the paper's gives no log q(y|x) label by label")
            classification = self.log_q_y @ label_weights
        return self.reconstruction + kl_weight * (self.labels + self.style) + classification_weight * classification

    def terms(self) -> dict[str, Tensor]:
        """The bound and its terms, by name."""
        names = ("total", "reconstruction", "labels", "style", "classification")
        return {name: getattr(self, name) for name in names}


def bound(
    model: LatentModel,
    x: Tensor,
    y: Tensor,
    estimator: str = "exact",
    generator: torch.Generator | None = None,
    shard: Shard | None = None,
) -> Bound:
    """Bound on log p(x, y_O) of a batch.

    Args:
        model: the model.
        x: inputs `(batch, *input_shape)`.
        y: labels `(batch, labels)`, NaN where missing.
        estimator: "exact", or "paper" for the paper's importance-weighted one.
        generator: source of the noise; torch's global one if not given.
        shard: which rows of a whole batch these are; the noise is then theirs out of the whole batch's, whoever has the others.

    Raises:
        ValueError: shapes disagree or the estimator is unknown.
    """
    if y.shape != (len(x), len(model.space)):
        raise ValueError(
            f"labels: expected shape ({len(x)}, {len(model.space)}) beside {len(x)} inputs, found {tuple(y.shape)}"
        )
    if estimator == "exact":
        return exact_bound(model, x, y, generator, shard or Shard(len(x)))
    if estimator == "paper":
        return paper_bound(model, x, y, generator, shard or Shard(len(x)))
    raise ValueError(f"estimator: expected exact or paper, found {estimator!r}")


def exact_bound(model: LatentModel, x: Tensor, y: Tensor, generator: torch.Generator | None, shard: Shard) -> Bound:
    """The bound with one sample of z for the reconstruction, and all else exact."""
    posterior = model.posterior(x)
    mu, sigma = posterior.loc, posterior.scale
    noise = mu.new_empty(shard.total, mu.shape[1]).normal_(generator=generator)[shard.rows]
    uniform = mu.new_empty(shard.total, y.shape[1]).uniform_(generator=generator)[shard.rows]
    tilted_noise = noise.clone()
    labels, log_q_y = mu.new_zeros(len(x)), mu.new_zeros(y.shape)
    for block in model.label_blocks():
        where, columns = block.latents, block.columns
        tilted = block(mu[:, where], sigma[:, where], y[:, columns], noise[:, where], uniform[:, columns])
        tilted_noise[:, where] = tilted.noise
        labels = labels + tilted.log_ratio.sum(-1)
        log_q_y = log_q_y.index_copy(1, columns, tilted.log_q_y)
    return Bound(
        reconstruction=model.log_likelihood(mu + sigma * tilted_noise, x),
        labels=labels,
        style=style_term(model, posterior),
        classification=log_q_y.sum(-1),
        log_q_y=log_q_y,
        posterior=posterior,
    )


def style_term(model: LatentModel, posterior: Normal) -> Tensor:
    """E_q(z_s|x)[ log p(z_s) − log q(z_s|x) ], a negative KL divergence in closed form: `(batch,)`."""
    mu, sigma = posterior.loc[:, model.style], posterior.scale[:, model.style]
    return (1 + 2 * sigma.log() - mu**2 - sigma**2).sum(-1) / 2


def paper_bound(model: LatentModel, x: Tensor, y: Tensor, generator: torch.Generator | None, shard: Shard) -> Bound:
    """The bound as the paper estimates it: one z ~ q(z|x), weighted by q(y_O|z_c) / q(y_O|x).

    q(y_O|x) is the mean of 100 more samples of the whole label vector; the weight's numerator sees a detached z_c (appendix
    C.3.1); missing labels are enumerated, each by itself, and continuous ones sampled. Kept for comparison.
    """
    posterior = model.posterior(x)
    noise = posterior.loc.new_empty(shard.total, posterior.loc.shape[1]).normal_(generator=generator)[shard.rows]
    z = posterior.loc + posterior.scale * noise
    many = z.new_empty(PAPER_SAMPLES, shard.total, z.shape[1]).normal_(generator=generator)[:, shard.rows]
    many = posterior.loc + posterior.scale * many
    log_given_z, log_given_samples, labels = z.new_zeros(len(x)), z.new_zeros(PAPER_SAMPLES, len(x)), z.new_zeros(len(x))
    # numbers drawn here are for these rows alone: from a source that other processes have too, they would repeat theirs
    alone = generator if shard.world_size == 1 else None
    for block in model.label_blocks():
        y_block, z_block = y[:, block.columns], z[:, block.latents]
        observed = ~y_block.isnan()
        known = y_block.nan_to_num()
        log_given_z = log_given_z + (block.log_classifier(z_block.detach(), known) * observed).sum(-1)
        log_given_samples = log_given_samples + (block.log_classifier(many[..., block.latents], known) * observed).sum(-1)
        log_posterior = Normal(
            posterior.loc[:, block.latents], posterior.scale[:, block.latents], validate_args=False
        ).log_prob(z_block)
        log_ratio = torch.where(observed, block.log_joint_ratio(z_block, known), block.expected_joint_ratio(z_block, alone))
        labels = labels + log_ratio.sum(-1) - log_posterior.sum((-2, -1))
    log_q_y = log_given_samples.logsumexp(0) - math.log(PAPER_SAMPLES)
    weight = (log_given_z - log_q_y).exp()
    z_s = slice(model.style.start, model.style.stop)
    log_style = -(z[:, z_s] ** 2) / 2 + noise[:, z_s] ** 2 / 2 + posterior.scale[:, z_s].log()
    return Bound(
        reconstruction=weight * model.log_likelihood(z, x),
        labels=weight * labels,
        style=weight * log_style.sum(-1),
        classification=log_q_y,
        posterior=posterior,
    )
