"""Runs that stand alone: written from Python or the command line, evaluated from any folder, trained further, started from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import ccvae
from ccvae.cli.main import main
from ccvae.data import arrays, image_folder, table
from ccvae.data.origin import settings_of

ROWS = pd.DataFrame(
    {"id": [f"r{row}" for row in range(60)], "x": np.arange(60) * 1000.0, "c": ["u", "v", "w"] * 20, "y": ["a", "b"] * 30}
)
SHORT = ["--training.epochs", "1", "--training.batch_size", "20", "--training.accelerator", "cpu", "--figures", "false"]
FEW = [
    f"--settings.{name}={count}"
    for name, count in {
        "rows": 12, "evidence_rows": 2, "evidence_samples": 4, "edit_rows": 4, "walk_rows": 4, "truth_rows": 4, "pairs": 4,
        "probe_rows": 20, "conditions": 2, "repeats": 2, "pictures": 10, "draws": 2,
    }.items()
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def fitted(data: Any, out: Path, **settings: Any) -> ccvae.CCVAE:
    model = ccvae.CCVAE.for_data(data, width=2, latent_dim=6, **settings)
    return ccvae.fit(model, data, out, epochs=1, batch_size=20, progress=False, accelerator="cpu")


def written_by_cli(place: Path) -> Path:
    (place / "my").mkdir()
    ROWS.to_csv(place / "my" / "rows.csv", index=False)
    words = ["my/rows.csv", "--data.labels", "y", "--data.id_column", "id", "--model.width", "2", "--model.latent_dim", "6"]
    assert main(["train", *words, "--out", "run", *SHORT]) == 0
    return place / "run"


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert main(words) == code
    return capsys.readouterr().out


def test_a_run_from_python_equals_one_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written_by_cli(tmp_path)
    data = table(tmp_path / "my" / "rows.csv", ["y"], id_column="id")
    fitted(data, tmp_path / "python")
    ours, theirs = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (tmp_path / "python", run))
    assert ours["data"] | {"reader": "auto", "labels": "y"} == theirs["data"]
    assert (run / "inputs.json").read_text() == (tmp_path / "python" / "inputs.json").read_text()
    assert (run / "splits.csv").read_text() == (tmp_path / "python" / "splits.csv").read_text()
    assert said(["predict", "python"], capsys).count("\n") == 7


@pytest.mark.parametrize("kind", ["arrays", "frame", "pictures"])
def test_data_in_memory_are_kept_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    rng = np.random.default_rng(0)
    if kind == "arrays":
        data = arrays(rng.normal(size=(60, 4)), {"y": ["a", "b"] * 30}, groups=np.arange(60) // 2)
    elif kind == "frame":
        data = table(ROWS, ["y"], id_column="id")
    else:
        (tmp_path / "im").mkdir()
        for number in range(60):
            Image.fromarray(rng.integers(0, 256, (20, 16), dtype=np.uint8)).save(tmp_path / "im" / f"{number}.png")
        files = pd.DataFrame({"f": [f"{number}.png" for number in range(60)], "y": [0, 1] * 30})
        data = image_folder("im", files, size=16, fit="crop")
    model = fitted(data, tmp_path / "x", **({"network": "mlp"} if kind == "pictures" else {}))
    shown = said(["predict", "x"], capsys).splitlines()
    assert [line.split(",")[0] for line in shown[1:]] == data.ids[data.splits["test"]].tolist()
    expected = model.predict_proba(data.tensor("test")).to_numpy()
    np.testing.assert_allclose([[float(cell) for cell in line.split(",")[1:]] for line in shown[1:]], expected, atol=1e-4)
    assert main(["evaluate", "x", *FEW]) == 0
    assert (tmp_path / "x" / "metrics.json").exists()
    assert main(["report", "x"]) == 0
    if kind == "pictures":
        assert ccvae.load("x").input_format.framing.fit == "crop"  # type: ignore[union-attr]
    (tmp_path / "x" / "data.safetensors").write_bytes(b"no")
    assert main(["predict", "x"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_data_that_were_changed_after_reading_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "im").mkdir()
    for number in range(60):
        Image.fromarray(np.full((16, 16), 4 * number, dtype=np.uint8)).save(tmp_path / "im" / f"{number}.png")
    pd.DataFrame({"f": [f"{number}.png" for number in range(60)], "y": [0, 1] * 30}).to_csv("l.csv", index=False)
    read = image_folder("im", "l.csv", size=16)
    assert settings_of(read) is not None
    for changed in (replace(read, inputs=255 - read.inputs), read.hide(4), replace(read, labels=1 - read.labels)):
        assert settings_of(changed) is None
    inverted = replace(read, inputs=255 - read.inputs)
    model = fitted(inverted, tmp_path / "x", network="mlp")
    lines = said(["predict", "x"], capsys).splitlines()[1:]
    expected = model.predict_proba(inverted.tensor("test")).iloc[:, 0]
    np.testing.assert_allclose([float(line.split(",")[1]) for line in lines], expected, atol=1e-4)


def test_reports_of_tables_speak_in_own_units(tmp_path: Path) -> None:
    run = written_by_cli(tmp_path)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "One row with other labels, in own units" in page
    assert "with y=b" in page
    with Image.open(run / "figures" / "reconstructions.png") as figure:
        assert "both are beside the names, in own units" in figure.info["Description"]


def test_tables_are_written_as_csv_whatever_the_name(tmp_path: Path) -> None:
    run = str(written_by_cli(tmp_path))
    for out, written in (("made", "made.csv"), ("made.v2", "made.v2.csv"), ("made.png", "made.csv"), ("a.CSV", "a.CSV")):
        assert main(["generate", run, "--count", "2", "--out", out]) == 0
        assert len(pd.read_csv(tmp_path / written)) == 2
    assert main(["transfer", run, " y ", "--csv", "my/rows.csv", "--out", "t.csv"]) == 0


def test_values_and_flags_are_suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ROWS.assign(y=["small", "large"] * 30).to_csv("rows.csv", index=False)
    words = ["rows.csv", "--data.labels", "y", "--data.id_column", "id", "--model.width", "2", "--model.latent_dim", "6"]
    assert main(["train", *words, "--out", "run", *SHORT]) == 0
    for given, hint in (
        (["generate", "run", "--given", "y=smal"], "did you mean 'small'"),
        (["generate", "run", "--given", "Y=small"], "did you mean 'y'"),
        (["counterfactual", "run", "y", "--value", "larg"], "did you mean 'large'"),
        (["intervene", "run", "y=small", "x=3"], "several values are joined with commas"),
        (["predict", "run", "--csv", "row.csv"], "no file row.csv"),
        (["train", "rows.csv", "--data.labels", "Y"], "did you mean 'y'"),
        (["train", "row.csv", "--data.labels", "y"], "did you mean 'rows.csv'"),
        (["train", "rows.csv", "--data.labels", "y", "--model.network", "mpl"], "did you mean 'mlp'"),
        (["predict", "run", "--split", "tset"], "did you mean 'test'"),
    ):
        assert main(given) == 2
        assert hint in capsys.readouterr().err


def test_another_working_directory_and_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written_by_cli(tmp_path)
    expected = said(["predict", "run"], capsys)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert said(["predict", "../run"], capsys) == expected
    (tmp_path / "my").rename(tmp_path / "moved")
    assert main(["predict", "../run"]) == 2
    assert "name them with --data.source" in capsys.readouterr().err
    assert said(["predict", str(run), "--data.source", "../moved/rows.csv"], capsys) == expected
    assert main(["evaluate", str(run), "--data.source", "../moved/rows.csv", *FEW]) == 0


def test_new_rows_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written_by_cli(tmp_path)
    everything = said(["predict", "run", "--csv", "my/rows.csv"], capsys)
    test_rows = said(["predict", "run"], capsys).splitlines()[1:]
    assert set(test_rows) <= set(everything.splitlines())
    ROWS[["c", "x"]].iloc[::-1].to_csv("turned.csv", index=False)
    turned = said(["predict", "run", "--csv", "turned.csv"], capsys).splitlines()
    assert everything.startswith("id,y=a,")
    assert turned[0].startswith("line,y=a,"), "without their ids, rows have their line in the file"
    assert turned[1].startswith("2,")
    assert [line.split(",")[1:] for line in turned[1:]] == [line.split(",")[1:] for line in everything.splitlines()[:0:-1]]
    ROWS[["x"]].to_csv("short.csv", index=False)
    assert main(["predict", "run", "--csv", "short.csv"]) == 2
    assert "has no input column c; it needs x, c" in capsys.readouterr().err
    ROWS.assign(c="z").to_csv("new.csv", index=False)
    assert main(["predict", "run", "--csv", "new.csv"]) == 2
    assert "input 'c': id r0: expected one of u, v, w, found 'z'" in capsys.readouterr().err
    for words, rows in (
        (["generate", "run", "--given", "y=a", "--count", "5"], 5),
        (["generate", "run", "--given", '{"y": "a"}', "--count", "3"], 3),
        (["generate", "run", "--given", "y=a", "--given", "y=b", "--count", "2"], 2),
        (["intervene", "run", "y=b", "--csv", "my/rows.csv"], 60),
        (["traverse", "run", "y", "--csv", "my/rows.csv", "--steps", "3"], 180),
        (["transfer", "run", "y", "--csv", "my/rows.csv"], 59),
        (["counterfactual", "run", "y", "--csv", "my/rows.csv"], 60),
    ):
        assert main([*words, "--out", "result.csv"]) == 0
        found = pd.read_csv("result.csv")
        assert len(found) == rows, words
        assert max(map(len, Path("result.csv").read_text().splitlines())) < 60, (
            "numbers have as many digits as they are good for"
        )
        assert {"x", "c"} <= set(found)
        assert set(found["c"]) <= {"u", "v", "w"}
        assert -60_000 < found["x"].min() <= found["x"].max() < 120_000
    assert "id" in found
    pd.DataFrame({"y": ["a", "b", ""]}).to_csv("conditions.csv", index=False)
    assert main(["generate", "run", "--given", "conditions.csv", "--out", "result.csv"]) == 0
    assert len(pd.read_csv("result.csv")) == 3
    assert run.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.missing_values", "-1,Unknown"], "-1,Unknown"),
        (["--data.missing_values", '{"x": ["no", -1], "c": "?", "y": []}'], {"x": ["no", -1], "c": "?", "y": []}),
        (["--data.options", '{"missing_values": {"c": "?"}, "repeated": "no", "size": [3, 4]}'], None),
    ],
)
def test_codes_for_missing_stay_as_they_were_typed(words: list[str], expected: Any) -> None:
    from ccvae.cli.arguments import parsed_arguments
    from ccvae.cli.data import check

    data = parsed_arguments("data check", check, ["rows.csv", *words])["data"]
    if expected is None:
        assert data.options == {"missing_values": {"c": "?"}, "repeated": "no", "size": [3, 4]}
    else:
        assert data.missing_values == expected


def test_codes_for_missing_and_dates_of_inputs_are_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    rows = ROWS.assign(day=days, x=ROWS["x"].where(ROWS.index % 9 > 0, -999), c=ROWS["c"].where(ROWS.index % 7 > 0, "?"))
    rows.to_csv("rows.csv", index=False)
    codes = ["--data.missing_values", '{"x": [-999], "c": "?"}', "--data.options", '{"missing": "mean"}']
    words = ["rows.csv", "--data.labels", "y", "--data.id_column", "id", *SHORT]
    assert main(["train", *words, *codes, "--model.width", "2", "--out", "run"]) == 0
    told = capsys.readouterr().err
    assert "input 'x': 7 cells are taken as missing (-999)" in told
    assert "16 missing inputs, given their column's mean" in told
    new = rows[rows["x"] == -999]
    new.to_csv("codes.csv", index=False)
    new.assign(x=None, c=new["c"].where(new["c"] != "?")).to_csv("empty.csv", index=False)
    assert said(["predict", "run", "--csv", "codes.csv"], capsys) == said(["predict", "run", "--csv", "empty.csv"], capsys)
    assert set(said(["predict", "run"], capsys).splitlines()) <= set(
        said(["predict", "run", "--csv", "rows.csv"], capsys).splitlines()
    )
    assert main(["intervene", "run", "y=a", "--csv", "codes.csv", "--out", "changed.csv"]) == 0
    assert pd.to_datetime(pd.read_csv("changed.csv")["day"], format="%Y-%m-%d").between("2023-10-01", "2024-06-01").all()
    assert main(["train", *words, "--from", "run", "--out", "second"]) == 0
    assert "16 missing inputs" in capsys.readouterr().err
    assert ccvae.load("second").input_format == ccvae.load("run").input_format
    rows.assign(day=rows["day"].where(rows.index != 5, "5 May")).to_csv("wrong.csv", index=False)
    assert main(["predict", "run", "--csv", "wrong.csv"]) == 2
    assert "input 'day': id r5: expected a date such as 2024-05-17, found '5 May'" in capsys.readouterr().err


def test_epochs_may_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written_by_cli(tmp_path)
    words = ["my/rows.csv", "--data.labels", "y", "--data.id_column", "id", "--model.width", "2", "--model.latent_dim", "6"]
    more = [word if word != "1" else "3" for word in SHORT]
    assert main(["train", *words, "--out", "run", *more, "--resume"]) == 0
    assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == [1, 2, 3]
    assert yaml.safe_load((run / "config.yaml").read_text())["training"]["epochs"] == 3
    assert main(["train", *words, "--out", "run", *SHORT, "--resume"]) == 2
    assert "training.epochs (was 3, now 1)" in capsys.readouterr().err


def test_training_starts_from_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written_by_cli(tmp_path)
    ROWS.assign(x=ROWS["x"] + 7).iloc[:40].to_csv("later.csv", index=False)
    words = ["later.csv", "--data.labels", "y", "--data.id_column", "id", "--training.learning_rate", "1e-9", *SHORT]
    assert main(["train", *words, "--out", "second", "--from", "run"]) == 0
    first, second = ccvae.load(run), ccvae.load("second")
    assert second.input_format == first.input_format, "new rows are scaled as the first run's were"
    assert second.config == first.config
    for (name, before), (_, after) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        np.testing.assert_allclose(before.detach(), after.detach(), atol=1e-5, err_msg=name)
    assert main(["train", *words, "--out", "third", "--from", "run", "--model.width", "4"]) == 2
    assert "model settings" in capsys.readouterr().err


def test_broken_files_are_listed_and_globs_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "im").mkdir()
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(tmp_path / "im" / f"{number:02}.png")
    data = image_folder("im", pd.DataFrame({"f": [f"{number:02}" for number in range(30)], "y": [0, 1] * 15}), size=16)
    fitted(data, tmp_path / "x", network="mlp")
    whole = said(["predict", "x", "--images", "im"], capsys)
    several = said(["predict", "x", "--images", "im/00.png", "im/01.png", "im/02.png"], capsys)
    assert several.splitlines() == whole.splitlines()[:4]
    (tmp_path / "im" / "07.png").write_bytes((tmp_path / "im" / "07.png").read_bytes()[:60])
    capsys.readouterr()
    assert main(["predict", "x", "--images", "im", "--out", "p.csv"]) == 1
    told = capsys.readouterr().err
    assert "im/07.png" in told
    assert "1 of 30 images cannot be read; the others are predicted" in told
    assert len(pd.read_csv("p.csv")) == 29


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--given", "a=1", "--given=b=x,y", "--count", "3"], {"given": ["a=1", "b=x,y"], "count": 3}),
        (["run", "--given", "a=1", "b=2"], {"given": ["a=1", "b=2"]}),
        (["--given", "a=1,b=2", "run"], {"given": "a=1,b=2", "run": Path("run")}),
        (["--count", "3", "--given", "a=1", "run"], {"given": "a=1", "count": 3}),
        (["run", "--given", "a=1,b=2"], {"given": "a=1,b=2"}),
        (["run", "--given", '{"a": "x,y"}'], {"given": {"a": "x,y"}}),
        (["run", "--given", '{"a": "no", "b": "?", "c": "01"}'], {"given": {"a": "no", "b": "?", "c": "01"}}),
        (["run", "--given", "-1=5"], {"given": "-1=5"}),
    ],
)
def test_conditions_are_given_in_several_ways(words: list[str], expected: dict[str, Any]) -> None:
    from ccvae.cli.arguments import parsed_arguments
    from ccvae.cli.pictures import conditions, generate

    found = parsed_arguments("generate", generate, words)
    assert {name: found[name] for name in expected} == expected
    if "b=x,y" in words[-3:]:
        assert conditions(found["given"]) == {"a": "1", "b": "x,y"}


def test_messages_name_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ccvae {ccvae.__version__}\n"
    for words, message in (
        (["train", "avatars", "--trainin.epochs", "3"], "no argument --trainin.epochs; did you mean --training.epochs?"),
        (["prdict", "x"], "did you mean 'predict'?"),
        (["data", "check", "digts"], "did you mean 'digits'?"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "digits").mkdir()
    assert main(["data", "check", "digits"]) == 0
    assert "write ./digits to read that" in capsys.readouterr().out
