"""HTML pages that need no other file: Jinja2 templates with autoescape, one style sheet, images inlined.

A page is a list of `Section`s. Templates lie in the `templates` folder of the package that uses them and are named by their
path below `ccvae`, for example "evaluation/templates/summary.html". Text is escaped automatically; only `Markup` (what
`render` returns) is inserted as HTML.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

__all__ = [
    "Section",
    "cell_text",
    "figure_section",
    "inline_image",
    "page",
    "paragraphs",
    "png_url",
    "render",
    "table",
    "table_section",
]


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Args:
        title: plain text, shown as the heading and in the page's list of links.
        content: HTML from `render`, or plain text, which is escaped.
    """

    title: str
    content: Markup | str

    @property
    def anchor(self) -> str:
        """The id that links point to."""
        return re.sub(r"\W+", "-", self.title).strip("-").lower()


@cache
def environment() -> Environment:
    """The Jinja2 environment of all templates: everything is escaped, and an undefined variable is an error."""
    found = Environment(
        loader=PackageLoader("ccvae", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.globals["png_url"] = png_url
    return found


def render(template: str, /, **values: Any) -> Markup:
    """Fill in a template.

    Args:
        template: path below `ccvae`, such as "drawing/templates/table.html".
        values: the template's variables.

    Raises:
        jinja2.UndefinedError: a variable of the template has no value.

    Example:
        >>> render("drawing/templates/paragraphs.html", sentences=["a < b"])
        Markup('<p>a &lt; b</p>\\n')
    """
    return Markup(environment().get_template(template).render(**values))


def page(title: str, sections: Sequence[Section], subtitle: str = "") -> str:
    """A complete HTML page.

    Args:
        title: plain text.
        sections: the content in order.
        subtitle: plain text, shown below the title.
    """
    return str(render("drawing/templates/page.html", title=title, subtitle=subtitle, sections=sections))


def paragraphs(sentences: Sequence[str]) -> Markup:
    """Plain texts as paragraphs."""
    return render("drawing/templates/paragraphs.html", sentences=sentences)


# ---------------------------------------------------------------------- images


def figure_section(path: Path) -> Section:
    """A figure with the title and caption stored in its file.

    Args:
        path: PNG file, drawn at twice the size at which it should be seen. Without a stored title, the file's name is used.
    """
    with Image.open(path) as image:
        width, height = image.size
        stored = {key: str(value) for key, value in image.info.items() if isinstance(value, str)}
    title = stored.get("Title", path.stem.replace("_", " ").replace("-", " ").capitalize())
    content = render(
        "drawing/templates/figure.html",
        caption=stored.get("Description", ""),
        title=title,
        width=width // 2,
        height=height // 2,
        url=png_url(path.read_bytes()),
    )
    return Section(title, content)


def inline_image(pixels: np.ndarray, height: int = 96, alt: str = "") -> Markup:
    """An `<img>` with the pixels inside it; small images are enlarged by a whole factor.

    Args:
        pixels: uint8 `(height, width, channels)` with one or three channels.
        height: smallest height on the page, in CSS pixels.
        alt: description for readers who cannot see it.
    """
    factor = max(1, height // pixels.shape[0])
    image = Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)
    content = io.BytesIO()
    image.save(content, "PNG")
    return render("drawing/templates/image.html", url=png_url(content.getvalue()), width=image.width * factor, alt=alt)


def png_url(content: bytes) -> str:
    """A PNG file as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


# ---------------------------------------------------------------------- tables


def table_section(title: str, sentence: str, frame: pd.DataFrame, **options: Any) -> Section:
    """A table with a sentence above it.

    Args:
        title: plain text.
        sentence: how to read the table; plain text.
        frame: the table, see `table`.
        options: further arguments of `table`.
    """
    return Section(title, paragraphs([sentence] if sentence else []) + table(frame, **options))


def table(
    frame: pd.DataFrame,
    digits: int = 3,
    bars: Sequence[str] = (),
    numbers: Sequence[str] | None = None,
    summary: bool = False,
) -> Markup:
    """A table, index first. Numbers are aligned right; missing values are shown as a dash.

    Args:
        frame: the table. Values may be `Markup`.
        digits: decimals of floats.
        bars: columns with values in [-1, 1] that get a bar of that length behind the number.
        numbers: columns that are aligned right; by default those of a numeric type.
        summary: whether the last row summarizes the others.
    """
    frame = frame.reset_index(names=frame.index.name or "")
    if numbers is None:
        numbers = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    rows = [
        [
            {"text": cell_text(value, digits), "number": name in numbers, "share": bar_share(value) if name in bars else None}
            for name, value in row.items()
        ]
        for row in frame.to_dict("records")
    ]
    head = [{"text": str(name), "number": name in numbers} for name in frame.columns]
    return render("drawing/templates/table.html", head=head, rows=rows, summary=summary)


def bar_share(value: Any) -> float | None:
    """Length of a bar in percent."""
    return None if pd.isna(value) else 100 * min(abs(float(value)), 1)


def cell_text(value: Any, digits: int) -> str | Markup:
    """A table cell as text: thousands separators, a fixed number of decimals, a dash for a missing value."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.{digits}f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else str(value)
