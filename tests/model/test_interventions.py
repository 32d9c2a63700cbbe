"""Interventions on a model trained on pictures of squares, where what should change is known."""

import copy

import numpy as np
import pytest
import torch

from ccvae.labels import Continuous


@pytest.fixture(scope="module")
def model(trained):
    return trained[0]


@pytest.fixture(scope="module")
def images(data):
    return data.tensor("test")


def brightness(images):
    """Brightest grey level of each picture."""
    return images.mean(1).flatten(1).max(1).values


def corner(images):
    """Which of the three corners is brightest: left, right or low."""
    grey = images.mean(1)
    places = [grey[:, :8, :8], grey[:, :8, 8:], grey[:, 8:, :8]]
    return torch.stack([place.flatten(1).mean(1) for place in places], 1).argmax(1)


def test_model_learned(model, data):
    rows = data.splits["test"]
    predicted = model.space.encode(model.predict(data.tensor(rows)))
    for column, label in enumerate(model.space):
        seen = ~np.isnan(data.labels[rows, column])
        truth, ours = data.labels[rows, column][seen], predicted[seen, column]
        if isinstance(label, Continuous):
            assert np.corrcoef(truth, ours)[0, 1] > 0.8
        else:
            assert (truth == ours).mean() > 0.9


def test_reconstruct_resembles(model, images):
    error = (model.reconstruct(images) - images).abs().mean()
    assert error < 0.5 * (images - images.mean(0)).abs().mean()


def test_intervening_on_brightness_changes_brightness_and_not_the_place(model, images):
    bright, dark = model.intervene(images, {"bright": 1}), model.intervene(images, {"bright": 0})
    assert (brightness(bright) > brightness(dark) + 0.15).float().mean() > 0.9
    assert (corner(bright) == corner(images)).float().mean() > 0.85


@pytest.mark.parametrize(("value", "place"), [("left", 0), ("right", 1), ("low", 2)])
def test_intervening_on_a_category_moves_the_square(model, images, value, place):
    assert (corner(model.intervene(images, {"corner": value})) == place).float().mean() > 0.85


def test_intervening_changes_only_the_block(model, images):
    """Latents of other labels and the style stay exactly as they were."""
    from ccvae.model.interventions import with_labels

    z = model.encode(images).loc
    row = torch.tensor(model.space.encode_row({"corner": "low"})).expand(len(z), -1)
    changed = with_labels(model, z, row, 0.5, None)
    block = model.block_slices[1]
    outside = [d for d in range(z.shape[1]) if not block.start <= d < block.stop]
    assert torch.equal(changed[:, outside], z[:, outside])
    assert (changed[:, block] != z[:, block]).all()
    assert torch.allclose(model.decode(changed), model.intervene(images, {"corner": "low"}))


def test_strength_is_a_quantile_and_shows_more(model, images):
    weak, strong = (brightness(model.intervene(images, {"bright": 1}, strength=s)) for s in (0.05, 0.95))
    assert strong.mean() > weak.mean()
    for strength in (0, 1, 1.5):
        with pytest.raises(ValueError, match="quantile"):
            model.intervene(images, {"bright": 1}, strength=strength)


def test_drawn_characteristics_vary_and_follow_their_seed(model, images):
    one = images[:1].expand(4, -1, -1, -1)
    drawn = model.intervene(one, {"side": 5}, strength=None, seed=3)
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3
    again = model.intervene(one[:2], {"side": 5}, strength=None, seed=4)
    assert torch.allclose(drawn[1:3], again, atol=1e-5)


def test_a_sample_does_not_depend_on_how_many_are_drawn(model):
    many = model.generate(70, {"bright": 1}, seed=5)
    assert torch.allclose(many[:3], model.generate(3, {"bright": 1}, seed=5), atol=1e-5)
    assert torch.allclose(many[66:69], model.generate(3, {"bright": 1}, seed=71), atol=1e-5)
    assert not torch.allclose(many[0], many[1], atol=1e-2)


def test_generation_under_a_condition_obeys_it(model):
    assert (corner(model.generate(64, {"corner": "right"})) == 1).float().mean() > 0.85


def test_generated_brightness_obeys_its_condition(model):
    bright, dark = (brightness(model.generate(64, {"bright": value})).mean() for value in (1, 0))
    assert bright > dark + 0.2


def test_unconditional_generation_follows_the_prior(model):
    places = corner(model.generate(300))
    shares = torch.bincount(places, minlength=3) / 300
    assert torch.allclose(shares, torch.tensor(model.space["corner"].priors, dtype=torch.float32), atol=0.15)


