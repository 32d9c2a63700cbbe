"""Other tools' ways to use a CCVAE, each behind an extra of its own.

`CCVAEClassifier` and `CCVAETransformer` are scikit-learn estimators (extra `sklearn`). They are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ccvae.integrations.scikit_learn import CCVAEClassifier, CCVAETransformer

__all__ = ["CCVAEClassifier", "CCVAETransformer"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "scikit_learn": ["CCVAEClassifier", "CCVAETransformer"],
    },
)
