"""What captures a label's characteristics? Terms beside the bound, and sizes of a label's block, by what they give.

    python benchmarks/characteristics.py            # writes benchmarks/results/characteristics.md

Half an hour on one core. 16,000 avatars, all labelled; no dropout, likelihood scale 0.1 (the paper's estimator: 1, as in
the paper), else the defaults. Evaluated on 3,500 others. Success, side effect, transfers and generation are judged by an
oracle that never met a model; its own accuracy is in the last rows. Numbers in brackets are 95 % bootstrap intervals over
rows; each arm was trained once.
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd
import torch

from ccvae.data import avatars
from ccvae.evaluation import evaluate_run
from ccvae.evaluation.compare import comparison
from ccvae.model.ccvae import CCVAE
from ccvae.storage.metrics import find, read_metrics
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "characteristics.md"
NETWORKS = {"network": "conv", "dropout": 0.0}
BATCHES = {"batch_size": 200, "learning_rate": 1e-2, "kl_warmup": 0.0}
"""Settings of all arms."""
ARMS = {
    "paper's estimator": ({"block_dim": 1, "scale": 1.0}, {"estimator": "paper"}),
    "bound alone": ({"block_dim": 2}, {"intervention_weight": 0.0}),
    "blocks of 1": ({"block_dim": 1}, {}),
    "blocks of 2": ({"block_dim": 2}, {}),
    "blocks of 4": ({"block_dim": 4}, {}),
    "blocks of 8": ({"block_dim": 8}, {}),
    "4, elsewhere 10": ({"block_dim": 4}, {"elsewhere_weight": 10.0}),
    "4, elsewhere 10, KL 3": ({"block_dim": 4}, {"elsewhere_weight": 10.0, "kl_weight": 3.0}),
}
"""Settings of model and training. "blocks of …" have the default weight of interventions, as have those below them."""
MEASURES = (
    "accuracy",
    "balanced accuracy",
    "bound with labels",
    "bound without labels",
    "reconstruction error",
    "SSIM",
    "intervention succeeds",
    "side effect",
    "traversals monotone",
    "edit, inside",
    "… at best",
    "edit, in features",
    "change outside",
    "generation agrees",
    "generation agrees jointly",
    "variants covered",
    "variant in its block",
    "… times chance",
    "variant in the style",
    "variant in other blocks",
    "transfer recognised",
    "transfer, inside",
    "label in the style",
    "label in other blocks",
    "self-consistency",
    "Fréchet distance",
    "… of other rows",
    "oracle's accuracy",
    "… on reconstructions",
    "oracle's variants",
)
LABELS = ("Eyeglasses", "Wearing_Hat", "Long_Hair", "Pale_Skin", "Facial_Hair")
BY_LABEL = {
    "success": "interventions.flip.labels.{}.success.value",
    "side effect": "interventions.flip.labels.{}.side_effect.value",
    "variant in its block": "characteristics.reading.labels.{}.own.value",
    "chance": "characteristics.reading.labels.{}.chance",
    "transfer recognised": "characteristics.transfers.labels.{}.recognised.value",
    "transfer at most": "characteristics.transfers.labels.{}.reconstruction.value",
}


def markdown(table):
    """A table as Markdown."""
    head = [f"| {' | '.join(map(str, table.columns))} |", "|---" * table.shape[1] + "|"]
    return [*head, *(f"| {' | '.join(map(str, row))} |" for row in table.itertuples(index=False))]


def label_rows(found):
    """A row for each of some labels and arms."""
    for label in LABELS:
        for arm, metrics in found.items():
            numbers = {name: find(metrics, path.format(label)) for name, path in BY_LABEL.items()}
            yield {"label": label, "arm": arm, **{name: f"{number:.3f}" for name, number in numbers.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/characteristics"), help="a run that is there is not repeated")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = avatars(20_000, size=arguments.size, seed=0, validation=500, test=3_500)
    found = {}
    for arm in arguments.arms:
        run = arguments.runs / f"{arm} at {arguments.size}, {arguments.epochs} epochs".replace(" ", "-")
        if not (run / "metrics.json").exists():
            shutil.rmtree(run, ignore_errors=True)  # what was interrupted
            model_settings, settings = ARMS[arm]
            torch.manual_seed(0)
            model = CCVAE.for_data(data, **NETWORKS | model_settings)
            fit(model, data, run, epochs=arguments.epochs, progress=False, **BATCHES | settings)
            evaluate_run(run, data, progress=False)
        found[arm] = read_metrics(run)
    sides = comparison(found)
    sides = sides[sides["measure"].isin(MEASURES)]
    lines = ["# What captures characteristics", "", *__doc__.splitlines()[4:]]
    lines += ["", f"{arguments.size}×{arguments.size} pixels, {arguments.epochs} epochs each.", ""]
    lines += [*markdown(sides), "", *markdown(pd.DataFrame(label_rows(found))), ""]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines))
    print(RESULTS)


if __name__ == "__main__":
    main()
