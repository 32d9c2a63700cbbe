"""ONNX graphs of a trained model, for inference without PyTorch.

Six files, each with a dynamic batch, and with the label space and the names of its outputs in the metadata:

    classifier.onnx  inputs                      -> probabilities, exact_probabilities
    encoder.onnx     inputs                      -> latent_mean, latent_scale, probabilities, exact_probabilities
    decoder.onnx     latents                     -> outputs
    intervene.onnx   inputs, labels, strength    -> outputs
    generate.onnx    labels, noise, uniform      -> outputs
    transfer.onnx    source, target, chosen      -> outputs

`labels` are `(batch, labels)` floats as `LabelSpace.encode` gives them: NaN in `intervene` leaves a label as it is, and in
`generate` draws it from its prior by `uniform`. If p(z_i|y_i) has several components, `uniform` chooses one of them too.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ccvae.distributions.normal_quantile import normal_quantile
from ccvae.labels import Continuous, Label
from ccvae.model.calibration import SMALLEST
from ccvae.model.inference import evaluating, full
from ccvae.model.label_blocks.base import LabelBlocks
from ccvae.model.latent_model import LatentModel
from ccvae.storage.atomic import writing

__all__ = ["GRAPHS", "export_onnx"]

OPSET = 20
EXAMPLE_ROWS = 3


class Graph(nn.Module):
    """One exported function of a model; subclasses name its arguments and results."""

    arguments: tuple[str, ...]
    results: tuple[str, ...] = ("outputs",)

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def mean_of(self, inputs: Tensor) -> Tensor:
        """Means of q(z|x)."""
        return self.model.posterior(inputs).loc

    def decoded(self, latents: Tensor) -> Tensor:
        """Expected inputs of latents."""
        return self.model.likelihood_of.mean(full(self.model.decoder(latents)))

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        raise NotImplementedError


class ClassifierGraph(Graph):
    """The columns of `predict_proba`: calibrated, and the exact q(y|x). Only the labels' blocks are read from the inputs."""

    arguments = ("inputs",)
    results: tuple[str, ...] = ("probabilities", "exact_probabilities")

    def __init__(self, model: LatentModel) -> None:
        super().__init__(model)
        self.columns: list[list[int]] = [block.columns.tolist() for block in model.label_blocks()]

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        return (torch.rand(EXAMPLE_ROWS, *self.model.input_shape),)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph."""
        return self.predicted(self.model.read(inputs, "labels"))

    def predicted(self, posterior: Normal) -> tuple[Tensor, Tensor]:
        """Calibrated and exact probabilities `(batch, columns)` of a posterior, of which only the labels' blocks are needed."""
        predicted: dict[int, Tensor] = {}
        for block, columns in zip(self.model.label_blocks(), self.columns, strict=True):
            found = block.predict(posterior.loc[:, block.latents], posterior.scale[:, block.latents])
            predicted |= dict(zip(columns, found.unbind(1), strict=True))
        exact = [predicted[column] for column in range(len(self.model.space))]
        calibrated = [self.calibrated(label, each) for label, each in zip(self.model.space, exact, strict=True)]
        return torch.cat(calibrated, 1), torch.cat(exact, 1)

    def calibrated(self, label: Label, exact: Tensor) -> Tensor:
        """Probabilities `(batch, values)` at the label's temperature; of a continuous label, its deviation times that."""
        calibration = self.model.calibration
        temperature = 1.0 if calibration is None else calibration.temperatures.get(label.name, 1.0)
        if isinstance(label, Continuous):
            return exact * torch.tensor([1.0, temperature])
        return (exact.clamp_min(SMALLEST).log() / temperature).softmax(-1) if temperature != 1 else exact


