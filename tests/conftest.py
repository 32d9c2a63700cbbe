"""Small data and a small trained run, shared by tests."""

import shutil

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from ccvae.data.dataset import Dataset
from ccvae.data.splits import split_rows
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE, load
from ccvae.training.fit import fit

settings.register_profile("patient", deadline=None)  # on a busy machine any example may take long
settings.load_profile("patient")


LONGEST_FIRST = (
    "test_processes.py", "test_readme.py", "test_package.py", "test_scikit_learn.py", "test_onnx.py",
    "test_malformed_inputs.py", "test_loggers.py", "test_onnx_example.py", "test_cli.py", "test_bound.py", "test_kills.py",
    "test_out_of_resources.py",
)  # fmt: skip
"""Files that take longest. Processes that share the tests then end at about the same time."""


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, each of them whole."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def squares(count=240, size=16, channels=3, seed=0, hidden=0.5):
    """Pictures of one square: whether it is bright, which corner it is in, and how large it is, with half the labels hidden."""
    rng = np.random.default_rng(seed)
    bright, corner, side = rng.integers(0, 2, count), rng.integers(0, 3, count), rng.integers(3, 8, count)
    images = np.full((count, size, size, channels), 40, dtype=np.uint8)
    for row in range(count):
        top, left = ((0, 0), (0, 8), (8, 0))[corner[row]]
        images[row, top : top + side[row], left : left + side[row]] = 220 if bright[row] else 110
    labels = np.stack([bright, corner, side], 1).astype(np.float32)
    labels[rng.random(labels.shape) < hidden] = np.nan
    splits = split_rows(count, validation=40, test=40, seed=seed)
    space = LabelSpace((Binary("bright"), Categorical("corner", ("left", "right", "low")), Continuous("side")))
    space = space.with_priors(labels[splits["train"]])
    ids = np.array([f"square-{row}" for row in range(count)])
    return Dataset(images, labels, space, ids, splits, name="squares")


@pytest.fixture(scope="session")
def data():
    return squares()


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory, worker_id):
    """A model trained well enough on the squares for its interventions to mean something, and its run folder.

    Trained once, by the first process that needs it; each has a copy.
    """
    root = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with FileLock(root / "squares.lock"):
        if not (root / "squares").exists():
            train_on_squares(data, root / "squares-begun")
            (root / "squares-begun").rename(root / "squares")
    folder = tmp_path_factory.mktemp("runs") / "squares"
    shutil.copytree(root / "squares", folder)
    return load(folder), folder


def train_on_squares(data, folder):
    torch.manual_seed(0)
    # squares are few pixels: a Laplace density, which seeks medians, would need longer to see them
    model = CCVAE.for_data(data, network="conv", latent_dim=12, block_dim=2, width=8, likelihood="normal", dropout=0.0)
    settings = {"batch_size": 20, "learning_rate": 0.01, "kl_warmup": 0.0, "weight_decay": 0.0, "classification_weight": 50.0}
    fit(model, data, folder, epochs=120, progress=False, **settings)
