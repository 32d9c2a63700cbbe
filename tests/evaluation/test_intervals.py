"""Intervals: of the right width, and honest about what is not known."""

import json
import math

import numpy as np
import pytest

from ccvae.evaluation.bootstrap import Estimate, average, bootstrap, grand_mean, mean_estimates, plain, share_estimate


def test_interval_of_a_mean_has_the_width_that_theory_says():
    values = np.random.default_rng(0).normal(3, 2, (4000, 1))
    [estimate] = mean_estimates(values, draws=1000)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * 2 / np.sqrt(4000), rel=0.1)
    assert estimate.rows == 4000


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(1)
    holds = [
        each.low <= 0.3 <= each.high for each in mean_estimates((generator.random((500, 400)) < 0.3).astype(float), draws=400)
    ]
    assert np.mean(holds) == pytest.approx(0.95, abs=0.04)


def test_entries_that_are_unknown_do_not_count():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    first, second = mean_estimates(values)
    assert (first.value, first.rows) == (2.0, 2)
    assert math.isnan(second.value)
    assert math.isnan(second.low)
    assert second.rows == 0
    assert grand_mean(values).value == 2.0


def test_grand_mean_counts_every_column_alike():
    values = np.array([[0.0, 1.0]] + [[np.nan, 1.0]] * 9)
    assert grand_mean(values).value == 0.5
    assert grand_mean(np.full((3, 2), np.nan)).rows == 0


def test_intervals_are_the_same_again():
    values = np.random.default_rng(2).normal(size=(50, 3))
    assert mean_estimates(values) == mean_estimates(values)


def test_a_statistic_that_grows_in_resamples_keeps_its_value_in_its_interval():
    shares = np.random.default_rng(3).random(400) < 0.5

    def majority(rows):
        return {"majority": max(shares[rows].mean(), 1 - shares[rows].mean())}

    estimate = bootstrap(majority, 400)["majority"]
    assert estimate.low < estimate.value < estimate.high


def test_shares_stay_shares():
    assert share_estimate([True] * 9) == Estimate(1.0, 1.0, 1.0, 9)
    estimate = share_estimate([True] * 99 + [False])
    assert estimate.high <= 1


def test_nothing_to_measure_on():
    with pytest.raises(ValueError, match="there are no rows"):
        bootstrap(lambda rows: {}, 0)


def test_average():
    assert average([Estimate(0.2, 0.1, 0.3, 10), Estimate(0.4, 0.3, 0.5, 30)]).value == pytest.approx(0.3)
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    assert average([Estimate(0.2, 0.1, 0.3, 10), unknown]).value == 0.2
    assert math.isnan(average([unknown]).value)


def test_results_as_json():
    results = {"a": Estimate(math.nan, 0.0, math.inf, 3), "b": [np.float32(0.5), np.int64(2)], "c": np.array([[1.0, math.nan]])}
    assert json.loads(json.dumps(plain(results), allow_nan=False)) == {
        "a": {"value": None, "low": 0.0, "high": None, "rows": 3},
        "b": [0.5, 2],
        "c": [[1.0, None]],
    }
