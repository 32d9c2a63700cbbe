"""Weights of labels within the classification term, and of rows in a batch."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch

from ccvae.config import TrainConfig
from ccvae.data.dataset import Dataset
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE, load
from ccvae.training.fit import Interrupted, fit

SMALL = {"latent_dim": 10, "width": 4}


def accuracy_of(model: CCVAE, data: Dataset, column: int) -> float:
    labels = data.labels[data.splits["train"]]
    observed = ~np.isnan(labels[:, column])
    predicted = model.predict_proba(data.tensor("train")).filter(regex=f"^{data.space.names[column]}").to_numpy()
    classes = predicted.argmax(axis=1) if predicted.shape[1] > 1 else predicted[:, 0] > 0.5
    return float((classes == labels[:, column])[observed].mean())


def test_evidence_is_the_classification_term_label_by_label(data: Dataset) -> None:
    torch.manual_seed(0)
    model = CCVAE.for_data(data, dropout=0.0, **SMALL)
    x, y = data.tensor(slice(0, 20)), torch.tensor(data.labels[:20])
    result = bound(model, x, y)
    assert result.log_q_y is not None
    torch.testing.assert_close(result.log_q_y.sum(-1), result.classification)
    assert (result.log_q_y[y.isnan()] == 0).all()
    for column in range(3):
        alone = torch.full_like(y, torch.nan)
        alone[:, column] = y[:, column]
        torch.testing.assert_close(bound(model, x, alone).classification, result.log_q_y[:, column])
    torch.testing.assert_close(result.weighted(label_weights=torch.ones(3)), result.total)
    weights = torch.tensor([0.0, 2.0, 1.0])
    weighted = result.weighted(0.5, 3.0, weights)
    torch.testing.assert_close(
        weighted - result.weighted(0.5, 0.0), 3 * (result.log_q_y * weights).sum(-1), rtol=1e-5, atol=1e-4
    )
    with pytest.raises(ValueError, match="need the exact estimator"):
        bound(model, x, y, "paper").weighted(label_weights=weights)


def test_a_label_of_weight_zero_is_not_learned(data: Dataset) -> None:
    found = {}
    for weights in ({}, {"bright": 0.0}):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, **SMALL)
        fit(model, data, epochs=15, batch_size=40, learning_rate=1e-2, label_weights=weights, progress=False)
        found[len(weights)] = [accuracy_of(model, data, column) for column in (0, 1)]
    assert found[0][0] > 0.9
    assert found[1][0] < 0.8
    assert found[1][1] > 0.9


def test_weights_that_make_no_sense(data: Dataset) -> None:
    with pytest.raises(ValueError, match="label_weights of bright: expected a number at least 0, found -1"):
        TrainConfig(label_weights={"bright": -1.0})
    with pytest.raises(ValueError, match="only the exact estimator can weigh labels"):
        TrainConfig(label_weights={"bright": 2.0}, estimator="paper")
    with pytest.raises(ValueError, match="no label 'Smiling'; the labels are bright, corner, side"):
        fit(CCVAE.for_data(data, **SMALL), data, epochs=1, progress=False, label_weights={"Smiling": 2.0})


def weights_of(model: CCVAE) -> torch.Tensor:
    return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])


class StopAfterThree(lightning.Callback):
    """Interrupts as Ctrl-C would."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGINT)


def test_balanced_training_resumes_exactly(data: Dataset, tmp_path: Path) -> None:
    """Rows that are drawn by weight, and classes that are drawn by probability."""
    soft = {"corner": np.full((len(data), 3), 1 / 3, dtype=np.float32)}
    uncertain = replace(data, soft=soft)

    def trained(folder: Path, given: Dataset = uncertain, **settings: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = load(folder) if settings.get("resume") else CCVAE.for_data(given, **SMALL)
        return weights_of(fit(model, given, folder, epochs=2, batch_size=40, progress=False, **settings))

    straight = trained(tmp_path / "straight", balanced=True)
    with pytest.raises(Interrupted):
        trained(tmp_path / "run", balanced=True, callbacks=[StopAfterThree()])
    assert torch.equal(trained(tmp_path / "run", balanced=True, resume=True), straight)
    assert not torch.equal(trained(tmp_path / "unbalanced"), straight)
    assert not torch.equal(trained(tmp_path / "certain", data, balanced=True), straight)
