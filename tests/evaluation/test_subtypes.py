"""Capture of subtypes, on models of which it is known what their latents store."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from ccvae.config import EvaluationConfig, ModelConfig
from ccvae.data import avatars
from ccvae.evaluation import merge_labels, subtype_capture
from ccvae.evaluation.metrics.subtypes import subtypes_of
from ccvae.labels import Binary, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from toy_pictures import Stores, toy_data

MERGED = {"either": ("one", "two")}
CONFIG = EvaluationConfig(rows=800, probe_rows=1000)


@pytest.fixture(scope="module")
def data():
    return replace(toy_data(2000), truth=None)


def model_that_stores(data, own, other, style):
    """Latents of the merged label's block, of the other label's and of the style."""
    coarse = merge_labels(data, MERGED)
    parts = [*other, *own, *style]
    config = ModelConfig(latent_dim=len(parts), block_dim={"three": len(other), "either": len(own)})
    decoder = nn.Sequential(nn.Linear(len(parts), 432), nn.Unflatten(1, (3, 12, 12)))
    return CCVAE(coarse.space, coarse.input_shape, config, encoder=Stores(parts), decoder=decoder)


@pytest.mark.parametrize("place", ["own", "others", "style"])
def test_subtypes_are_read_from_where_they_are(data, place):
    parts = {name: ["value one" if name == place else "", ""] for name in ("own", "others", "style")}
    found = subtype_capture(model_that_stores(data, parts["own"], parts["others"], parts["style"]), data, MERGED, config=CONFIG)
    numbers = found["either"]
    chance = pytest.approx(0.5, abs=0.09)
    for name in ("own", "others", "style"):
        assert numbers[name].value == (pytest.approx(1, abs=0.02) if name == place else chance)
    assert numbers["chance"] == chance
    assert numbers["times_chance"].value == pytest.approx(numbers["own"].value / numbers["chance"])


def test_presence_alone_is_no_capture(data):
    """A block that stores whether the merged label is present stores nothing about how it shows."""

    class StoresPresence(Stores):
        def forward(self, x):
            found = super().forward(x)
            found[:, 2] = found[:, 2:4].amax(1)
            found[:, 3] = 0
            return found

    model = model_that_stores(data, ["value one", "value two"], ["", ""], [""])
    model.encoder = StoresPresence(model.encoder.parts)
    assert subtype_capture(model, data, MERGED, config=CONFIG)["either"]["own"].value == pytest.approx(0.5, abs=0.09)


def test_merged_labels():
    data = toy_data(60)
    labels = data.labels.copy()
    labels[:6, :2] = [[1, 0], [0, 1], [1, 1], [0, 0], [np.nan, 1], [np.nan, 0]]
    data = replace(data, labels=labels, truth=None)
    coarse = merge_labels(data, MERGED)
    assert coarse.space.names == ("three", "either")
    np.testing.assert_array_equal(coarse.labels[:6, 1], [1, 1, 1, 0, 1, np.nan])
    np.testing.assert_array_equal(coarse.labels[:, 0], data.labels[:, 2])
    train = coarse.labels[coarse.splits["train"], 1]
    smoothed = (np.nansum(train) + 1) / (np.count_nonzero(~np.isnan(train)) + 2)
    assert coarse.space["either"].priors[1] == pytest.approx(float(smoothed), abs=1e-6)
    assert subtypes_of(data, ("one", "two"), np.arange(6)).tolist() == [0, 1, -1, -1, -1, -1]
    assert "either merges one, two." in coarse.notes
    CCVAE.for_data(merge_labels(avatars(60, 16, processes=1), {"Accessory": ["Eyeglasses", "Wearing_Hat"]}), width=2)


@pytest.mark.parametrize(
    ("merged", "message"),
    [
        ({"either": ["one"]}, "at least two binary labels, found"),
        ({"either": "one"}, "at least two binary labels, found 'one'"),
        ({"either": ["one", "four"]}, "no label 'four'; the labels are one, two, three"),
        ({"either": ["one", "two"], "both": ["two", "three"]}, "two is merged twice"),
        ({"three": ["one", "two"]}, "label of this name already"),
        ({"either": ["one", "number"]}, "number is continuous; only binary labels can be merged"),
    ],
)
def test_labels_that_cannot_be_merged(merged, message):
    data = toy_data(60)
    if "number" in str(merged):
        space = LabelSpace((*map(Binary, ("one", "two")), Continuous("number", 0.0, 1.0)))
        data = replace(data, space=space, truth=None)
    with pytest.raises(ValueError, match=message):
        merge_labels(data, merged)


def test_capture_says_what_is_missing(data):
    model = model_that_stores(data, [""], [""], [""])
    with pytest.raises(ValueError, match="the model has no label 'any'; train it on merge_labels"):
        subtype_capture(model, data, {"any": ("one", "two")}, config=CONFIG)
    labels = data.labels.copy()
    labels[:, 1] = labels[:, 0]
    with pytest.raises(ValueError, match="either: train has no rows of at least two of one, two alone"):
        subtype_capture(model, replace(data, labels=labels), MERGED, config=CONFIG)
