import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import ccvae
from ccvae.cli.main import main
from ccvae.integrations.onnx import GRAPHS, export_onnx
from ccvae.model.calibration import Calibration
from ccvae.model.interventions import sample_noise

SPACE = ccvae.LabelSpace(
    (
        ccvae.Binary("a"),
        ccvae.Binary("b", prior=0.2),
        ccvae.Categorical("c", ("x", "y", "z")),
        ccvae.Categorical("d", tuple("tuvwxyz")),
        ccvae.Continuous("e", 3.0, 2.0),
    )
)
FEATURES = 9
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = ccvae.CCVAE(SPACE, (FEATURES,), ccvae.ModelConfig(width=4)).eval()
    made.calibration = Calibration({"a": 2.0, "d": 0.5, "e": 1.5})
    return made


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    assert [path.name for path in export_onnx(model, folder)] == [f"{name}.onnx" for name in GRAPHS]
    return folder


def run(folder, name, **given):
    return onnxruntime.InferenceSession(str(folder / f"{name}.onnx")).run(None, given)


def labels(rows, **given):
    return np.repeat(SPACE.encode_row(given)[None], rows, 0)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_graphs_compute_what_the_model_does(model, folder, rows):
    x, other = torch.randn(2, rows, FEATURES)
    mean, scale, probabilities, exact = run(folder, "encoder", inputs=x.numpy())
    posterior = model.encode(x)
    assert np.abs(mean - posterior.loc.numpy()).max() < TOLERANCE
    assert np.abs(scale - posterior.scale.numpy()).max() < TOLERANCE
    assert np.abs(probabilities - model.predict_proba(x).to_numpy()).max() < TOLERANCE
    assert np.abs(exact - model.predict_proba(x, calibrated=False).to_numpy()).max() < TOLERANCE
    assert np.abs(probabilities - exact).max() > 0.01
    classified = run(folder, "classifier", inputs=x.numpy())
    for found, expected in zip(classified, (probabilities, exact), strict=True):
        assert np.abs(found - expected).max() < TOLERANCE
    (decoded,) = run(folder, "decoder", latents=mean)
    assert np.abs(decoded - model.decode(posterior.loc).numpy()).max() < TOLERANCE

    changes = {"a": 1, "d": "w", "e": 5.0}
    strength = np.full(rows, 0.8, np.float32)
    (changed,) = run(folder, "intervene", inputs=x.numpy(), labels=labels(rows, **changes), strength=strength)
    assert np.abs(changed - model.intervene(x, changes, strength=0.8).numpy()).max() < TOLERANCE

    noise, uniform = (part.numpy() for part in sample_noise(model, rows, 3))
    (made,) = run(folder, "generate", labels=labels(rows, b=1), noise=noise, uniform=uniform)
    assert np.abs(made - model.generate(rows, {"b": 1}, seed=3).numpy()).max() < TOLERANCE

    chosen = np.isin(SPACE.names, ["c", "e"])[None].repeat(rows, 0)
    (moved,) = run(folder, "transfer", source=other.numpy(), target=x.numpy(), chosen=chosen)
    assert np.abs(moved - model.transfer(other, x, ["c", "e"]).numpy()).max() < TOLERANCE


def test_components_are_those_that_the_model_chooses(tmp_path):
    """Of mixtures as conditional priors: in generation by uniform numbers, in interventions by the present block."""
    torch.manual_seed(0)
    model = ccvae.CCVAE(SPACE, (FEATURES,), ccvae.ModelConfig(width=4, prior_components=3)).eval()
    with torch.no_grad():
        for block in model.label_blocks():
            for parameter in block.parameters():
                parameter += torch.randn_like(parameter)
    export_onnx(model, tmp_path, ["intervene", "generate"])
    rows = 40
    x, changes = torch.randn(rows, FEATURES), {"a": 1, "c": "y", "d": "w", "e": 5.0}
    strength = np.full(rows, 0.8, np.float32)
    (changed,) = run(tmp_path, "intervene", inputs=x.numpy(), labels=labels(rows, **changes), strength=strength)
    assert np.abs(changed - model.intervene(x, changes, strength=0.8).numpy()).max() < TOLERANCE
    noise, uniform = (part.numpy() for part in sample_noise(model, rows, 3))
    for given in ({"b": 1, "d": "v"}, {}):
        (drawn,) = run(tmp_path, "generate", labels=labels(rows, **given), noise=noise, uniform=uniform)
        assert np.abs(drawn - model.generate(rows, given, seed=3).numpy()).max() < TOLERANCE


