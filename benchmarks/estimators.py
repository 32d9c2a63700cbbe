"""The exact bound beside the paper's estimator: same faces, networks, seed and steps.

    python benchmarks/estimators.py            # about 8 minutes on one core; writes benchmarks/results/estimators.md

16,000 avatars at 32×32, all labelled, 5 epochs, latent 45, Laplace with scale 1; tested on 4,000 others by the exact bound and
by exact q(y|x), whichever estimator trained the model. The paper's estimator has no weight on its classification term; the
exact one has `classification_weight`, as always. Below, on the model that the exact one trained: how much one step's bound and
gradient vary.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.data import avatars
from ccvae.data.loaders.batches import SplitBatches
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "estimators.md"


@torch.no_grad()
def tested(model, data):
    """Mean label accuracy, mean balanced accuracy and exact bound on the test split."""
    rows = data.splits["test"]
    predicted = model.space.encode(model.predict(data.tensor(rows)))
    hits, truth = predicted == data.labels[rows], data.labels[rows] == 1
    balanced = [(hits[truth[:, c], c].mean() + hits[~truth[:, c], c].mean()) / 2 for c in range(truth.shape[1])]
    torch.manual_seed(0)
    bounds = torch.cat([bound(model, x, y).total for x, y in SplitBatches(data, "test")])
    return {"accuracy": hits.mean(), "balanced accuracy": np.mean(balanced), "exact bound": bounds.mean().item()}


def variation(model, data, estimator, draws):
    """Standard deviation of one step's bound, and the norm of its gradient's, relative to the mean gradient's norm."""
    x, y = data.tensor(data.splits["train"][:200]), torch.tensor(data.labels[data.splits["train"][:200]])
    bounds, gradients = [], []
    for draw in range(draws):
        torch.manual_seed(draw)
        model.zero_grad()
        value = bound(model, x, y, estimator).total.mean()
        value.backward()
        bounds.append(value.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.encoder.parameters()]))
    stacked = torch.stack(gradients)
    return {
        "bound, standard deviation": float(np.std(bounds, ddof=1)),
        "encoder's gradient, norm of the mean": stacked.mean(0).norm().item(),
        "encoder's gradient, norm of the standard deviation": stacked.std(0).norm().item(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draws", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = avatars(21_000, size=32, seed=0, validation=1_000, test=4_000)
    quality, models = {}, {}
    for estimator in ("exact", "paper"):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, network="conv", latent_dim=45, block_dim=1, scale=1.0)
        weight = 100.0 if estimator == "exact" else 1.0
        settings = {"learning_rate": 5e-3, "batch_size": 200, "kl_warmup": 0.0, "classification_weight": weight}
        settings |= {"intervention_weight": 0.0, "progress": False}
        models[estimator] = fit(model, data, epochs=arguments.epochs, estimator=estimator, **settings)
        quality[estimator] = tested(model, data)
        print(estimator, quality[estimator], flush=True)
    spread = {name: variation(models["exact"].eval(), data, name, arguments.draws) for name in ("exact", "paper")}
    tables = [pd.DataFrame(quality).T, pd.DataFrame(spread).T]
    lines = ["# Exact bound and the paper's estimator", "", *__doc__.splitlines()[4:], ""]
    for table, digits in zip(tables, (".4f", ".4g"), strict=True):
        lines += [f"| estimator | {' | '.join(table.columns)} |", "|---" * (1 + table.shape[1]) + "|"]
        lines += [
            f"| {name} | {' | '.join(format(v, digits) for v in row)} |"
            for name, row in zip(table.index, table.to_numpy(), strict=True)
        ]
        lines.append("")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
