"""Drawing of avatars: from a recipe to pixels, and whole data sets of them on all cores.

DiceBear checks and builds a face's SVG in about 2 ms. The quick way asks it once for every variant of every component, by
itself, and puts faces together from these layers; both ways draw the same pixels.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ccvae.data.synthetic_faces.parts import AvatarStyle
from ccvae.data.synthetic_faces.recipes import Recipe, sample_recipe
from ccvae.data.synthetic_faces.styles import STYLES
from ccvae.distributed.worker_processes import messages_of_workers

__all__ = ["DRAWING_VERSION", "draw", "draw_data_set"]

DRAWING_VERSION = 1
"""To be raised when a change here, or in how recipes are sampled, alters faces: old caches are then not taken for new."""

SMALL = 64
FACES_PER_MESSAGE = 50
"""Faces after which a worker process reports its progress."""
SVG_OF_DICEBEAR = re.compile(
    r'<svg xmlns="[^"]*" viewBox="[^"]*"(?P<attributes>[^>]*)>.*</metadata>'
    r'<defs>(?P<definitions>.*)<clipPath id="clip-[^"]*"><rect [^>]*/></clipPath></defs>'
    r'<g clip-path="url\(#clip-[^"]*\)">(?P<body>.*)</g></svg>',
    re.DOTALL,
)


def draw(recipe: Recipe, size: int) -> np.ndarray:
    """Picture of a recipe.

    Args:
        recipe: what to draw.
        size: height and width in pixels.

    Returns:
        uint8 `(size, size, 3)`.
    """
    canvas = canvas_in_layers(recipe.style)
    return rasterised(svg_by_dicebear(recipe) if canvas is None else svg_from_layers(recipe, canvas), size)


def rasterised(svg: str, size: int) -> np.ndarray:
    """Pixels of an SVG that has no size of its own, uint8 `(size, size, 3)`."""
    from pillow_lunasvg import SvgImageFile

    # in a small picture the seams between shapes that share an edge show; a mean over finer pixels hides them
    finer = 2 if size <= SMALL else 1
    sized = svg.replace("<svg ", f'<svg width="{finer * size}" height="{finer * size}" ', 1)
    with SvgImageFile(io.BytesIO(sized.encode())) as picture:
        return np.asarray(picture.convert("RGB").reduce(finer))


# ------------------------------------------------------------------------------------------------- the slow, public way


def svg_by_dicebear(recipe: Recipe) -> str:
    """SVG of a recipe, all of it by DiceBear but for the square that shows."""
    from dicebear import Avatar

    options: dict[str, Any] = {"rotate": recipe.rotation, **all_colours(recipe)}
    for part in STYLES[recipe.style].parts:
        if part.option.endswith("Variant"):
            variant = recipe.choice(part)
            options[part.option.replace("Variant", "Probability")] = 100 if variant else 0
            if variant:
                options[part.option] = variant
    svg = str(Avatar(dicebear_style(recipe.style), options))
    return re.sub(r'viewBox="[^"]*"', f'viewBox="{view_box(recipe)}"', svg, count=1)


@cache
def dicebear_style(name: str) -> Any:
    """DiceBear's object for one of our styles."""
    from dicebear import Style

    return Style(STYLES[name].definition())


def all_colours(recipe: Recipe) -> dict[str, str]:
    """Every colour by DiceBear's option, also of what is not drawn."""
    style = STYLES[recipe.style]
    colours = {part.option: recipe.choice(part) for part in style.parts if part.option.endswith("Color")}
    return colours | {other: colours[own] for other, own in style.same_colours.items()}


def view_box(recipe: Recipe) -> str:
    """The square that shows, as an SVG says it."""
    left, top, side = recipe.box
    return f"{left} {top} {side} {side}"


# ------------------------------------------------------------------------------------------------------- the quick way


@dataclass(frozen=True)
class Layer:
    """One component of a style, or one of the shapes that all its faces have.

    Args:
        option: DiceBear's option of the component's variant; "" for a shape that all faces have.
        drawn: by variant, the SVG of its definitions and of its body, with colours written as "{hairColor}".
    """

    option: str
    drawn: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Canvas:
    """A style cut into layers, the lowest first; `attributes` are those of the whole SVG, `side` is in its units."""

    attributes: str
    side: int
    layers: tuple[Layer, ...]


def svg_from_layers(recipe: Recipe, canvas: Canvas) -> str:
    """SVG of a recipe, put together from layers."""
    variants = {"": "", **recipe.parts}
    chosen = [layer.drawn[variants[layer.option]] for layer in canvas.layers if layer.option in variants]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view_box(recipe)}"{canvas.attributes}>'
        f"<defs>{''.join(definitions for definitions, _ in chosen)}</defs>"
        f'<rect width="{canvas.side}" height="{canvas.side}" fill="{{backgroundColor}}"/>'
        f'<g transform="rotate({recipe.rotation}, {canvas.side / 2}, {canvas.side / 2})">'
        f"{''.join(body for _, body in chosen)}</g></svg>"
    )
    for option, colour in all_colours(recipe).items():
        svg = svg.replace(f"{{{option}}}", colour)
    return svg


