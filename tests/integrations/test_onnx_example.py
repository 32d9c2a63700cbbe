"""The example of inference without PyTorch: it runs where neither torch nor ccvae can be imported, and computes the same."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import ccvae
from ccvae.integrations.onnx import export_onnx
from ccvae.model.calibration import Calibration
from ccvae.model.inputs.decoding import Framing
from ccvae.model.inputs.format import InputFormat

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_inference.py"
SPACE = ccvae.LabelSpace((ccvae.Binary("hat"), ccvae.Categorical("color", ("red", "blue", "green")), ccvae.Continuous("age")))
RUN = """
import runpy, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ccvae", "lightning", "pandas", "safetensors", "onnx"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Forbidden())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(place, *arguments):
    words = [sys.executable, "-W", "error", "-c", RUN, str(EXAMPLE), *map(str, arguments)]
    return subprocess.run(words, cwd=place, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module", params=[(1, "stretch", None), (3, "crop", None), (3, "pad", 24)])
def place(request, tmp_path_factory):
    """A model, its graphs and some images of other sizes."""
    place = tmp_path_factory.mktemp("place")
    channels, fit, square = request.param
    torch.manual_seed(0)
    model = ccvae.CCVAE(SPACE, (channels, 16, 16), ccvae.ModelConfig(width=4, network="conv")).eval()
    model.calibration = Calibration({"hat": 0.5, "color": 0.5, "age": 1.0})
    model.input_format = InputFormat(framing=Framing(16, 16, fit, square))
    export_onnx(model, place / "graphs", ["classifier", "intervene"])
    random = np.random.default_rng(0)
    for number, (name, size) in enumerate({"a.png": (40, 30), "b.jpg": (90, 60), "c.png": (26, 26)}.items()):
        tiles = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(tiles).resize(size).convert("L" if number == 2 else "RGB").save(place / name)
    return place, model


def test_the_same_probabilities(place):
    folder, model = place
    paths = [folder / name for name in ("a.png", "b.jpg", "c.png")]
    done = run(folder, "graphs", *(path.name for path in paths))
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(io.StringIO(done.stdout), index_col="id")
    expected = model.predict_proba(paths)
    assert list(found.columns) == list(expected.columns)
    assert np.abs(found.to_numpy() - expected.to_numpy()).max() < 1e-4
    assert found["hat=1"].std() > 1e-4, "images differ"


def test_the_same_changes(place):
    folder, model = place
    done = run(folder, "graphs", "a.png", "--set", "hat=1", "--set", "color=green", "--strength", "0.8", "--out", "changed")
    assert done.returncode == 0, done.stderr
    expected = model.intervene([folder / "a.png"], {"hat": 1, "color": "green"}, strength=0.8)[0]
    found = np.asarray(Image.open(folder / "changed" / "a.png"), float).reshape(16, 16, -1) / 255
    assert np.abs(found - expected.clamp(0, 1).permute(1, 2, 0).numpy()).max() < 0.6 / 255
    assert "no label 'hut'" in run(folder, "graphs", "a.png", "--set", "hut=1").stderr
    assert "expected one of red, blue, green" in run(folder, "graphs", "a.png", "--set", "color=5").stderr
