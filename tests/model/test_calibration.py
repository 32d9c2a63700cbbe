"""Calibration: temperatures undo wrong sureness, thresholds suit their measure, and both are saved with a run."""

import json

import numpy as np
import pandas as pd
import pytest

from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.calibration import Calibration, decide, fit_calibration, fit_temperatures, tempered
from ccvae.model.ccvae import CCVAE, load

SPACE = LabelSpace(
    (Binary("on", prior=0.3), Categorical("kind", ("a", "b", "c"), (0.6, 0.3, 0.1)), Continuous("size", 10.0, 2.0))
)


def truth(rows=2000, seed=5):
    generator = np.random.default_rng(seed)
    columns = [generator.random(rows) < 0.3, generator.choice(3, rows, p=(0.6, 0.3, 0.1)), generator.normal(10, 2, rows)]
    return np.stack(columns, 1).astype(float)


def predictions(y, sureness=1.0, seed=3):
    """Predictions whose probabilities are exactly right if the sureness is 1."""
    generator = np.random.default_rng(seed)
    shifts = y[:, 0] * 2 - 1 + generator.normal(0, 1, len(y))
    on = 1 / (1 + np.exp(-sureness * (2 * shifts + np.log(0.3 / 0.7))))
    scores = 2 * np.eye(3)[y[:, 1].astype(int)] + generator.normal(0, np.sqrt(2), (len(y), 3)) + np.log((0.6, 0.3, 0.1))
    kind = np.exp(sureness * scores) / np.exp(sureness * scores).sum(1, keepdims=True)
    columns = {"on=0": 1 - on, "on=1": on, **{f"kind={value}": kind[:, place] for place, value in enumerate("abc")}}
    return pd.DataFrame(columns | {"size": y[:, 2] + generator.normal(0, 1, len(y)), "size.std": 1 / sureness})


def error(p, truth):
    """Expected calibration error of a probability in ten bins."""
    place = (p * 10).astype(int).clip(max=9)
    bins = [place == number for number in range(10) if (place == number).any()]
    return sum(each.mean() * abs(p[each].mean() - truth[each].mean()) for each in bins)


def balanced_accuracy(predicted, truth):
    return np.mean([(predicted[truth == value] == value).mean() for value in np.unique(truth)])


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_temperatures_undo_too_much_or_too_little_sureness(sureness):
    y = truth(20_000)
    p = predictions(y, sureness)
    temperatures = fit_temperatures(p, y, SPACE)
    assert temperatures == pytest.approx({"on": sureness, "kind": sureness, "size": sureness}, rel=0.06)
    scaled = tempered(p, temperatures, SPACE)
    np.testing.assert_allclose(scaled, predictions(y), atol=0.08)
    pd.testing.assert_frame_equal(decide(scaled, SPACE), decide(p, SPACE))
    assert error(scaled["on=1"].to_numpy(), y[:, 0]) < 0.015
    np.testing.assert_allclose(scaled[["kind=a", "kind=b", "kind=c"]].sum(axis=1), 1)


def test_temperature_of_what_is_not_known_is_one():
    y = truth(40)
    p = predictions(y)
    y[:, 0], y[:, 1:] = 1, np.nan
    assert fit_temperatures(p, y, SPACE) == {"on": 1.0, "kind": 1.0, "size": 1.0}
    assert fit_calibration(p, y, SPACE) is None


def test_few_rows_share_a_temperature():
    """A label with four rows, all predicted rightly, would otherwise get the smallest temperature there is."""
    y = truth(4000)
    p = predictions(y, sureness=2.0)
    y[:, 1] = np.nan
    y[:4, 1] = p[["kind=a", "kind=b", "kind=c"]].to_numpy()[:4].argmax(1)
    y[3, 1] = (y[0, 1] + 1) % 3
    alone = fit_temperatures(p[:4], y[:4, :2], LabelSpace(SPACE.labels[:2]))
    together = fit_temperatures(p, y[:, :2], LabelSpace(SPACE.labels[:2]))
    assert together["on"] == pytest.approx(2, rel=0.1)
    assert abs(np.log(together["kind"] / 2)) < abs(np.log(alone["kind"] / 2))


def test_temperatures_must_fit():
    p = predictions(truth(5))
    with pytest.raises(ValueError, match="no label 'off'"):
        tempered(p, {"off": 1.0}, SPACE)
    with pytest.raises(ValueError, match="above 0, found -1"):
        tempered(p, {"on": -1.0}, SPACE)
    with pytest.raises(ValueError, match="temperature of 'on': expected a number above 0, found 0"):
        Calibration({"on": 0.0})
    with pytest.raises(ValueError, match="threshold of 'on': expected a number between 0 and 1, found 1"):
        Calibration({"on": 1.0}, {"on": 1.0})


