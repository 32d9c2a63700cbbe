"""What the command line says to the person at the terminal."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ccvae.data import Dataset

__all__ = ["description", "tell"]


def tell(message: str) -> None:
    """Print a message to standard error; standard output is for results."""
    sys.stderr.write(f"{message}\n")


def description(dataset: "Dataset") -> str:
    """A data set in a few lines: rows, splits, labels and the reader's notes."""
    import numpy as np

    kinds = [label.kind for label in dataset.space]
    train = dataset.labels[dataset.splits["train"]]
    labelled = int((~np.isnan(train)).any(axis=1).sum())
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in dataset.splits.items())
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{dataset.name}: {len(dataset):,} rows of shape {dataset.input_shape} ({sizes}); labels: {counts}"]
    lines += [f"{labelled:,} of {len(train):,} training rows have labels", *dataset.notes]
    return "\n".join(lines)
