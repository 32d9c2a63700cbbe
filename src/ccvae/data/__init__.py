"""Readers of data: each gives a `Dataset` of inputs, labels with holes, ids and splits."""

from ccvae.data.arrays import arrays
from ccvae.data.avatars import avatars
from ccvae.data.celeba import celeba
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
    "chexpert",
    "digits",
    "fashion_mnist",
    "hugging_face",
    "image_folder",
    "mnist",
    "table",
]
