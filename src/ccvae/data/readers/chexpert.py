"""CheXpert in its published layout: chest radiographs whose labels may be blank or uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ccvae.data.assembly import assemble
from ccvae.data.dataset import Dataset
from ccvae.data.images.finding import Absent
from ccvae.data.images.image_cache import decoded_files
from ccvae.data.origin import recorded
from ccvae.data.parsing import parse_labels
from ccvae.data.readers.celeba import present_rows, unpacked
from ccvae.data.splits import split_rows
from ccvae.data.tables.files import read_table
from ccvae.labels import Binary
from ccvae.labels.cells import first_few
from ccvae.labels.nearest import did_you_mean
from ccvae.model.inputs.decoding import Fit, Framing
from ccvae.storage.links import check_inside

__all__ = ["COMPETITION", "OBSERVATIONS", "chexpert"]

OBSERVATIONS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
"""The 14 observations."""

NO_FINDING = "No Finding"
"""The observation that the tables have as 1 or blank: 1 wherever no other is mentioned as present or uncertain."""

COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five observations that CheXpert's competition is scored on."""

Uncertain = Literal["missing", "zero", "one", "soft"]
Blank = Literal["missing", "zero"]
MEANINGS: dict[str, float | None] = {"missing": None, "zero": 0, "one": 1, "soft": 0.5}


@recorded
def chexpert(
    folder: str | Path,
    *,
    observations: Literal["competition", "all"] | Sequence[str] = "competition",
    uncertain: Uncertain = "missing",
    blank: Blank = "missing",
    frontal_only: bool = True,
    size: int | tuple[int, int] = 64,
    fit: Fit = "stretch",
    absent: Absent = "error",
    labelled: int | float | None = None,
    validation: int | float = 0.05,
    seed: int = 0,
    name: str = "CheXpert",
) -> Dataset:
    """CheXpert's radiographs, grey, with whole patients in each split.

    The radiologists' `valid.csv` (234 images) is the test split; validation rows are drawn from the patients of `train.csv`.
    What subset, size and policy the CCVAE paper used is not known, so that there is no preset for it.

    Args:
        folder: holds `train.csv`, `valid.csv`, `train/` and `valid/`, such as `CheXpert-v1.0-small`.
        observations: the competition's five, all 14, or names; columns such as "Sex" and "Age" may be among them.
        uncertain: what -1 stands for: not observed, 0, 1, or a probability of one half.
        blank: what an empty cell (not mentioned in the report) stands for: not observed, or 0. Of "No Finding", which the
            published table has as 1 or blank, a blank is 0 always: it has 1 wherever no finding is mentioned.
        frontal_only: leave lateral views out.
        size: height and width in pixels, or one number for both.
        fit: how images of other proportions are brought to the size.
        absent: rows whose image does not exist are an error, or ignored with a note.
        labelled: number (int) or fraction (float) of training rows that keep their labels; the others are hidden.
        validation: number (int) or fraction (float) of rows of `train.csv` to validate on.
        seed: random seed of the validation split and of which labels are hidden.
        name: what reports call the data.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not as published, or an image is missing or unreadable.
    """
    folder = unpacked(Path(folder).expanduser(), ("train.csv",))
    framing = Framing.of(size, fit)
    for argument, value, allowed in (("uncertain", uncertain, get_args(Uncertain)), ("blank", blank, get_args(Blank))):
        if value not in allowed:
            raise ValueError(f"{argument} must be one of {', '.join(allowed)}, not {value!r}")
    check_inside(folder, ["train.csv", "valid.csv"])
    train, test = (published_table(folder / f"{part}.csv", frontal_only) for part in ("train", "valid"))
    different = sorted(set(train.columns) ^ set(test.columns))
    if different:
        raise ValueError(f"train.csv and valid.csv must have the same columns; only one of them has {first_few(different)}")
    table = pd.concat([train, test], ignore_index=True).rename_axis("row")
    names = observation_names(observations, table)
    files = [str(path).split("/", 1)[1] for path in table["Path"]]
    source = "train.csv or valid.csv"
    present, notes = present_rows([(folder / file).exists() for file in files], files, source, folder, absent)
    trained = int((present < len(train)).sum())
    table, files = table.iloc[present], [files[row] for row in present.tolist()]
    implied = NO_FINDING in names and not set(table[NO_FINDING].iloc[:trained]) - {"", "1", "1.0"}
    if implied:
        notes = (f"blank {NO_FINDING!r} is taken as 0: train.csv has 1 wherever no finding is mentioned, and never 0", *notes)
    labels = pd.DataFrame(
        {column: meant(table[column], uncertain, "zero" if implied and column == NO_FINDING else blank) for column in names}
    ).rename_axis("row")
    try:
        parsed = parse_labels(labels, source, known={column: Binary(column) for column in names if column in OBSERVATIONS})
    except ValueError as error:
        advice = "read blank cells as 0 with blank='zero', or choose among observations" if blank == "missing" else ""
        raise ValueError(f"{error}; {advice or 'choose among observations'}") from None
    patients = np.array([file.split("/")[1] for file in files])
    drawn = split_rows(trained, validation, 0, seed, patients[:trained])
    policy = f"-1 is taken as {uncertain}, blank as {blank}; {'frontal views only' if frontal_only else 'all views'}"
    return assemble(
        partial(decoded_files, folder, files, framing, 1),
        parsed,
        files,
        drawn | {"test": np.arange(trained, len(table))},
        name=name,
        framing=framing,
        source=source,
        labelled=labelled,
        seed=seed,
        groups=patients,
        notes=(policy, *notes),
    )


