"""Writing a model into a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ccvae.model.latent_model import LatentModel
from ccvae.storage.run_folder import write_calibration, write_labels, write_settings, write_weights

__all__ = ["save"]


def save(model: LatentModel, folder: str | Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Write a model into a run folder.

    Args:
        model: the model.
        folder: made if it does not exist; a model in it is replaced.
        settings: further sections of `config.yaml` ("training", "data"); those already there stay.

    Returns:
        The folder.
    """
    folder = Path(folder)
    write_settings(folder, {"input_shape": list(model.input_shape), "model": asdict(model.config), **(settings or {})})
    write_labels(folder, model.space)
    write_weights(folder, model.state_dict())
    if model.calibration is not None:
        write_calibration(folder, model.calibration.to_json())
    return folder
