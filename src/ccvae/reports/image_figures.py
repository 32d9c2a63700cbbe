"""Figures for image models: reconstructions, interventions, traversals, samples and transfers, beside ground truth where
known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ccvae.data.dataset import Dataset
from ccvae.drawing.image_grid import BLUE, GREY, ORANGE, Row, grid, to_pixels
from ccvae.evaluation.metrics.interventions import edited
from ccvae.labels import Binary, Categorical, Continuous, Label
from ccvae.labels.cells import Value
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import generate, intervene, reconstruct, transfer, traverse
from ccvae.reports.figure_selection import FigureSelection, end_values, sources_of, targets_of, value_range

__all__ = ["Figure", "attention", "interventions", "plane", "reconstructions", "samples", "transfers", "traversals"]

STEPS = 9
SAMPLES = 10
MOST_CLASSES = 12
ATTENDED, ATTENDING = 9, 5
"""Numbers of labels and images in the figure of attention."""
DARKEST = 0.15
"""Brightness of pixels without attention."""
TRANSFERRED, SOURCES, TARGETS = 6, 5, 3
"""Numbers of labels, sources and targets in the figure of transfers."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with its caption.

    Args:
        name: name of its file, without suffix.
        title: what it shows.
        caption: how to read it, in one or two sentences.
        image: the figure.
    """

    name: str
    title: str
    caption: str
    image: Image.Image


def reconstructions(model: CCVAE, data: Dataset, selection: FigureSelection, columns: int = 10) -> Figure:
    """Images above their reconstructions."""
    rows = []
    for start in range(0, len(selection.rows), columns):
        shown = selection.rows[start : start + columns]
        rows.append(Row(list(data.inputs[shown]), "original", apart=start > 0))
        rows.append(Row(list(to_pixels(reconstruct(model, data.tensor(shown)))), "reconstruction"))
    caption = f"Images of the {selection.split} split above their reconstructions: what is lost below was not captured."
    return Figure("reconstructions", "Reconstructions", caption, grid(rows))


def interventions(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """Every label set to another value, beside ground truth where it is known."""
    truth = data.truth
    shown = selection.rows[: 8 if truth is None else 5]
    x, originals = data.tensor(shown), data.inputs[shown]
    predicted = data.space.encode(model.predict(x))
    current = np.where(np.isnan(data.labels[shown]), predicted, data.labels[shown])
    before = to_pixels(reconstruct(model, x))
    if truth is None:
        rows = [Row(list(originals), "original"), Row(list(before), "reconstruction")]
    else:
        rows = [Row(interleaved(list(before), list(originals)), "unchanged", above=("model", "truth") * len(shown))]
    for position, name in enumerate(selection.labels):
        column = data.space.index(name)
        label = data.space.labels[column]
        values = [another(label, number, turn) for turn, number in enumerate(current[:, column].tolist())]
        requested = np.array([float(label.encode(value)) for value in values])
        after = to_pixels(edited(model, x, label, requested))
        below = [f"→ {value_text(value)}" for value in values]
        colors = [color_of(label, value) for value in values]
        if truth is not None:
            after_truth = [
                truth.intervention(row, label.name, int(label.encode(value))) for row, value in zip(shown, values, strict=True)
            ]
            images = interleaved(list(after), after_truth)
            below, colors = interleaved(below, [""] * len(below)), interleaved(colors, colors)
        else:
            images = list(after)
        rows.append(Row(images, name, below=below, colors=colors, apart=position == 0))
    caption = (
        f"Every image of the top row with one label set to another value, named below it{some_of(model, selection)}; "
        "only what the label stands for should change."
    )
    if truth is not None:
        caption += (
            " At the right of each pair, the true image, rendered with the same change: one of several ways in which the label "
            "can show, where the model shows the typical one."
        )
    breaks = () if truth is None else range(2, 2 * len(shown), 2)
    return Figure("interventions", "Interventions", caption, grid(rows, breaks=breaks))


def traversals(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """One image traversed along each label."""
    x = data.tensor([selection.typical_row])
    rows = [Row([data.inputs[selection.typical_row], to_pixels(reconstruct(model, x))[0]], "original", "and reconstruction")]
    above: Sequence[str] = ()
    for name in selection.labels:
        label = model.space[name]
        for row in traversal_rows(model, x, label):
            rows.append(row if row.above != above else Row(row.images, row.name, below=row.below, bars=row.bars))
            above = row.above
    ways = {
        Binary.kind: "a binary one from strongly absent to strongly present (5% and 95% quantiles)",
        Categorical.kind: "a categorical one through its classes",
        Continuous.kind: "a continuous one from two standard deviations below its mean to two above",
    }
    kinds = {model.space[name].kind for name in selection.labels}
    caption = (
        f"An image of the {selection.split} split on which labels show well, along each of them{some_of(model, selection)}: "
        f"{', '.join(way for kind, way in ways.items() if kind in kinds)}. "
        "The bar below an image is the probability that the model predicts for the label, or the class, from that image."
    )
    return Figure("traversals", "Traversals", caption, grid(rows))


def traversal_rows(model: CCVAE, x: Tensor, label: Label) -> Iterator[Row]:
    """Rows of one label's traversal, with the probabilities that the model predicts from the images."""
    if isinstance(label, Categorical):
        values = label.values[: 2 * MOST_CLASSES]
        for start in range(0, len(values), MOST_CLASSES):
            part = values[start : start + MOST_CLASSES]
            images = [intervene(model, x, {label.name: value})[0] for value in part]
            bars = [
                float(model.predict_proba(one)[f"{label.name}={value}"].iloc[0])
                for one, value in zip(images, part, strict=True)
            ]
            above = tuple(map(str, part))
            yield Row([to_pixels(one) for one in images], "" if start else label.name, above=above, bars=bars, apart=True)
        return
    walk = traverse(model, x, label.name, STEPS)[0]
    read = model.predict_proba(walk)[list(label.output_columns)].to_numpy()
    if isinstance(label, Continuous):
        above = tuple(value_text(value) for value in np.linspace(*value_range(label), STEPS).tolist())
        below = [f"read {value_text(number)}" for number in read[:, 0].tolist()]
        yield Row(list(to_pixels(walk)), label.name, above=above, below=below, apart=True)
    else:
        first, last = ("absent", "present") if label.values == (0, 1) else map(str, label.values)
        above = (first, *[""] * (STEPS - 2), last)
        yield Row(list(to_pixels(walk)), label.name, above=above, bars=read[:, 1].tolist(), apart=True)


