"""Data for a trained model: the run's own, or image files that the user names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccvae.cli.console import tell
from ccvae.config import DataConfig, DataPlace, settings_from

if TYPE_CHECKING:
    import pandas as pd

    from ccvae.data import Dataset
    from ccvae.data.open import Known
    from ccvae.model.ccvae import CCVAE
    from ccvae.model.inputs.reading import Inputs

PLACE = DataPlace()

__all__ = ["PLACE", "data_of", "inputs_of", "known_of", "rows_of_table"]


def data_of(run: Path, allow_download: bool = False, place: DataPlace = PLACE) -> "Dataset":
    """A run's own data, read and split as for training, even if rows were added since.

    A stranger may have written the run's config.yaml. It can name data of this machine only: a bundled data set, or a local
    file or folder, which is parsed as a table or as images.

    Args:
        run: run folder.
        allow_download: whether `config.yaml` may name a data set of the Hugging Face hub.
        place: where the data are now, if not where they were in training.

    Raises:
        ValueError: `config.yaml` does not name data, or names data of the hub that were not allowed, or the data are wrong.
        FileNotFoundError: the data are not there any more.
    """
    from ccvae.data.open import open_data
    from ccvae.data.stored import DATA, read_stored
    from ccvae.storage.files import is_there
    from ccvae.storage.run_folder import read_table

    settings, path = data_settings(run), run / "config.yaml"
    source = place.source or settings.pop("source", None)
    settings.pop("source", None)
    if source is None and is_there(run / DATA):
        known = known_of(run)
        return read_stored(run, known.space, known.input_format)
    if source is None:
        raise ValueError(f"{path} does not say where the data came from; name images, or the data with --data.source")
    if not isinstance(source, str):
        raise ValueError(f"{path}: data.source: expected a text, found {source!r}")
    config = settings_from(DataConfig, settings | ({"csv": place.csv} if place.csv else {}), f"{path}: data")
    if config.reader == "hugging_face" and not Path(source).exists() and not allow_download:
        raise ValueError(
            f"{path} names the data set {source!r} of the Hugging Face hub; to download it, or to read it from the "
            f"hub's cache, add --allow_download"
        )
    table = f" with {config.csv}" if config.csv else ""
    tell(f"reading {source}{table}" + ("" if place.source else f", as {path} says"))
    known = known_of(run)
    moved = place.source is not None or place.csv is not None
    try:
        # a table's rows are encoded by the columns of training; images that did not move are found in the cache
        dataset = open_data(source, config, known if moved or known.input_format.columns is not None else None)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; if the data are elsewhere now, name them with --data.source") from None
    splits = run / "splits.csv"
    if not is_there(splits):
        return dataset
    return dataset.split_as(read_table(run, splits.name, ("id", "split"), dtype=str, keep_default_na=False), str(splits))


def inputs_of(
    model: "CCVAE",
    run: Path,
    images: list[Path] | Path | None,
    split: str,
    count: int | None,
    allow_download: bool,
    place: DataPlace = PLACE,
    csv: Path | None = None,
) -> "Inputs":
    """Named inputs: of image files, or raw rows of a table, or else of the first rows of a split of the run's own data.

    Args:
        model: the run's model.
        run: run folder.
        images: image files and folders; None takes the run's own data.
        split: of the run's own data.
        count: how many rows of the split; None takes all.
        allow_download: see `data_of`.
        place: see `data_of`.
        csv: table of raw rows, with the columns of training in any order.
    """
    import pandas as pd

    if isinstance(images, list) and not images:
        raise ValueError("images: expected at least one file or folder, found none")
    if images and csv:
        raise ValueError("images and csv are both given; give one of them")
    if csv is not None:
        return model.opened(rows_of_table(csv, data_settings(run).get("id_column")))
    if images:
        return model.opened(images, skip_broken=True)
    dataset = data_of(run, allow_download, place)
    if split not in dataset.splits:
        raise ValueError(f"split: expected one of {', '.join(dataset.splits)}, found {split!r}")
    rows = dataset.splits[split][:count]
    if not len(rows):
        raise ValueError(f"split {split!r} of {dataset.name} has no rows; name images")
    opened = model.opened(dataset.tensor(rows))
    opened.ids = pd.Index([str(name) for name in dataset.ids[rows]], name="id")
    return opened


def known_of(run: Path) -> "Known":
    """What a run folder says of labels and inputs."""
    from ccvae.config import check_input_shape
    from ccvae.data.open import Known
    from ccvae.model.inputs.format import InputFormat
    from ccvae.storage.run_folder import INPUTS, read_entries, read_labels, read_settings

    shape = check_input_shape(read_settings(run).get("input_shape") or ())
    entries = read_entries(run, INPUTS)
    form = InputFormat() if entries is None else InputFormat.from_entries(entries, shape, str(run / INPUTS))
    return Known(read_labels(run), form, shape)


def rows_of_table(csv: Path, id_column: Any) -> "pd.DataFrame":
    """Raw rows of a table file, named by the ids of training's column, where it is there, or by their lines."""
    from ccvae.data.tables.files import read_table
    from ccvae.labels.cells import text_of

    table, _ = read_table(csv)
    if isinstance(id_column, str) and id_column in table.columns:
        table.index = table[id_column].map(text_of).rename("id")
    return table


def data_settings(run: Path) -> dict[str, Any]:
    """The data section of a run's `config.yaml`."""
    from ccvae.storage.run_folder import read_settings

    section = read_settings(run).get("data", {})
    if not isinstance(section, dict):
        raise ValueError(f"{run / 'config.yaml'}: data: expected a mapping, found {section!r}")
    return dict(section)
