"""What a style of avatars consists of: labels, and the parts and colours that show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import product
from typing import Any

__all__ = ["AvatarStyle", "Given", "Part", "Pose", "optional", "style_of_package"]

Pose = tuple[float, tuple[float, float, float]]


@dataclass(frozen=True)
class Given:
    """Probability of a label that depends on another one.

    Args:
        label: the other label, whose own probability is a plain number.
        absent: probability if the other is absent.
        present: probability if the other is present.
    """

    label: str
    absent: float
    present: float


@dataclass(frozen=True)
class Part:
    """A component or a colour of the face, and what it may be.

    Args:
        option: DiceBear's name of the choice: "hatVariant" for a component, "hatColor" for a colour.
        choices: what may be chosen in each state of the labels that decide, the last label counting fastest: for
            labels (A, B), where neither holds, only B, only A, both. Nothing to choose means that the part is not drawn.
        labels: the labels that decide; none for a part that is noise.
        owner: for a colour, the component that takes it along when it is transferred.
    """

    option: str
    choices: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...] = ()
    owner: str = ""

    def __post_init__(self) -> None:
        if len(self.choices) != 2 ** len(self.labels):
            raise ValueError(f"part {self.option}: expected choices for {2 ** len(self.labels)} states of its labels")

    def state(self, labels: Mapping[str, int]) -> int:
        """Which of the `choices` the labels lead to."""
        return sum(labels[label] << place for place, label in enumerate(reversed(self.labels)))

    def variants(self, label: str) -> tuple[str, ...]:
        """The variants that show that a label is present."""
        place = self.labels.index(label)
        states = product((0, 1), repeat=len(self.labels))
        return tuple(choice for state, choices in zip(states, self.choices, strict=True) if state[place] for choice in choices)


@dataclass(frozen=True)
class AvatarStyle:
    """A style: what it is drawn from, its labels, its parts and its pose.

    Args:
        name: as users write it.
        definition: gives DiceBear's definition of the style.
        labels: probability of each label.
        parts: all that is chosen for a face; each label decides one of them.
        pose: rotation in degrees, and the left, top and side of the square of the canvas that shows, from four
            uniform numbers in [0, 1).
        same_colours: colours that are always another's.
    """

    name: str
    definition: Callable[[], dict[str, Any]]
    labels: Mapping[str, float | Given]
    parts: tuple[Part, ...]
    pose: Callable[[Sequence[float]], Pose]
    same_colours: Mapping[str, str] = field(default_factory=dict)

    def part(self, label: str) -> Part:
        """The part that a label decides."""
        return next(part for part in self.parts if label in part.labels)

    @property
    def variant_names(self) -> dict[str, tuple[str, ...]]:
        """By label, all that may show that it holds: names of variants, or colours."""
        return {label: self.part(label).variants(label) for label in self.labels}

    @property
    def color_parts(self) -> dict[str, Part]:
        """By label, the color that is transferred together with what shows it (a hat's, but not the hair's)."""
        owned = {part.owner: part for part in self.parts if part.owner}
        return {label: owned[self.part(label).option] for label in self.labels if self.part(label).option in owned}

    @property
    def color_names(self) -> dict[str, tuple[str, ...]]:
        """By label whose part has colors of its own: these colors."""
        return {label: part.choices[0] for label, part in self.color_parts.items()}


def optional(component: str, label: str, variants: tuple[str, ...], colours: tuple[str, ...] = ()) -> tuple[Part, ...]:
    """A component that is drawn if its label is present, and its colour if it has one."""
    shape = Part(f"{component}Variant", ((), variants), (label,))
    return (shape, Part(f"{component}Color", (colours,), owner=shape.option)) if colours else (shape,)


def style_of_package(name: str) -> dict[str, Any]:
    """A style's definition as its package ships it."""
    definition: dict[str, Any] = json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8"))
    return definition
