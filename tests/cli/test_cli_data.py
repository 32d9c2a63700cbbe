"""Every kind of data from the command line: looked over, cached, trained on, and predicted."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from ccvae.cli.main import main

SMALL = [
    "--model.latent_dim", "40", "--model.width", "4", "--training.epochs", "1", "--training.batch_size", "8",
    "--training.pretraining_steps", "4", "--training.teacher_steps", "4", "--training.student_steps", "4",
    "--training.accelerator", "cpu", "--figures", "false",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real pictures: 120 handwritten digits, `(120, 8, 8)`, and what they are."""
    source = pytest.importorskip("sklearn.datasets").load_digits()
    return (source.images[:120] / 16 * 255).round().astype(np.uint8), source.target[:120]


def folder_of_digits(root: Path) -> list[str]:
    """A folder of PNG files and a table with holes, as exported by a spreadsheet."""
    (root / "scans").mkdir()
    pictures, classes = digits()
    generator = np.random.default_rng(0)
    lines = ["file,patient,digit,round,ink"]
    for row, (picture, number) in enumerate(zip(pictures, classes, strict=True)):
        Image.fromarray(picture).resize((24, 24)).save(root / "scans" / f"scan{row:03}.png")
        cells = [str(number), "yes" if number in (0, 6, 8, 9) else "no", f"{picture.mean():.2f}"]
        known = [cell if generator.random() < 0.7 else "" for cell in cells]
        lines.append(",".join([f"scan{row:03}.png", f"patient {row // 2}", *known]))
    (root / "labels.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return [str(root / "scans"), "--data.csv", str(root / "labels.csv"), "--data.size", "16", "--data.group_column", "patient",
            "--data.kinds", "{digit: categorical}"]  # fmt: skip


def celeba(root: Path) -> list[str]:
    """CelebA's published layout."""
    names = [
        "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
        "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
        "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
        "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
        "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
        "Wearing_Necktie", "Young",
    ]  # fmt: skip
    generator = np.random.default_rng(0)
    (root / "celeba" / "img_align_celeba").mkdir(parents=True)
    files = [f"{row + 1:06}.jpg" for row in range(60)]
    lines, parts = ["60", " ".join(names) + " "], []
    for row, file in enumerate(files):
        Image.fromarray(generator.integers(0, 256, (218, 178, 3), dtype=np.uint8)).save(
            root / "celeba" / "img_align_celeba" / file
        )
        lines.append(f"{file} " + " ".join(f"{value:2}" for value in generator.choice([-1, 1], 40)))
        parts.append(f"{file} {0 if row < 40 else 1 if row < 50 else 2}")
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return [str(root / "celeba"), "--data.size", "16", "--data.labelled", "20"]


def chexpert(root: Path) -> list[str]:
    """CheXpert's published layout, with blanks and uncertain marks."""
    observations = [
        "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
        "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
    ]  # fmt: skip
    generator = np.random.default_rng(0)
    for part, patients, cells in (("train", range(60), ["1.0", "0.0", "-1.0", ""]), ("valid", range(100, 112), ["1.0", "0.0"])):
        rows = []
        for patient in patients:
            path = f"CheXpert-v1.0-small/{part}/patient{patient:05}/study1/view1_frontal.jpg"
            (root / path).parent.mkdir(parents=True)
            Image.fromarray(generator.integers(0, 256, (32, 39), dtype=np.uint8)).save(root / path)
            rows.append([path, "Female", 50, "Frontal", "AP", *generator.choice(cells, len(observations))])
        header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *observations]
        pd.DataFrame(rows, columns=header).to_csv(root / "CheXpert-v1.0-small" / f"{part}.csv", index=False)
    return [str(root / "CheXpert-v1.0-small"), "--data.size", "16", "--data.options", "{uncertain: soft}"]


def fashion_mnist(root: Path) -> list[str]:
    """Fashion-MNIST's four idx files, with few pictures."""
    (root / "idx").mkdir()
    generator = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        pictures, classes = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", pictures), ("labels-idx1", classes)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (root / "idx" / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    return [str(root / "idx"), "--data.reader", "fashion_mnist", "--data.validation", "10", "--data.labelled_per_class", "2"]


