"""How many epochs a training has where none are configured."""

from types import SimpleNamespace

import numpy as np
import pytest

from ccvae.config import TrainConfig
from ccvae.model.ccvae import CCVAE, load
from ccvae.storage.run_folder import check_resumable, read_settings
from ccvae.training.duration import LEAST_EPOCHS, LEAST_STEPS, MOST_EPOCHS, chosen_epochs, labelled_rows
from ccvae.training.fit import fit


def rows_of(count, labelled=1.0):
    """As much of a data set as counts: its training rows, of which a share has labels."""
    labels = np.zeros((count, 1))
    labels[round(labelled * count) :] = np.nan
    return SimpleNamespace(labels=labels, splits={"train": np.arange(count)})


def test_configured_epochs_stay(data):
    assert chosen_epochs(TrainConfig(epochs=3), data) == 3


@pytest.mark.parametrize(("count", "labelled"), [(3200, 1.0), (3200, 0.1), (9600, 0.6)])
def test_steps_are_enough_and_no_more(count, labelled):
    many = rows_of(count, labelled)
    epochs = chosen_epochs(TrainConfig(), many)
    steps = count / 50 if labelled >= 0.5 else (count - len(labelled_rows(many))) / 25
    assert (epochs - 1) * steps < LEAST_STEPS <= epochs * steps


def test_few_rows_are_not_repeated_without_end_and_many_are_seen_more_than_once():
    assert chosen_epochs(TrainConfig(), rows_of(160)) == MOST_EPOCHS
    assert chosen_epochs(TrainConfig(), rows_of(10**6)) == LEAST_EPOCHS


def test_a_run_folder_has_the_number(data, tmp_path):
    model = CCVAE.for_data(data, network="mlp", latent_dim=10, width=1)
    fit(model, data, tmp_path / "run", batch_size=160, progress=False, intervention_weight=0.0, labelled_share=None)
    assert read_settings(tmp_path / "run")["training"]["epochs"] == MOST_EPOCHS
    check_resumable(tmp_path / "run", {"training": {"epochs": None}})
    with pytest.raises(ValueError, match=r"training\.epochs \(was 200, now 100\)"):
        check_resumable(tmp_path / "run", {"training": {"epochs": 100}})
    assert load(tmp_path / "run").config.block_dim == 2
