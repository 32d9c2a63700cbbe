"""The smallest inputs that once went wrong, each with what it gave before and what it gives now.

X are 90 random images of 16×16, F the names of 90 PNG files in the folder `im`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

import ccvae
from ccvae.cli.main import main
from ccvae.data import arrays, chexpert, hugging_face, image_folder, table
from ccvae.data.readers.chexpert import OBSERVATIONS
from picture_files import FILES as F
from picture_files import PICTURES as X
from picture_files import folder_of_pictures

QUICK = {"epochs": 1, "batch_size": 36, "progress": False, "accelerator": "cpu"}
SHORT = ["--training.epochs", "1", "--training.batch_size", "36", "--training.accelerator", "cpu", "--figures", "false"]
SMALL = ["--model.network", "mlp", "--model.width", "2", "--model.latent_dim", "6", "--data.size", "16"]


@pytest.fixture
def im(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, in the working directory."""
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder_of_pictures(tmp_path)
    return Path("im")


def painted(im: Path) -> tuple[Any, ccvae.CCVAE]:
    data = image_folder(im, pd.DataFrame({"f": F, "y": ["a", "b"] * 45}), size=16)
    model = ccvae.CCVAE.for_data(data, network="mlp", width=2, latent_dim=6)
    return data, ccvae.fit(model, data, "runs/x", **QUICK)


def values(data: Any) -> Any:
    """Values of the only label."""
    [label] = data.space
    return label.values


def test_minus_one_for_unlabelled() -> None:
    """Before: a third class "-1", in silence. Now: a warning, and `missing_values=-1` leaves these labels unobserved."""
    given = np.tile([-1, 0, 1], 30)
    assert any("'-1' looks like a code for not observed" in warning for warning in arrays(X, given).warnings)
    data = arrays(X, given, missing_values=-1)
    assert (values(data), data.space["label"].kind) == ((0, 1), "binary")
    assert np.isnan(data.labels[::3]).all()
    assert not data.warnings


def test_unknown_as_a_class(im: Path) -> None:
    """Before: a class "Unknown", in silence. Now: a warning, and `missing_values="Unknown"`."""
    rows = pd.DataFrame({"f": F, "y": ["Unknown", "a", "b"] * 30})
    assert any("'Unknown' looks like a code" in warning for warning in image_folder(im, rows, size=16).warnings)
    assert values(image_folder(im, rows, size=16, missing_values="Unknown")) == ("a", "b")


def test_none_among_words(im: Path) -> None:
    """Before: the class "None" was lost in silence. Now: a warning, and `missing_values={"y": []}` keeps it."""
    rows = pd.DataFrame({"f": F, "y": ["None", "Sun", "Reading"] * 30})
    assert any("30 say 'None'" in warning for warning in image_folder(im, rows, size=16).warnings)
    assert values(image_folder(im, rows, size=16, missing_values={"y": []})) == ("None", "Reading", "Sun")


def test_several_findings_in_a_cell(im: Path) -> None:
    """Before: three classes, one of them "cat|dog". Now: a warning, and `delimiter="|"` gives a label for each finding."""
    rows = pd.DataFrame({"f": F, "y": ["cat", "cat|dog", "dog"] * 30})
    assert any("pass delimiter='|'" in warning for warning in image_folder(im, rows, size=16).warnings)
    data = image_folder(im, rows, size=16, delimiter="|")
    assert data.space.names == ("cat", "dog")
    assert data.labels[:3].tolist() == [[1, 0], [1, 1], [0, 1]]


def test_classes_that_differ_by_case(im: Path) -> None:
    """Before: "Male" and "male" were two classes, in silence. Now: a warning."""
    data = image_folder(im, pd.DataFrame({"f": F, "y": ["Male", "male", "F"] * 30}), size=16)
    assert any("differ by case or blanks only: 'Male' and 'male'" in warning for warning in data.warnings)


