"""Contrastive pretraining: the objective is SimCLR's, views are honest, and teachers start from what was learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from ccvae.config import TrainConfig
from ccvae.data import arrays
from ccvae.distributed.shard import Shard
from ccvae.model.ccvae import CCVAE
from ccvae.training import few_labels, teachers
from ccvae.training.contrastive import Contrast, pretrained_features, view
from ccvae.training.fit import fit, train
from ccvae.training.stage import Stage

QUICK = {
    "few_labels": True,
    "pretraining_steps": 4,
    "teachers": 1,
    "teacher_steps": 6,
    "teacher_width": 4,
    "students": 0,
    "epochs": 1,
    "batch_size": 40,
}
ALONE = Stage(None, None, progress=False)


class Flat(nn.Module):
    """An encoder whose means are the first pixels of an image."""

    def forward(self, x):
        means = x.flatten(1)[:, :5] - 0.5
        return torch.cat([means, torch.zeros_like(means)], 1)


def recipe(data):
    return few_labels.recipe_for(TrainConfig(**QUICK), data)


def test_the_objective_is_the_log_probability_of_the_partner(data, monkeypatch):
    """Against a loop over the views of a batch; an image is not compared with itself."""
    drawn = []
    monkeypatch.setattr("ccvae.training.contrastive.view", lambda x, *_: drawn.append(torch.rand_like(x)) or drawn[-1])
    torch.manual_seed(0)
    x = torch.rand(6, 1, 16, 16, dtype=torch.float64)
    model = CCVAE(data.space, (1, 16, 16), encoder=Flat(), decoder=nn.Identity())
    found = Contrast(flip=False, temperature=0.3)(model, x, torch.full((6, len(data.space)), torch.nan))
    means = torch.cat(drawn).flatten(1)[:, :5] - 0.5
    for row in range(6):
        expected = 0.0
        for one, other in ((row, row + 6), (row + 6, row)):
            cosines = torch.cosine_similarity(means[one], means, dim=1) / 0.3
            others = torch.cat([cosines[:one], cosines[one + 1 :]])
            expected += (cosines[other] - others.logsumexp(0)).item() / 2
        assert found.total[row].item() == pytest.approx(expected, rel=1e-9)
    assert found.weighted(kl_weight=3.0, classification_weight=2.0) is found.total


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 24)])
def test_views_are_crops_of_the_image(shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, *shape, generator=generator)
    first, second = (view(x, False, generator, Shard(64)) for _ in range(2))
    assert first.shape == x.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first != second).flatten(1).any(1).all()
    ramp = torch.linspace(0, 1, shape[2]).expand(64, *shape).contiguous()  # brighter to the right, also once it is recoloured
    for flip in (False, True):
        seen = view(ramp, flip, generator, Shard(64))
        rising = (seen[..., -4:].mean((1, 2, 3)) > seen[..., :4].mean((1, 2, 3))).float().mean().item()
        assert 0.3 < rising < 0.7 if flip else rising == 1
    step = (view(torch.where(ramp > 0.5, 0.6, 0.4), False, generator, Shard(64)) > 0.5).float().mean().item()
    assert 0.2 < step < 0.8


def test_shards_see_the_views_of_the_whole_batch():
    x = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = view(x, True, torch.Generator().manual_seed(1), Shard(7))
    for rank in range(2):
        shard = Shard(7, rank, 2)
        own = view(x[shard.rows], True, torch.Generator().manual_seed(1), shard)
        assert torch.allclose(own, whole[shard.rows], atol=1e-6)


def glyphs(count, seed):
    """One of four bright shapes at a random place on a noisy ground."""
    rng = np.random.default_rng(seed)
    kinds, images = rng.integers(0, 4, count), rng.integers(0, 90, (count, 16, 16, 1)).astype(np.uint8)
    for row, kind in enumerate(kinds):
        top, left = rng.integers(1, 9, 2)
        patch = images[row, top : top + 6, left : left + 6, 0]
        inner = {0: np.s_[:, 2:4], 1: np.s_[2:4, :], 2: np.s_[1:5, 1:5], 3: np.s_[::5, :]}[int(kind)]
        patch[inner] = 255
    return images, kinds


def test_features_of_all_images_help_with_few_labels():
    images, kinds = glyphs(1300, 0)
    names = np.array(["bar", "dash", "box", "lines"])[kinds]
    gained = []
    for seed in (0, 1):
        data = arrays(images, {"kind": names}, validation=0, test=400).hide(24, seed)
        right = []
        for steps in (0, 150):
            settings = {"pretraining_steps": steps, "teacher_steps": 60, "teacher_width": 8, "teacher_dropout": 0.2}
            config = TrainConfig(few_labels=True, seed=seed, **settings)
            chosen = few_labels.recipe_for(config, data)
            features = pretrained_features(data, config, chosen, ALONE, train)
            model, _ = teachers.trained_teacher(data, config, chosen, ALONE, 1, train, features)
            right.append((model.predict(data.tensor("test"))["kind"].to_numpy() == names[data.splits["test"]]).mean())
        gained.append(right[1] - right[0])
    assert np.mean(gained) > 0.05


def test_teachers_start_from_the_features(data):
    chosen = recipe(data)
    features = pretrained_features(data, TrainConfig(), chosen, ALONE, train)
    first, second = (teachers.teacher(data, chosen, seed, features).encoder.means.state_dict() for seed in (1, 2))
    assert set(first) - set(features) == {name for name in first if not torch.equal(first[name], second[name])} != set()
    assert all(torch.equal(first[name], features[name]) for name in features)
    random = teachers.teacher(data, chosen, 1).encoder.means.state_dict()
    assert not all(torch.equal(random[name], features[name]) for name in features)


@pytest.mark.parametrize(
    ("labelled", "settings", "expected"),
    [
        (20, {}, (1200, 250)),
        (150, {}, (1200, 900)),
        (151, {}, (0, 2000)),
        (20, {"pretraining_steps": 70}, (70, 250)),
        (400, {"pretraining_steps": 70}, (70, 2000)),
        (400, {"pretraining_steps": 70, "teacher_steps": 9}, (70, 9)),
        (20, {"pretraining_steps": 0}, (0, 2000)),
    ],
)
def test_labelled_rows_choose_the_steps(labelled, settings, expected):
    data = arrays(np.zeros((3000, 16, 16, 1), np.uint8), {"on": [0, 1] * 1500}, validation=0, test=0).hide(labelled)
    found = few_labels.recipe_for(TrainConfig(**settings), data)
    assert (found.pretraining_steps, found.steps) == expected


def test_vectors_are_not_pretrained():
    data = arrays(np.zeros((900, 4), np.float32), {"on": [0, 1] * 450}, validation=0, test=0).hide(20)
    assert few_labels.recipe_for(TrainConfig(pretraining_steps=50), data).pretraining_steps == 0


def test_damaged_features_are_refused(data, tmp_path):
    hidden = data.hide(20)
    torch.manual_seed(0)
    fit(CCVAE.for_data(hidden, latent_dim=10, width=4), hidden, tmp_path / "run", progress=False, **QUICK)
    kept = tmp_path / "run" / "checkpoints" / "pretraining" / "features.safetensors"
    features = load_file(kept)
    name = "0.weight"
    (tmp_path / "run" / "checkpoints" / "teacher-1" / "predictions.safetensors").unlink()
    wrong = [
        b"nothing",
        kept.read_bytes()[:-9],
        to_bytes({"others": torch.zeros(3)}),
        to_bytes(features | {name: torch.full_like(features[name], torch.nan)}),
        to_bytes(features | {name: features[name][:1].clone()}),
    ]
    for content in wrong:
        kept.write_bytes(content)
        with pytest.raises(ValueError, match=r"features\.safetensors: .*delete it and resume"):
            fit(CCVAE.for_data(hidden, latent_dim=10, width=4), hidden, tmp_path / "run", resume=True, progress=False, **QUICK)


def test_labels_are_not_looked_at(data):
    hidden = data.hide(20)
    others = replace(hidden, labels=np.where(np.isnan(hidden.labels), np.nan, 0.0))
    chosen = recipe(hidden)
    first, second = (pretrained_features(each, TrainConfig(), chosen, ALONE, train) for each in (hidden, others))
    assert all(torch.equal(first[name], second[name]) for name in first)
