"""Recipes of avatars: all that a face is drawn from, how one is sampled, and how it is changed on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ccvae.data.synthetic_faces.parts import AvatarStyle, Given, Part
from ccvae.data.synthetic_faces.styles import STYLES

__all__ = ["Recipe", "sample_recipe"]

POSE_NUMBERS = 4


@dataclass(frozen=True)
class Recipe:
    """All that a face is drawn from.

    Every part has one choice ready for each state of the labels that decide it, also for those states that the face is
    not in. So a face with a label changed is always the same face, and changing the label back gives the face that was.

    Args:
        style: name of the style.
        labels: 0 or 1 by label.
        choices: by part (DiceBear's option: "hatVariant", "hatColor"), the choice of each state of its labels, in the order
            of `avatar_parts.Part.choices`; "" where the part is not drawn.
        rotation: of the face, in degrees.
        box: left, top and side of the square of the canvas that shows, in the canvas's units.
    """

    style: str
    labels: Mapping[str, int]
    choices: Mapping[str, tuple[str, ...]]
    rotation: float
    box: tuple[float, float, float]

    @property
    def parts(self) -> dict[str, str]:
        """What is drawn: the variant of each component that there is, and the colour of each that has one."""
        chosen = {part.option: self.choice(part) for part in STYLES[self.style].parts}
        owners = {part.option: part.owner for part in STYLES[self.style].parts}
        return {
            option: choice for option, choice in chosen.items() if choice and (not owners[option] or chosen[owners[option]])
        }

    @property
    def variants(self) -> dict[str, str]:
        """The variant or colour that shows each label that is present."""
        style = STYLES[self.style]
        return {label: self.choice(style.part(label)) for label, value in self.labels.items() if value}

    @property
    def colors(self) -> dict[str, str]:
        """By label that is present and whose part has colors of its own: the color (a hat's, but not the hair's)."""
        parts = STYLES[self.style].color_parts
        return {label: self.choice(part) for label, part in parts.items() if self.labels[label]}

    def choice(self, part: Part) -> str:
        """What is chosen for a part, "" if it is not drawn."""
        return self.choices[part.option][part.state(self.labels)]

    def with_label(self, label: str, value: int, variant: str | None = None) -> Recipe:
        """The same face with a label set; all other labels, parts, colours and the pose stay.

        Where two labels share a part (long and wavy hair, smiling and open mouths), the other one keeps its value. Other
        labels keep theirs too where sampling would make them depend on this one.

        Args:
            label: which.
            value: 0 or 1.
            variant: what is to show it (one of `AvatarStyle.variant_names`); else what the recipe has ready.

        Raises:
            ValueError: no such label or value, or none that this variant can show.
        """
        part = self.part_of(label)
        if value not in (0, 1):
            raise ValueError(f"label {label!r}: value must be 0 or 1, not {value!r}")
        labels = {**self.labels, label: int(value)}
        state = part.state(labels)
        if variant is None:
            return replace(self, labels=labels)
        if variant not in part.choices[state]:
            situation = ", ".join(f"{each}={labels[each]}" for each in part.labels)
            raise ValueError(
                f"variant {variant!r} cannot show {situation}; those that can: {', '.join(part.choices[state]) or 'none'}"
            )
        return replace(self, labels=labels, choices=self.with_choice(part, state, variant))

    def with_part_of(self, source: Recipe, label: str) -> Recipe:
        """This face with the part of another one that shows a label: its value, its variant and the colour of its own.

        Colours that are a label of their own stay (the hair's, the clothes'), and so does the other label of a shared
        part: straight hair that receives the length of wavy hair becomes the straight hair that the source has ready.

        Args:
            source: the face that gives; of the same style.
            label: which.

        Raises:
            ValueError: no such label, or another style.
        """
        part = self.part_of(label)
        if source.style != self.style:
            raise ValueError(f"source is of style {source.style!r}, the face of {self.style!r}; they must be the same")
        labels = {**self.labels, label: source.labels[label]}
        state = part.state(labels)
        choices = self.with_choice(part, state, source.choices[part.option][state])
        if source.choice(part):
            own = [each.option for each in STYLES[self.style].parts if each.owner == part.option]
            choices |= {option: source.choices[option] for option in own}
        return replace(self, labels=labels, choices=choices)

    def with_color(self, label: str, color: str) -> Recipe:
        """The same face with the part that shows a label in another of its own colors.

        Args:
            label: one of `AvatarStyle.color_names`.
            color: one of its colors.

        Raises:
            ValueError: the label has no colors of its own, or not this one.
        """
        part = STYLES[self.style].color_parts.get(label)
        if part is None or color not in part.choices[0]:
            colors = ", ".join(part.choices[0]) if part else "none"
            raise ValueError(f"label {label!r}: no color {color!r} of its own; there are: {colors}")
        return replace(self, choices=self.with_choice(part, 0, color))

    def with_choice(self, part: Part, state: int, choice: str) -> dict[str, tuple[str, ...]]:
        """The recipe's choices, with one of them replaced."""
        row = self.choices[part.option]
        return {**self.choices, part.option: (*row[:state], choice, *row[state + 1 :])}

    def part_of(self, label: str) -> Part:
        """The part that a label decides; raises `ValueError` if there is no such label."""
        if label not in self.labels:
            raise ValueError(f"no label {label!r}; the labels of {self.style} are {', '.join(self.labels)}")
        return STYLES[self.style].part(label)

    def to_json(self) -> str:
        """JSON text, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote."""
        entry: dict[str, Any] = json.loads(text)
        choices = {option: tuple(row) for option, row in entry.pop("choices").items()}
        left, top, side = entry.pop("box")
        return cls(choices=choices, box=(left, top, side), **entry)


def sample_recipe(style: AvatarStyle, seed: int, row: int) -> Recipe:
    """The recipe of one face; it depends on nothing but these.

    Args:
        style: what to draw from.
        seed: of the whole data set, not negative.
        row: number of the face.
    """
    # one stream a face, always read to the end, so that a face depends neither on its neighbours nor on its labels
    count = len(style.labels) + sum(len(part.choices) for part in style.parts) + POSE_NUMBERS
    draws = iter(np.random.default_rng([seed, row]).random(count).tolist())
    labels = sample_labels(style, {label: next(draws) for label in style.labels})
    choices = {part.option: tuple(choose(choices, next(draws)) for choices in part.choices) for part in style.parts}
    rotation, box = style.pose(list(draws))
    return Recipe(style.name, labels, choices, rotation, box)


def sample_labels(style: AvatarStyle, draws: Mapping[str, float]) -> dict[str, int]:
    """Value of every label from one uniform number each."""
    values: dict[str, int] = {}
    for label, chance in style.labels.items():
        if isinstance(chance, Given):
            probability = style.labels[chance.label]
            assert isinstance(probability, float)
            chance = chance.present if draws[chance.label] < probability else chance.absent
        values[label] = int(draws[label] < chance)
    return values


def choose(choices: tuple[str, ...], draw: float) -> str:
    """One of the choices by a uniform number in [0, 1); "" where there is none."""
    return choices[int(draw * len(choices))] if choices else ""
