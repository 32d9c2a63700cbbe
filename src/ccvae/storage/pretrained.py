"""Trained models that come with the package, as run folders without training data."""

from __future__ import annotations

from pathlib import Path

__all__ = ["pretrained_names", "pretrained_run"]

FOLDER = Path(__file__).parents[1] / "pretrained"


def pretrained_names() -> list[str]:
    """Names of the trained models that come with the package.

    >>> pretrained_names()
    ['avatars-64']
    """
    return sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))


def pretrained_run(run: str | Path) -> Path | None:
    """Folder of a trained model of the package; None if a run has another name, or is a folder of the user's own."""
    name = str(run)
    return FOLDER / name if name in pretrained_names() and not Path(run).exists() else None