def test_images(tmp_path):
    torch.manual_seed(0)
    space = ccvae.LabelSpace((ccvae.Binary("a"),))
    model = ccvae.CCVAE(space, (1, 16, 24), ccvae.ModelConfig(width=4, network="conv")).eval()
    export_onnx(model, tmp_path, ["encoder", "decoder"])
    x = torch.rand(3, 1, 16, 24)
    probabilities = run(tmp_path, "encoder", inputs=x.numpy())[2]
    assert np.abs(probabilities - model.predict_proba(x).to_numpy()).max() < TOLERANCE
    z = torch.randn(3, model.config.latent_dim)
    assert np.abs(run(tmp_path, "decoder", latents=z.numpy())[0] - model.decode(z).numpy()).max() < TOLERANCE


@pytest.fixture(scope="module")
def attentive(tmp_path_factory):
    """A model with attention and a style that is read from the neutralised image, and its graphs that read images."""
    torch.manual_seed(0)
    model = ccvae.CCVAE(SPACE, (3, 16, 16), ccvae.ModelConfig(network="attentive", width=4)).eval()
    folder = tmp_path_factory.mktemp("attentive")
    export_onnx(model, folder, ["encoder", "classifier"])
    return model, folder


def test_attentive_networks(attentive):
    model, folder = attentive
    for rows in (1, 4):
        x = torch.rand(rows, 3, 16, 16)
        probabilities = model.predict_proba(x).to_numpy()
        assert np.abs(run(folder, "classifier", inputs=x.numpy())[0] - probabilities).max() < TOLERANCE
        mean, scale, *_ = run(folder, "encoder", inputs=x.numpy())
        posterior = model.encode(x)
        assert np.abs(mean - posterior.loc.numpy()).max() < TOLERANCE
        assert np.abs(scale - posterior.scale.numpy()).max() < TOLERANCE


def test_the_classifier_reads_labels_only(attentive):
    """It leaves out the style's networks and the decoder, which neutralising the input would need."""
    paths = [attentive[1] / f"{name}.onnx" for name in ("classifier", "encoder")]
    names = [{each.name for each in onnx.load(path).graph.initializer} for path in paths]
    unneeded = [any(name.startswith(("model.decoder.", "model.encoder.style.")) for name in each) for each in names]
    assert unneeded == [False, True]


def test_metadata_says_what_one_must_know(model, folder):
    for name in GRAPHS:
        known = {entry.key: entry.value for entry in onnx.load(folder / f"{name}.onnx").metadata_props}
        assert known["ccvae.graph"] == name
        assert json.loads(known["ccvae.input_shape"]) == [FEATURES]
        assert ccvae.LabelSpace.from_json(known["ccvae.labels"]) == SPACE
        assert json.loads(known["ccvae.probability_columns"]) == list(model.predict_proba(torch.zeros(1, FEATURES)).columns)
        assert json.loads(known["ccvae.blocks"])["c"] == [4, 6]


def test_networks_that_cannot_be_exported(tmp_path):
    class Peeking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(FEATURES, 90)

        def forward(self, x):
            return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)

    model = ccvae.CCVAE(SPACE, (FEATURES,), ccvae.ModelConfig(latent_dim=45), encoder=Peeking()).eval()
    with pytest.raises(ValueError, match=r"encoder\.onnx: the model's networks cannot be exported"):
        export_onnx(model, tmp_path / "graphs", ["encoder"])
    assert not (tmp_path / "graphs").exists()


def test_unknown_graphs_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="expected some of classifier, encoder, decoder"):
        export_onnx(model, tmp_path, ["encodder"])
    with pytest.raises(ValueError, match="found encodder"):
        export_onnx(model, tmp_path, "encodder")


def test_command_line(model, tmp_path, capsys):
    model.save(tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--onnx", "--graphs", "[decoder]"]) == 0
    assert [path.name for path in (tmp_path / "run" / "onnx").iterdir()] == ["decoder.onnx"]
    assert "decoder.onnx" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "run"), "--onnx", "false"]) == 2
    assert "ONNX is the only format" in capsys.readouterr().err
