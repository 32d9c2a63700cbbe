"""Few labels: a CCVAE beside classifiers of the same labelled rows, and what its parts give.

    python benchmarks/few_labels.py                         # 800 of 15,000 faces, one seed; writes few_labels.md
    python benchmarks/few_labels.py --labelled 320 --seeds 3
    python benchmarks/few_labels.py --data fashion_mnist --labelled 550
    python benchmarks/few_labels.py --plot                  # all results so far, as tables and plots

Each arm is trained on the same rows with the same seeds, and tested on rows that chose nothing. Settings of all arms were
chosen on rows that are not tested: dropout 0.6, weight decay 0.5, 2,000 steps and mirrored images (where the data allow
it) for all classifiers of labelled rows.

- `supervised`: the encoder and classifiers of the CCVAE, trained on log q(y|x) of the labelled rows.
- `teacher`: the same with the network of a teacher; `teachers`: the mean of the default recipe's teachers.
- `pretrained teacher`: one that starts from features of all images, as teachers do by default if at most 150 are labelled.
- `pseudo-labels`: a teacher's network trained again on the labelled rows and on what the teachers predict with at least 95 %.
- `FixMatch`: a teacher's network trained with `ccvae.baselines.fixmatch`, half of each batch unlabelled.
- `CCVAE alone`: without teachers; `CCVAE with pretraining` and `without`: with teachers that start so, or from random weights.
- `CCVAE`: `ccvae.fit` as it is.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ccvae.baselines.fixmatch import FixMatch
from ccvae.baselines.supervised import supervised
from ccvae.config import TrainConfig
from ccvae.data import avatars, digits, fashion_mnist
from ccvae.data.loaders.batches import SplitBatches
from ccvae.data.soft_targets import SoftTargets, mean_predictions
from ccvae.evaluation.metrics.classification import classification
from ccvae.labels import Continuous
from ccvae.model.calibration import decide, fit_calibration, tempered
from ccvae.model.ccvae import CCVAE
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.training import few_labels
from ccvae.training import teachers as teaching
from ccvae.training.contrastive import pretrained_features
from ccvae.training.fit import fit, train
from ccvae.training.stage import Stage

RESULTS = Path(__file__).parent / "results"
ROWS = RESULTS / "few_labels.jsonl"
CONFIDENT = 0.95
MEASURES = ("accuracy", "balanced", "balanced at the prior", "AUROC", "calibration error", "calibrated", "error", "CPU minutes")


def read(name, labelled, seed):
    """Data with few training labels."""
    if name == "avatars":
        full = avatars(20_000, size=32, seed=0, validation=1_000, test=4_000)
    else:
        full = fashion_mnist() if name == "fashion_mnist" else digits(validation=100, test=400)
    return full.hide(labelled, seed)


class Ensemble:
    """Several classifiers whose probabilities are averaged."""

    def __init__(self, models, flip):
        self.models, self.flip, self.space = models, flip, models[0].space

    def predict_proba(self, images, calibrated=False):
        """Mean q(y|x), over mirrored images too if they were trained on."""
        views = (images, images.flip(3)) if self.flip else (images,)
        tables = [model.predict_proba(view, calibrated=False) for model in self.models for view in views]
        return pd.DataFrame(mean_predictions(tables, self.space), columns=tables[0].columns)


def arms(data, config, wanted):
    """The arms that are wanted, by name, each trained when it is asked for."""
    recipe = few_labels.recipe_for(replace(config, few_labels=True, pretraining_steps=0), data)
    alone, enough = Stage(None, None, progress=False), few_labels.enough_pretraining(data)
    teachers = []

    def taught():
        """The default recipe's teachers, trained once."""
        if not teachers:
            numbers = range(1, recipe.teachers + 1)
            teachers.extend(teaching.trained_teacher(data, config, recipe, alone, number, train)[0] for number in numbers)
        return teachers

    def pretrained():
        own = few_labels.recipe_for(replace(config, few_labels=True, pretraining_steps=enough), data)
        features = pretrained_features(data, config, own, alone, train)
        return teaching.trained_teacher(data, config, own, alone, 1, train, features)[0]

    def plain():
        batch = min(200, 2 * recipe.labelled)
        epochs = max(1, round(recipe.steps / max(1, (len(data.splits["train"]) - recipe.labelled) // (batch - batch // 2))))
        tuned = replace(config, epochs=epochs, batch_size=batch, weight_decay=0.5, flip=recipe.flip, few_labels=False)
        return supervised(data, tuned, dropout=recipe.dropout)

    def pseudo():
        rows = data.splits["train"]
        predictions = [Ensemble(taught(), recipe.flip).predict_proba(x) for x, _ in SplitBatches(data, "train", 500)]
        targets = SoftTargets(data.space, rows, pd.concat(predictions).to_numpy(dtype=np.float32))
        labels = np.array(data.labels)
        found, first = targets.predictions, 0
        for column, label in enumerate(data.space):
            p = found[:, first : first + len(label.output_columns)]
            first += len(label.output_columns)
            sure = np.isnan(labels[rows, column]) & (p.max(1) >= CONFIDENT)
            labels[rows[sure], column] = p[sure].argmax(1)
        model = teaching.teacher(data, recipe, config.seed)
        passes = replace(config, epochs=max(1, round(2 * recipe.steps * 100 / len(rows))), batch_size=100, labelled_share=None)
        passes = replace(passes, weight_decay=recipe.weight_decay, few_labels=False)
        shown = replace(data, labels=labels, splits={**data.splits, "validation": rows[:0]})
        augmentation = few_labels.augmentation_for(config, data, recipe)
        train(model, shown, passes, replace(alone, augmentation=augmentation), log_likelihood_of_labels)
        return model

    def fixmatch():
        rows, batch = len(data.splits["train"]), 2 * recipe.batch_size
        epochs = max(1, round(recipe.steps / max(1, (rows - recipe.labelled) // recipe.batch_size)))
        passes = replace(config, epochs=epochs, batch_size=batch, labelled_share=0.5, weight_decay=recipe.weight_decay)
        passes = replace(passes, learning_rate=teaching.LEARNING_RATE, few_labels=False)
        shown = replace(data, splits={**data.splits, "validation": data.splits["train"][:0]})
        model = teaching.teacher(data, recipe, config.seed)
        augmentation = few_labels.augmentation_for(config, data, recipe)
        train(model, shown, passes, replace(alone, augmentation=augmentation), FixMatch())
        return model

    def ccvae(**changes):
        torch.manual_seed(config.seed)
        return fit(CCVAE.for_data(data), data, config=config, progress=False, **changes)

    makers = {
        "supervised": plain,
        "teacher": lambda: taught()[0],
        "teachers": lambda: Ensemble(taught(), recipe.flip),
        "pretrained teacher": pretrained,
        "pseudo-labels": pseudo,
        "FixMatch": fixmatch,
        "CCVAE alone": lambda: ccvae(few_labels=False),
        "CCVAE with pretraining": lambda: ccvae(pretraining_steps=enough),
        "CCVAE without pretraining": lambda: ccvae(pretraining_steps=0),
        "CCVAE": ccvae,
    }
    return {name: makers[name] for name in wanted}


def predictions_of(model, data, split):
    """Exact probabilities of a split, and its labels."""
    parts = [model.predict_proba(x, calibrated=False) for x, _ in SplitBatches(data, split, 500)]
    return pd.concat(parts, ignore_index=True), data.labels[data.splits[split]]


def tested(model, data):
    """Measures on the test rows, means over labels."""
    p, y = predictions_of(model, data, "test")
    calibration = fit_calibration(*predictions_of(model, data, "validation"), data.space)
    calibrated = tempered(p, calibration.temperatures, data.space)
    before, after = (classification(each, y, data.space, 1)["mean"] for each in (p, calibrated))
    chosen = data.space.encode(decide(calibrated, data.space, "prior"))
    recalls = [
        np.mean([(chosen[y[:, c] == value, c] == value).mean() for value in np.unique(y[:, c])])
        for c, label in enumerate(data.space)
        if not isinstance(label, Continuous)
    ]
    found = {
        "accuracy": before["accuracy"].value,
        "balanced": before["balanced_accuracy"].value,
        "balanced at the prior": float(np.mean(recalls)),
        "AUROC": before["auroc"].value,
        "calibration error": before["calibration_error"].value,
        "calibrated": after["calibration_error"].value,
    }
    if isinstance(model, CCVAE) and not isinstance(model.decoder, torch.nn.Identity):
        errors = [(model.reconstruct(x) - x).abs().mean().item() for x, _ in SplitBatches(data, "test", 500)]
        found["error"] = float(np.mean(errors))
    return found


def table_of(rows):
    """Means and standard deviations over seeds, as Markdown."""
    lines = ["| arm | seeds | " + " | ".join(MEASURES) + " |", "|---" * (2 + len(MEASURES)) + "|"]
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        cells = []
        for measure in MEASURES:
            values = [row[measure] for row in own if measure in row]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}" if values else "–")
        lines.append(f"| {arm} | {len(own)} | " + " | ".join(cells) + " |")
    return lines


def write_table():
    """All results so far, a table for each data set and number of labels."""
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    lines = [
        "# Few labels",
        "",
        "`balanced` is balanced accuracy of the most probable value, `calibrated` the calibration error",
    ]
    lines += ["of what `predict_proba` gives, `error` the mean absolute error of a reconstructed channel."]
    lines += ["[What was tried](few_labels_trials.md) while the settings were chosen.", ""]
    for name, labelled in sorted({(row["data"], row["labelled"]) for row in rows}):
        chosen = [row for row in rows if (row["data"], row["labelled"]) == (name, labelled)]
        lines += [f"## {name}, {labelled} labelled rows", "", *table_of(chosen), ""]
    (RESULTS / "few_labels.md").write_text("\n".join(lines))
    print("\n".join(lines))


def plot():
    """Balanced accuracy at the prior against the number of labels, with standard deviations over seeds."""
    from matplotlib import pyplot

    rows = pd.DataFrame([json.loads(line) for line in ROWS.read_text().splitlines()])
    for name, of_data in rows.groupby("data"):
        counts = sorted(of_data["labelled"].unique())
        if len(counts) < 2:
            continue
        figure, axes = pyplot.subplots(figsize=(6, 4))
        for arm, own in of_data.groupby("arm", sort=False):
            over_seeds = own.groupby("labelled")["balanced at the prior"]
            means, spread = over_seeds.mean(), over_seeds.std().fillna(0)
            axes.errorbar(means.index, means.to_numpy(), spread.to_numpy(), marker="o", markersize=4, capsize=3, label=arm)
        axes.set(xscale="log", xlabel="labelled rows", ylabel="balanced accuracy, decided at the prior", title=name)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
        figure.savefig(RESULTS / f"few_labels-{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("avatars", "fashion_mnist", "digits"), default="avatars")
    parser.add_argument("--labelled", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of the CCVAE; as `ccvae.fit` chooses if not given")
    parser.add_argument(
        "--arms", nargs="+", default=["supervised", "teacher", "teachers", "pseudo-labels", "FixMatch", "CCVAE alone", "CCVAE"]
    )
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.plot:
        write_table()
        plot()
        return
    RESULTS.mkdir(exist_ok=True)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        data = read(arguments.data, arguments.labelled, seed)
        config = TrainConfig(epochs=arguments.epochs, seed=seed, precision=arguments.precision)
        for name, make in arms(data, config, arguments.arms).items():
            before = time.process_time()
            model = make()
            minutes = (time.process_time() - before) / 60
            row = {"data": arguments.data, "labelled": arguments.labelled, "seed": seed, "arm": name, "CPU minutes": minutes}
            row |= tested(model, data) | {"settings": {"epochs": arguments.epochs, "precision": arguments.precision}}
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    write_table()


if __name__ == "__main__":
    main()
