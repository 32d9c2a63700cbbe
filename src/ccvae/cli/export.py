"""`ccvae export` and `ccvae card`: a run's model for use elsewhere, and the page that describes it."""

from pathlib import Path

__all__ = ["card", "export"]


def export(
    run: Path,
    onnx: bool = True,
    out: Path | None = None,
    graphs: list[str] | None = None,
    allow_class_paths: bool = False,
) -> None:
    """Write ONNX graphs of a run's model: classifier, encoder, decoder, intervene, generate, transfer.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        onnx: write ONNX graphs, which is the only format so far.
        out: folder to write; the run folder's onnx/ if not given, or onnx/ here for a model on the Hub.
        graphs: which of them, as a list; all if not given.
        allow_class_paths: import the encoder and decoder that the run names by class path.
    """
    from ccvae.cli.console import tell
    from ccvae.distributed.memory import making
    from ccvae.integrations.onnx import GRAPHS, export_onnx
    from ccvae.model.ccvae import load
    from ccvae.storage.hub import is_address, local_run
    from ccvae.storage.links import check_no_link

    if not onnx:
        raise ValueError("onnx: expected true, found false: ONNX is the only format that can be written")
    if out is None and not is_address(run):
        check_no_link(run / "onnx")
    out = out or (Path("onnx") if is_address(run) else run / "onnx")
    with making("exporting graphs"):
        model = load(local_run(run), allow_class_paths=allow_class_paths)
        paths = export_onnx(model, out, list(GRAPHS) if graphs is None else graphs)
    for path in paths:
        tell(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def card(run: Path, out: Path | None = None, license: str | None = None, unmeasured: bool = False) -> None:
    """Write a run's model card: data, labels, metrics with intervals, limits, license and how to use it.

    Args:
        run: run folder.
        out: Markdown file to write; README.md in the run folder if not given.
        license: license of the weights, such as mit or cc-by-4.0; the card says if none is stated.
        unmeasured: write the card of a run that was not evaluated, which says so.
    """
    from ccvae.cli.console import tell
    from ccvae.model.card import model_card
    from ccvae.storage.atomic import check_writable, writing
    from ccvae.storage.hub import CARD, check_folder

    check_folder(run)
    out = out or run / CARD
    text = model_card(run, None, license, unmeasured)
    check_writable(out, folder=False)
    with writing(out) as path:
        path.write_text(text, encoding="utf-8")
    tell(f"card: {out}")
