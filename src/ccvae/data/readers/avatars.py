"""The bundled data set: faces that a program draws, so that the truth about them is known.

Every face comes with its recipe, and a recipe with a part exchanged can be drawn again: it is what an intervention or a
transfer should have given. Nothing is downloaded; the faces are drawn once and kept in the cache.

**avataaars**, 16 labels. With its probability, and what shows it (`AvatarTruth.variant_names`):

| label | probability | shown by |
|---|---|---|
| Eyeglasses | .40 | six glasses |
| Facial_Hair | .25 with Long_Hair, else .45 | three beards, two moustaches |
| Wearing_Hat | .30 | hat, turban, four winter hats |
| Long_Hair | .45 | eleven haircuts, five of them wavy |
| Wavy_Hair | .45 | ten haircuts, five of them long |
| Light_Hair | .45 | four hair colours, else one of five dark ones |
| Pale_Skin | .50 | three tones, else one of four darker ones |
| Smiling | .50 | six mouths, three of them open |
| Mouth_Open | .50 | seven mouths, three of them smiling |
| Eyes_Closed | .30 | two pairs of eyes |
| Angry_Brows | .35 | two pairs of brows |
| Formal_Clothes | .35 | two blazers, a sweater with collar |
| Bright_Clothes | .50 | six colours, else one of five dark ones |
| Earrings | .30 | stud, hoop, drop |
| Cheeks | .30 | round, oval, freckles |
| Neckwear | .30 | bow tie, necktie, scarf, beads |

Noise: colours of glasses, hat, earrings, cheeks and neckwear; background; other eyes, brows, haircuts and clothes; shift,
zoom and rotation. Facial_Hair given Long_Hair is the one correlation.

**pixel-art**, 12 labels on a grid of 16 by 16, without shift, zoom or rotation: Eyeglasses .40, Facial_Hair as above,
Wearing_Hat .30, Long_Hair .45, Light_Hair .45, Pale_Skin .50, Earrings .35, Lipstick .40, Warm_Clothes .50,
Patterned_Clothes .40, Blue_Eyes .50, Dark_Background .40.

Licences: avataaars is by Pablo Stanley, "free for personal and commercial use" (https://avataaars.com/); pixel-art is by
DiceBear, CC0 1.0; both are read from the package dicebear-styles. DiceBear's code and pillow-lunasvg are MIT.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import final, overload

import numpy as np

from ccvae.data.dataset import Dataset, Truth
from ccvae.data.label_arrays import LabelArrays
from ccvae.data.origin import recorded
from ccvae.data.splits import split_rows
from ccvae.data.synthetic_faces.drawing import DRAWING_VERSION, draw, draw_data_set
from ccvae.data.synthetic_faces.parts import AvatarStyle
from ccvae.data.synthetic_faces.recipes import Recipe, sample_recipe
from ccvae.data.synthetic_faces.styles import STYLES
from ccvae.distributed.worker_processes import useful_processes
from ccvae.labels import Binary, LabelSpace
from ccvae.storage.cache import built_once
from ccvae.storage.limits import check_limit

__all__ = ["AvatarTruth", "Recipe", "Recipes", "avatars"]

FEWEST = 10
SMALLEST, LARGEST = 16, 256
DRAWN_WITH = ("dicebear-core", "dicebear-styles", "pillow-lunasvg")
FACES_PER_PROCESS = 5_000
"""The fewest faces of 64×64 for which starting another process pays off."""


@recorded
def avatars(
    count: int = 20_000,
    size: int = 32,
    labelled: int | float | None = None,
    seed: int = 0,
    validation: int | float = 0.05,
    test: int | float = 0.2,
    style: str = "avataaars",
    processes: int | None = None,
) -> Dataset:
    """Drawn faces with binary labels, and the truth about them.

    The first faces are the same whatever the count. They are drawn on the first call and cached.

    Args:
        count: number of faces, at least 10.
        size: height and width in pixels, 16 to 256.
        labelled: number (int) or fraction (float) of training faces that keep their labels; all if not given.
        seed: random seed of faces, splits and kept labels; not negative.
        validation: number (int) or fraction (float) of faces to validate on.
        test: number (int) or fraction (float) of faces to test on.
        style: "avataaars" (16 labels) or "pixel-art" (12 labels).
        processes: number of processes that draw; all cores if not given. The faces do not depend on it.

    Returns:
        Data whose `truth` is an `AvatarTruth`.

    Raises:
        ValueError: an argument is out of range, or a label has only one value among the labelled faces.
    """
    if style not in STYLES:
        raise ValueError(f"style: no {style!r}; there are {', '.join(STYLES)}")
    for name, value, least, most in (
        ("count", count, FEWEST, math.inf),
        ("size", size, SMALLEST, LARGEST),
        ("seed", seed, 0, math.inf),
        ("processes", 1 if processes is None else processes, 1, math.inf),
    ):
        if not isinstance(value, int) or not least <= value <= most:
            wanted = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise ValueError(f"{name}: expected a whole number {wanted}, found {value!r}")
    check_limit("faces", count, f"count: {count:,}")
    splits = split_rows(count, validation, test, seed)
    drawn = STYLES[style]
    folder = built_once(
        f"avatars-{style}-{size}px-seed{seed}-{count}-{fingerprint(drawn)}",
        lambda fresh: draw_data_set(fresh, drawn, size, seed, count, drawing_processes(count, size, processes)),
    )
    labels = np.load(folder / "labels.npy").astype(np.float32)
    parsed = LabelArrays(labels, LabelSpace(tuple(Binary(label) for label in drawn.labels)))
    train = splits["train"]
    if labelled is not None:
        parsed = parsed.hide(train, labelled, None, seed)
    try:
        parsed = parsed.with_priors(train)
    except ValueError as error:
        found = str(error).partition(";")[0]
        if labelled is not None:
            kept = int((~np.isnan(parsed.array[train])).any(axis=1).sum())
            raise ValueError(f"with {kept} labelled rows (seed {seed}): {found}; keep more") from None
        raise ValueError(f"{len(train)} training faces of {count}: {found}; ask for more faces") from None
    return Dataset(
        inputs=np.load(folder / "images.npy", mmap_mode="r"),
        labels=parsed.array,
        space=parsed.space,
        ids=np.array([f"avatar-{row:05d}" for row in range(count)]),
        splits=splits,
        name=f"{style} {size}×{size}",
        truth=AvatarTruth(style, size, seed, np.load(folder / "variants.npy")),
        mirrored=True,
    )


@final
class AvatarTruth(Truth):
    """Ground truth of drawn faces.

    Args:
        style: name of the style.
        size: height and width of the pictures in pixels.
        seed: of the faces.
        variants: int8 `(rows, labels)`: index in `variant_names` of the variant that shows each label, -1 where the
            label is absent.
    """

    def __init__(self, style: str, size: int, seed: int, variants: np.ndarray) -> None:
        self.style = style
        self.size = size
        self.seed = seed
        self.variants = variants
        self.variant_names: Mapping[str, tuple[str, ...]] = STYLES[style].variant_names
        self.color_names: Mapping[str, tuple[str, ...]] = STYLES[style].color_names
        self.recipes: Sequence[Recipe] = Recipes(STYLES[style], seed, len(variants))

    def render(self, recipe: Recipe) -> np.ndarray:
        """Picture of a recipe: uint8 `(size, size, 3)`, the stored one if the recipe is a row's."""
        return draw(recipe, self.size)

    def with_label(self, recipe: Recipe, label: str, value: int, variant: str | None = None) -> Recipe:
        """Recipe of the same face with a label set: the truth of an intervention. See `Recipe.with_label`."""
        return recipe.with_label(label, value, variant)

    def with_part_of(self, recipe: Recipe, source_recipe: Recipe, label: str) -> Recipe:
        """Recipe of a face with another's part: the truth of a transfer. See `Recipe.with_part_of`."""
        return recipe.with_part_of(source_recipe, label)

    def with_color(self, recipe: Recipe, label: str, color: str) -> Recipe:
        """Recipe of the same face with a part in another color. See `Recipe.with_color`."""
        return recipe.with_color(label, color)

    def color_of(self, recipe: Recipe, label: str) -> str:
        """Color of the part that shows a label, "" if the label is absent."""
        return recipe.colors.get(label, "")


