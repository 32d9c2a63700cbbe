"""Metrics of pictures, on models whose answers are known: one that paints the truth, and some that do not."""

import numpy as np
import pytest

from ccvae.data import avatars
from ccvae.evaluation.metrics.generation import conditional_generation
from ccvae.evaluation.metrics.ground_truth import interventions_against_truth, pooled, transfer_pairs, transfers_against_truth
from ccvae.evaluation.metrics.interventions import flip_matrix, label_dependence, set_matrix, traversal_matrix
from ccvae.evaluation.metrics.sample_quality import sample_quality
from ccvae.evaluation.metrics.transfers import transfers_by_variant
from ccvae.evaluation.samples import Sample, sample_of
from toy_pictures import (
    LABELS,
    VARIANTS,
    IgnoresLabels,
    PaintsTruth,
    ReadsPixels,
    RepaintsAll,
    as_pictures,
    read_recipe,
    toy_data,
)

ORACLE = ReadsPixels()


@pytest.fixture(scope="module")
def data():
    return toy_data()


@pytest.fixture(scope="module")
def sample(data):
    return sample_of(data, "test", 100)


def test_flips_that_paint_the_truth_succeed_without_side_effects(data, sample):
    results = flip_matrix(PaintsTruth(data), ORACLE, sample).results()
    assert results["mean"]["success"].value == 1
    assert results["mean"]["before"].value == 0
    assert results["mean"]["side_effect"].value == 0
    np.testing.assert_array_equal(results["matrix"], np.eye(3))


def test_flips_that_change_nothing_fail_without_side_effects(data, sample):
    results = flip_matrix(IgnoresLabels(data), ORACLE, sample).results()
    assert results["mean"]["success"].value == 0
    np.testing.assert_array_equal(results["matrix"], np.zeros((3, 3)))


def test_flips_that_repaint_all_succeed_with_every_side_effect(data, sample):
    results = flip_matrix(RepaintsAll(data), ORACLE, sample).results()
    assert results["mean"]["success"].value == 1
    assert results["mean"]["side_effect"].value == 1
    assert {label: numbers["side_effect"].value for label, numbers in results["labels"].items()} == dict.fromkeys(LABELS, 1)


def test_setting_a_label_that_holds_already_counts_as_before(data, sample):
    share = (sample.y == 1).mean(0)
    for model, success in ((PaintsTruth(data), np.ones(3)), (IgnoresLabels(data), share)):
        results = set_matrix(model, ORACLE, sample).results()
        assert [results["labels"][label]["success"].value for label in LABELS] == pytest.approx(success)
        assert [results["labels"][label]["before"].value for label in LABELS] == pytest.approx(share)


def test_traversals(data, sample):
    painted = traversal_matrix(PaintsTruth(data), ORACLE, sample.first(20))
    assert painted["mean"]["monotonicity"].value == 1
    assert painted["mean"]["reach"].value == 1
    np.testing.assert_array_equal(painted["matrix"], np.eye(3))
    still = traversal_matrix(IgnoresLabels(data), ORACLE, sample.first(20))
    assert still["mean"]["monotonicity"].value == 0, "a walk that goes nowhere is no monotone one"
    assert still["mean"]["reach"].value == 0


def test_a_walk_that_turns_back_is_not_monotone(data, sample):
    class TurnsBack(PaintsTruth):
        def traverse(self, images, labels, steps=9, strength=0.95, between=None):
            walk = super().traverse(images, labels, steps)
            walk[:, -2] = walk[:, 0]
            return walk

    results = traversal_matrix(TurnsBack(data), ORACLE, sample.first(20))
    assert results["mean"]["monotonicity"].value == 0
    assert results["mean"]["reach"].value == 1


def test_dependence_of_labels():
    data = toy_data()
    y = data.labels.copy()
    y[:, 1] = y[:, 0]
    y[:20, 2] = np.nan
    matrix = np.array(label_dependence(y, data.space))
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert matrix[0, 1] == matrix[1, 0] == 1
    assert max(matrix[0, 2], matrix[2, 0]) < 0.2


