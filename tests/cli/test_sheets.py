"""Sheets of pictures that commands write: what they say, and how many images a row has."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from ccvae.cli.main import main
from ccvae.cli.sheets import ends_of, folded, row_of, shown_ids, texts_of_rows, values_text
from ccvae.drawing.image_grid import captioned, grid
from ccvae.labels import Binary, Categorical, Continuous


def test_long_rows_are_folded_with_their_texts() -> None:
    images = torch.rand(20, 3, 4, 4)
    rows = folded([row_of(images, "original", above=[str(n) for n in range(20)]), row_of(images, "changed", below=["x"] * 10)])
    assert [len(row.images) for row in rows] == [8, 8, 8, 8, 4, 4]
    assert [row.above[0] for row in rows[::2]] == ["0", "8", "16"]
    assert [len(row.below) for row in rows[1::2]] == [8, 2, 0]
    assert [row.apart for row in rows] == [True, False] * 3
    assert grid(rows).width < 2000
    with pytest.raises(ValueError, match="only models of images make pictures"):
        row_of(torch.rand(3, 7))


def test_what_sheets_say() -> None:
    assert values_text({"Smiling": 1.0, "Hat": None, "age": "30"}) == "Smiling=1, age=30"
    assert texts_of_rows(pd.DataFrame({"a": [1, None], "b": ["x", ""]}), "none") == ["a=1, b=x", "none"]
    assert texts_of_rows({"a": 1}, "none") == []
    assert shown_ids(["/tmp/some where/a.png", "b"]) == ["a.png", "b"]
    assert ends_of(Binary("Smiling", ("no", "yes"))) == ("Smiling=no", "Smiling=yes")
    assert ends_of(Categorical("hat", ("none", "cap", "fez"))) == ("hat=none", "hat=fez")
    assert ends_of(Continuous("age", 40.123456, 10)) == ("age=20.12", "age=60.12")


def test_no_text_of_a_small_sheet_is_cut_off() -> None:
    caption = "Generated with Eyeglasses=1, Smiling=0, Wearing_Hat=1, Formal_Clothes=1, Mouth_Open=1, Angry_Brows=0; seed 0."
    small = grid([row_of(torch.rand(1, 3, 8, 8), below=["Smiling=1, Wearing_Hat=0, Eyeglasses=1"])])
    texts: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ccvae.drawing.image_grid.write", lambda draw, place, lines, *rest: texts.extend(lines))
        captioned(small, caption)
        grid([row_of(torch.rand(1, 3, 8, 8), below=["Smiling=1, Wearing_Hat=0, Eyeglasses=1"])])
    assert not any("…" in text for text in texts)
    assert "".join(texts).replace(" ", "").startswith(caption.replace(" ", ""))


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.PDF", "sheet.webp"])
def test_other_files_than_png_are_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(tmp_path), "--out", str(tmp_path / name)]) == 2
    assert "out: expected a .png file for one sheet, or a folder" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
