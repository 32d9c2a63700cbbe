"""What the label terms of the exact bound cost beside the networks, forward and backward, on one thread.

    python benchmarks/label_terms.py [rounds]

Beside the paper's networks on 3×64×64 images, batch 200: encode, decode, reconstruction, backward and Adam. Label terms are
those of binary labels, from a posterior's means and scales to the gradients in them. Medians of alternated runs, in processor
time.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ccvae.binary_blocks import BinaryBlocks
from ccvae.config import ModelConfig
from ccvae.labels import Binary, LabelSpace
from ccvae.model import CCVAE

BATCH = 200
COUNTS = (18, 512)
PATTERNS = {"hard": 0.0, "missing": 1.0, "mixed": 0.5}


def network_step() -> Callable[[], None]:
    model = CCVAE(LabelSpace((Binary("label"),)), (3, 64, 64), ModelConfig(network="paper"))
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    x = torch.rand(BATCH, 3, 64, 64).to(memory_format=torch.channels_last)

    def step() -> None:
        optimiser.zero_grad()
        model.likelihood(model.posterior(x).rsample(), x).mean().neg().backward()
        optimiser.step()

    return step


def label_step(count: int, missing: float) -> Callable[[], None]:
    blocks = BinaryBlocks(list(range(count)), [[i] for i in range(count)], [Binary(f"label {i}") for i in range(count)])
    mu = torch.randn(BATCH, count, 1, requires_grad=True)
    raw_sigma = torch.randn(BATCH, count, 1, requires_grad=True)
    y = torch.randint(2, (BATCH, count)).float().masked_fill(torch.rand(BATCH, count) < missing, math.nan)

    def step() -> None:
        sigma = softplus(raw_sigma)
        tilted = blocks.tilt(mu, sigma, y, torch.randn_like(mu), torch.rand_like(y))
        z: Tensor = mu + sigma * tilted.noise
        (tilted.log_evidence.sum() + tilted.log_ratio.sum() + z.square().sum()).backward()

    return step


def main(rounds: int = 9) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps = {("networks", 0): network_step()}
    steps |= {(name, count): label_step(count, share) for count in COUNTS for name, share in PATTERNS.items()}
    times: dict[tuple[str, int], list[float]] = {key: [] for key in steps}
    for _ in range(rounds + 1):
        for key, step in steps.items():
            start = time.process_time()
            step()
            times[key].append(time.process_time() - start)
    medians = {key: statistics.median(kept[1:]) for key, kept in times.items()}  # the first round warms up
    networks = medians.pop(("networks", 0))
    print(f"networks' step, batch {BATCH}: {1e3 * networks:.0f} ms\n")
    print(f"{'labels':>6}  {'pattern':8}  {'ms':>7}  of the step")
    for (name, count), spent in medians.items():
        print(f"{count:6}  {name:8}  {1e3 * spent:7.1f}  {spent / networks:10.1%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