@pytest.mark.parametrize("threshold", ["prior", "balanced"])
def test_decisions_at_the_prior_have_the_best_balanced_accuracy(threshold):
    y, held_out = truth(20_000), truth(1000, seed=6)
    p = predictions(y)
    calibration = fit_calibration(predictions(held_out, seed=7), held_out, SPACE)
    half, chosen = decide(p, SPACE), decide(p, SPACE, threshold, calibration)
    for name, column in (("on", 0), ("kind", 1)):
        codes = [SPACE[name].values.index(value) for value in chosen[name]]
        before = [SPACE[name].values.index(value) for value in half[name]]
        assert balanced_accuracy(np.array(codes), y[:, column]) > balanced_accuracy(np.array(before), y[:, column]) + 0.01
    levels = [balanced_accuracy((p["on=1"] >= level).to_numpy(), y[:, 0]) for level in np.linspace(0.05, 0.95, 91)]
    assert balanced_accuracy((chosen["on"] == 1).to_numpy(), y[:, 0]) > max(levels) - 0.005
    assert (chosen["size"] == half["size"]).all()


def test_tuned_threshold_leaves_the_prior_only_for_more_than_luck():
    y = truth(20_000)
    p = predictions(y)
    shifted = p.assign(**{"on=1": p["on=1"] / (p["on=1"] + 9 * p["on=0"])})  # as if the label had been far rarer
    shifted["on=0"] = 1 - shifted["on=1"]
    one = LabelSpace(SPACE.labels[:1])
    assert 0.2 < fit_calibration(p[:60], y[:60], one).balanced["on"] < 0.45
    calibration = fit_calibration(shifted, y, one)
    calibrated = tempered(shifted, calibration.temperatures, one)
    tuned, at_prior = (decide(calibrated, one, threshold, calibration)["on"].to_numpy() for threshold in ("balanced", "prior"))
    assert balanced_accuracy(tuned, y[:, 0]) > balanced_accuracy(at_prior, y[:, 0]) + 0.01


def test_threshold_as_a_number():
    p = predictions(truth(500))
    assert (decide(p, SPACE, 0.9)["on"] == (p["on=1"] >= 0.9)).all()
    for wrong in ("best", 0.0, 1.0, 1, True, -0.5):
        with pytest.raises(ValueError, match="threshold: expected half, prior, balanced or a number between 0 and 1, found"):
            decide(p, SPACE, wrong)
    with pytest.raises(ValueError, match="'balanced' needs held-out labelled rows"):
        decide(p, SPACE, "balanced")


def test_calibration_is_saved_with_a_model(tmp_path):
    model = CCVAE(SPACE, (6,)).eval()
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    pd.testing.assert_frame_equal(model.predict_proba(x), model.predict_proba(x, calibrated=False))
    model.calibration = Calibration({"on": 3.0, "kind": 0.5, "size": 2.0}, {"on": 0.4}, {"on": 12, "kind": 10, "size": 9})
    other = load(model.save(tmp_path / "run"))
    assert other.calibration == model.calibration
    pd.testing.assert_frame_equal(other.predict_proba(x), model.predict_proba(x))
    exact = other.predict_proba(x, calibrated=False)
    pd.testing.assert_frame_equal(other.predict_proba(x), tempered(exact, model.calibration.temperatures, SPACE))
    assert not np.allclose(other.predict_proba(x), exact)
    assert (other.predict(x, "balanced")["on"] == (other.predict_proba(x)["on=1"] >= 0.4)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"calibration.json: expected temperatures, balanced and rows by label"),
        ('{"temperatures": {"on": "hot"}, "balanced": {}, "rows": {}}', "calibration.json: expected temperatures"),
        ('{"temperatures": {"off": 1}, "balanced": {}, "rows": {}}', "calibration.json: the model has no label off; it has on"),
    ],
)
def test_damaged_calibration_is_refused(tmp_path, content, message):
    run = CCVAE(SPACE, (6,)).save(tmp_path / "run")
    (run / "calibration.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(run)


def test_calibration_as_json_is_plain():
    text = Calibration({"on": 1.5}, {"on": 0.25}, {"on": 40}).to_json()
    assert json.loads(text) == {"temperatures": {"on": 1.5}, "balanced": {"on": 0.25}, "rows": {"on": 40}}


def test_soft_labels_of_one_value_have_no_threshold():
    """Probabilities of 0.6 and 1 both count as present: there is nothing to separate."""
    space = LabelSpace((Binary("a"),))
    probabilities = pd.DataFrame({"a=0": [0.4, 0.3, 0.2], "a=1": [0.6, 0.7, 0.8]})
    assert fit_calibration(probabilities, np.array([[0.6], [1.0], [1.0]]), space) is None
