"""How long the exact estimator takes to be as good as the paper's is at the end of its training.

    python benchmarks/time_to_quality.py       # about 20 minutes on one core; writes benchmarks/results/time_to_quality.md

8,000 avatars at 32×32, all labelled, latent 45, Laplace with scale 1, default networks and weights, no interventions
rehearsed. The paper's estimator trains with several learning rates and batch sizes, of which the best bound and the best
accuracy are the goals, whichever training had them. The exact one has one rate and batch size, and gets parts of the same
epochs, each a training of its own with its schedule fitted in. All are tested on 2,000 other faces by the exact bound and by
exact q(y|x), from one seed. Times are of training alone, those of the paper's estimator are those of its fastest training.
"""

import argparse
import os
import platform
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from ccvae.data import avatars
from ccvae.data.dataset import Dataset
from ccvae.data.loaders.batches import SplitBatches
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "time_to_quality.md"
RATES, BATCHES = (2e-3, 5e-3, 1e-2), (100, 200)
RATE, BATCH = 1e-2, 100
"""The exact estimator's."""
PARTS = (6, 3, 2)


class Clock(Callback):
    """Seconds from the first step's start to the last one's end, by the clock and of the processor."""

    def on_train_start(self, *_: object) -> None:
        """Start."""
        self.started = np.array([time.perf_counter(), time.process_time()])

    def on_train_end(self, *_: object) -> None:
        """Stop."""
        self.spent = np.array([time.perf_counter(), time.process_time()]) - self.started


def trained(data: Dataset, estimator: str, epochs: int, rate: float, batch: int) -> list[float]:
    """Wall-clock and CPU seconds, mean label accuracy, and exact bound per face on the test split."""
    torch.manual_seed(0)
    model = CCVAE.for_data(data, network="conv", latent_dim=45, block_dim=1, scale=1.0)
    clock = Clock()
    settings = {"epochs": epochs, "estimator": estimator, "learning_rate": rate, "batch_size": batch, "kl_warmup": 0.0}
    fit(model, data, callbacks=[clock], progress=False, intervention_weight=0.0, **settings)
    rows = data.splits["test"]
    accuracy = (model.space.encode(model.predict(data.tensor(rows))) == data.labels[rows]).mean()
    torch.manual_seed(0)
    with torch.no_grad():
        bounds = torch.cat([bound(model, x, y).total for x, y in SplitBatches(data, "test")])
    return [*clock.spent, float(accuracy), bounds.mean().item()]


def row(name: str, epochs: int, rate: float, batch: int, result: list[float]) -> str:
    clock, processor, accuracy, total = result
    return f"| {name} | {epochs} | {rate:g} | {batch} | {clock:.0f} | {processor:.0f} | {accuracy:.4f} | {total:.1f} |"


def reached(what: str, exact: dict[int, list[float]], goal: list[float], places: list[int]) -> str:
    """Fraction of the time after which the exact estimator is as good."""
    for epochs, result in exact.items():
        if all(result[place] >= goal[place] for place in places):
            share = f"{result[0] / goal[0]:.2f} of the time, {result[1] / goal[1]:.2f} of the processor's"
            return f"{what}: with {epochs} epochs, in {share}"
    return f"{what}: not with these epochs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="of the paper's estimator")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = avatars(10_000, size=32, seed=0, validation=0, test=2_000)
    settings = list(product(RATES, BATCHES))
    papers = {each: trained(data, "paper", arguments.epochs, *each) for each in settings}
    parts = sorted({max(1, arguments.epochs // part) for part in PARTS})
    exact = {epochs: trained(data, "exact", epochs, RATE, BATCH) for epochs in parts}
    found = np.array(list(papers.values()))
    goal = [*found[:, :2].min(0), *found[:, 2:].max(0)]
    lines = [
        "# Time to quality",
        "",
        f"`python benchmarks/time_to_quality.py --epochs {arguments.epochs} --threads {arguments.threads}`, with",
        f"{os.cpu_count()} cores ({platform.machine()}, load average {os.getloadavg()[0]:.1f} at the end) and "
        f"torch {torch.__version__}.",
        "",
        *(__doc__ or "").splitlines()[4:],
        "",
        "| estimator | epochs | learning rate | batch | s | processor s | accuracy | exact bound |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(row("paper", arguments.epochs, *each, result) for each, result in papers.items()),
        *(row("exact", epochs, RATE, BATCH, result) for epochs, result in exact.items()),
        "",
        f"The paper's estimator has accuracy {goal[2]:.4f} and bound {goal[3]:.1f} at best. The exact one is as good",
        *(f"- {said}" for said in (reached("by the bound", exact, goal, [3]), reached("by accuracy", exact, goal, [2]))),
        f"- {reached('by both', exact, goal, [2, 3])}",
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
