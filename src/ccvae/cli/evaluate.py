"""`ccvae evaluate`, `ccvae compare` and `ccvae report`: what a trained model can do, as numbers and figures."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ccvae.cli.console import tell
from ccvae.cli.run_data import PLACE, data_of
from ccvae.config import DataPlace, EvaluationConfig
from ccvae.distributed.memory import making

if TYPE_CHECKING:
    from ccvae.data import Dataset

__all__ = ["compare", "draw", "evaluate", "report"]

EVALUATION = EvaluationConfig()
Split = Literal["train", "validation", "test"]


def evaluate(
    run: Path,
    split: Split = "test",
    settings: EvaluationConfig = EVALUATION,
    device: str = "auto",
    data: DataPlace = PLACE,
    allow_class_paths: bool = False,
    allow_download: bool = False,
) -> None:
    """Measure a run's model, and write metrics.json and evaluation.html.

    A summary is printed. Processes started by torchrun or srun share the work.

    Args:
        run: run folder.
        split: of the run's own data: "train", "validation" or "test".
        settings: how many rows each metric uses.
        device: "cpu", "cuda" or another device of torch; "auto" is a GPU if there is one.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.distributed.devices import device_named
    from ccvae.distributed.work_queue import launched_work_queue
    from ccvae.evaluation import evaluate_run
    from ccvae.evaluation.compare import comparison
    from ccvae.storage.atomic import check_writable
    from ccvae.storage.hub import check_folder

    check_folder(run)
    device_named(device)
    check_writable(run / "metrics.json")
    with launched_work_queue() as queue:
        dataset = data_of(run, allow_download, data)
        with making(f"measuring the {split} split"):
            results = evaluate_run(
                run, dataset, split, settings, device=device, queue=queue, allow_class_paths=allow_class_paths
            )
    if not queue.is_first:
        return
    sys.stdout.write(comparison({run.name: results}).to_string(index=False) + "\n")
    tell(f"page: {run / 'evaluation.html'}")


def compare(first: Path, second: Path, others: list[Path] | None = None) -> None:
    """Compare evaluated runs side by side, with 95 % intervals.

    Args:
        first: run folder.
        second: run folder.
        others: further run folders, as a list.
    """
    from ccvae.evaluation import compare_runs

    sys.stdout.write(compare_runs([first, second, *(others or [])]).to_string(index=False) + "\n")


def report(run: Path, data: DataPlace = PLACE, allow_class_paths: bool = False, allow_download: bool = False) -> None:
    """Draw a run's figures and write its report again.

    Args:
        run: run folder.
        data: where the run's own data are, if not where they were in training.
        allow_class_paths: import the classes that the run's config.yaml names, which runs their code; only for runs you trust.
        allow_download: get the run's own data from the Hugging Face hub, if its config.yaml names a data set there.
    """
    from ccvae.storage.atomic import check_writable
    from ccvae.storage.hub import check_folder

    check_folder(run)
    check_writable(run / "report.html")
    draw(run, data_of(run, allow_download, data), allow_class_paths)


def draw(run: Path, dataset: "Dataset", allow_class_paths: bool) -> None:
    """Draw figures of a run and its data, and write the report."""
    from ccvae.model.ccvae import load
    from ccvae.reports.figures import draw_all
    from ccvae.reports.report import write_report

    with making("drawing figures and the report"):
        model = load(run, allow_class_paths=allow_class_paths)
        pictures = draw_all(model, dataset, run)
        page = write_report(run, model, dataset)
    tell(f"{len(pictures)} figures in {run / 'figures'}; report: {page}")
