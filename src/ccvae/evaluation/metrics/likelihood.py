"""How probable the data are to the model, what it keeps of them, and which latents it uses for that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, Normal
from torchmetrics.functional.image import structural_similarity_index_measure

from ccvae.evaluation.bootstrap import Estimate, mean_estimates
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.model.label_blocks.base import DiscreteBlocks
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.model.latent_model import evaluating

__all__ = ["bound_terms", "latent_use", "log_evidence", "log_prior", "reconstruction_error"]

SAMPLES_AT_ONCE = 64
ROWS_AT_ONCE = 200
SMALLEST_SIDE = 11
"""Of images that SSIM's window fits on."""
ACTIVE = 0.01
"""Shard of a latent's prior variance that its posterior mean must have over the data to be active (Burda et al., 2016)."""
COLLAPSED_NATS = 0.05
PRIOR_SAMPLES = 4096


@torch.no_grad()
def bound_terms(model: CCVAE, x: Tensor, y: np.ndarray, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """The bound and its terms, in nats a row.

    Args:
        model: the model.
        x: inputs.
        y: labels, NaN where unknown.
        seed: of the one sample a row for the reconstruction.

    Returns:
        "labelled": on log p(x, y), with the labels as given; "unlabelled": on log p(x).
    """
    found = {}
    with evaluating(model):
        for name, labels in (("labelled", y), ("unlabelled", np.full_like(y, np.nan))):
            generator = torch.Generator(model.device).manual_seed(seed)
            parts: dict[str, list[Tensor]] = {}
            for start in range(0, len(x), ROWS_AT_ONCE):
                chosen = slice(start, start + ROWS_AT_ONCE)
                given = torch.tensor(labels[chosen], dtype=x.dtype, device=model.device)
                terms = bound(model, model.inputs(x[chosen]), given, generator=generator).terms()
                for term, values in terms.items():
                    parts.setdefault(term, []).append(values.cpu())
            table = torch.stack([torch.cat(values) for values in parts.values()], -1).numpy()
            found[name] = dict(zip(parts, mean_estimates(table.astype(float)), strict=True))
    return found


@torch.no_grad()
def log_evidence(model: CCVAE, x: Tensor, samples: int = 512, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Importance-weighted estimate of log p(x) (Burda et al., 2016), and the share of samples that carry it.

    log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): in expectation a lower bound, which rises to log p(x) with K. Samples
    are summed as they come, so that memory does not depend on their number.

    Args:
        model: the model.
        x: inputs.
        samples: how many samples a row, K.
        seed: of the samples.

    Returns:
        `(rows,)` nats, and `(rows,)` effective sample sizes over K: near 0, a few samples carry the whole estimate.
    """
    x = model.inputs(x)
    posterior = model.encode(x)
    generator = torch.Generator(x.device).manual_seed(seed)
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    squares = total.clone()
    with evaluating(model):
        for row in range(len(x)):
            here = Normal(posterior.loc[row], posterior.scale[row], validate_args=False)
            for start in range(0, samples, SAMPLES_AT_ONCE):
                count = min(SAMPLES_AT_ONCE, samples - start)
                noise = torch.empty(count, len(here.loc), dtype=x.dtype, device=x.device).normal_(generator=generator)
                z = here.loc + here.scale * noise
                weights = model.log_likelihood(z, x[row].expand(count, *x.shape[1:])) + log_prior(model, z).sum(-1)
                weights = (weights - here.log_prob(z).sum(-1)).double()
                total[row] = torch.logaddexp(total[row], weights.logsumexp(0))
                squares[row] = torch.logaddexp(squares[row], (2 * weights).logsumexp(0))
    return total - math.log(samples), (2 * total - squares).exp() / samples


def log_prior(model: CCVAE, z: Tensor) -> Tensor:
    """Log p(z_i) of every label's block, its label summed or integrated out, and of the style: `(rows, labels + 1)` nats."""
    parts: list[Tensor] = [z.new_zeros(len(z))] * (len(model.space) + 1)
    for block in model.label_blocks():
        here = z[:, block.latents]
        if isinstance(block, DiscreteBlocks):
            prior = Normal(block.prior_loc, block.prior_scale, validate_args=False)
            log_p = (prior.log_prob(here[..., None, :]).sum(-1) + block.log_prior).logsumexp(-1)
        elif isinstance(block, ContinuousBlocks):
            marginal = LowRankMultivariateNormal(
                block.prior_loc, block.prior_slope[..., None], block.prior_scale.square(), validate_args=False
            )
            log_p = marginal.log_prob(here)
        else:
            raise TypeError(f"no prior of {type(block).__name__}")
        for column, values in zip(block.columns.tolist(), log_p.unbind(-1), strict=True):
            parts[column] = values
    parts[-1] = Normal(z.new_zeros(()), z.new_ones(()), validate_args=False).log_prob(z[:, model.style]).sum(-1)
    return torch.stack(parts, -1)


def reconstruction_error(x: Tensor, reconstructed: Tensor) -> dict[str, Estimate]:
    """How far reconstructions are from their inputs; of images also their structural similarity.

    Args:
        x: inputs `(rows, *input_shape)`.
        reconstructed: likewise.
    """
    difference = (reconstructed - x).flatten(1)
    columns = {"absolute_error": difference.abs().mean(1), "squared_error": difference.square().mean(1)}
    if x.ndim == 4 and min(x.shape[2:]) >= SMALLEST_SIDE:
        parts = [
            structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
            for one, other in zip(reconstructed.split(ROWS_AT_ONCE), x.split(ROWS_AT_ONCE), strict=True)
        ]
        columns["ssim"] = torch.cat([torch.as_tensor(part).reshape(-1) for part in parts])
    table = torch.stack(list(columns.values()), -1).double().numpy()
    return dict(zip(columns, mean_estimates(table), strict=True))


@torch.no_grad()
def latent_use(model: CCVAE, x: Tensor, seed: int = 0) -> dict[str, Any]:
    """What each part of the latent vector is used for.

    Args:
        model: the model.
        x: inputs.
        seed: of the samples by which KL divergences are estimated, one a row.

    Returns:
        "blocks": by label, and "style" for the rest: "kl", nats of q(z_i|x) from p(z_i) on average; "active", how many of its
        dimensions move with x; "dimensions". "activity": by latent, the variance of its posterior mean over that of its
        prior. "collapsed": names of label blocks in which nothing of x is kept.
    """
    posterior = model.encode(x)
    generator = torch.Generator(model.device).manual_seed(seed)
    noise = torch.empty_like(posterior.loc).normal_(generator=generator)
    z = posterior.loc + posterior.scale * noise
    log_q = posterior.log_prob(z)
    where = {**dict(zip(model.space.names, model.block_slices, strict=True)), "style": model.style}
    log_p = log_prior(model, z)
    activity = (posterior.loc.var(0) / prior_variance(model, seed)).cpu().numpy()
    blocks = {}
    for position, (name, block) in enumerate(where.items()):
        kl = (log_q[:, block].sum(-1) - log_p[:, position]).cpu().numpy()
        blocks[name] = {
            "kl": mean_estimates(kl[:, None].astype(float))[0],
            "active": int((activity[block] > ACTIVE).sum()),
            "dimensions": block.stop - block.start,
        }
    collapsed = [name for name in model.space.names if blocks[name]["active"] == 0 or blocks[name]["kl"].value < COLLAPSED_NATS]
    return {"blocks": blocks, "activity": activity.tolist(), "collapsed": collapsed}


def prior_variance(model: CCVAE, seed: int) -> Tensor:
    """Variance of p(z) `(latent_dim,)`, labels summed out."""
    from ccvae.model.interventions import draw_labels

    uniform = torch.rand(PRIOR_SAMPLES, len(model.space), generator=torch.Generator().manual_seed(seed)).to(model.device)
    prior = model.conditional_prior(draw_labels(model, uniform).to(next(model.parameters()).dtype))
    return prior.loc.var(0) + prior.scale.square().mean(0)
