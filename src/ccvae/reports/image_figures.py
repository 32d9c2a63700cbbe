"""Figures of a model of images: what it keeps, changes, moves and makes up, beside what the drawing program would draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.drawing.image_grid import BLUE, GREY, ORANGE, Row, grid, pixels_of
from ccvae.labels import Binary, Categorical, Continuous, Label
from ccvae.labels.cells import Value
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import generate, intervene, reconstruct, transfer, traverse
from ccvae.reports.figure_selection import Choices, donors, ends, range_of, recipients

__all__ = ["Figure", "attention", "interventions", "plane", "reconstructions", "samples", "transfers", "traversals"]

STEPS = 9
SAMPLES = 10
MOST_CLASSES = 12
ATTENDED, ATTENDING = 9, 5
"""Labels that the figure of attention shows, and on how many pictures."""
DARKEST = 0.15
"""Brightness of what attention leaves out."""
TRANSFERRED, DONORS, RECIPIENTS = 6, 5, 3
"""Labels that the figure of transfers shows, with how many pictures that give and that receive."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with words for it.

    Args:
        name: of its file, without ending.
        title: what it is.
        caption: what it shows and how to read it, in one sentence or two.
        picture: the figure.
    """

    name: str
    title: str
    caption: str
    picture: Image.Image


def reconstructions(model: CCVAE, data: Dataset, choices: Choices, columns: int = 10) -> Figure:
    """Originals over what the model keeps of them."""
    rows = []
    for start in range(0, len(choices.rows), columns):
        shown = choices.rows[start : start + columns]
        rows.append(Row(list(data.inputs[shown]), "original", apart=start > 0))
        rows.append(Row(list(pixels_of(reconstruct(model, data.tensor(shown)))), "reconstruction"))
    caption = f"Pictures of the {choices.split} split over what the model makes of them: what is lost below was not captured."
    return Figure("reconstructions", "Reconstructions", caption, grid(rows))


def interventions(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """Every label set to another value, beside the truth where that is known."""
    truth = data.truth
    shown = choices.rows[: 8 if truth is None else 5]
    x, originals = data.tensor(shown), data.inputs[shown]
    predicted = data.space.encode(model.predict(x))
    current = np.where(np.isnan(data.labels[shown]), predicted, data.labels[shown])
    before = pixels_of(reconstruct(model, x))
    if truth is None:
        rows = [Row(list(originals), "original"), Row(list(before), "reconstruction")]
    else:
        rows = [Row(interleaved(list(before), list(originals)), "unchanged", above=("model", "truth") * len(shown))]
    for position, name in enumerate(choices.labels):
        column = data.space.index(name)
        label = data.space.labels[column]
        values = [another(label, number, turn) for turn, number in enumerate(current[:, column].tolist())]
        after = intervened(model, x, name, values)
        below = [f"→ {value_text(value)}" for value in values]
        colours = [colour_of(label, value) for value in values]
        if truth is not None:
            after_truth = [
                truth.intervention(row, label.name, int(label.encode(value))) for row, value in zip(shown, values, strict=True)
            ]
            pictures = interleaved(list(after), after_truth)
            below, colours = interleaved(below, [""] * len(below)), interleaved(colours, colours)
        else:
            pictures = list(after)
        rows.append(Row(pictures, name, below=below, colours=colours, apart=position == 0))
    caption = (
        f"Every picture of the top row with one label set to the other value, named beneath{some_of(model, choices)}; "
        "only what the label is about should change."
    )
    if truth is not None:
        caption += (
            " At the right of each pair, the same change made by the program that drew the picture: "
            "one of several ways in which the label can show, where the model draws the typical one."
        )
    breaks = () if truth is None else range(2, 2 * len(shown), 2)
    return Figure("interventions", "Interventions", caption, grid(rows, breaks=breaks))


def traversals(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """One picture along each label's characteristic."""
    x = data.tensor([choices.plain_row])
    rows = [Row([data.inputs[choices.plain_row], pixels_of(reconstruct(model, x))[0]], "original", "and reconstruction")]
    above: Sequence[str] = ()
    for name in choices.labels:
        label = model.space[name]
        for row in traversal_rows(model, x, label):
            rows.append(row if row.above != above else Row(row.pictures, row.name, below=row.below, bars=row.bars))
            above = row.above
    ways = {
        Binary.kind: "a binary one from strongly absent to strongly present (5% and 95% quantiles)",
        Categorical.kind: "a categorical one through its classes",
        Continuous.kind: "a number from two standard deviations below its mean to two above",
    }
    kinds = {model.space[name].kind for name in choices.labels}
    caption = (
        f"A picture of the {choices.split} split on which labels show well, along each in turn{some_of(model, choices)}: "
        f"{', '.join(way for kind, way in ways.items() if kind in kinds)}. "
        "A bar beneath is the probability that the model itself gives the label, or the class, on seeing the picture."
    )
    return Figure("traversals", "Traversals", caption, grid(rows))


