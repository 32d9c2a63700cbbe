"""Splits: which rows to train, validate and test on, stratified by labels where they are known, with whole groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ccvae.labels.cells import first_few, is_missing, text_of

__all__ = ["SPLITS", "SPLIT_NAMES", "check_splits", "groups_from", "split_rows", "splits_from"]

SPLITS = ("train", "validation", "test")

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""How tables and folders spell each split, in lower case."""

TRIES = 50
"""Number of random splits of whole groups that are tried; the one with the most even labels is used."""


def split_rows(
    rows: int,
    validation: int | float,
    test: int | float,
    seed: int = 0,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Split rows at random: sorted row numbers of "train", "validation" and "test".

    Args:
        rows: number of rows.
        validation: number (int) or fraction (float) of rows to validate on. A fraction above 0 gives at least one row.
        test: number (int) or fraction (float) of rows to test on, in the same way.
        seed: random seed.
        groups: `(rows,)`; rows of one group stay in one split. A split gets whole groups until it has its rows.
        strata: bool `(rows, strata)`, membership in each stratum, such as the rows that show one value of a label (see
            `ccvae.data.stratification.memberships`). Each stratum is divided as all rows are, the rarest first, and its
            first rows go to training. None splits without regard to labels.

    Raises:
        ValueError: no row is left to train on.

    >>> split_rows(5, validation=1, test=0.2, seed=0)
    {'train': array([0, 1, 3]), 'validation': array([4]), 'test': array([2])}
    """
    counts = split_sizes(rows, validation, test)
    stratified = strata is not None and strata.shape[1] > 0
    if groups is None and stratified:
        if sum(counts) >= rows:
            raise too_few_to_train(rows, validation, test, "rows")
        return stratified_split(np.asarray(strata), counts, seed)
    if groups is None or not stratified:
        return random_split(rows, counts, seed, groups, validation, test)
    candidates = [random_split(rows, counts, [seed, number], groups, validation, test) for number in range(TRIES)]
    return min(candidates, key=lambda parts: unevenness(parts, np.asarray(strata), counts))


def split_sizes(rows: int, validation: int | float, test: int | float) -> tuple[int, int]:
    """Numbers of test and of validation rows."""
    counts = []
    for size in (test, validation):
        if size < 0 or (isinstance(size, float) and size >= 1):
            raise ValueError(
                f"validation={validation} and test={test} of {rows} rows: expected a number of rows, or a fraction from 0 to "
                f"below 1"
            )
        counts.append(max(round(size * rows), int(size > 0)) if isinstance(size, float) else int(size))
    return counts[0], counts[1]


def too_few_to_train(rows: int, validation: int | float, test: int | float, kind: str) -> ValueError:
    """The error where splits leave no row to train on."""
    return ValueError(f"validation={validation} and test={test} of {rows} {kind} leave none to train on; ask for fewer")


def random_split(
    rows: int,
    counts: tuple[int, int],
    seed: int | list[int],
    groups: np.ndarray | None,
    validation: int | float,
    test: int | float,
) -> dict[str, np.ndarray]:
    """Rows or whole groups in random order: the first to test on, the next to validate on, the rest to train on."""
    members = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(members)
    order = np.random.default_rng(seed).permutation(len(sizes))
    reached = np.concatenate([[0], np.cumsum(sizes[order])])
    after_test = int(np.searchsorted(reached, counts[0]))
    if sum(counts) >= rows or reached[min(after_test, len(order))] + counts[1] > reached[-2]:
        raise too_few_to_train(rows, validation, test, "rows" if groups is None else f"rows in {len(sizes)} groups")
    after_validation = int(np.searchsorted(reached, reached[after_test] + counts[1]))
    parts = {"train": order[after_validation:], "validation": order[after_test:after_validation], "test": order[:after_test]}
    return {split: np.flatnonzero(np.isin(members, chosen)) for split, chosen in parts.items()}


def stratified_split(strata: np.ndarray, counts: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    """Iterative stratification (Sechidis et al., 2011): strata are divided one after the other, the rarest first."""
    rows = len(strata)
    generator = np.random.default_rng(seed)
    room = np.array([rows - sum(counts), counts[1], counts[0]])  # in the order of SPLITS
    fractions = room / rows
    split_of = np.full(rows, -1)
    owed = np.zeros(len(SPLITS))  # what rounding has kept from each split so far
    for stratum in np.argsort(strata.sum(axis=0), kind="stable"):
        members = np.flatnonzero(strata[:, stratum])
        left = generator.permutation(members[split_of[members] < 0])
        if not len(left):
            continue
        present = np.bincount(split_of[members] + 1, minlength=len(SPLITS) + 1)[1:]
        first = np.zeros(len(SPLITS), dtype=int)
        first[0] = not present[0] and room[0] > 0  # a value without a training row cannot be learned
        wanted = fractions * len(members) - present + owed - first
        taken = first + allotted(wanted, len(left) - int(first.sum()), room - first)
        split_of[left] = np.repeat(np.arange(len(SPLITS)), taken)
        owed += fractions * len(left) - taken
        room = room - taken
    rest = generator.permutation(np.flatnonzero(split_of < 0))
    split_of[rest] = np.repeat(np.arange(len(SPLITS)), room)
    return {split: np.flatnonzero(split_of == number) for number, split in enumerate(SPLITS)}


def allotted(wanted: np.ndarray, count: int, room: np.ndarray) -> np.ndarray:
    """Numbers of rows, `count` in all, that each split gets: each goes where most are still wanted and there is room."""
    taken: np.ndarray
    asked = np.clip(wanted, 0, None)
    asked = asked * count / max(asked.sum(), 1e-9)
    taken = np.minimum(np.floor(asked).astype(int), room)
    for _ in range(count - int(taken.sum())):
        most = np.where(taken < room, asked - taken, -np.inf)
        best = np.flatnonzero(most >= most.max() - 1e-9)
        taken[best[np.argmin((room - taken)[best])] if len(best) > 1 else best[0]] += 1
    return taken


def unevenness(parts: Mapping[str, np.ndarray], strata: np.ndarray, counts: tuple[int, int]) -> tuple[float, float]:
    """How badly a split divides strata: those that training lacks, then the distance from equal fractions."""
    wanted = dict(zip(("test", "validation"), counts, strict=True))
    sizes = strata.sum(axis=0)
    without = int((~strata[parts["train"]].any(axis=0)).sum())
    distance = sum(
        float(np.abs(strata[parts[split]].sum(axis=0) - count / len(strata) * sizes)[sizes > 0].sum())
        + abs(len(parts[split]) - count)
        for split, count in wanted.items()
    )
    return without, distance


def check_splits(splits: Mapping[str, np.ndarray], rows: int, groups: np.ndarray | None) -> None:
    """Raise `ValueError` unless splits are sorted row numbers that share neither a row nor a group."""
    if set(splits) != set(SPLITS):
        raise ValueError(f"splits must be {', '.join(SPLITS)}, not {', '.join(splits)}")
    for name in SPLITS:
        members = splits[name]
        if members.ndim != 1 or members.dtype.kind not in "iu" or (np.diff(members) <= 0).any():
            raise ValueError(f"split {name!r} must be row numbers in rising order, each once")
        if len(members) and not (members[0] >= 0 and members[-1] < rows):
            raise ValueError(f"split {name!r} names rows outside 0 to {rows - 1}")
    for position, name in enumerate(SPLITS):
        for other in SPLITS[position + 1 :]:
            shared = np.intersect1d(splits[name], splits[other])
            if len(shared):
                raise ValueError(f"rows are in both {name} and {other}: {first_few([str(row) for row in shared])}")
            if groups is not None:
                shared_groups = sorted({*groups[splits[name]].tolist()} & {*groups[splits[other]].tolist()})
                if shared_groups:
                    raise ValueError(
                        f"groups are in both {name} and {other}: {first_few([str(group) for group in shared_groups])}"
                    )


def groups_from(table: pd.DataFrame, column: str | None, source: str) -> np.ndarray | None:
    """Groups of a table's rows as texts, or None without a column.

    Raises:
        ValueError: a row has no group.
    """
    if column is None:
        return None
    cells = table[column].tolist()
    missing = [f"{table.index.name} {table.index[row]}" for row, cell in enumerate(cells) if is_missing(cell)]
    if missing:
        raise ValueError(f"{source}, group column {column!r}: no group in {first_few(missing)}")
    return np.array([text_of(cell) for cell in cells])


def splits_from(
    table: pd.DataFrame,
    column: str | None,
    groups: np.ndarray | None,
    source: str,
    *,
    validation: int | float,
    test: int | float,
    seed: int,
    strata: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Splits of a table's rows: those that a column names, or drawn at random (see `split_rows`).

    Where a column names no validation rows, they are drawn from its training rows; where it names no test rows, there are none.

    Raises:
        ValueError: a row's split is unknown, or no row is left to train on.
    """
    if len(table) == 1:
        raise ValueError(f"{source} has one row; that is too few to learn from")
    if column is None:
        return split_rows(len(table), validation, test, seed, groups, strata)
    members: dict[str, list[int]] = {split: [] for split in SPLITS}
    spelled = {spelling: split for split, spellings in SPLIT_NAMES.items() for spelling in spellings}
    offenders = []
    for row, cell in enumerate(table[column].tolist()):
        split = spelled.get(text_of(cell).lower())
        if split is None:
            offenders.append(f"{table.index.name} {table.index[row]} says {cell!r}")
        else:
            members[split].append(row)
    if offenders:
        raise ValueError(
            f"{source}, split column {column!r}: expected train, validation or test, but {first_few(offenders)}; write one of "
            f"{', '.join(spelled)} in every row"
        )
    splits = {split: np.array(rows, dtype=np.int64) for split, rows in members.items()}
    train = splits["train"]
    if not len(train):
        raise ValueError(f"{source}, split column {column!r} names no row to train on")
    if len(splits["validation"]) or not validation:
        return splits
    within = None if groups is None else groups[train]
    drawn = split_rows(len(train), validation, 0, seed, within, None if strata is None else strata[train])
    return splits | {split: train[drawn[split]] for split in ("train", "validation")}
