"""Augmentation: what is asked for and nothing else, and the same whatever the number of processes."""

import pytest
import torch

from ccvae.distributed.shard import Shard
from ccvae.training.augmentation import Augmentation


@pytest.fixture
def images():
    return torch.rand(64, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_about_half(images):
    changed = Augmentation(flip=True)(images, source())
    mirrored = [torch.equal(after, before.flip(2)) for before, after in zip(images, changed, strict=True)]
    same = [torch.equal(after, before) for before, after in zip(images, changed, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_shift_moves_by_whole_pixels_and_repeats_the_edge(images):
    changed = Augmentation(shift=2)(images, source())
    moves = set()
    for before, after in zip(images, changed, strict=True):
        padded = torch.nn.functional.pad(before[None], (2, 2, 2, 2), mode="replicate")[0]
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(after, padded[:, 2 - down : 10 - down, 2 - right : 14 - right])
        ]
        assert len(found) == 1
        moves |= {found[0]}
    assert len(moves) > 15


def test_color_changes_channels_within_range(images):
    changed = Augmentation(color=0.2)(images, source())
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert 0.01 < (changed - images).abs().mean() < 0.15
    gray = Augmentation(color=0.2)(images[:, :1], source())
    assert gray.shape == (64, 1, 8, 12)


def test_without_settings_nothing_changes_and_nothing_is_drawn(images):
    generator = source()
    before = generator.get_state()
    assert Augmentation()(images, generator) is images
    vectors = torch.rand(5, 7)
    assert Augmentation(flip=True, shift=2, color=0.5)(vectors, generator) is vectors
    assert torch.equal(generator.get_state(), before)


def test_processes_share_the_draws(images):
    augmentation = Augmentation(flip=True, shift=3, color=0.1)
    whole = augmentation(images, source())
    for rank in range(3):
        shard = Shard(len(images), rank, 3)
        torch.testing.assert_close(augmentation(images[shard.rows], source(), shard), whole[shard.rows])