def test_traverse_one_label(model, images):
    walked = model.traverse(images[:5], "bright", steps=7)
    assert walked.shape == (5, 7, *model.input_shape)
    levels = torch.stack([brightness(walked[:, step]) for step in range(7)], 1)
    assert (levels[:, -1] > levels[:, 0] + 0.15).all()
    assert (levels.diff(dim=1) > -0.05).all()


def test_traverse_two_labels_agrees_with_one(model, images):
    plane = model.traverse(images[:2], ["bright", "side"], steps=3)
    assert plane.shape == (2, 3, 3, *model.input_shape)
    between = {"side": (4, 7)}
    row = model.traverse(images[:2], "side", steps=3, between=between)
    assert row.shape == (2, 3, *model.input_shape)
    assert not torch.allclose(plane[:, 0], plane[:, -1], atol=1e-2)
    assert not torch.allclose(plane[:, :, 0], plane[:, :, -1], atol=1e-2)


def test_transfer_takes_the_block_over(model, images):
    moved = model.transfer(images[:1], images, ["corner"])
    assert (corner(moved) == corner(images[:1])).float().mean() > 0.85
    itself = model.transfer(images, images, model.space.names)
    assert torch.allclose(itself, model.reconstruct(images), atol=1e-5)


@pytest.mark.parametrize("label", ["bright", "corner"])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.99])
def test_counterfactual_says_otherwise_just_so(model, images, label, probability):
    found = model.counterfactual(images, label, probability=probability)
    for row, value in enumerate(found.values):
        column = f"{label}={value}"
        assert found.before[column][row] < 0.5 or found.before[column][row] >= probability - 1e-3
        assert found.after[column][row] == pytest.approx(max(probability, found.before[column][row]), abs=2e-3)
    assert (found.distance > 0).all()


def test_counterfactual_is_the_nearest(model, images):
    """No block of the same probability among many random ones is nearer."""
    from ccvae.model.counterfactuals import block_scale
    from ccvae.model.interventions import block_of

    found = model.counterfactual(images[:4], "corner", "low", probability=0.8)
    posterior = model.encode(images[:4])
    where = model.block_slices[1]
    scale = block_scale(model, 1, torch.full((4,), 2.0))
    block, position = block_of(model, 1)
    generator = torch.Generator().manual_seed(0)
    for row in range(4):
        if found.distance[row] == 0:
            continue
        direction = torch.randn(20_000, 2, generator=generator)
        radius = 0.95 * found.distance[row] * torch.rand(20_000, 1, generator=generator).sqrt()
        nearer = posterior.loc[row, where] + scale[row] * radius * direction / direction.norm(dim=1, keepdim=True)
        sigma = posterior.scale[row, where].expand_as(nearer)
        with torch.no_grad():
            reached = block.predict(nearer[:, None], sigma[:, None])[:, position, 2]
        assert reached.max() < 0.8


def test_counterfactual_of_a_number_moves_its_mean(model, images):
    found = model.counterfactual(images, "side", 6.5)
    assert np.allclose(found.after["side"], 6.5, atol=1e-2)


def test_images_already_so_are_left(model, images):
    before = model.predict_proba(images)["bright=1"]
    found = model.counterfactual(images, "bright", 1, probability=0.5)
    assert ((found.distance == 0) == (before >= 0.5)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m.intervene(x, {"smile": 1}), "no label 'smile'; the labels are bright, corner, side"),
        (lambda m, x: m.intervene(x, {"corner": "middle"}), "expected one of left, right, low"),
        (lambda m, x: m.intervene(x, {}), "at least one label"),
        (lambda m, x: m.intervene(x, {"bright": None}), "at least one label"),
        (lambda m, x: m.generate(0), "at least 1"),
        (lambda m, x: m.traverse(x, ["bright"] * 2), "two different ones"),
        (lambda m, x: m.traverse(x, "bright", steps=1), "at least 2"),
        (lambda m, x: m.transfer(x[:2], x, ["bright"]), "expected 1 or 40 images"),
        (lambda m, x: m.transfer(x, x, []), "at least one label"),
        (lambda m, x: m.counterfactual(x, "side"), "is continuous"),
        (lambda m, x: m.counterfactual(x, "bright", probability=1.0), "above 0 and below 1"),
        (lambda m, x: m.reconstruct(x[:, :, :8]), r"the model takes \(rows, 3, 16, 16\)"),
        (lambda m, x: m.reconstruct(x * 255), r"must lie in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_explained(model, images, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, images)


def test_double_precision_gives_the_same(model, images):
    double = copy.deepcopy(model).double()
    for made, again in (
        (model.generate(4, {"bright": 1}, seed=2), double.generate(4, {"bright": 1}, seed=2)),
        (model.intervene(images, {"bright": 1}, strength=None), double.intervene(images, {"bright": 1}, strength=None)),
    ):
        assert again.dtype == torch.float64
        assert (made - again).abs().max() < 1e-4
