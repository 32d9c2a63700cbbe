"""Self-consistency: whether the classifier q(y|z) agrees with the conditional prior p(z|y)."""

from __future__ import annotations

import torch

from ccvae.evaluation.bootstrap import Estimate, mean_estimates
from ccvae.evaluation.metrics.metric import LabelTable, Metric
from ccvae.labels import Binary, Continuous
from ccvae.model.ccvae import CCVAE

__all__ = ["METRICS", "TABLES", "self_consistency"]

SAMPLES = 2000

METRICS = (
    Metric("consistency.mean.consistency", "self-consistency",
           "fraction of q(y|z) that agree with y, for z drawn from p(z|y)", "higher", "Leakage"),
)  # fmt: skip

TABLES = (
    LabelTable(
        "Self-consistency by label",
        "How often q(y|z) agrees with y for z drawn from p(z|y), with all values equally frequent; higher is better.",
        "consistency.labels",
    ),
)


def self_consistency(model: CCVAE, seed: int = 0, count: int = SAMPLES) -> dict[str, Estimate]:
    """How often q(y_i|z_i) agrees with y_i for z_i drawn from p(z_i|y_i), with all values equally frequent.

    A continuous label agrees if its predicted mean is within half the prior's scale of the value.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = []
    for label in model.space:
        if isinstance(label, Continuous):
            columns.append(label.mean + label.scale * torch.randn(count, generator=generator))
        else:
            columns.append(torch.arange(count).remainder(len(label.values)).float())
    y = torch.stack(columns, -1).to(model.device)
    with torch.no_grad():
        y_given = y.to(next(model.parameters()).dtype)
        white = torch.randn(count, model.config.latent_dim, generator=generator)
        prior = model.conditional_component(y_given, torch.rand(y.shape, generator=generator).to(y_given))
        noise = white.to(prior.loc)
        maps = model.classifier(prior.loc + prior.scale * noise)
    hits = []
    for column, label in enumerate(model.space):
        predicted = maps[label.name]
        if isinstance(label, Continuous):
            hits.append((predicted.mean - y[:, column]).abs() <= label.scale / 2)
        elif isinstance(label, Binary):
            hits.append((predicted.mean >= 0.5) == (y[:, column] == 1))
        else:
            hits.append(predicted.probs.argmax(-1) == y[:, column])  # type: ignore[attr-defined]
    estimates = mean_estimates(torch.stack(hits, -1).double().cpu().numpy())
    return dict(zip(model.space.names, estimates, strict=True))
