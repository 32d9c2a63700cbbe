"""The model card of a run: a Markdown page on what a model is, what was measured of it, and its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ccvae.config import check_input_shape
from ccvae.labels import Binary, Categorical, Label, LabelSpace
from ccvae.labels.cells import first_few
from ccvae.model.inputs.column_kinds import Category, Column
from ccvae.model.inputs.dates import Date
from ccvae.model.inputs.format import InputFormat
from ccvae.storage.files import is_there
from ccvae.storage.hub import is_address
from ccvae.storage.metrics import find, interval, read_metrics
from ccvae.storage.run_folder import (
    CALIBRATION,
    CONFIG,
    INPUTS,
    hash_of_weights,
    read_entries,
    read_labels,
    read_settings,
    read_table,
)

__all__ = ["model_card"]

PAPER = "wQRlSUZ5V7B"
MOST_VALUES_SHOWN = 12
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,50}")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
"""Characters that mean something in Markdown."""


def model_card(
    run: Path,
    address: str | None = None,
    license: str | None = None,
    unmeasured: bool = False,
    weights: Path | None = None,
) -> str:
    """The model card of a run folder, as Markdown with the metadata that the Hugging Face Hub reads.

    Args:
        run: the run folder, evaluated.
        address: what the card's example loads, such as "hf://user/name"; the folder's name if not given.
        license: license of the weights, as an SPDX identifier such as "mit" or "cc-by-4.0"; the card says if none is stated.
        unmeasured: whether a run without `metrics.json` gets a card that says so.
        weights: folder with the weights that the card is about; the run folder if not given.

    Raises:
        ValueError: the folder is no run folder, has no metrics or those of other weights, or a file in it is damaged; or the
            license is no identifier.
    """
    run = Path(run)
    settings, space = read_settings(run), read_labels(run)
    try:
        shape = check_input_shape(settings.get("input_shape") or ())
    except ValueError as error:
        raise ValueError(f"{run / CONFIG}: {error}") from None
    if license is not None and not LICENSE.fullmatch(license):
        raise ValueError(f"license: expected an identifier such as mit, apache-2.0 or cc-by-4.0, found {license!r}")
    metrics = metrics_of(run, weights or run, unmeasured)
    image = len(shape) == 3
    columns = input_columns(run, shape)
    name = (address or run.resolve().name).rpartition("/")[2].partition("@")[0]
    about = {} if metrics is None else metrics["data"]
    return (
        environment()
        .get_template("model/templates/card.md")
        .render(
            front_matter=Markup(front_matter(name, image, license, metrics)),
            name=name,
            version=str(settings.get("ccvae", "of an unknown version")),
            inputs=described_inputs(shape),
            things="images" if image else "rows",
            thing="an image" if image else "a row",
            install=Markup("pip install 'ccvae[hub]'" if address and is_address(address) else "pip install ccvae"),
            examples=list(map(Markup, example_lines(address or run.resolve().name, space, image, bool(columns)))),
            labels=[row_of(label) for label in space],
            columns=[row_of_column(column) for column in columns],
            components=components_of(settings),
            data=data_sentences(run, settings, about),
            metrics=None if metrics is None else groups_of(metrics["summary"]),
            oracle=metrics is not None and any("oracle" in str(row["meaning"]) for row in metrics["summary"]),
            rows=f"{about.get('rows', 0):,}",
            split=about.get("split", ""),
            trained_on=about.get("split") == "train",
            data_name=about.get("name", ""),
            limits=limit_sentences(run, space, metrics, image),
            license="Its author has stated no license." if license is None else f"The weights are under {license}.",
        )
    )


def metrics_of(run: Path, weights: Path, unmeasured: bool) -> dict[str, Any] | None:
    """A run's metrics, of the weights in a folder; None if it has none and that is allowed."""
    if is_there(run / "metrics.json"):
        found = read_metrics(run)
        measured = find(found, "model.weights")
        if measured is not None and measured != hash_of_weights(weights):
            raise ValueError(
                f"{run / 'metrics.json'} was measured with other weights; evaluate these first: ccvae evaluate {run}"
            )
        return found
    if unmeasured:
        return None
    raise ValueError(
        f"{run} has no metrics.json, so its card could not say how well it works; evaluate the run first: ccvae evaluate "
        f"{run}; or add --unmeasured, in Python unmeasured=True, for a card that says so"
    )


