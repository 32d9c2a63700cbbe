"""What the command line says to the person at the terminal."""

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ccvae.data import Dataset

__all__ = ["description", "printable", "tell"]


def tell(message: str) -> None:
    """Print a message to standard error; standard output is for results."""
    sys.stderr.write(f"{printable(message)}\n")


def printable(text: str) -> str:
    """A text in which characters that would command a terminal are escaped: names may come from a stranger's file.

    >>> printable("\\x1b[2J and\\n a line")
    '\\\\x1b[2J and\\n a line'
    """
    return "".join(character.encode("unicode_escape").decode() if is_command(character) else character for character in text)


def is_command(character: str) -> bool:
    """Whether a character is no visible one: control characters but line ends and tabs, and halves of pairs."""
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


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
