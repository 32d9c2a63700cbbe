"""Integrals over blocks of categorical labels: error against brute force by number of classes, and time and memory of a step.

A label's block has one dimension less than it has classes. Posteriors are centred at the conditional prior of one class; the
slope is the norm of sigma times a row of W. The observed class is the most probable one, the one in the middle, or the least
probable. The truth is importance sampling from the mode of the tilted posterior, with up to 200,000 samples; its own standard
error is shown. *Before* are 512 fixed nodes for every posterior. *Now* are the nodes that training draws: `bias` is the mean
error of log q(y|x) over many draws, `spread` the standard deviation of one. Up to four classes a lattice is used, before and
now.

    python benchmarks/categorical.py --out benchmarks/results/categorical.md
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ccvae.distributions.normal_nodes import normal_nodes, sobol_points
from ccvae.labels import Categorical
from ccvae.model.label_blocks.categorical import CategoricalBlocks
from ccvae.model.label_blocks.categorical_lattice import LatticeBlocks
from ccvae.model.label_blocks.categorical_sampled import SampledBlocks

CLASSES = (2, 3, 4, 5, 10, 30, 100, 300, 1000)
SLOPES = (0.5, 1.0, 2.0, 5.0)
REPEATS = 32
LARGEST_BEFORE = 40_000
"""Classes times rows up to which the old way is measured; 1,000 classes and 200 rows would need 9 GB."""


class FixedNodes(LatticeBlocks):
    """What was there before: 512 Sobol points, the same for every posterior and step."""

    def __init__(self, columns: list[int], latents: list[list[int]], labels: Sequence[Categorical]) -> None:
        CategoricalBlocks.__init__(self, columns, latents, labels)
        self.register_buffer("nodes", normal_nodes(sobol_points(len(latents[0]), 512)).to(torch.get_default_dtype()))
        self.register_buffer("log_node_weights", torch.full((512,), -math.log(512)))


def block_of(kind: type[CategoricalBlocks], classes: int) -> CategoricalBlocks:
    """A block of one label, with random parameters."""
    label = Categorical("label", tuple(range(classes)))
    blocks = kind([0], [list(range(classes - 1))], [label])
    generator = torch.Generator().manual_seed(classes)
    with torch.no_grad():
        for parameter in blocks.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter.shape[-1])
    return blocks


def now_kind(classes: int) -> type[CategoricalBlocks]:
    """What the model uses."""
    return LatticeBlocks if classes <= 4 else SampledBlocks


def cases(blocks: CategoricalBlocks, slope: float) -> list[tuple[Tensor, Tensor, int]]:
    """Posteriors, `(1, 1, d)` each, and observed classes."""
    size = blocks.weight.shape[-1]
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        mu = blocks.prior_loc[:, :1] + torch.randn(1, 1, size, generator=generator) / math.sqrt(size)
        sigma = slope * (0.5 + torch.rand(1, 1, size, generator=generator)) / blocks.weight[0].norm(dim=-1).mean()
        order = blocks.logits(mu)[0, 0].argsort(descending=True).tolist()
        found += [(mu, sigma, order[0]), (mu, sigma, order[len(order) // 2]), (mu, sigma, order[-1])]
    return found


def truth(blocks: CategoricalBlocks, mu: Tensor, sigma: Tensor, value: int) -> tuple[float, float]:
    """Log q(y|x) by importance sampling from the mode, found by Newton's method, and its standard error."""
    slope, offset = blocks.weight[0] * sigma[0, 0], blocks.logits(mu)[0, 0]
    c = torch.zeros(slope.shape[1])
    for _ in range(20):
        p = (offset + slope @ c).softmax(0)
        curvature = torch.eye(len(c)) + (slope.T * p) @ slope - torch.outer(p @ slope, p @ slope)
        c = c + 0.7 * torch.linalg.solve(curvature, slope[value] - p @ slope - c)
    samples, generator = min(200_000, 20_000_000 // len(p)), torch.Generator().manual_seed(1)
    parts = []
    for _ in range(max(1, samples // 20_000)):
        u = torch.randn(20_000, len(c), generator=generator)
        parts.append((offset + (c + u) @ slope.T).log_softmax(-1)[:, value] - u @ c - c @ c / 2)
    log_weights = torch.cat(parts)
    log_mean = log_weights.logsumexp(0) - math.log(len(log_weights))
    relative = (log_weights - log_mean).exp()
    return log_mean.item(), (relative.std() / math.sqrt(len(relative))).item()


@torch.no_grad()
def errors(classes: int, slope: float) -> dict[str, float]:
    """Errors of log q(y|x), over all cases."""
    before, now = block_of(FixedNodes if classes > 4 else LatticeBlocks, classes), block_of(now_kind(classes), classes)
    generator = torch.Generator().manual_seed(2)
    fixed, bias, spread, own = [], [], [], []
    for mu, sigma, value in cases(now, slope):
        true, error = truth(now, mu, sigma, value)
        many = tuple(tensor.expand(REPEATS, -1, -1) for tensor in (mu, sigma))
        noise = torch.randn(REPEATS, 1, mu.shape[-1], generator=generator)
        uniform = torch.rand(REPEATS, 1, generator=generator)
        y = torch.full((REPEATS, 1), float(value))
        found = now.tilt(*many, y, noise, uniform).log_q_y[:, 0] - true
        one = before.tilt(mu, sigma, y[:1], noise[:1], uniform[:1]).log_q_y.item() - true
        fixed, bias, spread, own = [*fixed, one], [*bias, found.mean()], [*spread, found.std()], [*own, error]
    fixed_errors, biases, spreads = (torch.tensor(numbers) for numbers in (fixed, bias, spread))
    return {
        "before, rms": fixed_errors.square().mean().sqrt().item(),
        "before, worst": fixed_errors.abs().max().item(),
        "now, bias": biases.abs().mean().item(),
        "now, worst bias": biases.abs().max().item(),
        "now, spread": spreads.square().mean().sqrt().item(),
        "truth ±": max(own),
    }


def step(way: str, classes: int, batch: int) -> None:
    """One training step of the label's terms, half of the labels missing; prints seconds and the memory that it added."""
    blocks = block_of(FixedNodes if way == "before" else now_kind(classes), classes)
    generator = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(2, batch, 1, classes - 1, generator=generator).abs().mul(0.5).add(0.1)
    mu, sigma = mu.requires_grad_(), sigma.requires_grad_()
    y = torch.randint(classes, (batch, 1), generator=generator).float()
    y[::2] = math.nan
    seconds, at_start = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        noise, uniform = torch.randn(mu.shape, generator=generator), torch.rand(y.shape, generator=generator)
        start = time.process_time()
        tilted = blocks(mu, sigma, y, noise, uniform)
        (tilted.log_q_y.sum() + tilted.log_ratio.sum() + tilted.noise.square().sum()).backward()
        seconds.append(time.process_time() - start)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1024
    print(json.dumps({"seconds": min(seconds), "MB": added}))


def steps(classes: int, batch: int) -> list[str]:
    """Rows of the table of costs, each measured in a process of its own."""
    lines = []
    for way in ("before", "now") if classes * batch <= LARGEST_BEFORE else ("now",):
        command = [sys.executable, __file__, "--step", way, "--classes", str(classes), "--batch", str(batch)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines.append(f"| {classes} | {batch} | {way} | out of memory | |")
        else:
            found = json.loads(done.stdout)
            lines.append(f"| {classes} | {batch} | {way} | {found['seconds']:.2f} | {found['MB']:,.0f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", help="measure one step only: before or now")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.step:
        step(arguments.step, arguments.classes, arguments.batch)
        return
    costs = ["| classes | batch | way | s a step | MB added |", "|---|---|---|---|---|"]
    for classes, batch in ((10, 200), (100, 200), (1000, 32), (1000, 200)):
        costs += steps(classes, batch)
    torch.set_default_dtype(torch.float64)
    names = list(errors(2, 0.5))
    table = [f"| classes | slope | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for classes in CLASSES:
        for slope in SLOPES:
            row = errors(classes, slope)
            table.append(f"| {classes} | {slope:g} | " + " | ".join(f"{number:.1e}" for number in row.values()) + " |")
            print(table[-1], flush=True)
    title = ["# Integrals over blocks of categorical labels", "", *__doc__.splitlines()[2:], ""]
    text = "\n".join([*title, "## Error of log q(y|x), nats", "", *table, "", "## One step, one core", "", *costs, ""])
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
