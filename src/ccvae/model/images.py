"""Images that a model made: tensors that notebooks show as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Images"]

MOST_ROWS, MOST_COLUMNS = 8, 12
SMALLEST_HEIGHT = 64


class Images(Tensor):
    """Images `(rows, *steps, channels, height, width)` in [0, 1]; what is computed from them is an ordinary tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def plain(self) -> Tensor:
        """The same numbers as an ordinary tensor."""
        return self.as_subclass(Tensor)

    def _repr_html_(self) -> str:
        """Pictures for notebooks: steps side by side, or else all rows one after the other."""
        from ccvae.drawing.html import inline_image, render

        x = self.plain().detach().float().cpu()
        x = x[None] if x.ndim == 4 else x.flatten(1, -4)
        shown = x[:MOST_ROWS, : MOST_COLUMNS if len(x) > 1 else MOST_ROWS * MOST_COLUMNS]
        pixels = np.rint(shown.clamp(0, 1).movedim(-3, -1).numpy() * 255).astype(np.uint8)
        more = len(x) * x.shape[1] - shown.shape[0] * shown.shape[1]
        return str(
            render(
                "drawing/templates/images.html",
                rows=[[inline_image(image, SMALLEST_HEIGHT) for image in row] for row in pixels],
                more=more,
            )
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Images:
        return self.plain().clone().as_subclass(Images)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)  # files have ordinary tensors
