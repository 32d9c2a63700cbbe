"""Commands that make pictures with a trained model: generate, intervene, traverse, transfer and counterfactual."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccvae.cli.console import tell
from ccvae.cli.run_data import PLACE, inputs_of
from ccvae.cli.sheets import (
    check_place,
    ends_of,
    folded,
    row_of,
    shown_ids,
    texts_of_rows,
    values_text,
    write_each,
    write_pictures,
)
from ccvae.config import DataPlace, check_seed, check_whole
from ccvae.storage.limits import check_limit
from ccvae.storage.yaml_text import parse_yaml

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ccvae.drawing.image_grid import Row
    from ccvae.model.ccvae import CCVAE
    from ccvae.model.inputs.reading import Inputs

__all__ = ["counterfactual", "generate", "intervene", "transfer", "traverse"]

TOGETHER = 256
"""Number of pictures that are generated before they are written: a multiple of what the model decodes at once."""

MOST_NAMED = 2
"""Changed labels that are named beside a row of images."""


def generate(
    run: Path,
    given: dict[str, str | bool | int | float | None] | list[str] | str = "",
    out: Path = Path("generated.png"),
    count: int = 16,
    seed: int = 0,
    strength: float | None = None,
    device: str = "auto",
    allow_class_paths: bool = False,
) -> None:
    """Generate images with given label values.

    Processes started by torchrun or srun share the work: each writes its part of the images into the folder.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        given: label values, such as Smiling=1,Eyeglasses=0, also as JSON or given several times; or a .csv file with one row of
            label values for each image.
        out: a .png file for one image grid, or a folder for one PNG per image; a .csv file for a model of a table.
        count: how many images, or rows of a table.
        seed: seed of the first image; each further image has the next number as its seed.
        strength: quantile of p(z|y) at which the given labels show; they vary if not given.
        device: "cpu", "cuda" or another device of torch; "auto" is a GPU if there is one.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
    """
    import pandas as pd

    from ccvae.distributed.devices import device_named
    from ccvae.distributed.shard import Shard, process_rank
    from ccvae.model.ccvae import load
    from ccvae.storage.hub import local_run

    check_place(out)
    check_numbers(count=count, seed=seed)
    check_limit("grid_images" if out.suffix.lower() == ".png" else "images", count, f"count: {count:,}")
    values = conditions(given)
    # the parts do not depend on the number of processes, so the pictures are bit-identical for any number
    parts = range(0, count, TOGETHER)
    process = process_rank()
    shard = Shard(len(parts), process.rank, process.world_size)
    place = device_named(device, process.local_rank)
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths).to(place)
    rows = values if isinstance(values, pd.DataFrame) else None
    if model.input_format.columns is not None:
        write_table(model, out, model.generate(count if rows is None else None, values, seed, strength))
        return
    shown = f"at strength {strength:g}" if strength is not None and given else ""
    if rows is not None:
        images = model.generate(None, rows, seed, strength)
        below = texts_of_rows(rows, "no conditions")
        caption = f"Generated with the values below each image {shown}".strip() + f"; {seeds(seed, len(images))}."
        write_pictures(out, images, folded([row_of(images, below=below)]), caption)
        return
    if count <= TOGETHER or out.suffix.lower() == ".png":
        if shard.world_size > 1:
            raise ValueError(f"several processes need a folder to write to, and more than {TOGETHER} images; start one")
        images = model.generate(count, values, seed, strength)
        caption = f"Generated with {values_text(values)} {shown}".strip() if values else "Generated without conditions"
        write_pictures(out, images, folded([row_of(images)]), f"{caption}; {seeds(seed, count)}.")
        return
    for first in parts[shard.rows]:
        write_each(out, model.generate(min(TOGETHER, count - first), values, seed + first, strength), first)
    mine = sum(min(TOGETHER, count - first) for first in parts[shard.rows])
    tell(f"{mine} pictures in {out}" + (f", of {count}" if shard.world_size > 1 else ""))


def intervene(
    run: Path,
    changes: str,
    out: Path = Path("intervened.png"),
    images: list[Path] | Path | None = None,
    strength: float | None = 0.5,
    seed: int = 0,
    count: int = 8,
    csv: Path | None = None,
    data: DataPlace = PLACE,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Set labels of images to other values: a grid of originals, reconstructions and results.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        out: a .png file for one image grid, or a folder for one PNG per result.
        changes: label values, such as Smiling=1,Eyeglasses=0, or as JSON; or a .csv file with one row of label values for each
            image, where empty cells leave a label as it is.
        images: image files or folders; the run's own test images if none is given.
        strength: quantile of p(z|y) at which the labels show; null draws a characteristic for every image.
        seed: seed of those draws.
        count: how many of the run's own test images are used.
        csv: table of raw rows, for a model of a table; results are a .csv file in the same units.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load
    from ccvae.storage.hub import local_run

    check_place(out)
    check_numbers(count=count, seed=seed)
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths)
    opened = inputs_of(model, run, images, "test", count, allow_download, data, csv)
    x = model.inputs(opened)
    values = conditions(changes)
    results = model.intervene(x, values, strength, seed)
    if model.input_format.columns is not None:
        write_table(model, out, results, opened.read_ids)
        return
    name = what = values_text(values) if isinstance(values, dict) else "the values below it"
    if not isinstance(values, dict) or len(values) > MOST_NAMED:  # the caption has all of them
        name = "changed"
    below = texts_of_rows(values, "no change")
    at = "drawn for each image" if strength is None else f"at strength {strength:g}"
    caption = f"Each image, its reconstruction, and the same with {what}, {at}."
    write_pictures(out, results, before_and_after(model, x, opened, row_of(results, name, below=below)), caption)


def traverse(
    run: Path,
    labels: str,
    out: Path = Path("traversed.png"),
    images: list[Path] | Path | None = None,
    steps: int = 9,
    strength: float = 0.95,
    count: int = 4,
    csv: Path | None = None,
    data: DataPlace = PLACE,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Vary how one label shows (a row per image), or two labels (a plane for the first image).

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        out: a .png file for one image grid, or a folder for one PNG per picture.
        labels: name of one label, or of two separated by a comma.
        images: image files or folders; the run's own test images if none is given.
        steps: number of pictures along each label.
        strength: quantile of p(z|y) at both ends.
        count: how many of the run's own test images are used.
        csv: table of raw rows, for a model of a table; results are a .csv file in the same units.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from dataclasses import replace

    import torch

    from ccvae.model.ccvae import load
    from ccvae.storage.hub import local_run

    check_place(out)
    check_numbers(count=count, steps=steps)
    check_limit("grid_images", count * steps if "," not in labels else steps**2, "steps: the traversal")
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths)
    opened = inputs_of(model, run, images, "test", count, allow_download, data, csv)
    x = model.inputs(opened)
    names = names_in(labels)
    walked = model.traverse(x, names, steps, strength)
    if model.input_format.columns is not None:
        write_table(model, out, walked, opened.read_ids)
        return
    ends = [ends_of(model.space[name]) for name in names]
    across = [ends[-1][0], *[""] * (steps - 2), ends[-1][1]]
    if len(names) == 1:
        first = [row_of(torch.cat([x[:1], walked[0]]), above=["original", *across])]
        rows = first + [row_of(torch.cat([image[None], walk])) for image, walk in zip(x[1:], walked[1:], strict=True)]
        rows = [replace(row, name=name) for row, name in zip(rows, shown_ids(opened.read_ids) or [""] * len(rows), strict=True)]
        caption = f"Each image, and along {labels} from {ends[0][0]} at the left to {ends[0][1]} at the right."
        write_pictures(out, walked.flatten(0, 1), rows, caption, breaks=[1])
    else:
        down = [ends[0][0], *[""] * (steps - 2), ends[0][1]]
        rows = [
            row_of(walk, name, above=across if number == 0 else ())
            for number, (walk, name) in enumerate(zip(walked[0], down, strict=True))
        ]
        caption = f"One image along {names[0]} from top to bottom and {names[1]} from left to right."
        write_pictures(out, walked[0].flatten(0, 1), rows, caption)


def transfer(
    run: Path,
    labels: str,
    out: Path = Path("transferred.png"),
    source: Path | None = None,
    targets: list[Path] | Path | None = None,
    count: int = 8,
    csv: Path | None = None,
    data: DataPlace = PLACE,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Transfer how labels show in one image to others: the source, then targets above results.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        out: a .png file for one image grid, or a folder for one PNG per result.
        labels: names of the labels, separated by commas.
        source: image file; the first of the run's own test images if not given.
        targets: image files or folders; the run's own test images if none is given, without the source.
        count: how many of the run's own test images are used.
        csv: table of raw rows, for a model of a table: the first is the source, the others are targets.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    import torch

    from ccvae.model.ccvae import load
    from ccvae.storage.hub import local_run

    check_place(out)
    check_numbers(count=count)
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths)
    if model.input_format.columns is not None:
        opened = inputs_of(model, run, None, "test", 1 + count, allow_download, data, csv)
        vectors = model.inputs(opened)
        others = None if opened.read_ids is None else opened.read_ids[1:]
        write_table(model, out, model.transfer(vectors[:1], vectors[1:], names_in(labels)), others)
        return
    opened = inputs_of(model, run, targets, "test", count if source or targets else 1 + count, allow_download, data)
    x, ids = model.inputs(opened), shown_ids(opened.read_ids)
    if source is not None:
        source_image = model.inputs(inputs_of(model, run, [source], "test", 1, allow_download, data))[:1]
        name = source.name
    elif targets:
        first = inputs_of(model, run, None, "test", 1, allow_download, data)
        source_image, [name, *_] = model.inputs(first)[:1], shown_ids(first.read_ids)
    else:  # the first of the run's own images is the source, the next are the targets
        if len(x) < 2:
            raise ValueError("the run has one test image; name others with --source or --targets")
        source_image, name, x, ids = x[:1], ids[0], x[1:], ids[1:]
    results = model.transfer(source_image, x, names_in(labels))
    shown = ", ".join(names_in(labels))
    rows = [
        row_of(torch.cat([source_image, x]), "original", above=[f"source: {name}", *ids]),
        row_of(torch.cat([torch.ones_like(source_image), results]), f"with the source's {shown}"),
    ]
    caption = f"The source at the left, and the other images with its {shown}."
    write_pictures(out, results, rows, caption, breaks=[1])


def counterfactual(
    run: Path,
    label: str,
    value: str | None = None,
    out: Path = Path("counterfactual.png"),
    images: list[Path] | Path | None = None,
    probability: float = 0.9,
    count: int = 8,
    csv: Path | None = None,
    data: DataPlace = PLACE,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Find the smallest change of each image's latents for which q(y|x) predicts another value.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        out: a .png file for one image grid, or a folder for one PNG per result.
        label: the label.
        value: value to predict; by default the most probable one after the value predicted now.
        images: image files or folders; the run's own test images if none is given.
        probability: probability that q(y|x) must give the value.
        count: how many of the run's own test images are used.
        csv: table of raw rows, for a model of a table; results are a .csv file in the same units.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load
    from ccvae.storage.hub import local_run

    check_place(out)
    check_numbers(count=count)
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths)
    opened = inputs_of(model, run, images, "test", count, allow_download, data, csv)
    x = model.inputs(opened)
    found = model.counterfactual(x, label, value, probability)
    table = found.before.add_suffix(" before").join(found.after.add_suffix(" after"))
    table.insert(0, "id", range(len(table)) if opened.read_ids is None else opened.read_ids)
    sys.stdout.write(table.assign(distance=found.distance).to_csv(index=False, float_format="%.4f"))
    if model.input_format.columns is not None:
        write_table(model, out, found.images, opened.read_ids)
        return
    caption = f"Each image, its reconstruction, and the smallest change after which another value of {label} is predicted."
    changed = row_of(found.images, "changed", below=[f"{label}={each}" for each in found.values])
    write_pictures(out, found.images, before_and_after(model, x, opened, changed), caption)


def before_and_after(model: "CCVAE", x: "Tensor", opened: "Inputs", changed: "Row") -> "list[Row]":
    """Rows of originals under their names, of reconstructions, and of changed images."""
    originals = row_of(x, "original", above=shown_ids(opened.read_ids))
    return folded([originals, row_of(model.reconstruct(x), "reconstruction"), changed])


def seeds(first: int, count: int) -> str:
    """Seeds of some images, in words."""
    return f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"


def write_table(model: "CCVAE", out: Path, results: Any, ids: "pd.Index | None" = None) -> None:
    """Write results `(rows, *steps, features)` of a model of a table as CSV in own units."""
    import pandas as pd

    from ccvae.model.inputs.reading import Inputs
    from ccvae.model.outputs import as_given
    from ccvae.storage.atomic import writing

    table = results if isinstance(results, pd.DataFrame) else as_given(model, results, None, Inputs(lambda _: iter(()), ids))
    suffix = out.suffix.lower()
    place = out if suffix == ".csv" else out.with_suffix(".csv") if suffix == ".png" else out.with_name(f"{out.name}.csv")
    with writing(place) as path:
        table.reset_index().to_csv(path, index=False, float_format="%.7g")
    tell(f"{len(table)} rows in {place}")


def names_in(labels: str) -> list[str]:
    """Names of labels, separated by commas."""
    return [name.strip() for name in labels.split(",")]


def check_numbers(**numbers: int) -> None:
    """Raise `ValueError` unless arguments are in range: seeds at least 0, counts at least 1."""
    for name, value in numbers.items():
        if name == "seed":
            check_seed(value)
        else:
            check_whole(name, value, least=1)


def conditions(given: dict[str, Any] | list[str] | str) -> "dict[str, Any] | pd.DataFrame":
    """Label values by name, or a table of them with one row for each image.

    Args:
        given: a mapping; texts such as "Smiling=1" or "Smiling=1,Eyeglasses=0"; or the path of a .csv file.
    """
    if isinstance(given, dict):
        return given
    texts = [given] if isinstance(given, str) else given
    if len(texts) == 1 and texts[0].lower().endswith(".csv") and "=" not in texts[0]:
        from ccvae.data.tables.files import read_table

        return read_table(texts[0])[0]
    values: dict[str, Any] = {}
    for text in texts:
        values |= assignments(text)
    return values


def assignments(text: str) -> dict[str, str]:
    """Label values by name, of a text such as "Smiling=1,Eyeglasses=0"; a part without "=" belongs to the value before it."""
    if text.lstrip().startswith("{"):
        found = parse_yaml(text, "label values")
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items()}
    values: dict[str, str] = {}
    last = ""
    for part in text.split(",") if text else []:
        name, equals, value = part.rpartition("=")
        if equals:
            last = name.strip()
            values[last] = value.strip()
        elif last:
            values[last] += f",{part}"
        elif part:
            raise ValueError(f"expected LABEL=VALUE, separated by commas, found {part!r}")
    return values
