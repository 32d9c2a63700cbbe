"""Likelihood: the bound and its terms, an importance-weighted estimate of log p(x), and reconstruction errors.

log p(x): Burda et al., "Importance weighted autoencoders", ICLR 2016. SSIM: Wang et al., "Image quality assessment: from error
visibility to structural similarity", IEEE Transactions on Image Processing, 2004.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, Normal
from torchmetrics.functional.image import structural_similarity_index_measure

from ccvae.evaluation.bootstrap import Estimate, mean_estimates
from ccvae.evaluation.metrics.metric import Metric
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.model.inference import evaluating
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.model.label_blocks.discrete import DiscreteBlocks

__all__ = ["METRICS", "bound_terms", "log_evidence", "log_prior", "reconstruction_error", "terms_by_row"]

SAMPLES_AT_ONCE = 64
ROWS_AT_ONCE = 200
SMALLEST_SIDE = 11
"""Smallest image side for SSIM: the size of its window."""

METRICS = (
    Metric("likelihood.bound.labelled.total", "bound with labels",
           "lower bound on log p(x, y) in nats per row; compare only runs with the same data and likelihood",
           "higher", "Likelihood", 1),
    Metric("likelihood.bound.unlabelled.total", "bound without labels", "lower bound on log p(x) in nats per row",
           "higher", "Likelihood", 1),
    Metric("likelihood.evidence.log_evidence", "log p(x)",
           "importance-weighted estimate on fewer rows; a lower bound, loose where few samples have all the weight",
           "higher", "Likelihood", 1),
    Metric("likelihood.evidence.bound_on_these_rows", "… bound on these rows",
           "lower bound on log p(x) for the same rows as log p(x)", "higher", "Likelihood", 1),
    Metric("likelihood.reconstruction.absolute_error", "reconstruction error",
           "mean absolute difference between inputs and reconstructions", "lower", "Likelihood", 4),
    Metric("likelihood.reconstruction.ssim", "SSIM",
           "structural similarity of inputs and reconstructions; 1 means identical", "higher", "Likelihood"),
)  # fmt: skip


def bound_terms(model: CCVAE, x: Tensor, y: np.ndarray, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """The bound and its terms, in nats per row.

    Args:
        model: the model.
        x: inputs `(rows, *input_shape)`.
        y: labels `(rows, labels)`, NaN where unknown.
        seed: seed of the single sample of z per row that estimates the reconstruction term.

    Returns:
        "labelled": terms of the bound on log p(x, y), with the labels as given; "unlabelled": on log p(x).
    """
    found = {}
    for name, labels in (("labelled", y), ("unlabelled", np.full_like(y, np.nan))):
        starts = range(0, len(x), ROWS_AT_ONCE)
        batches = ((x[start : start + ROWS_AT_ONCE], torch.tensor(labels[start : start + ROWS_AT_ONCE])) for start in starts)
        terms = terms_by_row(model, batches, seed)
        table = torch.stack(list(terms.values()), -1).numpy()
        found[name] = dict(zip(terms, mean_estimates(table.astype(float)), strict=True))
    return found


@torch.no_grad()
def terms_by_row(model: CCVAE, batches: Iterable[tuple[Tensor, Tensor]], seed: int = 0) -> dict[str, Tensor]:
    """The bound ("total") and its terms, in nats `(rows,)`.

    Args:
        model: the model.
        batches: inputs `(rows, *input_shape)` and labels `(rows, labels)`, NaN where unknown.
        seed: seed of the single sample of z per row that estimates the reconstruction term.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    parts: dict[str, list[Tensor]] = {}
    with evaluating(model):
        for x, y in batches:
            terms = bound(model, model.inputs(x), y.to(model.device, x.dtype), generator=generator).terms()
            for name, values in terms.items():
                parts.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


@torch.no_grad()
def log_evidence(model: CCVAE, x: Tensor, samples: int = 512, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Importance-weighted estimate of log p(x) (Burda et al., 2016, equation 8), and the effective sample size.

    log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): in expectation a lower bound that rises to log p(x) with K. Weights
    are accumulated in chunks, so memory does not depend on K.

    Args:
        model: the model.
        x: inputs `(rows, *input_shape)`.
        samples: samples per row, K.
        seed: seed of the samples.

    Returns:
        `(rows,)` nats, and `(rows,)` effective sample sizes divided by K: near 0, a few samples have all the weight.
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
    """Log p(z_i) of every label's block with its label marginalized out, then of the style: `(rows, labels + 1)` nats."""
    parts: list[Tensor] = [z.new_zeros(len(z))] * (len(model.space) + 1)
    for block in model.label_blocks():
        here = z[:, block.latents]
        if isinstance(block, DiscreteBlocks):
            log_p = (block.value_log_conditional_priors(here) + block.log_prior).logsumexp(-1)
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
    """Absolute and squared error of reconstructions; for images also structural similarity (Wang et al., 2004).

    Args:
        x: inputs `(rows, *input_shape)`.
        reconstructed: reconstructions of the same shape.
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
