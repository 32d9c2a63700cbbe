"""A program of a user who checks types: mypy --strict must accept it, and know what the calls return."""

from pathlib import Path
from typing import assert_type

import numpy as np
import pandas as pd
import torch

import ccvae


def trained(folder: Path) -> ccvae.CCVAE:
    """A model of a folder of images."""
    data = ccvae.data.image_folder(folder, "labels.csv", size=64, kinds={"age": "continuous"})
    model = ccvae.CCVAE.for_data(data, width=16)
    config = ccvae.TrainConfig(epochs=2, logger="tensorboard")
    return ccvae.fit(model, data, "runs/mine", config, batch_size=100)


def used(address: str) -> list[str]:
    """What a model from a run folder or the Hub predicts."""
    model = ccvae.load(address, revision="v1")
    assert_type(model, ccvae.CCVAE)
    assert_type(model.space, ccvae.LabelSpace)
    images = np.zeros((2, 64, 64, 3), np.uint8)
    table = model.predict_proba(images)
    assert_type(table, pd.DataFrame)
    posterior = model.encode(torch.zeros(1, 3, 64, 64))
    assert_type(posterior, torch.distributions.Normal)
    assert_type(model.push_to_hub("user/name", license="mit"), str)
    space = ccvae.LabelSpace((ccvae.Binary("Smiling"), ccvae.Continuous("age", 40, 12)))
    names: tuple[str, ...] = space.names
    return [*names, *map(str, table.columns)]
