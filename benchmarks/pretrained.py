"""The trained model that comes with the package: its weights in half precision, evaluated as they are shipped.

    ccvae train avatars --data.size 64 --data.validation 500 --data.test 3500 --model.dropout 0 --training.epochs 28 \
        --figures false --out runs/avatars-64
    python benchmarks/pretrained.py runs/avatars-64     # writes src/ccvae/pretrained and benchmarks/results

Weights of layers are rounded to half precision; statistics, biases and label parameters stay as they are. The metrics are those
of the rounded weights. The shipped folder's data are a few other faces, drawn when a command needs images to show.
"""

import argparse
import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from ccvae.data import avatars
from ccvae.evaluation import evaluate_run
from ccvae.model.card import model_card
from ccvae.storage.run_folder import read_settings, write_settings

ROOT = Path(__file__).parents[1]
NAME = "avatars-64"
SHOWN = {"source": "avatars", "size": 64, "seed": 1, "validation": 0, "test": 0.5, "options": {"count": 128}}
"""Faces for pictures: drawn with another seed than those of training."""


def halved(weights):
    """Weights of which those of layers are in half precision."""
    layers = {name: weight.ndim > 1 and not name.startswith("blocks.") for name, weight in weights.items()}
    return {name: weight.to(torch.float16) if layers[name] else weight for name, weight in weights.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounded, results = arguments.run.with_name(NAME + "-half"), ROOT / "benchmarks" / "results" / NAME
    shutil.rmtree(rounded, ignore_errors=True)
    rounded.mkdir(parents=True)
    for name in ("config.yaml", "labels.json", "calibration.json", "splits.csv"):
        shutil.copy(arguments.run / name, rounded)
    save_file(halved(load_file(arguments.run / "model.safetensors")), rounded / "model.safetensors")
    settings = read_settings(rounded)
    wanted = settings["data"]
    data = avatars(size=wanted["size"], validation=wanted["validation"], test=wanted["test"], seed=wanted["seed"])
    evaluate_run(rounded, data, progress=False)
    shipped = ROOT / "src" / "ccvae" / "pretrained" / NAME
    shutil.rmtree(shipped, ignore_errors=True)
    shipped.mkdir(parents=True)
    for name in ("labels.json", "calibration.json", "model.safetensors"):
        shutil.copy(rounded / name, shipped)
    (shipped / "README.md").write_text(model_card(rounded, NAME, "mit"), encoding="utf-8")
    write_settings(shipped, {key: settings[key] for key in ("input_shape", "model", "training")} | {"data": SHOWN})
    results.mkdir(parents=True, exist_ok=True)
    shutil.copy(rounded / "metrics.json", results)
    (results / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    print(shipped, f"{sum(path.stat().st_size for path in shipped.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
