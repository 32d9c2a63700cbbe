"""Pages of HTML that need nothing but themselves: parts, pieces of HTML, and `page`, which puts them together."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

__all__ = ["cell_text", "figure_part", "page", "table_part", "text_part"]


def figure_part(path: Path) -> str:
    """A figure, with the title and the caption that its file bears.

    Args:
        path: a PNG file, drawn at twice the size at which it is to be seen.
    """
    with Image.open(path) as picture:
        width, height = picture.size
        told = {key: str(value) for key, value in picture.info.items() if isinstance(value, str)}
    title = told.get("Title", path.stem.replace("_", " ").replace("-", " ").capitalize())
    caption = told.get("Description", "")
    pixels = base64.b64encode(path.read_bytes()).decode()
    size = f'width="{width // 2}" height="{height // 2}" style="--width: {width // 2}px"'
    image = f'<img {size} alt="{escape(caption or title)}" src="data:image/png;base64,{pixels}">'
    sentence = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return text_part(title, f'<figure>{sentence}<div class="sheet">{image}</div></figure>')


def table_part(
    title: str, sentence: str, table: pd.DataFrame, digits: int = 3, bars: Sequence[str] = (), summary: bool = False
) -> str:
    """A table, its index first; numbers stand at the right, and what is not known is a dash.

    Args:
        title: what it is.
        sentence: how to read it.
        table: the table.
        digits: of its fractions, behind the point.
        bars: columns of shares that are shown with a bar.
        summary: whether the last row sums up the others.
    """
    frame = table.reset_index(names=table.index.name or "")
    numeric = {name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    head = "".join(f"<th{' class=number' if name in numeric else ''}>{escape(str(name))}</th>" for name in frame.columns)
    body = []
    for row in frame.to_dict("records"):
        cells = []
        for name, value in row.items():
            kinds = [kind for kind, holds in (("number", name in numeric), ("bar", name in bars)) if holds]
            share = f' style="--share: {100 * float(value):.1f}%"' if name in bars and not pd.isna(value) else ""
            cells.append(f'<td class="{" ".join(kinds)}"{share}>{escape(cell_text(value, digits))}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    rows = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    kind = ' class="summed"' if summary else ""
    told = f"<p>{escape(sentence)}</p>" if sentence else ""
    return text_part(title, f'{told}<div class="table"><table{kind}>{rows}</table></div>')


def text_part(title: str, content: str) -> str:
    """Any other part.

    Args:
        title: plain text.
        content: HTML, in which all text is escaped already.
    """
    anchor = re.sub(r"\W+", "-", title).strip("-").lower()
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{content}</section>'


def page(title: str, parts: Sequence[str], subtitle: str = "") -> str:
    """A whole page of HTML that needs no other file.

    Args:
        title: plain text.
        parts: what it shows, in order.
        subtitle: plain text.
    """
    headings = re.findall(r'^<section id="(.*?)"><h2>(.*?)</h2>', "\n".join(parts), re.MULTILINE)
    links = "\n".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading in headings)
    return PAGE.format(title=escape(title), subtitle=escape(subtitle), style=STYLE, links=links, sections="\n".join(parts))


def cell_text(value: Any, digits: int) -> str:
    """A cell of a table as people read it."""
    if not isinstance(value, str) and pd.isna(value):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.{digits}f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else str(value)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{subtitle}</p></header>
<nav>
{links}
</nav>
<main>
{sections}
</main>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #57606a; --page: #f6f7f9; --card: #fff; --line: #dfe3e8;
  --bar: #cfe2ff; --link: #1a5fd0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --soft: #9aa4b0; --page: #14171b; --card: #1c2127; --line: #323941; --bar: #1f3f6e; --link: #7fb2ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; -webkit-text-size-adjust: 100%; }
header, nav, main { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 48px; padding-bottom: 8px; }
h1 { margin: 0; font-size: 32px; line-height: 1.2; letter-spacing: -0.02em; overflow-wrap: anywhere; }
header p { margin: 8px 0 0; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; padding-top: 8px; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
section { margin: 32px 0; padding: 24px; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
h2 { margin: 0 0 6px; font-size: 20px; line-height: 1.3; letter-spacing: -0.01em; }
section p, figcaption { margin: 0 0 16px; max-width: 76ch; color: var(--soft); }
figure { margin: 0; }
.sheet { overflow-x: auto; background: #fff; border-radius: 8px; }
.sheet img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 15px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 28px 6px 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; }
.bar { min-width: 150px; background: no-repeat left / calc(100% - 22px) 22px
  linear-gradient(to right, var(--bar) var(--share, 0%), transparent 0); }
.summed tr:last-child td { font-weight: 600; }
summary { cursor: pointer; color: var(--soft); }
pre { margin: 12px 0 0; overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media (max-width: 720px) {
  header, nav, main { padding-left: 12px; padding-right: 12px; }
  header { padding-top: 28px; }
  h1 { font-size: 26px; }
  section { margin: 16px 0; padding: 16px; }
  .sheet img { max-width: none; width: min(var(--width), 820px); }
}
@media print { section { border: 0; padding: 0; break-inside: avoid; } }
"""
