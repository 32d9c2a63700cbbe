"""The command line, end to end on scikit-learn's digits."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from ccvae.cli.main import main
from ccvae.cli.pictures import assignments

SMALL = ["--model.width", "4", "--model.latent_dim", "14", "--training.epochs", "2", "--training.batch_size", "100"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    few = [
        *["--data.labelled", "300", "--training.pretraining_steps", "5"],
        *["--training.teacher_steps", "50", "--training.student_steps", "20"],
    ]
    assert main(["train", "digits", "--out", str(folder), *few, *SMALL]) == 0
    return folder


def test_training_writes_what_the_readme_says(run):
    names = {path.name for path in run.iterdir()}
    expected = {"config.yaml", "labels.json", "model.safetensors", "metrics.csv", "splits.csv", "checkpoints", "figures"}
    assert expected | {"report.html"} <= names
    assert list((run / "figures").glob("*.png"))
    assert "<img" in (run / "report.html").read_text(encoding="utf-8")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["data"]["source"] == "digits"
    assert settings["data"]["labelled"] == 300
    assert settings["model"]["width"] == 4


def test_predict_writes_a_table(run, tmp_path, capsys):
    out = tmp_path / "predictions.csv"
    assert main(["predict", str(run), "--out", str(out)]) == 0
    table = pd.read_csv(out)
    digits = [f"digit={value}" for value in range(10)]
    assert table.columns.tolist() == ["id", *digits, "stroke_weight", "stroke_weight.std"]
    assert np.allclose(table[digits].sum(axis=1), 1, atol=1e-5)
    capsys.readouterr()
    assert main(["predict", str(run)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split(",")[:2] == ["id", "digit=0"]
    assert len(printed.splitlines()) == 1 + len(table)


def test_predict_takes_files_and_folders(run, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (20, 20), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    capsys.readouterr()
    assert main(["predict", str(run), "--images", f"[{tmp_path}, {tmp_path / '0.png'}]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(tmp_path / f"{n}.png") for n in (0, 1, 2, 0)]
    assert lines[1].split(",")[1:] == lines[4].split(",")[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "RUN", "--given", "digit=3", "--count", "5"],
        ["generate", "RUN", "--strength", "0.9", "--given", "digit=3,stroke_weight=0.4"],
        ["intervene", "RUN", "digit=7"],
        ["intervene", "RUN", "digit=7", "--strength", "null"],
        ["traverse", "RUN", "stroke_weight", "--steps", "4"],
        ["traverse", "RUN", "stroke_weight,digit", "--steps", "3"],
        ["transfer", "RUN", "digit,stroke_weight"],
        ["counterfactual", "RUN", "digit", "--value", "8"],
        ["counterfactual", "RUN", "digit"],
    ],
)
def test_pictures(run, tmp_path, arguments):
    out = tmp_path / "picture.png"
    arguments = [str(run) if part == "RUN" else part for part in arguments]
    assert main([*arguments, "--out", str(out)]) == 0
    with Image.open(out) as picture:
        pixels, stored = np.asarray(picture), picture.info
    assert pixels.min() < pixels.max()
    assert stored["Description"], "the caption is in the file too"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize(
    ("arguments", "caption"),
    [
        (["generate", "RUN", "--given", "digit=3", "--count", "5"], "Generated with digit=3; seeds 0 to 4."),
        (
            ["generate", "RUN", "--given", "digit=3", "--strength", "0.9", "--count", "1"],
            "with digit=3 at strength 0.9; seed 0.",
        ),
        (["generate", "RUN", "--count", "2", "--seed", "7"], "Generated without conditions; seeds 7 to 8."),
        (["intervene", "RUN", "digit=7"], "Each image, its reconstruction, and the same with digit=7, at strength 0.5."),
        (["traverse", "RUN", "digit"], "along digit from digit=0 at the left to digit=9 at the right."),
    ],
)
def test_captions_say_what_was_done(run, tmp_path, arguments, caption):
    out = tmp_path / "picture.png"
    assert main([*[str(run) if part == "RUN" else part for part in arguments], "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert caption in picture.info["Description"]


def test_the_source_of_a_transfer_is_no_target(run, tmp_path):
    rows = (pd.read_csv(run / "splits.csv")["split"] == "test").sum()
    assert main(["transfer", str(run), "digit", "--count", "1000", "--out", str(tmp_path / "many")]) == 0
    assert len(list((tmp_path / "many").iterdir())) == rows - 1
    assert main(["transfer", str(run), "digit", "--count", "3", "--out", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.info["Description"] == "The source at the left, and the other images with its digit."


def test_pictures_one_by_one(run, tmp_path):
    assert main(["generate", str(run), "--count", "3", "--out", str(tmp_path / "many")]) == 0
    for path in (tmp_path / "many").iterdir():
        with Image.open(path) as picture:
            assert picture.size == (16, 16)
    assert len(list((tmp_path / "many").iterdir())) == 3


def test_dry_run_writes_nothing(tmp_path, capsys):
    assert main(["train", "digits", "--out", str(tmp_path / "run"), "--dry-run", *SMALL]) == 0
    assert not (tmp_path / "run").exists()
    told = capsys.readouterr().err
    assert "training rows have labels" in told
    assert re.search(r"training: 2 epochs, about [\d,]+ steps of \d+ rows, in ", told)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            [],
            "features are learned from all images without labels (600 steps), then "
            "a teacher is trained on the 100 labelled rows first (600 steps, dropout 0.6, weight decay 0.5), "
            "then a student is trained on all rows (1,500 steps); ",
        ),
        (
            ["--training.teachers", "3", "--training.students", "2"],
            "then 2 students are trained one after the other on all rows (1,500 steps); ",
        ),
        (["--training.teachers", "3", "--training.students", "0"], "3 teachers are trained on the 100 labelled rows first ("),
    ],
)
def test_what_is_done_about_few_labels_is_said(capsys, settings, expected):
    assert main(["train", "digits", "--data.labelled", "100", "--dry-run", *settings]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert expected in told
    assert ("student" in told) == ("0" not in settings)


def test_config_file_and_flags(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"source": "digits", "model": {"width": 6}, "training": {"epochs": 1}}))
    capsys.readouterr()
    assert main(["train", "--config", str(config), "--out", str(tmp_path / "run"), "--figures", "false"]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["width"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], r"nowhere: no such file or folder, nor one of the built-in data sets avatars"),
        (["train", "digits", "--out", "RUN"], "already contains a run"),
        (["train", "digits", "--out", "RUN", "--resume"], r"training\.batch_size \(was 100, now 50\)"),
        (["train", "digits", "--data.options", "{colour: red}"], "reader digits does not know colour"),
        (["train", "digits", "--data.labelled", "1"], "with 1 labelled rows"),
        (["predict", "elsewhere"], "elsewhere is no run folder"),
        (["predict", "RUN", "--images", "[missing.png]"], r"missing\.png: no such file"),
        (["predict", "RUN", "--split", "all"], "split: expected one of train, validation, test, found 'all'"),
        (["generate", "RUN", "--given", "smile=1"], "no label 'smile'; the labels are digit, stroke_weight"),
        (["generate", "RUN", "--given", "digit=12"], "label 'digit': expected one of 0, 1, 2"),
        (["generate", "RUN", "--given", "digit"], "expected LABEL=VALUE"),
        (["intervene", "RUN", "digit=3", "--strength", "2"], "strength: a quantile"),
        (["traverse", "RUN", "digit,digit"], "two different ones"),
    ],
)
def test_errors_are_for_people(run, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [str(run) if part == "RUN" else part for part in arguments]
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits", "--model.width", "wide"], "model.width"),
        (["train", "digits", "--model.dropout", "1.5"], "dropout: expected a number at least 0 and below 1, found 1.5"),
        (["train", "digits", "--training.epoch", "3"], "epoch"),
    ],
)
def test_flags_are_checked(capsys, arguments, message):
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_damaged_run_is_explained(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"not weights")
    assert main(["predict", str(tmp_path / "run")]) == 2
    assert "model.safetensors" in capsys.readouterr().err


def test_overview_and_unknown_commands(capsys):
    assert main(["--help"]) == 0
    assert "ccvae train avatars" in capsys.readouterr().out
    assert main(["tarin"]) == 2
    assert "no command 'tarin'" in capsys.readouterr().err


def test_installed_command_runs():
    command = [Path(sys.executable).with_name("ccvae"), "train", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--training.classification_weight" in done.stdout


def test_assignments():
    assert assignments("Smiling=1, age=31.5") == {"Smiling": "1", "age": "31.5"}
    assert assignments("") == {}
    assert assignments("a=b=1") == {"a=b": "1"}
