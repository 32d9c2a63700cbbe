"""The drawn faces are what their recipes, labels and variants say."""

import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ccvae.data
from ccvae.data import avatars
from ccvae.data.readers.avatars import AvatarTruth
from ccvae.data.synthetic_faces import drawing as avatar_drawing
from ccvae.data.synthetic_faces.recipes import Recipe, sample_recipe
from ccvae.data.synthetic_faces.styles import STYLES
from ccvae.distributed import worker_processes

BOTH_STYLES = pytest.mark.parametrize("style", list(STYLES))
ROWS = st.integers(0, 5_000)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def root(cached: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(cached))
    return cached


def faces(style: str = "avataaars", count: int = 60, **options):
    data = avatars(count, style=style, processes=1, **options)
    assert isinstance(data.truth, AvatarTruth)
    return data, data.truth


def recipe_of(row: int, style: str = "avataaars") -> Recipe:
    return sample_recipe(STYLES[style], 0, row)


def picture(recipe: Recipe, size: int = 32) -> np.ndarray:
    return avatar_drawing.draw(recipe, size)


def found(style: str, condition) -> Recipe:
    return next(recipe for recipe in (recipe_of(row, style) for row in range(10_000)) if condition(recipe))


# ------------------------------------------------------------------------------------------------------- the data set


@BOTH_STYLES
def test_the_data_set_has_all_its_parts(style: str) -> None:
    data, truth = faces(style)
    names = list(STYLES[style].labels)
    assert data.inputs.shape == (60, 32, 32, 3)
    assert data.inputs.dtype == np.uint8
    assert not data.inputs.flags.writeable
    assert [label.name for label in data.space] == names
    assert data.labels.shape == truth.variants.shape == (60, len(names))
    assert truth.variants.dtype == np.int8
    assert data.ids[12] == "avatar-00012"
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 45, "validation": 3, "test": 12}
    seen = data.labels[data.splits["train"]]
    assert [label.prior for label in data.space] == pytest.approx(((seen.sum(0) + 1) / (len(seen) + 2)).tolist())
    assert len(np.unique(data.inputs.reshape(60, -1), axis=0)) == 60


def test_a_recipe_draws_exactly_the_stored_pixels() -> None:
    for style, size in (("avataaars", 32), ("avataaars", 100), ("pixel-art", 32)):
        data, truth = faces(style, count=30, size=size)
        for row, recipe in enumerate(truth.recipes):
            np.testing.assert_array_equal(truth.render(recipe), data.inputs[row])


@BOTH_STYLES
def test_labels_variants_and_recipes_agree(style: str) -> None:
    data, truth = faces(style)
    for row, recipe in enumerate(truth.recipes):
        assert data.labels[row].tolist() == list(recipe.labels.values())
        for column, (label, names) in enumerate(truth.variant_names.items()):
            variant = truth.variants[row, column]
            assert (variant == -1) == (data.labels[row, column] == 0)
            if variant >= 0:
                assert names[variant] == recipe.variants[label]


@BOTH_STYLES
@settings(max_examples=30, deadline=None)
@given(row=ROWS)
def test_dicebear_draws_what_the_labels_say(style: str, row: int) -> None:
    recipe = recipe_of(row, style)
    svg = avatar_drawing.svg_by_dicebear(recipe)
    for label, value in recipe.labels.items():
        part = STYLES[style].part(label)
        if part.option.endswith("Color"):
            drawn = [colour for colour in part.variants(label) if f'"{colour}"' in svg]
            assert part.option == "hairColor" or recipe.variants.get(label) in [*drawn, None]  # bald heads show no hair
        else:
            component = part.option.removesuffix("Variant")
            drawn = [variant for variant in part.variants(label) if f'id="{component}-{variant}-' in svg]
            assert drawn == ([recipe.variants[label]] if value else [])


def test_the_first_faces_do_not_depend_on_the_count_but_on_the_seed() -> None:
    few, many, other = (faces(count=count, seed=seed)[0] for count, seed in ((30, 0), (60, 0), (60, 1)))
    np.testing.assert_array_equal(few.inputs, many.inputs[:30])
    np.testing.assert_array_equal(few.labels, many.labels[:30])
    assert (many.inputs != other.inputs).any(axis=(1, 2, 3)).all()


