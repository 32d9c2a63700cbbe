"""Readers of data: each gives a `Dataset` of inputs, labels with holes, ids and splits.

They are imported on first use, so that drawing or listing needs no torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccvae.data.arrays import arrays
    from ccvae.data.avatars import avatars
    from ccvae.data.celeba import celeba
    from ccvae.data.check import check
    from ccvae.data.chexpert import chexpert
    from ccvae.data.dataset import Dataset
    from ccvae.data.digits import digits
    from ccvae.data.fashion_mnist import fashion_mnist, mnist
    from ccvae.data.hugging_face import hugging_face
    from ccvae.data.images import image_folder
    from ccvae.data.tables import table

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

HOMES = {
    "Dataset": "dataset",
    "arrays": "arrays",
    "avatars": "avatars",
    "celeba": "celeba",
    "check": "check",
    "chexpert": "chexpert",
    "digits": "digits",
    "fashion_mnist": "fashion_mnist",
    "hugging_face": "hugging_face",
    "image_folder": "images",
    "mnist": "fashion_mnist",
    "table": "tables",
}
"""The module that each exported name comes from."""


def __getattr__(name: str) -> Any:
    """Import an exported name on its first use."""
    if name not in HOMES:
        raise AttributeError(f"module 'ccvae.data' has no attribute {name!r}")
    value = getattr(import_module(f"ccvae.data.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


class Readers(ModuleType):
    """This package, in which a function keeps its name when the module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        # importing the module ccvae.data.avatars puts it here as `avatars`, where its function belongs
        super().__setattr__(name, getattr(value, name) if name in HOMES and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = Readers