@cache
def canvas_in_layers(name: str) -> Canvas | None:
    """One of our styles in layers, or None, and a warning, where DiceBear's SVG is not of the form that we can cut."""
    try:
        return cut_into_layers(STYLES[name])
    except ValueError as error:
        warnings.warn(
            f"{error}, so faces are drawn slowly; install the versions of DiceBear that ccvae asks for",
            stacklevel=3,
        )
        return None


def cut_into_layers(style: AvatarStyle) -> Canvas:
    """A style in layers; raises `ValueError` where DiceBear's SVG is not of the form that we can cut."""
    definition = style.definition()
    variants = {part.option: [choice for choices in part.choices for choice in choices] for part in style.parts}
    stand_ins = {f"{colour}Color": f"#fe{place:02x}fe" for place, colour in enumerate(definition["colors"])}
    if any(colour in json.dumps(definition).lower() for colour in stand_ins.values()):
        raise ValueError(f"the drawings of {style.name} have one of the colours {', '.join(stand_ins.values())}")
    attributes, layers = "", []
    for shape in definition["canvas"]["elements"]:
        option = f"{shape['name']}Variant" if shape["type"] == "component" else ""
        drawn = {}
        for variant, svg in svgs_of_layer(definition, shape, variants.get(option, [""]), stand_ins):
            cut = SVG_OF_DICEBEAR.fullmatch(svg)
            if cut is None:
                raise ValueError(f"this version of DiceBear writes {style.name} in a form not known here")
            attributes = cut["attributes"]
            drawn[variant] = (cut["definitions"], cut["body"])
        layers.append(Layer(option, drawn))
    return Canvas(attributes, definition["canvas"]["width"], tuple(layers))


def svgs_of_layer(
    definition: dict[str, Any], shape: dict[str, Any], variants: list[str], stand_ins: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """DiceBear's SVGs of nothing but one shape of the canvas, one a variant, with colours written as "{hairColor}"."""
    from dicebear import Avatar, Style

    name = shape["name"]
    components = {}
    if shape["type"] == "component":
        whole = definition["components"][name]
        components = {name: {**whole, "variants": {variant: whole["variants"][variant] for variant in variants}}}
    alone = Style({**definition, "canvas": {**definition["canvas"], "elements": [shape]}, "components": components})
    for variant in variants:
        chosen = {f"{name}Variant": variant, f"{name}Probability": 100} if variant else {}
        svg = str(Avatar(alone, {**chosen, **stand_ins}))
        for option, colour in stand_ins.items():
            svg = svg.replace(colour, f"{{{option}}}")
        yield variant, svg


# ------------------------------------------------------------------------------------------------------ whole data sets


def draw_data_set(folder: Path, style: AvatarStyle, size: int, seed: int, count: int, processes: int) -> None:
    """Draw faces 0 to `count`, into the files images.npy, labels.npy and variants.npy of a folder.

    Args:
        folder: where to.
        style: what to draw from.
        size: height and width in pixels.
        seed: of the whole data set.
        count: how many faces.
        processes: how many to draw with; the faces do not depend on it.

    Raises:
        RuntimeError: a process failed.
    """
    for name, shape, kind in (
        ("images", (count, size, size, 3), np.uint8),
        ("labels", (count, len(style.labels)), np.uint8),
        ("variants", (count, len(style.labels)), np.int8),
    ):
        # zeros that are really written: on a full disk this raises, where a memory map would kill the process
        np.save(folder / f"{name}.npy", np.zeros(shape, kind))
    bounds = np.linspace(0, count, processes + 1).astype(int).tolist()
    requests = [(str(folder), style.name, size, seed, start, stop) for start, stop in pairwise(bounds)]
    with tqdm(total=count, desc=f"drawing {count:,} faces, once", unit=" faces", disable=None) as bar:
        for drawn in draw_rows(*requests[0]) if processes == 1 else drawn_by_processes(requests):
            bar.update(drawn)


def draw_rows(folder: str, style: str, size: int, seed: int, start: int, stop: int) -> Iterator[int]:
    """Draw some of the faces into a folder's files; yields now and then how many more there are."""
    images, labels, variants = (
        np.load(Path(folder) / f"{name}.npy", mmap_mode="r+") for name in ("images", "labels", "variants")
    )
    names = STYLES[style].variant_names
    for row in range(start, stop):
        recipe = sample_recipe(STYLES[style], seed, row)
        shown = recipe.variants
        images[row] = draw(recipe, size)
        labels[row] = list(recipe.labels.values())
        variants[row] = [choices.index(shown[label]) if label in shown else -1 for label, choices in names.items()]
        yield 1
    for array in (images, labels, variants):
        array.flush()


def faces_drawn(request: Sequence[Any]) -> Iterator[bytes]:
    """In a worker: draw the faces of one request to `draw_rows`; messages are numbers of faces drawn since the last one."""
    drawn = 0
    for _ in draw_rows(*request):
        drawn += 1
        if drawn == FACES_PER_MESSAGE:
            yield str(drawn).encode()
            drawn = 0
    yield str(drawn).encode()


def drawn_by_processes(requests: list[tuple[str, str, int, int, int, int]]) -> Iterator[int]:
    """Draw the faces of each request to `draw_rows` in a process of its own; yields how many more have been drawn."""
    try:
        for message in messages_of_workers(faces_drawn, requests):
            yield int(message)
    except ChildProcessError as error:
        raise RuntimeError(f"a process that draws faces failed (processes=1 needs none): {error}") from None
