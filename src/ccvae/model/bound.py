r"""The bound that a CCVAE maximises, for any pattern of missing labels.

Let O be the labels observed with x and U the others. With q(z, y_U | x, y_O) = q(z|x) q(y_O|z_c) q(y_U|z_c) / q(y_O|x),

    L(x, y_O) = E_q(z|x,y_O)[ log p(x|z)                                                         reconstruction
                              + log p(z_s) − log q(z_s|x)                                        style
                              + Σ_i E_q(y_i|z_i, y_O) log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ]   labels
                + Σ_{i∈O} log q(y_i|x)                                                           classification

This is Eq. 4 of Joy et al. (2021) if all labels are observed and their Eq. 5 if none is. Because q(z|x) is diagonal and each
label depends on its own block only, q(z|x,y_O) factorises and can be sampled directly; all terms but the reconstruction are
integrals over one block (`ccvae.model.label_blocks.base`). No importance weights and no sampled labels are needed, and one pass
serves a batch in which every row has its own pattern.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from ccvae.distributed.shard import Shard
from ccvae.model.latent_distributions import LatentDistributions
from ccvae.model.objective import Objective

__all__ = ["ESTIMATORS", "Bound", "bound", "exact_bound", "paper_bound"]

PAPER_SAMPLES = 100
"""Samples for q(y|x) in the paper's estimator."""
LARGEST_LOG_WEIGHT = 40.0
"""Largest log importance weight of the paper's estimator; larger ones, of a z unlike all samples, would overflow."""


@dataclass(frozen=True)
class Bound:
    """Lower bound on log p(x, y_O), term by term. See `ccvae.model.objective.Terms`.

    Args:
        reconstruction: E[log p(x|z)], `(batch,)` nats, like the next three.
        labels: the blocks of all labels.
        style: −KL(q(z_s|x) || p(z_s)).
        classification: log q(y_O|x).
        log_q_y: log q(y_i|x) of each label, `(batch, labels)`, 0 where missing; its sum is the classification term. None from
            the paper's estimator, which estimates the sum only.
        posterior: q(z|x).
        first_pass: what was read before the style was read from the neutralised input (see `passes`); the posterior
            itself where it is not.
    """

    reconstruction: Tensor
    labels: Tensor
    style: Tensor
    classification: Tensor
    log_q_y: Tensor | None = None
    posterior: Normal | None = None
    first_pass: Normal | None = None

    @property
    def total(self) -> Tensor:
        """The bound, the sum of its terms: `(batch,)` nats."""
        return self.reconstruction + self.labels + self.style + self.classification

    def terms(self) -> dict[str, Tensor]:
        """The bound and its terms, by name."""
        names = ("total", "reconstruction", "labels", "style", "classification")
        return {name: getattr(self, name) for name in names}

    def weighted(
        self, kl_weight: float = 1.0, classification_weight: float = 1.0, label_weights: Tensor | None = None
    ) -> Tensor:
        """The bound with weights on its terms, `(batch,)`; all weights at 1 give the bound.

        Args:
            kl_weight: weight of the labels and style terms.
            classification_weight: weight of the classification term.
            label_weights: `(labels,)`, weight of each label within the classification term.

        Raises:
            ValueError: `label_weights` with the paper's estimator.
        """
        classification = self.classification
        if label_weights is not None:
            if self.log_q_y is None:
                raise ValueError("label weights need the exact estimator; the paper's gives no log q(y|x) for each label")
            classification = self.log_q_y @ label_weights
        return self.reconstruction + kl_weight * (self.labels + self.style) + classification_weight * classification


