"""Missing means missing: values that users name, and warnings about values that look like codes for missing."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ccvae
from ccvae.data import arrays, check, image_folder, table
from ccvae.data.missing_values import emptied
from ccvae.labels import Binary, Categorical, Continuous
from picture_files import FILES, PICTURES, folder_of_pictures


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return folder_of_pictures(tmp_path)


def test_minus_one_can_mean_unlabelled() -> None:
    labels = np.tile([-1, 0, 1], 30)
    assert arrays(PICTURES, labels).space["label"].values == (-1, 0, 1)  # type: ignore[union-attr]
    [warning] = arrays(PICTURES, labels).warnings
    assert "'-1' looks like a code for not observed" in warning
    assert "missing_values=[-1]" in warning
    data = arrays(PICTURES, labels, missing_values=-1)
    assert isinstance(data.space["label"], Binary)
    np.testing.assert_array_equal(data.labels[:, 0], np.where(labels < 0, np.nan, labels))
    assert not data.warnings
    assert "label 'label': 30 cells are taken as not observed (-1)" in data.notes


@pytest.mark.parametrize("given", ["Unknown", ["unknown"], {"y": ["Unknown"]}, {"y": "Unknown"}, ["Unknown", "-1"]])
def test_words_can_mean_missing(folder: Path, given: Any) -> None:
    cells = pd.DataFrame({"f": FILES, "y": ["Unknown", "a", "b"] * 30})
    assert any("'Unknown' looks like a code" in warning for warning in image_folder(folder, cells, size=16).warnings)
    data = image_folder(folder, cells, size=16, missing_values=given)
    assert data.space["y"].values == ("a", "b")  # type: ignore[union-attr]
    assert np.isnan(data.labels[::3]).all()
    assert not np.isnan(data.labels[1::3]).any()


def test_words_that_pandas_calls_missing_can_be_values(folder: Path) -> None:
    cells = pd.DataFrame({"f": FILES, "y": ["None", "Sun", "Reading"] * 30})
    data = image_folder(folder, cells, size=16)
    [warning] = data.warnings
    assert "30 say 'None'" in warning
    assert "missing_values={'y': []}" in warning
    assert warning in check(data).warnings
    kept = image_folder(folder, cells, size=16, missing_values={"y": []})
    assert kept.space["y"].values == ("None", "Reading", "Sun")  # type: ignore[union-attr]
    assert not np.isnan(kept.labels).any()
    assert not any("30 say" in warning for warning in kept.warnings)


def test_values_that_differ_by_case_only(folder: Path) -> None:
    data = image_folder(folder, pd.DataFrame({"f": FILES, "y": ["Male", "male", "F"] * 30}), size=16)
    [warning] = data.warnings
    assert "differ by case or blanks only: 'Male' and 'male'" in warning


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ([0, 1, -1], "'-1'"),
        ([1, 2, 3, 9], "'9'"),
        ([1, 2, 5, 99], "'99'"),
        (["a", "b", "?"], "'?'"),
        (["a", "b", "not labeled"], "'not labeled'"),
        (["a", "b", "N/K", "Unlabeled"], "'Unlabeled'"),
        ([31.5, 40.25, 28.5, 30.1, -999, -999], "-999 in"),
        ([0.5, 1.5, 2.5, -1, -1], "-1 in"),
        ([15.5, 20.25, 18.5, 999, 999], "999 in"),
        ([0, 1, 2], None),
        ([-1, 1], None),
        (list(range(10)), None),
        ([-2, -1, 0, 1, 2], None),
        ([7, 8, 9], None),
        ([-1.5, -1, -1, 0.5, 2.25], None),
        ([31.5, 40.25, 99, 99, 88.5], None),
        (["a", "b", "c"], None),
        (["black hair", "blackhair"], "case or blanks"),
        (["cat", "cat|dog", "dog"], "delimiter='|'"),
        (["cat", "cat+dog", "dog"], "delimiter='+'"),
        (["cat", "cat and dog", "dog"], "delimiter=' and '"),
        (["black cat", "cat", "dog"], None),
        ([-1, 0], "'-1'"),
        ([1, 99], "'99'"),
        ([0, 255], None),
        ([0, 1, 88, 99], "'88'; '99'"),
        ([0, 1, -100], "'-100'"),
        ([1, 2, 3, 7, 8, 9], None),
        (["a", "b", "<unknown>"], "'<unknown>'"),
        (["a", "b", "(missing)"], "'(missing)'"),
        (["a", "b", "not_labeled"], "'not_labeled'"),
        (["a", "b", "_"], "'_'"),
        (["+", "-"], None),
        (["a", "b", "#DIV/0!"], "'#DIV/0!'"),
        (["name", "value"], None),
        (["N", "Y", "U"], "'U'"),
        (["S", "T", "U"], None),
        ([1.5, 2.5, "inf"], "'inf'"),
        (["red, round", "red, square", "blue, round", "blue, square", "blue"], "delimiter=','"),
        (["ja", "nein", "k.A."], "'k.A.'"),
        (["oui", "non", "Inconnu"], "'Inconnu'"),
        (["sí", "no", "desconocido"], "'desconocido'"),
        (["oui", "non", "non renseigné"], "'non renseigné'"),
        (["positive", "negative", "indeterminate"], "'indeterminate'"),
        (["café", "cafe\u0301", "tea"], "'cafe\\u0301' and 'caf\\xe9'"),
        (["cat", "cat\u200b", "dog"], "'cat' and 'cat\\u200b'"),
        (["ka", "kb"], None),
        (["rosé", "rose"], None),
        (["Paris, France", "Rome, Italy"], None),
    ],
)
def test_values_that_look_like_codes(cells: list[Any], found: str | None) -> None:
    warnings = arrays(np.zeros((10 * len(cells), 2), dtype=np.float32), {"y": cells * 10}).warnings
    assert bool(warnings) == (found is not None), warnings
    assert found is None or found in warnings[0]


def test_by_label_and_in_tables() -> None:
    rows = pd.DataFrame({"x": np.arange(60.0), "sick": [0, 1, 9] * 20, "age": [30, 45.5, -999] * 20})
    data = table(rows, ["sick", "age"], missing_values={"sick": 9, "age": [-999]})
    assert isinstance(data.space["sick"], Binary)
    assert isinstance(data.space["age"], Continuous)
    assert data.space["age"].mean == pytest.approx(37.75, abs=3)
    with pytest.raises(ValueError, match="missing_values names no column 'sex'; its columns are x, sick, age"):
        table(rows, ["sick", "age"], missing_values={"sex": [9]})
    assert any("no cell holds 77" in note for note in table(rows, ["sick"], missing_values=[77, 9]).notes)
    with pytest.raises(ValueError, match=r"names no column 'Sick' \(did you mean 'sick'\?\)"):
        table(rows, ["sick"], missing_values={"Sick": 9})


@pytest.mark.parametrize(
    "given", [-1, "-1", -1.0, [-1], (-1,), {-1}, np.int64(-1), np.array([-1]), pd.Series([-1]), [None, -1], {"label": {-1}}]
)
def test_codes_are_given_in_many_ways(given: Any) -> None:
    data = arrays(PICTURES, np.tile([-1, 0, 1], 30), missing_values=given)
    assert isinstance(data.space["label"], Binary)
    assert data.notes == ("label 'label': 30 cells are taken as not observed (-1)",)


def test_codes_among_inputs() -> None:
    rows = pd.DataFrame({"age": [30.0, 45.5, -999] * 20, "visits": [0, 3, 9] * 20, "sick": [0, 1] * 30})
    [warning] = table(rows, ["sick"]).warnings
    assert "input 'age': -999 in 20 cells looks like a code for a missing input" in warning


def test_codes_among_inputs_are_named_by_column_or_for_all() -> None:
    rows = pd.DataFrame(
        {"age": [30, 45.5, -999] * 20, "job": ["a", "b", "?"] * 20, "visits": [-1, 1, 3] * 20, "sick": [0, 1, -1] * 20}
    )
    [*warnings] = table(rows, ["sick"], missing_values={"sick": -1}).warnings
    assert "input 'age': -999 in 20 cells looks like" in warnings[0]
    assert "pass missing_values={'age': [-999]}" in warnings[0]
    assert "input 'job': '?' looks like a code" in warnings[1]
    with pytest.raises(ValueError, match="inputs are missing: age in row 2"):
        table(rows, ["sick"], missing_values={"sick": -1, "age": -999})
    for given in ({"sick": -1, "age": -999, "job": ["?"]}, [-1, -999, "?"]):
        data = table(rows, ["sick"], missing_values=given, missing="mean")
        assert all("'visits'" in warning for warning in data.warnings)
        assert "40 missing inputs, given their column's mean" in data.notes
        assert data.columns is not None
        new = data.columns.encode(pd.DataFrame({"age": ["-999"], "job": ["?"], "visits": [-1]}))
        np.testing.assert_array_equal(new[0, :3], [0, *data.columns.columns[1].shares])  # type: ignore[union-attr]
    assert any("'visits': -1 lies among its other numbers" in note for note in data.notes)
    with pytest.raises(ValueError, match=r"'age'.* which is neither a label nor an input"):
        table(rows, ["sick"], exclude=["age"], missing_values={"age": [-999]})


def test_a_word_among_inputs_is_a_value_where_the_user_says_so() -> None:
    rows = pd.DataFrame({"alley": ["None", "gravel", "paved"] * 20, "sick": [0, 1] * 30})
    with pytest.raises(ValueError, match="read as missing: 'None' in 'alley'; if that is a value"):
        table(rows, ["sick"])
    [warning] = table(rows, ["sick"], missing="mean").warnings
    assert "input 'alley': cells that are words are read as missing (20 say 'None')" in warning
    assert table(rows, ["sick"], missing_values={"alley": []}).input_shape == (3,)


def test_many_inputs_with_codes_share_one_warning() -> None:
    rows = pd.DataFrame({f"x{number}": [30, 45.5, -999] * 20 for number in range(40)} | {"sick": [0, 1] * 30})
    [warning] = table(rows, ["sick"]).warnings
    assert warning.startswith("40 inputs have what looks like codes for missing: 'x0' (-999 in 20 cells)")


def test_numbers_beside_a_word_are_told_that_it_may_mean_missing() -> None:
    cells = ["?" if row % 9 == 0 else row * 1.37 for row in range(90)]
    with pytest.raises(ValueError, match=r"no numbers: '\?'; if it means not observed, pass missing_values=\['\?'\]"):
        arrays(PICTURES, {"age": cells})
    assert isinstance(arrays(PICTURES, {"age": cells}, missing_values="?").space["age"], Continuous)


def test_numbers_are_compared_as_numbers_and_words_without_case() -> None:
    content, _ = emptied(pd.DataFrame({"y": ["-1.0", "-1", -1, -1.0, "UNKNOWN", "1", True]}), [-1, "unknown"], "t")
    assert content["y"].isna().tolist() == [True] * 5 + [False] * 2


def test_training_says_what_looks_wrong(caplog: pytest.LogCaptureFixture) -> None:
    data = arrays(np.random.default_rng(0).normal(size=(60, 3)), np.tile([-1, 0, 1], 20))
    model = ccvae.CCVAE.for_data(data, width=1, latent_dim=4)
    with caplog.at_level(logging.WARNING, "ccvae.data"):
        ccvae.fit(model, data, epochs=1, batch_size=20, progress=False, accelerator="cpu")
    assert "looks like a code for not observed" in caplog.text


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ccvae.cli.main import main

    labels = pd.DataFrame({"f": FILES, "y": [-1, 0, 1] * 30, "z": ["Unknown", "a", "b"] * 30})
    labels.to_csv(folder.parent / "l.csv", index=False)
    words = ["data", "check", str(folder), "--data.csv", str(folder.parent / "l.csv"), "--data.size", "16"]
    assert main(words) == 0
    assert "looks like a code" in capsys.readouterr().out
    assert main([*words, "--data.missing_values=-1,Unknown"]) == 0
    said = capsys.readouterr().out
    assert "looks like a code" not in said
    assert "y      binary" in said
    assert main([*words, "--data.missing_values=-1", "--data.labels=y"]) == 0
    assert "binary" in capsys.readouterr().out
    assert main([*words, "--data.missing_values", '{"y": [-1]}']) == 0
    assert "'Unknown' looks like a code" in capsys.readouterr().out


def test_kinds_of_labels_stay() -> None:
    labels = {"a": ["x", "y", "?"] * 30}
    assert isinstance(arrays(PICTURES, labels, missing_values="?").space["a"], Categorical)