def test_processes_of_an_unguarded_script_draw_the_same_faces(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nprint('once', flush=True)\ntorch.ones(300, 300) @ torch.ones(300, 300)\n"
        "import ccvae.data\nccvae.data.avatars(61, seed=3, processes=2)\n"
    )
    environment = {"CCVAE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "once\n", "")
    data, truth = faces(count=61, seed=3)
    (folder,) = (tmp_path / "cache").glob("avatars-*")
    for name, array in (("images", data.inputs), ("labels", data.labels), ("variants", truth.variants)):
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), array)


def test_a_process_that_fails_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path))
    monkeypatch.setattr(worker_processes, "WORKER", "import sys; sys.exit('the disk is full')")
    with pytest.raises(RuntimeError, match=r"a process that draws faces failed .*processes=1.*the disk is full"):
        avatars(20, processes=2)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]


def test_other_versions_do_not_share_a_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces(count=61)
    faces(count=61)
    assert len(list(root.glob("avatars-avataaars-32px-seed0-61-*"))) == 1
    monkeypatch.setattr(sys.modules["ccvae.data.readers.avatars"], "version", lambda package: "0")
    faces(count=61)
    assert len(list(root.glob("avatars-avataaars-32px-seed0-61-*"))) == 2


def test_labels_can_be_kept_for_a_few_only() -> None:
    data, truth = faces(count=200, labelled=60)
    train = data.labels[data.splits["train"]]
    assert (~np.isnan(train)).all(axis=1).sum() == 60
    assert np.isnan(train).all(axis=1).sum() == len(train) - 60
    assert not np.isnan(data.labels[data.splits["test"]]).any()
    assert (truth.variants >= 0).any(axis=1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "cubist"}, r"style: no 'cubist'; there are avataaars, pixel-art"),
        ({"count": 9}, r"count: expected a whole number of at least 10, found 9"),
        ({"count": 100.0}, r"count: expected a whole number"),
        ({"size": 15}, r"size: expected a whole number from 16 to 256, found 15"),
        ({"size": 257}, r"size: .*found 257"),
        ({"seed": -1}, r"seed: .*at least 0, found -1"),
        ({"processes": 0}, r"processes: .*at least 1, found 0"),
        ({"validation": 30, "test": 30}, r"leave none to train on"),
        ({"count": 10}, r"7 training faces of 10: label 'Facial_Hair' is constant: .*are 0; ask for more faces"),
        ({"labelled": 1}, r"with 1 labelled rows"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        avatars(**{"count": 60, "processes": 1, **options})


def test_importing_the_data_readers_imports_no_drawing() -> None:
    code = "import sys, ccvae.data; print([m for m in ('dicebear', 'dicebear_styles', 'pillow_lunasvg') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert callable(ccvae.data.avatars)


# -------------------------------------------------------------------------------------------------------- the sampling


@BOTH_STYLES
def test_labels_have_their_probabilities_and_one_correlation(style: str) -> None:
    recipes = [recipe_of(row, style) for row in range(4_000)]
    labels = {name: np.array([recipe.labels[name] for recipe in recipes]) for name in STYLES[style].labels}

    def holds(values: np.ndarray, probability: float) -> bool:
        return abs(values.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / len(values))

    beard, long = labels["Facial_Hair"], labels["Long_Hair"] == 1
    assert holds(beard[long], 0.25)
    assert holds(beard[~long], 0.45)
    for name, chance in STYLES[style].labels.items():
        if name != "Facial_Hair":
            assert holds(labels[name], chance), name
    correlations = np.corrcoef(np.stack(list(labels.values())))
    column = list(labels)
    for first, name in enumerate(column):
        for second in range(first):
            if {name, column[second]} != {"Facial_Hair", "Long_Hair"}:
                assert abs(correlations[first, second]) < 4.5 / np.sqrt(len(recipes)), (name, column[second])


@BOTH_STYLES
def test_every_variant_is_as_likely_as_the_others_of_its_state(style: str) -> None:
    recipes = [recipe_of(row, style) for row in range(4_000)]
    for part in STYLES[style].parts:
        for state, choices in enumerate(part.choices):
            counts = Counter(recipe.choices[part.option][state] for recipe in recipes)
            assert set(counts) == set(choices or ("",))
            expected = 4_000 / max(len(choices), 1)
            assert all(abs(count - expected) <= 4.5 * np.sqrt(expected) for count in counts.values()), part.option


def test_the_variants_are_those_of_the_card() -> None:
    names = STYLES["avataaars"].variant_names
    assert names["Eyeglasses"] == ("prescription01", "prescription02", "round", "kurt", "sunglasses", "wayfarers")
    assert set(names["Long_Hair"]) & set(names["Wavy_Hair"]) == {"bigHair", "curly", "curvy", "dreads", "fro"}
    assert set(names["Smiling"]) & set(names["Mouth_Open"]) == {"smile", "default", "tongue"}
    assert {label: len(variants) for label, variants in names.items()} == {
        **{"Eyeglasses": 6, "Facial_Hair": 5, "Wearing_Hat": 6, "Long_Hair": 11, "Wavy_Hair": 10, "Light_Hair": 4},
        **{"Pale_Skin": 3, "Smiling": 6, "Mouth_Open": 7, "Eyes_Closed": 2, "Angry_Brows": 2, "Formal_Clothes": 3},
        **{"Bright_Clothes": 6, "Earrings": 3, "Cheeks": 3, "Neckwear": 4},
    }


@settings(max_examples=30, deadline=None)
@given(row=ROWS)
def test_recipes_are_json(row: int) -> None:
    recipe = recipe_of(row)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json())["labels"] == asdict(recipe)["labels"]


