from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ccvae.data import Dataset
from ccvae.data.splits import SPLITS, split_rows
from ccvae.labels import Binary, Categorical, LabelSpace

SPACE = LabelSpace((Binary("b"), Categorical("c", ("x", "y"))))


def made(rows: int = 10, **changes: Any) -> Dataset:
    generator = np.random.default_rng(0)
    given = {
        "inputs": generator.integers(0, 256, (rows, 3, 4, 3), dtype=np.uint8),
        "labels": np.tile(np.array([[0, 1], [1, 0]], dtype=np.float32), (rows, 1))[:rows],
        "space": SPACE,
        "ids": np.array([f"row {row}" for row in range(rows)]),
        "splits": split_rows(rows, 1, 1),
    }
    return Dataset(**(given | changes))


def splits(train: list[int], validation: list[int], test: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(part, dtype=np.int64) for name, part in zip(SPLITS, (train, validation, test), strict=True)}


def test_images_become_floats_with_channels_before_pixels() -> None:
    data = made()
    assert data.input_shape == (3, 3, 4)
    for rows in ([4, 1], np.array([4, 1]), slice(2, 5), "test"):
        tensor = data.tensor(rows)
        chosen = data.inputs[data.splits[rows] if isinstance(rows, str) else rows]
        assert tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor.numpy(), chosen.transpose(0, 3, 1, 2) / 255, atol=1e-7)
    assert data.tensor().min() >= 0
    assert data.tensor().max() <= 1


def test_a_tensor_is_not_the_data_itself() -> None:
    for data in (made(), made(inputs=np.zeros((10, 5), dtype=np.float32))):
        before = data.inputs.copy()
        data.tensor(slice(0, 3)).add_(1)
        np.testing.assert_array_equal(data.inputs, before)


