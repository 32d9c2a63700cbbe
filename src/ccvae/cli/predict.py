"""`ccvae predict`."""

import sys
from pathlib import Path
from typing import Literal

from ccvae.cli.console import tell
from ccvae.cli.run_data import PLACE, inputs_of
from ccvae.config import DataPlace
from ccvae.distributed.memory import making

__all__ = ["predict"]

Split = Literal["train", "validation", "test"]


def predict(
    run: Path,
    images: list[Path] | Path | None = None,
    csv: Path | None = None,
    out: Path | None = None,
    split: Split = "test",
    data: DataPlace = PLACE,
    calibrated: bool = True,
    threshold: Literal["half", "prior", "balanced"] | float | None = None,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> int:
    """Label probabilities of images or rows of a table, or the labels themselves, as CSV. Exit code 1 if files are unreadable.

    Args:
        run: run folder, or hf://user/name on the Hugging Face Hub.
        images: image files or folders; the run's own data if none is given. Files that cannot be read are listed.
        csv: table of raw rows, for a model of a table: its input columns in any order, in the units of training.
        out: CSV file to write; the terminal if not given.
        split: of the run's own data: "train", "validation" or "test".
        data: where the run's own data are, if not where they were in training.
        calibrated: apply the temperatures that training fitted on validation rows; no gives the exact q(y|x).
        threshold: write labels instead of probabilities. "half" takes the most probable value; "prior" and "balanced" (tuned on
            validation rows) suit balanced accuracy; a number is the probability from which a binary label counts as present.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.model.ccvae import load
    from ccvae.storage.atomic import check_writable, writing
    from ccvae.storage.hub import local_run

    if out is not None:
        check_writable(out, folder=False)
    run = local_run(run)
    model = load(run, allow_class_paths=allow_class_paths)
    opened = inputs_of(model, run, images, split, None, allow_download, data, csv)
    with making("predicting"):
        table = model.predict_proba(opened, calibrated) if threshold is None else model.predict(opened, threshold, calibrated)
    name = table.index.name  # "line" of a table's rows
    table.insert(0, "id" if name is None or name in table else name, table.index)
    if out is None:
        sys.stdout.write(table.to_csv(index=False, float_format="%.4f"))
    else:
        with writing(out) as path:
            table.to_csv(path, index=False, float_format="%.7g")
        tell(f"{len(table)} rows in {out}")
    for problem in opened.broken:
        tell(f"cannot be read: {problem}")
    if opened.broken:
        tell(f"{len(opened.broken)} of {len(opened.broken) + len(table)} images cannot be read; the others are predicted")
    return 1 if opened.broken else 0
