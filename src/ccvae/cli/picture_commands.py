"""Commands of the command line that make pictures with a trained model."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ccvae.cli.commands import described, inputs_of, tell

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["avatars", "counterfactual", "generate", "intervene", "transfer", "traverse", "write_pictures"]

TOGETHER = 256
"""Pictures generated before they are written: a multiple of what the model decodes at once."""


def generate(
    run: Path,
    given: str = "",
    out: Path = Path("generated.png"),
    count: int = 16,
    seed: int = 0,
    strength: float | None = None,
    device: str = "auto",
    allow_class_paths: bool = False,
) -> None:
    """New images under conditions. Started several times by torchrun or srun, each process writes its share into the folder.

    Args:
        run: run folder.
        given: label values, such as Smiling=1,Eyeglasses=0.
        out: a .png file for one sheet, or a folder for one PNG an image.
        count: how many.
        seed: of the first image; each further one has the next.
        strength: quantile of p(z|y) at which the given labels show; they vary if not given.
        device: where the model computes, in torch's words ("cpu", "cuda"); "auto" is a GPU, if there is one.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
    """
    from ccvae.distributed.devices import device_named
    from ccvae.distributed.shard import Shard, process_rank
    from ccvae.model.ccvae import load

    # parts are the same however many processes there are, so that pictures are too, to the last bit
    parts = range(0, count, TOGETHER)
    process = process_rank()
    shard = Shard(len(parts), process.rank, process.world_size)
    model, values = (
        load(run, allow_class_paths=allow_class_paths).to(device_named(device, process.local_rank)),
        assignments(given),
    )
    if count <= TOGETHER or out.suffix.lower() == ".png":
        if shard.world_size > 1:
            raise ValueError(f"several processes need a folder to write to, and more than {TOGETHER} images; start one")
        write_pictures(out, model.generate(count, values, seed, strength)[None])
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
    allow_class_paths: bool = False,
    allow_download: bool = False,
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
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load

    model = load(run, allow_class_paths=allow_class_paths)
    _, inputs = inputs_of(model, run, images, "test", count, allow_download)
    x = model.inputs(inputs)
    results = model.intervene(x, assignments(changes), strength, seed)
    write_pictures(out, results[None], above=(x, model.reconstruct(x)))


def traverse(
    run: Path,
    labels: str,
    out: Path = Path("traversed.png"),
    images: list[Path] | Path | None = None,
    steps: int = 9,
    strength: float = 0.95,
    count: int = 4,
    allow_class_paths: bool = False,
    allow_download: bool = False,
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
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load

    model = load(run, allow_class_paths=allow_class_paths)
    _, inputs = inputs_of(model, run, images, "test", count, allow_download)
    names = labels.split(",")
    walked = model.traverse(inputs, names, steps, strength)
    write_pictures(out, walked if len(names) == 1 else walked[0])


def transfer(
    run: Path,
    labels: str,
    out: Path = Path("transferred.png"),
    source: Path | None = None,
    targets: list[Path] | Path | None = None,
    count: int = 8,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """The characteristics of one image on others: the source first, then targets over results.

    Args:
        run: run folder.
        out: a .png file for one sheet, or a folder for one PNG a result.
        labels: labels whose characteristics move, with commas between.
        source: image file; the first of the run's own test images if not given.
        targets: image files or folders; the run's own test images if none is given.
        count: how many of the run's own test images.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    import torch

    from ccvae.model.ccvae import load

    model = load(run, allow_class_paths=allow_class_paths)
    source_images = model.inputs(inputs_of(model, run, None if source is None else [source], "test", 1, allow_download)[1])
    x = model.inputs(inputs_of(model, run, targets, "test", count, allow_download)[1])
    results = model.transfer(source_images[:1], x, labels.split(","))
    blank = torch.ones_like(source_images[:1])
    first = torch.cat([source_images[:1], x])
    write_pictures(out, torch.cat([blank, results])[None], above=(first,), skip=1)


def counterfactual(
    run: Path,
    label: str,
    value: str | None = None,
    out: Path = Path("counterfactual.png"),
    images: list[Path] | Path | None = None,
    probability: float = 0.9,
    count: int = 8,
    allow_class_paths: bool = False,
    allow_download: bool = False,
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
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load

    model = load(run, allow_class_paths=allow_class_paths)
    names, inputs = inputs_of(model, run, images, "test", count, allow_download)
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


def write_pictures(out: Path, rows: "Tensor", above: "Sequence[Tensor]" = (), skip: int = 0) -> None:
    """Write pictures `(rows, columns, *shape)` as one sheet, under others, or each of them into a folder."""
    from ccvae.drawing.image_grid import sheet
    from ccvae.storage.atomic import writing

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
    write_each(out, flat)
    tell(f"{len(flat)} pictures in {out}")


def write_each(folder: Path, pictures: "Tensor", first: int = 0) -> None:
    """Write pictures `(count, *shape)` into a folder, named by their numbers."""
    from ccvae.drawing.image_grid import picture_of
    from ccvae.storage.atomic import writing

    if pictures.ndim != 4:
        raise ValueError("the model's inputs are vectors; pictures can be made of images only")
    for number, pixels in enumerate(pictures.cpu(), first):
        with writing(folder / f"{number:04d}.png") as path:
            picture_of(pixels).save(path, format="PNG")


def assignments(text: str) -> dict[str, str]:
    """Label values by name, of a text such as "Smiling=1,Eyeglasses=0"."""
    values = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.rpartition("=")
        if not equals:
            raise ValueError(f"expected LABEL=VALUE, with commas between several, found {part!r}")
        values[name.strip()] = value.strip()
    return values
