r"""What ties a label to its block of latents: q(y|z), q(y|x), p(z|y), and the posterior tilted by an observed label.

Everything here is per label i with its own block z_i of d dimensions, x's posterior q(z_i|x) = Normal(mu, diag sigma²) and
white noise n = (z_i − mu) / sigma. Only the logits of the label map look at z_i, so what an observed label does to the
posterior, q(z_i|x,y_i) ∝ q(z_i|x) q(y_i|z_i), is a tilt along few directions:

- *binary*: along one. s = w·z + b = beta + alpha·e with e ~ Normal(0, 1); a table of the density of e on a grid around its mode
  gives log q(y|x), every expectation, and draws by inversion, all differentiable (implicit reparameterisation,
  Figurnov et al. 2018);
- *continuous*: along one, and Normal; closed form;
- *categorical*: up to C − 1; a fixed set of nodes in the block, a grid in one and two dimensions, Sobol points above.

Labels of one kind, value count and block size are computed side by side: `(batch, labels, …)` tensors.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Normal
from torch.nn.functional import log_softmax, logsigmoid, one_hot, softplus

from ccvae import labels as label_kinds

__all__ = ["BinaryBlocks", "CategoricalBlocks", "ContinuousBlocks", "LabelBlocks", "TiltedPosterior"]

Part = TypeVar("Part")

LOG_TWO_PI = math.log(2 * math.pi)
GRID_POINTS = 129
GRID_HALF_WIDTH = 8.0
BISECTIONS = 30
SOBOL_POINTS = 512
SMALLEST_SCALE = 1e-3
SMALLEST_SLOPE = 1e-12
FIRST_DISTANCE = 2.0
"""How far from zero the conditional priors' means begin."""


@dataclass(frozen=True)
class TiltedPosterior(ABC):
    """q(z_i|x,y_i), the posterior of label blocks once some labels are observed.

    Args:
        log_evidence: log q(y_i|x) of observed labels, 0 for missing ones: `(batch, labels)` nats.
        log_ratio: E[ log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ] under it, y_i summed or integrated out where missing.
    """

    log_evidence: Tensor
    log_ratio: Tensor

    @abstractmethod
    def noise(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """White noise of a draw: z_i = mu + sigma · this, is distributed as q(z_i|x,y_i), with pathwise gradients.

        Args:
            noise: standard Normal draws `(batch, labels, d)`; returned as they are where the label is missing.
            uniform: uniform draws in (0, 1) `(batch, labels)`.
        """


class LabelBlocks(nn.Module, ABC):
    """Labels of one kind with blocks of one size.

    Args:
        columns: the labels' columns in the label array.
        latents: `(labels, d)` positions of their blocks in the latent vector.
    """

    columns: Tensor
    latents: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.register_buffer("latents", torch.tensor(latents), persistent=False)

    @abstractmethod
    def label_map(self, z: Tensor) -> Sequence[Distribution]:
        """q(y_i|z_i) of blocks `(…, labels, d)`, a distribution over `(…,)` for each label."""

    @abstractmethod
    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i) of observed labels `(…, labels)`: Normal over `(…, labels, d)`."""

    @abstractmethod
    def label_prior(self) -> Sequence[Distribution]:
        """p(y_i), a distribution for each label."""

    def by_column(self, each: Sequence[Part]) -> Iterator[tuple[int, Part]]:
        """Pairs of a label's column and its part of what a method gave for each label."""
        return zip(self.columns.tolist(), each, strict=True)

    @abstractmethod
    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i) of observed labels: `(…, labels)` nats."""

    @abstractmethod
    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i) of blocks `(…, labels, d)` and observed labels: `(…, labels)` nats."""

    @abstractmethod
    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Its mean under y_i ~ q(y_i|z_i): all values enumerated, or one sample of a continuous label."""

    @abstractmethod
    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i) of posteriors `(batch, labels, d)` and labels `(batch, labels)` that are NaN where missing."""

    @abstractmethod
    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), exact: probabilities `(batch, labels, values)`, or a continuous label's mean and standard deviation."""

    @abstractmethod
    def toward(self, y: Tensor) -> Tensor:
        """Direction `(…, labels, d)` of z_i in which the label map says y_i more strongly."""

    def quantile(self, y: Tensor, strength: Tensor | float) -> Tensor:
        """The most typical block at which the label shows as strongly as at a quantile of p(z_i|y_i).

        Along the direction in which the label map says y_i, p(z_i|y_i) is one-dimensional; this is its quantile there, and the
        conditional mean in all other directions. 0.5 is the typical case, above it y_i shows more.

        Args:
            y: observed labels `(…, labels)`.
            strength: quantile in (0, 1).
        """
        prior = self.conditional_prior(y)
        step = torch.special.ndtri(torch.as_tensor(strength, dtype=prior.loc.dtype, device=prior.loc.device))
        along = self.toward(y) * prior.scale
        along = along / torch.linalg.vector_norm(along, dim=-1, keepdim=True).clamp_min(SMALLEST_SLOPE)
        block: Tensor = prior.loc + prior.scale * along * step
        return block


