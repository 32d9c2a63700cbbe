"""Readers of data: each gives a `Dataset` of inputs, labels with holes, ids and splits.

They are imported on first use, so that drawing or listing needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ccvae.data.checks.check import check
    from ccvae.data.dataset import Dataset
    from ccvae.data.readers.arrays import arrays
    from ccvae.data.readers.avatars import avatars
    from ccvae.data.readers.celeba import celeba
    from ccvae.data.readers.chexpert import chexpert
    from ccvae.data.readers.digits import digits
    from ccvae.data.readers.fashion_mnist import fashion_mnist, mnist
    from ccvae.data.readers.hugging_face import hugging_face
    from ccvae.data.readers.image_folder import image_folder
    from ccvae.data.readers.table import table

__all__ = [
    "Dataset",
    "arrays",
    "avatars",
    "celeba",
    "check",
    "chexpert",
    "digits",
    "fashion_mnist",
    "hugging_face",
    "image_folder",
    "mnist",
    "table",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks.check": ["check"],
        "dataset": ["Dataset"],
        "readers.arrays": ["arrays"],
        "readers.avatars": ["avatars"],
        "readers.celeba": ["celeba"],
        "readers.chexpert": ["chexpert"],
        "readers.digits": ["digits"],
        "readers.fashion_mnist": ["fashion_mnist", "mnist"],
        "readers.hugging_face": ["hugging_face"],
        "readers.image_folder": ["image_folder"],
        "readers.table": ["table"],
    },
)
