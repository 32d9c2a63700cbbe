"""Blocks of continuous labels: linear-Gaussian, every expectation is analytic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ccvae import labels as label_kinds
from ccvae.distributions.positive import positive, softplus_inverse
from ccvae.model.label_blocks.base import SMALLEST_SLOPE, LabelBlocks, TiltedPosterior

__all__ = ["ContinuousBlocks"]


LOG_TWO_PI = math.log(2 * math.pi)


class ContinuousBlocks(LabelBlocks):
    """Blocks of continuous labels: q(y_i|z_i) = Normal(w·z_i + b, tau²), p(z_i|y_i) with a mean affine in y_i.

    Labels are standardised by the mean and scale of their prior; log densities are of the label in its own units.

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
        self.raw_deviation = nn.Parameter(torch.full((count,), softplus_inverse(0.5)))
        self.prior_slope = nn.Parameter(torch.full((count, size), 1 / math.sqrt(size)))
        self.prior_loc = nn.Parameter(torch.zeros(count, size))
        self.prior_raw_scale = nn.Parameter(torch.full((count, size), softplus_inverse(1.0)))

    @property
    def tau(self) -> Tensor:
        """Standard deviation of q(y_i|z_i), standardised: `(labels,)`."""
        return positive(self.raw_deviation)

    @property
    def prior_scale(self) -> Tensor:
        """Scales of p(z_i|y_i): `(labels, d)`."""
        return positive(self.prior_raw_scale)

    def standardised(self, y: Tensor) -> Tensor:
        """Labels minus the mean of p(y_i), divided by its scale."""
        return (y - self.prior_mean) / self.prior_deviation

    def centre(self, z: Tensor) -> Tensor:
        """w·z_i + b, `(…, labels)`."""
        return (self.weight * z).sum(-1) + self.bias

    def classifier(self, z: Tensor) -> list[Normal]:
        """q(y_i|z_i), in the labels' own units."""
        loc = self.prior_mean + self.prior_deviation * self.centre(z)
        scale = (self.prior_deviation * self.tau).expand_as(loc)
        return [Normal(*pair, validate_args=False) for pair in zip(loc.unbind(-1), scale.unbind(-1), strict=True)]

    def log_classifier(self, z: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i|z_i)."""
        residual = (self.standardised(y) - self.centre(z)) / self.tau
        return -(residual**2) / 2 - (self.prior_deviation * self.tau).log() - LOG_TWO_PI / 2

    def log_joint_ratio(self, z: Tensor, y: Tensor) -> Tensor:
        """Log p(z_i|y_i) p(y_i) / q(y_i|z_i)."""
        log_conditional_prior: Tensor = self.conditional_prior(y).log_prob(z).sum(-1)
        log_prior = -(self.standardised(y) ** 2) / 2 - self.prior_deviation.log() - LOG_TWO_PI / 2
        return log_conditional_prior + log_prior - self.log_classifier(z, y)

    def expected_joint_ratio(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean of `log_joint_ratio` over y_i ~ q(y_i|z_i), estimated from one reparameterised sample."""
        centre = self.centre(z)
        drawn = centre + self.tau * torch.empty_like(centre).normal_(generator=generator)
        return self.log_joint_ratio(z, self.prior_mean + self.prior_deviation * drawn)

    def label_prior(self) -> list[Normal]:
        """p(y_i), in the labels' own units."""
        pairs = zip(self.prior_mean, self.prior_deviation, strict=True)
        return [Normal(*pair, validate_args=False) for pair in pairs]

    def prior_quantile(self, level: Tensor) -> Tensor:
        """Quantiles of p(y_i), in the labels' own units."""
        white: Tensor = torch.special.ndtri(level.clamp(1e-6, 1 - 1e-6))
        return self.prior_mean + self.prior_deviation * white

    def conditional_prior(self, y: Tensor) -> Normal:
        """p(z_i|y_i)."""
        loc = self.prior_slope * self.standardised(y)[..., None] + self.prior_loc
        return Normal(loc, self.prior_scale.expand_as(loc), validate_args=False)

    def neutral(self) -> Tensor:
        """The conditional mean at the mean of p(y_i)."""
        return self.prior_loc

    def toward(self, y: Tensor) -> Tensor:
        """±w, away from the mean of p(y_i): a stronger label is further out."""
        return self.weight * torch.where(y >= self.prior_mean, 1.0, -1.0).to(self.weight.dtype)[..., None]

    def predict(self, mu: Tensor, sigma: Tensor) -> Tensor:
        """Mean and standard deviation of q(y_i|x), `(batch, labels, 2)`, in the labels' own units."""
        deviation = (self.tau**2 + (self.weight * sigma).square().sum(-1)).sqrt()
        return torch.stack([self.prior_mean + self.prior_deviation * self.centre(mu), self.prior_deviation * deviation], -1)

    def tilt(self, mu: Tensor, sigma: Tensor, y: Tensor, noise: Tensor, uniform: Tensor) -> TiltedPosterior:
        """q(z_i|x,y_i), in closed form."""
        observed = ~y.isnan()
        y = self.standardised(y.nan_to_num())
        tau = self.tau
        along = self.weight * sigma
        alpha = torch.linalg.vector_norm(along, dim=-1).clamp_min(SMALLEST_SLOPE)
        along = along / alpha[..., None]
        beta = self.centre(mu)
        total = alpha**2 + tau**2  # variance of y given x
        # mean and variance of e given y; Normal(0, 1) if y is missing
        mean = torch.where(observed, alpha * (y - beta) / total, 0)
        variance = torch.where(observed, tau**2 / total, 1)
        # y is either a known number or beta + alpha e + tau eta: its mean, slope in e, and own variance
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
        log_classifier = -residual / tau**2 / 2 - tau.log()
        spread = (y_mean + y_slope * mean) ** 2 + y_slope**2 * variance + y_variance
        log_label_prior = -spread / 2  # both lack log 2 pi / 2 and the label's unit
        log_q_y = -((y - beta) ** 2) / total / 2 - total.log() / 2 - LOG_TWO_PI / 2 - self.prior_deviation.log()
        part = (along * noise).sum(-1)
        exchange = torch.where(observed, mean + variance.sqrt() * part - part, 0)
        return TiltedPosterior(
            log_q_y=torch.where(observed, log_q_y, 0),
            log_ratio=log_conditional_prior + log_label_prior - log_classifier - log_posterior,
            noise=noise + along * exchange[..., None],
        )
