"""A run's report: one page of HTML with figures, metrics and settings, which needs nothing but itself.

A page is made of parts, pieces of HTML that `figure_part`, `table_part` and `text_part` give; `page` puts them together.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ccvae.bound import bound
from ccvae.data.batches import SplitBatches
from ccvae.data.dataset import Dataset
from ccvae.figures import ORDER
from ccvae.labels import Continuous
from ccvae.model import CCVAE, evaluating
from ccvae.run import CONFIG, writing

__all__ = ["bound_table", "cell_text", "figure_part", "label_table", "page", "table_part", "text_part", "write_report"]


def write_report(
    folder: str | Path, model: CCVAE | None = None, data: Dataset | None = None, parts: Sequence[str] = ()
) -> Path:
    """Write a run's `report.html`: its figures, its metrics, and its settings.

    Args:
        folder: the run folder; its `figures/` are shown, those that `ccvae.figures` draws first.
        model: the run's model; without model and data, the report has no metrics.
        data: the run's data.
        parts: further parts, shown after the metrics.

    Returns:
        The page's file.
    """
    folder = Path(folder)
    figures = sorted((folder / "figures").glob("*.png"), key=lambda path: (place(path.stem), path.stem))
    shown = [figure_part(path) for path in figures]
    subtitle = ""
    if model is not None and data is not None:
        subtitle = described(model, data)
        shown += metrics_parts(model, data)
    shown += parts
    settings = folder / CONFIG
    if settings.exists():
        notes = "" if data is None else "".join(f"<p>{escape(note)}</p>" for note in data.notes)
        text = escape(settings.read_text(encoding="utf-8"))
        shown.append(text_part("Settings", f"{notes}<details><summary>{CONFIG}</summary><pre>{text}</pre></details>"))
    with writing(folder / "report.html") as path:
        path.write_text(page(folder.resolve().name, shown, subtitle), encoding="utf-8")
    return folder / "report.html"


# ---------------------------------------------------------------------- metrics


def metrics_parts(model: CCVAE, data: Dataset) -> list[str]:
    """Parts that show how well a model does on rows that it was not trained on."""
    held_out = [split for split in ("validation", "test") if len(data.splits[split])]
    if not held_out:
        return [text_part("Metrics", "<p>All rows were trained on; there is none to measure on.</p>")]
    sentence = (
        "Mean over the rows of a split, in nats; higher is better. The total is the lower bound on log p(x, y), the sum of "
        "the others; its size depends on the likelihood's scale, so compare runs on the same data and likelihood only."
    )
    parts = [table_part("The bound", sentence, bound_table(model, data, held_out), digits=1)]
    split = held_out[-1]
    table = label_table(model, data, split)
    shown = ["balanced accuracy", "accuracy", "majority", "labelled", "observed", "kind"]
    discrete = table.loc[table["kind"] != Continuous.kind, shown]
    numbers = table[table["kind"] == Continuous.kind][["labelled", "observed", "error", "error of the mean"]]
    if len(discrete):
        sentence = (
            f"On the {split} split. Accuracy is the share of rows on which the most probable value is the observed one; "
            "majority is what always saying the most frequent value would reach. Balanced accuracy counts all values alike: "
            "always saying the same would reach 1 divided by their number. Labelled: training rows that bear the label; "
            "observed: rows that it was measured on."
        )
        mean = pd.DataFrame(discrete[shown[:3]].mean().to_dict() | {"kind": ""}, index=["mean"])
        table = pd.concat([discrete.astype({"labelled": "Int64", "observed": "Int64"}), mean]).rename_axis("label")
        parts.append(table_part("Label accuracy", sentence, table, bars=shown[:2], summary=True))
    if len(numbers):
        sentence = (
            f"On the {split} split: mean absolute error of the predicted mean, in the label's own unit, beside that of "
            "always saying the mean of the labelled training rows."
        )
        parts.append(table_part("Numbers", sentence, numbers))
    return parts


def bound_table(model: CCVAE, data: Dataset, splits: Sequence[str] = ("validation", "test"), seed: int = 0) -> pd.DataFrame:
    """Mean of the bound and its terms, in nats a row.

    Args:
        model: the model.
        data: its data.
        splits: which splits; each needs rows.
        seed: of the sample of z that the reconstruction is estimated with.

    Returns:
        A row a split; columns "total" and the terms.
    """
    means = {}
    for split in splits:
        generator = torch.Generator(model.device).manual_seed(seed)
        sums: dict[str, float] = {}
        with evaluating(model), torch.no_grad():
            for x, y in SplitBatches(data, split):
                terms = bound(model, x.to(model.device), y.to(model.device), generator=generator).terms()
                sums = {name: sums.get(name, 0.0) + float(term.double().sum()) for name, term in terms.items()}
        means[split] = {name: total / len(data.splits[split]) for name, total in sums.items()}
    return pd.DataFrame.from_dict(means, orient="index").rename_axis("split")


def label_table(model: CCVAE, data: Dataset, split: str = "test") -> pd.DataFrame:
    """How well every label is predicted.

    Args:
        model: the model.
        data: its data.
        split: which rows to measure on.

    Returns:
        A row a label, with columns "kind"; "labelled", how many training rows bear it; "observed", how many rows of the
        split; "majority", the share of its most frequent value in the split; "accuracy" and "balanced accuracy"; and for
        numbers "error", the mean absolute error, and "error of the mean", that of the mean of p(y). NaN where a column is
        not about the label, or nothing was observed.
    """
    predicted = np.concatenate(
        [model.space.encode(model.predict(x)) for x, _ in SplitBatches(data, split)] or [data.labels[:0]]
    )
    known, trained = data.labels[data.splits[split]], data.labels[data.splits["train"]]
    rows = []
    for column, label in enumerate(model.space):
        observed = ~np.isnan(known[:, column])
        row: dict[str, Any] = {
            "label": label.name,
            "kind": label.kind,
            "labelled": int((~np.isnan(trained[:, column])).sum()),
            "observed": int(observed.sum()),
        }
        row |= dict.fromkeys(("majority", "accuracy", "balanced accuracy", "error", "error of the mean"), math.nan)
        target, guess = (torch.tensor(each[observed, column]) for each in (known, predicted))
        if not len(target):
            pass
        elif isinstance(label, Continuous):
            row["error"] = float((guess - target).abs().mean())
            row["error of the mean"] = float((label.mean - target).abs().mean())
        else:
            row |= accuracies(guess.long(), target.round().long(), len(label.values))
        rows.append(row)
    return pd.DataFrame(rows).set_index("label")


def accuracies(guess: Tensor, target: Tensor, values: int) -> dict[str, float]:
    """Accuracy, balanced accuracy, and the share of the most frequent value."""
    from torchmetrics.functional.classification import multiclass_accuracy

    counts = target.bincount(minlength=values)
    recalls = multiclass_accuracy(guess, target, values, average="none")
    return {
        "majority": float(counts.max() / len(target)),
        "accuracy": float(multiclass_accuracy(guess, target, values, average="micro")),
        # torchmetrics' own mean counts values that do not occur but were guessed, with a recall of zero
        "balanced accuracy": float(recalls[counts > 0].mean()),
    }


def described(model: CCVAE, data: Dataset) -> str:
    """A run in a line."""
    train = data.labels[data.splits["train"]]
    bearing = int((~np.isnan(train)).any(axis=1).sum())
    shape = "×".join(map(str, model.input_shape[1:] or model.input_shape))
    facts = (
        data.name,
        f"{len(train):,} training rows, {'all' if bearing == len(train) else f'{bearing:,}'} with labels",
        f"{len(model.space)} label{'s' if len(model.space) > 1 else ''}",
        f"pictures of {shape}" if len(model.input_shape) == 3 else f"{shape} features",
        f"{model.config.latent_dim} latents",
        f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters",
    )
    return " · ".join(facts)


# ---------------------------------------------------------------------- parts of a page


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


def place(name: str) -> int:
    """Where a figure stands among others."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


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
