"""`ccvae evaluate` and `ccvae compare`, end to end on avatars whose truth is known."""

import importlib
import json
import shutil

import pytest

from ccvae.cli.main import main

SMALL = {
    "rows": 40, "evidence_rows": 2, "evidence_samples": 8, "edit_rows": 10, "walk_rows": 4, "truth_rows": 4, "pairs": 6,
    "probe_rows": 60, "conditions": 4, "repeats": 2, "pictures": 20, "draws": 3,
}  # fmt: skip
COUNTS = [word for name, count in SMALL.items() for word in (f"--settings.{name}", str(count))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "faces"
    data = ["--data.size", "16", "--data.options", "{count: 200}", "--data.validation", "40", "--data.test", "40"]
    training = ["--model.width", "4", "--training.epochs", "1", "--training.batch_size", "40"]
    assert main(["train", "avatars", "--out", str(folder), *data, *training]) == 0
    return folder


def test_evaluate_and_compare(run, tmp_path, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), *COUNTS]) == 0
    said = capsys.readouterr()
    assert "intervention succeeds" in said.out
    assert " *" not in said.out  # alone, nothing is best
    assert str(run / "evaluation.html") in said.err
    found = json.loads((run / "metrics.json").read_text())
    assert found["data"]["rows"] == 40
    assert {"interventions", "counterfactuals", "characteristics", "realism"} <= found.keys()
    assert not found["skipped"]
    page = (run / "evaluation.html").read_text(encoding="utf-8")
    assert "<svg" in page or "<img" in page

    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert main(["compare", str(run), str(other)]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["measure", "better", "faces", "other"]
    assert any("transfer recognised" in line for line in lines)


def test_complaints(run, tmp_path, capsys):
    assert main(["evaluate", str(run), "--split", "holiday"]) == 2
    assert "holiday" in capsys.readouterr().err
    assert main(["compare", str(run), str(tmp_path)]) == 2
    assert "metrics.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metrics.json", "metrics.json: there is a folder of that name"),
        ("figures", "figures is a file and no folder; remove or rename it"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(run, tmp_path, capsys, monkeypatch, name, message):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("figures", "metrics.json"))
    if name == "metrics.json":
        (folder / name).mkdir()
    else:
        (folder / name).write_text("")
    monkeypatch.setattr(
        importlib.import_module("ccvae.evaluation.evaluate"), "load", lambda *_, **__: pytest.fail("work began")
    )
    before = sorted(folder.rglob("*"))
    capsys.readouterr()
    assert main(["evaluate", str(folder), *COUNTS]) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
