"""CCVAE: the latent model with its bound and its actions, and loading it from a run folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from ccvae.config import ModelConfig, check_input_shape, settings_from
from ccvae.model import bound as bounds
from ccvae.model import counterfactuals, interventions, saving
from ccvae.model.bound import Bound
from ccvae.model.calibration import Calibration
from ccvae.model.card import model_card
from ccvae.model.inputs.format import InputFormat
from ccvae.model.latent_model import LatentModel
from ccvae.model.networks.build import Decoder, Encoder
from ccvae.storage.hub import CARD, Address, local_run, parse_address, public_settings, upload
from ccvae.storage.run_folder import (
    CALIBRATION,
    CONFIG,
    INPUTS,
    read_entries,
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

    `LatentDistributions` documents the arguments and the distributions.

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

    def push_to_hub(
        self,
        repository: str,
        *,
        run: str | Path | None = None,
        license: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
        unmeasured: bool = False,
    ) -> str:
        """Upload weights, labels, settings and a model card to the Hugging Face Hub: `load("hf://user/name")` reads them.

        The card is filled from the run folder: metrics with intervals, labels, sizes of the splits. Nothing else of the folder
        is uploaded: no data, splits, figures or checkpoints, and of the settings nothing that names files. For tables, what was
        fitted on the input columns is part of the model and is uploaded: names, means, scales and categories of the columns.

        Args:
            repository: "user/name"; it is created if it does not exist.
            run: the run folder that describes this model; by default the one that it was trained into or loaded from.
            license: license of the weights, as an identifier such as "mit" or "cc-by-4.0"; the card says if none is stated.
            private: whether a new repository is private; None is the account's default.
            revision: branch to upload to; the main branch if not given.
            token: access token; by default the environment variable HF_TOKEN, or that of `hf auth login`.
            unmeasured: whether a model without metrics may be uploaded; its card says so.

        Returns:
            Address of the repository's page.

        Raises:
            ImportError: `huggingface_hub` is not installed: `pip install 'ccvae[hub]'`.
            ValueError: the run was not evaluated, the name is not "user/name", or the Hub refuses.
            ConnectionError: the Hub cannot be reached.
        """
        address = Address(parse_address(f"hf://{repository.removeprefix('hf://')}").repository, revision)
        described = Path(run) if run is not None else self.run_folder
        if described is None and not unmeasured:
            raise ValueError(
                f"{address}: this model has no run folder whose metrics its card could state; give run=, or upload it without "
                f"metrics: unmeasured=True"
            )
        with TemporaryDirectory(prefix="ccvae-") as place:
            settings = {} if described is None else public_settings(read_settings(described))
            folder = saving.save(self, place, {name: settings[name] for name in ("training", "data") if name in settings})
            card = model_card(described or folder, str(address), license, unmeasured, weights=folder)
            (folder / CARD).write_text(card, encoding="utf-8")
            return upload(
                folder,
                address.repository,
                message=f"Model of ccvae {version('ccvae')}",
                revision=revision,
                private=private,
                token=token,
            )


def load(
    folder: str | Path,
    encoder: Encoder | None = None,
    decoder: Decoder | None = None,
    *,
    allow_class_paths: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> CCVAE:
    """The model of a run folder, in evaluation mode.

    Nothing that the folder's files name is imported or run, unless `allow_class_paths` is set: a run folder from a stranger is
    safe to load.

    Args:
        folder: what `save` or training wrote; or "avatars-64", a model of drawn faces that comes with the package; or
            "hf://user/name", also "hf://user/name@revision", a model on the Hugging Face Hub, of which only the files of a run
            folder are downloaded.
        encoder: the module that was given to the model, if one was; its weights are replaced.
        decoder: the same for the decoder.
        allow_class_paths: import the classes that `config.yaml` names as encoder and decoder. This runs their code: only for
            run folders whose author you trust.
        revision: branch, tag or commit on the Hub.
        token: access token of the Hub; by default the environment variable HF_TOKEN, or that of `hf auth login`.

    Raises:
        ImportError: the Hub is named and `huggingface_hub` is not installed.
        ConnectionError: the Hub cannot be reached, and its cache has no copy.
        ValueError: the folder lacks a file, or its weights do not fit the networks, or `config.yaml` names classes that were
            neither allowed nor given.
    """
    folder = local_run(folder, revision, token)
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
    inputs = read_entries(folder, INPUTS)
    if inputs is not None:
        model.input_format = InputFormat.from_entries(inputs, model.input_shape, str(folder / INPUTS))
    calibration = read_entries(folder, CALIBRATION)
    if calibration is not None:
        model.calibration = Calibration.from_entries(calibration, str(folder / CALIBRATION))
        model.calibration.check(model.space, str(folder / CALIBRATION))
    model.run_folder = folder
    return model.eval()
