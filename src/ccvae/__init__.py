"""CCVAE: a variational autoencoder that captures how its labels show (Joy et al., ICLR 2021).

What this package exports is imported on first use, so that `import ccvae` costs nothing and `ccvae --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ccvae import data
    from ccvae.config import ModelConfig, TrainConfig
    from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
    from ccvae.model.ccvae import CCVAE, load
    from ccvae.training.fit import fit

__all__ = [
    "CCVAE",
    "Binary",
    "Categorical",
    "Continuous",
    "LabelSpace",
    "ModelConfig",
    "TrainConfig",
    "__version__",
    "data",
    "fit",
    "load",
]

__version__ = "0.1.0"

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules=["data"],
    submod_attrs={
        "config": ["ModelConfig", "TrainConfig"],
        "labels": ["Binary", "Categorical", "Continuous", "LabelSpace"],
        "model.ccvae": ["CCVAE", "load"],
        "training.fit": ["fit"],
    },
)
