import base64
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from ccvae.drawing.html import Section, figure_section, page, table_section
from ccvae.drawing.image_grid import write_png
from ccvae.labels import Binary, Categorical, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.reports.figures import draw_all
from ccvae.reports.report import bound_table, label_table, write_report
from conftest import squares

VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """What a page holds, checked for tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.alts: list[str] = []
        self.ids: list[str] = []
        self.cells: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        self.ids += [value for name, value in attributes if name == "id"]
        self.alts += [value for name, value in attributes if name == "alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)
        if self.open and self.open[-1] != "style":
            self.words += data


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(trained, data, tmp_path_factory):
    model, run = trained
    folder = tmp_path_factory.mktemp("runs") / "a <b>run & more"
    (folder / "figures").mkdir(parents=True)
    for name in ("config.yaml", "metrics.csv"):
        (folder / name).write_bytes((run / name).read_bytes())
    figures = draw_all(model, data, folder)
    return write_report(folder, model, replace(data, notes=("Read <all> of it.",))), figures


def test_the_page_needs_nothing_but_itself(report):
    path, figures = report
    found = read(path)
    links = [place for place in found.loaded if place.startswith("#")]
    assert {link.removeprefix("#") for link in links} == set(found.ids), "a link to every section"
    pictures = [place for place in found.loaded if place not in links]
    assert all(place.startswith("data:image/png;base64,") for place in pictures)
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert "url(" not in path.read_text()
    assert "@import" not in path.read_text()
    shown = [base64.b64decode(place.partition(",")[2]) for place in pictures]
    assert shown == [figure.read_bytes() for figure in figures], "in the order in which to look at them"
    assert len(found.alts) == len(figures)


def test_the_page_says_what_was_run(report):
    path, figures = report
    found = read(path)
    assert "a <b>run & more" in found.words
    assert "squares" in found.words
    assert "160 training rows" in found.words
    assert "latent_dim: 12" in found.words
    assert "Read <all> of it." in found.words
    assert "prefers-color-scheme: dark" in path.read_text()
    for figure in figures:
        with Image.open(figure) as picture:
            assert picture.info["Title"] in found.words
            assert picture.info["Description"] in found.words
    assert {"bright", "corner", "side", "validation", "test"} <= set(found.cells)


def test_label_table(trained, data):
    model, _ = trained
    table = label_table(model, data)
    test, train = data.splits["test"], data.splits["train"]
    predicted = model.space.encode(model.predict(data.tensor(test)))
    assert table["labelled"].tolist() == (~np.isnan(data.labels[train])).sum(0).tolist()
    for column, name in enumerate(("bright", "corner")):
        seen = ~np.isnan(data.labels[test, column])
        truth, guess = data.labels[test, column][seen], predicted[seen, column]
        row = table.loc[name]
        assert row["observed"] == seen.sum()
        assert row["accuracy"] == pytest.approx(accuracy_score(truth, guess))
        assert row["balanced accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
        assert row["majority"] == pytest.approx(np.bincount(truth.astype(int)).max() / len(truth))
        assert math.isnan(row["error"])
    side = data.labels[test, 2]
    assert table.loc["side", "error"] == pytest.approx(np.nanmean(np.abs(predicted[:, 2] - side)), rel=1e-4)
    assert table.loc["side", "error of the mean"] == pytest.approx(
        np.nanmean(np.abs(model.space["side"].mean - side)), rel=1e-4
    )
    assert table.loc["side", "error"] < table.loc["side", "error of the mean"]
    assert math.isnan(table.loc["side", "accuracy"])


def test_label_table_where_nothing_is_observed(trained, data):
    model, _ = trained
    labels = data.labels.copy()
    labels[data.splits["test"], 0] = np.nan
    row = label_table(model, replace(data, labels=labels)).loc["bright"]
    assert row["observed"] == 0
    assert math.isnan(row["accuracy"])


def test_bound_table(trained, data):
    model, _ = trained
    table = bound_table(model, data)
    assert table.index.tolist() == ["validation", "test"]
    np.testing.assert_allclose(table["total"], table.drop(columns="total").sum(axis=1), rtol=1e-5)
    rows = data.splits["test"]
    with torch.no_grad():
        expected = bound(model, data.tensor(rows), torch.tensor(data.labels[rows]), generator=torch.Generator().manual_seed(0))
    for name, term in expected.terms().items():
        assert table.loc["test", name] == pytest.approx(float(term.mean()), rel=1e-4)
    assert bound_table(model, data).equals(table)
    assert not model.training


def test_without_rows_to_measure_on(trained, data, tmp_path):
    model, _ = trained
    none = np.array([], dtype=int)
    found = read(write_report(tmp_path, model, replace(data, splits={**data.splits, "test": none})))
    assert "On the validation split" in found.words
    found = read(write_report(tmp_path, model, replace(data, splits={**data.splits, "test": none, "validation": none})))
    assert "there are none to measure on" in found.words


def test_without_a_model_and_with_sections_of_others(tmp_path):
    write_png(tmp_path / "figures" / "zebra-crossing.png", Image.new("RGB", (8, 6)), "", "")
    write_png(tmp_path / "figures" / "plane.png", Image.new("RGB", (8, 6)), "A plane", "Flies.")
    Image.new("RGB", (8, 6)).save(tmp_path / "figures" / "apple_pie.png")
    found = read(write_report(tmp_path, sections=[Section("Mine & yours", "ours < theirs")]))
    assert [found.words.index(words) for words in ("A plane", "Apple pie", "Mine & yours", "ours < theirs")] == sorted(
        found.words.index(words) for words in ("A plane", "Apple pie", "Mine & yours", "ours < theirs")
    )
    assert "Settings" not in found.words
    assert len(found.alts) == 3


def test_labels_with_names_like_html(tmp_path):
    whole = squares(120, hidden=0)
    space = LabelSpace((Binary("<b>bold & bad"), Categorical("c\"'", ("<x>", "y&", "z")), whole.space.labels[2]))
    data = replace(whole, space=space, name="<i>data")
    model = CCVAE.for_data(data, latent_dim=6, width=4)
    found = read(write_report(tmp_path, model, data))
    assert {"<b>bold & bad", "c\"'"} <= set(found.cells)
    assert not {"b", "i"} & set(found.tags)


def test_tables_are_written_for_people():
    table = pd.DataFrame(
        {"count": [12000, 3], "nats": [-1234.56, math.nan], "kind": ["a<b", "c"], "share": [0.25, math.nan]},
        index=pd.Index(["one", "two"], name="row"),
    )
    section = table_section("Title", "Sentence & more.", table, digits=1, bars=("share",))
    found = Page(str(section.content))
    assert found.cells == [
        "row",
        "count",
        "nats",
        "kind",
        "share",
        "one",
        "12,000",
        "−1,234.6",
        "a<b",
        "0.2",
        "two",
        "3",
        "–",
        "c",
        "–",
    ]
    assert "--share: 25.0%" in section.content
    assert "Sentence & more." in found.words


def test_a_figure_is_shown_at_half_its_size(tmp_path):
    path = write_png(tmp_path / "a.png", Image.new("RGB", (300, 200)), "T", "C")
    section = figure_section(path)
    assert 'width="150" height="100"' in section.content
    assert Page(page("t", [section])).alts == ["C"]
