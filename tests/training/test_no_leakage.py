"""Nothing that training may not see changes a weight: hidden and unobserved labels, and all of the test rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ccvae.cli.main import main
from ccvae.data.dataset import Dataset
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

ROWS, TRAIN, VALIDATION = 120, 70, 20


def numbers(seed, hidden):
    """Vectors whose labels are hidden in places; with what is hidden in them."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, 2, ROWS), rng.integers(0, 3, ROWS), rng.normal(size=ROWS)], 1).astype(np.float32)
    inputs = rng.normal(size=(ROWS, 5)).astype(np.float32) + labels[:, :1]
    order = rng.permutation(ROWS)
    parts = {"train": order[:TRAIN], "validation": order[TRAIN : TRAIN + VALIDATION], "test": order[TRAIN + VALIDATION : -5]}
    return inputs, labels, {name: np.sort(rows) for name, rows in parts.items()}, rng.random(labels.shape) < hidden


def dataset(inputs, labels, splits, hidden):
    seen = np.where(hidden, np.nan, labels).astype(np.float32)
    space = LabelSpace((Binary("on"), Categorical("where", ("a", "b", "c")), Continuous("size")))
    ids = np.array([f"row-{row}" for row in range(ROWS)])
    return Dataset(inputs, seen, space.with_priors(seen[splits["train"]]), ids, splits)


def trained(data, **changes):
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=8, width=2)
    return fit(model, data, epochs=2, batch_size=20, progress=False, **changes).state_dict()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.6]), st.booleans(), st.sampled_from([None, 0.5]))
def test_what_is_hidden_and_what_is_tested_on_changes_no_weight(seed, hidden, balanced, share):
    inputs, labels, splits, mask = numbers(seed, hidden)
    rng = np.random.default_rng(seed + 1)
    other_inputs, other_labels = np.array(inputs), np.array(labels)
    unseen = np.setdiff1d(np.arange(ROWS), np.concatenate([splits["train"], splits["validation"]]))  # those of no split too
    other_inputs[unseen] = rng.normal(size=other_inputs[unseen].shape) * 100
    drawn = np.stack([rng.integers(0, 2, ROWS), rng.integers(0, 3, ROWS), rng.normal(size=ROWS) * 100], 1)
    replaced = mask.copy()
    replaced[unseen] = True
    other_labels[replaced] = drawn[replaced]
    options = {"balanced": balanced, "labelled_share": share}
    first = trained(dataset(inputs, labels, splits, mask), **options)
    second = trained(dataset(other_inputs, other_labels, splits, mask), **options)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_training_may_see_does_change_weights():
    inputs, labels, splits, mask = numbers(0, 0.2)
    data = dataset(inputs, labels, splits, mask)
    other = np.array(labels)
    row, column = np.argwhere(~mask[splits["train"]] & (np.arange(3) == 0))[0]
    other[splits["train"][row], column] = 1 - other[splits["train"][row], column]
    first, second = trained(data), trained(replace(data, labels=dataset(inputs, other, splits, mask).labels))
    assert not all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "labelled",
    [
        [],
        [
            *["--data.labelled_per_class", "8", "--training.teacher_steps", "20", "--training.teachers", "2"],
            *["--training.student_steps", "20"],
        ],
    ],
)
def test_test_rows_of_a_table_change_no_byte_of_the_weights(tmp_path, labelled):
    """By the command line: another table in whose test rows everything is different."""
    rng = np.random.default_rng(0)
    on = rng.integers(0, 2, 200)
    table = pd.DataFrame({f"x{column}": on * column + rng.normal(size=200) for column in range(3)} | {"on": on})
    table["size"] = rng.normal(size=200)
    table.loc[rng.random(200) < 0.3, "size"] = np.nan
    table["part"] = np.repeat(["train", "validation", "test"], [120, 40, 40])
    other, tested = table.copy(), table["part"] == "test"
    other.loc[tested, ["x0", "x1", "x2", "size"]] = rng.normal(size=(40, 4)) * 100
    other.loc[tested, "on"] = 1 - other.loc[tested, "on"]
    options = ["--data.labels", "on,size", "--data.split_column", "part", "--training.epochs", "2", "--model.width", "2"]
    for name, frame in (("first", table), ("second", other)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        out = str(tmp_path / name)
        assert main(["train", f"{out}.csv", "--out", out, "--figures", "false", *options, *labelled]) == 0
    names = ("model.safetensors", "labels.json")
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes() for name in names)