def front_matter(name: str, image: bool, license: str | None, metrics: Mapping[str, Any] | None) -> str:
    """The metadata that the Hub reads: https://huggingface.co/docs/hub/model-cards."""
    task = "image-classification" if image else "tabular-classification"
    found: dict[str, Any] = {"library_name": "ccvae", "pipeline_tag": task}
    if license is not None:
        found["license"] = license.lower()
    found["tags"] = ["ccvae", "variational-autoencoder", "semi-supervised", "missing-labels", f"openreview:{PAPER}"]
    if metrics is not None and metrics["summary"]:
        about = metrics["data"]
        measured = [
            {"type": row["path"], "name": row["title"], "value": row["value"]}
            for row in metrics["summary"]
            if row["group"] == "Classification"
        ]
        data = {"name": about["name"], "type": about["name"], "split": about["split"]}
        found["model-index"] = [{"name": name, "results": [{"task": {"type": task}, "dataset": data, "metrics": measured}]}]
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def described_inputs(shape: Sequence[int]) -> str:
    """Inputs of a shape in words."""
    if len(shape) == 3:
        return f"{'gray' if shape[0] == 1 else 'color'} images of {shape[1]} × {shape[2]} pixels"
    return f"rows of {shape[0]:,} numbers"


def input_columns(run: Path, shape: tuple[int, ...]) -> Sequence[Column]:
    """The columns that a model of a table reads; none for images and vectors."""
    entries = read_entries(run, INPUTS)
    if entries is None:
        return ()
    columns = InputFormat.from_entries(entries, shape, str(run / INPUTS)).columns
    return () if columns is None else columns.columns


def row_of_column(column: Column) -> dict[str, str]:
    """What the table of input columns says of one."""
    if isinstance(column, Category):
        return {"name": column.name, "kind": "category", "takes": some_values(column.values)}
    if isinstance(column, Date):
        return {"name": column.name, "kind": "date", "takes": "such as 2024-05-17"}
    takes = f"mean {column.mean:.4g}, standard deviation {column.scale:.4g}"
    return {"name": column.name, "kind": "number", "takes": takes}


