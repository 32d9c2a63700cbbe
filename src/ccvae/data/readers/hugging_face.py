"""Data sets of Hugging Face's `datasets`: in memory, on the disk, or from its hub."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from ccvae.data.assembly import SPLIT_NAMES, assemble, chosen_columns, groups_from, splits_from
from ccvae.data.dataset import Dataset
from ccvae.data.images.decoding import Fit, Framing
from ccvae.data.images.image_cache import decoded
from ccvae.data.readers.table import table
from ccvae.labels import Categorical, Label, LabelSpace
from ccvae.labels.cells import as_value, first_few
from ccvae.labels.kinds import infer_label

__all__ = ["hugging_face"]

SPLIT_COLUMN = "split of the data set"


def hugging_face(
    source: Any,
    *,
    labels: Sequence[str] | None = None,
    image_column: str | None = None,
    configuration: str | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    size: int | tuple[int, int] = 64,
    channels: Literal[1, 3] | None = None,
    fit: Fit = "stretch",
    labelled: int | float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    group_column: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """A data set of Hugging Face's `datasets`, of images, or of numbers and categories.

    Splits called train, validation (valid, val, dev) and test are kept; where there is only one split, or no validation, rows
    are drawn for it from the training rows. Images are decoded once into a cache (see `ccvae.data.images.decoding`). Without an
    image column the other columns become vectors (see `ccvae.data.table`).

    Args:
        source: a `datasets.Dataset` or `DatasetDict`; a folder that `save_to_disk` wrote, that holds Parquet files, or images
            as `imagefolder` has them; a Parquet file; or a name on the hub.
        labels: label columns; if not given, all others that hold one value a row.
        image_column: the column of images; if not given, the only one of that type.
        configuration: which of several configurations of a data set on the hub.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed. The names of a `ClassLabel` are
            taken over; its -1 means *not observed*.
        space: labels as they are known already; nothing is guessed or fitted then.
        size: height and width in pixels that images are brought to, or one number for both.
        channels: 1 for grey, 3 for colour; if not given, 1 where all images are grey.
        fit: "stretch" to the size, "crop" the middle, or "pad" with black.
        labelled: hide the labels of all training rows but so many, or but such a share.
        validation: how many training rows, or which share of them, to validate on, where there is no such split.
        test: how many rows, or which share of them, to test on, where there is only one split.
        group_column: column of what must not be torn apart by splits drawn here, such as patients.
        seed: what decides the splits and which labels are hidden.
        name: what reports call the data.

    Raises:
        ValueError: `datasets` is not installed, splits have other names, or the data are wrong (see `image_folder`).
    """
    parts = parts_of(source, configuration)
    shown = name or (Path(source).name if isinstance(source, str | Path) else "data set")
    framing = Framing.of(size, fit)
    whole = joined(parts)
    image_column = image_column or only_image_column(whole, shown)
    content = table_of(whole, image_column)
    split_column = None
    if len(parts) > 1:
        split_column = SPLIT_COLUMN
        content[SPLIT_COLUMN] = [split for split, part in parts.items() for _ in range(len(part))]
    if image_column is None:
        return table(
            content.rename_axis(None),
            labels or (space.names if space else ()),
            kinds=kinds,
            space=space,
            labelled=labelled,
            validation=validation,
            test=test,
            group_column=group_column,
            split_column=split_column,
            seed=seed,
            name=shown,
        )
    wanted = list(space.names) if space and labels is None else labels
    nested = [
        str(column) for column, cells in content.items() if cells.map(lambda c: isinstance(c, list | dict | np.ndarray)).any()
    ]
    chosen = chosen_columns(content.drop(columns=nested), wanted, (group_column, split_column), shown)
    groups = groups_from(content, group_column, shown)
    draft = assemble(
        None,
        chosen,
        [str(row) for row in range(len(content))],
        splits_from(content, split_column, groups, shown, validation=validation, test=test, seed=seed),
        name=shown,
        source=shown,
        kinds=kinds if space else None,
        unfitted=None if space else unfitted_space(chosen, whole.features, kinds or {}, shown),
        space=space,
        labelled=labelled,
        seed=seed,
        groups=groups,
        notes=[f"columns that hold more than one value a row, left out: {first_few(nested)}"] if nested else [],
    )
    return with_decoded(draft, whole, image_column, framing, channels)


def parts_of(source: Any, configuration: str | None) -> dict[str, Any]:
    """The splits of a data set by name, loaded if need be."""
    try:
        import datasets
    except ImportError:
        raise ValueError("this takes Hugging Face's datasets: pip install 'ccvae[hub]'") from None
    if isinstance(source, str | Path):
        source = loaded(source, configuration)
    if isinstance(source, datasets.Dataset):
        return {"train": source}
    if not isinstance(source, datasets.DatasetDict):
        raise ValueError(f"expected a datasets.Dataset, a DatasetDict, a path or a name on the hub, not {type(source)}")
    known = {spelling for spellings in SPLIT_NAMES.values() for spelling in spellings}
    others = [str(split) for split in source if str(split).lower() not in known]
    if others and len(source) > 1:
        raise ValueError(
            f"splits must be called train, validation or test; found also {first_few(others)}: pass those wanted, as a "
            f"datasets.DatasetDict with these names"
        )
    return {str(split): part for split, part in source.items() if len(part)}


def loaded(source: str | Path, configuration: str | None) -> Any:
    """A data set from a path here or a name on the hub."""
    import datasets

    path = Path(source)
    if path.is_file():
        if path.suffix not in (".parquet", ".pq"):
            raise ValueError(f"{path} is no Parquet file; for a CSV file see ccvae.data.image_folder and ccvae.data.table")
        return datasets.load_dataset("parquet", data_files=str(path))
    if any((path / file).exists() for file in ("dataset_info.json", "dataset_dict.json")):
        return datasets.load_from_disk(str(path))
    try:
        return datasets.load_dataset(str(source), configuration)
    except (OSError, datasets.exceptions.DatasetsError) as error:  # what is not found or not reached, among others
        raise ValueError(f"{str(source)!r} is no data set here, nor one that the hub gives: {error}") from None


def joined(parts: Mapping[str, Any]) -> Any:
    """All splits one after the other."""
    import datasets

    if not parts:
        raise ValueError("the data set has no rows")
    return datasets.concatenate_datasets(list(parts.values()))


def only_image_column(whole: Any, shown: str) -> str | None:
    """The column of images, None if there is none; raises `ValueError` if there are several."""
    import datasets

    found = [str(column) for column, feature in whole.features.items() if isinstance(feature, datasets.Image)]
    if len(found) > 1:
        raise ValueError(f"{shown} has several columns of images: {', '.join(found)}; choose one with image_column")
    return found[0] if found else None


def table_of(whole: Any, image_column: str | None) -> pd.DataFrame:
    """All columns but images, with the names of classes in place of their numbers."""
    import datasets

    if image_column is not None and not isinstance(whole.features.get(image_column), datasets.Image):
        raise ValueError(
            f"column {image_column!r} is not there, or is not of the type Image; columns: {', '.join(whole.features)}"
        )
    images = [column for column, feature in whole.features.items() if isinstance(feature, datasets.Image)]
    content: pd.DataFrame = whole.remove_columns(images).to_pandas()
    for column, feature in whole.features.items():
        if isinstance(feature, datasets.ClassLabel):
            numbers = whole[column]
            names = [None if number is None or number < 0 else feature.names[number] for number in numbers]
            content[column] = pd.Series(names, dtype=object)
    content.index = pd.RangeIndex(len(whole), name="row")
    return content


def unfitted_space(chosen: pd.DataFrame, features: Any, kinds: Mapping[str, str], source: str) -> LabelSpace:
    """Labels of columns: guessed, but with the classes that a `ClassLabel` names, in their order."""
    guessed = LabelSpace.infer(chosen, kinds, source)
    labels: list[Label] = []
    for label in guessed:
        names = getattr(features[label.name], "names", None)
        if names and label.name not in kinds:
            label = infer_label(label.name, names, None if len(names) == 2 else "categorical", source)
            if isinstance(label, Categorical):
                label = Categorical(label.name, tuple(as_value(text) for text in names))
        labels.append(label)
    return LabelSpace(tuple(labels))


def with_decoded(draft: Dataset, whole: Any, column: str, framing: Framing, channels: int | None) -> Dataset:
    """Data whose labels are checked already, with the images of a column in place of the stand-ins."""
    import datasets

    raw = whole.select_columns([column]).cast_column(column, datasets.Image(decode=False))

    def file_of(row: int) -> Path | IO[bytes]:
        cell = raw[row][column]
        if cell is None:
            raise ValueError("there is no image")
        return Path(cell["path"]) if cell["bytes"] is None else io.BytesIO(cell["bytes"])

    key: list[Any] = [raw._fingerprint]  # what the library's own cache goes by
    first = raw[0][column]
    if first is not None and first["bytes"] is None:  # only paths are kept, so the files may change behind our back
        key += [[cell["path"], Path(cell["path"]).stat().st_mtime_ns] for cell in raw[column] if cell is not None]
    names = [f"row {row}" for row in range(len(raw))]
    inputs, notes = decoded(names, file_of, framing, channels, draft.name, key)
    return replace(draft, inputs=inputs, notes=(*draft.notes, *notes))
