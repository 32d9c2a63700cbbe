"""Data for a trained model: the run's own, or image files that the user names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccvae.cli.console import tell
from ccvae.config import DataConfig, settings_from

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ccvae.data import Dataset
    from ccvae.model.ccvae import CCVAE

__all__ = ["data_of", "inputs_of"]


def data_of(run: Path, allow_download: bool = False) -> "Dataset":
    """A run's own data, read and split as for training, even if rows were added since.

    A stranger may have written the run's config.yaml. It can name data of this machine only: a bundled data set, or a local
    file or folder, which is parsed as a table or as images.

    Args:
        run: run folder.
        allow_download: whether `config.yaml` may name a data set of the Hugging Face hub.

    Raises:
        ValueError: `config.yaml` does not name data, or names data of the hub that were not allowed, or the data are wrong.
        FileNotFoundError: the data are not there any more.
    """
    import pandas as pd

    from ccvae.data.open import open_data

    settings, path = data_settings(run), run / "config.yaml"
    source = settings.pop("source", None)
    if source is None:
        raise ValueError(f"{path} does not say where the data came from; name images")
    if not isinstance(source, str):
        raise ValueError(f"{path}: data.source: expected a text, found {source!r}")
    config = settings_from(DataConfig, settings, f"{path}: data")
    if config.reader == "hugging_face" and not Path(source).exists() and not allow_download:
        raise ValueError(
            f"{path} names the data set {source!r} of the Hugging Face hub; to download it, or to read it from the "
            f"hub's cache, add --allow_download"
        )
    tell(f"reading {source}, as {path} says")
    dataset = open_data(source, config)
    splits = run / "splits.csv"
    if not splits.exists():
        return dataset
    return dataset.split_as(pd.read_csv(splits, dtype=str, keep_default_na=False), str(splits))


def inputs_of(
    model: "CCVAE", run: Path, images: list[Path] | Path | None, split: str, count: int | None, allow_download: bool
) -> "tuple[list[str], np.ndarray | Tensor]":
    """Names and inputs: of image files, or else of the first rows of a split of the run's own data.

    Args:
        model: the run's model.
        run: run folder.
        images: image files and folders; None takes the run's own data.
        split: of the run's own data.
        count: how many rows of the split; None takes all.
        allow_download: see `data_of`.
    """
    from ccvae.data.open import read_images

    if images:
        settings = data_settings(run)
        settings.pop("source", None)
        config = settings_from(DataConfig, settings, f"{run / 'config.yaml'}: data")
        return read_images(images if isinstance(images, list) else [images], model.input_shape, config)
    dataset = data_of(run, allow_download)
    if split not in dataset.splits:
        raise ValueError(f"split: expected one of {', '.join(dataset.splits)}, found {split!r}")
    rows = dataset.splits[split][:count]
    if not len(rows):
        raise ValueError(f"split {split!r} of {dataset.name} has no rows; name images")
    return [str(name) for name in dataset.ids[rows]], dataset.tensor(rows)


def data_settings(run: Path) -> dict[str, Any]:
    """The data section of a run's `config.yaml`."""
    from ccvae.storage.run_folder import read_settings

    section = read_settings(run).get("data", {})
    if not isinstance(section, dict):
        raise ValueError(f"{run / 'config.yaml'}: data: expected a mapping, found {section!r}")
    return dict(section)
