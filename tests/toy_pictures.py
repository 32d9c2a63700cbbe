"""Pictures whose truth can be read off their pixels, so that every metric has a known answer.

Each of three binary labels owns a square of 4×4 pixels. Where the label holds, one of its rows is bright, and which one is the
variant; where it does not, the square is dark, and just how dark says which variant the recipe has ready. All else is a
background that no label explains.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ccvae.data.dataset import Dataset, Truth
from ccvae.data.splits import split_rows
from ccvae.evaluation.oracle.predictions import Predictions
from ccvae.labels import Binary, LabelSpace

SIZE, PATCH, VARIANTS = 12, 4, 4
LABELS = ("one", "two", "three")
CORNERS = ((0, 0), (0, 8), (8, 0))
NAMES = tuple(f"row{number}" for number in range(VARIANTS))


@dataclass(frozen=True)
class ToyRecipe:
    """Values of the labels, the variant each has ready, and a background."""

    values: tuple[int, ...]
    ready: tuple[int, ...]
    background: int

    @property
    def variants(self) -> dict[str, str]:
        return {label: NAMES[ready] for label, value, ready in zip(LABELS, self.values, self.ready, strict=True) if value}


def draw(recipe: ToyRecipe) -> np.ndarray:
    picture = np.full((SIZE, SIZE, 3), recipe.background, dtype=np.uint8)
    for value, ready, (top, left) in zip(recipe.values, recipe.ready, CORNERS, strict=True):
        picture[top : top + PATCH, left : left + PATCH] = 0 if value else ready
        if value:
            picture[top + ready, left : left + PATCH] = 255
    return picture


def random_recipe(generator: np.random.Generator) -> ToyRecipe:
    return ToyRecipe(
        tuple(generator.integers(0, 2, 3).tolist()),
        tuple(generator.integers(0, VARIANTS, 3).tolist()),
        int(generator.integers(60, 190)),
    )


class ToyTruth(Truth):
    """How the pictures are drawn."""

    def __init__(self, recipes):
        self.recipes = recipes
        self.variant_names = dict.fromkeys(LABELS, NAMES)
        self.color_names = {}
        self.variants = np.array(
            [[ready if value else -1 for value, ready in zip(each.values, each.ready, strict=True)] for each in recipes]
        )

    def render(self, recipe):
        return draw(recipe)

    def with_label(self, recipe, label, value, variant=None):
        place = LABELS.index(label)
        changed = replace(recipe, values=(*recipe.values[:place], value, *recipe.values[place + 1 :]))
        if variant is None:
            return changed
        return replace(changed, ready=(*recipe.ready[:place], NAMES.index(variant), *recipe.ready[place + 1 :]))

    def with_part_of(self, recipe, source_recipe, label):
        place = LABELS.index(label)
        variant = NAMES[source_recipe.ready[place]] if source_recipe.values[place] else None
        return self.with_label(recipe, label, source_recipe.values[place], variant)


def toy_data(count=400, seed=0, truth=True):
    generator = np.random.default_rng(seed)
    recipes = [random_recipe(generator) for _ in range(count)]
    labels = np.array([recipe.values for recipe in recipes], dtype=np.float32)
    splits = split_rows(count, validation=0.1, test=0.4, seed=seed)
    space = LabelSpace(tuple(map(Binary, LABELS))).with_priors(labels[splits["train"]])
    return Dataset(
        inputs=np.stack([draw(recipe) for recipe in recipes]),
        labels=labels,
        space=space,
        ids=np.array([f"toy-{row}" for row in range(count)]),
        splits=splits,
        name="toy pictures",
        truth=ToyTruth(recipes) if truth else None,
    )


def read_recipe(picture: torch.Tensor) -> ToyRecipe:
    """The recipe of a picture `(3, height, width)`, read off its pixels."""
    pixels = np.rint(np.asarray(picture[0]) * 255)
    columns = [pixels[top : top + PATCH, left] for top, left in CORNERS]
    return ToyRecipe(
        tuple(int(column.max() > 127) for column in columns),
        tuple(int(column.argmax() if column.max() > 127 else column[0]) for column in columns),
        int(pixels[-1, -1]),
    )


def as_pictures(recipes) -> torch.Tensor:
    return torch.tensor(np.stack([draw(recipe) for recipe in list(recipes)])).permute(0, 3, 1, 2).float() / 255


class Stores(nn.Module):
    """An encoder whose latents store given parts of toy images, read off their pixels.

    Args:
        parts: for each latent "value one", "variant two", or "" for noise.
    """

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, x):
        columns = []
        for place, part in enumerate(self.parts):
            kind, _, label = part.partition(" ")
            if not part:
                columns.append(torch.sin(1000.0 * (place + 1) * x.mean((1, 2, 3))))
                continue
            top, left = CORNERS[LABELS.index(label)]
            rows = x[:, 0, top : top + PATCH, left]
            holds = (rows.amax(1) > 0.5).float()
            columns.append(holds if kind == "value" else holds * rows.argmax(1))
        mu = torch.stack(columns, 1)
        return torch.cat([mu, torch.full_like(mu, -3.0)], 1)


class ReadsPixels:
    """A oracle that is never wrong."""

    def predict(self, pictures):
        recipes = [read_recipe(picture) for picture in pictures]
        values = np.array([recipe.values for recipe in recipes])
        ready = np.array([recipe.ready for recipe in recipes])
        return Predictions(
            values={label: np.eye(2)[values[:, place]] for place, label in enumerate(LABELS)},
            variants={label: np.eye(VARIANTS)[ready[:, place]] for place, label in enumerate(LABELS)},
            features=pictures.flatten(1).numpy().astype(float),
        )


class PaintsTruth:
    """A model that paints what is true: it reads recipes and draws changed ones."""

    def __init__(self, data):
        self.space = data.space
        self.truth = ToyTruth([])

    def reconstruct(self, images):
        return images.clone()

    def generate(self, count, given=None, seed=0, strength=None):
        recipes = []
        for number in range(count):
            recipe = random_recipe(np.random.default_rng(seed + number))
            for label, value in (given or {}).items():
                recipe = self.truth.with_label(recipe, label, value)
            recipes.append(recipe)
        return as_pictures(recipes)

    def intervene(self, images, changes, strength=0.5, seed=0):
        recipes = []
        for image in images:
            recipe = read_recipe(image)
            for label, value in changes.items():
                recipe = self.truth.with_label(recipe, label, value)
            recipes.append(recipe)
        return as_pictures(recipes)

    def traverse(self, images, labels, steps=9, strength=0.95, between=None):
        return torch.stack([self.intervene(images, {labels: int(step >= steps / 2)}) for step in range(steps)], 1)

    def transfer(self, source, target, labels):
        recipes = []
        for one, other in zip(source, target, strict=True):
            recipe = read_recipe(other)
            for label in labels:
                recipe = self.truth.with_part_of(recipe, read_recipe(one), label)
            recipes.append(recipe)
        return as_pictures(recipes)


class IgnoresLabels(PaintsTruth):
    """A model that paints real pictures, whatever it is asked for."""

    def generate(self, count, given=None, seed=0, strength=None):
        return super().generate(count, None, seed)

    def intervene(self, images, changes, strength=0.5, seed=0):
        return images.clone()

    def transfer(self, source, target, labels):
        return target.clone()


class RepaintsAll(PaintsTruth):
    """A model that does what is asked, and turns all other labels over as well."""

    def intervene(self, images, changes, strength=0.5, seed=0):
        recipes = [read_recipe(image) for image in super().intervene(images, changes)]
        return as_pictures(
            replace(
                recipe,
                values=tuple(
                    value if label in changes else 1 - value for label, value in zip(LABELS, recipe.values, strict=True)
                ),
            )
            for recipe in recipes
        )