def test_recipes_are_a_sequence() -> None:
    _, truth = faces()
    assert len(truth.recipes) == 60
    assert truth.recipes[-1] == truth.recipes[np.int64(59)]
    assert truth.recipes[10:13] == [truth.recipes[row] for row in (10, 11, 12)]
    with pytest.raises(IndexError):
        truth.recipes[60]


# --------------------------------------------------------------------------------------------------------- the drawing


@BOTH_STYLES
def test_the_quick_way_draws_the_pixels_of_the_slow_one(style: str) -> None:
    assert avatar_drawing.canvas_in_layers(style) is not None
    shown = [recipe_of(row, style) for row in range(12)]
    labels_of = {part.option: part.labels for part in STYLES[style].parts}
    for part in STYLES[style].parts:  # and every variant and colour there is
        for state, choices in enumerate(part.choices):
            for choice in choices:
                recipe = shown[len(shown) % 12]
                row = [choice if place == state else other for place, other in enumerate(recipe.choices[part.option])]
                labels = {label: state >> place & 1 for place, label in enumerate(reversed(part.labels))}
                labels |= dict.fromkeys(labels_of.get(part.owner, ()), 1)
                choices_of_all = {**recipe.choices, part.option: tuple(row)}
                shown.append(replace(recipe, labels={**recipe.labels, **labels}, choices=choices_of_all))
    assert {(option, choice) for recipe in shown for option, choice in recipe.parts.items()} == {
        (part.option, choice) for part in STYLES[style].parts for choices in part.choices for choice in choices
    }
    for recipe in shown:
        slow = avatar_drawing.rasterised(avatar_drawing.svg_by_dicebear(recipe), 48)
        np.testing.assert_array_equal(picture(recipe, 48), slow)


def test_a_form_of_svg_that_is_not_known_is_drawn_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(4)
    expected = picture(recipe)
    monkeypatch.setattr(avatar_drawing, "SVG_OF_DICEBEAR", re.compile("no such form"))
    avatar_drawing.canvas_in_layers.cache_clear()
    with pytest.warns(UserWarning, match="drawn slowly"):
        slow = picture(recipe)
    avatar_drawing.canvas_in_layers.cache_clear()
    np.testing.assert_array_equal(slow, expected)


@BOTH_STYLES
@pytest.mark.parametrize("size", [16, 32, 100])
def test_pictures_are_opaque_up_to_their_edges(style: str, size: int) -> None:
    from pillow_lunasvg import SvgImageFile

    for row in range(20):
        svg = avatar_drawing.svg_from_layers(recipe_of(row, style), avatar_drawing.canvas_in_layers(style))
        sized = svg.replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
        with SvgImageFile(io.BytesIO(sized.encode())) as drawn:
            assert np.asarray(drawn)[..., 3].min() == 255


def test_the_pose_moves_the_face() -> None:
    recipe = recipe_of(0)
    poses = {(recipe_of(row).rotation, *recipe_of(row).box) for row in range(20)}
    assert len(poses) == 20
    turned = replace(recipe, rotation=recipe.rotation + 3)
    assert (picture(turned) != picture(recipe)).mean() > 0.1


