"""Classification: what is known of perfect, ignorant and over-sure predictions, and scikit-learn as another predictions."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from ccvae.evaluation.metrics.classification import (
    classification,
    reliability,
)
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace

SPACE = LabelSpace((Binary("on", prior=0.3), Categorical("kind", ("a", "b", "c")), Continuous("size", 10.0, 2.0)))


def truth(rows=2000):
    generator = np.random.default_rng(5)
    columns = [generator.random(rows) < 0.3, generator.integers(0, 3, rows), generator.normal(10, 2, rows)]
    return np.stack(columns, 1).astype(float)


def table(on, kind, size, deviation):
    columns = {"on=0": 1 - on, "on=1": on, **{f"kind={value}": kind[:, place] for place, value in enumerate("abc")}}
    return pd.DataFrame(columns | {"size": size, "size.std": np.broadcast_to(deviation, size.shape)})


def perfect(y):
    return table(y[:, 0], np.eye(3)[y[:, 1].astype(int)], y[:, 2], 0.5)


def ignorant(y):
    return table(np.full(len(y), 0.3), np.full((len(y), 3), 1 / 3), np.full(len(y), 10.0), 2.0)


def noisy(y, sureness=1.0, seed=3):
    """Predictions whose probabilities are exactly right if the sureness is 1."""
    generator = np.random.default_rng(seed)
    shifts = y[:, 0] * 2 - 1 + generator.normal(0, 1, len(y))
    on = 1 / (1 + np.exp(-sureness * (2 * shifts + np.log(0.3 / 0.7))))
    scores = 2 * np.eye(3)[y[:, 1].astype(int)] + generator.normal(0, np.sqrt(2), (len(y), 3))
    kind = np.exp(sureness * scores) / np.exp(sureness * scores).sum(1, keepdims=True)
    return table(on, kind, y[:, 2] + generator.normal(0, 1, len(y)), 1 / sureness)


def values(results, label):
    return {name: estimate.value for name, estimate in results["labels"][label].items()}


def test_perfect_predictions():
    y = truth()
    results = classification(perfect(y), y, SPACE, draws=3)
    for label in ("on", "kind"):
        found = values(results, label)
        assert [found[name] for name in ("accuracy", "balanced_accuracy", "auroc", "average_precision", "f1")] == [1] * 5
        assert found["brier"] == found["calibration_error"] == 0
    assert values(results, "size")["absolute_error"] == 0
    assert values(results, "size")["r2"] == 1
    assert results["mean"]["accuracy"].value == 1


def test_predictions_without_knowledge_are_at_chance():
    y = truth()
    results = classification(ignorant(y), y, SPACE, draws=3)
    on = values(results, "on")
    assert on["accuracy"] == on["majority"] == pytest.approx(0.7, abs=0.03)
    assert on["balanced_accuracy"] == on["auroc"] == 0.5
    assert on["average_precision"] == pytest.approx(y[:, 0].mean(), abs=1e-6)
    assert on["calibration_error"] < 0.03
    assert values(results, "kind")["auroc"] == 0.5
    size = values(results, "size")
    assert size["absolute_error"] == size["prior_error"]
    assert size["r2"] == pytest.approx(0, abs=0.01)
    assert size["coverage_90"] == pytest.approx(0.9, abs=0.03)


def test_metrics_are_those_of_scikit_learn():
    y = truth(700)
    p = noisy(y)
    on = values(classification(p, y, SPACE, draws=2), "on")
    target, predicted = y[:, 0], p["on=1"].to_numpy()
    assert on["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(target, predicted), abs=1e-5)
    assert on["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(target, predicted), abs=1e-5)
    assert on["f1"] == pytest.approx(sklearn_metrics.f1_score(target, predicted > 0.5), abs=1e-5)
    assert on["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(target, predicted), abs=1e-5)
    assert on["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(target, predicted > 0.5), abs=1e-5)
    kind = values(classification(p, y, SPACE, draws=2), "kind")
    classes = p[["kind=a", "kind=b", "kind=c"]].to_numpy()
    assert kind["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(y[:, 1], classes, multi_class="ovr"), abs=1e-5)
    assert kind["f1"] == pytest.approx(sklearn_metrics.f1_score(y[:, 1], classes.argmax(1), average="macro"), abs=1e-5)


def test_unknown_labels_do_not_count():
    y = truth(300)
    p = perfect(y)
    y[:250, 0] = np.nan
    y[:, 1] = np.nan
    results = classification(p, y, SPACE, draws=3)
    assert values(results, "on")["accuracy"] == 1
    assert math.isnan(values(results, "kind")["accuracy"])
    assert results["mean"]["accuracy"].value == 1
    assert results["reliability"]["kind"] == {"predicted": [], "observed": [], "rows": []}


def test_one_value_alone_leaves_ranking_undefined():
    y = truth(50)
    y[:, 0], y[:, 1] = 0, 1
    results = classification(noisy(y), y, SPACE, draws=3)
    assert math.isnan(values(results, "on")["auroc"])
    assert math.isnan(values(results, "kind")["auroc"])
    assert values(results, "on")["majority"] == 1


def test_a_class_that_no_row_has_is_left_out():
    y = truth(200)
    y[y[:, 1] == 2, 1] = 1
    found = values(classification(perfect(y), y, SPACE, draws=3), "kind")
    assert found["balanced_accuracy"] == found["auroc"] == found["average_precision"] == found["f1"] == 1


def test_reliability_of_true_probabilities_is_the_diagonal():
    y = truth(40_000)
    for column, label in enumerate(SPACE):
        points = reliability(label, noisy(y), y[:, column])
        np.testing.assert_allclose(points["observed"], points["predicted"], atol=0.05)
        over = reliability(label, noisy(y, sureness=3), y[:, column])
        assert np.abs(np.subtract(over["observed"], over["predicted"])).max() > 0.1
    assert sum(reliability(SPACE.labels[0], noisy(y), y[:, 0])["rows"]) == len(y)