def some_values(values: Sequence[Any]) -> str:
    """Values in a line, of which only the first are named if they are many."""
    more = len(values) - MOST_VALUES_SHOWN
    return ", ".join(map(str, values[:MOST_VALUES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def groups_of(summary: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of a summary, with their intervals, by group in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in summary:
        found.setdefault(str(row["group"]), []).append({**row, "value": Markup(interval(row, row["digits"]))})
    return list(found.items())


def example_lines(address: str, space: LabelSpace, image: bool, table: bool) -> list[str]:
    """Python code that uses a model: every name in it is defined."""
    change = literal(example_of(space))
    if image:
        name, given = "images", 'images = "my_images"  # a folder; or image files, PIL images, arrays or tensors'
    elif table:
        name, given = "rows", 'rows = pd.read_csv("new.csv")  # a DataFrame with the columns below'
    else:
        name, given = "rows", "rows = model.generate(4)  # yours: tensors (rows, features) as in training"
    return [
        *(["import pandas as pd", ""] if table else []),
        "import ccvae",
        "",
        f"model = ccvae.load({literal(address)})",
        "model.space  # the labels",
        given,
        f"model.predict_proba({name})",
        f"model.generate(16, {change}, seed=0)",
        f"model.intervene({name}, {change})",
    ]


def example_of(space: LabelSpace) -> dict[str, Any]:
    """Conditions that show how labels are given: a value of the first label."""
    label = next(iter(space))
    if isinstance(label, Binary):
        return {label.name: 1}
    return {label.name: label.values[0] if isinstance(label, Categorical) else round(label.mean, 2)}


def row_of(label: Label) -> dict[str, str]:
    """What the table of labels says of one."""
    if isinstance(label, Binary):
        values, prior = f"{label.values[0]} or {label.values[1]}", f"{label.prior:.3g} present"
    elif isinstance(label, Categorical):
        values = some_values(label.values)
        prior = f"{min(label.prior):.3g} to {max(label.prior):.3g}" if label.prior else "equal"
    else:
        values, prior = "any number", f"mean {label.mean:.4g}, standard deviation {label.scale:.4g}"
    return {"name": label.name, "kind": label.kind, "takes": values, "prior": prior}


def components_of(settings: Mapping[str, Any]) -> int:
    """Number of components of each p(z_i|y_i); settings may be anything."""
    model = settings.get("model")
    count = model.get("prior_components") if isinstance(model, dict) else None
    return count if type(count) is int else 1


def data_sentences(run: Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """What is known of the data and the training."""
    found = [f"Data: {about['name']}."] if about else []
    found += split_sentences(run)
    training = settings.get("training")
    if isinstance(training, dict):
        wanted = ("epochs", "batch_size", "estimator", "precision", "seed")
        found.append("Training: " + ", ".join(f"{name} {training[name]}" for name in wanted if name in training) + ".")
    found.append("Data are not part of this repository.")
    return found


def split_sentences(run: Path) -> list[str]:
    """Rows of every split and how many of them have labels, from `splits.csv`; nothing if the run has none."""
    if not is_there(run / "splits.csv"):
        return []
    table = read_table(run, "splits.csv", ("split", "labelled"), dtype=str, keep_default_na=False)
    rows = table.groupby("split", sort=False)["labelled"]
    counts = [f"{name} {len(part):,} ({int((part == 'True').sum()):,} with labels)" for name, part in rows]
    return [f"Rows: {', '.join(counts)}."]


def limit_sentences(run: Path, space: LabelSpace, metrics: Mapping[str, Any] | None, image: bool) -> list[str]:
    """Limits that follow from what the run has and was measured on, and those of every such model."""
    found = []
    if metrics is not None:
        weak = [
            label.name
            for label in space
            if (
                not_above(metrics, label, "balanced_accuracy", 1 / len(label.values))
                if isinstance(label, Binary | Categorical)
                else not_above(metrics, label, "r2", 0.0)
            )
        ]
        if weak:
            found.append(f"Predictions of {first_few(weak)} are not better than chance within the measured interval.")
        skipped = metrics.get("skipped")
        if isinstance(skipped, dict):
            found += [f"Not measured: {name} ({reason})." for name, reason in skipped.items()]
        found.append("The numbers are of the data named above; on data from elsewhere they can be worse. Measure before use.")
    if read_entries(run, CALIBRATION) is None:
        found.append("Probabilities are not calibrated: there were no validation rows with labels.")
    else:
        found.append("Probabilities are calibrated on the validation rows of these data only.")
    found.append(
        "Changing a label shows what goes with that label in the training data. It says nothing about causes, and what "
        "occurs together with a label there may change with it."
    )
    found.append(f"A generated {'image' if image else 'row'} is no observation, and must not be taken for one.")
    return found


def not_above(metrics: Mapping[str, Any], label: Label, name: str, chance: float) -> bool:
    """Whether a label's metric may be chance or less: the lower end of its interval is."""
    labels = find(metrics, "classification.labels")
    # a label's name may contain dots
    low = find(labels[label.name], f"{name}.low") if isinstance(labels, Mapping) and label.name in labels else None
    return isinstance(low, int | float) and low <= chance


def literal(value: Any) -> Markup:
    """A value as Python code within a code block: nothing in it ends the block."""
    return Markup(ascii(value).replace("`", "\\x60"))


def plain(value: Any) -> str:
    """A value as text in which Markdown finds no markup."""
    if isinstance(value, Markup):
        return str(value)
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


@cache
def environment() -> Environment:
    """The Jinja2 environment of cards: every value is escaped for Markdown, and an undefined variable is an error."""
    return Environment(
        loader=PackageLoader("ccvae", "."),
        autoescape=False,
        finalize=plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
