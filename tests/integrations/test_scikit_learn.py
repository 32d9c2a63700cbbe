import logging
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, make_blobs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import estimator_checks_generator

from ccvae.integrations import CCVAEClassifier, CCVAETransformer

STEPS = 60


def checks():
    """scikit-learn's own checks of both estimators, one of each name."""
    for estimator in (CCVAEClassifier, CCVAETransformer):
        for made, check in estimator_checks_generator(estimator(steps=STEPS, random_state=0), legacy=True, mark=None):
            yield pytest.param(made, check, id=f"{estimator.__name__}-{getattr(check, 'func', check).__name__}")


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_estimator_check(estimator, check):
    """None of scikit-learn's checks is excepted; those for other kinds of estimators are not generated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks warn of themselves
        check(estimator)


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(240, 5, centers=3, random_state=0)
    partly = y.copy()
    partly[np.arange(len(y)) % 8 != 0] = -1
    return X, y, partly


@pytest.fixture(scope="module")
def classifier(blobs):
    X, _, partly = blobs
    return CCVAEClassifier(steps=200, random_state=0).fit(X, partly)


def test_few_labels_suffice(blobs, classifier):
    X, y, _ = blobs
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.score(X, y) > 0.95
    assert np.allclose(classifier.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("mark", [np.nan, None, "unknown"])
def test_ways_to_say_unlabelled(blobs, mark):
    X, y, partly = blobs
    names = np.array(["red", "green", "blue"], dtype=object)[y]
    names[partly == -1] = mark
    fitted = CCVAEClassifier(steps=STEPS, unlabelled="unknown", random_state=0).fit(X, names)
    assert fitted.classes_.tolist() == ["blue", "green", "red"]
    assert set(fitted.predict(X)) <= set(fitted.classes_)


def test_minus_one_is_a_class_beside_one_other(blobs):
    X, y, _ = blobs
    fitted = CCVAEClassifier(steps=STEPS, random_state=0).fit(X, np.where(y == 0, -1, 1))
    assert fitted.classes_.tolist() == [-1, 1]


def test_several_labels_with_holes(blobs):
    X, y, _ = blobs
    labels = np.stack([y == 0, y == 1], 1).astype(float)
    labels[::3, 0] = np.nan
    labels[1::4, 1] = np.nan
    fitted = CCVAEClassifier(steps=200, random_state=0).fit(X, labels)
    assert fitted.predict_proba(X).shape == (240, 2)
    assert (fitted.predict(X) == np.stack([y == 0, y == 1], 1)).mean() > 0.95


def test_hidden_labels_change_nothing(blobs):
    X, _, partly = blobs
    first = CCVAEClassifier(steps=10, random_state=0).fit(X, partly).predict_proba(X)
    other = np.where(partly == -1, np.nan, partly)
    assert np.array_equal(first, CCVAEClassifier(steps=10, random_state=0).fit(X, other).predict_proba(X))


def test_pipelines_searches_clones_and_pickles(blobs, classifier):
    X, y, _ = blobs
    table = pd.DataFrame(X, columns=list("abcde")).assign(color=np.where(y == 2, "dark", "light"))
    columns = ColumnTransformer([("color", OneHotEncoder(), ["color"])], remainder="passthrough")
    pipeline = make_pipeline(columns, CCVAEClassifier(random_state=0))
    search = GridSearchCV(pipeline, {"ccvaeclassifier__steps": [5, STEPS]}, cv=2).fit(table, y)
    assert search.best_score_ > 0.8
    assert clone(classifier).get_params() == classifier.get_params()
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))


def test_latents_and_back(blobs):
    X, _, partly = blobs
    transformer = CCVAETransformer(steps=400, random_state=0).set_output(transform="pandas").fit(X, partly)
    latents = transformer.transform(X)
    assert list(latents.columns[:2]) == ["label_0", "label_1"]
    assert latents.columns[-1].startswith("style_")
    back = transformer.inverse_transform(latents)
    assert np.corrcoef(back.ravel(), X.ravel())[0, 1] > 0.9


def test_few_features_are_classified():
    """The default weight of classification is large enough for four features."""
    X, y = load_iris(return_X_y=True)
    assert CCVAEClassifier(steps=STEPS, random_state=0).fit(X, y).score(X, y) > 0.95


def test_iris_in_own_units():
    X, y = load_iris(return_X_y=True)
    scaled = CCVAEClassifier(steps=STEPS, random_state=0).fit(1e4 * X + 1e6, y).predict(1e4 * X + 1e6)
    assert np.array_equal(scaled, CCVAEClassifier(steps=STEPS, random_state=0).fit(X, y).predict(X))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((20, 2)), np.full(20, -1), "at least two classes"),
        (np.zeros((20, 2)), np.linspace(0, 1, 20), "continuous"),
        (np.zeros((20, 2)), np.zeros((20, 2, 2)), "expected shape"),
        (np.zeros((20, 2, 2)), np.arange(20) % 2, "dim 3"),
    ],
)
def test_wrong_data_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        CCVAEClassifier().fit(X, y)