def test_vectors_stay_what_they_are() -> None:
    inputs = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    data = made(inputs=inputs)
    assert data.input_shape == (5,)
    np.testing.assert_array_equal(data.tensor([3]).numpy(), inputs[[3]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((10, 3, 4), dtype=np.uint8)}, r"not uint8 \(10, 3, 4\)"),
        ({"inputs": np.zeros((10, 3, 4, 3))}, "must be uint8 .* not float64"),
        ({"inputs": np.zeros((10, 3, 4, 4), dtype=np.uint8)}, "1 or 3 channels"),
        ({"inputs": np.zeros((10, 5))}, "float32"),
        ({"inputs": np.array([[0.0]] * 9 + [[np.nan]], dtype=np.float32)}, "finite numbers; rows with others: 9"),
        ({"labels": np.zeros((9, 2), dtype=np.float32)}, "10 inputs, 9 rows of labels, 10 ids"),
        ({"labels": np.full((10, 2), 2, dtype=np.float32)}, "label 'b'"),
        ({"ids": np.array(["a", "a", "b", "b", *"cdefgh"])}, "ids must differ; repeated: a; b"),
        ({"groups": np.array(["a"])}, "10 ids, 1 groups"),
        ({"splits": {"train": np.arange(10)}}, "splits must be train, validation, test, not train"),
        ({"splits": splits([0, 1], [1, 2], [])}, "rows are in both train and validation: 1"),
        ({"splits": splits([0, 0], [], [])}, "'train' must be row numbers in rising order"),
        ({"splits": splits([1, 0], [], [])}, "'train' must be row numbers in rising order"),
        ({"splits": splits([0], [10], [])}, "'validation' names rows outside 0 to 9"),
        ({"splits": splits([0], [], [-1])}, "'test' names rows outside"),
        ({"splits": splits([], [], []) | {"test": np.array([0.5])}}, "'test' must be row numbers"),
        ({"soft": {"b": np.zeros((10, 2), dtype=np.float32)}}, "probabilities of 'b' must be those of a categorical label"),
        ({"soft": {"c": np.zeros((10, 3), dtype=np.float32)}}, r"'c' must be those of a categorical label, .*\(10, 3\)"),
        ({"soft": {"c": np.full((10, 2), 0.4, dtype=np.float32)}}, "probabilities of 'c' must sum to 1; wrong in row 0; row 1"),
        (
            {"groups": np.array(["ann"] * 5 + ["bob"] * 5), "splits": splits([0, 1], [2, 5], [6, 7])},
            "groups are in both train and validation: ann",
        ),
    ],
)
def test_data_that_contradict_themselves(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_split_table_names_every_row() -> None:
    data = made(4, splits=splits([0, 2], [1], []), groups=np.array(["a", "b", "a", "c"]))
    table = data.split_table()
    assert table["id"].tolist() == [f"row {row}" for row in range(4)]
    assert table["split"].tolist() == ["train", "validation", "train", ""]
    assert table["group"].tolist() == ["a", "b", "a", "c"]
    assert table["labelled"].tolist() == [True] * 4
    hidden = made(20, splits=splits([*range(10)], [11], [])).hide(4)
    assert hidden.split_table()["labelled"].tolist() == (~np.isnan(hidden.labels).all(axis=1)).tolist()
    assert "group" not in made().split_table()


def test_hiding_labels() -> None:
    data = made(40)
    hidden = data.hide(8, seed=1)
    train = data.splits["train"]
    seen = ~np.isnan(hidden.labels).all(axis=1)
    assert seen[train].sum() == 8
    for split in ("validation", "test"):
        np.testing.assert_array_equal(hidden.labels[data.splits[split]], data.labels[data.splits[split]])
    np.testing.assert_array_equal(hidden.labels[seen], data.labels[seen])
    assert not np.isnan(data.labels).any()
    assert hidden.space == data.space.with_priors(hidden.labels[train])
    np.testing.assert_array_equal(hidden.labels, data.hide(8, seed=1).labels)
    assert (np.isnan(hidden.labels) != np.isnan(data.hide(8, seed=2).labels)).any()
    assert (~np.isnan(data.hide(0.5).labels[train, 0])).sum() == len(train) // 2
    for wrong in (0, 0.0, len(train) + 1, 1.5):
        with pytest.raises(ValueError, match=f"labelled: {wrong} asks for"):
            data.hide(wrong)
    with pytest.raises(ValueError, match=r"with 1 labelled rows \(seed 0\): label 'b' is constant"):
        data.hide(1)


def test_hiding_all_but_so_many_of_every_value() -> None:
    data = made(40).hide(labelled_per_class=3)
    train = data.labels[data.splits["train"]]
    assert (~np.isnan(train[:, 1])).sum() == 6
    assert np.nansum(train[:, 1]) == 3
    assert data.space == made(40).space.with_priors(train)
    for wrong in ({}, {"labelled": 3, "labelled_per_class": 3}):
        with pytest.raises(ValueError, match="either labelled or labelled_per_class"):
            made(40).hide(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labelled_per_class: expected 1 or more, found 0"):
        made(40).hide(labelled_per_class=0)


def test_splits_of_a_table_are_taken_over() -> None:
    data = made(12)
    table = data.split_table()
    assert [row["id"] for row in table.to_dict("records") if row["split"] == "test"] == data.ids[data.splits["test"]].tolist()
    more = made(15, splits=splits([0, 1, 2], [3], [4])).split_as(table)
    for name in SPLITS:
        assert more.ids[more.splits[name]].tolist() == data.ids[data.splits[name]].tolist()
    with pytest.raises(ValueError, match=r"splits.csv names 2 rows that data does not have \(any more\): row 10; row 11"):
        made(10).split_as(table, "splits.csv")
    swapped = made(12, ids=data.ids[::-1].copy()).split_as(table)
    for name in SPLITS:
        assert set(swapped.ids[swapped.splits[name]]) == set(data.ids[data.splits[name]])


sizes = st.integers(0, 20) | st.floats(0, 0.99)


@given(st.integers(1, 60), sizes, sizes, st.integers(0, 3), st.none() | st.integers(1, 12))
def test_splits_cover_all_rows_and_share_no_group(
    rows: int, validation: float, test: float, seed: int, group_count: int | None
) -> None:
    groups = None if group_count is None else np.random.default_rng(seed).integers(0, group_count, rows)
    try:
        parts = split_rows(rows, validation, test, seed, groups)
    except ValueError as error:
        assert "leave none to train on" in str(error)  # noqa: PT017
        if groups is None:
            wanted = [max(round(s * rows), int(s > 0)) if isinstance(s, float) else s for s in (validation, test)]
            assert sum(wanted) >= rows
        return
    assert len(parts["train"]) > 0
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(rows))
    for name, size in (("validation", validation), ("test", test)):
        wanted = max(round(size * rows), int(size > 0)) if isinstance(size, float) else size
        if groups is None:
            assert len(parts[name]) == wanted
        else:
            assert len(parts[name]) >= wanted
            for other in SPLITS:
                assert name == other or not set(groups[parts[name]]) & set(groups[parts[other]])
    again = split_rows(rows, validation, test, seed, groups)
    for name in SPLITS:
        np.testing.assert_array_equal(parts[name], again[name])


def test_another_seed_gives_another_split() -> None:
    assert (split_rows(100, 10, 10, 0)["test"] != split_rows(100, 10, 10, 1)["test"]).any()


@pytest.mark.parametrize(("validation", "test"), [(-1, 0), (1.0, 0), (0, -0.1)])
def test_sizes_of_splits_that_make_no_sense(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="a fraction from 0 to below 1"):
        split_rows(10, validation, test)


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="10 rows in 1 groups leave none to train on"):
        split_rows(10, 0.1, 0.1, groups=np.zeros(10))


def test_a_notebook_shows_what_data_have() -> None:
    page = made(name="<scans>", warnings=("look here",))._repr_html_()
    assert "&lt;scans&gt;" in page
    assert "10 rows (8 train, 1 validation, 1 test), inputs 3 × 4 × 3" in page
    assert "look here" in page
    assert page.count("data:image/png") == 8
    assert "labelled in train" in page
    vectors = made(inputs=np.zeros((10, 3), dtype=np.float32), splits=split_rows(10, 2, 0))._repr_html_()
    assert "data:image/png" not in vectors
    assert "labelled in test" not in vectors


def test_too_few_labels_to_keep_are_refused_with_their_number() -> None:
    with pytest.raises(ValueError, match=r"^with 1 labelled rows \(seed 3\): label 'b' is constant.*; keep more$"):
        made().hide(1, seed=3)
