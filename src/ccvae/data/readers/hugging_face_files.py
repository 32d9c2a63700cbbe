"""Local data sets of Hugging Face's `datasets`, read without the network and without running anything that they name.

`datasets.load_dataset` on a folder follows what its README.md and dataset_infos.json name: URLs, files anywhere on this
machine, and formats that unpickle. Here only the files in the folder are read, as Parquet, Arrow or images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ccvae.model.inputs.files import IMAGE_SUFFIXES
from ccvae.storage.files import check_regular, read_json
from ccvae.storage.links import check_inside

__all__ = ["local_data_set"]

PARQUET_SUFFIXES = (".parquet", ".pq")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables of labels that `imagefolder` reads."""
SAVED = ("dataset_info.json", "dataset_dict.json")
"""Files by which a folder that `save_to_disk` wrote is recognized."""


def local_data_set(path: Path) -> Any:
    """A data set in a Parquet file, or in a folder of Parquet files, of images, or that `save_to_disk` wrote.

    Returns:
        A `datasets.Dataset` or `DatasetDict`.

    Raises:
        ValueError: it is something else, is damaged, or names files outside of the folder.
    """
    import datasets

    try:
        if path.is_file():
            check_regular(path)
            if path.suffix.lower() not in PARQUET_SUFFIXES:
                raise ValueError(f"{path} is no Parquet file; for a CSV file see ccvae.data.image_folder and ccvae.data.table")
            return datasets.DatasetDict.from_parquet({"train": plain(path)})
        if any((path / name).exists() for name in SAVED):
            check_saved(path)
            return datasets.load_from_disk(plain(path))
        return from_folder(path)
    except (OSError, KeyError, TypeError, AttributeError, datasets.exceptions.DatasetsError) as error:  # damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read as a data set: {' '.join(str(error).split())}") from None


def from_folder(folder: Path) -> Any:
    """A data set from the Parquet files of a folder or, if there are none, from its images."""
    import datasets
    from datasets.data_files import DataFilesDict, get_data_patterns
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    base = plain(folder)
    tables = [path for path in folder.rglob("*") if path.suffix in PARQUET_SUFFIXES and path.name not in METADATA]
    allowed = [*PARQUET_SUFFIXES] if tables else [*IMAGE_SUFFIXES, ".csv", ".jsonl", ".parquet"]
    try:
        found = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base, allowed_extensions=allowed)
    except FileNotFoundError:
        found = {}
    files = {split: [file for file in names if tables or is_image_or_metadata(Path(file))] for split, names in found.items()}
    files = {split: names for split, names in files.items() if names}
    if not files:
        raise ValueError(
            f"{folder} has no Parquet files and no images, and is no folder that save_to_disk wrote; load other formats "
            f"yourself and pass the datasets.Dataset"
        )
    inner = [Path(file).relative_to(base).as_posix() for names in files.values() for file in names]
    check_inside(Path(base), inner)
    for file in inner:
        check_regular(Path(plain(Path(base, file))))
    if tables:
        return datasets.DatasetDict.from_parquet(files)
    builder = ImageFolder(data_files=files, dataset_name=folder.resolve().name)
    builder.download_and_prepare()
    return builder.as_dataset()


def is_image_or_metadata(path: Path) -> bool:
    """Whether `imagefolder` reads a file; archives are not unpacked."""
    return path.suffix.lower() in IMAGE_SUFFIXES or path.name in METADATA


def check_saved(folder: Path) -> None:
    """Raise `ValueError` unless the files that a folder of `save_to_disk` names are in it."""
    parts = [folder]
    if (folder / "dataset_dict.json").exists():
        check_inside(folder, ["dataset_dict.json"])
        about = read_json(folder / "dataset_dict.json")
        splits = about.get("splits") if isinstance(about, dict) else None
        if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
            raise ValueError(f"{folder / 'dataset_dict.json'}: expected a list of splits")
        parts = [folder / split for split in splits]
    for part in parts:
        check_inside(folder, [str(part / "state.json")])
        state = read_json(part / "state.json")
        named = state.get("_data_files") if isinstance(state, dict) else None
        files = [str(each["filename"]) for each in named or () if isinstance(each, dict) and "filename" in each]
        if not isinstance(named, list) or len(files) != len(named):
            raise ValueError(f"{part / 'state.json'}: expected a list of files, found {json.dumps(named)[:100]}")
        names = ["state.json", "dataset_info.json", *files]
        check_inside(part, names)
        for name in names:
            check_regular(Path(plain(part / name)))


def plain(path: Path) -> str:
    """An absolute path as text; raises `ValueError` for one that the library would take for a URL or a chain of them."""
    text = str(path.resolve())
    if "::" in text or "://" in text:
        raise ValueError(f"{text!r}: the name of a local data set has no '::' and no '://'")
    return text