class EncoderGraph(ClassifierGraph):
    """Means and scales of q(z|x), and the same probabilities."""

    results = ("latent_mean", "latent_scale", "probabilities", "exact_probabilities")

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph."""
        posterior = self.model.posterior(inputs)
        return posterior.loc, posterior.scale, *self.predicted(posterior)


class DecoderGraph(Graph):
    """Expected inputs of latents."""

    arguments = ("latents",)

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        return (torch.randn(EXAMPLE_ROWS, self.model.config.latent_dim),)

    def forward(self, latents: Tensor) -> Tensor:
        """The graph."""
        return self.decoded(latents)


class InterventionGraph(Graph):
    """Inputs with labels set to other values, at a quantile of p(z_i|y_i)."""

    arguments = ("inputs", "labels", "strength")

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        labels = torch.zeros(EXAMPLE_ROWS, len(self.model.space))
        return torch.rand(EXAMPLE_ROWS, *self.model.input_shape), labels, torch.full((EXAMPLE_ROWS,), 0.5)

    def forward(self, inputs: Tensor, labels: Tensor, strength: Tensor) -> Tensor:
        """The graph."""
        latents = self.mean_of(inputs)
        for block in self.model.label_blocks():
            values = labels[:, block.columns]
            values, given = values.nan_to_num(), ~values.isnan()
            prior = block.likely_component(values, latents[:, block.latents])
            blocks = block.quantile(values, strength[:, None, None], prior)
            latents = placed(latents, block, blocks, given)
        return self.decoded(latents)


class GenerationGraph(Graph):
    """New inputs for given labels, with each block drawn from p(z_i|y_i) by Normal noise; `uniform` chooses its component."""

    arguments = ("labels", "noise", "uniform")

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        shape = (EXAMPLE_ROWS, len(self.model.space))
        return torch.zeros(shape), torch.randn(EXAMPLE_ROWS, self.model.config.latent_dim), torch.full(shape, 0.5)

    def forward(self, labels: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """The graph."""
        latents = noise
        for block in self.model.label_blocks():
            given = labels[:, block.columns]
            level, missing = uniform[:, block.columns], given.isnan()
            drawn = block.prior_quantile(level)
            values = torch.where(missing, drawn, given)
            prior = block.component(values, torch.where(missing, block.remaining_level(level, drawn), level))
            blocks = prior.loc + prior.scale * noise[:, block.latents]
            latents = placed(latents, block, blocks, torch.ones_like(given, dtype=torch.bool))
        return self.decoded(latents)


class TransferGraph(Graph):
    """Targets with the blocks of chosen labels taken from sources."""

    arguments = ("source", "target", "chosen")

    def examples(self) -> tuple[Tensor, ...]:
        """Arguments to trace with."""
        shape = (EXAMPLE_ROWS, *self.model.input_shape)
        return torch.rand(shape), torch.rand(shape), torch.zeros(EXAMPLE_ROWS, len(self.model.space), dtype=torch.bool)

    def forward(self, source: Tensor, target: Tensor, chosen: Tensor) -> Tensor:
        """The graph."""
        moved, latents = self.mean_of(source), self.mean_of(target)
        for block in self.model.label_blocks():
            latents = placed(latents, block, moved[:, block.latents], chosen[:, block.columns])
        return self.decoded(latents)


def placed(latents: Tensor, block: LabelBlocks, blocks: Tensor, chosen: Tensor) -> Tensor:
    """Latents with the blocks of chosen labels replaced.

    Args:
        latents: `(batch, latent_dim)`.
        block: whose labels.
        blocks: `(batch, labels, d)`.
        chosen: `(batch, labels)`, which labels.
    """
    where = block.latents.flatten()
    kept = latents[:, where].view_as(blocks)
    return latents.index_copy(1, where, torch.where(chosen[..., None], blocks, kept).flatten(1))


GRAPHS: dict[str, type[Graph]] = {
    "classifier": ClassifierGraph,
    "encoder": EncoderGraph,
    "decoder": DecoderGraph,
    "intervene": InterventionGraph,
    "generate": GenerationGraph,
    "transfer": TransferGraph,
}


def export_onnx(model: LatentModel, folder: str | Path, graphs: str | Sequence[str] = tuple(GRAPHS)) -> list[Path]:
    """Write ONNX graphs of a model.

    Args:
        model: the model, on the CPU.
        folder: where the files go; made if it does not exist.
        graphs: one or several of `GRAPHS`.

    Returns:
        The files' paths.

    Raises:
        ValueError: an unknown graph, or networks that cannot be exported; nothing of that graph is written.
        ModuleNotFoundError: the extra `onnx` is not installed.
    """
    graphs = [graphs] if isinstance(graphs, str) else graphs
    unknown = [name for name in graphs if name not in GRAPHS]
    if unknown or not graphs:
        raise ValueError(f"graphs: expected some of {', '.join(GRAPHS)}, found {', '.join(map(str, unknown)) or 'none'}")
    try:
        import onnx
        import onnxscript  # noqa: F401 — torch's exporter needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"ONNX export needs {error.name}; run: pip install 'ccvae[onnx]'") from None
    paths = []
    for name in graphs:
        graph = GRAPHS[name](model)
        content = exported(graph, name)
        for key, value in metadata(graph, name).items():
            entry = content.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.checker.check_model(content)
        path = Path(folder) / f"{name}.onnx"
        with writing(path) as beside:
            beside.write_bytes(content.SerializeToString())
        paths.append(path)
    return paths


def exported(graph: Graph, name: str) -> Any:
    """A graph as an ONNX model; raises `ValueError` if its networks cannot be exported."""
    batch = torch.export.Dim("batch", min=1)
    with evaluating(graph), warnings.catch_warnings(), quiet(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        try:
            traced = torch.export.export(graph, graph.examples(), dynamic_shapes=tuple({0: batch} for _ in graph.arguments))
            operations = torch.export.default_decompositions()
            # what ONNX does not have
            operations[torch.ops.aten.special_ndtri.default] = normal_quantile
            operations[torch.ops.aten.erfinv.default] = inverse_error_function
            program = torch.onnx.export(
                traced.run_decompositions(operations),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.arguments),
                output_names=list(graph.results),
                verbose=False,
            )
        except Exception as error:  # torch raises many kinds, and its own traces run over pages
            cause = error.__cause__ or error
            reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
            raise ValueError(
                f"{name}.onnx: the model's networks cannot be exported: {reason}. Networks of your own need operations that "
                "torch.export can trace, without Python control flow on values"
            ) from error
    assert program is not None
    return program.model_proto


def inverse_error_function(x: Tensor) -> Tensor:
    """Inverse of the error function, in plain operations."""
    return normal_quantile((x + 1) / 2) / math.sqrt(2)


def metadata(graph: Graph, name: str) -> dict[str, str]:
    """What one must know to use a graph without this package."""
    model = graph.model
    columns = [column for label in model.space for column in label.output_columns]
    blocks = {label: [block.start, block.stop] for label, block in zip(model.space.names, model.block_slices, strict=True)}
    image = len(model.input_shape) == 3
    framing = model.input_format.framed(model.input_shape) if image else None
    return {
        "ccvae.graph": name,
        "ccvae.input_shape": json.dumps(list(model.input_shape)),
        "ccvae.value_range": json.dumps([0.0, 1.0] if image else None),
        "ccvae.images": json.dumps({"fit": framing.fit, "square": framing.square} if framing else None),
        "ccvae.labels": model.space.to_json(),
        "ccvae.probability_columns": json.dumps(columns),
        "ccvae.blocks": json.dumps(blocks),
    }


@contextlib.contextmanager
def quiet() -> Any:
    """Without the exporter's progress messages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
