"""Images that a model made, as notebooks show them."""

import copy
import pickle
from pathlib import Path

import pytest
import torch

import ccvae
from ccvae.data import arrays
from ccvae.labels import Binary, LabelSpace
from ccvae.model.images import Images


@pytest.fixture(scope="module")
def model() -> ccvae.CCVAE:
    return ccvae.CCVAE(
        LabelSpace((Binary("a"), Binary("b"))), (3, 16, 16), ccvae.ModelConfig(network="mlp", width=2, latent_dim=6)
    )


def test_generated_images_are_shown_as_pictures(model: ccvae.CCVAE) -> None:
    made = model.generate(5, {"a": 1})
    assert isinstance(made, Images)
    assert made._repr_html_().count("<img") == 5
    walked = model.traverse(made[:2], "a", steps=3)
    assert walked._repr_html_().count("<img") == 6
    assert walked._repr_html_().count("display: flex") == 2
    assert "and 4 more images" in model.generate(100)._repr_html_()
    for shown in (model.reconstruct(made), model.intervene(made, {"b": 1}), model.transfer(made[:1], made, "a")):
        assert shown._repr_html_().count("<img") == 5
    assert model.counterfactual(made, "a").images._repr_html_().count("<img") == 5


def test_what_is_computed_from_images_is_an_ordinary_tensor(model: ccvae.CCVAE, tmp_path: Path) -> None:
    made = model.generate(3)
    for computed in (
        made + 1,
        made[:1],
        made.mean(),
        torch.stack([made, made]),
        made.cpu().double(),
        made.clone(),
        made.detach(),
    ):
        assert type(computed) is torch.Tensor
    torch.testing.assert_close(copy.deepcopy(made).plain(), made.plain())
    assert type(pickle.loads(pickle.dumps(made))) is torch.Tensor
    torch.save(made, tmp_path / "made.pt")
    assert torch.equal(torch.load(tmp_path / "made.pt"), made.plain())
    assert "tensor" in repr(made).lower() or "Images" in repr(made)


def test_vectors_stay_tensors() -> None:
    data = arrays(torch.randn(20, 4), [0, 1] * 10)
    model = ccvae.CCVAE.for_data(data, width=2, latent_dim=4)
    assert not isinstance(model.generate(2), Images)
