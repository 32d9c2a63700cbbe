"""Data sets of Hugging Face's `datasets`: in memory, on the disk, or from its hub."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.findings import Delimiter
from ccvae.data.images.image_cache import decoded
from ccvae.data.missing_values import MissingValues, is_unlabelled, listed
from ccvae.data.origin import recorded
from ccvae.data.parsing import choose_columns, parse_labels
from ccvae.data.readers.hugging_face_files import local_data_set
from ccvae.data.readers.table import table
from ccvae.data.splits import SPLIT_NAMES, groups_from, splits_from
from ccvae.data.stratification import memberships
from ccvae.labels import Categorical, Label, LabelSpace
from ccvae.labels.cells import as_value, first_few, means_missing
from ccvae.labels.kinds import infer_label
from ccvae.model.inputs.decoding import Fit, Framing
from ccvae.storage.links import check_inside

__all__ = ["hugging_face"]

SPLIT_COLUMN = "split of the data set"
LISTED = ("string", "large_string", "int", "uint", "bool")
"""Types of the values of lists that can be findings."""


@recorded
def hugging_face(
    source: Any,
    *,
    labels: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    image_column: str | None = None,
    configuration: str | None = None,
    kinds: Mapping[str, str] | None = None,
    space: LabelSpace | None = None,
    missing_values: MissingValues = None,
    delimiter: Delimiter = None,
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

    Splits called train, validation (valid, val, dev) and test are kept, and rows of a split called unlabelled or unsupervised
    are trained on without labels. With one split only, or no validation, rows are drawn for it from the training rows. Images
    are decoded once into a cache (see `ccvae.model.inputs.decoding`). Without an image column the other columns become vectors
    (see `ccvae.data.table`). A transform or format of the data set is ignored: columns are read as they are stored.

    Args:
        source: a `datasets.Dataset` or `DatasetDict`, or a stream (`IterableDataset`), all of which is read; a folder that
            `save_to_disk` wrote, or that contains Parquet files, or images as `imagefolder` has them; a Parquet file; or a
            name on the hub. Of a local folder, only these files are read: no URL, script or other format that it names.
        labels: label columns; if not given, all others. A column of lists of classes or texts becomes one binary label for
            each. Free text and constant columns are left out with a note, where labels are not named.
        exclude: columns that are no labels.
        image_column: the column of images; if not given, the only one of that type.
        configuration: which of several configurations of a data set on the hub.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed. The names of a `ClassLabel` are
            taken over; its -1 means *not observed*.
        space: labels that are known; nothing is guessed or fitted then.
        missing_values: values that mean *not observed* (see `ccvae.data.image_folder`).
        delimiter: what separates findings in a label's cells (see `ccvae.data.image_folder`).
        size: height and width in pixels, or one number for both.
        channels: 1 for grey, 3 for color; if not given, 1 where all images are grey.
        fit: "stretch" to the size, "crop" the middle, or "pad" with black.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of training rows to validate on, where there is no such split.
        test: number (int) or fraction (float) of rows to test on, where there is only one split.
        group_column: column of groups, such as patients, that stay whole in splits drawn here.
        seed: random seed of the splits and of which labels are hidden.
        name: what reports call the data.

    Raises:
        ValueError: `datasets` is not installed, splits have other names, or the data are wrong (see `image_folder`).
    """
    parts = parts_of(source, configuration)
    shown = name or (Path(source).name if isinstance(source, str | Path) else "data set")
    place = Path(source) if isinstance(source, str | Path) and Path(source).exists() else None
    framing = Framing.of(size, fit)
    whole = joined(parts)
    image_column = image_column or only_image_column(whole, shown)
    content, notes = table_of(whole, image_column)
    split_column = None
    unlabelled = [split for split in parts if is_unlabelled(split)]
    if len(parts) > 1:
        split_column = SPLIT_COLUMN
        split_of = [split for split, part in parts.items() for _ in range(len(part))]
        content[SPLIT_COLUMN] = ["train" if split in unlabelled else split for split in split_of]
        hidden = np.isin(split_of, unlabelled)
    if unlabelled:
        count = sum(len(parts[split]) for split in unlabelled)
        notes.append(f"{count} rows of split {first_few(unlabelled)} are in training, without labels")
    if image_column is None:
        named = [labels] if isinstance(labels, str) else list(labels or (space.names if space else ()))
        if unlabelled:
            content = content.astype(dict.fromkeys(named, object))
            content.loc[hidden, named] = None
        data = table(
            content.rename_axis(None),
            named,
            exclude=exclude,
            kinds=kinds,
            space=space,
            missing_values=missing_values,
            delimiter=delimiter,
            labelled=labelled,
            validation=validation,
            test=test,
            group_column=group_column,
            split_column=split_column,
            seed=seed,
            name=shown,
        )
        return replace(data, notes=(*notes, *data.notes))
    wanted = list(space.names) if space and labels is None else labels
    if unlabelled:
        others = (group_column, split_column)
        content = content.astype({column: object for column in content.columns if column not in others})
        content.loc[hidden, [column for column in content.columns if column not in others]] = None
    chosen = choose_columns(
        content,
        wanted,
        (group_column, split_column),
        shown,
        delimiter=delimiter,
        exclude=exclude,
        missing_values=missing_values,
    )
    parsed = parse_labels(
        chosen.table,
        shown,
        kinds=kinds,
        known=named_classes(chosen.table, whole.features, kinds or {}, missing_values, shown),
        space=space,
        exact=chosen.exact,
        drop_unusable=wanted is None,
    )
    groups = groups_from(content, group_column, shown)
    strata = memberships(parsed.array, parsed.space)
    return assemble(
        partial(decoded_column, whole, image_column, framing, channels, shown, place),
        parsed,
        [str(row) for row in range(len(content))],
        splits_from(content, split_column, groups, shown, validation=validation, test=test, seed=seed, strata=strata),
        name=shown,
        framing=framing,
        source=shown,
        fit_priors=space is None,
        labelled=labelled,
        seed=seed,
        groups=groups,
        notes=(*notes, *chosen.notes),
        warnings=chosen.warnings,
    )


