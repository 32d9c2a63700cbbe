"""Other tools' ways to use a CCVAE, each behind an extra of its own.

`CCVAEClassifier` and `CCVAETransformer` are scikit-learn estimators (extra `sklearn`). They are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccvae.integrations.scikit_learn import CCVAEClassifier, CCVAETransformer

__all__ = ["CCVAEClassifier", "CCVAETransformer"]

HOMES = {"CCVAEClassifier": "scikit_learn", "CCVAETransformer": "scikit_learn"}
"""The module that each exported name comes from."""


def __getattr__(name: str) -> Any:
    """Import an exported name on its first use."""
    if name not in HOMES:
        raise AttributeError(f"module 'ccvae.integrations' has no attribute {name!r}")
    value = getattr(import_module(f"ccvae.integrations.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