def table(root: Path) -> list[str]:
    """Real measurements of wines, with a column of text and labels of two kinds that have holes."""
    frame = pytest.importorskip("sklearn.datasets").load_wine(as_frame=True).frame
    frame["hue"] = np.where(frame["hue"] > 1, "pale", "dark")
    frame["maker"] = frame.pop("target").map({0: "Anna", 1: "Bruno", 2: "Carla"}).where(frame.index % 3 > 0)
    frame["alcohol"] = frame["alcohol"].where(frame.index % 2 > 0)
    frame.to_csv(root / "wines.csv", index=False)
    return [str(root / "wines.csv"), "--data.labels", "maker,alcohol"]


def annotators(root: Path) -> list[str]:
    """A table whose label is given as what share of annotators said what."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(60, 3)), columns=["x", "y", "z"])
    shares = generator.multinomial(4, [0.5, 0.3, 0.2], size=60) / 4
    for number, value in enumerate(("calm", "glad", "sad")):
        frame[f"mood={value}"] = shares[:, number]
    frame.to_csv(root / "annotators.csv", index=False)
    return [str(root / "annotators.csv"), "--data.labels", "mood"]


def hugging_face(root: Path) -> list[str]:
    """What `datasets` saves to the disk."""
    datasets = pytest.importorskip("datasets")
    pictures, classes = digits()
    features = datasets.Features({"image": datasets.Image(), "digit": datasets.ClassLabel(num_classes=10)})
    columns = {"image": [Image.fromarray(picture) for picture in pictures], "digit": classes.tolist()}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(root / "saved")
    return [str(root / "saved"), "--data.reader", "hugging_face", "--data.size", "16"]


READERS = {made.__name__: made for made in (folder_of_digits, celeba, chexpert, fashion_mnist, table, annotators, hugging_face)}
COLUMNS = {
    "folder_of_digits": [*(f"digit={number}" for number in range(10)), "round=no", "round=yes", "ink", "ink.std"],
    "fashion_mnist": ["class=T-shirt/top", "class=Trouser"],
    "table": ["maker=Anna", "maker=Bruno", "maker=Carla", "alcohol", "alcohol.std"],
    "annotators": ["mood=calm", "mood=glad", "mood=sad"],
    "hugging_face": [f"digit={number}" for number in range(10)],
    "chexpert": ["Atelectasis=0", "Atelectasis=1", "Edema=0", "Edema=1"],
    "celeba": ["Arched_Eyebrows=0", "Eyeglasses=1", "Young=1"],
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_trains_and_predicts(tmp_path: Path, reader: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = READERS[reader](tmp_path)
    run = tmp_path / "run"
    assert main(["data", "check", *arguments]) == 0, capsys.readouterr()
    assert main(["train", *arguments, "--out", str(run), *SMALL]) == 0, capsys.readouterr()
    assert np.isfinite(pd.read_csv(run / "metrics.csv")["train/total"]).all()
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    assert main(["predict", str(run), "--out", str(tmp_path / "predicted.csv")]) == 0, capsys.readouterr()
    predicted = pd.read_csv(tmp_path / "predicted.csv", dtype={"id": str})
    assert predicted["id"].tolist() == splits["id"][splits["split"] == "test"].tolist()
    assert len(predicted) > 5
    assert set(COLUMNS[reader]) <= set(predicted.columns)
    for label in {column.partition("=")[0] for column in predicted.columns if "=" in column}:
        sums = predicted[[column for column in predicted.columns if column.startswith(f"{label}=")]].sum(axis=1)
        np.testing.assert_allclose(sums, 1, atol=1e-4)


def test_images_by_path_are_predicted_as_the_same_images_of_the_data(tmp_path: Path) -> None:
    arguments = folder_of_digits(tmp_path)
    run = tmp_path / "run"
    assert main(["train", *arguments, "--out", str(run), *SMALL]) == 0
    assert main(["predict", str(run), "--out", str(tmp_path / "own.csv")]) == 0
    assert main(["predict", str(run), "--images", f"[{tmp_path / 'scans'}]", "--out", str(tmp_path / "files.csv")]) == 0
    own, files = (pd.read_csv(tmp_path / name).set_index("id") for name in ("own.csv", "files.csv"))
    files.index = files.index.map(lambda path: Path(path).name)
    np.testing.assert_allclose(files.loc[own.index], own, atol=1e-5)


def test_rows_added_after_training_change_no_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder_of_digits(tmp_path)
    run = tmp_path / "run"
    assert main(["train", *arguments, "--out", str(run), *SMALL]) == 0
    before = pd.read_csv(run / "splits.csv")
    for number in range(20):
        Image.new("L", (24, 24), number).save(tmp_path / "scans" / f"added{number}.png")
    with (tmp_path / "labels.csv").open("a") as file:
        file.writelines(f"added{number}.png,new patient {number},3,no,5.5\r\n" for number in range(20))
    assert main(["predict", str(run), "--out", str(tmp_path / "predicted.csv")]) == 0
    test = before["id"][before["split"] == "test"].tolist()
    assert pd.read_csv(tmp_path / "predicted.csv")["id"].tolist() == test
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join(line for line in lines if not line.startswith(test[0])))
    (tmp_path / "scans" / test[0]).unlink()
    assert main(["predict", str(run)]) == 2
    assert f"names 1 rows that scans does not have (any more): {test[0]}" in capsys.readouterr().err


def test_check_as_a_script_sees_it(tmp_path: Path) -> None:
    """The command itself: text or JSON to the terminal, a page, and the exit code."""
    source, *arguments = folder_of_digits(tmp_path)

    def check(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from ccvae.cli.main import main; sys.exit(main())", "data", "check"]
        return subprocess.run([*command, source, *arguments, *more], capture_output=True, text=True, check=False)

    page = tmp_path / "pages" / "page.html"
    fine = check("--json", "--html", str(page))
    assert fine.returncode == 0, fine.stderr
    found = json.loads(fine.stdout)
    assert (found["rows"], found["groups"], found["problems"]) == (120, 60, [])
    assert [label["kind"] for label in found["labels"]] == ["categorical", "binary", "continuous"]
    assert page.read_text(encoding="utf-8").count("<img") > 20
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]
    for number in range(6):
        shutil.copy(tmp_path / "scans" / "scan000.png", tmp_path / "scans" / f"copy{number}.png")
    with (tmp_path / "labels.csv").open("a") as file:
        file.writelines(f"copy{number}.png,copied {number},{number},no,1.5\r\n" for number in range(6))
    wrong = check()
    assert wrong.returncode == 1
    assert "identical images have labels that contradict each other" in wrong.stdout


def test_check_looks_at_a_table_with_missing_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"age": [30, 45.5, -999, None] * 15, "sick": [0, 1, 9, 0] * 15})
    rows.to_csv(tmp_path / "t.csv", index=False)
    assert main(["data", "check", str(tmp_path / "t.csv"), "--data.labels", "sick"]) == 1
    told = capsys.readouterr().out
    assert "input 'age': -999 in 15 cells looks like a code" in told
    assert "label 'sick': the value '9' looks like a code" in told
    assert "inputs are missing: age in line 5" in told
    assert """missing='mean' (--data.options '{"missing": "mean"}')""" in told
    assert (
        main(["data", "check", str(tmp_path / "t.csv"), "--data.labels", "sick", "--data.options", '{"missing": "mean"}']) == 0
    )


def test_check_writes_no_half_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["data", "check", "digits", "--html", str(tmp_path / "file" / "page.html")]) == 2
    assert "file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == ""


def test_cache_is_what_training_reads(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder_of_digits(tmp_path)
    assert main(["data", "cache", *arguments]) == 0
    [folder] = [entry for entry in cache.iterdir() if entry.is_dir()]
    told = capsys.readouterr().err
    assert f"MB are cached in {folder / 'images.npy'}" in told
    assert "scans: 120 rows of shape (1, 16, 16)" in told
    before = (folder / "images.npy").stat()
    assert main(["train", *arguments, "--out", str(tmp_path / "run"), *SMALL, "--dry_run"]) == 0
    after = (folder / "images.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len([entry for entry in cache.iterdir() if entry.is_dir()]) == 1
    assert main(["data", "cache", *arguments, "--data.size", "8"]) == 0
    assert len([entry for entry in cache.iterdir() if entry.is_dir()]) == 2
    assert main(["data", "cache", *table(tmp_path)]) == 0
    assert "nothing to cache" in capsys.readouterr().err


def test_settings_may_come_from_a_small_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, *_ = folder_of_digits(tmp_path)
    settings = {"csv": str(tmp_path / "labels.csv"), "size": 12, "labels": ["digit"], "kinds": {"digit": "continuous"}}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(settings))
    assert main(["data", "check", source, "--data", str(tmp_path / "data.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["input_shape"] == [1, 12, 12]
    assert [label["kind"] for label in found["labels"]] == ["continuous"]


WRONG = {
    "no such source": ([], "nowhere: no such file or folder, nor one of the built-in data sets"),
    "no table": (["scans"], "scans: a folder of images needs a table of labels; name it with --data.csv"),
    "no such table": (["scans", "--data.csv", "lost.csv"], "there is no file lost.csv"),
    "wrong encoding": (["scans", "--data.csv", "latin.csv"], "latin.csv is not UTF-8 text: line 3 holds the byte 0xfc"),
    "ragged": (["scans", "--data.csv", "ragged.csv"], "ragged.csv: line 1 names 2 columns, but line 3 has 3"),
    "decimal comma": (["scans", "--data.csv", "comma.csv"], "label 'a' holds numbers with a decimal comma"),
    "no ids": (["scans", "--data.csv", "strange.csv"], "strange.csv: no column names the images; the nearest, 'id'"),
    "no such label": (["scans", "--data.csv", "labels.csv", "--data.labels", "b"], "has no column 'b'; its columns are a"),
    "which labels": (["labels.csv"], "labels.csv: say which columns are labels: --data.labels NAME"),
    "broken image": (["broken", "--data.csv", "labels.csv"], "3 of 12 images in broken cannot be read: scan03.png"),
    "empty folder": (["empty", "--data.csv", "labels.csv"], "empty holds no images"),
    "unknown setting": (["digits", "--data.csv", "labels.csv"], "reader digits does not know csv; it knows size, labelled"),
    "unknown reader": (["scans", "--data.reader", "dicom"], "reader: expected one of auto, avatars"),
    "too many labelled": (["scans", "--data.csv", "labels.csv", "--data.labelled", "50"], "asks for 50 labelled training rows"),
    "both": (["digits", "--data.labelled", "50", "--data.labelled_per_class", "5"], "give one of them"),
    "not Parquet": (["scans", "--data.csv", "labels.parquet"], "labels.parquet"),
    "no tool": (["labels.csv", "--data.reader", "hugging_face"], "labels.csv is no Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("verb", ["data check", "data cache", "train"])
def test_bad_data_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("scans", "broken", "empty"):
        Path(folder).mkdir()
    for row in range(12):
        for folder in ("scans", "broken"):
            Image.new("L", (8, 8), 9 * row).save(Path(folder, f"scan{row:02}.png"))
        if 2 < row < 6:
            Path("broken", f"scan{row:02}.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    names = [f"scan{row:02}" for row in range(12)]
    Path("labels.csv").write_text("id,a\n" + "".join(f"{name},{row % 2}\n" for row, name in enumerate(names)))
    Path("latin.csv").write_bytes("id,a\nscan00,0\nscan01,grün\n".encode("latin-1"))
    Path("ragged.csv").write_text("id,a\nscan00,0\nscan01,1,5\n")
    Path("comma.csv").write_text("id,a\n" + "".join(f'{name},"{row},5"\n' for row, name in enumerate(names)))
    Path("strange.csv").write_text("id,a\n" + "".join(f"picture {row},{row % 2}\n" for row in range(12)))
    Path("labels.parquet").write_text("not Parquet")
    arguments, message = WRONG[case]
    assert main([*verb.split(), *(arguments or ["nowhere"])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *progress, told = captured.err.splitlines()
    assert told.startswith(f"ccvae {verb}: error: ")
    assert message in told
    assert not [line for line in progress if "Traceback" in line]
    assert not Path("runs").exists()
