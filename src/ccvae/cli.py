"""The command line: one verb, one function. Nothing heavy is imported before a verb runs."""

import inspect
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ccvae.config import DataConfig, ModelConfig, TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ccvae.data import Dataset
    from ccvae.model import CCVAE

__all__ = ["main"]

DATA, MODEL, TRAINING = DataConfig(), ModelConfig(), TrainConfig()


def train(
    source: str,
    out: Path | None = None,
    data: DataConfig = DATA,
    model: ModelConfig = MODEL,
    training: TrainConfig = TRAINING,
    resume: bool = False,
    dry_run: bool = False,
    tensorboard: bool = False,
    figures: bool = True,
) -> None:
    """Train a model, and write its run folder with figures and report.

    Args:
        source: "avatars", "digits", "fashion_mnist", "mnist", a folder of images, or a table.
        out: run folder to write; runs/ and the source's name if not given.
        data: how the source is read.
        model: the model's sizes and choices.
        training: how it is trained.
        resume: go on from the last checkpoint in the run folder.
        dry_run: read the data, say what would be done, and stop.
        tensorboard: write logs for TensorBoard too (needs the package tensorboard).
        figures: draw figures and write the report after training.
    """
    import torch

    from ccvae.data.source import open_data
    from ccvae.model import CCVAE
    from ccvae.run import check_free, check_resumable, load
    from ccvae.training import Interrupted, fit

    out = out or Path("runs") / Path(source).stem
    settings = {"data": {"source": source, **asdict(data)}}
    if resume:
        check_resumable(out, settings | {"model": asdict(model), "training": asdict(training)})
    elif not dry_run:
        check_free(out)
    dataset = open_data(source, data)
    tell(described(dataset))
    torch.manual_seed(training.seed)
    fresh = load(out) if resume else CCVAE(dataset.space, dataset.input_shape, model)
    tell(f"model: {sum(p.numel() for p in fresh.parameters()):,} parameters, latent {model.latent_dim}")
    if dry_run:
        tell("dry run: nothing was written")
        return
    started = time.monotonic()
    try:
        fit(fresh, dataset, out, training, resume=resume, settings=settings, loggers=loggers(out, tensorboard))
    except Interrupted as interrupt:
        raise KeyboardInterrupt(str(interrupt)) from None
    tell(f"trained in {time.monotonic() - started:.0f} s; model, settings and metrics are in {out}")
    if figures:
        draw(out, dataset)


def report(run: Path) -> None:
    """Draw a run's figures and write its report anew.

    Args:
        run: run folder.
    """
    draw(run, data_of(run))


def draw(run: Path, dataset: "Dataset") -> None:
    """Draw figures of a run and its data, and write the report."""
    from ccvae.figures import draw_all
    from ccvae.report import write_report
    from ccvae.run import load

    model = load(run)
    pictures = draw_all(model, dataset, run)
    page = write_report(run, model, dataset)
    tell(f"{len(pictures)} figures in {run / 'figures'}; report: {page}")


def predict(run: Path, images: list[Path] | None = None, out: Path | None = None, split: str = "test") -> None:
    """Label probabilities q(y|x) of images, as CSV.

    Args:
        run: run folder.
        images: image files or folders; the run's own data if none is given.
        out: CSV file to write; the terminal if not given.
        split: of the run's own data: "train", "validation" or "test".
    """
    from ccvae.run import load, writing

    model = load(run)
    names, inputs = inputs_of(model, run, images, split, None)
    table = model.predict_proba(inputs)
    table.insert(0, "id", names)
    if out is None:
        sys.stdout.write(table.to_csv(index=False, float_format="%.4f"))
        return
    with writing(out) as path:
        table.to_csv(path, index=False)
    tell(f"{len(table)} rows in {out}")


def generate(
    run: Path,
    given: str = "",
    out: Path = Path("generated.png"),
    count: int = 16,
    seed: int = 0,
    strength: float | None = None,
) -> None:
    """New images under conditions.

    Args:
        run: run folder.
        given: label values, such as Smiling=1,Eyeglasses=0.
        out: a .png file for one sheet, or a folder for one PNG an image.
        count: how many.
        seed: of the first image; each further one has the next.
        strength: quantile of p(z|y) at which the given labels show; they vary if not given.
    """
    from ccvae.run import load

    model = load(run)
    write_pictures(out, model.generate(count, assignments(given), seed, strength)[None])


