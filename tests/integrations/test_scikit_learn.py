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

from ccvae.data.loaders.batches import Batches
from ccvae.integrations import CCVAEClassifier, CCVAETransformer
from ccvae.integrations.features import scales

STEPS = 60


def checks():
    """scikit-learn's own checks of both estimators, one of each name."""
    for estimator in (CCVAEClassifier, CCVAETransformer):
        for made, check in estimator_checks_generator(estimator(steps=STEPS // 2, random_state=0), legacy=True, mark=None):
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
        (np.zeros((20, 2, 2)), np.arange(20) % 2, "dim 3, while .* takes tables .* For images there are"),
        (pd.DataFrame({"a": range(20), "color": ["red"] * 20}), np.arange(20) % 2, "these columns hold texts or dates: color"),
        (pd.DataFrame({"day": pd.date_range("2020", periods=20), "a": 1}), np.arange(20) % 2, "dates: day. Encode them first"),
        (np.array([["1", "red"]] * 20, dtype=object), np.arange(20) % 2, "'red'. Encode them first"),
        (np.zeros((20, 2)), None, "mark rows without a label by -1 or NaN"),
        (np.zeros((20, 2)), np.array([0, "?"] * 10, dtype=object), "found '\\?' and 0; .* say with unlabelled='\\?'"),
    ],
)
def test_wrong_data_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        CCVAEClassifier().fit(X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"steps": 0}, "steps: expected"), ({"steps": 2.5}, "steps: expected"), ({"batch_size": 0}, "batch_size: expected")],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CCVAEClassifier(**settings).fit(np.eye(20), np.arange(20) % 2)


def test_images_are_not_rows_of_a_table(classifier):
    with pytest.raises(ValueError, match=r"dim 4, while .* takes tables .* For images there are"):
        classifier.predict(np.zeros((4, 3, 16, 16), np.uint8))
    with pytest.raises(ValueError, match="X has 768 features, but CCVAEClassifier is expecting 5"):
        classifier.predict(np.zeros((4, 768)))


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category"])
def test_nullable_columns_of_pandas(blobs, dtype):
    X, y, _ = blobs
    cells = {"Int64": [3, 4], "boolean": [False, True], "string": ["no", "yes"], "category": ["no", "yes"]}[dtype]
    labels = pd.Series([None if row % 3 else cells[int(y[row] == 0)] for row in range(len(y))], dtype=dtype)
    fitted = CCVAEClassifier(steps=STEPS, random_state=0).fit(X, labels)
    assert fitted.classes_.tolist() == cells
    assert fitted.score(X, labels) > 0.9
    assert fitted.score(X, np.array(cells)[(y == 0).astype(int)]) > 0.9


def test_only_labelled_rows_are_scored(blobs, classifier):
    X, y, partly = blobs
    labelled = partly != -1
    assert classifier.score(X, partly) == classifier.score(X[labelled], y[labelled])
    wrong = np.where(labelled, (y + 1) % 3, -1)
    assert classifier.score(X, wrong) < 0.1
    weights = np.where(y == classifier.predict(X), 1.0, 0.0)
    assert classifier.score(X, partly, sample_weight=weights) == 1
    with pytest.raises(ValueError, match="no row has a label"):
        classifier.score(X, np.full(len(y), -1))
    with pytest.raises(ValueError, match="expected 1 labels, as in fit, found 2"):
        classifier.score(X, np.stack([y, partly], 1))


def test_partly_labelled_rows_are_searched(blobs):
    X, _, partly = blobs
    search = GridSearchCV(CCVAEClassifier(random_state=0), {"steps": [STEPS]}, cv=2).fit(X, partly)
    assert search.best_score_ > 0.9, "rows without a label do not count as wrong"


def test_steps_are_those_of_training(blobs, monkeypatch):
    X, y, partly = blobs
    made = []
    monkeypatch.setattr(
        "ccvae.integrations.scikit_learn.fit", lambda model, data, config, progress: made.append((data, config)) or model
    )
    for labels in (y, partly):
        CCVAEClassifier(steps=50, random_state=0).fit(X, labels)
    for (data, config), fewest in zip(made, (240 // 64, 210 // 32), strict=True):
        batches = len(Batches(data, config.batch_size, labelled_share=config.labelled_share))
        assert batches == fewest
        assert 50 <= config.epochs * batches < 50 + batches


def test_latents_that_are_no_numbers_are_refused(blobs):
    X, y, _ = blobs
    transformer = CCVAETransformer(steps=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="Z contains NaN"):
        transformer.inverse_transform(np.full((2, transformer.model_.config.latent_dim), np.nan))


def test_pixels_have_one_scale_and_other_features_their_own():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 17, (200, 6)).astype(float)
    pixels[:, 0] = pixels[:, 0] > 15  # a pixel that is rarely drawn
    pixels[:, 1] = 0
    deviations = pixels.std(axis=0)
    assert np.allclose(scales(pixels, "auto"), np.sqrt(np.square(deviations[[0, 2, 3, 4, 5]]).mean()))
    assert np.allclose(scales(pixels, "each"), np.where(deviations > 0, deviations, 1))
    others = pixels * [1, 1, 1, 1, 1, 1000]
    others[:, 5] += 1
    assert np.allclose(scales(others, "auto"), scales(others, "each"))
    assert len(set(scales(others, "common"))) == 1
    assert scales(np.ones((5, 2)), "common").tolist() == [1, 1]
    with pytest.raises(ValueError, match="scaling: expected one of auto, each, common, found 'both'"):
        CCVAEClassifier(scaling="both").fit(pixels, np.arange(200) % 2)


def test_the_model_inside_generates_and_edits(blobs, classifier):
    model, rows = classifier.model_, blobs[0][:3] / classifier.scale_
    assert model.generate(4, {"label": 2}, seed=0).isfinite().all()
    assert model.intervene(rows, {"label": 1}).isfinite().all()
    assert model.transfer(rows, rows[::-1].copy(), ["label"]).isfinite().all()
