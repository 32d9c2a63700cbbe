"""How large should a label's block be? Models with blocks of 1, 2, 4 and 8 dimensions, by what they capture.

    python benchmarks/block_size.py            # about 20 minutes on one core; writes benchmarks/results/block_size.md

16,000 avatars at 32×32, all labelled; 32 dimensions of style beside the blocks, no dropout, classification weight 300, else the
defaults. Evaluated on 3,500 others.
Success, side effect, transfers and generation are judged by an oracle that never met a model; its own accuracy is in the last
rows. Numbers in brackets are 95 % bootstrap intervals over rows.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from ccvae.data import avatars
from ccvae.evaluation import evaluate_run
from ccvae.evaluation.compare import comparison, read_metrics
from ccvae.evaluation.summary import find
from ccvae.model import CCVAE
from ccvae.training import fit

RESULTS = Path(__file__).parent / "results" / "block_size.md"
STYLE = 32
WEIGHT = 300.0
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
    """A row for each of some labels and sizes."""
    for label in LABELS:
        for size, metrics in found.items():
            numbers = {name: find(metrics, path.format(label)) for name, path in BY_LABEL.items()}
            yield {"label": label, "block": size, **{name: f"{number:.3f}" for name, number in numbers.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/block_size"), help="a run that is there is not trained again")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = avatars(20_000, size=32, seed=0, validation=500, test=3_500)
    found = {}
    for size in arguments.sizes:
        run = arguments.runs / f"blocks-of-{size}-epochs-{arguments.epochs}"
        if not (run / "metrics.csv").exists():
            torch.manual_seed(0)
            model = CCVAE.for_data(data, block_dim=size, latent_dim=size * len(data.space) + STYLE, dropout=0.0)
            fit(model, data, run, epochs=arguments.epochs, classification_weight=WEIGHT, progress=False)
        evaluate_run(run, data, progress=False)
        found[f"{size}"] = read_metrics(run)
        print(comparison(found).to_string(index=False), flush=True)
    sides = comparison({f"blocks of {size}": metrics for size, metrics in found.items()})
    sides = sides[sides["measure"].isin(MEASURES)]
    lines = ["# Size of a label's block", "", *__doc__.splitlines()[4:], f"{arguments.epochs} epochs each.", ""]
    lines += [*markdown(sides), "", *markdown(pd.DataFrame(label_rows(found))), ""]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines))
    print(RESULTS)


if __name__ == "__main__":
    main()
