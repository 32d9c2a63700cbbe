from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ccvae.data import arrays, digits
from ccvae.data.splits import SPLITS
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 1] * 4)


@pytest.mark.parametrize(
    "inputs",
    [
        PICTURES,
        PICTURES.transpose(0, 3, 1, 2),
        PICTURES / 255,
        (PICTURES / 255).astype(np.float32),
        PICTURES.astype(np.int64),
        torch.tensor(PICTURES).permute(0, 3, 1, 2),
        torch.tensor(PICTURES),
        (torch.tensor(PICTURES).permute(0, 3, 1, 2) / 255).requires_grad_(),
        list(PICTURES),
        [Image.fromarray(picture) for picture in PICTURES],
    ],
)
def test_ways_of_giving_images(inputs: Any) -> None:
    data = arrays(inputs, LABELS)
    assert data.inputs.dtype == np.uint8
    np.testing.assert_array_equal(data.inputs, PICTURES)
    assert data.input_shape == (3, 5, 6)
    assert data.ids[3] == "3"


def test_grey_images() -> None:
    for inputs in (PICTURES[..., 0], PICTURES[..., :1], PICTURES[..., :1].transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(arrays(inputs, LABELS).inputs, PICTURES[..., :1])
    masks = PICTURES[..., 0] > 127
    np.testing.assert_array_equal(arrays(masks, LABELS).inputs[..., 0], masks * np.uint8(255))


def test_axes_that_may_be_either() -> None:
    both = np.zeros((20, 3, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="which axis holds the channels"):
        arrays(both, LABELS)
    assert arrays(both, LABELS, channels_first=True).input_shape == (3, 8, 3)
    assert arrays(both, LABELS, channels_first=False).input_shape == (3, 3, 8)


def test_vectors() -> None:
    vectors = GENERATOR.normal(size=(20, 4))
    for inputs in (vectors, torch.tensor(vectors), pd.DataFrame(vectors, columns=list("abcd")), list(vectors)):
        data = arrays(inputs, LABELS)
        assert data.inputs.dtype == np.float32
        np.testing.assert_array_equal(data.inputs, vectors.astype(np.float32))


TABLE = pd.DataFrame({"l": LABELS, "m": ["a", "b", None, "c", "a"] * 4}, index=range(50, 70))


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (LABELS, None, ("label",)),
        (LABELS, ["l"], ("l",)),
        (LABELS.tolist(), None, ("label",)),
        (torch.tensor(LABELS), None, ("label",)),
        (list(torch.tensor(LABELS)), None, ("label",)),
        (pd.Series(LABELS, name="l"), None, ("l",)),
        (pd.Series(LABELS), None, ("label",)),
        (np.stack([LABELS, 1 - LABELS], axis=1), None, ("label 1", "label 2")),
        (TABLE, None, ("l", "m")),
        ({"l": LABELS, "m": ["a", "b", None, "c", "a"] * 4}, None, ("l", "m")),
        ({"l": torch.tensor(LABELS)}, None, ("l",)),
    ],
)
def test_ways_of_giving_labels(labels: Any, names: list[str] | None, expected: tuple[str, ...]) -> None:
    data = arrays(PICTURES, labels, label_names=names)
    assert data.space.names == expected
    np.testing.assert_array_equal(data.labels[:, 0], LABELS)
    if "m" in expected:
        np.testing.assert_array_equal(data.labels[:5, 1], [0, 1, np.nan, 2, 0])


def test_torch_data_sets_are_gathered() -> None:
    images = torch.tensor(PICTURES).permute(0, 3, 1, 2) / 255
    pairs = torch.utils.data.TensorDataset(images, torch.tensor(LABELS))
    data = arrays(pairs, label_names=["l"])
    np.testing.assert_array_equal(data.inputs, PICTURES)
    np.testing.assert_array_equal(data.labels[:, 0], LABELS)
    alone = torch.utils.data.TensorDataset(images)
    np.testing.assert_array_equal(arrays(alone, LABELS).inputs, PICTURES)

    class Keyed(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, row: int) -> Any:
            return images[row], {"l": int(LABELS[row]), "age": None if row % 2 else row / 10}

    data = arrays(Keyed())
    assert [type(label) for label in data.space] == [Binary, Continuous]
    assert np.isnan(data.labels[1::2, 1]).all()


def test_holes_kinds_ids_groups_and_splits() -> None:
    data = arrays(
        PICTURES,
        {"l": [0.0, 1.0, np.nan, 2.0] * 5},
        kinds={"l": "categorical"},
        ids=[f"x{row}" for row in range(20)],
        groups=[row // 2 for row in range(20)],
        splits={"train": range(16), "test": [19, 18, 17, 16]},
        name="mine",
    )
    assert isinstance(data.space["l"], Categorical)
    assert np.isnan(data.labels[2::4]).all()
    assert data.ids[0] == "x0"
    assert data.name == "mine"
    assert [len(data.splits[split]) for split in SPLITS] == [16, 0, 4]
    grouped = arrays(PICTURES, LABELS, groups=[row // 4 for row in range(20)], validation=4, test=4)
    assert [len(grouped.splits[split]) for split in SPLITS] == [12, 4, 4]


def test_labels_that_are_known_already() -> None:
    space = LabelSpace((Binary("l", prior=0.3),))
    assert arrays(PICTURES, {"l": [1] * 20}, space=space).space == space


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (PICTURES, None, "labels are missing"),
        (PICTURES, LABELS[:5], "20 inputs, but 5 rows of labels"),
        (PICTURES[:1], [1], "1 rows are too few"),
        (PICTURES[:0], [], "0 rows are too few"),
        (PICTURES * 1.0, LABELS, r"must lie in 0 to 1; found row 0 from 0 to 2"),
        (PICTURES.astype(int) - 1, LABELS, "must lie in 0 to 255"),
        (np.where(PICTURES.max() == PICTURES, np.nan, 0.0), LABELS, "must lie in 0 to 1"),
        (np.zeros((20, 5, 6, 4)), LABELS, "1 or 3 channels"),
        (np.zeros((20,)), LABELS, "must be images"),
        (np.full((20, 2), np.inf), LABELS, "finite numbers; rows with others: 0; 1"),
        (pd.DataFrame({"a": [1] * 20, "b": ["x"] * 20}), LABELS, "no numbers: b"),
        ([PICTURES[0], PICTURES[1, :3]], [0, 1], r"one shape, found \(3, 6, 3\); \(5, 6, 3\)"),
        (7, LABELS, "inputs must be an array"),
        (PICTURES, [1] * 20, "'label' is constant"),
        (PICTURES, [None] * 20, "not one label is observed"),
        (PICTURES, [1] + [None] * 19, "'label' is constant"),
    ],
)
def test_bad_data(inputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arrays(inputs, labels)


def test_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 label names for 1 columns"):
        arrays(PICTURES, LABELS, label_names=["a", "b"])


def test_digits() -> None:
    data = digits(labelled=200)
    assert data.input_shape == (1, 16, 16)
    assert len(data) == 1797
    assert data.space["digit"].values == tuple(range(10))  # type: ignore[union-attr]
    weight = data.labels[:, 1][~np.isnan(data.labels[:, 1])]
    assert 0 < weight.min() < weight.max() < 1
    ink = data.tensor("test").mean(dim=(1, 2, 3)).numpy()
    assert np.corrcoef(ink, data.labels[data.splits["test"], 1])[0, 1] > 0.99
    assert digits(size=32).input_shape == (1, 32, 32)
