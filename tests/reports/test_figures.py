from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ccvae.data import arrays, avatars
from ccvae.drawing.image_grid import BLUE, GREY, ORANGE, to_pixels
from ccvae.labels import Binary, Categorical, Continuous
from ccvae.model.ccvae import CCVAE
from ccvae.model.interventions import generate, intervene, traverse
from ccvae.reports import image_figures
from ccvae.reports.figure_selection import select
from ccvae.reports.figures import ORDER, draw_all
from ccvae.reports.image_figures import another, attention, color_of, value_text
from conftest import squares

DRAWN = [name for name in ORDER if name != "attention"]
"""Figures of models without attention."""


@pytest.fixture
def rows(monkeypatch):
    """Rows of the figure that was drawn last."""
    seen = []

    def watching(given, **settings):
        seen[:] = given
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(image_figures, "grid", watching)
    return seen


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    data = avatars(60, size=16, test=0.5, processes=1)
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=40, width=8)
    return model, data, select(model, data)


def test_all_figures_of_a_run(trained, data, tmp_path):
    model, folder = trained
    metrics = pd.read_csv(folder / "metrics.csv")
    paths = draw_all(model, data, tmp_path, metrics)
    assert paths == [tmp_path / "figures" / f"{name}.png" for name in DRAWN]
    assert sorted((tmp_path / "figures").iterdir()) == sorted(paths), "and nothing unfinished beside them"
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            assert picture.info["Title"]
            assert picture.info["Description"].endswith(".")
            assert picture.width > 400
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw_all(model, data, tmp_path, metrics)] == first


def test_metrics_are_read_from_the_folder_and_old_figures_go(trained, data, tmp_path):
    model, folder = trained
    draw_all(model, data, folder)
    assert (folder / "figures" / "training.png").exists()
    (folder / "figures" / "own.png").touch()
    (folder / "metrics.csv").rename(tmp_path / "metrics.csv")
    try:
        assert len(draw_all(model, data, folder)) == len(DRAWN) - 1
    finally:
        (tmp_path / "metrics.csv").rename(folder / "metrics.csv")
    assert not (folder / "figures" / "training.png").exists()
    assert (folder / "figures" / "own.png").exists(), "only figures that this draws are removed"


def test_traversals_show_what_the_model_reads(trained, data, rows):
    model, _ = trained
    selection = select(model, data)
    image_figures.traversals(model, data, selection)
    _, bright, corner, side = rows
    assert (bright.name, bright.above[0], bright.above[-1]) == ("bright", "absent", "present")
    assert len(bright.images) == 9
    walk = traverse(model, data.tensor([selection.typical_row]), "bright", 9)[0]
    assert np.abs(np.stack(bright.images).astype(int) - to_pixels(walk)).max() <= 1
    np.testing.assert_allclose(bright.bars, model.predict_proba(walk)["bright=1"], atol=1e-5)
    assert np.sum(bright.images[0]) < np.sum(bright.images[-1]), "the square itself becomes brighter"
    assert corner.above == ("left", "right", "low")
    assert min(corner.bars) > 0.8
    read = [float(words.removeprefix("read ")) for words in side.below]
    assert read[0] < read[-1]


def test_interventions_set_what_they_name(trained, data, rows):
    model, _ = trained
    selection = select(model, data)
    image_figures.interventions(model, data, selection)
    shown = selection.rows[:8]
    original, reconstruction, bright, corner, _ = rows
    assert (np.stack(original.images) == data.inputs[shown]).all()
    assert np.abs(np.stack(reconstruction.images).astype(int) - data.inputs[shown]).mean() < 20
    for row, words, picture, other in zip(shown, bright.below, bright.images, corner.images, strict=True):
        known = data.labels[row, 0]
        value = int(words.removeprefix("→ "))
        assert np.isnan(known) or value == 1 - known
        expected = to_pixels(intervene(model, data.tensor([row]), {"bright": value}))[0]
        assert np.abs(picture.astype(int) - expected).max() <= 1
        assert (other != picture).any()
    assert set(bright.colors) == {BLUE, ORANGE}
    assert len(set(corner.below)) == 3, "classes are set in turn"


def test_samples_vary_under_their_condition(trained, data, rows):
    model, _ = trained
    image_figures.samples(model, select(model, data), seed=0)
    assert rows[0].name == "unconditional"
    names = [row.name for row in rows]
    assert {"bright=1", "corner=left", "corner=right", "corner=low"} <= set(names)
    assert sum(name.startswith("side=") for name in names) == 2
    drawn = np.stack(rows[names.index("corner=low")].images)
    assert len(drawn) >= 8
    assert (drawn == to_pixels(generate(model, len(drawn), {"corner": "low"}, seed=0))).all()
    read = model.predict(torch.tensor(drawn).permute(0, 3, 1, 2) / 255)["corner"]
    assert (read == "low").mean() >= 0.8
    assert (drawn[0] != drawn[1:]).any(axis=(1, 2, 3)).all()


def test_transfers_bring_the_donors_values(trained, data, rows):
    model, _ = trained
    image_figures.transfers(model, data, select(model, data))
    heads = [number for number, row in enumerate(rows) if row.name]
    [first] = [number for number in heads if rows[number].name == "corner"]
    sources_of, matrix = rows[first], rows[first + 1 :][: next((n - first - 1 for n in heads if n > first), None)]
    assert sources_of.images[0] is None
    values = [words for words in sources_of.below[1:] if words]
    assert values == ["left", "right", "low"]
    for row in matrix:
        moved = np.stack(row.images[1 : 1 + len(values)])
        read = model.predict(torch.tensor(moved).permute(0, 3, 1, 2) / 255)["corner"]
        assert read.tolist() == values


