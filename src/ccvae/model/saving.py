"""Writing a model into a run folder, and making one from weights that anyone may have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ccvae.config import ModelConfig
from ccvae.labels import LabelSpace
from ccvae.labels.cells import first_few
from ccvae.model.defaults import as_first_saved, resolved
from ccvae.model.inputs.format import InputFormat
from ccvae.model.label_blocks.layout import block_slices
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import Decoder, Encoder, build_decoder, build_encoder
from ccvae.storage.run_folder import CALIBRATION, INPUTS, WEIGHTS, write_entries, write_labels, write_settings, write_weights

__all__ = ["model_with", "save", "save_settings"]

Model = TypeVar("Model", bound=LatentModel)


def save(model: LatentModel, folder: str | Path, settings: Mapping[str, Any] | None = None, partial: str | None = None) -> Path:
    """Write a model into a run folder.

    Args:
        model: the model.
        folder: created if it does not exist; a model in it is replaced.
        settings: further sections of `config.yaml` ("training", "data"); those in the file are kept.
        partial: how far the model is trained, such as "8 of 120 steps"; None if its training has finished. Loading it says so.

    Returns:
        The folder.
    """
    folder = Path(folder)
    save_settings(model, folder, settings)
    write_weights(folder, model.state_dict(), partial)
    if model.calibration is not None:
        write_entries(folder, CALIBRATION, model.calibration.to_json())
    return folder


def model_with(
    weights: Mapping[str, Tensor],
    kind: type[Model],
    space: LabelSpace,
    input_shape: tuple[int, ...],
    config: ModelConfig,
    encoder: Encoder | None = None,
    decoder: Decoder | None = None,
) -> Model:
    """A model with given weights. The weights are compared with the configured networks before any memory is allocated.

    Args:
        weights: weights by name.
        kind: class of the model.
        space: the labels.
        input_shape: shape of one input.
        config: settings of the model.
        encoder: instead of the configured encoder.
        decoder: instead of the configured decoder.

    Raises:
        ValueError: the weights do not fit, or the settings are of no model.
    """
    if not config.latent_dim:
        raise ValueError("latent_dim: expected the size of the model that was trained, found 0")
    config = resolved(as_first_saved(config, input_shape), len(space), input_shape)
    sizes = [block.stop - block.start for block in block_slices(space, config)]
    try:
        with torch.device("meta"):  # sizes only: a few altered numbers could ask for any amount of memory
            if encoder is None and config.encoder is None:
                check_fits(weights, "encoder", build_encoder(config, input_shape, sizes))
            if decoder is None and config.decoder is None:
                check_fits(weights, "decoder", build_decoder(config, input_shape, sizes))
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"the configured networks cannot be built: {str(error).splitlines()[0]}") from None
    model = kind(space, input_shape, config, encoder, decoder)
    check_fits(weights, "", model)
    model.load_state_dict(weights)
    return model


def check_fits(weights: Mapping[str, Tensor], part: str, module: nn.Module) -> None:
    """Raise `ValueError` unless weights have the names, shapes and kinds of numbers of a module.

    Args:
        weights: weights of the whole model by name.
        part: name of the module in the model, such as "encoder"; empty for the model itself.
        module: the module.
    """
    prefix = f"{part}." if part else ""
    expected = {f"{prefix}{name}": weight for name, weight in module.state_dict().items()}
    given = {name: weight for name, weight in weights.items() if name.startswith(prefix)}
    wrong = [f"{name} is missing" for name in expected.keys() - given.keys()]
    wrong += [f"{name} is unknown" for name in given.keys() - expected.keys()]
    for name in expected.keys() & given.keys():
        ours, theirs = expected[name], given[name]
        if ours.shape != theirs.shape:
            wrong.append(f"{name} has the shape {tuple(theirs.shape)}, expected {tuple(ours.shape)}")
        elif theirs.is_complex() or ours.is_floating_point() != theirs.is_floating_point():
            wrong.append(f"{name} has numbers of type {theirs.dtype}, expected {ours.dtype}")
        elif name.endswith("running_var") and (theirs < 0).any():
            wrong.append(f"{name} has negative variances")
    if wrong:
        raise ValueError(
            f"{WEIGHTS} does not fit the configured networks: {first_few(sorted(wrong))}; a model with an encoder or decoder "
            f"of your own must be loaded with it: load(folder, encoder=…, decoder=…)"
        )


def save_settings(model: LatentModel, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Write what is known of a model before it is trained: settings and labels, but no weights. See `save`."""
    write_settings(folder, {"input_shape": list(model.input_shape), "model": asdict(model.config), **(settings or {})})
    write_labels(folder, model.space)
    if model.input_format != InputFormat():
        write_entries(folder, INPUTS, model.input_format.to_json())
