"""The quantile function of plain operations is that of the standard Normal, in the middle and far out."""

import pytest
import torch

from ccvae.distributions.normal_quantile import normal_quantile

TAILS = torch.tensor([1e-300, 1e-100, 1e-40, 1e-20, 1e-13, 1e-11, 1e-9, 1e-6, 1e-3], dtype=torch.float64)


@pytest.mark.parametrize("levels", [torch.linspace(0.001, 0.999, 999, dtype=torch.float64), TAILS], ids=["middle", "tails"])
def test_quantiles(levels):
    torch.testing.assert_close(normal_quantile(levels), torch.special.ndtri(levels), rtol=1e-12, atol=1e-12)


def test_quantiles_in_single_precision_and_the_upper_tail():
    levels = torch.tensor([0.5, 0.9, 0.999, 1 - 1e-6])
    torch.testing.assert_close(normal_quantile(levels), torch.special.ndtri(levels), rtol=1e-4, atol=1e-6)
    upper = 1 - torch.tensor([1e-3, 1e-6, 1e-9, 1e-12], dtype=torch.float64)
    torch.testing.assert_close(normal_quantile(upper), torch.special.ndtri(upper), rtol=1e-9, atol=0)
