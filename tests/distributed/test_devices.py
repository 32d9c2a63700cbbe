"""Compiled, a model computes what it computes otherwise, label terms as one graph each; and who asks for too much is told."""

import math

import pytest
import torch

from ccvae.config import ModelConfig
from ccvae.distributed.devices import chosen_precision, warn_of_slow_precision
from ccvae.distributions import quadrature as label_tables
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.compilation import compiled

pytestmark = [  # what torch's compiler says of itself
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

SPACE = LabelSpace((Binary("a"), Binary("b"), Categorical("c", ("x", "y", "z")), Continuous("d", mean=1.0, scale=2.0)))
LABELS = torch.tensor([[1, 0, 2, 3.5], [0, math.nan, 0, math.nan], [math.nan] * 4, [0.3, 1, math.nan, -1]])


def some_model():
    torch.manual_seed(0)
    return CCVAE(SPACE, (3, 16, 16), ModelConfig(network="conv", width=4, dropout=0.0))


def step(model):
    """The bound of a batch, and its derivatives."""
    x = torch.rand(len(LABELS), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    total = bound(model, x, LABELS, generator=torch.Generator().manual_seed(1)).total
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [total.detach(), *torch.autograd.grad(total.sum(), parameters)]


@pytest.fixture(autouse=True)
def forget():
    """What one test compiled, the next does not know."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_compiled_is_the_same():
    model = some_model().train()
    before = step(model)
    with compiled(model, backend="aot_eager"):
        within = step(model)
    after = step(model)
    for one, compiled_one, other in zip(before, within, after, strict=True):
        assert torch.allclose(one, compiled_one, rtol=1e-4, atol=1e-4)
        assert torch.equal(one, other)


def test_it_is_compiled_only_within():
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.register_backend(counting, name="counting")
    model = some_model().eval()
    with compiled(model, networks=False, backend="counting"):
        step(model)
    label_terms = len(graphs)
    with compiled(model, backend="counting"):
        step(model)
    met = len(graphs)
    step(model)
    assert label_terms >= 3  # kinds of label
    assert len(graphs) == met == label_terms + 2


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_label_terms_are_one_graph_on_an_accelerator(kind, monkeypatch):
    monkeypatch.setattr(label_tables, "on_accelerator", lambda tensor: True)
    block = list(some_model().label_blocks())[kind]
    labels, size = block.latents.shape
    mu, sigma, noise = torch.rand(3, len(LABELS), labels, size).add(0.1).unbind()
    arguments = (mu, sigma, LABELS[:, block.columns], noise, torch.rand(len(LABELS), labels))
    expected = block(*arguments)
    found = torch.compile(block.tilt, backend="eager", fullgraph=True)(*arguments)
    for name in ("log_q_y", "log_ratio", "noise"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-5)


@pytest.mark.parametrize("able", [True, False])
def test_slow_precision_is_warned_of(able, monkeypatch, recwarn):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able, "amx_bf16": False, "avx2": True})
    warn_of_slow_precision("32-true", torch.device("cpu"))
    warn_of_slow_precision("bf16-mixed", torch.device("cuda"))
    assert not recwarn
    warn_of_slow_precision("bf16-mixed", torch.device("cpu"))
    assert [str(warning.message)[:33] for warning in recwarn] == ["precision bf16-mixed: this CPU has"[:33]] * (not able)


@pytest.mark.parametrize(
    ("precision", "accelerator", "images", "bfloat16", "chosen"),
    [
        ("auto", "cpu", True, True, "bf16-mixed"),
        ("auto", "auto", True, True, "bf16-mixed"),
        ("auto", "cpu", True, False, "32-true"),
        ("auto", "cpu", False, True, "32-true"),
        ("auto", "mps", True, True, "32-true"),
        ("32-true", "cpu", True, True, "32-true"),
        ("bf16-mixed", "cpu", False, False, "bf16-mixed"),
    ],
)
def test_automatic_precision(monkeypatch, precision, accelerator, images, bfloat16, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": bfloat16})
    assert chosen_precision(precision, accelerator, images) == chosen


def test_automatic_precision_on_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for able in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, able=able: able)
        assert chosen_precision("auto", "auto", True) == ("bf16-mixed" if able else "32-true")


def test_a_model_in_double_precision_keeps_it():
    assert chosen_precision("auto", "cpu", True, torch.float64) == "64-true"
