"""Fashion-MNIST, its ten classes as one categorical label, 1 % of the training pictures labelled.

    python benchmarks/fashion_mnist.py           # writes benchmarks/results/fashion_mnist.md

The CCVAE sees all 55,000 training pictures, 550 of them with their class; a supervised network sees the 550 alone. It has the
same encoder and classifier, and is trained with the same optimizer, weight decay, dropout, steps and labelled pictures a batch.
Both are tested on the 10,000 test pictures. No interventions are rehearsed, from which only the decoder would learn.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.baselines.supervised import supervised
from ccvae.config import TrainConfig
from ccvae.data import fashion_mnist
from ccvae.evaluation.metrics.classification import classification
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

METRICS = ("accuracy", "auroc", "brier", "calibration_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=float, default=0.01, help="share of the training pictures")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.25, help="of each batch that is labelled")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fashion_mnist.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"width": arguments.width, "dropout": arguments.dropout}
    rows = []
    for seed in range(arguments.seeds):
        data = fashion_mnist(labelled=arguments.labelled, seed=seed)
        config = TrainConfig(epochs=arguments.epochs, labelled_share=arguments.share, seed=seed, intervention_weight=0.0)
        for name in ("supervised", "CCVAE"):
            started = time.process_time()
            torch.manual_seed(seed)
            if name == "CCVAE":
                model = fit(CCVAE.for_data(data, **settings), data, config=config, progress=False)
            else:
                model = supervised(data, config, **settings)
            took = time.process_time() - started
            test = data.splits["test"]
            found = classification(model.predict_proba(data.tensor(test)), data.labels[test], data.space)["labels"]["class"]
            rows.append({"model": name, "seconds": took, **{metric: found[metric].value for metric in METRICS}})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby("model", sort=False)
    mean, spread = table.mean(), table.std()
    labelled = int((~np.isnan(data.labels[data.splits["train"], 0])).sum())
    command = " ".join(
        f"--{name} {getattr(arguments, name)}" for name in ("labelled", "epochs", "share", "dropout", "width", "seeds")
    )
    lines = [
        f"# Fashion-MNIST, {labelled} of 55,000 training pictures labelled",
        "",
        *__doc__.splitlines()[4:],
        "",
        f"`python benchmarks/fashion_mnist.py {command}`; means of {arguments.seeds} seed(s), each with other labelled pictures"
        + (", and standard deviations." if arguments.seeds > 1 else "."),
        "",
        "| | accuracy | mean AUROC | Brier score | calibration error | seconds on one core |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in mean.index:
        cells = [
            f"{mean[metric][name]:.3f}" + ("" if np.isnan(spread[metric][name]) else f" ± {spread[metric][name]:.3f}")
            for metric in METRICS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {mean['seconds'][name]:.0f} |")
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
