"""Which networks keep how a label shows in the label's own block, and how sharp are their pictures?

    python benchmarks/capture.py            # writes benchmarks/results/capture.md

16,000 avatars at 32×32, all labelled; evaluated on 2,000 others of the test split (`--split validation` is what settings were
chosen on). The oracle that judges pictures never met a model. `times chance` is how well a probe reads which variant shows a
label (which glasses) from the label's own block, over always saying the most frequent one. Transfers count pairs whose target
can show the source's variant; `paintable` is the share in which the oracle recognises the variant in the model's own
reconstruction of the true picture. CPU seconds are those of training, in one thread.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from ccvae.config import EvaluationConfig
from ccvae.data import avatars
from ccvae.evaluation import evaluate
from ccvae.model.ccvae import CCVAE
from ccvae.storage.metrics import find
from ccvae.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "capture.md"
FIRST_DEFAULTS = {"batch_size": 200, "learning_rate": 0.01, "kl_warmup": 0.0, "redrawn_share": 0.0}
ARMS = {
    "conv as first shipped": ({"network": "conv", "block_dim": 4}, FIRST_DEFAULTS),
    "conv": ({"network": "conv", "block_dim": 8}, {}),
    "attentive, style from the input": ({"neutral_style": False}, {}),
    "attentive, nothing redrawn": ({}, {"redrawn_share": 0.0}),
    "attentive, mixtures of 4 as priors": ({"prior_components": 4}, {}),
    "attentive": ({}, {}),
}
"""Settings of model and training; else the defaults, without dropout."""
COUNTS = EvaluationConfig(rows=2000, evidence_rows=2, evidence_samples=2, walk_rows=2, truth_rows=2, conditions=2, pictures=200)
LABELS = ("Eyeglasses", "Wearing_Hat", "Long_Hair")
MEASURES = {
    "CPU seconds": "seconds.training",
    "accuracy": "classification.mean.accuracy",
    "bound": "likelihood.bound.labelled.total",
    "error": "likelihood.reconstruction.absolute_error",
    "SSIM": "likelihood.reconstruction.ssim",
    "intervention succeeds": "interventions.flip.mean.success",
    "side effect": "interventions.flip.mean.side_effect",
    "times chance, mean": "characteristics.reading.mean.times_chance",
    **{f"times chance, {label}": f"characteristics.reading.labels.{label}.times_chance" for label in LABELS},
    "variant in the style": "characteristics.reading.mean.style",
    "variant in other blocks": "characteristics.reading.mean.others",
    "variant by chance": "characteristics.reading.mean.chance",
    "transfer recognised": "characteristics.transfers.mean.recognised",
    "… of visible pairs": "characteristics.transfers.mean.visible.recognised",
    "… colour of visible pairs": "characteristics.transfers.mean.visible.color",
    "… paintable": "characteristics.transfers.mean.reconstruction",
    **{f"transfer, {label}": f"characteristics.transfers.labels.{label}.recognised" for label in LABELS},
}


def measured(arm, seed, data, run, epochs, split):
    """Results of one arm and seed, from its folder if it was trained before."""
    found = run / f"{split}.json"
    if not found.exists():
        model_settings, settings = ARMS[arm]
        shutil.rmtree(run, ignore_errors=True)  # what was interrupted
        torch.manual_seed(seed)
        model = CCVAE.for_data(data, dropout=0.0, **model_settings)
        started = time.process_time()
        fit(model, data, run, epochs=epochs, seed=seed, progress=False, **settings)
        seconds = time.process_time() - started
        results = evaluate(model, data, split, COUNTS, progress=False)
        results["seconds"]["training"] = seconds
        found.write_text(json.dumps(results))
    return json.loads(found.read_text())


def cell(numbers):
    """Mean over seeds, with the standard deviation where there are several."""
    digits = 0 if abs(np.mean(numbers)) > 20 else 3
    spread = f" ± {np.std(numbers, ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    return f"{np.mean(numbers):.{digits}f}{spread}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--runs", type=Path, default=Path("runs/capture"), help="a run that is there is not repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = avatars(20_000, size=32, seed=0, validation=2_000, test=2_000)
    table = {}
    for arm in arguments.arms:
        folders = [arguments.runs / f"{arm}-{arguments.epochs}-{seed}".replace(" ", "-") for seed in arguments.seeds]
        each = [
            measured(arm, seed, data, run, arguments.epochs, arguments.split)
            for seed, run in zip(arguments.seeds, folders, strict=True)
        ]
        table[arm] = {}
        for title, path in MEASURES.items():
            values = [find(results, path) for results in each]
            numbers = [value["value"] if isinstance(value, dict) else value for value in values]
            table[arm][title] = cell(numbers) if None not in numbers else ""
        lines = ["# What captures characteristics, and what is sharp", "", *__doc__.splitlines()[4:]]
        seeds = ", ".join(map(str, arguments.seeds))
        lines += ["", f"{arguments.epochs} epochs; {arguments.split} split; seeds {seeds}: mean ± standard deviation.", ""]
        lines += [f"| | {' | '.join(table)} |", "|---" * (len(table) + 1) + "|"]
        lines += [f"| {title} | {' | '.join(row[title] for row in table.values())} |" for title in MEASURES]
        RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS)


if __name__ == "__main__":
    main()
