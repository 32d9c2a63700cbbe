"""scikit-learn estimators: a classifier for partly labelled data, and a transformer into the latent space.

Both take a numeric table `(rows, features)` and labels with holes, and work in pipelines, grid searches and `clone`.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from ccvae.config import ModelConfig, TrainConfig
from ccvae.config.validation import check_whole
from ccvae.data import arrays
from ccvae.data.loaders.batches import Batches
from ccvae.integrations.features import SCALINGS, columns_without_numbers, scales
from ccvae.integrations.targets import class_numbers, columns_of, is_mark, unlabelled_cells
from ccvae.labels import Binary, Categorical, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import fit

__all__ = ["CCVAEClassifier", "CCVAETransformer"]

FEWEST_ROWS = 4
LABELLED_SHARE = 0.5
"""Of each batch, if fewer rows have labels."""


class _CCVAEEstimator(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the transformer share: parameters, and training."""

    def __init__(
        self,
        *,
        latent_dim: int = 0,
        block_dim: int = 2,
        width: int = 32,
        dropout: float = 0.0,
        steps: int = 600,
        batch_size: int = 64,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.05,
        classification_weight: float | None = None,
        scaling: str = "auto",
        unlabelled: Any = -1,
        accelerator: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.block_dim = block_dim
        self.width = width
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.classification_weight = classification_weight
        self.scaling = scaling
        self.unlabelled = unlabelled
        self.accelerator = accelerator
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = False
        return tags

    def _fit(self, X: Any, y: Any) -> None:
        """Check the data, and train a model on them."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None; "
                f"mark rows without a label by {self.unlabelled!r} or NaN"
            )
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling: expected one of {', '.join(SCALINGS)}, found {self.scaling!r}")
        check_whole("steps", self.steps, least=1)
        check_whole("batch_size", self.batch_size, least=2)
        X = self._rows_of(X, ensure_min_samples=FEWEST_ROWS)
        names, numbers = self._labels_of(y, len(X))
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        self.scale_ = scales(X, self.scaling)
        labels: list[Binary | Categorical] = [
            Binary(name) if len(values) == 2 else Categorical(name, tuple(range(len(values))))
            for name, values in zip(names, self._values, strict=True)
        ]
        space = LabelSpace(tuple(labels)).with_priors(numbers)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        table = pd.DataFrame(numbers.astype(object), columns=names)
        splits = {"train": np.arange(len(X))}
        data = arrays(self._scaled(X), table, space=space, splits=splits, name="X", seed=seed)
        batch_size = min(self.batch_size, len(X))
        steps_per_epoch = len(Batches(data, batch_size, labelled_share=LABELLED_SHARE))
        training = TrainConfig(
            epochs=math.ceil(self.steps / steps_per_epoch),
            batch_size=batch_size,
            labelled_share=LABELLED_SHARE,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            classification_weight=self.classification_weight,
            # what short trainings on tables need: teachers would take longer than all the rest
            few_labels=False,
            redrawn_share=0.0,
            kl_warmup=0.0,
            accelerator=self.accelerator,
            devices=1,
            seed=seed,
        )
        model = ModelConfig(
            latent_dim=self.latent_dim, block_dim=self.block_dim, width=self.width, dropout=self.dropout, likelihood="normal"
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trained = fit(CCVAE(data.space, data.input_shape, model), data, config=training, progress=False)
        self.model_ = trained.double()  # so that results do not depend on which rows come together

    def _labels_of(self, y: Any, rows: int) -> tuple[list[str], np.ndarray]:
        """Names of the labels, and their numbers `(rows, labels)`, NaN where not observed."""
        columns, self._single = columns_of(y, rows)
        found = [class_numbers(column, self.unlabelled) for column in columns]
        self._values = [values for values, _ in found]
        self.classes_ = self._values[0] if self._single else self._values
        if isinstance(y, pd.DataFrame):
            names = [str(name) for name in y.columns]
        else:
            names = ["label"] if self._single else [f"label {column + 1}" for column in range(len(columns))]
        return names, np.stack([numbers for _, numbers in found], axis=1)

    def _rows_of(self, X: Any, **given: Any) -> np.ndarray:
        """Rows as numbers `(rows, features)`; raises `ValueError` for images, texts and all that scikit-learn refuses."""
        dimensions = len(getattr(X, "shape", ()))
        if dimensions > 2:
            raise ValueError(
                f"Found array with dim {dimensions}, while dim <= 2 is required by {type(self).__name__}: it takes tables "
                "(rows, features). For images there are ccvae.data.arrays(images, labels) and ccvae.fit"
            )
        try:
            rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32], **given)
        except (TypeError, ValueError) as error:
            columns = columns_without_numbers(X)
            if columns or "could not convert string" in str(error):
                where = f"these columns hold texts or dates: {', '.join(columns)}" if columns else str(error)
                raise ValueError(
                    f"X: features are numbers, but {where}. Encode them first, for example with "
                    "sklearn.compose.ColumnTransformer and sklearn.preprocessing.OneHotEncoder"
                ) from None
            raise
        return rows

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        """Features with the training rows' mean 0, divided by their scales."""
        scaled: np.ndarray = ((X - self.mean_) / self.scale_).astype(np.float32)
        return scaled

    def _inputs_of(self, X: Any) -> np.ndarray:
        """New rows as the model takes them."""
        check_is_fitted(self, "model_")
        return self._scaled(self._rows_of(X, reset=False))


class CCVAEClassifier(ClassifierMixin, _CCVAEEstimator):  # type: ignore[misc]
    """Semi-supervised classifier: q(y|x) of a CCVAE that is trained on all rows, labelled or not.

    Rows without a label have `unlabelled` (-1, scikit-learn's convention for semi-supervised data), NaN or None in `y`. If
    only one other class is left, -1 is taken for a class. Features are scaled inside. Sample weights are not supported:
    `fit` has no `sample_weight`. `score` is the accuracy on rows that have a label.

    Args:
        latent_dim: size of the latent vector; 0 gives room for the label blocks and 32 dimensions of style.
        block_dim: dimensions of each label's block.
        width: eighth of the number of units in a hidden layer.
        dropout: probability with which the encoder's last features are dropped in training.
        steps: training steps, rounded up to whole passes over the rows (over the unlabelled ones, if fewer than half have
            labels).
        batch_size: rows per step, at most all rows.
        learning_rate: highest learning rate of the one-cycle schedule.
        weight_decay: decoupled weight decay of the networks.
        classification_weight: weight of log q(y|x) in the objective; None chooses it (see `ccvae.TrainConfig`).
        scaling: "each" divides every feature by its standard deviation; "common" divides all by the same number, so that
            features that hardly vary, such as pixels at the border, stay small. "auto" is common if all features have the same
            lowest value and most have the same highest, as pixels and ratings do, and else each.
        unlabelled: value in `y` that means "not labelled".
        accelerator: as Lightning's: "cpu", "gpu" or "auto".
        random_state: seed or random generator; None draws a seed from NumPy's global generator.

    Attributes:
        classes_: classes of the label; a list of arrays if `y` has several columns.
        model_: the trained `CCVAE`.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> partly = y.copy()
    >>> partly[np.arange(150) % 10 != 0] = -1
    >>> classifier = CCVAEClassifier(steps=200, random_state=0).fit(X, partly)
    >>> classifier.predict(X[:2]).shape, bool(classifier.score(X, y) > 0.8)
    ((2,), True)
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows `(rows, features)` with labels `(rows,)` or `(rows, labels)`, of which any may be missing."""
        self._fit(X, y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """q(y|x): `(rows, classes)`; of several labels, a list of such arrays, or `(rows, labels)` if all are 0 or 1."""
        inputs = self._inputs_of(X)  # first, for it says if nothing was fitted yet
        table = self.model_.predict_proba(inputs)
        parts = [table[list(label.output_columns)].to_numpy(dtype=np.float64) for label in self.model_.space]
        parts = [part / part.sum(axis=1, keepdims=True) for part in parts]
        if self._single:
            return parts[0]
        if all(values.tolist() == [0, 1] for values in self._values):
            return np.stack([part[:, 1] for part in parts], axis=1)
        return parts

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row: `(rows,)`, or `(rows, labels)` of several labels."""
        parts = self.predict_proba(X)
        if self._single:
            return np.asarray(self._values[0][np.asarray(parts).argmax(axis=1)])
        if isinstance(parts, np.ndarray):
            return (parts >= 0.5).astype(self._values[0].dtype)
        return np.stack([values[part.argmax(axis=1)] for values, part in zip(self._values, parts, strict=True)], axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the rows of `y` that have a label, so that searches can score partly labelled rows.

        Of several labels, a row counts as correct if all its observed labels are.
        """
        predicted = np.asarray(self.predict(X))
        columns, _ = columns_of(y, len(predicted))
        if len(columns) != len(self._values):
            raise ValueError(f"y: expected {len(self._values)} labels, as in fit, found {len(columns)}")
        missing = np.stack([self._missing(cells, values) for cells, values in zip(columns, self._values, strict=True)], axis=1)
        if not missing.any():
            return float(super().score(X, y, sample_weight))
        kept = ~missing.all(axis=1)
        if not kept.any():
            raise ValueError("y: no row has a label, so there is nothing to score")
        correct = np.ones(missing.shape, dtype=bool)
        correct[~missing] = predicted.reshape(missing.shape)[~missing] == np.stack(columns, axis=1)[~missing]
        weights = None if sample_weight is None else np.asarray(sample_weight)[kept]
        return float(np.average(correct[kept].all(axis=1), weights=weights))

    def _missing(self, cells: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Which cells of a label are not observed; the mark is none where it was a class in `fit`."""
        missing, marked = unlabelled_cells(cells, self.unlabelled)
        return missing if any(is_mark(value, self.unlabelled) for value in values.tolist()) else missing | marked


class CCVAETransformer(TransformerMixin, _CCVAEEstimator):  # type: ignore[misc]
    """Rows as the posterior means of their latents: each label's block, then the style.

    Trained on partly labelled rows as `CCVAEClassifier` is, with the same parameters. `get_feature_names_out` names each
    latent by its label. `inverse_transform` decodes latents into rows in the units of `X`.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows `(rows, features)` with labels `(rows,)` or `(rows, labels)`, of which any may be missing."""
        self._fit(X, y)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Means of q(z|x): `(rows, latent_dim)`."""
        inputs = self._inputs_of(X)
        means: np.ndarray = self.model_.encode(inputs).loc.cpu().numpy().astype(np.float64)
        return means

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Expected rows `(rows, features)` of latents `(rows, latent_dim)`, in the units of `X`."""
        check_is_fitted(self, "model_")
        latents = check_array(Z, dtype=np.float64, input_name="Z", ensure_2d=False, allow_nd=True)
        size = self.model_.config.latent_dim
        if latents.ndim != 2 or latents.shape[1] != size:
            raise ValueError(f"Z: expected shape (rows, {size}), as transform gives it, found {latents.shape}")
        decoded = self.model_.decode(torch.tensor(latents, device=self.model_.device)).cpu().numpy()
        rows: np.ndarray = decoded * self.scale_ + self.mean_
        return rows

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the latents: the label and a number, or "style" and a number."""
        check_is_fitted(self, "model_")
        model = self.model_
        names = [
            f"{name}_{number}"
            for name, block in zip(model.space.names, model.block_slices, strict=True)
            for number in range(block.stop - block.start)
        ]
        names += [f"style_{number}" for number in range(model.style.stop - model.style.start)]
        return np.array(names, dtype=object)