# ---------------------------------------------------------------------- labels with finitely many values


@dataclass(frozen=True)
class Moments:
    """What is needed of the joint of white noise n and value y: E[1_y], E[1_y n] and E[1_y n²], one row a value."""

    mass: Tensor  # (batch, labels, values)
    first: Tensor  # (batch, labels, values, d)
    second: Tensor  # (batch, labels, values, d)
    log_label_map: Tensor  # E[ log q(y|z) ], (batch, labels)


class DiscreteBlocks(LabelBlocks, ABC):
    """Blocks of labels with finitely many values, each with a Normal of its own as p(z_i|y_i)."""

    log_prior: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]], priors: list[tuple[float, ...]], loc: Tensor) -> None:
        super().__init__(columns, latents)
        self.register_buffer("log_prior", torch.tensor(priors).log(), persistent=False)
        self.prior_loc = nn.Parameter(loc)
        self.prior_raw_scale = nn.Parameter(torch.full_like(loc, math.log(math.expm1(1))))

    @property
    def values(self) -> int:
        """Number of values."""
        return self.log_prior.shape[-1]

    @property
    def prior_scale(self) -> Tensor:
        """Scales of p(z_i|y_i): `(labels, values, d)`."""
        return softplus(self.prior_raw_scale) + SMALLEST_SCALE

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i); a probability between 0 and 1 of a binary label counts as its nearer value."""
        labels = torch.arange(y.shape[-1], device=y.device).expand_as(y)
        value = (y.round() if self.values == 2 else y).long()
        return Normal(self.prior_loc[labels, value], self.prior_scale[labels, value], validate_args=False)

    def weights(self, y: Tensor) -> Tensor:
        """How much each value is observed: `(batch, labels, values)`, rows sum to 1; missing rows are arbitrary."""
        return one_hot(y.nan_to_num().long(), self.values).to(y.dtype)

    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i)."""
        return (self.weights(y) * self.value_log_ratios(z)).sum(-1)

    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Its mean under q(y_i|z_i), by enumeration."""
        return (self.value_log_label_maps(z).exp() * self.value_log_ratios(z)).sum(-1)

    @abstractmethod
    def value_log_label_maps(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of every value: `(…, labels, values)`."""

    def value_log_ratios(self, z: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i) of every value: `(…, labels, values)`."""
        prior = Normal(self.prior_loc, self.prior_scale, validate_args=False)
        log_conditional_prior: Tensor = prior.log_prob(z[..., None, :]).sum(-1)
        return log_conditional_prior + self.log_prior - self.value_log_label_maps(z)

    def expected_log_ratio(self, mu: Tensor, sigma: Tensor, moments: Moments) -> Tensor:
        """E[ log p(z_i|y_i) p(y_i) / (q(y_i|z_i) q(z_i|x)) ] from the moments of z_i and y_i: `(batch, labels)`."""
        offset = (mu[..., None, :] - self.prior_loc) / self.prior_scale
        slope = sigma[..., None, :] / self.prior_scale
        log_scale = self.prior_scale.log().sum(-1)
        square = moments.mass[..., None] * offset**2 + 2 * offset * slope * moments.first + slope**2 * moments.second
        log_conditional_prior = -(square.sum(-1) / 2 + moments.mass * log_scale).sum(-1)
        log_posterior = -moments.second.sum((-2, -1)) / 2 - sigma.log().sum(-1)  # both lack d/2 · log 2 pi
        log_label_prior = (moments.mass * self.log_prior).sum(-1)
        return log_conditional_prior + log_label_prior - moments.log_label_map - log_posterior


class BinaryBlocks(DiscreteBlocks):
    """Blocks of binary labels: q(y_i|z_i) = Bernoulli(sigmoid(w·z_i + b)).

    A label between 0 and 1 is the probability of 1 (annotators who disagree): its bound is the average of both values' bounds.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors.
    """

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Binary]) -> None:
        size = len(latents[0])
        side = torch.tensor([-1.0, 1.0])[:, None].expand(len(columns), 2, size)
        super().__init__(columns, latents, [label.priors for label in labels], FIRST_DISTANCE / math.sqrt(size) * side)
        self.weight = nn.Parameter(torch.full((len(columns), size), 1 / math.sqrt(size)))
        self.bias = nn.Parameter(torch.zeros(len(columns)))

    def logits(self, z: Tensor) -> Tensor:
        """w·z_i + b, `(…, labels)`."""
        return (self.weight * z).sum(-1) + self.bias

    def label_map(self, z: Tensor) -> list[Bernoulli]:
        """q(y_i|z_i)."""
        return [Bernoulli(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-1)]

    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i), averaged over both values where y_i is a probability."""
        s = self.logits(z)
        return logsigmoid(s) - (1 - y) * s

    def value_log_label_maps(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of both values."""
        s = self.logits(z)
        return torch.stack([logsigmoid(-s), logsigmoid(s)], -1)

    def label_prior(self) -> list[Bernoulli]:
        """p(y_i)."""
        return [Bernoulli(probs=present, validate_args=False) for present in self.log_prior[:, 1].exp()]

    def toward(self, y: Tensor) -> Tensor:
        """±w."""
        return self.weight * torch.where(y >= 0.5, 1.0, -1.0).to(self.weight.dtype)[..., None]

    def weights(self, y: Tensor) -> Tensor:
        """How much each value is observed."""
        present = y.nan_to_num()
        return torch.stack([1 - present, present], -1)

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, 2)`."""
        alpha = torch.linalg.vector_norm(self.weight * sigma, dim=-1)
        zero = torch.zeros_like(alpha)
        grid = Grid.between(zero, zero)
        log_mass = (grid.log_normal[..., None, :] + log_sigmoids(alpha, self.logits(mu), grid.e)).logsumexp(-1)
        return log_mass.softmax(-1)

    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by a table along the one direction that the label map sees."""
        observed = ~y.isnan()
        share = self.weights(y)
        along = self.weight * sigma
        alpha = torch.linalg.vector_norm(along, dim=-1).clamp_min(SMALLEST_SLOPE)
        beta = self.logits(mu)
        along = along / alpha[..., None]
        with torch.no_grad():  # where the table lies changes no expectation
            upper, lower = mode(alpha, beta), -mode(alpha, -beta)
            low = torch.where(observed, torch.where(share[..., 0] > 0, lower, upper), 0)
            high = torch.where(observed, torch.where(share[..., 1] > 0, upper, lower), 0)
            grid = Grid.between(low, high)
        log_label_map = log_sigmoids(alpha, beta, grid.e)
        log_joint = grid.log_normal[..., None, :] + log_label_map
        log_evidence = log_joint.logsumexp(-1)
        # each observed value y has weight share_y and its own normaliser q(y|x); missing values keep q(y|z) as it is
        log_share = torch.where(observed[..., None], share.log() - log_evidence, 0)
        joint = (log_joint + log_share[..., None]).exp()
        mass, first, second = (torch.einsum("blyg,blg->bly", joint, grid.e**power) for power in range(3))
        moments = Moments(
            mass=mass,
            first=first[..., None] * along[..., None, :],
            second=second[..., None] * along[..., None, :] ** 2 + mass[..., None] * (1 - along[..., None, :] ** 2),
            log_label_map=(joint * log_label_map).sum((-2, -1)),
        )
        return BinaryTiltedPosterior(
            log_evidence=torch.where(observed[..., None], share * log_evidence, 0).sum(-1),
            log_ratio=self.expected_log_ratio(mu, sigma, moments),
            observed=observed,
            along=along,
            grid=grid,
            masses=joint.sum(-2),
        )


@dataclass(frozen=True)
class Grid:
    """Equally spaced points `e`, `(batch, labels, points)`, with the log of the Normal mass that each stands for."""

    e: Tensor
    spacing: Tensor  # (batch, labels)
    log_normal: Tensor

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> Grid:
        """Grid from eight standard deviations below one mode to eight above another."""
        spacing = (high - low + 2 * GRID_HALF_WIDTH) / (GRID_POINTS - 1)
        steps = torch.arange(GRID_POINTS, dtype=low.dtype, device=low.device)
        e = (low - GRID_HALF_WIDTH)[..., None] + spacing[..., None] * steps
        return cls(e, spacing, spacing.log()[..., None] - e**2 / 2 - LOG_TWO_PI / 2)


def log_sigmoids(alpha: Tensor, beta: Tensor, e: Tensor) -> Tensor:
    """Log q(y|e) of y = 0 and 1 at a grid's points: `(batch, labels, 2, points)`."""
    s = alpha[..., None] * e + beta[..., None]
    present = logsigmoid(s)
    return torch.stack([present - s, present], -2)


def mode(alpha: Tensor, beta: Tensor) -> Tensor:
    """Mode of Normal(e; 0, 1) sigmoid(alpha e + beta), which solves e = alpha sigmoid(−alpha e − beta), by bisection."""
    low, high = torch.zeros_like(alpha), alpha
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rising = alpha * torch.sigmoid(-alpha * middle - beta) > middle
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class BinaryTiltedPosterior(TiltedPosterior):
    """q(z_i|x,y_i) of binary labels: masses of a grid's points along the unit vectors `along`, white noise across them."""

    observed: Tensor
    along: Tensor
    grid: Grid
    masses: Tensor

    def noise(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """White noise of a draw (Matheron's rule: only its part along w is exchanged)."""
        edges = self.masses.cumsum(-1)
        point = torch.searchsorted(edges.detach(), uniform[..., None].contiguous()).clamp_max(GRID_POINTS - 1)
        mass, upper = (table.gather(-1, point)[..., 0] for table in (self.masses, edges))
        within = (uniform - upper) / mass.clamp_min(torch.finfo(mass.dtype).tiny) + 0.5
        drawn = self.grid.e.gather(-1, point)[..., 0] + within.clamp(-0.5, 0.5) * self.grid.spacing
        # each point's mass, spread over its cell, is a twelfth of a cell squared too wide; shrunk, mean and variance are exact
        mean = (self.masses * self.grid.e).sum(-1)
        variance = (self.masses * (self.grid.e - mean[..., None]) ** 2).sum(-1)
        drawn = mean + (drawn - mean) * (variance / (variance + self.grid.spacing**2 / 12)).sqrt()
        exchange = torch.where(self.observed, drawn - (self.along * noise).sum(-1), 0)
        return noise + self.along * exchange[..., None]


class CategoricalBlocks(DiscreteBlocks):
    """Blocks of categorical labels of C classes: q(y_i|z_i) = softmax(W z_i + b), d at least C − 1.

    Integrals over a block are sums over fixed nodes: exact to rounding in one and two dimensions where the slopes |sigma W|
    are moderate; above, the mean of 512 scrambled Sobol points, with an error of order 1/512. A draw is one of the nodes,
    chosen by its weight and moved with the first two moments of the weighted nodes, so that gradients of expectations are
    exact for what is quadratic in z_i.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with their priors; all of them with C classes.
    """

    nodes: Tensor
    log_node_weights: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Categorical]) -> None:
        size, classes = len(latents[0]), len(labels[0].values)
        corners = torch.zeros(classes, size)
        corners[:, : classes - 1] = simplex(classes)
        corners = corners.expand(len(columns), classes, size)
        super().__init__(columns, latents, [label.priors for label in labels], FIRST_DISTANCE * corners)
        self.weight = nn.Parameter(corners.clone())
        self.bias = nn.Parameter(torch.zeros(len(columns), classes))
        nodes, weights = quadrature(size)
        self.register_buffer("nodes", nodes.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("log_node_weights", weights.log().to(torch.get_default_dtype()), persistent=False)

    def logits(self, z: Tensor) -> Tensor:
        """W z_i + b, `(…, labels, C)`."""
        return torch.einsum("lcd,...ld->...lc", self.weight, z) + self.bias

    def label_map(self, z: Tensor) -> list[Categorical]:
        """q(y_i|z_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.logits(z).unbind(-2)]

    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i)."""
        return (self.weights(y) * self.value_log_label_maps(z)).sum(-1)

    def value_log_label_maps(self, z: Tensor) -> Tensor:
        """Log q(y_i|z_i) of every class."""
        return log_softmax(self.logits(z), -1)

    def label_prior(self) -> list[Categorical]:
        """p(y_i)."""
        return [Categorical(logits=logits, validate_args=False) for logits in self.log_prior]

    def toward(self, y: Tensor) -> Tensor:
        """The class's row of W less the mean of all rows."""
        centred = self.weight - self.weight.mean(1, keepdim=True)
        return centred[torch.arange(y.shape[-1], device=y.device).expand_as(y), y.long()]

    def log_node_label_map(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Log q(y|z) at every node: `(batch, labels, C, nodes)`."""
        slope = self.weight * sigma[..., None, :]
        return log_softmax(self.logits(mu)[..., None] + slope @ self.nodes.T, -2)

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """q(y_i|x), `(batch, labels, C)`."""
        return (self.log_node_label_map(mu, sigma) + self.log_node_weights).logsumexp(-1).softmax(-1)

    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), by weights of the block's nodes."""
        observed = ~y.isnan()
        share = self.weights(y)
        log_label_map = self.log_node_label_map(mu, sigma)
        log_joint = log_label_map + self.log_node_weights
        log_evidence = log_joint.logsumexp(-1)
        log_share = torch.where(observed[..., None], share.log() - log_evidence, 0)
        joint = (log_joint + log_share[..., None]).exp()
        moments = Moments(
            mass=joint.sum(-1),
            first=joint @ self.nodes,
            second=joint @ self.nodes**2,
            log_label_map=(joint * log_label_map).sum((-2, -1)),
        )
        return CategoricalTiltedPosterior(
            log_evidence=torch.where(observed[..., None], share * log_evidence, 0).sum(-1),
            log_ratio=self.expected_log_ratio(mu, sigma, moments),
            observed=observed,
            nodes=self.nodes,
            weights=joint.sum(-2),
            mean=moments.first.sum(-2),
            variance=moments.second.sum(-2) - moments.first.sum(-2) ** 2,
        )


@dataclass(frozen=True)
class CategoricalTiltedPosterior(TiltedPosterior):
    """q(z_i|x,y_i) of categorical labels: weighted nodes with their mean and variance."""

    observed: Tensor
    nodes: Tensor
    weights: Tensor
    mean: Tensor
    variance: Tensor

    def noise(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """White noise of a draw."""
        cumulated = self.weights.detach().cumsum(-1)
        node = torch.searchsorted(cumulated / cumulated[..., -1:], uniform[..., None].contiguous()).clamp_max(
            len(self.nodes) - 1
        )
        scale = self.variance.clamp_min(SMALLEST_SLOPE).sqrt()
        drawn = self.mean + scale * ((self.nodes[node[..., 0]] - self.mean) / scale).detach()
        return torch.where(self.observed[..., None], drawn, noise)


def simplex(classes: int) -> Tensor:
    """Corners of a regular simplex around zero, at distance 1: `(classes, classes − 1)`."""
    centred = np.eye(classes) - 1 / classes
    basis = np.linalg.svd(centred)[2][: classes - 1]
    corners = centred @ basis.T
    return torch.tensor(corners / np.linalg.norm(corners[0]), dtype=torch.get_default_dtype())


def quadrature(size: int) -> tuple[Tensor, Tensor]:
    """Nodes `(count, size)` and weights of a standard Normal in float64: an equally spaced grid, or Sobol points above two.

    Softmax has poles near the real axis: there the trapezoid rule converges far faster than Gauss–Hermite's.
    """
    if size > 2:
        uniform = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(SOBOL_POINTS, dtype=torch.float64)
        nodes = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        return nodes, torch.full((SOBOL_POINTS,), 1 / SOBOL_POINTS, dtype=torch.float64)
    axis = torch.linspace(-6, 6, GRID_POINTS if size == 1 else 25, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
    return nodes, (-(nodes**2).sum(-1) / 2).softmax(0)


# ---------------------------------------------------------------------- continuous labels


class ContinuousBlocks(LabelBlocks):
    """Blocks of continuous labels: q(y_i|z_i) = Normal(w·z_i + b, tau²), p(z_i|y_i) with a mean affine in y_i.

    Inside, labels are standardised by the mean and scale of their prior; log densities are of the label in its own units.

    Args:
        columns: the labels' columns.
        latents: `(labels, d)` positions of their blocks.
        labels: the labels, with the means and scales of their priors.
    """

    prior_mean: Tensor
    prior_deviation: Tensor

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[label_kinds.Continuous]) -> None:
        super().__init__(columns, latents)
        count, size = len(columns), len(latents[0])
        self.register_buffer("prior_mean", torch.tensor([label.mean for label in labels]), persistent=False)
        self.register_buffer("prior_deviation", torch.tensor([label.scale for label in labels]), persistent=False)
        self.weight = nn.Parameter(torch.full((count, size), 1 / math.sqrt(size)))
        self.bias = nn.Parameter(torch.zeros(count))
        self.raw_deviation = nn.Parameter(torch.full((count,), math.log(math.expm1(0.5))))
        self.prior_slope = nn.Parameter(torch.full((count, size), 1 / math.sqrt(size)))
        self.prior_loc = nn.Parameter(torch.zeros(count, size))
        self.prior_raw_scale = nn.Parameter(torch.full((count, size), math.log(math.expm1(1))))

    @property
    def tau(self) -> Tensor:
        """Standard deviation of q(y_i|z_i), standardised: `(labels,)`."""
        return softplus(self.raw_deviation) + SMALLEST_SCALE

    @property
    def prior_scale(self) -> Tensor:
        """Scales of p(z_i|y_i): `(labels, d)`."""
        return softplus(self.prior_raw_scale) + SMALLEST_SCALE

    def standardised(self, y: Tensor) -> Tensor:
        """Labels less the mean of p(y_i), over its scale."""
        return (y - self.prior_mean) / self.prior_deviation

    def centre(self, z: Tensor) -> Tensor:
        """w·z_i + b, `(…, labels)`."""
        return (self.weight * z).sum(-1) + self.bias

    def label_map(self, z: Tensor) -> list[Normal]:
        """q(y_i|z_i), in the labels' own units."""
        loc = self.prior_mean + self.prior_deviation * self.centre(z)
        scale = (self.prior_deviation * self.tau).expand_as(loc)
        return [Normal(*pair, validate_args=False) for pair in zip(loc.unbind(-1), scale.unbind(-1), strict=True)]

    def log_label_map(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i)."""
        residual = (self.standardised(y) - self.centre(z)) / self.tau
        return -(residual**2) / 2 - (self.prior_deviation * self.tau).log() - LOG_TWO_PI / 2

    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i)."""
        log_conditional_prior: Tensor = self.conditional_prior(y).log_prob(z).sum(-1)
        log_prior = -(self.standardised(y) ** 2) / 2 - self.prior_deviation.log() - LOG_TWO_PI / 2
        return log_conditional_prior + log_prior - self.log_label_map(z, y)

    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Its mean under q(y_i|z_i), estimated by one pathwise sample."""
        centre = self.centre(z)
        drawn = centre + self.tau * torch.empty_like(centre).normal_(generator=generator)
        return self.log_joint_ratio(z, self.prior_mean + self.prior_deviation * drawn)

    def label_prior(self) -> list[Normal]:
        """p(y_i), in the labels' own units."""
        pairs = zip(self.prior_mean, self.prior_deviation, strict=True)
        return [Normal(*pair, validate_args=False) for pair in pairs]

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i)."""
        loc = self.prior_slope * self.standardised(y)[..., None] + self.prior_loc
        return Normal(loc, self.prior_scale.expand_as(loc), validate_args=False)

    def toward(self, y: Tensor) -> Tensor:
        """w, away from the mean of p(y_i): stronger is further out."""
        return self.weight * torch.where(y >= self.prior_mean, 1.0, -1.0).to(self.weight.dtype)[..., None]

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Mean and standard deviation of q(y_i|x), `(batch, labels, 2)`, in the labels' own units."""
        deviation = (self.tau**2 + (self.weight * sigma).square().sum(-1)).sqrt()
        return torch.stack([self.prior_mean + self.prior_deviation * self.centre(mu), self.prior_deviation * deviation], -1)

    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), in closed form."""
        observed = ~y.isnan()
        y = self.standardised(y.nan_to_num())
        tau = self.tau
        along = self.weight * sigma
        alpha = torch.linalg.vector_norm(along, dim=-1).clamp_min(SMALLEST_SLOPE)
        along = along / alpha[..., None]
        beta = self.centre(mu)
        total = alpha**2 + tau**2  # variance of y given x
        # mean and variance of e given y; Normal(0, 1) where y is missing
        mean = torch.where(observed, alpha * (y - beta) / total, 0)
        variance = torch.where(observed, tau**2 / total, 1)
        # y as (mean, dependence on e, own variance): a known number, or beta + alpha e + tau eta
        y_mean = torch.where(observed, y, beta)
        y_slope = torch.where(observed, 0, alpha)
        y_variance = torch.where(observed, 0, tau**2)

        offset = mu + sigma * along * mean[..., None] - self.prior_loc
        offset = offset - self.prior_slope * (y_mean + y_slope * mean)[..., None]
        square = (
            offset**2
            + (sigma * along - self.prior_slope * y_slope[..., None]) ** 2 * variance[..., None]
            + sigma**2 * (1 - along**2)
            + self.prior_slope**2 * y_variance[..., None]
        )
        log_conditional_prior = -(square / self.prior_scale**2 / 2 + self.prior_scale.log()).sum(-1)
        log_posterior = -(mean**2 + variance + (mu.shape[-1] - 1)) / 2 - sigma.log().sum(-1)  # both lack d/2 · log 2 pi
        residual = torch.where(observed, (y - beta - alpha * mean) ** 2 + alpha**2 * variance, tau**2)
        log_label_map = -residual / tau**2 / 2 - tau.log()
        spread = (y_mean + y_slope * mean) ** 2 + y_slope**2 * variance + y_variance
        log_label_prior = -spread / 2  # both lack log 2 pi / 2 and the label's unit
        log_evidence = -((y - beta) ** 2) / total / 2 - total.log() / 2 - LOG_TWO_PI / 2 - self.prior_deviation.log()
        return ContinuousTiltedPosterior(
            log_evidence=torch.where(observed, log_evidence, 0),
            log_ratio=log_conditional_prior + log_label_prior - log_label_map - log_posterior,
            observed=observed,
            along=along,
            mean=mean,
            deviation=variance.sqrt(),
        )


@dataclass(frozen=True)
class ContinuousTiltedPosterior(TiltedPosterior):
    """q(z_i|x,y_i) of continuous labels: Normal along the unit vectors `along`, white noise across them."""

    observed: Tensor
    along: Tensor
    mean: Tensor
    deviation: Tensor

    def noise(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """White noise of a draw."""
        part = (self.along * noise).sum(-1)
        exchange = torch.where(self.observed, self.mean + self.deviation * part - part, 0)
        return noise + self.along * exchange[..., None]
