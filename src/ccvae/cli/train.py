"""`ccvae train`."""

# The commands' annotations are types and not texts: the command line is made from them, without resolving names.

import logging
import time
from dataclasses import asdict
from pathlib import Path

from ccvae.cli.console import description, tell
from ccvae.cli.evaluate import draw
from ccvae.cli.run_data import known_of
from ccvae.config import DataConfig, ModelConfig, TrainConfig
from ccvae.distributed.memory import making

__all__ = ["train"]

DATA, MODEL, TRAINING = DataConfig(), ModelConfig(), TrainConfig()


def train(
    source: str,
    out: Path | None = None,
    data: DataConfig = DATA,
    model: ModelConfig = MODEL,
    training: TrainConfig = TRAINING,
    resume: bool = False,
    dry_run: bool = False,
    figures: bool = True,
    start_from: Path | None = None,
    allow_class_paths: bool = False,
) -> None:
    """Train a model, and write its run folder with figures and report.

    Args:
        source: "avatars", "digits", "fashion_mnist", a folder of images, or a table.
        out: run folder to write; runs/ and the source's name if not given.
        data: how the source is read.
        model: the model's sizes and choices.
        training: how it is trained.
        resume: continue from the last checkpoint in the run folder, or start at the beginning if it has none.
        dry_run: read the data, describe the model, and stop without writing anything.
        figures: draw figures and write the report after training.
        start_from: run folder whose weights training starts from (also written --from RUN); its labels, input columns and model
            settings are taken over.
        allow_class_paths: import the encoder and decoder that a settings file (--config) names, which runs their code; those
            named by --model.encoder and --model.decoder on the command line are allowed already.
    """
    import torch

    from ccvae.data.open import open_data
    from ccvae.data.origin import located
    from ccvae.distributed.shard import is_first_process
    from ccvae.distributed.shutdown import exit_now
    from ccvae.model.ccvae import CCVAE, load
    from ccvae.model.networks.build import check_image_size
    from ccvae.storage.atomic import check_writable
    from ccvae.storage.run_folder import CONFIG, check_free, check_resumable
    from ccvae.training.duration import all_steps, chosen_epochs
    from ccvae.training.few_labels import recipe_for
    from ccvae.training.fit import Interrupted, fit, precision_of
    from ccvae.training.loggers import check_logger
    from ccvae.training.losses import classification_weight
    from ccvae.training.trainer import check_machine

    out = out or Path("runs") / Path(source).stem
    first = is_first_process()  # of the processes that train together: only this one writes files and messages
    logging.getLogger("ccvae.data").setLevel(logging.ERROR)  # warnings about data are printed with their description
    base = None
    if start_from is not None:
        if model != MODEL:
            raise ValueError("from: a run's weights come with its model settings; leave out those given")
        base = load(start_from, allow_class_paths=allow_class_paths)
        model = base.config
    # paths from the root, so that the run can be evaluated in any working directory
    csv = None if data.csv is None else located(data.csv)
    settings = {"data": {"source": located(source), **asdict(data), "csv": csv}}
    if resume and (out / CONFIG).exists():
        check_resumable(out, settings | {"model": asdict(model), "training": asdict(training)})
    elif first and not resume and not dry_run:
        if out.exists() and not out.is_dir():
            raise ValueError(f"out: {out} is a file; choose another run folder")
        check_free(out)
    if first and not dry_run:
        check_writable(out)
    check_machine(training)
    check_logger(training.logger)
    if data.size is not None:
        check_image_size(model, data.size)
    dataset = open_data(source, data, None if start_from is None else known_of(start_from))
    recipe = recipe_for(training, dataset)
    for name in training.label_weights:
        dataset.space.index(name)
    if first:
        tell(description(dataset))
        if recipe is not None:
            tell(
                f"labels are few: {features_first(recipe.pretraining_steps)}{counted(recipe.teachers, 'teacher')} trained on "
                f"the {recipe.labelled:,} labelled rows first "
                f"({recipe.steps:,} steps, dropout {recipe.dropout}, weight decay {recipe.weight_decay}"
                f"{', mirrored images' if recipe.flip else ''}){with_students(recipe.students, recipe.student_steps)}; "
                "--training.few_labels false leaves this out"
            )
    torch.manual_seed(training.seed)
    # a resumed run's checkpoint replaces the weights
    with making("making the networks"):
        fresh = CCVAE(dataset.space, dataset.input_shape, model) if base is None else base
    weight = classification_weight(fresh, training)
    size = sum(parameter.numel() for parameter in fresh.parameters())
    if first:
        tell(f"model: {size:,} parameters, {fresh.config.latent_dim} latents; the term log q(y|x) has weight {weight:,.0f}")
        epochs, steps = chosen_epochs(training, dataset), all_steps(training, dataset)
        passes = f"{epochs:,} epoch{'s' * (epochs != 1)}, about {steps:,} steps of {training.batch_size:,} rows"
        tell(f"training: {passes}, in {precision_of(fresh, training)}")
    if dry_run:
        tell("dry run: nothing was written")
        return
    started = time.monotonic()
    try:
        with making(f"training with {training.batch_size:,} rows per step"):
            fit(fresh, dataset, out, training, resume=resume, settings=settings)
    except Interrupted as interrupt:
        raise KeyboardInterrupt(str(interrupt)) from None
    if not first:
        exit_now()
        return
    tell(f"trained in {time.monotonic() - started:.0f} s; model, settings and metrics are in {out}")
    if figures:
        draw(out, dataset, allow_class_paths=True)
    exit_now()


def counted(number: int, what: str) -> str:
    """A number of things and its verb, such as "a teacher is" or "2 teachers are"."""
    return f"a {what} is" if number == 1 else f"{number} {what}s are"


def features_first(steps: int) -> str:
    """What is said of pretraining, before the teachers."""
    return f"features are learned from all images without labels ({steps:,} steps), then " if steps else ""


def with_students(students: int, steps: int) -> str:
    """What is said of students after their teachers."""
    if not students:
        return ""
    one_by_one = " one after the other" if students > 1 else ""
    return f", then {counted(students, 'student')} trained{one_by_one} on all rows ({steps:,} steps)"
