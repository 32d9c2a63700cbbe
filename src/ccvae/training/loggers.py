"""Loggers of a training beside `metrics.csv`: TensorBoard, MLflow or Weights & Biases, through Lightning."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ccvae.config import LoggerName
from ccvae.storage.atomic import writing
from ccvae.storage.files import read_text
from ccvae.storage.links import check_inside, check_no_link

__all__ = ["build_logger", "check_logger", "finish_logger", "log_picture", "quiet_logger"]

DATABASE = "mlflow.db"
PROJECT = "ccvae"
RUN_ID = "logged_run.txt"
"""File of the run folder with the id of the run at MLflow or Weights & Biases, which a resumed training continues."""
PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST_WAIT = 3.0
"""Seconds for Weights & Biases to answer; without an answer, logs stay in the run folder."""


def check_logger(name: LoggerName | None) -> None:
    """Raise `ValueError` if a logger's package is not installed; nothing is imported."""
    if name is not None and find_spec(name) is None:
        raise ValueError(f"logger: the package {name} is not installed; run: pip install 'ccvae[log]'")


def build_logger(name: LoggerName, folder: Path, settings: Mapping[str, Any], resume: bool) -> Any:
    """Lightning's logger of a name.

    TensorBoard writes into `tensorboard/`. MLflow uses the server that the environment variable MLFLOW_TRACKING_URI names, or
    `mlflow.db` and `mlflow/`. Weights & Biases writes into `wandb/`, and uploads if its server can be reached and the
    environment variable WANDB_MODE does not say otherwise.

    Args:
        name: "tensorboard", "mlflow" or "wandb".
        folder: the run folder.
        settings: of the run, which are logged too.
        resume: whether to continue the run that an interrupted training logged.

    Raises:
        ValueError: the package is not installed, a link leads out of the run folder, or the logger cannot log.
    """
    check_logger(name)
    check_no_link(folder / name)
    check_inside(folder, [DATABASE, RUN_ID])
    folder.mkdir(parents=True, exist_ok=True)
    known = known_run(folder) if resume else None
    with quiet_logger():
        try:
            logger = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}[name](folder, known)
            if name != "tensorboard":
                with writing(folder / RUN_ID) as path:
                    path.write_text(f"{logger.run_id if name == 'mlflow' else logger.experiment.id}\n", encoding="utf-8")
            if known is None:
                logger.log_hyperparams({key: value for key, value in settings.items() if key in ("model", "training")})
        except Exception as error:
            # each package has errors of its own for a server that refuses or a database that is damaged
            raise ValueError(f"logger: {name} cannot log: {' '.join(str(error).split())[:300]}") from error
    return logger


def tensorboard(folder: Path, known: str | None) -> Any:
    """Lightning's logger for TensorBoard."""
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="")


def mlflow(folder: Path, known: str | None) -> Any:
    """Lightning's logger for MLflow."""
    from lightning.pytorch.loggers import MLFlowLogger

    server = os.environ.get("MLFLOW_TRACKING_URI")
    return MLFlowLogger(
        experiment_name=PROJECT,
        run_name=folder.resolve().name,
        tracking_uri=server or f"sqlite:///{folder.resolve() / DATABASE}",
        artifact_location=None if server else str(folder.resolve() / "mlflow"),
        run_id=known,
    )


def wandb(folder: Path, known: str | None) -> Any:
    """Lightning's logger for Weights & Biases; without a network it writes into the run folder only."""
    os.environ.setdefault("WANDB_SILENT", "true")
    from lightning.pytorch.loggers import WandbLogger
    from wandb import Settings, init

    offline = "WANDB_MODE" not in os.environ and not reachable(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if offline:
        logging.getLogger("ccvae.training").warning(
            "wandb cannot be reached: logs are kept in %s; upload them later with: wandb sync", folder / "wandb"
        )
    # Lightning would start it with an argument that wandb warns of
    run = init(
        project=PROJECT,
        name=folder.resolve().name,
        dir=folder,
        id=known,
        resume="allow",
        mode="offline" if offline else None,
        settings=Settings(silent=True, console="off"),
    )
    return WandbLogger(experiment=run)


def reachable(address: str) -> bool:
    """Whether a server answers."""
    parts = urlsplit(address)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=LONGEST_WAIT):
            return True
    except OSError:
        return False


def known_run(folder: Path) -> str | None:
    """Id of the run that an interrupted training logged, if there is one."""
    if not (folder / RUN_ID).exists():
        return None
    found = read_text(folder / RUN_ID, 1000).strip()
    if not PLAIN_ID.fullmatch(found):
        raise ValueError(f"{folder / RUN_ID}: expected the id of a logged run, found {found[:40]!r}; delete it")
    return found


def finish_logger(logger: Any) -> None:
    """Write what a logger still has to write; Weights & Biases would do so at the end of the process only."""
    if type(logger).__name__ == "WandbLogger":
        with quiet_logger():
            logger.experiment.finish()


def log_picture(logger: Any, name: str, pixels: np.ndarray, step: int, epoch: int) -> None:
    """Log a picture, uint8 `(height, width, 3)`, with TensorBoard, MLflow or Weights & Biases; other loggers are left alone."""
    kind = type(logger).__name__
    if kind == "TensorBoardLogger":
        logger.experiment.add_image(f"pictures/{name}", pixels, step, dataformats="HWC")
    elif kind == "MLFlowLogger":
        logger.experiment.log_image(logger.run_id, pixels, artifact_file=f"pictures/{name}/epoch-{epoch:04d}.png")
    elif kind == "WandbLogger":
        logger.log_image(f"pictures/{name}", [pixels], step)


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Within, loggers' packages neither advertise nor warn of their own insides."""
    names = ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow", "mlflow.store.db.utils")
    levels = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*``noload`` loader strategy")
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