def test_raw_rows_of_a_trained_table(tmp_path: Path) -> None:
    """Before: raw numbers were taken as standardized ones. Now: the run's own scaling is applied."""
    t = pd.DataFrame({"x": np.arange(90) * 1000.0, "y": ["a", "b"] * 45})
    data = table(t, ["y"])
    ccvae.fit(ccvae.CCVAE.for_data(data, width=2, latent_dim=6), data, tmp_path / "run", **QUICK)
    model = ccvae.load(tmp_path / "run")
    np.testing.assert_array_equal(model.predict_proba(t[["x"]]), model.predict_proba(data.tensor()))
    with pytest.raises(ValueError, match="raw or standardised"):
        model.predict_proba(t[["x"]].to_numpy())


def test_a_hugging_face_data_set_with_a_transform() -> None:
    """Before: KeyError. Now: columns are read as they are stored."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "y": datasets.ClassLabel(names=["a", "b", "c"])})
    ds = datasets.Dataset.from_dict({"image": [Image.fromarray(x) for x in X], "y": [0, 1, 2] * 30}, features=features)
    for changed in (ds.with_transform(lambda batch: {"pixels": batch["image"]}), ds.with_format("torch", columns=["y"])):
        data = hugging_face(changed, size=16)
        assert values(data) == ("a", "b", "c")
        np.testing.assert_array_equal(data.inputs[..., 0], X)


def test_all_observations_of_chexpert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: always refused, for "No Finding" is 1 or blank only. Now: blank is 0 there."""
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("valid", 12)):
        rows = []
        for row in range(count):
            path = f"{part}/patient{row + (64540 if part == 'valid' else 0):05}/study1/view1_frontal.jpg"
            (tmp_path / path).parent.mkdir(parents=True)
            Image.fromarray(X[row]).save(tmp_path / path)
            cells = rng.choice(["1.0", "0.0", "-1.0", ""], len(OBSERVATIONS)).tolist()
            cells[0] = rng.choice(["1.0", ""] if part == "train" else ["1.0", "0.0"])
            rows.append([f"CheXpert-v1.0-small/{path}", "Frontal", *cells])
        names = ["Path", "Frontal/Lateral", *OBSERVATIONS]
        pd.DataFrame(rows, columns=names).to_csv(tmp_path / f"{part}.csv", index=False)
    data = chexpert(tmp_path, observations="all", size=16)
    assert data.space.names == OBSERVATIONS
    assert set(data.labels[:, 0]) == {0, 1}


