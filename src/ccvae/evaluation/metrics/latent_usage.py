"""Which latent dimensions are used: KL divergence and active units of each block.

Active units: Burda et al., "Importance weighted autoencoders", ICLR 2016, appendix C.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ccvae.evaluation.bootstrap import mean_estimates
from ccvae.evaluation.metrics.likelihood import log_prior
from ccvae.evaluation.metrics.metric import LabelTable
from ccvae.model.ccvae import CCVAE

__all__ = ["TABLES", "latent_usage"]

ACTIVE = 0.01
"""A latent dimension is active if the variance of its posterior mean over the data is above this fraction of its prior's."""
COLLAPSED_NATS = 0.05
PRIOR_SAMPLES = 4096

TABLES = (
    LabelTable(
        "Latent blocks",
        "KL divergence from the prior in nats per row, and how many of a block's dimensions vary with the input.",
        "latents.blocks",
    ),
)


@torch.no_grad()
def latent_usage(model: CCVAE, x: Tensor, seed: int = 0) -> dict[str, Any]:
    """What each part of the latent vector is used for.

    Args:
        model: the model.
        x: inputs `(rows, *input_shape)`.
        seed: seed of the samples of z and of the prior's variance.

    Returns:
        "blocks", by label and "style": "kl", KL divergence of q(z_i|x) from p(z_i) in nats per row; "active", number of active
        dimensions; "dimensions", their number. "activity" `(latent_dim,)`: variance of the posterior mean over the data,
        divided by the prior's variance. "collapsed": labels whose block stores nothing about the input.
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
    """Variance of p(z) `(latent_dim,)` with labels marginalized out."""
    uniform = torch.rand(PRIOR_SAMPLES, len(model.space), generator=torch.Generator().manual_seed(seed)).to(model.device)
    prior = model.conditional_prior(model.draw_labels(uniform).to(next(model.parameters()).dtype))
    return prior.loc.var(0) + prior.scale.square().mean(0)
