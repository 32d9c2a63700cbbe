"""Small data: do interventions show when there are only a few hundred pictures?

    python benchmarks/small_data.py             # writes benchmarks/results/small_data.md

240 pictures of 16×16 pixels show one square: bright or not, in one of three corners, and of some size. Half of the labels are
hidden, and 160 pictures are trained on. What an intervention gives is read from its pixels, by rules, for 40 test pictures that
get every value of a label in turn: `shown` is the share in which the label is as asked, `kept` the share in which the other one
is as before. `seen by the encoder` is the share in which the model itself reads what was asked: where it is above `shown`, the
decoder leaves signs that only the encoder sees. `generated` is the share of new pictures with both labels as asked. The arm
without the first phase is the code as it was before trainings began with labels alone.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from ccvae.model.ccvae import CCVAE
from ccvae.training import losses
from ccvae.training.fit import fit
from conftest import squares

RESULTS = Path(__file__).parent / "results" / "small_data.md"
ARMS = {
    "default": ({}, losses.LABELS_ALONE),
    "without the first phase": ({}, 0.0),
    "conv": ({"network": "conv"}, losses.LABELS_ALONE),
}
CORNERS = ("left", "right", "low")
BRIGHTER = (220 + 110) / 2 / 255
MEASURES = {
    "corner: shown": ("corner", "shown"),
    "… kept": ("corner", "kept"),
    "… seen by the encoder": ("corner", "seen"),
    "brightness: shown": ("bright", "shown"),
    "… kept ": ("bright", "kept"),
    "generated": ("both", "generated"),
    "error": ("pixels", "error"),
    "CPU seconds": ("seconds", "training"),
}


def read_squares(images):
    """Whether the squares are bright, and their corners, read from pixels."""
    grey = torch.as_tensor(images).mean(1)
    quarters = [grey[:, :8, :8], grey[:, :8, 8:], grey[:, 8:, :8]]
    corner = torch.stack([quarter.sum((1, 2)) for quarter in quarters], 1).argmax(1)
    level = torch.stack([quarter[:, :3, :3].mean((1, 2)) for quarter in quarters], 1)
    return (level.gather(1, corner[:, None])[:, 0] > BRIGHTER).long(), corner


def trained(arm, seed):
    """A model of an arm, its data, and the seconds that training took."""
    settings, first = ARMS[arm]
    data = squares(seed=seed)
    torch.manual_seed(seed)
    model = CCVAE.for_data(data, **settings)
    before, losses.LABELS_ALONE = losses.LABELS_ALONE, first
    started = time.process_time()
    try:
        fit(model, data, seed=seed, progress=False)
    finally:
        losses.LABELS_ALONE = before
    return model, data, time.process_time() - started


def measured(arm, seed):
    """All measures of one arm and seed."""
    model, data, seconds = trained(arm, seed)
    x = data.tensor(data.splits["test"])
    bright, corner = read_squares(x)
    found = {("pixels", "error"): (model.reconstruct(x) - x).abs().mean().item(), ("seconds", "training"): seconds}
    for label, values in (("corner", CORNERS), ("bright", (0, 1))):
        shown, kept, seen = [], [], []
        for number, value in enumerate(values):
            edited = model.intervene(x, {label: value})
            after = read_squares(edited)
            own, other = (after[1], after[0] == bright) if label == "corner" else (after[0], after[1] == corner)
            shown.append((own == number).double().mean().item())
            kept.append(other.double().mean().item())
            seen.append((model.predict(edited)[label] == value).mean())
        found |= {(label, "shown"): np.mean(shown), (label, "kept"): np.mean(kept), (label, "seen"): np.mean(seen)}
    agreed = []
    for number, name in enumerate(CORNERS):
        for value in (0, 1):
            drawn = read_squares(model.generate(40, {"corner": name, "bright": value}))
            agreed.append(((drawn[0] == value) & (drawn[1] == number)).double().mean().item())
    return found | {("both", "generated"): np.mean(agreed)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# Small data", "", *__doc__.splitlines()[4:], ""]
    lines += [f"Seeds {', '.join(map(str, arguments.seeds))}: mean, and least to most.", ""]
    lines += [f"| | {' | '.join(MEASURES)} |", "|---" * (len(MEASURES) + 1) + "|"]
    for arm in arguments.arms:
        each = [measured(arm, seed) for seed in arguments.seeds]
        cells = []
        for measure in MEASURES.values():
            numbers = [found[measure] for found in each]
            digits = 0 if measure[0] == "seconds" else 3 if measure[0] == "pixels" else 2
            spread = "" if min(numbers) == max(numbers) else f" ({min(numbers):.{digits}f}–{max(numbers):.{digits}f})"
            cells.append(f"{np.mean(numbers):.{digits}f}{spread}")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS)


if __name__ == "__main__":
    main()