def parts_of(source: Any, configuration: str | None) -> dict[str, Any]:
    """The splits of a data set by name, loaded if need be."""
    try:
        import datasets
    except ImportError:
        raise ValueError("this takes Hugging Face's datasets: pip install 'ccvae[datasets]'") from None
    if isinstance(source, str | Path):
        source = loaded(source, configuration)
    if isinstance(source, datasets.IterableDataset):
        source = gathered(source)
    if isinstance(source, datasets.Dataset):
        return {"train": source.with_format(None)}
    if isinstance(source, datasets.IterableDatasetDict):
        source = datasets.DatasetDict({split: gathered(part) for split, part in source.items()})
    if not isinstance(source, datasets.DatasetDict):
        raise ValueError(
            f"expected a datasets.Dataset, a DatasetDict, a path or a name on the hub, not {type(source).__name__}"
        )
    known = {spelling for spellings in SPLIT_NAMES.values() for spelling in spellings}
    others = [str(split) for split in source if str(split).lower() not in known and not is_unlabelled(str(split))]
    if others and len(source) > 1:
        raise ValueError(
            f"splits must be called train, validation, test or unlabelled; found also {first_few(others)}: pass those "
            f"wanted, as a datasets.DatasetDict with these names"
        )
    # a transform would replace columns and decode every image; here columns are read as they are stored
    return {str(split): part.with_format(None) for split, part in source.items() if len(part)}


def gathered(stream: Any) -> Any:
    """All rows of a stream, an `IterableDataset`, in memory; images stay encoded."""
    import datasets

    stream = stream.with_format(None)
    if stream.features is None:
        return datasets.Dataset.from_list(list(stream))
    features = stream.features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    for column in images:
        stream = stream.cast_column(column, datasets.Image(decode=False))
    whole = datasets.Dataset.from_list(list(stream), features=stream.features)
    for column in images:
        whole = whole.cast_column(column, features[column])
    return whole


def loaded(source: str | Path, configuration: str | None) -> Any:
    """A data set from a path here or, if there is no such path, a name on the hub."""
    import datasets

    if Path(source).exists():
        return local_data_set(Path(source))
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


