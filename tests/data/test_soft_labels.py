from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccvae.data import arrays
from ccvae.data.checks.check import check
from ccvae.data.loaders.batches import Batches
from ccvae.data.readers.table import table
from ccvae.data.soft_labels import drawn_classes
from ccvae.labels import Binary, Categorical, LabelSpace

ROWS = 40
PROBABILITIES = np.random.default_rng(0).dirichlet([0.5, 1.0, 0.3], size=ROWS)
VECTORS = np.random.default_rng(1).normal(size=(ROWS, 3)).astype(np.float32)


def annotated(**changes: Any) -> pd.DataFrame:
    columns = {f"animal={name}": PROBABILITIES[:, number] for number, name in enumerate(("cat", "ant", "bee"))}
    return pd.DataFrame(columns | {"alive": [0, 1] * (ROWS // 2)} | changes)


def test_columns_become_one_label() -> None:
    data = arrays(VECTORS, annotated())
    assert data.space.names == ("animal", "alive")
    animal = data.space["animal"]
    assert isinstance(animal, Categorical)
    assert animal.values == ("cat", "ant", "bee")
    np.testing.assert_allclose(data.soft["animal"], PROBABILITIES, rtol=1e-5)
    np.testing.assert_array_equal(data.labels[:, 0], PROBABILITIES.argmax(axis=1))
    assert "labels given as probabilities: animal" in data.notes
    train = data.splits["train"]
    np.testing.assert_allclose(animal.prior, (PROBABILITIES[train].sum(axis=0) + 1) / (len(train) + 3), rtol=1e-5)
    [summary, _] = check(data).labels
    np.testing.assert_allclose(list(summary.counts.values()), PROBABILITIES[train].sum(axis=0), rtol=1e-5)


def test_rows_without_probabilities_are_not_observed() -> None:
    labels = annotated()
    labels.loc[[3, 5], ["animal=cat", "animal=ant", "animal=bee"]] = np.nan
    data = arrays(VECTORS, labels)
    assert np.flatnonzero(np.isnan(data.labels[:, 0])).tolist() == [3, 5]
    assert np.isnan(data.soft["animal"][[3, 5]]).all()


def test_hidden_labels_hide_their_probabilities() -> None:
    data = arrays(VECTORS, annotated()).hide(10)
    hidden = np.isnan(data.labels[:, 0])
    assert hidden[data.splits["train"]].sum() == len(data.splits["train"]) - 10
    np.testing.assert_array_equal(np.isnan(data.soft["animal"]).all(axis=1), hidden)


def test_a_table_names_the_label_once() -> None:
    content = pd.concat([annotated(), pd.DataFrame(VECTORS, columns=["x", "y", "z"])], axis=1)
    for labels in (["animal", "alive"], [*annotated().columns]):
        data = table(content, labels)
        assert data.space.names == ("animal", "alive")
        assert data.input_shape == (3,)


def test_a_known_space_keeps_the_order_of_its_values() -> None:
    space = LabelSpace((Binary("alive"), Categorical("animal", ("bee", "cat", "ant"))))
    data = arrays(VECTORS, annotated(), space=space)
    assert data.space is space
    np.testing.assert_allclose(data.soft["animal"], PROBABILITIES[:, [2, 0, 1]], rtol=1e-5)
    np.testing.assert_array_equal(data.labels[:, 1], PROBABILITIES[:, [2, 0, 1]].argmax(axis=1))
    with pytest.raises(ValueError, match="'animal' has the values bee, cat, but its columns are named for cat, ant, bee"):
        arrays(VECTORS, annotated(), space=LabelSpace((Categorical("animal", ("bee", "cat")),)))


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ((0.5, 0.2, 0.2), "0.5, 0.2, 0.2"),
        ((1, 1, 0), "1.0, 1.0, 0.0"),
        ((1.5, -0.5, 0), "1.5, -0.5, 0.0"),
        ((1, np.nan, 0), "1.0, nan"),
    ],
)
def test_probabilities_that_are_none(cells: tuple[float, ...], told: str) -> None:
    labels = annotated()
    labels.loc[7, ["animal=cat", "animal=ant", "animal=bee"]] = cells
    with pytest.raises(ValueError, match=rf"probabilities of one label, .* sum 1; row 7: {told}.* without '='"):
        arrays(VECTORS, labels)


def test_one_column_with_an_equals_sign_is_a_label_of_its_own() -> None:
    labels = pd.DataFrame({"a=b": [0, 1] * (ROWS // 2)})
    assert arrays(VECTORS, labels).space.names == ("a=b",)


def test_classes_are_drawn_by_their_probabilities() -> None:
    rows = np.repeat([[0.2, 0.0, 0.8]], 20_000, axis=0).astype(np.float32)
    shares = np.bincount(drawn_classes(rows, np.random.default_rng(0)), minlength=3) / len(rows)
    np.testing.assert_allclose(shares, [0.2, 0, 0.8], atol=0.01)
    certain = np.eye(3, dtype=np.float32)
    assert drawn_classes(certain, np.random.default_rng(0)).tolist() == [0, 1, 2]


def test_batches_draw_labels_anew_each_time_but_the_same_when_resumed() -> None:
    data = arrays(VECTORS, annotated()).hide(20)
    batches = Batches(data, 16, labelled_share=0.5)
    seen: dict[int, set[float]] = {}
    for _ in range(60):
        start = batches.position
        for step, (_, tensor) in enumerate(batches, start):
            y = tensor.numpy()
            rows = batches.rows(step)
            np.testing.assert_array_equal(y, batches.labels(rows, step))
            np.testing.assert_array_equal(np.isnan(y), np.isnan(data.labels[rows]))
            np.testing.assert_array_equal(y[:, 1], data.labels[rows, 1])
            for row, value in zip(rows.tolist(), y[:, 0].tolist(), strict=True):
                seen.setdefault(row, set()).add(value)
    uncertain = [row for row in data.splits["train"].tolist() if np.nanmin(data.soft["animal"][row], initial=1) > 0.1]
    assert uncertain
    assert any(seen[row] == {0.0, 1.0, 2.0} for row in uncertain)
