"""Ways to do what `speed.py` compares: steps, their floor, the public way, and predicting, generating and intervening."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Laplace, Normal
from torch.nn.functional import softplus
from torch.utils._python_dispatch import TorchDispatchMode

from ccvae.config import ModelConfig, TrainConfig
from ccvae.distributed.devices import has_bfloat16
from ccvae.distributions import quadrature as label_tables
from ccvae.labels import Binary, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.model.networks.layers import CoveringConv2d, DoublingConvTranspose2d, SpreadingConvTranspose2d, torch_layers
from ccvae.training.compilation import compiled
from ccvae.training.optimizer import build_optimizer, decayed_parameters

SAMPLES, ROWS = 100, 256

Arm = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What a step is about."""

    network: str = "conv"
    size: int = 32
    labels: int = 18
    batch: int = 200
    style: int = 27
    block: int = 1

    def model(self, device: str) -> CCVAE:
        """Our model, in training mode."""
        torch.manual_seed(0)
        space = LabelSpace(tuple(Binary(f"label {number}") for number in range(self.labels)))
        latent = self.labels * self.block + self.style
        config = ModelConfig(network=self.network, latent_dim=latent, block_dim=self.block)
        return CCVAE(space, (3, self.size, self.size), config).to(device).train()

    def batch_of(self, device: str, pattern: str) -> tuple[Tensor, Tensor]:
        """Random pixels and labels: "labelled", "unlabelled", or "mixed", half and half."""
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(self.batch, 3, self.size, self.size, generator=generator)
        y = torch.randint(2, (self.batch, self.labels), generator=generator).float()
        missing = {"labelled": 0, "unlabelled": self.batch, "mixed": self.batch // 2}[pattern]
        y[:missing] = math.nan
        return x.to(device, memory_format=torch.channels_last), y.to(device)


def floor_step(case: Case, device: str, mixed: bool = False) -> Arm:
    model, (x, _) = case.model(device), case.batch_of(device, "labelled")
    step_of = trained(model)
    return lambda: step_of(lambda: model.decoder(model.encoder(x)[:, : model.config.latent_dim]).mean(), mixed)


def our_step(
    case: Case, device: str, pattern: str, estimator: str = "exact", mixed: bool = False, model: CCVAE | None = None
) -> Arm:
    model, (x, y) = model or case.model(device), case.batch_of(device, pattern)
    step_of = trained(model)
    return lambda: step_of(lambda: -bound(model, x, y, estimator).weighted(1.0, 100.0).mean(), mixed)


def compiled_step(case: Case, device: str) -> Arm:
    """Our step, compiled."""
    model = case.model(device)
    step = our_step(case, device, "mixed", model=model)

    def arm() -> None:
        with compiled(model):
            step()

    return arm


def trained(model: CCVAE) -> Callable[[Callable[[], Tensor], bool], None]:
    """A step with the optimizer of training."""
    optimizer, schedule = build_optimizer(model, TrainConfig(learning_rate=1e-4), 1_000_000, decayed_parameters(model))

    def step(loss: Callable[[], Tensor], mixed: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast(model.device.type, torch.bfloat16) if mixed else nullcontext():
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()

    return step


def plain_model(case: Case, device: str) -> CCVAE:
    """Our model as it would be without care for speed: channels first, and new memory for every rectified map."""
    model = case.model(device).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return out_of_place(model)


def out_of_place(model: CCVAE) -> CCVAE:
    """The model, rectifying into new memory."""
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return model


def public_step(case: Case, device: str, lean: bool = False) -> Arm:
    """The public way; lean, its networks and Adam with our bound."""
    model, (x, y) = plain_model(case, device), case.batch_of(device, "labelled")
    x = x.contiguous()
    labels = case.labels
    weight, bias = (nn.Parameter(torch.full((labels,), start, device=device)) for start in (1.0, 0.0))
    loc, raw_scale = (nn.Parameter(torch.zeros(2, labels, device=device)) for _ in range(2))
    parameters = [*model.parameters(), *([] if lean else [weight, bias, loc, raw_scale])]
    optimizer = torch.optim.Adam([parameter for parameter in parameters if parameter.requires_grad], 1e-4)
    rest = torch.zeros(case.batch, model.config.latent_dim - labels, device=device)

    def posterior() -> Normal:
        mu, raw = model.encoder(x).chunk(2, -1)
        return Normal(mu, softplus(raw) + 1e-3)

    def log_classifier(z: Tensor) -> Tensor:
        logits = z[..., :labels] * weight + bias
        return Bernoulli(logits=logits).log_prob(y.expand_as(logits)).sum(-1)

    def objective() -> Tensor:
        if lean:
            return bound(model, x, y).total
        q_z = posterior()
        z = q_z.rsample()
        log_evidence = log_classifier(posterior().rsample((SAMPLES,))).logsumexp(0) - math.log(SAMPLES)
        prior_loc = torch.cat([torch.where(y > 0, loc[1], loc[0]), rest], -1)
        prior_scale = torch.cat([softplus(torch.where(y > 0, raw_scale[1], raw_scale[0])), rest + 1], -1)
        mean = model.decoder(z).sigmoid()
        log_joint = Laplace(mean, torch.ones_like(mean)).log_prob(x).sum((1, 2, 3))
        log_joint = log_joint + Normal(prior_loc, prior_scale).log_prob(z).sum(-1)
        importance = (log_classifier(z.detach()) - log_evidence).exp()
        return importance * (log_joint - log_classifier(z) - q_z.log_prob(z).sum(-1)) + log_evidence

    def step() -> None:
        with torch_layers():
            optimizer.zero_grad()
            (-objective().mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return step


def inference(case: Case, device: str) -> dict[str, tuple[Arm, Arm]]:
    """Plain and our ways to predict, to generate and to intervene; plain ones take all rows at once, channels first."""
    case = replace(case, batch=ROWS)
    model, plain = case.model(device).eval(), plain_model(case, device).eval()
    x = case.batch_of(device, "labelled")[0]
    nchw = x.contiguous()
    weight, bias = (torch.ones(case.labels, device=device) for _ in range(2))
    latent = model.config.latent_dim

    def encoded() -> Tensor:
        return plain.encoder(nchw)[:, :latent]

    def decoded(z: Tensor) -> Tensor:
        return plain.decoder(z).sigmoid()

    def plainly(work: Callable[[], Tensor]) -> Arm:
        def arm() -> None:
            with torch_layers(), torch.no_grad():
                work().cpu()

        return arm

    def changed() -> Tensor:
        z = encoded()
        z[:, 0] = 2.0
        return decoded(z)

    pairs: dict[str, tuple[Arm, Arm]] = {
        "predict": (
            plainly(lambda: torch.sigmoid(encoded()[:, : case.labels] * weight + bias)),
            lambda: model.predict_proba(x),
        ),
        "generate": (
            plainly(lambda: decoded(torch.randn(ROWS, latent, device=device))),
            lambda: model.generate(ROWS).cpu(),
        ),
        "intervene": (plainly(changed), lambda: model.intervene(x, {"label 0": 1}).cpu()),
    }

    def mixed(work: Arm) -> Arm:
        def arm() -> None:
            with torch.autocast(device, torch.bfloat16):
                work()

        return arm

    if has_bfloat16(torch.device(device)):
        pairs |= {f"{name}, ours in bf16": (plain_way, mixed(ours)) for name, (plain_way, ours) in pairs.items()}
    return pairs


def parts(case: Case, device: str, model: CCVAE | None = None) -> dict[str, Arm]:
    """What a step does beside its floor, each alone, forward and backward."""
    model, (x, y) = model or case.model(device), case.batch_of(device, "mixed")
    with torch.no_grad():
        posterior = model.posterior(x)
        decoded = model.decoder(posterior.loc).requires_grad_()
    mu, sigma = posterior.loc.requires_grad_(), posterior.scale.requires_grad_()
    noise, uniform = torch.randn_like(mu), torch.rand_like(y)

    def label_terms() -> None:
        total = torch.zeros((), device=device)
        for block in model.label_blocks():
            where, columns = block.latents, block.columns
            tilted = block(mu[:, where], sigma[:, where], y[:, columns], noise[:, where], uniform[:, columns])
            total = total + tilted.log_ratio.sum() + tilted.log_evidence.sum() + tilted.noise.sum()
        total.backward()  # type: ignore[no-untyped-call]

    def likelihood() -> None:
        model.likelihood_of.log_prob(decoded, x).sum().backward()  # type: ignore[no-untyped-call]

    return {"label terms": label_terms, "likelihood": likelihood}


VIEWS = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "diagonal", "empty", "empty_like", "empty_strided",
    "expand", "lift_fresh", "new_empty", "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose",
    "unbind", "unsqueeze", "view",
}  # fmt: skip
"""Operations that compute nothing."""


class Counter(TorchDispatchMode):
    """Counts the operations that are started within."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket.__name__ not in VIEWS
        return function(*args, **(kwargs or {}))


def operations(step: Arm) -> int:
    """How many operations a step starts."""
    step()
    with Counter() as counter:
        step()
    return counter.count


@contextmanager
def as_on_accelerator() -> Iterator[None]:
    """Within, label terms are computed as on an accelerator, which is asked for nothing."""
    with patch.object(label_tables, "on_accelerator", lambda tensor: True):
        yield


def layer_forms(device: str) -> dict[str, tuple[Arm, Arm]]:
    """Layers of the paper's networks at 64×64, forward and backward: torch's, and ours."""
    layers = {
        "convolution of the whole 4×4 input": (CoveringConv2d(128, 256, 4), (128, 4, 4)),
        "its transpose": (SpreadingConvTranspose2d(256, 128, 4), (256, 1, 1)),
        "transposed convolution, 32 to 32 channels, at 16×16": (DoublingConvTranspose2d(32, 32), (32, 16, 16)),
        "the last one, 32 to 3 channels, at 32×32": (DoublingConvTranspose2d(32, 3), (32, 32, 32)),
    }

    def arm(layer: nn.Module, x: Tensor, ours: bool) -> Arm:
        def step() -> None:
            with nullcontext() if ours else torch_layers():
                y = layer(x)
                y.backward(torch.ones_like(y))

        return step

    arms = {}
    for name, (layer, shape) in layers.items():
        layer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.randn(200, *shape, device=device).to(memory_format=torch.channels_last).requires_grad_()
        arms[name] = (arm(layer, x, ours=False), arm(layer, x, ours=True))
    return arms