@final
class Recipes(Sequence[Recipe]):
    """The recipes of all faces, each computed when it is accessed.

    Args:
        style: what the faces are drawn from.
        seed: random seed of the faces.
        count: number of faces.
    """

    def __init__(self, style: AvatarStyle, seed: int, count: int) -> None:
        self.style = style
        self.seed = seed
        self.rows = range(count)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, row: int) -> Recipe: ...
    @overload
    def __getitem__(self, row: slice) -> list[Recipe]: ...
    def __getitem__(self, row: int | slice) -> Recipe | list[Recipe]:
        if isinstance(row, slice):
            return [sample_recipe(self.style, self.seed, each) for each in self.rows[row]]
        return sample_recipe(self.style, self.seed, self.rows[row])


def fingerprint(style: AvatarStyle) -> str:
    """Text that changes with everything that influences how faces of a style look."""
    told = [str(DRAWING_VERSION), *(f"{package} {version(package)}" for package in DRAWN_WITH)]
    told += [f"{style.labels}", f"{style.parts}", json.dumps(style.definition())]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:10]


def drawing_processes(count: int, size: int, processes: int | None) -> int:
    """How many processes draw: as many as asked for, else as many as pay off; larger faces take longer."""
    return useful_processes(count * max(1, size / 64), FACES_PER_PROCESS) if processes is None else min(processes, count)