def test_one_path_and_one_rotated_photo(im: Path) -> None:
    """Before: TypeError; the rotation was ignored (0.93 from the file). Now: both are framed as in training."""
    _, model = painted(im)
    upright = Image.fromarray(np.kron(X[0][:12], np.ones((20, 20), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save("rotated.jpg", exif=exif, quality=95)
    from_path = model.predict_proba("rotated.jpg").to_numpy()
    with Image.open("rotated.jpg") as photo:
        np.testing.assert_array_equal(model.predict_proba(photo), from_path)
        turned = model.inputs(photo)
        photo.load()
        np.testing.assert_array_equal(model.predict_proba(photo), from_path)
        np.testing.assert_array_equal(model.inputs(ImageOps.exif_transpose(photo)), turned)


def test_a_run_from_python_is_evaluated(im: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: "does not say where the data came from". Now: the data in memory are in the run folder."""
    data, model = painted(im)
    assert main(["predict", "runs/x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == data.ids[data.splits["test"]].tolist()
    found = [float(line.split(",")[1]) for line in lines[1:]]
    np.testing.assert_allclose(found, model.predict_proba(data.tensor("test")).iloc[:, 0], atol=1e-4)
    few = ["rows", "evidence_rows", "evidence_samples", "edit_rows", "walk_rows", "pairs", "probe_rows", "conditions", "draws"]
    assert main(["evaluate", "runs/x", *[f"--settings.{name}=4" for name in few], "--settings.repeats=2"]) == 0
    assert Path("runs/x/metrics.json").exists()


def test_a_truncated_file_among_others(im: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: nothing at all was written. Now: the others are predicted, the file is named, and the exit code is 1."""
    painted(im)
    (im / "90.png").write_bytes((im / "00.png").read_bytes()[:100])
    assert main(["predict", "runs/x", "--images", "im/", "--out", "p.csv"]) == 1
    assert "90.png" in capsys.readouterr().err
    assert len(pd.read_csv("p.csv")) == 90


def test_a_shell_pattern_of_images(im: Path) -> None:
    """Before: an error of the parser. Now: all files; also where no shell has expanded the pattern, and in Python."""
    _, model = painted(im)
    for words in ([f"im/0{digit}.png" for digit in range(10)], ["im/0*.png"]):
        assert main(["predict", "runs/x", "--images", *words, "--out", "p.csv"]) == 0
        assert len(pd.read_csv("p.csv")) == 10
    assert model.predict_proba("im/0*.png").index.tolist() == [f"im/0{digit}.png" for digit in range(10)]


def test_a_run_used_from_another_folder(im: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: the source was relative to where training began. Now: it is found from any folder."""
    pd.DataFrame({"f": F, "y": ["a", "b"] * 45}).to_csv("l.csv", index=False)
    assert main(["train", "./im", "--data.csv", "l.csv", "--out", "run", *SHORT, *SMALL]) == 0
    here = Path.cwd()
    monkeypatch.chdir(here.parent)
    capsys.readouterr()
    assert main(["predict", str(here.relative_to(here.parent) / "run")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_a_table_without_names_of_columns(im: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before: a label named "0", and the first image lost its label. Now: refused, for images and for tables."""
    Path("n.csv").write_text("".join(f"{name},{row % 2}\n" for row, name in enumerate(F)))
    assert main(["data", "check", "im", "--data.csv", "n.csv"]) == 2
    assert "the first line, with '00.png', looks like a row" in capsys.readouterr().err
    Path("t.csv").write_text("".join(f"p{row},{row * 1.5 + 0.5},{'ab'[row % 2]}\n" for row in range(90)))
    assert main(["data", "check", "t.csv", "--data.labels", "a"]) == 2
    assert "looks like a row; add a line above it" in capsys.readouterr().err
    for names in ("x,a", "2019,2020,2021", "400.5,401.5,402.5", "0,1"):  # names, though some are numbers
        Path("t.csv").write_text(
            names + "\n" + "".join(f"{','.join(['1.5'] * names.count(','))},{row % 2}\n" for row in range(9))
        )
        assert table("t.csv", [names.split(",")[-1]], validation=1, test=1).inputs.shape[0] == 9


def test_memory_of_bytes_stays_bytes() -> None:
    """Before: 184 MB of bytes took 1.6 GB. Now: they become floats a few rows at a time."""
    data = arrays(X, [0, 1] * 45)
    model = ccvae.CCVAE.for_data(data, network="mlp", width=2, latent_dim=4)
    taken: list[torch.Size] = []
    original = model.prepared
    model.prepared = lambda rows: taken.append(rows.shape) or original(rows)  # type: ignore[method-assign, func-returns-value]
    model.predict_proba(np.concatenate([X] * 10))
    assert max(shape[0] for shape in taken) <= model.rows_at_once
    assert sum(shape[0] for shape in taken) == 900


def test_two_labelled_rows_of_two_hundred() -> None:
    """Before: training stopped, for the labelled rows were not in it. Now: splits are stratified."""
    data = arrays(np.random.default_rng(0).normal(size=(200, 3)), {"y": ["a", *[None] * 198, "b"]})
    assert np.isfinite(data.labels[data.splits["train"]]).sum() == 2


def test_sixty_rows_have_labels_in_validation() -> None:
    """Before: a set of 60 rows had no label in validation. Now: it has its share."""
    data = arrays(np.random.default_rng(0).normal(size=(60, 3)), {"y": ["a"] * 5 + ["b"] * 5 + [None] * 50})
    for split in ("train", "validation", "test"):
        assert np.isfinite(data.labels[data.splits[split]]).any()
