"""Yeast: 2,417 genes, 103 measurements each and 14 labels side by side, 10 % of the training rows labelled.

    pip install river                       # brings the data
    python benchmarks/yeast.py              # writes benchmarks/results/yeast.md

The CCVAE sees all training rows. A supervised network sees the labelled ones alone: it has the same encoder and
classifiers, and
is trained with the same optimizer, weight decay, dropout, steps and labelled rows a batch. So does a logistic regression for
each label, with its strength chosen by cross-validation. Every seed has its own splits and labelled rows. The measure is the
area under the receiver operating characteristic on the test rows, a third of all. Epochs and learning rate were chosen for
the CCVAE, on other seeds; with 40 epochs at a learning rate of 0.01, the CCVAE and the supervised network perform equally.
The intervention loss is off, since only the decoder learns from it.
"""

import argparse
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegressionCV

from ccvae.baselines.supervised import supervised
from ccvae.config import TrainConfig
from ccvae.data import table
from ccvae.data.dataset import Dataset
from ccvae.evaluation.metrics.classification import classification
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

LABELS = [f"Class{number}" for number in range(1, 15)]


def file_of_river() -> Path:
    """The data file of the package river, which need not run."""
    found = find_spec("river")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the data come with the package river: pip install river, or give yeast.csv.gz with --file")
    return Path(found.submodule_search_locations[0], "datasets", "yeast.csv.gz")


def logistic(data: Dataset, seed: int) -> pd.DataFrame:
    """Probabilities of the test rows by one logistic regression a label."""
    train, columns = data.splits["train"], {}
    for column, name in enumerate(LABELS):
        known = train[~np.isnan(data.labels[train, column])]
        y = data.labels[known, column]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rare labels, which not every fold has
            model = LogisticRegressionCV(
                Cs=np.logspace(-4, 1, 11), cv=min(5, int(min(y.sum(), (1 - y).sum()))), scoring="neg_log_loss", max_iter=2000,
                random_state=seed, l1_ratios=(0.0,), use_legacy_attributes=False,
            ).fit(data.inputs[known], y)  # fmt: skip
        p = model.predict_proba(data.inputs[data.splits["test"]])
        columns |= {f"{name}=0": p[:, 0], f"{name}=1": p[:, 1]}
    return pd.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="yeast.csv.gz; that of the installed river if not given")
    parser.add_argument("--labelled", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "yeast.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(arguments.seeds):
        data = table(
            arguments.file or file_of_river(), LABELS, labelled=arguments.labelled, validation=0, test=1 / 3, seed=seed
        )
        config = TrainConfig(epochs=arguments.epochs, learning_rate=arguments.learning_rate, seed=seed, intervention_weight=0.0)
        torch.manual_seed(seed)
        found = {
            "CCVAE": fit(CCVAE.for_data(data, dropout=arguments.dropout), data, config=config, progress=False),
            "supervised": supervised(data, config, dropout=arguments.dropout),
        }
        test = data.splits["test"]
        predictions = {name: model.predict_proba(data.tensor(test)) for name, model in found.items()}
        predictions["logistic regression"] = logistic(data, seed)
        for name, p in predictions.items():
            scores = classification(p, data.labels[test], data.space, draws=2)["labels"]
            rows += [{"model": name, "seed": seed, "label": label, "auroc": scores[label]["auroc"].value} for label in LABELS]
        print(pd.DataFrame(rows).groupby(["seed", "model"])["auroc"].mean().loc[seed].to_dict(), flush=True)
    results = pd.DataFrame(rows)
    names = ["CCVAE", "supervised", "logistic regression"]
    by_seed = results.groupby(["model", "seed"])["auroc"].mean()
    by_label = results.groupby(["model", "label"])["auroc"]
    train = data.splits["train"]
    labelled = int((~np.isnan(data.labels[train])).any(axis=1).sum())
    prevalence = data.labels[test].mean(axis=0)
    given = ("labelled", "epochs", "learning_rate", "dropout", "seeds")
    command = " ".join(f"--{name.replace('_', '-')} {getattr(arguments, name)}" for name in given)
    lines = [
        f"# Yeast, {labelled} of {len(train):,} training rows labelled",
        "",
        *__doc__.splitlines()[5:],
        "",
        f"`python benchmarks/yeast.py {command}`; means and standard deviations over seeds.",
        "The first row is the mean of all labels.",
        "",
        "| | share of 1 | " + " | ".join(names) + " |",
        "|---|---:" + "|---:" * len(names) + "|",
        "| mean | | " + " | ".join(f"{by_seed[name].mean():.3f} ± {by_seed[name].std():.3f}" for name in names) + " |",
    ]
    for number, label in enumerate(LABELS):
        cells = [f"{by_label.mean()[name, label]:.3f} ± {by_label.std()[name, label]:.3f}" for name in names]
        lines.append(f"| {label} | {prevalence[number]:.1%} | {' | '.join(cells)} |")
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