def bound(
    model: LatentDistributions,
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
        estimator: a name in `ESTIMATORS`: "exact", or "paper" for the paper's importance-weighted estimator.
        generator: source of random numbers; torch's global one by default.
        shard: which rows of the full batch these are; all of it by default. Noise is drawn for the full batch and sliced, so
            results do not depend on world size.

    Raises:
        ValueError: shapes disagree, or the estimator is unknown.
    """
    if y.shape != (len(x), len(model.space)):
        raise ValueError(
            f"labels: expected shape ({len(x)}, {len(model.space)}) beside {len(x)} inputs, found {tuple(y.shape)}"
        )
    if estimator not in BOUNDS:
        raise ValueError(f"estimator: expected {' or '.join(BOUNDS)}, found {estimator!r}")
    return BOUNDS[estimator](model, x, y, generator, shard)


def exact_bound(
    model: LatentDistributions, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Bound:
    """The bound with one sample of z for the reconstruction; all other terms are integrals, without samples."""
    shard = shard or Shard(len(x))
    first, posterior = model.passes(x)
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
        first_pass=first,
    )


def style_term(model: LatentDistributions, posterior: Normal) -> Tensor:
    """E_q(z_s|x)[ log p(z_s) − log q(z_s|x) ], the negative KL divergence of the style, in closed form: `(batch,)`."""
    mu, sigma = posterior.loc[:, model.style], posterior.scale[:, model.style]
    return (1 + 2 * sigma.log() - mu**2 - sigma**2).sum(-1) / 2


def paper_bound(
    model: LatentDistributions, x: Tensor, y: Tensor, generator: torch.Generator | None = None, shard: Shard | None = None
) -> Bound:
    """The bound as the paper estimates it: one z ~ q(z|x) with the importance weight q(y_O|z_c) / q(y_O|x).

    q(y_O|x) is the mean of q(y_O|z_c) over 100 more samples. The numerator of the weight sees a detached z_c (appendix C.3.1).
    Weights end at exp(40), far above any that training meets, so that they are finite.
    Each missing discrete label is enumerated on its own, missing continuous labels are sampled. It is here for comparison.
    """
    shard = shard or Shard(len(x))
    first, posterior = model.passes(x)
    noise = posterior.loc.new_empty(shard.total, posterior.loc.shape[1]).normal_(generator=generator)[shard.rows]
    z = posterior.loc + posterior.scale * noise
    many = z.new_empty(PAPER_SAMPLES, shard.total, z.shape[1]).normal_(generator=generator)[:, shard.rows]
    many = posterior.loc + posterior.scale * many
    log_given_z, log_given_samples, labels = z.new_zeros(len(x)), z.new_zeros(PAPER_SAMPLES, len(x)), z.new_zeros(len(x))
    # numbers drawn below are for these rows only: the generator is the same in all processes and would repeat them
    own_generator = generator if shard.world_size == 1 else None
    for block in model.label_blocks():
        y_block, z_block = y[:, block.columns], z[:, block.latents]
        observed = ~y_block.isnan()
        known = y_block.nan_to_num()
        log_given_z = log_given_z + (block.log_classifier(z_block.detach(), known) * observed).sum(-1)
        log_given_samples = log_given_samples + (block.log_classifier(many[..., block.latents], known) * observed).sum(-1)
        log_posterior = Normal(
            posterior.loc[:, block.latents], posterior.scale[:, block.latents], validate_args=False
        ).log_prob(z_block)
        log_ratio = torch.where(
            observed, block.log_joint_ratio(z_block, known), block.expected_joint_ratio(z_block, own_generator)
        )
        labels = labels + log_ratio.sum(-1) - log_posterior.sum((-2, -1))
    log_q_y = log_given_samples.logsumexp(0) - math.log(PAPER_SAMPLES)
    weight = (log_given_z - log_q_y).clamp_max(LARGEST_LOG_WEIGHT).exp()
    z_s = slice(model.style.start, model.style.stop)
    log_style = -(z[:, z_s] ** 2) / 2 + noise[:, z_s] ** 2 / 2 + posterior.scale[:, z_s].log()
    return Bound(
        reconstruction=weight * model.log_likelihood(z, x),
        labels=weight * labels,
        style=weight * log_style.sum(-1),
        classification=log_q_y,
        posterior=posterior,
        first_pass=first,
    )


BOUNDS = {"exact": exact_bound, "paper": paper_bound}
ESTIMATORS: dict[str, Objective[LatentDistributions]] = {**BOUNDS}
"""Objectives of a model, by the name that `TrainConfig.estimator` has."""