# --------------------------------------------------------------------------------------- truths of edits and transfers


@BOTH_STYLES
@settings(max_examples=60, deadline=None)
@given(row=ROWS, data=st.data())
def test_a_label_set_changes_nothing_but_its_part(style: str, row: int, data: st.DataObject) -> None:
    recipe = recipe_of(row, style)
    label = data.draw(st.sampled_from(list(recipe.labels)))
    changed = recipe.with_label(label, 1 - recipe.labels[label])
    assert changed.labels == {**recipe.labels, label: 1 - recipe.labels[label]}
    part = STYLES[style].part(label)
    touched = {part.option, *(other.option for other in STYLES[style].parts if other.owner == part.option)}
    assert {option for option in recipe.choices if recipe.parts.get(option) != changed.parts.get(option)} <= touched
    assert recipe.parts.get(part.option) != changed.parts.get(part.option)
    assert (changed.rotation, changed.box) == (recipe.rotation, recipe.box)
    assert changed.with_label(label, recipe.labels[label]) == recipe
    assert recipe.with_label(label, recipe.labels[label]) == recipe


@BOTH_STYLES
@settings(max_examples=60, deadline=None)
@given(row=ROWS, data=st.data())
def test_a_variant_can_be_named(style: str, row: int, data: st.DataObject) -> None:
    recipe = recipe_of(row, style)
    label = data.draw(st.sampled_from(list(recipe.labels)))
    part = STYLES[style].part(label)
    possible = part.choices[part.state({**recipe.labels, label: 1})]
    variant = data.draw(st.sampled_from(possible))
    changed = recipe.with_label(label, 1, variant)
    assert changed.variants[label] == variant
    assert changed.labels == {**recipe.labels, label: 1}
    others = {option: choice for option, choice in changed.parts.items() if option != part.option}
    assert others == {o: c for o, c in recipe.with_label(label, 1).parts.items() if o != part.option}


def test_glasses_change_the_eyes_and_nothing_below_the_neck() -> None:
    for row in range(20):
        recipe = recipe_of(row)
        off, on = (picture(recipe.with_label("Eyeglasses", value), 64).astype(int) for value in (0, 1))
        changed = np.abs(on - off).max(axis=(1, 2))
        assert changed[14:44].max() > 60
        assert changed[50:].max() == 0
        assert changed[:8].max() == 0


def test_every_label_shows() -> None:
    for style, rare in (("avataaars", {"Eyes_Closed", "Light_Hair", "Wavy_Hair"}), ("pixel-art", {"Light_Hair"})):
        for label in STYLES[style].labels:
            recipes = [recipe_of(row, style) for row in range(25)]
            seen = [(picture(r.with_label(label, 0)) != picture(r.with_label(label, 1))).any() for r in recipes]
            assert np.mean(seen) >= (0.75 if label in rare else 1), (style, label)


@pytest.mark.parametrize(("label", "other"), [("Long_Hair", "Wavy_Hair"), ("Smiling", "Mouth_Open")])
def test_labels_that_share_a_part_keep_each_other(label: str, other: str) -> None:
    for first, second in ((label, other), (other, label)):
        for value in (0, 1):
            recipe = found("avataaars", lambda r, f=first, s=second, v=value: r.labels[f] == 0 and r.labels[s] == v)
            changed = recipe.with_label(first, 1)
            names = STYLES["avataaars"].variant_names
            drawn = changed.parts[STYLES["avataaars"].part(first).option]
            assert drawn in names[first]
            assert (drawn in names[second]) == value


def test_glasses_of_another_face_come_with_their_colour() -> None:
    target = found("avataaars", lambda r: r.labels["Eyeglasses"] == 0)
    source = found("avataaars", lambda r: r.variants.get("Eyeglasses") == "round" and r.parts["accessoriesColor"] == "#ff488e")
    given_glasses = target.with_part_of(source, "Eyeglasses")
    assert given_glasses.parts == {**target.parts, "accessoriesVariant": "round", "accessoriesColor": "#ff488e"}
    assert given_glasses.labels == {**target.labels, "Eyeglasses": 1}
    assert given_glasses.box == target.box
    assert source.with_part_of(target, "Eyeglasses").parts == {
        option: choice for option, choice in source.parts.items() if not option.startswith("accessories")
    }


