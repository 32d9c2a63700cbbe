"""CCVAEClassifier beside scikit-learn's semi-supervised classifiers, on bundled data with few labels; and `check_estimator`.

    python benchmarks/scikit_learn.py [--seeds 2]     # writes benchmarks/results/scikit_learn.md

Data come with scikit-learn: 1,797 digits of 8×8 pixels as vectors, wines, and breast cancer. The test rows are always the
same. Of the training rows all but a few lose their labels (-1); which ones keep them depends on the seed. All classifiers get
the same rows. Ours gets raw features, since it scales them; for the others a StandardScaler is fitted on the training rows, or
digits are divided by 16. Settings are the defaults. LabelSpreading is shown with other kernels, too, because its default is
meant for features of another size.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.utils.estimator_checks import check_estimator

from ccvae.integrations import CCVAEClassifier, CCVAETransformer

RESULTS = Path(__file__).parent / "results"
DATA: dict[str, tuple[Callable[..., Any], int, int, Callable[[], Any]]] = {
    "digits, 20 labels": (load_digits, 500, 20, lambda: FunctionTransformer(lambda X: X / 16)),
    "digits, 100 labels": (load_digits, 500, 100, lambda: FunctionTransformer(lambda X: X / 16)),
    "wine, 12 labels": (load_wine, 53, 12, StandardScaler),
    "breast cancer, 20 labels": (load_breast_cancer, 171, 20, StandardScaler),
}
"""How data are read, number of test rows, number of labels, and what scales them for scikit-learn's classifiers."""


class LabelledOnly(LogisticRegression):  # type: ignore[misc]
    """Logistic regression on the labelled rows alone: what the unlabelled rows must improve on."""

    def fit(self, X: Any, y: Any) -> LabelledOnly:
        """Fit to rows whose label is not -1."""
        super().fit(X[y >= 0], y[y >= 0])
        return self


CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "LogisticRegression, labelled rows only": lambda seed: LabelledOnly(max_iter=2000),
    "SelfTrainingClassifier(LogisticRegression)": lambda seed: SelfTrainingClassifier(LogisticRegression(max_iter=2000)),
    "LabelSpreading()": lambda seed: LabelSpreading(),
    "LabelSpreading(gamma=2)": lambda seed: LabelSpreading(gamma=2),
    'LabelSpreading(kernel="knn")': lambda seed: LabelSpreading(kernel="knn"),
    "CCVAEClassifier": lambda seed: CCVAEClassifier(random_state=seed),
}


def split(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training rows with -1 where the label is hidden, and test rows; every class keeps its share of labels."""
    read, tested, labels, _ = DATA[name]
    features, classes = read(return_X_y=True)
    x, tested_x, y, tested_y = train_test_split(features, classes, test_size=tested, stratify=classes, random_state=0)
    kept, _ = train_test_split(np.arange(len(y)), train_size=labels, stratify=y, random_state=seed)
    hidden = np.full_like(y, -1)
    hidden[kept] = y[kept]
    return x, hidden, tested_x, tested_y


def compared(seeds: int) -> list[list[str]]:
    """Accuracy of every classifier: mean over seeds, and the lowest and highest; and seconds of CPU time on the first data."""
    lines = []
    for name, make in CLASSIFIERS.items():
        cells, seconds = [], []
        for data, (*_, scaler) in DATA.items():
            found = []
            for seed in range(seeds):
                x, y, tested_x, tested_y = split(data, seed)
                if name != "CCVAEClassifier":
                    scaling = scaler().fit(x)
                    x, tested_x = scaling.transform(x), scaling.transform(tested_x)
                started = time.process_time()
                found.append(make(seed).fit(x, y).score(tested_x, tested_y))
                seconds.append(time.process_time() - started)
            cells.append(f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        lines.append([name, *cells, f"{statistics.median(seconds[:seeds]):.2f}"])
        print(*lines[-1], sep=" | ", flush=True)
    return lines


def sentences(lines: list[list[str]]) -> list[str]:
    """For every data set: which classifier has the highest mean accuracy, and what CCVAEClassifier has."""
    found = []
    for column, data in enumerate(DATA, 1):
        means = {line[0]: float(line[column].split()[0]) for line in lines}
        best = max(means, key=lambda name: means[name])
        ours = means["CCVAEClassifier"]
        ties = sum(mean == ours for mean in means.values()) > 1
        highest = "has the highest mean, as others do" if ties else "has the highest mean"
        where = highest if means[best] == ours else f"is below `{best}` ({means[best]:.3f})"
        found.append(f"- {data}: CCVAEClassifier ({ours:.3f}) {where}.")
    return found


def checked() -> list[str]:
    """A sentence per estimator: how many of scikit-learn's checks it passes, skips and fails."""
    found = []
    for estimator in (CCVAEClassifier(steps=60, random_state=0), CCVAETransformer(steps=60, random_state=0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = check_estimator(estimator, on_fail=None)
        counts = {
            status: sum(each["status"] == status for each in results) for status in ("passed", "skipped", "failed", "xfail")
        }
        counted = ", ".join(f"{number} {status}" for status, number in counts.items() if number or status == "failed")
        not_passed = [f"{each['check_name']} ({each['exception']})" for each in results if each["status"] != "passed"]
        found.append(f"- `{type(estimator).__name__}`: {counted}." + "".join(f"\n  - {each}" for each in not_passed))
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = compared(given.seeds)
    settings = {name: value for name, value in CCVAEClassifier().get_params().items() if name != "random_state"}
    heads = ["classifier", *DATA, "CPU seconds"]
    text = [
        "# scikit-learn estimators",
        "",
        f"`python benchmarks/scikit_learn.py --seeds {given.seeds}` on {platform.machine()}, {os.cpu_count()} cores, 1 thread; "
        f"scikit-learn {version('scikit-learn')}, torch {version('torch')}.",
        "",
        f"Accuracy on test rows: mean over {given.seeds} choices of the labelled rows, "
        "and in brackets the lowest and highest. CPU",
        "seconds: median of fitting and scoring on digits with 20 labels. Features of digits are divided by 16 and others",
        "standardized, except for CCVAEClassifier, which scales them itself. Every class keeps its share of the labels.",
        "CCVAEClassifier has its default settings: "
        + ", ".join(f"`{name}={value!r}`" for name, value in settings.items())
        + ".",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
        *sentences(lines),
        "",
        f"With {given.seeds} seeds and few test rows, differences of 2 or 3 percentage points say little.",
        "CCVAEClassifier takes hundreds of times as long as the others: for one label alone, try them first. It is for several",
        "labels with holes of their own, and for generating and editing rows.",
        "",
        "## `check_estimator`",
        "",
        *checked(),
        "",
        "Sample weights are not supported: `fit` has no `sample_weight`, so scikit-learn's checks of it do not apply.",
        "",
    ]
    (RESULTS / "scikit_learn.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