def traversal_rows(model: CCVAE, x: Tensor, label: Label) -> Iterator[Row]:
    """The row of a label, or the rows of one with many classes, with what the model reads in its own pictures."""
    if isinstance(label, Categorical):
        values = label.values[: 2 * MOST_CLASSES]
        for start in range(0, len(values), MOST_CLASSES):
            part = values[start : start + MOST_CLASSES]
            pictures = [intervene(model, x, {label.name: value})[0] for value in part]
            bars = [
                float(model.predict_proba(one)[f"{label.name}={value}"].iloc[0])
                for one, value in zip(pictures, part, strict=True)
            ]
            above = tuple(map(str, part))
            yield Row([pixels_of(one) for one in pictures], "" if start else label.name, above=above, bars=bars, apart=True)
        return
    walk = traverse(model, x, label.name, STEPS)[0]
    read = model.predict_proba(walk)[list(label.output_columns)].to_numpy()
    if isinstance(label, Continuous):
        above = tuple(value_text(value) for value in np.linspace(*range_of(label), STEPS).tolist())
        below = [f"read {value_text(number)}" for number in read[:, 0].tolist()]
        yield Row(list(pixels_of(walk)), label.name, above=above, below=below, apart=True)
    else:
        first, last = ("absent", "present") if label.values == (0, 1) else map(str, label.values)
        above = (first, *[""] * (STEPS - 2), last)
        yield Row(list(pixels_of(walk)), label.name, above=above, bars=read[:, 1].tolist(), apart=True)


def samples(model: CCVAE, choices: Choices, seed: int) -> Figure:
    """New pictures under conditions."""
    conditions: list[dict[str, Any]] = [{}]
    for name in choices.labels:
        label = model.space[name]
        if isinstance(label, Binary):
            conditions.append({name: label.values[1]})
        elif isinstance(label, Categorical):
            conditions += [{name: value} for value in label.values[:MOST_CLASSES]]
        else:
            conditions += [{name: float(value_text(value))} for value in ends(label)]
    if choices.pair:
        conditions.append({name: ends(model.space[name])[1] for name in choices.pair})
    rows = []
    for position, given in enumerate(conditions):
        drawn = pixels_of(generate(model, SAMPLES, given, seed))
        title = ", ".join(f"{name}={value_text(value)}" for name, value in given.items())
        rows.append(Row(list(drawn), title or "no condition", apart=position == 1))
    caption = (
        f"New pictures, drawn under the condition at the left{some_of(model, choices)}, all else left to chance. "
        "A column keeps its chance from row to row, so that what differs down a column is the condition; "
        "along a row, one value should show in many ways."
    )
    return Figure("samples", "Samples under conditions", caption, grid(rows))


