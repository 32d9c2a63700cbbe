"""Settings of data: how a source is read, and where it is now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from ccvae.config.validation import check_range, check_seed, check_types, check_whole

__all__ = ["READERS", "DataConfig", "DataPlace", "Reader"]

Reader = Literal[
    "auto", "avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits", "table", "hugging_face"
]  # fmt: skip
READERS: tuple[str, ...] = get_args(Reader)[1:]
Code = str | int | float
"""A value that means missing; texts first, because the command line would read "no" as false otherwise."""
Option = str | bool | int | float | list[str | bool | int | float] | dict[str, str | bool | int | float | list[Code]] | None
"""An argument of a reader, as settings files and the command line have it."""
LARGEST_SIDE = 4096
"""Of images, in pixels."""


@dataclass(frozen=True)
class DataConfig:
    """Settings of data; those left at None take the reader's own defaults.

    Args:
        reader: how the source is read: "avatars", "image_folder", "celeba", "chexpert", "fashion_mnist", "mnist", "digits",
            "table" or "hugging_face"; "auto" recognises it.
        csv: CSV or Parquet table with the labels of a folder of images.
        labels: label columns, as a list or separated by commas.
        exclude: columns that are neither labels nor inputs, as a list or separated by commas.
        kinds: "binary", "categorical" or "continuous" by label, for labels whose kind is not to be inferred.
        missing_values: values that mean not observed, such as -1 or Unknown: one, several separated by commas, or by column;
            of tables, in inputs too.
        delimiter: what separates findings in cells such as Edema|Mass, each of which becomes a binary label.
        id_column: column that names the images or rows.
        size: height and width in pixels.
        absent: "error" or "ignore" for rows of a table whose image does not exist.
        labelled: number (whole) or fraction (with a point) of training rows that keep their labels; the rows are chosen so
            that every value of every label keeps its share.
        labelled_per_class: number of training rows of every value that keep their labels.
        validation: number (whole) or fraction (with a point) of rows to validate on.
        test: number (whole) or fraction (with a point) of rows to test on.
        group_column: column of groups, such as patients, that stay whole in one split.
        split_column: column that says train, validation or test.
        seed: random seed of splits and hidden labels.
        options: further arguments of the reader, by name.
    """

    reader: Reader = "auto"
    csv: str | None = None
    labels: list[str] | str | None = None
    exclude: list[str] | str | None = None
    kinds: dict[str, str] | None = None
    missing_values: list[int | float | str] | dict[str, list[Code] | Code | None] | int | float | str | None = None
    delimiter: dict[str, str] | str | None = None
    id_column: str | None = None
    size: int | None = None
    absent: Literal["error", "ignore"] | None = None
    labelled: int | float | None = None
    labelled_per_class: int | None = None
    validation: int | float | None = None
    test: int | float | None = None
    group_column: str | None = None
    split_column: str | None = None
    seed: int = 0
    options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self.seed)
        for name in ("labelled", "validation", "test"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least=0)
        if self.labelled_per_class is not None:
            check_whole("labelled_per_class", self.labelled_per_class, least=1)
        if self.size is not None:
            check_whole("size", self.size, least=1, most=LARGEST_SIDE)
        if self.labelled is not None and self.labelled_per_class is not None:
            raise ValueError("labelled and labelled_per_class are both given; give one of them")


@dataclass(frozen=True)
class DataPlace:
    """Where the data of a run are now; None where the run folder says it.

    Args:
        source: folder of images, or table, instead of the one that the run was trained on.
        csv: table with the labels of a folder of images, instead of that of training.
    """

    source: str | None = None
    csv: str | None = None
