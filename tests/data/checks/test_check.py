import json
import re
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccvae.data import Dataset, check, digits, table
from ccvae.data.checks import correlations
from ccvae.data.checks.correlations import correlated
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

SPACE = LabelSpace((Binary("ill", ("no", "yes")), Categorical("kind", ("a", "b", "c")), Continuous("age")))


def made(rows: int = 100, **changes: Any) -> Dataset:
    """Data without a fault."""
    generator = np.random.default_rng(0)
    ill = generator.integers(0, 2, rows)
    labels = np.stack([ill, np.arange(rows) % 3, 40 + 20 * ill + generator.normal(size=rows)], axis=1).astype(np.float32)
    given = {
        "inputs": generator.integers(0, 256, (rows, 16, 16, 3), dtype=np.uint8),
        "labels": labels,
        "space": SPACE,
        "ids": np.array([f"scan{row}" for row in range(rows)]),
        "splits": dict(zip(SPLITS, np.split(np.arange(rows), [rows * 6 // 10, rows * 8 // 10]), strict=True)),
        "name": "scans",
    }
    return Dataset(**(given | changes))


def test_what_is_counted() -> None:
    labels = made().labels.copy()
    labels[:20, 0] = np.nan
    labels[:10] = np.nan
    labels[20, 0] = 0.25
    report = check(made(labels=labels, groups=np.arange(100) // 4, notes=("found in a drawer",)))
    assert report.rows == 100
    assert report.input_shape == (3, 16, 16)
    assert report.splits == {"train": 60, "validation": 20, "test": 20}
    assert report.labelled == {"train": 50, "validation": 20, "test": 20}
    assert report.groups == 25
    ill, kind, age = report.labels
    assert ill.observed == {"train": 40, "validation": 20, "test": 20}
    assert ill.missing == pytest.approx(0.2)
    positives = labels[20:60, 0].sum()
    assert ill.counts == pytest.approx({"no": 40 - positives, "yes": positives})
    assert kind.counts == {"a": 16, "b": 17, "c": 17}
    train = labels[10:60, 2].astype(float)
    assert age.numbers == pytest.approx((train.min(), train.mean(), train.std(), train.max()))
    assert report.problems == ()
    assert report.duplicates == ()


def test_correlations_of_labels_and_values() -> None:
    labels = made().labels.copy()
    labels[:50, 2] = np.nan
    report = check(made(labels=labels))
    strongest = report.correlations[0]
    assert {strongest.first, strongest.second} == {"ill", "age"}
    both = labels[50:].astype(float)
    assert strongest.coefficient == pytest.approx(np.corrcoef(both[:, 0], both[:, 2])[0, 1])
    assert any(warning.startswith("age and ill nearly say the same") for warning in report.warnings)
    pairs = {frozenset((pair.first, pair.second)) for pair in report.correlations}
    assert frozenset(("kind=a", "ill")) in pairs
    assert not any(pair.first.split("=")[0] == pair.second.split("=")[0] for pair in report.correlations)


def many_labels(labels: int, rows: int = 200) -> Dataset:
    """A table of binary labels and two features, read from texts as a CSV file has them; the first two go together."""
    generator = np.random.default_rng(0)
    cells = generator.integers(0, 2, (rows, labels)).astype(str).astype(object)
    cells[:, 1] = np.where(generator.random(rows) < 0.95, cells[:, 0], "1")
    cells[generator.random((rows, labels)) < 0.1] = ""
    names = [f"label{number}" for number in range(labels)]
    content = pd.DataFrame(generator.normal(size=(rows, 2)).astype(str).astype(object), columns=["a", "b"])
    return table(pd.concat([content, pd.DataFrame(cells, columns=names)], axis=1), labels=names)


def calls_for(labels: int) -> int:
    """Number of function calls of reading and checking data with as many labels."""
    counts = {"call": 0, "c_call": 0}

    def count(_: object, event: str, __: object) -> None:
        if event in counts:
            counts[event] += 1

    sys.setprofile(count)
    try:
        check(many_labels(labels)).to_text()
    finally:
        sys.setprofile(None)
    return sum(counts.values())


def test_a_check_is_linear_in_labels() -> None:
    """Counted in function calls, not in seconds: eight times as many labels take eight times as many, and not 64."""
    check(many_labels(4)).to_text()  # imports
    few, many = calls_for(20), calls_for(160)
    assert many < 9 * few


def test_products_for_correlations_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many labels, all pairs are compared over a part of the rows, and the strongest over all of them."""
    data = many_labels(40, rows=2000)
    everything, compared = correlated(data.labels, data.space)
    assert compared == 2000
    assert len(everything) == correlations.STRONGEST
    products = []
    original = correlations.coefficients
    monkeypatch.setattr(
        correlations, "coefficients", lambda values: products.append(len(values) * values.shape[1] ** 2) or original(values)
    )
    found, compared = correlated(data.labels, data.space, most_products=300 * 40**2)
    assert compared == 300
    assert products[0] == 300 * 40**2
    assert sum(products[1:]) <= correlations.STRONGEST * 2000 * 4
    assert (found[0].first, found[0].second) == (everything[0].first, everything[0].second)
    assert found[0].coefficient == pytest.approx(everything[0].coefficient, abs=1e-12), "over all rows"
    exact = {(pair.first, pair.second): pair.coefficient for pair in everything}
    assert all(pair.coefficient == pytest.approx(exact.get((pair.first, pair.second), pair.coefficient)) for pair in found)
    monkeypatch.setattr(correlations, "MOST_PRODUCTS", 300 * 40**2)
    monkeypatch.setattr(correlated, "__defaults__", (300 * 40**2,))
    assert any("compared over 300 rows, the strongest over all rows" in note for note in check(data).notes)


def test_correlations_with_missing_values_are_those_of_pandas() -> None:
    data = made(rows=400)
    labels = data.labels.copy()
    labels[np.random.default_rng(1).random(labels.shape) < 0.3] = np.nan
    labels[:, 2] += 1e4  # far from 0, where rounding shows
    found, _ = correlated(labels, SPACE)
    expected = pd.DataFrame({"ill": labels[:, 0], "age": labels[:, 2]}, dtype=np.float64).corr().iloc[0, 1]
    assert {(pair.first, pair.second): pair.coefficient for pair in found}["age", "ill"] == pytest.approx(expected, abs=1e-9)
    constant = labels.copy()
    constant[:, 0] = 1
    assert not any("ill" in (pair.first, pair.second) for pair in correlated(constant, SPACE)[0])
    few = labels.copy()
    few[correlations.FEWEST_ROWS - 1 :, 0] = np.nan
    assert not any("ill" in (pair.first, pair.second) for pair in correlated(few, SPACE)[0])


def test_identical_images_in_several_splits_are_a_problem() -> None:
    inputs = made().inputs.copy()
    labels = made().labels.copy()
    inputs[90] = inputs[3]
    inputs[5] = inputs[4]
    labels[90], labels[5] = labels[3], labels[4]
    report = check(made(inputs=inputs, labels=labels))
    assert report.problems == ("identical images are in several splits (1): scan3 (train) = scan90 (test)",)
    assert report.duplicates == (("scan3", "scan90"), ("scan4", "scan5"))
    assert any("rows share their inputs with others (4)" in warning for warning in report.warnings)


def test_identical_images_that_contradict_each_other_are_a_problem() -> None:
    inputs, labels = made().inputs.copy(), made().labels.copy()
    inputs[5] = inputs[4]
    labels[4], labels[5] = [0, 1, 40], [1, 1, 40]
    report = check(made(inputs=inputs, labels=labels))
    assert report.problems == ("identical images have labels that contradict each other (1): scan4 (train) = scan5 (train)",)
    labels[5] = [np.nan, 1, np.nan]
    assert check(made(inputs=inputs, labels=labels)).problems == ()


def test_vectors_may_coincide() -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    vectors[90] = vectors[3]
    report = check(made(inputs=vectors))
    assert report.problems == ()
    assert report.duplicates == (("scan3", "scan90"),)
    assert report.inputs == "vectors of 3 numbers"


def changed(rows: slice, column: int, value: float) -> np.ndarray:
    labels = made().labels.copy()
    labels[rows, column] = value
    return labels


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": changed(slice(0, 60), 0, np.nan)}, "label 'ill' is observed in no training row"),
        ({"labels": changed(slice(0, 60), 0, 1)}, "label 'ill' is constant in training"),
        ({"labels": changed(slice(0, 60), 2, 7)}, "label 'age' is constant in training"),
        ({"splits": {s: np.arange(0, 100 if s == "test" else 0) for s in SPLITS}}, "there is no row to train on"),
    ],
)
def test_labels_that_cannot_be_learned(changes: dict[str, Any], problem: str) -> None:
    assert problem in check(made(**changes)).problems


def test_values_that_training_never_shows() -> None:
    labels = made().labels.copy()
    labels[:60, 1] = np.arange(60) % 2
    report = check(made(labels=labels))
    assert report.problems == ("label 'kind': c in validation and test, but never in training",)


def test_what_is_worth_a_look() -> None:
    labels = made().labels.copy()
    labels[:60, 0] = np.arange(60) < 3
    labels[60:80, 1] = np.nan
    inputs = made().inputs.copy()
    inputs[7] = 255
    report = check(made(labels=labels, inputs=inputs))
    assert report.problems == ()
    assert "label 'ill' has few training rows of yes (3)" in report.warnings
    assert "label 'kind' cannot be judged in validation, where it is never observed" in report.warnings
    assert "images of one colour (1): scan7" in report.warnings


def test_data_are_hashed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made().inputs.copy()
    inputs[90], inputs[50], inputs[51] = inputs[3], 9, 8
    whole = check(made(inputs=inputs))
    monkeypatch.setattr(__import__("sys").modules["ccvae.data.checks.check"], "CHUNK", 7)
    parts = check(made(inputs=inputs))
    assert parts == whole
    assert len(whole.duplicates) == 1
    assert "images of one colour (2): scan50; scan51" in whole.warnings


@pytest.fixture
def faulty() -> Dataset:
    labels, inputs = made().labels.copy(), made().inputs.copy()
    labels[:60, 1] = np.arange(60) % 2
    labels[:10, 2] = np.nan
    inputs[90] = inputs[3]
    return made(labels=labels, inputs=inputs, notes=("100 images listed <here>",), groups=np.arange(100))


def test_the_text(faulty: Dataset) -> None:
    text = check(faulty).to_text()
    assert text.startswith("scans: 100 rows, colour images of 16×16\n  100 images listed <here>\n")
    for line in (
        r"^split +rows +labelled$",
        r"^train +60 +60$",
        r"^kind +categorical +60 +0%  a 50\.0%, b 50\.0%, c 0\.0%$",
        r"^age +continuous +50 +10%  \d[\d.]* to [\d.]+, mean [\d.]+, sd [\d.]+$",
        r"^  - label 'kind': c in validation and test, but never in training$",
        r"^  - identical images are in several splits \(1\): scan3 \(train\) = scan90 \(test\)$",
    ):
        assert re.search(line, text, re.MULTILINE), line
    assert max(map(len, text.splitlines())) < 140
    assert "no problems found" not in text
    assert "no problems found" in check(made()).to_text()


def test_the_json(faulty: Dataset) -> None:
    report = check(faulty)
    content = json.loads(report.to_json())
    assert content["problems"] == list(report.problems)
    assert content["labels"][1]["counts"] == {"a": 30, "b": 30, "c": 0}
    assert content["splits"] == {"train": 60, "validation": 20, "test": 20}
    assert "data" not in content


def test_the_page_stands_alone(faulty: Dataset) -> None:
    page = check(faulty).to_html()
    assert "100 images listed &lt;here&gt;" in page
    assert "identical images are in several splits (1)" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<figure>") == 24
    captions = re.findall(r"<figcaption><b>(scan\d+)</b><br>(\w+)", page)
    assert {split for _, split in captions} == set(SPLITS)
    vectors = check(made(inputs=np.random.default_rng(0).normal(size=(100, 30)).astype(np.float32))).to_html()
    assert "The first 24 of 30 features" in vectors
    assert "<img" not in vectors


def test_real_data_are_without_fault() -> None:
    report = check(digits(labelled=300))
    assert report.problems == ()
    assert report.labelled["train"] == 300
    assert sum(report.labels[0].counts.values()) == 300
    assert report.to_html().count("<tr>") > 10


def test_inputs_of_tables_are_in_own_units() -> None:
    rows = pd.DataFrame({"income": np.arange(60) * 1000.0, "sex": ["f", "m"] * 30, "y": [0, 1] * 30})
    page = check(table(rows, ["y"])).to_html()
    assert "5.9e+04" in page
    assert "sex=f" in page


def test_a_notebook_shows_what_was_found() -> None:
    found = check(made(name="<scans>", warnings=("look here",), notes=("found in a drawer",)))
    page = found._repr_html_()
    assert "&lt;scans&gt;" in page
    assert "100 rows, colour images of 16×16; no problems found" in page
    assert "Look: look here" in page
    assert "Note: found in a drawer" in page
    assert page.count("data:image/png") == 8
    labels = made().labels.copy()
    labels[:60, 0] = np.nan
    problem = check(made(labels=labels))._repr_html_()
    assert "Problem: label &#39;ill&#39; is observed in no training row" in problem
    assert "no problems found" not in problem
