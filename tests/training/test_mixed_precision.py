"""In mixed precision networks alone compute with less; and no step asks the device for a number, which would make it wait."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ccvae.config import ModelConfig
from ccvae.distributions import quadrature as label_tables
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.intervention_losses import elsewhere_kl, intervention_loss

SPACE = LabelSpace((Binary("a"), Binary("b"), Categorical("c", ("x", "y", "z")), Continuous("d", mean=1.0, scale=2.0)))
LABELS = torch.tensor([[1, 0, 2, 3.5], [0, math.nan, 0, math.nan], [math.nan] * 4, [0.3, 1, math.nan, -1], [1, 1, 1, 1]])
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim", "_unique2"}


def model_and_inputs(network="conv"):
    torch.manual_seed(0)
    model = CCVAE(SPACE, (3, 16, 16), ModelConfig(network=network, width=4, dropout=0.0)).eval()
    with torch.no_grad():  # off the symmetry in which parameters begin
        for parameter in model.blocks.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model, torch.rand(len(LABELS), 3, 16, 16)


def terms_of(model, x, estimator):
    return bound(model, x, LABELS, estimator, torch.Generator().manual_seed(1))


class Given(nn.Module):
    """An encoder that gives what it is given."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_label_terms_are_those_of_full_precision(estimator):
    model, x = model_and_inputs()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = model.encoder(x)
        mixed = terms_of(model, x, estimator)
    assert encoded.dtype == torch.bfloat16
    model.encoder = Given(encoded.detach().float())
    full = terms_of(model, x, estimator)
    for name in ("labels", "style", "classification", "log_q_y"):
        one, other = getattr(mixed, name), getattr(full, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == torch.float32
            assert torch.equal(one, other), name
    assert mixed.reconstruction.dtype == torch.float32
    assert torch.allclose(mixed.reconstruction, full.reconstruction, rtol=2e-2)


def test_label_parameters_get_the_gradients_of_full_precision():
    model, x = model_and_inputs()
    parameters = list(model.blocks.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        encoded = model.encoder(x)
        mixed = terms_of(model, x, "exact")
    model.encoder = Given(encoded.detach().float())
    full = terms_of(model, x, "exact")
    for one, other in zip(
        torch.autograd.grad((mixed.labels + mixed.classification).sum(), parameters),
        torch.autograd.grad((full.labels + full.classification).sum(), parameters),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_predictions_are_close_to_those_of_full_precision():
    model, x = model_and_inputs()
    full = model.predict_proba(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.predict_proba(x)
        assert model.generate(2).dtype == torch.float32
    assert abs(full - mixed).to_numpy().max() < 0.02


def as_if_on_accelerator(monkeypatch, away):
    monkeypatch.setattr(label_tables, "on_accelerator", lambda tensor: away)


class NoWaiting(TorchDispatchMode):
    """Raises where an operation needs to know a tensor's content before the next can be started."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else []
        by_mask = any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)
        if name in WAITING or by_mask:
            raise AssertionError(f"{name} makes an accelerator wait")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_a_step_asks_an_accelerator_for_nothing(estimator, monkeypatch):
    as_if_on_accelerator(monkeypatch, True)
    model, x = model_and_inputs()
    model.train()
    with NoWaiting():
        result = terms_of(model, x, estimator)
        rehearsed = intervention_loss(model, result.posterior) + elsewhere_kl(model, result.posterior, LABELS)
        (rehearsed - result.weighted(0.5, 10.0)).mean().backward()


def test_the_check_for_waiting_sees_what_waits():
    model, x = model_and_inputs()
    with pytest.raises(AssertionError, match="nonzero"), NoWaiting():
        terms_of(model, x, "exact")
    with pytest.raises(AssertionError, match="makes an accelerator wait"), NoWaiting():
        x[x > 0.5].sum()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        x.sum().item()


def test_an_accelerator_s_terms_are_the_processor_s(monkeypatch):
    model, x = model_and_inputs()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    outcomes = []
    for away in (False, True):
        as_if_on_accelerator(monkeypatch, away)
        result = terms_of(model, x, "exact")
        gradients = torch.autograd.grad(result.total.sum(), parameters)
        outcomes.append([*result.terms().values(), *gradients])
    for one, other in zip(*outcomes, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_does_not_wait():
    model, x = model_and_inputs()
    model.cuda().train()
    x, y = x.cuda(), LABELS.cuda()
    generator = torch.Generator("cuda").manual_seed(0)
    bound(model, x, y, generator=generator).total.mean().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            loss = -bound(model, x, y, generator=generator).weighted(1.0, 10.0).mean()
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