def transfers(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """Characteristics of some pictures moved onto others, for the labels that show in most ways."""
    rows = [row for name in choices.varied[:TRANSFERRED] for row in transfer_rows(model, data, choices, name)]
    caption = (
        "What shows the label in a picture on top, moved onto the picture at the left: it should look as on top, and all "
        "else as at the left. Beneath a picture on top is its value. The labels are those that show in most ways."
    )
    if data.truth is not None:
        caption += " At the right, the same exchange made by the program that drew the pictures."
    breaks = (1,) if data.truth is None else (1, 1 + DONORS)
    return Figure("transfer", "Transfers", caption, grid(rows, tile=128, breaks=breaks))


def transfer_rows(model: CCVAE, data: Dataset, choices: Choices, name: str) -> Iterator[Row]:
    """A matrix of one label's transfers: donors on top, recipients at the left."""
    column, known, truth = data.space.index(name), data.labels[choices.pool], data.truth
    label = data.space.labels[column]
    sources = choices.pool[donors(model, name, choices.latents, known, DONORS)]
    targets = choices.pool[recipients(data.space, name, known, RECIPIENTS, choices.plain)]
    values = [label.decode(number) for number in data.labels[sources, column].tolist()]
    heading, below = padded(data.inputs[sources]), padded([value_text(value) for value in values], "")
    colours = padded([colour_of(label, value) for value in values], "")
    twice = 1 if truth is None else 2
    yield Row(
        [None, *heading * twice],
        name,
        "from …",
        above=[] if truth is None else ["", *padded(["model"], ""), "truth"],
        below=["", *below * twice],
        colours=["", *colours * twice],
        apart=True,
    )
    for number, target in enumerate(targets.tolist()):
        moved = transfer(model, data.tensor(sources), data.tensor(np.full(len(sources), target)), [name])
        pictures = [data.inputs[target], *padded(pixels_of(moved))]
        if truth is not None:
            pictures += [truth.transfer(source, target, name) for source in sources.tolist()]
        yield Row(pictures, "", "… onto" if number == 0 else "")


def plane(model: CCVAE, data: Dataset, choices: Choices, pair: tuple[str, str], steps: int = 7) -> Figure:
    """One picture along two labels at once."""
    pictures = traverse(model, data.tensor([choices.plain_row]), pair, steps)[0]
    down, across = ([f"{name}={value_text(value)}" for value in ends(model.space[name])] for name in pair)
    rows = [
        Row(
            list(pixels_of(row)),
            {0: down[0], steps - 1: down[1]}.get(number, ""),
            above=(across[0], *[""] * (steps - 2), across[1]) if number == 0 else (),
        )
        for number, row in enumerate(pictures)
    ]
    caption = (
        f"One picture as {pair[0]} changes from top to bottom and {pair[1]} from left to right: "
        "where labels are captured apart, each changes what it is about, whatever the other is."
    )
    return Figure("plane", "Two labels at once", caption, grid(rows))


def attention(model: CCVAE, data: Dataset, choices: Choices) -> Figure:
    """Where each label is looked for."""
    names, shown = choices.labels[:ATTENDED], choices.rows[:ATTENDING]
    columns = [model.space.index(name) for name in names]
    x = data.tensor(shown)
    maps = model.attention(x)[:, columns]
    brightness = DARKEST + (1 - DARKEST) * maps / maps.amax((-2, -1), keepdim=True)
    lit = (x.to(maps)[:, None] * brightness[:, :, None]).cpu()
    rows = [
        Row([original, *pixels_of(pictures)], "", above=("", *names) if number == 0 else ())
        for number, (original, pictures) in enumerate(zip(data.inputs[shown], lit, strict=True))
    ]
    caption = (
        "Pictures, and where in them the encoder looks for each label, whether it is present or not: the block of the label is "
        "read from what is bright."
    )
    return Figure("attention", "Where labels are seen", caption, grid(rows))


def intervened(model: CCVAE, x: Tensor, name: str, values: Sequence[Value | float]) -> np.ndarray:
    """Pictures with a label set, each to a value of its own."""
    after = torch.empty_like(x)
    for value in set(values):
        rows = [row for row, wanted in enumerate(values) if wanted == value]
        after[rows] = intervene(model, x[rows], {name: value}).to(after)
    return pixels_of(after)


def another(label: Label, number: float, turn: int) -> Value | float:
    """A value that a label does not have now; of several classes, each turn another one."""
    if isinstance(label, Continuous):
        low, high = range_of(label)
        return low if number > label.mean else high
    if isinstance(label, Binary):
        return label.values[int(number < 0.5)]
    others = [value for value in label.values if value != label.decode(number)]
    return others[turn % len(others)]


def colour_of(label: Label, value: Value | float) -> str:
    """Colour in which to write a label's value: one for the least, one for the most."""
    colours = {} if isinstance(label, Categorical) else dict(zip(ends(label), (ORANGE, BLUE), strict=True))
    return colours.get(value, GREY)


def value_text(value: Value | float) -> str:
    """A value as figures show it."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interleaved(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Members of two sequences in turn."""
    return [one for pair in zip(first, second, strict=True) for one in pair]


def padded(members: Sequence[Any] | np.ndarray, filling: Any = None) -> list[Any]:
    """As many members as there are donors at most."""
    return [*members, *[filling] * (DONORS - len(members))]


def some_of(model: CCVAE, choices: Choices) -> str:
    """Words that say so if not all labels are shown."""
    shown, count = len(choices.labels), len(model.space)
    return f" (the {shown} of {count} labels that change inputs most)" if shown < count else ""
