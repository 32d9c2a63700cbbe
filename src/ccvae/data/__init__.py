"""Readers of data: each gives a `Dataset` of inputs, labels with holes, ids and splits.

They are imported on first use, so that drawing or listing needs no torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

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

HOMES = {
    "Dataset": "dataset",
    "arrays": "readers.arrays",
    "avatars": "readers.avatars",
    "celeba": "readers.celeba",
    "check": "checks.check",
    "chexpert": "readers.chexpert",
    "digits": "readers.digits",
    "fashion_mnist": "readers.fashion_mnist",
    "hugging_face": "readers.hugging_face",
    "image_folder": "readers.image_folder",
    "mnist": "readers.fashion_mnist",
    "table": "readers.table",
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