def intervene(
    run: Path,
    changes: str,
    out: Path = Path("intervened.png"),
    images: list[Path] | None = None,
    strength: float | None = 0.5,
    seed: int = 0,
    count: int = 8,
) -> None:
    """Images with labels set to other values: originals, reconstructions and results, one above another.

    Args:
        run: run folder.
        out: a .png file for one sheet, or a folder for one PNG a result.
        changes: label values, such as Smiling=1,Eyeglasses=0.
        images: image files or folders; the run's own test images if none is given.
        strength: quantile of p(z|y) at which the labels show; null draws a characteristic for every image.
        seed: of those draws.
        count: how many of the run's own test images.
    """
    from ccvae.run import load

    model = load(run)
    _, inputs = inputs_of(model, run, images, "test", count)
    x = model.inputs(inputs)
    results = model.intervene(x, assignments(changes), strength, seed)
    write_pictures(out, results[None], above=(x, model.reconstruct(x)))


def traverse(
    run: Path,
    labels: str,
    out: Path = Path("traversed.png"),
    images: list[Path] | None = None,
    steps: int = 9,
    strength: float = 0.95,
    count: int = 4,
) -> None:
    """Images along one label's characteristic (a row an image), or two labels' (a plane of the first image).

    Args:
        run: run folder.
        out: a .png file for one sheet, or a folder for one PNG a picture.
        labels: one label, or two with a comma between.
        images: image files or folders; the run's own test images if none is given.
        steps: pictures along each label.
        strength: quantile of p(z|y) at both ends.
        count: how many of the run's own test images.
    """
    from ccvae.run import load

    model = load(run)
    _, inputs = inputs_of(model, run, images, "test", count)
    names = labels.split(",")
    walked = model.traverse(inputs, names, steps, strength)
    write_pictures(out, walked if len(names) == 1 else walked[0])


def transfer(
    run: Path,
    labels: str,
    out: Path = Path("transferred.png"),
    source: Path | None = None,
    targets: list[Path] | None = None,
    count: int = 8,
) -> None:
    """The characteristics of one image on others: the source first, then targets over results.

    Args:
        run: run folder.
        out: a .png file for one sheet, or a folder for one PNG a result.
        labels: labels whose characteristics move, with commas between.
        source: image file; the first of the run's own test images if not given.
        targets: image files or folders; the run's own test images if none is given.
        count: how many of the run's own test images.
    """
    import torch

    from ccvae.run import load

    model = load(run)
    source_images = model.inputs(inputs_of(model, run, None if source is None else [source], "test", 1)[1])
    x = model.inputs(inputs_of(model, run, targets, "test", count)[1])
    results = model.transfer(source_images[:1], x, labels.split(","))
    blank = torch.ones_like(source_images[:1])
    first = torch.cat([source_images[:1], x])
    write_pictures(out, torch.cat([blank, results])[None], above=(first,), skip=1)


def counterfactual(
    run: Path,
    label: str,
    value: str | None = None,
    out: Path = Path("counterfactual.png"),
    images: list[Path] | None = None,
    probability: float = 0.9,
    count: int = 8,
) -> None:
    """The nearest change of each image that makes q(y|x) say another value: originals, reconstructions and results.

    Args:
        run: run folder.
        out: a .png file for one sheet, or a folder for one PNG a result.
        label: the label.
        value: what q(y|x) is to say; by default the most probable of the values that it does not say now.
        images: image files or folders; the run's own test images if none is given.
        probability: how probable that value is to become.
        count: how many of the run's own test images.
    """
    from ccvae.run import load

    model = load(run)
    names, inputs = inputs_of(model, run, images, "test", count)
    x = model.inputs(inputs)
    found = model.counterfactual(x, label, value, probability)
    table = found.before.add_suffix(" before").join(found.after.add_suffix(" after"))
    table.insert(0, "id", names)
    sys.stdout.write(table.assign(distance=found.distance).to_csv(index=False, float_format="%.4f"))
    write_pictures(out, found.images[None], above=(x, model.reconstruct(x)))


