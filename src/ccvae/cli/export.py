"""The command that exports a run's model for use without PyTorch."""

from pathlib import Path

__all__ = ["export"]


def export(run: Path, out: Path | None = None, graphs: list[str] | None = None, allow_class_paths: bool = False) -> None:
    """Write ONNX graphs of a run's model: encoder, decoder, intervene, generate, transfer.

    Args:
        run: run folder.
        out: folder to write; the run folder's onnx/ if not given.
        graphs: which of them, as a list; all if not given.
        allow_class_paths: import the encoder and decoder that the run names by class path.
    """
    from ccvae.cli.console import tell
    from ccvae.integrations.onnx import GRAPHS, export_onnx
    from ccvae.model.ccvae import load

    paths = export_onnx(load(run, allow_class_paths=allow_class_paths), out or run / "onnx", graphs or list(GRAPHS))
    for path in paths:
        tell(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
