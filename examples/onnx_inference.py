"""Label probabilities and changed images with exported ONNX graphs: needs numpy, Pillow and onnxruntime, no PyTorch, no ccvae.

    ccvae export runs/avatars --out graphs          # where the model was trained
    python onnx_inference.py graphs my_images/*.png
    python onnx_inference.py graphs my_images/*.png --set Eyeglasses=1 --strength 0.8 --out changed

Probabilities are printed as CSV, the same numbers as `ccvae predict` writes. This file is an example to copy from: it reads
usual 8-bit images. Rotations in EXIF data, transparency and 16-bit gray levels are handled by ccvae itself only.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

TOGETHER = 64
"""Images that are read and computed together."""


class Graph:
    """A graph with what its metadata says: input shape, labels, how images are framed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        known = self.session.get_modelmeta().custom_metadata_map
        self.shape = json.loads(known["ccvae.input_shape"])
        self.labels = json.loads(known["ccvae.labels"])
        self.columns = json.loads(known["ccvae.probability_columns"])
        self.framing = json.loads(known["ccvae.images"])

    def run(self, output: str, **inputs: np.ndarray) -> np.ndarray:
        """One output of the graph."""
        return self.session.run([output], inputs)[0]

    def pixels(self, path: Path) -> np.ndarray:
        """An image as the model takes it: floats in [0, 1], `(channels, height, width)`."""
        channels, height, width = self.shape
        with Image.open(path) as opened:
            if opened.format == "JPEG" and self.framing["square"] is None:
                opened.draft(None, (2 * max(height, width), 2 * max(height, width)))
            image = opened.convert("L" if channels == 1 else "RGB")
        if self.framing["square"] is not None:
            side = self.framing["square"]
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if image.size != (width, height):
            bilinear = Image.Resampling.BILINEAR
            if self.framing["fit"] == "crop":
                image = ImageOps.fit(image, (width, height), bilinear)
            elif self.framing["fit"] == "pad":
                image = ImageOps.pad(image, (width, height), bilinear, color=0)
            else:
                image = image.resize((width, height), bilinear)
        levels = np.asarray(image, np.float32).reshape(height, width, channels)
        return levels.transpose(2, 0, 1) / 255

    def encoded(self, changes: dict[str, str]) -> np.ndarray:
        """Label values as a row of numbers; NaN leaves a label as it is."""
        row = np.full(len(self.labels), np.nan, np.float32)
        names = [label["name"] for label in self.labels]
        for name, value in changes.items():
            if name not in names:
                raise SystemExit(f"no label {name!r}; there are {', '.join(names)}")
            label = self.labels[names.index(name)]
            values = [str(each) for each in label.get("values", [])]
            if values and value not in values:
                raise SystemExit(f"{name}: expected one of {', '.join(values)}, found {value!r}")
            row[names.index(name)] = values.index(value) if values else float(value)
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], help="LABEL=VALUE, may be given several times")
    parser.add_argument("--strength", type=float, default=0.5, help="quantile of p(z|y) at which the label shows")
    parser.add_argument("--out", type=Path, default=Path("changed"))
    given = parser.parse_args()
    classifier = Graph(given.graphs, "classifier")
    table = csv.writer(sys.stdout)
    table.writerow(["id", *classifier.columns])
    intervene = Graph(given.graphs, "intervene") if given.set else None
    for first in range(0, len(given.images), TOGETHER):
        paths = given.images[first : first + TOGETHER]
        inputs = np.stack([classifier.pixels(path) for path in paths])
        for path, row in zip(paths, classifier.run("probabilities", inputs=inputs), strict=True):
            table.writerow([path.name, *(f"{number:.4f}" for number in row)])
        if intervene is not None:
            labels = intervene.encoded(dict(change.split("=", 1) for change in given.set))
            strength = np.full(len(paths), given.strength, np.float32)
            changed = intervene.run("outputs", inputs=inputs, labels=np.tile(labels, (len(paths), 1)), strength=strength)
            given.out.mkdir(parents=True, exist_ok=True)
            for path, image in zip(paths, changed, strict=True):
                levels = (image.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
                Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(given.out / f"{path.stem}.png")


if __name__ == "__main__":
    main()
