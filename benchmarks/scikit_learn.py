"""CCVAEClassifier beside scikit-learn's semi-supervised classifiers, on digits with few labels; and `check_estimator`.

    python benchmarks/scikit_learn.py [--labels 20 50 100] [--seeds 3]     # writes benchmarks/results/scikit_learn.md

Data are scikit-learn's 1,797 digits of 8×8 pixels as vectors. Of 1,297 training rows all but a few lose their labels (-1); 500
rows are tested on. All classifiers get the same rows, with features divided by 16, and their default settings. Only
SelfTrainingClassifier needs a classifier, here logistic regression, and LabelSpreading is shown with gamma 2 too, since its
default of 20 is for features of another size.
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
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.utils.estimator_checks import check_estimator

from ccvae.integrations import CCVAEClassifier, CCVAETransformer

RESULTS = Path(__file__).parent / "results"
TESTED = 500


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
    "CCVAEClassifier": lambda seed: CCVAEClassifier(random_state=seed),
}


def split(labels: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training rows with -1 where the label is hidden, and test rows; every class keeps its share of labels."""
    pixels, digits = load_digits(return_X_y=True)
    x, tested_x, y, tested_y = train_test_split(pixels / 16, digits, test_size=TESTED, stratify=digits, random_state=seed)
    kept, _ = train_test_split(np.arange(len(y)), train_size=labels, stratify=y, random_state=seed)
    hidden = np.full_like(y, -1)
    hidden[kept] = y[kept]
    return x, hidden, tested_x, tested_y


def compared(amounts: list[int], seeds: int) -> list[list[str]]:
    """Accuracy of every classifier: mean over seeds, and the lowest and highest."""
    lines = []
    for name, make in CLASSIFIERS.items():
        cells, seconds = [], []
        for labels in amounts:
            found = []
            for seed in range(seeds):
                x, y, tested_x, tested_y = split(labels, seed)
                started = time.perf_counter()
                found.append(make(seed).fit(x, y).score(tested_x, tested_y))
                seconds.append(time.perf_counter() - started)
            cells.append(f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        lines.append([name, *cells, f"{statistics.median(seconds):.2f}"])
        print(*lines[-1], sep=" | ", flush=True)
    return lines


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
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = compared(given.labels, given.seeds)
    heads = ["classifier", *(f"{labels} labels" for labels in given.labels), "seconds"]
    text = [
        "# scikit-learn estimators",
        "",
        f"`python benchmarks/scikit_learn.py --labels {' '.join(map(str, given.labels))} --seeds {given.seeds}` on "
        f"{platform.machine()}, {os.cpu_count()} cores, 1 thread; scikit-learn {version('scikit-learn')}, "
        f"torch {version('torch')}.",
        "",
        "Accuracy on 500 test digits: mean over seeds, and in brackets the lowest and highest. Seconds: median of fitting and",
        "scoring. Features are the 64 pixels divided by 16, and every class keeps its share of the labels.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(line) + " |" for line in lines),
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