def test_generation_that_paints_the_truth(data, sample):
    results = conditional_generation(PaintsTruth(data), ORACLE, sample, conditions=24, repeats=8)
    assert results["mean"]["agreement"].value == results["mean"]["joint"].value == 1
    assert results["pictures"] == 24 * 8
    for numbers in results["variants"].values():
        assert numbers["coverage"] == 1
        assert numbers["entropy"] == pytest.approx(1, abs=0.05)
    assert results["diversity"]["generated"].value == pytest.approx(results["diversity"]["real"].value, rel=0.1)


def test_generation_that_ignores_labels_agrees_by_chance(data, sample):
    results = conditional_generation(IgnoresLabels(data), ORACLE, sample, conditions=64, repeats=8)
    for label in LABELS:
        assert results["labels"][label]["agreement"].value == pytest.approx(0.5, abs=0.1)
    assert results["mean"]["joint"].value == pytest.approx(0.5**3, abs=0.06)


def test_generation_of_one_variant_is_not_varied(data, sample):
    class AlwaysTheSame(PaintsTruth):
        def generate(self, count, given=None, seed=0, strength=None):
            return super().generate(1, given, 0).expand(count, -1, -1, -1)

    results = conditional_generation(AlwaysTheSame(data), ORACLE, sample, conditions=24, repeats=4)
    assert results["mean"]["joint"].value == 1
    assert results["diversity"]["generated"].value == 0
    for numbers in results["variants"].values():
        assert numbers["coverage"] == 1 / VARIANTS
        assert numbers["entropy"] == 0


def test_interventions_against_truth(data, sample):
    def against_truth(model):
        return [each.results() for found in interventions_against_truth(model, ORACLE, sample.first(30)).values()
                for each in found.values()]  # fmt: skip

    for results in against_truth(PaintsTruth(data)):
        for kind in ("pixels", "inside", "features"):
            assert results[kind]["edited"].value == results[kind]["relative"].value == results[kind]["possible"].value == 0
        assert results["outside"]["moved"].value < 0.002
    for results in against_truth(IgnoresLabels(data)):
        for kind in ("pixels", "inside", "features"):
            assert results[kind]["relative"].value == 1
        assert results["inside"]["edited"].value > 0.5
        assert results["outside"]["moved"].value == 0
    for results in against_truth(RepaintsAll(data)):
        assert results["inside"]["relative"].value == 0
        assert results["pixels"]["relative"].value > 1
        assert results["outside"]["moved"].value > 0.02
        assert results["outside"]["reconstruction"].value == 0


def test_edits_are_compared_with_what_the_model_can_paint(data, sample):
    class PaintsPaler(PaintsTruth):
        def reconstruct(self, images):
            return 0.8 * images

        def intervene(self, images, changes, strength=0.5, seed=0):
            return 0.8 * super().intervene(images, changes)

    results = interventions_against_truth(PaintsPaler(data), ORACLE, sample.first(30))["one"]["ready"].results()
    assert results["pixels"]["to_floor"].value == pytest.approx(1)
    assert results["inside"]["relative"].value == pytest.approx(results["inside"]["possible"].value)
    assert 0 < results["inside"]["relative"].value < 0.5
    assert results["region"].value == pytest.approx(4 * 1 / 144), "one row of the label's square"


def test_pooled_distances_count_every_label_alike(data, sample):
    found = interventions_against_truth(PaintsTruth(data), ORACLE, sample.first(30))
    still = interventions_against_truth(IgnoresLabels(data), ORACLE, sample.first(30))
    mixed = pooled([found["one"]["ready"], still["two"]["ready"]]).results()
    assert mixed["inside"]["edited"].value == pytest.approx(
        still["two"]["ready"].results()["inside"]["edited"].value / 2, rel=0.1
    )


def test_another_variant_is_nearest_but_not_ready(data, sample):
    class PaintsOneVariant(PaintsTruth):
        def intervene(self, images, changes, strength=0.5, seed=0):
            recipes = [read_recipe(image) for image in super().intervene(images, changes)]
            return as_pictures(self.truth.with_label(recipe, "one", recipe.values[0], "row0") for recipe in recipes)

    appearing = Sample(data, sample.rows[sample.y[:, 0] == 0][:20])
    results = interventions_against_truth(PaintsOneVariant(data), ORACLE, appearing)["one"]
    assert results["nearest"].results()["pixels"]["edited"].value == 0
    assert results["ready"].results()["pixels"]["edited"].value > 0


