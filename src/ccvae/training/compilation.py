"""Compilation of networks and label terms during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn

from ccvae.model.latent_model import LatentModel

__all__ = ["compiled"]


@contextmanager
def compiled(model: LatentModel, networks: bool = True, backend: str = "inductor") -> Iterator[None]:
    """Within, `torch.compile` compiles encoder, decoder and label terms, so that a GPU launches few large kernels.

    A part is compiled on first use, and again for evaluation mode and for other batch sizes.

    Args:
        model: the model.
        networks: whether to compile encoder and decoder too; they must not communicate with other processes then.
        backend: torch's name of the compiler backend.
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
