"""Transfers of visible pairs and of colors, on models and data whose answers are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ccvae.data import avatars
from ccvae.evaluation.metrics.ground_truth import transfer_pairs
from ccvae.evaluation.metrics.transfers import transfers_by_variant, visible_pairs
from ccvae.evaluation.samples import sample_of
from toy_pictures import CORNERS, PATCH, PaintsTruth, ReadsPixels, ToyTruth, draw, toy_data

COLORS = {"white": (255, 255, 255), "magenta": (255, 0, 255), "yellow": (255, 255, 0)}
ORACLE = ReadsPixels()


class Hides(ToyTruth):
    """Label two hides label one, as a hat does hair."""

    def render(self, recipe):
        picture = draw(recipe)
        if recipe.values[1]:
            picture[:PATCH, :PATCH] = 0
        return picture


def redrawn(truth):
    """Toy data drawn by another program."""
    data = toy_data(200)
    truth = truth(data.truth.recipes)
    return replace(data, inputs=np.stack([truth.render(recipe) for recipe in truth.recipes]), truth=truth)


def pairs_of(data, label, count=60):
    sample = sample_of(data, "test", 200)
    return sample, transfer_pairs(sample, label, count)


def visible(data, label):
    sample, pairs = pairs_of(data, label)
    recipes = data.truth.recipes
    rows = list(zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True))
    true = torch.tensor(np.stack([data.truth.transfer(source, target, label) for source, target in rows]))
    found = visible_pairs(sample, pairs, label, true.permute(0, 3, 1, 2).float() / 255)
    return found, [recipes[source] for source, _ in rows], [recipes[target] for _, target in rows]


def test_where_nothing_is_hidden_all_pairs_are_visible():
    data = toy_data(200)
    sample, pairs = pairs_of(data, "one")
    [found] = transfers_by_variant(PaintsTruth(data), ORACLE, sample, {"one": pairs}).values()
    assert found["visible"]["pairs"].value == 1
    for name in ("recognised", "truth", "reconstruction"):
        assert found["visible"][name] == found[name]
    assert found["visible"]["chance"] == found["chance"]
    assert not {"color", "with_color"} & set(found["visible"])


def test_what_is_hidden_at_either_end_is_not_visible():
    found, sources, targets = visible(redrawn(Hides), "one")
    assert found.tolist() == [
        not (source.values[1] or target.values[1]) for source, target in zip(sources, targets, strict=True)
    ]
    assert 0.1 < found.mean() < 0.6


def test_only_visible_pairs_count():
    class PaintsNothingHidden(PaintsTruth):
        """Transfers where label two is absent, and leaves all other targets as they are."""

        def transfer(self, source, target, labels):
            moved = super().transfer(source, target, labels)
            hidden = torch.tensor((ORACLE.predict(source).value("two") + ORACLE.predict(target).value("two")) > 0)
            return torch.where(hidden[:, None, None, None], target, moved)

    data = redrawn(Hides)
    sample, pairs = pairs_of(data, "one")
    [found] = transfers_by_variant(PaintsNothingHidden(data), ORACLE, sample, {"one": pairs}).values()
    assert found["visible"]["recognised"].value == found["visible"]["truth"].value == 1
    assert found["recognised"].value == pytest.approx(found["visible"]["pairs"].value)


@dataclass(frozen=True)
class Colored:
    """A toy recipe with a color for what shows label one."""

    plain: object
    color: str

    @property
    def variants(self):
        return self.plain.variants


class ColoredTruth(ToyTruth):
    """Toy pictures whose first label shows in one of three colors, which ReadsPixels does not see."""

    def __init__(self, recipes):
        super().__init__(recipes)
        self.color_names = {"one": tuple(COLORS)}
        self.recipes = [Colored(recipe, list(COLORS)[row % 3]) for row, recipe in enumerate(recipes)]

    def render(self, recipe):
        picture = draw(recipe.plain)
        (top, left), place = CORNERS[0], recipe.plain.ready[0]
        if recipe.plain.values[0]:
            picture[top + place, left : left + PATCH] = COLORS[recipe.color]
        return picture

    def with_label(self, recipe, label, value, variant=None):
        return replace(recipe, plain=super().with_label(recipe.plain, label, value, variant))

    def with_part_of(self, recipe, source_recipe, label):
        plain = ToyTruth.with_part_of(ToyTruth([]), recipe.plain, source_recipe.plain, label)
        return Colored(plain, source_recipe.color if label == "one" else recipe.color)

    def with_color(self, recipe, label, color):
        return replace(recipe, color=color)

    def color_of(self, recipe, label):
        return recipe.color if recipe.plain.values[0] else ""


class PaintsColors(PaintsTruth):
    """Transfers variants and, if asked, their colors."""

    def __init__(self, data, colors):
        super().__init__(data)
        self.colors = colors

    def transfer(self, source, target, labels):
        moved = super().transfer(source, target, labels)
        top, left = CORNERS[0]
        if self.colors:
            row = source[:, 0, top : top + PATCH, left].argmax(1)
            for image, place, one in zip(moved, row.tolist(), source, strict=True):
                image[:, top + place, left : left + PATCH] = one[:, top + place, left : left + PATCH]
        return moved


@pytest.mark.parametrize("colors", [True, False])
def test_colors_belong_to_what_is_transferred(colors):
    data = redrawn(ColoredTruth)
    sample, pairs = pairs_of(data, "one")
    [found] = transfers_by_variant(PaintsColors(data, colors), ORACLE, sample, {"one": pairs}).values()
    shown = data.truth.colors(pairs.sources)["one"]
    visible = found["visible"]
    assert visible["recognised"].value == visible["color_reconstruction"].value == 1
    assert visible["color_chance"] == pytest.approx(np.bincount(shown).max() / len(shown))
    # without colors, PaintsTruth paints white
    right = 1 if colors else (shown == list(COLORS).index("white")).mean()
    assert visible["color"].value == visible["with_color"].value == pytest.approx(right)


def test_colors_of_avatars():
    data = avatars(60, 16)
    truth = data.truth
    assert set(truth.color_names) == {"Eyeglasses", "Wearing_Hat", "Earrings", "Cheeks", "Neckwear"}
    rows = np.arange(60)
    colors = truth.colors(rows)
    for label, names in truth.color_names.items():
        present = data.labels[:, data.space.index(label)] == 1
        freckles = np.array([recipe.variants.get(label) == "freckles" for recipe in truth.recipes])
        assert ((colors[label] >= 0) == present & ~freckles).all(), "freckles have the same color in all faces"
        row = int(np.flatnonzero(colors[label] >= 0)[0])
        recipe = truth.recipes[row]
        assert names[colors[label][row]] == truth.color_of(recipe, label)
        drawn = [truth.render(truth.with_color(recipe, label, color)) for color in names]
        assert (drawn[colors[label][row]] == data.inputs[row]).all()
        assert any((other != data.inputs[row]).any() for other in drawn)
        absent = truth.with_label(recipe, label, 0)
        assert truth.color_of(absent, label) == ""
        assert truth.color_of(truth.with_part_of(absent, recipe, label), label) == truth.color_of(recipe, label)
    with pytest.raises(ValueError, match=r"Smiling.*no color 'red' of its own; there are: none"):
        truth.with_color(truth.recipes[0], "Smiling", "red")
