"""The encoder that only classifies."""

import pytest
import torch

from ccvae.model.networks.pooled import pooled_encoder


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 37, 50), (3, 64, 64), (3, 218, 178)])
def test_any_image_gives_numbers(shape):
    encoder = pooled_encoder(shape, 10, width=4).eval()
    assert encoder(torch.rand(2, *shape)).shape == (2, 10)


def test_large_images_are_strided_first():
    """So that a step on 128×128 costs a few times one on 32×32, not sixteen times."""
    strides = [layer.stride for layer in pooled_encoder((3, 128, 128), 10, width=4) if isinstance(layer, torch.nn.Conv2d)]
    assert strides == [(2, 2), (2, 2), (1, 1), (1, 1), (1, 1)]
