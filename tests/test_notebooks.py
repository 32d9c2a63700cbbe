"""What notebooks show of objects in the last line of a cell."""

from dataclasses import replace

import numpy as np

import ccvae
from ccvae import CCVAE, Binary, Categorical, Continuous, LabelSpace
from ccvae.data import arrays, check
from conftest import squares


def test_data_sets_are_shown_with_images_and_labels():
    data = squares(120)
    shown = replace(data, name="<b>squares & co")._repr_html_()
    assert "&lt;b&gt;squares &amp; co" in shown
    assert shown.count("<img") == shown.count('width="64"') == 8, "images of 16 pixels are enlarged"
    for name in data.space.names:
        assert f"<td>{name}</td>" in shown
    assert "120 rows" in shown


def test_vectors_and_many_labels_are_shown_in_few_lines():
    space = LabelSpace(tuple(Binary(f"label {number}") for number in range(50)))
    data = replace(
        squares(120), inputs=np.zeros((120, 5), np.float32), labels=np.zeros((120, 50), np.float32), space=space, soft={}
    )
    shown = data._repr_html_()
    assert "<img" not in shown
    assert "and 10 more labels" in shown


def test_label_spaces_are_shown_as_tables():
    space = LabelSpace((Binary("<i>hat"), Categorical("kind", ("a", "b<", "c")), Continuous("age", 40, 12)))
    shown = space._repr_html_()
    assert "&lt;i&gt;hat" in shown
    assert "a; b&lt;; c" in shown
    assert "mean 40, scale 12" in shown


def test_a_model_is_shown_in_one_line():
    model = CCVAE.for_data(squares(120), latent_dim=12, width=4)
    assert repr(model).startswith("CCVAE(3 labels, inputs ")
    assert "12 latents" in repr(model)
    assert "\n" not in repr(model)


def test_checks_are_shown_with_what_to_look_at():
    data = arrays(np.random.default_rng(0).integers(0, 256, (90, 16, 16), dtype=np.uint8), {"<y>": [-1, 0, 1] * 30})
    for shown in (check(data)._repr_html_(), data._repr_html_()):
        assert "looks like a code for not observed" in shown
        assert "<y>" not in shown
        assert shown.count("<img") == 8
    assert "no problems found" in check(data)._repr_html_()


def test_training_says_nothing_of_other_products(caplog, capfd):
    data = arrays(np.random.default_rng(0).normal(size=(60, 3)), [0, 1] * 30)
    with caplog.at_level("INFO"):
        model = ccvae.fit(CCVAE.for_data(data, width=2, latent_dim=4), data, epochs=1, progress=False, accelerator="cpu")
    assert not caplog.text
    assert capfd.readouterr() == ("", "")
    assert repr(model).count("\n") == 0
