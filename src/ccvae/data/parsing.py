"""From a table to labels: which columns are labels, and what their cells say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ccvae.data.findings import Delimiter, with_findings
from ccvae.data.label_arrays import LabelArrays
from ccvae.data.missing_values import MissingValues, codes_by_column, emptied, suspicious_values
from ccvae.data.row_names import counters, is_named_like_id, note_on_ids
from ccvae.data.soft_labels import columns_of, separated
from ccvae.labels import Label, LabelSpace
from ccvae.labels.cells import first_few, is_empty, is_missing
from ccvae.labels.kinds import UnusableColumnError, check_kinds, infer_label
from ccvae.labels.nearest import did_you_mean

__all__ = ["ChosenColumns", "check_named", "choose_columns", "parse_labels"]


@dataclass(frozen=True)
class ChosenColumns:
    """The label columns of a table.

    Args:
        table: one column a label, or several, `LABEL=VALUE`, for a label given as probabilities.
        sources: columns of the table as it was that they came from.
        notes: what was decided, in sentences for people.
        warnings: what should be looked at.
        exact: labels whose missing values the user named by label: words such as "None" in them are values.
    """

    table: pd.DataFrame
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    exact: frozenset[str] = frozenset()


def choose_columns(
    table: pd.DataFrame,
    labels: Sequence[str] | None,
    others: Sequence[str | None],
    source: str,
    *,
    delimiter: Delimiter = None,
    exclude: Sequence[str] = (),
    missing_values: MissingValues = None,
    used: Collection[str] = (),
) -> ChosenColumns:
    """The label columns of a table: those named, or all but the others.

    Args:
        table: the table.
        labels: names of columns, of labels given as probabilities (all their columns are taken), or of findings in columns of
            lists; None for all columns but the others.
        others: columns that name rows, groups or splits.
        source: what error messages call the table.
        delimiter: see `ccvae.data.findings`.
        exclude: columns that are no labels.
        missing_values: see `ccvae.data.missing_values.emptied`; such cells are None in the result.
        used: values of those, as text, that occur in other columns.

    Raises:
        ValueError: a named column does not exist, is one of the others, or none is left.
    """
    taken = {other for other in others if other is not None}
    columns = [str(column) for column in table.columns]
    wanted = [labels] if isinstance(labels, str) else [str(label) for label in labels or []]
    left_out = [exclude] if isinstance(exclude, str) else [str(column) for column in exclude]
    counting = [] if wanted else [column for column in counters(table) if column not in taken]
    left_out += counting
    check_named([*taken, *left_out], columns, source)
    both = [repr(column) for column in wanted if column in taken]
    if both:
        raise ValueError(f"{source}: column {first_few(both)} cannot be a label: it names the rows, groups or splits")
    named = [column for column in wanted if column in columns]
    candidates = named if named and len(named) == len(wanted) else [c for c in columns if c not in taken and c not in left_out]
    cells, missing_notes = emptied(table[candidates], missing_values, source, used)
    exact = frozenset(map(str, missing_values)) if isinstance(missing_values, Mapping) else frozenset[str]()
    codes = codes_by_column(missing_values, candidates)
    found = with_findings(cells, delimiter, candidates, source, codes, exact, columns)
    content, findings = found.table, found.columns
    columns = [str(column) for column in content.columns]
    known_absent = [name for name in wanted if name not in columns and name not in findings and not columns_of(name, columns)]
    if len(findings) == 1 and known_absent and len(known_absent) < len(wanted):
        # a label of a known space that no row of this table lists: it is absent wherever its column was filled in
        [present] = findings.values()
        zeros = [None if is_missing(cell) else 0 for cell in content[present[0]].tolist()]
        fresh = pd.DataFrame(dict.fromkeys(known_absent, zeros), index=content.index, dtype=object)
        content = pd.concat([content, fresh], axis=1)
        content.index.name = table.index.name
        columns += known_absent
    wanted = [each for name in wanted for each in findings.get(name, [name])]
    wanted = [each for name in wanted for each in ([] if name in columns else columns_of(name, columns)) or [name]]
    check_named(wanted, columns, source)
    chosen = wanted or [column for column in columns if column not in taken and column not in left_out]
    if not chosen:
        raise ValueError(f"{source} has no label columns: its only columns are {', '.join(map(str, table.columns)) or 'none'}")
    if "" in chosen:
        place = [str(column) for column in table.columns].index("") + 1
        raise ValueError(f"{source}: column {place} has no name; name it, or say which columns are labels")
    origin = {finding: column for column, titles in findings.items() for finding in titles}
    sources = tuple(dict.fromkeys(origin.get(column, column) for column in chosen))
    counted = tuple(f"column {column!r} counts the rows, and is no label" for column in counting)
    return ChosenColumns(content[chosen], sources, (*counted, *missing_notes, *found.notes), found.warnings, exact)


def check_named(names: Sequence[str], columns: Sequence[str], source: str) -> None:
    """Raise `ValueError` unless all names are columns, with the nearest column for those that are not."""
    absent = [name for name in names if name not in columns]
    if not absent:
        return
    hints = [f"{name!r}{did_you_mean(name, columns)}" for name in absent]
    raise ValueError(f"{source} has no column {first_few(hints)}; its columns are {', '.join(columns)}")


def parse_labels(
    table: pd.DataFrame,
    source: str,
    *,
    kinds: Mapping[str, str] | None = None,
    known: Mapping[str, Label] | None = None,
    space: LabelSpace | None = None,
    exact: Collection[str] = (),
    drop_unusable: bool = False,
) -> LabelArrays:
    """Labels of a table as arrays, each cell read once; priors are those of `space`, else not fitted.

    Args:
        table: one column a label; or several columns, `LABEL=VALUE`, for a categorical label given as probabilities.
        source: what error messages call the table.
        kinds: "binary", "categorical" or "continuous" by label, for those not to be guessed.
        known: by column, labels whose kinds and values are known, without priors.
        space: labels that are known with their priors, such as a trained model's; nothing is guessed then.
        exact: labels in which words such as "None" are values, and empty cells alone mean *not observed*.
        drop_unusable: leave out columns that cannot be labels (free text, or one value throughout), with a note.

    Raises:
        ValueError: cells cannot be read, or labels are constant or never observed; all such labels are named.
    """
    kinds = {str(name): kind for name, kind in (kinds or {}).items()}
    if kinds and space is not None:
        raise ValueError("kinds and space are both given; the space says the kinds already")
    if space is None and len(table) == 1:
        raise ValueError(f"{source} has one row; that is too few to learn from")
    table, given_soft, soft = separated(table, space, source)
    notes: tuple[str, ...] = (f"labels given as probabilities: {first_few([*given_soft])}",) if given_soft else ()
    if space is not None:
        return LabelArrays(space.encode(table, source), space, soft, notes)
    table, labels, unusable = inferred(table, {**(known or {}), **given_soft}, kinds, exact, source)
    array = labels.encode(table, source)
    constant = unusable_columns(array, labels)
    if len(constant) == len(labels) and all("no observed value" in problem for problem in constant.values()):
        raise ValueError(f"{source}: not one label is observed in any row (columns: {first_few([*constant])})")
    unusable |= constant
    if unusable and (not drop_unusable or len(constant) == len(labels)):
        raise ValueError(f"{source}: {together(unusable)}")
    if unusable:
        notes = (*notes, f"columns left out: {together(unusable)}")
        kept = [column for column, label in enumerate(labels) if label.name not in constant]
        labels, array, table = LabelSpace(tuple(labels.labels[c] for c in kept)), array[:, kept], table.iloc[:, kept]
        soft = {name: shares for name, shares in soft.items() if name in labels.names}
    like_ids = [note_on_ids(label.name, "label") for label in labels if drop_unusable and is_named_like_id(label.name)]
    return LabelArrays(array, labels, soft, notes, (*suspicious_values(table, labels, exact), *like_ids))


def inferred(
    table: pd.DataFrame, known: Mapping[str, Label], kinds: Mapping[str, str], exact: Collection[str], source: str
) -> tuple[pd.DataFrame, LabelSpace, dict[str, str]]:
    """The columns that can be labels, their labels, and why other columns cannot, by name.

    Raises:
        ValueError: a column's values contradict each other or its kind, or no column can be a label; all are named.
    """
    names = [str(column) for column in table.columns]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"{source}: column names must differ; repeated: {', '.join(repeated)}")
    check_kinds(kinds, names, source)
    labels: list[Label] = []
    wrong: dict[str, str] = {}
    unusable: dict[str, str] = {}
    for name in names:
        if name in known:
            labels.append(known[name])
            continue
        missing = is_empty if name in exact else is_missing
        try:
            labels.append(infer_label(name, table[name].tolist(), kinds.get(name), source, missing))
        except UnusableColumnError as error:
            unusable[name] = str(error).removeprefix(f"{source}: ")
        except ValueError as error:
            wrong[name] = str(error).removeprefix(f"{source}: ")
    empty = [name for name, problem in unusable.items() if "no observed value" in problem]
    if len(empty) == len(names):
        raise ValueError(f"{source}: not one label is observed in any row (columns: {first_few(empty)})")
    if wrong or not labels:
        raise ValueError(f"{source}: {together(wrong | unusable)}")
    return table[[label.name for label in labels]], LabelSpace(tuple(labels)), unusable


def unusable_columns(array: np.ndarray, space: LabelSpace) -> dict[str, str]:
    """Labels without an observed value, or with one value throughout: what is wrong, by name."""
    problems = {}
    for column, label in enumerate(space):
        observed = array[:, column][~np.isnan(array[:, column])]
        if not len(observed):
            problems[label.name] = f"label {label.name!r} has no observed value; give it some, or leave it out"
        elif observed.min() == observed.max():
            value = label.decode(float(observed[0]))
            problems[label.name] = (
                f"label {label.name!r} is constant: all {len(observed)} observed values are {value}; give it others, or leave "
                f"it out"
            )
    return problems


def together(problems: Mapping[str, str]) -> str:
    """What is wrong with several columns in one message."""
    if len(problems) == 1:
        return next(iter(problems.values()))
    reasons = [problem.partition("; ")[0] for problem in problems.values()]
    return f"{len(problems)} columns cannot be labels: {'; '.join(reasons[:20])}; leave them out with exclude={[*problems]}"