def test_the_truth_stands_beside_the_model(faces, rows):
    model, data, selection = faces
    truth = data.truth
    image_figures.interventions(model, data, selection)
    shown = selection.rows[:5]
    top, *below = rows
    assert top.above == ("model", "truth") * 5
    assert (np.stack(top.images[1::2]) == data.inputs[shown]).all()
    for row in below:
        column = data.space.index(row.name)
        for number, picture, words in zip(shown, row.images[1::2], row.below[::2], strict=True):
            recipe = truth.with_label(truth.recipes[number], row.name, int(1 - data.labels[number, column]))
            assert (picture == truth.render(recipe)).all()
            assert words == f"→ {int(1 - data.labels[number, column])}"
    assert any((picture != original).any() for picture, original in zip(below[0].images[1::2], data.inputs[shown], strict=True))

    image_figures.transfers(model, data, selection)
    name, head, first = rows[0].name, rows[0], rows[1]
    assert head.above[1] == "model"
    assert head.above[6] == "truth"
    originals = {data.inputs[row].tobytes(): row for row in data.splits["test"]}
    target = originals[first.images[0].tobytes()]
    for donor, picture in zip(head.images[6:], first.images[6:], strict=False):
        if donor is not None:
            source = originals[donor.tobytes()]
            expected = truth.render(truth.with_part_of(truth.recipes[target], truth.recipes[source], name))
            assert (picture == expected).all()


def test_grey_oblong_pictures_with_many_long_labels(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"finding {number} of the second reader, who was not asked" for number in range(30)]
    table = pd.DataFrame({name: rng.integers(0, 2, 40) for name in names})
    table[names[0]] = table[names[0]].map({0: "no", 1: "yes"})
    table = table.astype(object)
    table.iloc[:10, 3] = None
    data = arrays(rng.integers(0, 255, (40, 16, 24, 1), dtype=np.uint8), table, validation=0, test=0)
    torch.manual_seed(0)
    model = CCVAE.for_data(data, network="conv", latent_dim=64, width=4)
    paths = draw_all(model, data, tmp_path)
    assert [path.stem for path in paths] == DRAWN[:-1]
    with Image.open(tmp_path / "figures" / "traversals.png") as picture:
        assert "24 of 30 labels" in picture.info["Description"]
        assert "train split" in picture.info["Description"]


def test_attention_is_drawn_where_there_is_some(tmp_path):
    data = avatars(60, size=16, test=0.5, processes=1)
    torch.manual_seed(0)
    model = CCVAE.for_data(data, network="attentive", width=2)
    paths = draw_all(model, data, tmp_path)
    assert [path.stem for path in paths] == list(ORDER[:-1])
    figure = attention(model, data, select(model, data))
    with Image.open(tmp_path / "figures" / "attention.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(figure.image))
    # what a model without attention draws into the same folder does not leave it there
    draw_all(CCVAE.for_data(data, network="conv", width=2), data, tmp_path)
    assert not (tmp_path / "figures" / "attention.png").exists()


def test_one_label_has_no_plane(tmp_path):
    whole = squares(120, hidden=0)
    labels = whole.labels[:, :1]
    data = replace(whole, labels=labels, space=type(whole.space)(whole.space.labels[:1]))
    torch.manual_seed(0)
    stems = [path.stem for path in draw_all(CCVAE.for_data(data, latent_dim=4, width=4), data, tmp_path)]
    assert "plane" not in stems
    assert "transfer" in stems


def test_vectors_have_line_plots(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.integers(0, 2, 40), "b": list("xyzw") * 10, "c": rng.normal(2, 3, 40)})
    data = arrays(rng.normal(size=(40, 5)).astype(np.float32), table)
    torch.manual_seed(0)
    paths = draw_all(CCVAE.for_data(data, latent_dim=8), data, tmp_path, pd.DataFrame({"epoch": [1], "train/total": [-3.0]}))
    assert [path.stem for path in paths] == ["reconstructions", "traversals", "training"]


def test_data_must_be_the_models(trained, data, tmp_path):
    model, _ = trained
    with pytest.raises(ValueError, match="inputs of shape"):
        draw_all(model, squares(120, size=32), tmp_path)
    other = replace(data, space=type(data.space)((Binary("dark"), *data.space.labels[1:])))
    with pytest.raises(ValueError, match="'dark'"):
        draw_all(model, other, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_value():
    assert another(Binary("a", ("no", "yes")), 0, 0) == "yes"
    assert another(Binary("a"), 0.8, 0) == 0
    classes = Categorical("b", ("x", "y", "z"))
    assert [another(classes, 1, turn) for turn in range(3)] == ["x", "z", "x"]
    assert another(Continuous("c", 10.0, 2.0), 11.0, 0) == 6
    assert another(Continuous("c", 10.0, 2.0), 9.0, 0) == 14


def test_values_as_figures_show_them():
    assert [value_text(value) for value in (1, "cap", 0.12345, 1434.2, -250.4)] == ["1", "cap", "0.123", "1434", "-250"]
    assert [color_of(Binary("a"), value) for value in (0, 1)] == [ORANGE, BLUE]
    assert color_of(Categorical("b", ("x", "y")), "x") == GREY
    assert color_of(Continuous("c"), 0.3) == GREY