def samples(model: CCVAE, selection: FigureSelection, seed: int) -> Figure:
    """Generated images under conditions."""
    conditions: list[dict[str, Any]] = [{}]
    for name in selection.labels:
        label = model.space[name]
        if isinstance(label, Binary):
            conditions.append({name: label.values[1]})
        elif isinstance(label, Categorical):
            conditions += [{name: value} for value in label.values[:MOST_CLASSES]]
        else:
            conditions += [{name: float(value_text(value))} for value in end_values(label)]
    if selection.pair:
        conditions.append({name: end_values(model.space[name])[1] for name in selection.pair})
    rows = []
    for position, given in enumerate(conditions):
        drawn = to_pixels(generate(model, SAMPLES, given, seed))
        title = ", ".join(f"{name}={value_text(value)}" for name, value in given.items())
        rows.append(Row(list(drawn), title or "unconditional", apart=position == 1))
    caption = (
        f"Generated images with the label values at the left{some_of(model, selection)}; everything else is random. "
        "A column has the same random numbers in every row, so images differ down a column by the condition only; "
        "along a row, one value should show in many ways."
    )
    return Figure("samples", "Conditional samples", caption, grid(rows))


def transfers(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """Characteristics transferred between images, for the labels whose appearance varies most."""
    rows = [row for name in selection.most_variable[:TRANSFERRED] for row in transfer_rows(model, data, selection, name)]
    caption = (
        "The label's characteristic of the image at the top, transferred to the image at the left: it should look as at the "
        "top, everything else as at the left. Below an image at the top is its value. The labels are those whose appearance "
        "varies most."
    )
    if data.truth is not None:
        caption += " At the right, the true images, rendered with the same exchange."
    breaks = (1,) if data.truth is None else (1, 1 + SOURCES)
    return Figure("transfer", "Transfers", caption, grid(rows, tile=128, breaks=breaks))


def transfer_rows(model: CCVAE, data: Dataset, selection: FigureSelection, name: str) -> Iterator[Row]:
    """One label's transfers as a matrix: sources at the top, targets at the left."""
    column, known, truth = data.space.index(name), data.labels[selection.pool], data.truth
    label = data.space.labels[column]
    sources = selection.pool[sources_of(model, name, selection.latents, known, SOURCES)]
    targets = selection.pool[targets_of(data.space, name, known, TARGETS, selection.typical)]
    values = [label.decode(number) for number in data.labels[sources, column].tolist()]
    heading, below = padded(data.inputs[sources]), padded([value_text(value) for value in values], "")
    colors = padded([color_of(label, value) for value in values], "")
    twice = 1 if truth is None else 2
    yield Row(
        [None, *heading * twice],
        name,
        "from …",
        above=[] if truth is None else ["", *padded(["model"], ""), "truth"],
        below=["", *below * twice],
        colors=["", *colors * twice],
        apart=True,
    )
    for number, target in enumerate(targets.tolist()):
        moved = transfer(model, data.tensor(sources), data.tensor(np.full(len(sources), target)), [name])
        images = [data.inputs[target], *padded(to_pixels(moved))]
        if truth is not None:
            images += [truth.transfer(source, target, name) for source in sources.tolist()]
        yield Row(images, "", "… onto" if number == 0 else "")


def plane(model: CCVAE, data: Dataset, selection: FigureSelection, pair: tuple[str, str], steps: int = 7) -> Figure:
    """One image traversed along two labels at once."""
    images = traverse(model, data.tensor([selection.typical_row]), pair, steps)[0]
    down, across = ([f"{name}={value_text(value)}" for value in end_values(model.space[name])] for name in pair)
    rows = [
        Row(
            list(to_pixels(row)),
            {0: down[0], steps - 1: down[1]}.get(number, ""),
            above=(across[0], *[""] * (steps - 2), across[1]) if number == 0 else (),
        )
        for number, row in enumerate(images)
    ]
    caption = (
        f"One image while {pair[0]} changes from top to bottom and {pair[1]} from left to right: "
        "where labels are disentangled, each changes what it stands for, whatever the value of the other."
    )
    return Figure("plane", "Two labels at once", caption, grid(rows))


def attention(model: CCVAE, data: Dataset, selection: FigureSelection) -> Figure:
    """Attention of the encoder for each label."""
    names, shown = selection.labels[:ATTENDED], selection.rows[:ATTENDING]
    columns = [model.space.index(name) for name in names]
    x = data.tensor(shown)
    maps = model.attention(x)[:, columns]
    brightness = DARKEST + (1 - DARKEST) * maps / maps.amax((-2, -1), keepdim=True)
    lit = (x.to(maps)[:, None] * brightness[:, :, None]).cpu()
    rows = [
        Row([original, *to_pixels(images)], "", above=("", *names) if number == 0 else ())
        for number, (original, images) in enumerate(zip(data.inputs[shown], lit, strict=True))
    ]
    caption = (
        "Images, and where the encoder attends to for each label, whether the label is present or not: bright regions have the "
        "largest weights in the label's block."
    )
    return Figure("attention", "Where labels are seen", caption, grid(rows))


def another(label: Label, number: float, turn: int) -> Value | float:
    """A value other than the current one; of several classes, another one each turn."""
    if isinstance(label, Continuous):
        low, high = value_range(label)
        return low if number > label.mean else high
    if isinstance(label, Binary):
        return label.values[int(number < 0.5)]
    others = [value for value in label.values if value != label.decode(number)]
    return others[turn % len(others)]


def color_of(label: Label, value: Value | float) -> str:
    """Text color of a label's value: one for the first value, one for the last."""
    colors = {} if isinstance(label, Categorical) else dict(zip(end_values(label), (ORANGE, BLUE), strict=True))
    return colors.get(value, GREY)


def value_text(value: Value | float) -> str:
    """A value as text in figures."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interleaved(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Members of two sequences, alternating."""
    return [one for pair in zip(first, second, strict=True) for one in pair]


def padded(members: Sequence[Any] | np.ndarray, filling: Any = None) -> list[Any]:
    """Members extended to the number of sources."""
    return [*members, *[filling] * (SOURCES - len(members))]


def some_of(model: CCVAE, selection: FigureSelection) -> str:
    """Says so in a caption if not all labels are shown."""
    shown, count = len(selection.labels), len(model.space)
    return f" (the {shown} of {count} labels with the largest effect)" if shown < count else ""
