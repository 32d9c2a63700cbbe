"""Compiling networks and label terms for the time of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn

from ccvae.model.latent_model import LatentModel

__all__ = ["compiled"]


@contextmanager
def compiled(model: LatentModel, networks: bool = True, backend: str = "inductor") -> Iterator[None]:
    """Within, encoder, decoder and label terms run as compiled by `torch.compile`: a GPU starts few large computations instead
    of hundreds of small ones.

    Each is compiled when it is first met, anew in training and in evaluation, and where batches have another size.

    Args:
        model: the model.
        networks: whether encoder and decoder too, which must not talk to other processes then.
        backend: torch's name of what compiles.
    """
    parts: list[nn.Module] = list(model.label_blocks())
    if networks:
        parts += [cast(nn.Module, model.encoder), cast(nn.Module, model.decoder)]
    for part in parts:
        part.compile(backend=backend)
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None
