"""Settings of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ccvae.config.validation import LARGEST_SIZE, check_range, check_types, check_whole

__all__ = ["NETWORKS", "LikelihoodName", "ModelConfig", "Network"]

Network = Literal["auto", "attentive", "conv", "paper", "resnet", "mlp"]
LikelihoodName = Literal["laplace", "normal", "bernoulli"]
NETWORKS: tuple[str, ...] = get_args(Network)[1:]
MOST_COMPONENTS = 64
"""Normals of one p(z_i|y_i)."""


@dataclass(frozen=True)
class ModelConfig:
    """Settings of a model.

    Args:
        latent_dim: dimensions of the whole latent vector: the labels' blocks and the style. 0 chooses the blocks and 32
            dimensions of style.
        block_dim: dimensions of each label's block: one number for all labels, or numbers by label name (other labels then get
            the smallest block possible). A categorical label of C classes gets at least C − 1. None is 8 with the network
            "attentive", less if `latent_dim` would leave no room for the style, and 2 with others.
        network: encoder and decoder: "attentive" for images (every label attends to where it shows, and paints maps of its
            own) and for vectors (labels and style have networks of their own); "conv", "paper" or "resnet" for images; "mlp"
            for vectors and small images; "auto" is attentive for images and mlp for vectors. The run folder's settings have
            what was chosen.
        width: channels of the first convolution, or units of a hidden layer divided by eight.
        neutral_style: read the style from the input with all labels neutralised, so that how labels show is kept in their own
            blocks (see `passes` in `ccvae.model.latent_distributions`). None does so with the network "attentive".
        prior_components: number of Normals of each p(z_i|y_i), with weights, means and scales of their own: a label that shows
            in distinct ways can have one for each, so that draws are such ways and no blends of them. One is the paper's model.
            It concerns binary and categorical labels; a continuous one has one Normal, whose mean depends on its value.
        encoder: your own encoder as "package.module:Class", an `nn.Module` that is created with the input shape and
            `2 * latent_dim`. The module is imported, which runs its code.
        decoder: your own decoder as "package.module:Class", created with `latent_dim` and the output shape.
        dropout: dropout probability of the encoder's last features.
        likelihood: "laplace", "normal" or "bernoulli".
        scale: scale of the likelihood, in the data's units; its initial value if it is learned. None is 0.1 for images in
            [0, 1] and 1 for vectors; the paper uses 1. A smaller scale gives sharper images and less weight to the labels.
        learn_scale: whether the scale is learned.
    """

    latent_dim: int = 0
    block_dim: int | dict[str, int] | None = None
    network: Network = "auto"
    width: int = 32
    encoder: str | None = None
    decoder: str | None = None
    dropout: float = 0.3
    likelihood: LikelihoodName = "laplace"
    scale: float | None = None
    learn_scale: bool = False
    neutral_style: bool | None = None
    prior_components: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        check_whole("latent_dim", self.latent_dim, least=0, most=LARGEST_SIZE)
        check_whole("width", self.width, least=1, most=LARGEST_SIZE)
        check_whole("prior_components", self.prior_components, least=1, most=MOST_COMPONENTS)
        check_range("dropout", self.dropout, least=0, below=1)
        if self.scale is not None:
            check_range("scale", self.scale, above=0)
        sizes = self.block_dim if isinstance(self.block_dim, Mapping) else {"every label": self.block_dim}
        for name, size in sizes.items():
            if size is not None:
                check_whole(f"block_dim of {name}", size, least=1, most=LARGEST_SIZE)