def published_table(path: Path, frontal_only: bool) -> pd.DataFrame:
    """One of CheXpert's tables, checked."""
    table, source = read_table(path)
    absent = [column for column in ("Path", "Frontal/Lateral") if column not in table.columns]
    if absent:
        raise ValueError(f"{source} has no column {first_few(absent)}; is it CheXpert's?")
    wrong = [f"line {line}: {text}" for line, text in table["Path"].items() if len(str(text).split("/")) < 4]
    if wrong:
        raise ValueError(f"{source}: expected paths such as CheXpert-v1.0-small/train/patient00001/…, found {first_few(wrong)}")
    for column in set(OBSERVATIONS) & set(table.columns):
        cells = table[column]
        odd = cells[~cells.isin(["", "0", "0.0", "1", "1.0", "-1", "-1.0"])]
        if len(odd):
            offenders = first_few([f"line {line}: {cell}" for line, cell in odd.items()])
            raise ValueError(f"{source}, {column}: expected 1, 0, -1 or blank, found {offenders}")
    return table[table["Frontal/Lateral"] == "Frontal"] if frontal_only else table


def observation_names(observations: str | Sequence[str], table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the observations that are asked for, which must be columns."""
    if isinstance(observations, str):
        if observations not in ("competition", "all"):
            raise ValueError(f"observations must be 'competition', 'all' or a list of names, not {observations!r}")
        observations = COMPETITION if observations == "competition" else OBSERVATIONS
    absent = [name for name in observations if name not in table.columns]
    if absent:
        shown = first_few([f"{name!r}{did_you_mean(name, table.columns)}" for name in absent])
        raise ValueError(f"no column {shown}; the columns are {', '.join(map(str, table.columns))}")
    return tuple(observations)


def meant(cells: pd.Series[Any], uncertain: Uncertain, blank: Blank) -> pd.Series[Any]:
    """What the cells of a column stand for; columns that are no observations stay as they are."""
    if cells.name not in OBSERVATIONS:
        return cells
    meanings = {"": MEANINGS[blank], "-1": MEANINGS[uncertain], "-1.0": MEANINGS[uncertain]}
    return pd.Series([meanings[cell] if cell in meanings else float(cell) for cell in cells], index=cells.index, dtype=float)