def test_transfers(data, sample):
    pairs = {label: transfer_pairs(sample, label, 40) for label in LABELS}
    for chosen in pairs.values():
        assert len(chosen.sources) == len(chosen.targets) > 20
    painted = transfers_by_variant(PaintsTruth(data), ORACLE, sample, pairs)
    against = transfers_against_truth(PaintsTruth(data), ORACLE, sample, pairs)
    for label in LABELS:
        assert painted[label]["recognised"].value == painted[label]["truth"].value == painted[label]["present"].value == 1
        assert {each.value for each in painted[label]["by_variant"].values()} == {1}
        assert against[label].results()["pixels"]["relative"].value == 0
    ignored = transfers_by_variant(IgnoresLabels(data), ORACLE, sample, pairs)
    assert {numbers["recognised"].value for numbers in ignored.values()} == {0}
    against = transfers_against_truth(IgnoresLabels(data), ORACLE, sample, pairs)
    assert {each.results()["pixels"]["relative"].value for each in against.values()} == {1}


def test_pairs_can_show_what_they_ask_for():
    """Long and wavy hair share a part: straight hair cannot take over a wavy variant, so such pairs are not asked."""
    data = avatars(240, size=16, seed=0, validation=20, test=200)
    sample, truth = sample_of(data, "test", 200), data.truth
    for label in ("Long_Hair", "Wavy_Hair", "Smiling", "Wearing_Hat"):
        column = data.space.index(label)
        pairs = transfer_pairs(sample, label, 60)
        assert len(pairs.sources) == len(pairs.targets) == len(set(pairs.targets.tolist())) > 40
        assert (truth.variants[pairs.sources, column] == pairs.variants).all()
        assert (truth.variants[pairs.targets, column] == -1).all()
        for source, target, variant in zip(pairs.sources, pairs.targets, pairs.variants, strict=True):
            received = truth.with_part_of(truth.recipes[target], truth.recipes[source], label)
            assert received.variants[label] == truth.variant_names[label][variant]
    wavy = data.space.index("Wavy_Hair")
    pairs = transfer_pairs(sample, "Long_Hair", 60)
    assert (data.labels[pairs.sources, wavy] == data.labels[pairs.targets, wavy]).all()


def test_transfer_of_presence_alone_is_recognised_by_chance(data, sample):
    class PaintsAnyVariant(PaintsTruth):
        def transfer(self, source, target, labels):
            return self.intervene(target, dict.fromkeys(labels, 1))

    pairs = {label: transfer_pairs(sample, label, 60) for label in LABELS}
    for numbers in transfers_by_variant(PaintsAnyVariant(data), ORACLE, sample, pairs).values():
        assert numbers["present"].value == 1
        assert numbers["recognised"].value < 0.6
        assert numbers["recognised"].low < numbers["recognised"].value < numbers["recognised"].high


def test_realism(data):
    train, test = sample_of(data, "train", 150), sample_of(data, "test", 150)

    class Small:
        def predict(self, pictures):
            predictions = ORACLE.predict(pictures)
            return type(predictions)(predictions.values, predictions.variants, predictions.features[:, ::24])

    honest = sample_quality(PaintsTruth(data), Small(), train, test)
    assert honest["pictures"] == 75, "half of the rows are the floor"
    assert honest["reconstructed"]["frechet"] == pytest.approx(0, abs=1e-4)
    assert honest["generated"]["frechet"] < 3 * honest["floor"]["frechet"]

    class AlwaysTheSame(PaintsTruth):
        def generate(self, count, given=None, seed=0, strength=None):
            return super().generate(1, given, 0).expand(count, -1, -1, -1)

    same = sample_quality(AlwaysTheSame(data), Small(), train, test)
    assert same["generated"]["frechet"] > 5 * honest["generated"]["frechet"]
    assert same["generated"]["kernel"] > 5 * abs(honest["generated"]["kernel"])
