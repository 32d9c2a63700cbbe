"""CCVAE: the latent model with its bound and its actions, and loading it from a run folder."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ccvae.config import ModelConfig, check_input_shape, settings_from
from ccvae.model import bound as bounds
from ccvae.model import counterfactuals, interventions, saving
from ccvae.model.bound import Bound
from ccvae.model.calibration import Calibration
from ccvae.model.inputs.format import InputFormat
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import Decoder, Encoder
from ccvae.storage.run_folder import (
    CALIBRATION,
    CONFIG,
    INPUTS,
    read_calibration,
    read_input_format,
    read_labels,
    read_settings,
    read_weights,
)

__all__ = ["CCVAE", "load"]


class CCVAE(LatentModel):
    """Characteristic-capturing VAE (Joy et al., ICLR 2021): a semi-supervised VAE with one block of latents for each label.

    `ccvae.fit` trains it. A trained model can

    - `predict` labels and `predict_proba`,
    - `reconstruct` inputs, `generate` new ones for given labels,
    - `intervene`: set labels of an input to other values,
    - `traverse` how a label shows, and `transfer` it from one input to another,
    - explain itself by the nearest `counterfactual`.

    `LatentModel` documents the arguments and the distributions.

    >>> from ccvae.labels import Binary, LabelSpace
    >>> model = CCVAE(LabelSpace((Binary("Smiling"),)), input_shape=(3, 32, 32))
    >>> model.generate(4, {"Smiling": 1}).shape
    torch.Size([4, 3, 32, 32])
    """

    reconstruct = interventions.reconstruct
    generate = interventions.generate
    intervene = interventions.intervene
    traverse = interventions.traverse
    transfer = interventions.transfer
    counterfactual = counterfactuals.counterfactual

    def bound(self, x: Tensor, y: Tensor, estimator: str = "exact") -> Bound:
        """Bound on log p(x, y_O) of inputs and labels, NaN where missing: see `ccvae.model.bound.bound`."""
        return bounds.bound(self, x, y, estimator)

    def save(self, folder: str | Path) -> Path:
        """Write weights, labels and settings into a run folder: see `ccvae.model.saving.save`."""
        return saving.save(self, folder)


def load(
    folder: str | Path, encoder: Encoder | None = None, decoder: Decoder | None = None, *, allow_class_paths: bool = False
) -> CCVAE:
    """The model of a run folder, in evaluation mode.

    Nothing that the folder's files name is imported or run, unless `allow_class_paths` is set: a run folder from a stranger is
    safe to load.

    Args:
        folder: what `save` or training wrote.
        encoder: the module that was given to the model, if one was; its weights are replaced.
        decoder: the same for the decoder.
        allow_class_paths: import the classes that `config.yaml` names as encoder and decoder. This runs their code: only for
            run folders whose author you trust.

    Raises:
        ValueError: the folder lacks a file, or its weights do not fit the networks, or `config.yaml` names classes that were
            neither allowed nor given.
    """
    folder = Path(folder)
    path = folder / CONFIG
    settings, space = read_settings(folder), read_labels(folder)
    for key in ("input_shape", "model"):
        if key not in settings:
            raise ValueError(f"{path} has no {key}; it was written by another version of this package, or changed")
    try:
        shape = check_input_shape(settings["input_shape"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    config = settings_from(ModelConfig, settings["model"], f"{path}: model")
    for name, given, class_path in (("encoder", encoder, config.encoder), ("decoder", decoder, config.decoder)):
        if class_path is not None and given is None and not allow_class_paths:
            raise ValueError(
                f"{path} names the {name} {class_path!r}; importing it runs its code. If you trust the author of this folder, "
                f"add --allow_class_paths, or in Python load(folder, allow_class_paths=True); or give the module itself: "
                f"load(folder, {name}=…)"
            )
    weights = read_weights(folder)
    try:
        model = saving.model_with(weights, CCVAE, space, shape, config, encoder, decoder)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    inputs = read_input_format(folder)
    if inputs is not None:
        model.input_format = InputFormat.from_entries(inputs, model.input_shape, str(folder / INPUTS))
    calibration = read_calibration(folder)
    if calibration is not None:
        model.calibration = Calibration.from_entries(calibration, str(folder / CALIBRATION))
        model.calibration.check(model.space, str(folder / CALIBRATION))
    return model.eval()
