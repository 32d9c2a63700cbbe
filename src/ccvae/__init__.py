"""CCVAE: a variational autoencoder that captures how its labels show (Joy et al., ICLR 2021).

What this package exports is imported on first use, so that `import ccvae` costs nothing and `ccvae --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

HOMES = {
    "CCVAE": "model.ccvae",
    "Binary": "labels",
    "Categorical": "labels",
    "Continuous": "labels",
    "LabelSpace": "labels",
    "ModelConfig": "config",
    "TrainConfig": "config",
    "fit": "training.fit",
    "load": "model.ccvae",
}
"""The module that each exported name comes from."""


def __getattr__(name: str) -> Any:
    """Import an exported name on its first use."""
    if name == "data":
        return import_module("ccvae.data")
    if name not in HOMES:
        raise AttributeError(f"module 'ccvae' has no attribute {name!r}")
    value = getattr(import_module(f"ccvae.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