def test_hair_of_another_face_keeps_the_colour_and_whether_it_is_wavy() -> None:
    target = found(
        "avataaars", lambda r: not r.labels["Long_Hair"] and not r.labels["Wavy_Hair"] and not r.labels["Light_Hair"]
    )
    source = found("avataaars", lambda r: r.labels["Long_Hair"] and r.labels["Wavy_Hair"] and r.labels["Light_Hair"])
    longer = target.with_part_of(source, "Long_Hair")
    assert longer.labels == {**target.labels, "Long_Hair": 1}
    assert longer.parts["topVariant"] == source.with_label("Wavy_Hair", 0).parts["topVariant"]
    assert longer.parts["hairColor"] == target.parts["hairColor"]
    both = longer.with_part_of(source, "Wavy_Hair")
    assert both.parts == {**target.parts, "topVariant": source.parts["topVariant"]}
    assert target.with_part_of(source, "Light_Hair").parts == {**target.parts, "hairColor": source.parts["hairColor"]}


@BOTH_STYLES
@settings(max_examples=40, deadline=None)
@given(row=ROWS, other=ROWS)
def test_a_face_with_every_part_of_another_is_it_but_for_noise(style: str, row: int, other: int) -> None:
    target, source = recipe_of(row, style), recipe_of(other, style)
    changed = target
    for label in source.labels:
        assert target.with_part_of(target, label) == target
        changed = changed.with_part_of(source, label)
    assert changed.labels == source.labels
    assert changed.variants == source.variants
    owned = [part.option for part in STYLES[style].parts if part.labels or part.owner]
    assert {o: c for o, c in changed.parts.items() if o in owned} == {o: c for o, c in source.parts.items() if o in owned}
    noise = [part.option for part in STYLES[style].parts if not part.labels and not part.owner]
    assert {o: changed.parts[o] for o in noise} == {o: target.parts[o] for o in noise}
    assert (changed.rotation, changed.box) == (target.rotation, target.box)


def test_the_truth_draws_edits_and_transfers() -> None:
    _, truth = faces()
    target, source = truth.recipes[0], truth.recipes[1]
    edited = truth.with_label(target, "Eyeglasses", 1, "kurt")
    assert edited == target.with_label("Eyeglasses", 1, "kurt")
    np.testing.assert_array_equal(truth.render(edited), picture(edited))
    assert truth.with_part_of(target, source, "Neckwear") == target.with_part_of(source, "Neckwear")


def test_edits_that_cannot_be_are_refused() -> None:
    recipe = found("avataaars", lambda r: r.labels["Wavy_Hair"] == 1)
    with pytest.raises(ValueError, match=r"no label 'Bald'; the labels of avataaars are Eyeglasses"):
        recipe.with_label("Bald", 1)
    with pytest.raises(ValueError, match=r"'Smiling': value must be 0 or 1, not 0.5"):
        recipe.with_label("Smiling", 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'bob' cannot show Long_Hair=1, Wavy_Hair=1; those that can: bigHair, curly"):
        recipe.with_label("Long_Hair", 1, "bob")
    with pytest.raises(ValueError, match=r"'round' cannot show Eyeglasses=0; those that can: none"):
        recipe.with_label("Eyeglasses", 0, "round")
    with pytest.raises(ValueError, match=r"source is of style 'pixel-art', the face of 'avataaars'"):
        recipe.with_part_of(recipe_of(0, "pixel-art"), "Eyeglasses")


@BOTH_STYLES
def test_the_truth_knows_colours_that_show(style: str) -> None:
    data, truth = faces(style, 60)
    rows = np.arange(30)
    found = truth.colors(rows)
    assert set(found) == set(truth.color_names)
    for label, names in truth.color_names.items():
        for row, color in zip(rows.tolist(), found[label].tolist(), strict=True):
            recipe = truth.recipes[row]
            other = names[0] if color != 0 else names[1]
            if color >= 0:
                assert recipe.colors[label] == names[color]
                assert (truth.render(truth.with_color(recipe, label, other)) != data.inputs[row]).any()
            elif label in recipe.colors:  # drawn without this colour
                assert (truth.render(truth.with_color(recipe, label, other)) == data.inputs[row]).all()
            else:
                assert not data.labels[row, data.space.index(label)]
    with pytest.raises(ValueError, match=r"no color 'mauve' of its own; there are: "):
        truth.with_color(truth.recipes[0], next(iter(truth.color_names)), "mauve")
