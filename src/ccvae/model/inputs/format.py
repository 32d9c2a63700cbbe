"""How users' things become a model's inputs: a table's columns, or images brought to one size. Kept in the run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ccvae.model.inputs.columns import InputColumns
from ccvae.model.inputs.decoding import Framing

__all__ = ["InputFormat"]


@dataclass(frozen=True)
class InputFormat:
    """How a model's inputs come from what users have.

    Args:
        columns: how the columns of a table become vectors; None where inputs are images or plain vectors.
        framing: how images of any size are brought to the model's; None where inputs are vectors.
    """

    columns: InputColumns | None = None
    framing: Framing | None = None

    def framed(self, input_shape: tuple[int, ...]) -> Framing:
        """The framing of images of a shape `(channels, height, width)`: stretched to the size, where none is known."""
        fit, square = ("stretch", None) if self.framing is None else (self.framing.fit, self.framing.square)
        return Framing(input_shape[1], input_shape[2], fit, square)

    def in_own_units(self, vectors: np.ndarray) -> pd.DataFrame:
        """Table of vectors `(rows, features)` in the units of the columns they came from.

        Raises:
            ValueError: the inputs came from no table.
        """
        if self.columns is None:
            raise ValueError("the model's inputs came from no table")
        return self.columns.decode(vectors)

    def check(self, input_shape: tuple[int, ...], source: str) -> None:
        """Raise `ValueError` unless this format gives inputs of a shape."""
        if self.columns is not None and (len(self.columns.features),) != tuple(input_shape):
            raise ValueError(f"{source}: its columns give {len(self.columns.features)} features, the model takes {input_shape}")
        if self.framing is not None and len(input_shape) != 3:
            raise ValueError(f"{source}: it frames images, the model takes inputs of shape {input_shape}")

    def to_json(self) -> str:
        """JSON text, for `from_entries`."""
        content: dict[str, object] = {}
        if self.columns is not None:
            content["table"] = json.loads(self.columns.to_json())
        if self.framing is not None:
            content["images"] = {"fit": self.framing.fit, "square": self.framing.square}
        return json.dumps(content, indent=2, ensure_ascii=False)

    @classmethod
    def from_entries(cls, content: Any, input_shape: tuple[int, ...], source: str = "inputs") -> InputFormat:
        """The format that `to_json` wrote, as read from its JSON, checked; nothing in it is run.

        Args:
            content: the value of the JSON text, which may be anything.
            input_shape: `(channels, height, width)` or `(features,)` of the model.
            source: what error messages call it.

        Raises:
            ValueError: this is not what `to_json` writes, or does not fit the shape.
        """
        if not isinstance(content, dict) or not set(content) <= {"table", "images"}:
            raise ValueError(f"{source}: expected an object with table or images")
        columns = framing = None
        if "table" in content:
            columns = InputColumns.from_entries(content["table"], source)
        if "images" in content:
            images = content["images"]
            if not isinstance(images, dict) or set(images) != {"fit", "square"} or len(input_shape) != 3:
                raise ValueError(f"{source}: images: expected fit and square of images")
            try:
                framing = Framing(input_shape[1], input_shape[2], images["fit"], images["square"])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{source}: images: {error}") from None
        found = cls(columns, framing)
        found.check(input_shape, source)
        return found