def table_of(whole: Any, image_column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """All columns that can be labels or inputs, with the names of classes in place of their numbers; and notes."""
    import datasets

    if image_column is not None and not isinstance(whole.features.get(image_column), datasets.Image):
        raise ValueError(
            f"column {image_column!r} does not exist, or is not of the type Image; columns: {', '.join(whole.features)}"
        )
    images = [column for column, feature in whole.features.items() if isinstance(feature, datasets.Image)]
    whole = whole.remove_columns(images).flatten()  # a column with several fields becomes a column for each
    arrow = whole.with_format("arrow")[:]
    content: pd.DataFrame = arrow.to_pandas()
    nested = []
    for column, feature in whole.features.items():
        within = getattr(feature, "feature", None)
        if isinstance(feature, datasets.ClassLabel):
            names = [named(feature, number) for number in arrow[column].to_pylist()]
            content[column] = pd.Series(names, dtype=object)
        elif isinstance(within, datasets.ClassLabel):
            lists = [named_list(within, numbers) for numbers in arrow[column].to_pylist()]
            content[column] = pd.Series(lists, dtype=object)
        elif not str(getattr(within, "dtype", "")).startswith(LISTED) and any(map(is_nested, content[column].tolist())):
            nested.append(str(column))
    content.index = pd.RangeIndex(len(whole), name="row")
    notes = [f"columns with more than one value a row, left out: {first_few(nested)}"] if nested else []
    if len(nested) == len(content.columns):
        why = f"; those with more than one value a row cannot be: {', '.join(nested)}" if nested else ", but images alone"
        raise ValueError(f"the data set has no column of labels{why}")
    return content.drop(columns=nested), notes


def named_list(feature: Any, numbers: Sequence[int | None] | None) -> list[str] | None:
    """Names of a list of classes, without the numbers -1 that fill it up; None if it has nothing else."""
    if numbers is None:
        return None
    names = [name for number in numbers if (name := named(feature, number)) is not None]
    return names if names or not len(numbers) else None


def is_nested(cell: Any) -> bool:
    """Whether a cell has more than one value."""
    return isinstance(cell, list | dict | np.ndarray)


def named(feature: Any, number: int | None) -> str | None:
    """Name of a class; None for its number -1, which means *not observed*."""
    return None if number is None or number < 0 else str(feature.names[number])


def named_classes(
    chosen: pd.DataFrame, features: Any, kinds: Mapping[str, str], missing_values: MissingValues, source: str
) -> dict[str, Label]:
    """Labels with the classes that a `ClassLabel` names, in their order, but those that mean *not observed*."""
    labels: dict[str, Label] = {}
    for column in map(str, chosen.columns):
        names = getattr(features.get(column), "names", None)
        if not names or column in kinds:
            continue
        codes = missing_values.get(column) if isinstance(missing_values, Mapping) else missing_values
        names = [name for name in names if not means_missing(name, listed(codes))]
        label = infer_label(column, names, None if len(names) == 2 else "categorical", source)
        if isinstance(label, Categorical):
            label = Categorical(column, tuple(as_value(text) for text in names))
        labels[column] = label
    return labels


def decoded_column(
    whole: Any, column: str, framing: Framing, channels: int | None, source: str, place: Path | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images of a column, from the cache or decoded into it, and notes.

    Rows of a local data set at `place` may name image files within its folder only.
    """
    import datasets

    raw = whole.select_columns([column]).cast_column(column, datasets.Image(decode=False))

    def file_of(row: int) -> Path | IO[bytes]:
        cell = raw[row][column]
        if cell is None:
            raise ValueError("there is no image")
        if cell["bytes"] is not None:
            return io.BytesIO(cell["bytes"])
        if place is not None:
            check_inside(place, [str(Path(cell["path"]).absolute())])
        return Path(cell["path"])

    key: list[Any] = [raw._fingerprint]  # what the library's own cache goes by
    first = raw[0][column]
    if first is not None and first["bytes"] is None:  # only paths are kept, so the files may change behind our back
        named = [cell["path"] for cell in raw[column] if cell is not None and cell["bytes"] is None]
        key += [[path, Path(path).stat().st_mtime_ns if Path(path).exists() else None] for path in named]
    names = [f"row {row}" for row in range(len(raw))]
    return decoded(names, file_of, framing, channels, source, key)
