"""Slow reference maths: dense integration over z and enumeration of y, written without the code that it checks."""

import math
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, MultivariateNormal, Normal

from ccvae import labels as label_kinds
from ccvae.config import ModelConfig
from ccvae.labels import LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.model.label_blocks.categorical import CategoricalBlocks

KINDS = {
    "binary": label_kinds.Binary("binary", prior=0.3),
    "other": label_kinds.Binary("other", prior=0.6),
    "categorical": label_kinds.Categorical("categorical", ("a", "b", "c"), (0.2, 0.5, 0.3)),
    "pair": label_kinds.Categorical("pair", ("a", "b"), (0.25, 0.75)),
    "continuous": label_kinds.Continuous("continuous", 10.0, 2.5),
}


class LinearEncoder(nn.Module):
    """Means and unconstrained scales that depend linearly on one number."""

    def __init__(self, latent):
        super().__init__()
        self.affine = nn.Linear(1, 2 * latent)

    def forward(self, x):
        return self.affine(x)


def tiny_model(kinds, block_dim=1, style=1, seed=0, likelihood="normal", spread=1.0, **settings):
    """A float64 model of one number with linear networks and random parameters everywhere."""
    torch.manual_seed(seed)
    space = LabelSpace(tuple(KINDS[kind] for kind in kinds))
    sizes = block_dim if isinstance(block_dim, dict) else dict.fromkeys(space.names, block_dim)
    least = {label.name: len(label.values) - 1 if label.kind == "categorical" else 1 for label in space}
    latent = style + sum(max(sizes.get(name, 1), least[name]) for name in space.names)
    settings = {"neutral_style": False, **settings}
    config = ModelConfig(latent_dim=latent, block_dim=sizes, likelihood=likelihood, scale=0.7, **settings)
    model = CCVAE(space, (1,), config, encoder=LinearEncoder(latent), decoder=nn.Linear(latent, 1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * 0.5 * torch.randn_like(parameter)
        for block in model.blocks:
            if isinstance(block, CategoricalBlocks):
                block.weight /= 2  # slopes |σW| of about 1, for which docs/model.md says how exact integrals are
    return model


def missing_patterns(model, seed=0):
    """Every pattern of missing labels, with observed values drawn at random: `(patterns, labels)`."""
    rng = np.random.default_rng(seed)
    rows = []
    for pattern in product([False, True], repeat=len(model.space)):
        row = []
        for observed, label in zip(pattern, model.space, strict=True):
            count = len(label.values) if label.kind != "continuous" else 0
            value = rng.normal(label.mean, label.scale) if label.kind == "continuous" else rng.integers(count)
            row.append(float(value) if observed else math.nan)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def label_factors(model, z):
    """For each label: values of y to sum over as `(values, points)`, their log quadrature weights, log q(y|z), log p(y) and
    log p(z_i|y), each `(values, points)`; and for a number y: the same at that value.
    """
    factors = []
    for column, label in enumerate(model.space):
        block, position = find_block(model, column)
        z_i = z[:, model.block_slices[column]]
        if label.kind == "continuous":
            nodes, weights = np.polynomial.hermite_e.hermegauss(24)
            centre = z_i @ block.weight[position] + block.bias[position]
            tau = torch.nn.functional.softplus(block.raw_deviation[position]) + 1e-3
            classifier = Normal(label.mean + label.scale * centre, label.scale * tau)
            values = classifier.loc + classifier.scale * torch.tensor(nodes)[:, None]
            # integral of q(y|z) f(y): Gauss–Hermite weights stand for q(y|z) dy
            log_dy = torch.tensor(np.log(weights / weights.sum()))[:, None] - classifier.log_prob(values)

            def prior(y, block=block, position=position, label=label, z_i=z_i):
                scale = torch.nn.functional.softplus(block.prior_raw_scale[position]) + 1e-3
                standard = ((y - label.mean) / label.scale)[..., None]
                return Normal(block.prior_slope[position] * standard + block.prior_loc[position], scale).log_prob(z_i).sum(-1)

            factors.append((values, log_dy, classifier.log_prob, Normal(label.mean, label.scale).log_prob, prior))
            continue
        if label.kind == "binary":
            classifier = Bernoulli(logits=z_i @ block.weight[position] + block.bias[position])
            label_prior = Bernoulli(torch.tensor(label.prior, dtype=torch.float64))
        else:
            classifier = Categorical(logits=z_i @ block.weight[position].T + block.bias[position])
            label_prior = Categorical(torch.tensor(label.prior, dtype=torch.float64))
        values = torch.arange(len(label.values), dtype=torch.float64)[:, None].expand(-1, len(z))

        def prior(y, block=block, position=position, z_i=z_i):
            scale = torch.nn.functional.softplus(block.prior_raw_scale[position]) + 1e-3
            value = y.long()
            if model.config.prior_components > 1:
                log_normals = Normal(block.prior_loc[position][value], scale[value]).log_prob(z_i[:, None]).sum(-1)
                return (block.prior_logits[position][value].log_softmax(-1) + log_normals).logsumexp(-1)
            return Normal(block.prior_loc[position][value], scale[value]).log_prob(z_i).sum(-1)

        factors.append((values, torch.zeros_like(values), classifier.log_prob, label_prior.log_prob, prior))
    return factors


def find_block(model, column):
    """The block module of a label, and the label's position in it."""
    for block in model.blocks:
        if column in block.columns.tolist():
            return block, block.columns.tolist().index(column)
    raise AssertionError(column)


def grid(dimensions, points, half_width=7.5):
    """White noise on a dense grid `(points, dimensions)` and the log of its Normal mass."""
    axis = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    noise = torch.cartesian_prod(*[axis] * dimensions).reshape(-1, dimensions)
    spacing = 2 * half_width / (points - 1)
    return noise, -(noise**2).sum(-1) / 2 + dimensions * (math.log(spacing) - math.log(2 * math.pi) / 2)


def log_likelihood(model, z, x):
    """Log p(x|z) of the tiny model, Normal."""
    scale = torch.nn.functional.softplus(model.likelihood_of.raw_scale) + 1e-3
    return Normal(model.decoder(z)[:, 0], scale).log_prob(x)


def posterior(model, x):
    """Means and deviations of q(z|x) of one row."""
    mu, raw = model.encoder(x.reshape(1, 1)).reshape(2, -1)
    if model.neutral_style:
        z = mu.clone()
        for label, latents in zip(model.space, model.block_slices, strict=True):
            z[latents] = neutral_block(model, label)
        neutralised = model.decoder(z[None])
        again, raw_again = model.encoder(neutralised).reshape(2, -1)
        mu, raw = (
            torch.cat([blocks[: model.style.start], style[model.style]]) for blocks, style in ((mu, again), (raw, raw_again))
        )
    return mu, torch.nn.functional.softplus(raw).clamp_min(1e-3)


def neutral_block(model, label):
    """The mean of p(z_i|y_i): of an absent binary label, over p(y_i) of a categorical one, at the mean of a continuous one."""
    block, position = find_block(model, model.space.index(label.name))
    if label.kind == "continuous":
        return block.prior_loc[position]
    if label.kind == "binary":
        return block.prior_loc[position, 0]
    return sum(share * loc for share, loc in zip(label.prior, block.prior_loc[position], strict=True))


@torch.no_grad()
def dense_terms(model, x, y, points=41):
    """L(x, y_O) of one row, by the definition: an expectation under q(z|x) with the weight q(y_O|z_c) / q(y_O|x), over all
    combinations of missing values. The reconstruction, and all else.
    """
    latent = model.config.latent_dim
    mu, sigma = posterior(model, x)
    noise, log_mass = grid(latent, points)
    z = mu + sigma * noise
    log_q_z = Normal(mu, sigma).log_prob(z).sum(-1)
    log_p_style = Normal(0.0, 1.0).log_prob(z[:, model.style]).sum(-1)
    shared = log_p_style - log_q_z
    log_q_observed, known = torch.zeros(len(z), dtype=torch.float64), torch.zeros(len(z), dtype=torch.float64)
    unknown = torch.zeros(len(z), dtype=torch.float64)
    outside = torch.zeros((), dtype=torch.float64)
    for value, (values, log_dy, q, p, prior) in zip(y, label_factors(model, z), strict=True):
        if not value.isnan():
            here = value.expand(len(z))
            log_q_observed = log_q_observed + q(here)
            known = known + prior(here) - q(here)
            outside = outside + p(value)
        else:
            terms = torch.stack([prior(v) + p(v) - q(v) for v in values])
            masses = torch.stack([(q(v) + d).exp() for v, d in zip(values, log_dy, strict=True)])
            unknown = unknown + (masses * terms).sum(0)
    log_q_y = (log_mass + log_q_observed).logsumexp(0)
    weighted = (log_mass + log_q_observed - log_q_y).exp()
    reconstruction = (weighted * log_likelihood(model, z, x)).sum()
    return reconstruction, (weighted * (shared + known + unknown)).sum() + log_q_y + outside


def dense_bound(model, x, y, points=41):
    """L(x, y_O) of one row."""
    return sum(dense_terms(model, x, y, points))


def expected_reconstruction(model, x, y, points=41):
    """E[ log p(x|z) ] of one row under q(z|x, y_O)."""
    return dense_terms(model, x, y, points)[0]


@torch.no_grad()
def dense_log_evidence(model, x, y, points=41, half_width=12.0):
    """Log p(x, y_O), by integration over z; missing labels are summed or integrated out of p(z_i, y_i)."""
    latent = model.config.latent_dim
    noise, log_mass = grid(latent, points, half_width)
    # the grid's own Normal mass is undone, to integrate over plain z, stretched to cover the priors
    stretch = 2.5
    log_volume = log_mass + (noise**2).sum(-1) / 2 + latent * (math.log(2 * math.pi) / 2 + math.log(stretch))
    z = stretch * noise
    log_joint = log_likelihood(model, z, x) + Normal(0.0, 1.0).log_prob(z[:, model.style]).sum(-1)
    for column, (value, (values, _, _, p, prior)) in enumerate(zip(y, label_factors(model, z), strict=True)):
        if not value.isnan():
            here = value.expand(len(z))
            log_joint = log_joint + prior(here) + p(here)
        elif model.space.labels[column].kind == "continuous":
            log_joint = log_joint + continuous_marginal(model, column, z)
        else:
            log_joint = log_joint + torch.stack([prior(v) + p(v) for v in values]).logsumexp(0)
    return (log_joint + log_volume).logsumexp(0)


def continuous_marginal(model, column, z):
    """Log p(z_i) of a continuous label's block, in closed form."""
    block, position = find_block(model, column)
    scale = torch.nn.functional.softplus(block.prior_raw_scale[position]) + 1e-3
    slope = block.prior_slope[position]
    covariance = torch.diag(scale**2) + torch.outer(slope, slope)
    return MultivariateNormal(block.prior_loc[position], covariance).log_prob(z[:, model.block_slices[column]])