def avatars(
    count: int = 20_000,
    size: int = 32,
    style: Literal["avataaars", "pixel-art"] = "avataaars",
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Draw and cache the bundled faces, and show some of them.

    Args:
        count: how many.
        size: height and width in pixels.
        style: which style.
        seed: which faces.
        out: a .png file for a sheet of the first faces.
    """
    from ccvae import data

    dataset = data.avatars(count, size=size, style=style, seed=seed)
    tell(described(dataset))
    if out is not None:
        columns = min(count, 12)
        write_pictures(
            out, dataset.tensor(slice(min(count, 96) // columns * columns)).reshape(-1, columns, *dataset.input_shape)
        )


def check_data(source: str, data: DataConfig = DATA, html: Path | None = None, json: bool = False) -> int:
    """Look data over before training: counts, labels, duplicates, leaks between splits. Exit code 1 if there are problems.

    Args:
        source: "avatars", "digits", "fashion_mnist", "mnist", a folder of images, or a table.
        data: how the source is read.
        html: page to write, with pictures.
        json: print JSON instead of text.
    """
    from ccvae.data import check
    from ccvae.data.source import open_data
    from ccvae.run import writing

    found = check(open_data(source, data))
    sys.stdout.write(found.to_json() + "\n" if json else found.to_text())
    if html is not None:
        with writing(html) as path:
            path.write_text(found.to_html(), encoding="utf-8")
        tell(f"page: {html}")
    return 1 if found.problems else 0


def cache_data(source: str, data: DataConfig = DATA) -> None:
    """Decode a source's images into the cache ahead of training.

    Args:
        source: "avatars", a folder of images, or another source of images.
        data: how the source is read; training finds the cache if it reads it alike.
    """
    import numpy as np

    from ccvae.data.source import open_data

    dataset = open_data(source, data)
    tell(described(dataset))
    if isinstance(dataset.inputs, np.memmap):
        tell(f"{dataset.inputs.nbytes / 1e6:,.0f} MB are cached in {dataset.inputs.filename}")
    else:
        tell("nothing to cache: these data are read at once")


def tell(message: str) -> None:
    """Say something to the person at the terminal, beside what a verb prints."""
    sys.stderr.write(f"{message}\n")


def described(dataset: "Dataset") -> str:
    """What data there are, in a few lines."""
    import numpy as np

    kinds = [label.kind for label in dataset.space]
    train = dataset.labels[dataset.splits["train"]]
    labelled = int((~np.isnan(train)).any(axis=1).sum())
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in dataset.splits.items())
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{dataset.name}: {len(dataset):,} rows of shape {dataset.input_shape} ({sizes}); labels: {counts}"]
    lines += [f"{labelled:,} of {len(train):,} training rows bear labels", *dataset.notes]
    return "\n".join(lines)


def loggers(out: Path, tensorboard: bool) -> list[Any]:
    """Lightning's TensorBoard logger, where asked for."""
    if not tensorboard:
        return []
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return [TensorBoardLogger(out, name="tensorboard", version="")]
    except ModuleNotFoundError:
        raise ValueError("tensorboard: the package is not installed; run: pip install 'ccvae[log]'") from None


def data_of(run: Path) -> "Dataset":
    """A run's own data, read and split as it was for training, whatever rows were added since."""
    import pandas as pd

    from ccvae.data.source import open_data
    from ccvae.run import read_settings

    settings = dict(read_settings(run).get("data", {}))
    if "source" not in settings:
        raise ValueError(f"{run}: config.yaml does not say where the data came from; give images")
    dataset = open_data(settings.pop("source"), DataConfig(**settings))
    splits = run / "splits.csv"
    if not splits.exists():
        return dataset
    return dataset.split_as(pd.read_csv(splits, dtype=str, keep_default_na=False), str(splits))


def inputs_of(
    model: "CCVAE", run: Path, images: list[Path] | None, split: str, count: int | None
) -> "tuple[list[str], np.ndarray | Tensor]":
    """Names and inputs: of image files, or the first of the run's own data's split."""
    from ccvae.data.source import read_images
    from ccvae.run import read_settings

    if images:
        settings = dict(read_settings(run).get("data", {}))
        settings.pop("source", None)
        return read_images(images, model.input_shape, DataConfig(**settings))
    dataset = data_of(run)
    if split not in dataset.splits:
        raise ValueError(f"split: expected one of {', '.join(dataset.splits)}, found {split!r}")
    rows = dataset.splits[split][:count]
    if not len(rows):
        raise ValueError(f"split {split!r} of {dataset.name} has no rows; name images")
    return [str(name) for name in dataset.ids[rows]], dataset.tensor(rows)


def write_pictures(out: Path, rows: "Tensor", above: "Sequence[Tensor]" = (), skip: int = 0) -> None:
    """Write pictures `(rows, columns, *shape)` as one sheet, under others, or each of them into a folder."""
    from ccvae.grids import picture_of, sheet
    from ccvae.run import writing

    if rows.ndim != 5:
        raise ValueError("the model's inputs are vectors; pictures can be made of images only")
    if out.suffix.lower() == ".png":
        import torch

        whole = torch.cat([*(row[None] for row in above), rows])
        with writing(out) as path:
            sheet(whole).save(path, format="PNG")
        tell(f"{whole.shape[0]} × {whole.shape[1]} pictures in {out}")
        return
    flat = rows.flatten(0, 1)[skip:]
    for number, pixels in enumerate(flat):
        with writing(out / f"{number:04d}.png") as path:
            picture_of(pixels).save(path, format="PNG")
    tell(f"{len(flat)} pictures in {out}")


VERBS: dict[str, Callable[..., int | None]] = {
    "train": train,
    "report": report,
    "predict": predict,
    "generate": generate,
    "intervene": intervene,
    "traverse": traverse,
    "transfer": transfer,
    "counterfactual": counterfactual,
    "data avatars": avatars,
    "data check": check_data,
    "data cache": cache_data,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 after a check that found problems, 2 for what the user can mend, 130
    after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = next((verb for verb in VERBS if arguments[: len(verb.split())] == verb.split()), None)
    if verb is None:
        asked_for_help = not arguments or arguments[0] in ("-h", "--help")
        complaint = "" if asked_for_help else f"ccvae: error: no command {' '.join(arguments[:2])!r}\n\n"
        (sys.stdout if asked_for_help else sys.stderr).write(complaint + overview())
        return 0 if asked_for_help else 2
    # only the verb at hand is made a parser: all of them would take seconds
    from jsonargparse import auto_cli

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        code = auto_cli(
            VERBS[verb], args=spelled_out(VERBS[verb], arguments[len(verb.split()) :]), prog=f"ccvae {verb}", allow_abbrev=False
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ccvae {verb}: error: {error}\n")
        return 2
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"ccvae {verb}: {interrupt or 'stopped'}\n")
        return 130
    return code or 0


def spelled_out(verb: Callable[..., int | None], arguments: list[str]) -> list[str]:
    """Arguments of a verb, with "true" after every switch that stands alone, such as --resume."""
    switches = {f"--{name}" for name, parameter in inspect.signature(verb).parameters.items() if parameter.annotation is bool}
    words = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        words += [argument, "true"] if argument in switches and following not in ("true", "false") else [argument]
    return words


def overview() -> str:
    """What the command line can do."""
    width = max(map(len, VERBS)) + 2
    lines = [f"  {verb:{width}}{(function.__doc__ or '').splitlines()[0]}" for verb, function in VERBS.items()]
    return "\n".join(
        [
            "usage: ccvae COMMAND [ARGUMENTS]   (ccvae COMMAND --help tells its arguments)",
            "",
            "Semi-supervised VAEs that capture how a label shows: classify, generate, intervene, transfer.",
            "",
            *lines,
            "",
            "Begin with:  ccvae train avatars",
            "",
        ]
    )


def assignments(text: str) -> dict[str, str]:
    """Label values by name, of a text such as "Smiling=1,Eyeglasses=0"."""
    values = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.rpartition("=")
        if not equals:
            raise ValueError(f"expected LABEL=VALUE, with commas between several, found {part!r}")
        values[name.strip()] = value.strip()
    return values
