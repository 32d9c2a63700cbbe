"""Few labels: a CCVAE with 800 of 16,000 faces labelled, beside a supervised network of the same size on the 800.

    python benchmarks/few_labels.py            # about 25 minutes on one core; writes benchmarks/results/few_labels.md

Both have the same encoder with the same dropout, classifiers, optimiser, weight decay, steps and labelled rows a batch; the
supervised one maximises log q(y|x) of the labelled rows and nothing else. No interventions are rehearsed, from which only the
decoder would learn. Tested on 4,000 other faces.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.baselines.supervised import supervised
from ccvae.config import TrainConfig
from ccvae.data import avatars
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "few_labels.md"
MODEL = {"dropout": 0.5}


def semi_supervised(data, config, **settings):
    """The CCVAE, with the unlabelled rows too."""
    torch.manual_seed(config.seed)
    return fit(CCVAE.for_data(data, **settings), data, config=config, progress=False)


def tested(model, data):
    """Mean accuracy and mean balanced accuracy on the test split, and each label's balanced accuracy."""
    rows = data.splits["test"]
    predicted = model.space.encode(model.predict(data.tensor(rows)))
    hits, truth = predicted == data.labels[rows], data.labels[rows] == 1
    balanced = [(hits[truth[:, c], c].mean() + hits[~truth[:, c], c].mean()) / 2 for c in range(truth.shape[1])]
    return {
        "accuracy": hits.mean(),
        "balanced accuracy": np.mean(balanced),
        **dict(zip(model.space.names, balanced, strict=True)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--labelled", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    for seed in range(arguments.seeds):
        data = avatars(21_000, size=32, seed=0, validation=1_000, test=4_000).hide(arguments.labelled, seed)
        config = TrainConfig(epochs=arguments.epochs, seed=seed, intervention_weight=0.0)
        for name, train in (("supervised", supervised), ("CCVAE", semi_supervised)):
            results.append({"model": name, "seed": seed, **tested(train(data, config, **MODEL), data)})
            print(results[-1], flush=True)
    table = pd.DataFrame(results).drop(columns="seed").groupby("model", sort=False).mean()
    lines = [f"# {arguments.labelled} labelled faces of 16,000", "", *__doc__.splitlines()[4:], ""]
    lines += [
        f"Means of {arguments.seeds} seed(s), {arguments.epochs} epochs; below the means, balanced accuracy by label.",
        "",
    ]
    lines += ["| | " + " | ".join(table.index) + " |", "|---" * (1 + len(table)) + "|"]
    lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in table[name])} |" for name in table.columns]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
