"""Inputs as people have them: raw rows of a table, files, folders, PIL images, arrays, data sets and loaders."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ccvae
from ccvae.data import arrays, image_folder, table
from picture_files import noise

ROWS = pd.DataFrame(
    {
        "x": np.arange(90) * 1000.0,
        "color": ["red", "green", "blue"] * 30,
        "noise": np.random.default_rng(0).normal(5, 2, 90),
        "y": ["a", "b"] * 45,
    }
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ccvae.CCVAE, Any, Path]:
    """A model of a table, its data and its run folder; trained for a step, for only doors are tested here."""
    data = table(ROWS, ["y"])
    run = tmp_path_factory.mktemp("runs") / "x"
    model = ccvae.CCVAE.for_data(data, width=2, latent_dim=6)
    ccvae.fit(model, data, run, epochs=1, batch_size=36, progress=False, accelerator="cpu")
    return model, data, run


def test_raw_rows_are_read_as_in_training(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    _, data, run = trained
    model = ccvae.load(run)
    expected = model.predict_proba(torch.from_numpy(data.inputs))
    found = model.predict_proba(ROWS)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.predict_proba(ROWS[["noise", "y", "color", "x"]]), expected)
    named = model.predict_proba(ROWS.iloc[[5, 3]].set_index(pd.Index(["p5", "p3"], name="patient")))
    assert named.index.tolist() == ["p5", "p3"]
    np.testing.assert_allclose(named, expected.iloc[[5, 3]], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(ROWS.iloc[7]), expected.iloc[[7]], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(ROWS.iloc[7].to_dict()), expected.iloc[[7]], atol=1e-6)
    assert model.predict(ROWS.iloc[:3]).index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[["x"]], "has no input column color; noise; it needs x, color, noise, in any order"),
        (ROWS.assign(color="pink"), "input 'color': row 0: expected one of blue, green, red, found 'pink'"),
        (ROWS.assign(x="many"), "input 'x': row 0: expected a number, found 'many'"),
        (ROWS.assign(noise=[None] + [1.0] * 89), "inputs are missing: noise in row 0"),
        (ROWS[["x", "noise"]].to_numpy(), "raw or standardised"),
        (ROWS[["x", "noise"]].to_numpy().tolist(), "raw or standardised"),
        ("photo.png", "the model takes vectors of 5 features"),
    ],
)
def test_what_cannot_be_read_is_refused(trained: tuple[ccvae.CCVAE, Any, Path], rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained[0].predict_proba(rows)


def test_results_are_in_own_units(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    model, data, _ = trained
    rows = ROWS.iloc[10:14]
    rebuilt = model.reconstruct(rows)
    assert list(rebuilt) == ["x", "color", "noise"]
    assert rebuilt.index.tolist() == [10, 11, 12, 13]
    assert set(rebuilt["color"]) <= {"red", "green", "blue"}
    vectors = model.reconstruct(torch.from_numpy(data.inputs[10:14]))
    mean, scale = data.columns.columns[0].mean, data.columns.columns[0].scale
    np.testing.assert_allclose(rebuilt["x"], vectors[:, 0].numpy() * scale + mean, rtol=1e-5)
    assert 0 < rebuilt["x"].mean() < 90_000
    assert list(model.generate(4, {"y": "a"})) == ["x", "color", "noise"]
    assert list(model.intervene(rows, {"y": "b"})) == ["x", "color", "noise"]
    assert list(model.transfer(rows.iloc[:1], rows, ["y"])) == ["x", "color", "noise"]
    walked = model.traverse(rows, "y", steps=3)
    assert walked.index.names == ["row", "step"]
    assert walked.index.tolist()[:4] == [(10, 0), (10, 1), (10, 2), (11, 0)]
    changed = model.counterfactual(rows, "y", "b")
    assert list(changed.images) == ["x", "color", "noise"]
    assert isinstance(model.intervene(torch.from_numpy(data.inputs[:3]), {"y": "b"}), torch.Tensor)


def test_conditions_row_by_row(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    model, data, _ = trained
    conditions = pd.DataFrame({"y": ["a", None, "b"]})
    together = model.generate(given=conditions, seed=3, strength=0.9)
    pd.testing.assert_frame_equal(together.iloc[[0]], model.generate(1, {"y": "a"}, 3, 0.9), atol=1e-3)
    pd.testing.assert_frame_equal(
        together.iloc[[1]].reset_index(drop=True).rename_axis("row"), model.generate(1, None, 4), atol=1e-3
    )
    x = torch.from_numpy(data.inputs[:3])
    mixed = model.intervene(x, conditions)
    torch.testing.assert_close(mixed[1], model.reconstruct(x)[1])
    torch.testing.assert_close(mixed[2], model.intervene(x, {"y": "b"})[2])
    with pytest.raises(ValueError, match="given: 3 rows of conditions for 2 rows"):
        model.generate(2, conditions)
    with pytest.raises(ValueError, match="no label 'z'; the labels are y"):
        model.generate(given=pd.DataFrame({"z": [1]}))
    with pytest.raises(ValueError, match="given, label 'y': row 1: expected one of a, b"):
        model.generate(given=pd.DataFrame({"y": ["a", "c"]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["table"]["columns"].pop(), "its columns give 4 features"),
        (lambda c: c["table"]["columns"][0].update(scale=-1), "scale of at least 0"),
        (lambda c: c["table"]["columns"][0].update(mean="0"), "expected a mean"),
        (lambda c: c["table"]["columns"][1].update(values=["a", "a", "b"]), "texts that differ"),
        (lambda c: c["table"].update(missing="run"), "missing must be one of"),
        (lambda c: c.update(code="import os"), "expected an object with table or images"),
        (lambda c: c.update(images={"fit": "crop", "square": None}), "images"),
    ],
)
def test_a_damaged_description_is_refused(
    trained: tuple[ccvae.CCVAE, Any, Path], tmp_path: Path, change: Any, message: str
) -> None:
    model, _, _ = trained
    model.save(tmp_path / "run")
    content = json.loads((tmp_path / "run" / "inputs.json").read_text())
    change(content)
    (tmp_path / "run" / "inputs.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        ccvae.load(tmp_path / "run")
    (tmp_path / "run" / "inputs.json").write_text("{" * 10)
    with pytest.raises(ValueError, match=r"inputs\.json is not valid JSON"):
        ccvae.load(tmp_path / "run")


def test_numbers_of_arrays_are_found_by_name() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    data = arrays(frame, {"y": [0, 1] * 20})
    model = ccvae.CCVAE.for_data(data, width=1, latent_dim=4)
    expected = model.predict_proba(frame.to_numpy(dtype=np.float32))
    np.testing.assert_array_equal(model.predict_proba(frame[["c", "a", "b"]]), expected)


# ---------------------------------------------------------------------- images


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of other sizes and kinds than the model's."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(20):
        wide, high = 24 + number, 40 - number
        Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    rotated = Image.fromarray(np.kron(rng.integers(0, 256, (8, 12, 3)), np.ones((4, 4, 1))).astype(np.uint8))
    exif = rotated.getexif()
    exif[0x0112] = 6
    rotated.save(folder / "20.jpg", exif=exif, quality=95)
    rotated.convert("P").save(folder / "21.png")
    rotated.convert("L").save(folder / "22.png")
    rotated.convert("RGBA").save(folder / "23.png")
    return folder


@pytest.fixture(scope="module")
def painter(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ccvae.CCVAE, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CCVAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        names = sorted(path.name for path in pictures.iterdir())
        data = image_folder(pictures, pd.DataFrame({"f": names, "y": [0, 1] * 12}), size=(16, 20), fit="pad")
        torch.manual_seed(0)
        return ccvae.CCVAE.for_data(data, network="mlp", width=2, latent_dim=4).eval(), data


def test_files_folders_and_pil_images_are_framed_as_in_training(painter: tuple[ccvae.CCVAE, Any], pictures: Path) -> None:
    model, data = painter
    expected = model.predict_proba(data.tensor()).to_numpy()
    files = [pictures / name for name in data.ids]
    whole = model.predict_proba(pictures)
    assert whole.index.tolist() == [str(file) for file in files]
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba([str(file) for file in files]), expected, atol=1e-6)
    for position in (0, 7, 20, 21, 22, 23):
        np.testing.assert_allclose(model.predict_proba(str(files[position])), expected[[position]], atol=1e-6)
        with Image.open(files[position]) as image:
            np.testing.assert_allclose(model.predict_proba(image), expected[[position]], atol=1e-6)
            image.load()
            np.testing.assert_array_equal(model.inputs(image), model.inputs(files[position]), files[position].name)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(Image.open(file)) for file in files]
        np.testing.assert_allclose(model.predict_proba(opened), expected, atol=1e-6)


def test_data_sets_and_loaders(painter: tuple[ccvae.CCVAE, Any]) -> None:
    model, data = painter
    x = data.tensor()
    expected = model.predict_proba(x).to_numpy()
    named = model.predict_proba(data)
    assert named.index.tolist() == data.ids.tolist()
    pairs = TensorDataset(x, torch.zeros(len(x)))
    for given in (
        data,
        pairs,
        DataLoader(pairs, batch_size=7),
        [x[row] for row in range(len(x))],
        data.inputs,
        list(data.inputs),
    ):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)


def test_grey_images_need_no_axis_of_channels() -> None:
    greys = np.random.default_rng(0).integers(0, 256, (30, 16, 16), dtype=np.uint8)
    data = arrays(greys, [0, 1] * 15)
    model = ccvae.CCVAE.for_data(data, network="mlp", width=2, latent_dim=4)
    expected = model.predict_proba(data.tensor())
    for given in (greys, greys[..., None], torch.from_numpy(greys), [Image.fromarray(grey) for grey in greys]):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(greys[3]), expected.iloc[[3]], atol=1e-6)


def test_bytes_become_floats_a_few_at_a_time(painter: tuple[ccvae.CCVAE, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = painter
    seen = []
    prepared = type(model).prepared
    monkeypatch.setattr(type(model), "prepared", lambda self, rows: seen.append(len(rows)) or prepared(self, rows))
    model.predict_proba(np.zeros((1000, 16, 20, 3), dtype=np.uint8))
    assert max(seen) <= 64
    assert sum(seen) == 1000


def test_broken_files(painter: tuple[ccvae.CCVAE, Any], pictures: Path, tmp_path: Path) -> None:
    model, _ = painter
    (tmp_path / "a.png").write_bytes((pictures / "03.png").read_bytes())
    (tmp_path / "b.png").write_bytes((pictures / "04.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"unreadable images: .*b\.png: .*truncated"):
        model.predict_proba(tmp_path)
    opened = model.opened(tmp_path, skip_broken=True)
    assert model.predict_proba(opened).index.tolist() == [str(tmp_path / "a.png")]
    assert len(opened.broken) == 1
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        model.predict_proba("photo.png")
    with pytest.raises(ValueError, match="the model takes images, found a table"):
        model.predict_proba(ROWS)


def test_paths_and_images_however_they_are_kept(painter: tuple[ccvae.CCVAE, Any], pictures: Path) -> None:
    model, data = painter
    expected = model.predict_proba(data.tensor()).to_numpy()
    files = [str(pictures / name) for name in data.ids]
    names = [f"p{number}" for number in range(len(files))]

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return ((row, 0) for row in data.tensor())

    for given, ids in (
        ((file for file in files), files),
        (map(Path, files), files),
        (iter(files), files),
        (set(files), files),
        (np.array(files), files),
        (np.array(files, dtype=object), files),
        (pd.Index(files), files),
        (pd.Series(files, index=names), names),
        (dict(zip(names, files, strict=True)), names),
        ([Path(file).read_bytes() for file in files], None),
        ((pixels_of_file(file) for file in files), None),
        ({name: pixels_of_file(file) for name, file in zip(names, files, strict=True)}, names),
        ([{"image": pixels_of_file(file), "y": 0} for file in files], None),
        ([(pixels_of_file(file), 0) for file in files], None),
        (Stream(), None),
        (DataLoader(Stream(), batch_size=5), None),
        (DataLoader([{"image": row, "y": 0} for row in data.tensor()], batch_size=5), None),
        (data.inputs.astype(int), None),
    ):
        found = model.predict_proba(given)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert ids is None or found.index.tolist() == ids
    with Path(files[0]).open("rb") as file:
        np.testing.assert_allclose(model.predict_proba(file), expected[[0]], atol=1e-6)


def pixels_of_file(file: str) -> Image.Image:
    """An image that is in memory."""
    with Image.open(file) as image:
        image.load()
        return image.copy()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((2, 3, 16, 20), 300), "whole numbers of images must lie in 0 to 255, found 300 to 300"),
        (np.full((2, 3, 16, 20), 60_000, dtype=np.uint16), "found 60000 to 60000; give images of 16 bits as files or PIL"),
        (np.full((2, 3, 16, 20), 200.0), r"must lie in \[0, 1\], or be whole numbers from 0 to 255"),
        (
            np.zeros((2, 99, 70, 3)),
            "images of other sizes and colors are framed as in training if you give files or PIL images",
        ),
        ([{"image": None}], "item 0: expected an image, a path, or an array of numbers, found NoneType"),
        (iter([]), "there are none"),
        (b"no image", "item 0: not an image"),
    ],
)
def test_images_that_cannot_be_read(painter: tuple[ccvae.CCVAE, Any], given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        painter[0].predict_proba(given)


def test_rows_of_a_table_in_other_forms(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    model, _, _ = trained
    expected = model.predict_proba(ROWS).to_numpy()
    np.testing.assert_allclose(model.predict_proba(ROWS.to_dict("records")), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(ROWS.to_dict("list")), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(ROWS.astype(str)), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(ROWS.astype({"color": "category", "x": "Int64"})), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"not files; give a table, such as pandas\.read_csv"):
        model.predict_proba("new.csv")


def test_conditions_belong_to_rows_by_name(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    model, _, _ = trained
    rows = ROWS.iloc[:2].set_axis(["p", "q"])
    expected = model.intervene(rows, pd.DataFrame({"y": ["a", "b"]}))
    turned = pd.DataFrame({"y": ["b", "a"]}, index=["q", "p"])
    pd.testing.assert_frame_equal(model.intervene(rows, turned), expected)
    with pytest.raises(ValueError, match="the index of the conditions has other names than the inputs: q; r"):
        model.intervene(rows, turned.set_axis(["q", "r"]))
    pd.testing.assert_frame_equal(model.intervene(rows, pd.Series({"y": "a"})), model.intervene(rows, {"y": "a"}))
    pd.testing.assert_frame_equal(model.intervene(rows, pd.Series(["a", "b"], name="y")), expected)
    with pytest.raises(ValueError, match="label 'y' has several values; for conditions row by row, give a pandas DataFrame"):
        model.intervene(rows, {"y": ["a", "b"]})
    with pytest.raises(ValueError, match="count: give the number of rows, or a DataFrame of conditions"):
        model.generate(given={"y": "a"})


def test_batches_of_data_sets_and_small_unsigned_numbers(painter: tuple[ccvae.CCVAE, Any]) -> None:
    model, data = painter
    images = data.tensor(slice(0, 3))
    expected = model.predict_proba(images)
    for given in (
        {"image": images, "label": [0, 1, 0]},
        {"label": [0, 1, 0], "pixel_values": images.numpy()},
        {"image": list(images)},
        (images * 255).round().numpy().astype(np.uint16),
    ):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)


def test_files_that_are_no_images_are_named_with_the_way_out(painter: tuple[ccvae.CCVAE, Any], tmp_path: Path) -> None:
    model, _ = painter
    for name, message in (("a.heic", "convert photos of phones"), ("a.zip", "unpack archives"), ("a.png", "the file is empty")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            model.predict_proba(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="download it first"):
        model.predict_proba("https://example.org/a.png")


def test_an_image_turned_by_hand_keeps_its_exif_and_is_turned_again(painter: tuple[ccvae.CCVAE, Any], tmp_path: Path) -> None:
    """As the page about data says: nothing shows that the pixels were turned already; without the note they stay."""
    model, _ = painter
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(12, 40)).save(tmp_path / "photo.png", exif=exif)
    with Image.open(tmp_path / "photo.png") as photo:
        by_hand = photo.transpose(Image.Transpose.ROTATE_270)
        resized = photo.resize(photo.size)
    expected = model.inputs(tmp_path / "photo.png").numpy()
    np.testing.assert_array_equal(model.inputs(resized).numpy(), expected)
    assert (model.inputs(by_hand).numpy() != expected).any()
    for name in ("exif", "XML:com.adobe.xmp", "xmp"):
        by_hand.info.pop(name, None)
    np.testing.assert_array_equal(model.inputs(Image.fromarray(np.asarray(by_hand))).numpy(), expected)


def test_conditions_with_repeated_columns_are_refused(trained: tuple[ccvae.CCVAE, Any, Path]) -> None:
    with pytest.raises(ValueError, match="changes: columns of conditions must differ; repeated: 'y'"):
        trained[0].intervene(ROWS.iloc[:2], pd.DataFrame([["a", "b"], ["b", "a"]], columns=["y", "y"]))
