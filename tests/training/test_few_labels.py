"""Few labels: teachers choose themselves, resume exactly, and make the CCVAE better."""

import signal
from dataclasses import replace

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save as to_bytes

from ccvae.config import TrainConfig
from ccvae.data import arrays
from ccvae.data.loaders.batches import Batches
from ccvae.data.soft_targets import SoftTargets
from ccvae.model.ccvae import CCVAE, load
from ccvae.model.classification import log_likelihood_of_labels
from ccvae.model.label_blocks.continuous import ContinuousBlocks
from ccvae.training import few_labels, students, teachers
from ccvae.training.callbacks import StopOnInterrupt
from ccvae.training.fit import Interrupted, fit, train
from ccvae.training.module import TrainingModule
from ccvae.training.stage import Stage

SMALL = {"latent_dim": 10, "width": 4, "dropout": 0.2}
QUICK = {
    "few_labels": None,
    "batch_size": 40,
    "epochs": 2,
    "pretraining_steps": 3,
    "teachers": 2,
    "teacher_steps": 6,
    "teacher_width": 4,
    "students": 1,
    "student_steps": 4,
    "progress": False,
}


@pytest.fixture
def few(data):
    """The squares with three quarters of the observed cells hidden, cell by cell."""
    labels = np.array(data.labels)
    train = data.splits["train"]
    hidden = np.random.default_rng(1).random((len(train), 3)) < 0.75
    labels[train] = np.where(hidden, np.nan, labels[train])
    return replace(data, labels=labels)


def model_for(data, seed=0):
    torch.manual_seed(seed)
    return CCVAE.for_data(data, **SMALL)


def same(first, second):
    return all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_labels_choose_the_recipe(data, few):
    assert few_labels.recipe_for(TrainConfig(few_labels=None), data) is None, "half of the cells are observed"
    recipe = few_labels.recipe_for(TrainConfig(few_labels=None), few)
    assert recipe == few_labels.Recipe(
        recipe.labelled, 100, 1, 6 * recipe.labelled, 50, 24, 0.6, 0.5, False, 1, 873, 0.3, 0.1, 0.15, 1
    )
    assert recipe.labelled == (~np.isnan(few.labels[few.splits["train"]])).any(1).sum()
    assert few_labels.recipe_for(TrainConfig(few_labels=False), few) is None
    assert few_labels.recipe_for(TrainConfig(few_labels=None, teachers=0), few) is None
    assert few_labels.recipe_for(TrainConfig(few_labels=True), data) is not None


@pytest.mark.parametrize(
    ("settings", "share", "passes"),
    [({}, 0.1, 2), ({"labelled_share": None}, None, 1), ({"labelled_share": 0.05}, 0.05, 1), ({"batch_size": 4}, None, 2)],
)
def test_a_taught_model_sees_fewer_labelled_rows_in_as_many_steps(settings, share, passes):
    data = arrays(np.zeros((2000, 3), np.float32), {"on": [0, 1] * 1000}, validation=0, test=0).hide(100)
    config = TrainConfig(few_labels=None, **settings)
    recipe = few_labels.recipe_for(config, data)
    assert (recipe.taught_labelled_share, recipe.taught_passes) == (share, passes)
    taught = few_labels.taught_config(config, recipe)
    assert (taught.labelled_share, taught.weight_decay) == (share, 0.15)
    shares = (config.labelled_share, recipe.taught_labelled_share)
    before, after = (Batches(data, config.batch_size, labelled_share=each) for each in shares)
    assert recipe.taught_passes == round(len(before) / len(after))


@pytest.mark.parametrize(
    ("setting", "mirrored", "expected"), [(None, True, True), (None, False, False), (True, False, True), (False, True, False)]
)
def test_images_are_mirrored_as_data_and_settings_say(few, setting, mirrored, expected):
    data, config = replace(few, mirrored=mirrored), TrainConfig(few_labels=None, flip=setting)
    recipe = few_labels.recipe_for(config, data)
    assert recipe.flip is expected
    assert few_labels.augmentation_for(config, data, recipe).flip is expected
    assert few_labels.augmentation_for(config, data, None).flip is bool(setting), "with all labels, only if asked for"


def test_with_labels_enough_nothing_changes(data):
    first, second = (fit(model_for(data), data, **{**QUICK, "teachers": teachers}) for teachers in (0, 2))
    assert same(first, second)


def test_a_run_says_what_was_chosen_and_keeps_the_stages(few, tmp_path):
    run = tmp_path / "run"
    fit(model_for(few), few, run, **QUICK)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["few_labels"]["teachers"] == 2
    assert settings["few_labels"]["steps"] == 6
    for name in ("teacher-1", "teacher-2", "student-1"):
        assert (run / "checkpoints" / name / "predictions.safetensors").exists()
        assert not (run / "checkpoints" / name / "last.ckpt").exists()
        assert len(pd.read_csv(run / "checkpoints" / name / "metrics.csv"))
    assert load(run).calibration is not None


class Stop:
    """Presses Ctrl-C after a number of steps of all stages together."""

    def __init__(self, monkeypatch, steps):
        self.left, own = steps, StopOnInterrupt.on_train_batch_end

        def on_train_batch_end(keeper, trainer, *others):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            own(keeper, trainer, *others)

        monkeypatch.setattr(StopOnInterrupt, "on_train_batch_end", on_train_batch_end)


@pytest.mark.parametrize("steps", [1, 3, 5, 9, 12, 17, 19, 21])
def test_a_run_interrupted_in_any_stage_goes_on_exactly(few, tmp_path, monkeypatch, steps):
    """Three steps of pretraining, six for each of two teachers, four of the student, then eight of the model."""
    quick = {**QUICK, "teacher_batch_size": 20}
    straight = fit(model_for(few), few, tmp_path / "straight", **quick)
    with monkeypatch.context() as patch:
        Stop(patch, steps)
        with pytest.raises(Interrupted, match=r"(pretraining|teacher \d of 2|student 1 of 1): stopped|^stopped") as stopped:
            fit(model_for(few), few, tmp_path / "run", **quick)
    in_model = not any(name in str(stopped.value) for name in ("pretraining", "teacher", "student"))
    assert (tmp_path / "run" / "model.safetensors").exists() is in_model, "weights appear once they are trained"
    again = fit(model_for(few), few, tmp_path / "run", resume=True, **quick)
    assert same(straight, again)
    for number in (1, 2):
        assert pd.read_csv(tmp_path / "run" / "checkpoints" / f"teacher-{number}" / "metrics.csv")["step"].tolist() == [6]
    names = ("pretraining", "teacher-1", "teacher-2", "student-1")
    for name in ("metrics.csv", *(f"checkpoints/{name}/metrics.csv" for name in names)):
        one, other = (pd.read_csv(tmp_path / run / name) for run in ("straight", "run"))
        assert one["step"].tolist() == other["step"].tolist()


def test_nothing_to_resume_is_said(few, tmp_path, caplog):
    fit(model_for(few), few, tmp_path / "run", resume=True, **QUICK)
    assert "has no checkpoint to resume from" in caplog.text


@pytest.mark.parametrize("who", ["teacher-1", "student-1"])
def test_damaged_predictions_of_a_teacher_are_refused(few, tmp_path, who):
    fit(model_for(few), few, tmp_path / "run", **QUICK)
    path = tmp_path / "run" / "checkpoints" / who / "predictions.safetensors"
    rows = torch.zeros(3, 4)
    for content in (b"nothing", to_bytes({"predictions": rows}), to_bytes({"others": rows}), path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"predictions\.safetensors: .*delete it and resume"):
            fit(model_for(few), few, tmp_path / "run", resume=True, **QUICK)


def test_the_progress_bar_names_the_stage(few, capsys):
    fit(model_for(few), few, **{**QUICK, "progress": True})
    shown = capsys.readouterr()
    for title in (
        "teacher 1 of 2, epoch 1 of",
        "teacher 2 of 2, epoch 1 of",
        "student 1 of 1, epoch 1 of",
        "CCVAE, epoch 1 of 2",
    ):
        assert title in shown.out + shown.err
    fit(model_for(few), few, **{**QUICK, "progress": True, "few_labels": False})
    shown = capsys.readouterr()
    assert "epoch 1 of 2:" in shown.out + shown.err
    assert "CCVAE, " not in shown.out + shown.err


def test_teachers_learn_from_every_observed_cell(few):
    """Their training rows are those with any observed label, and a missing cell has no say."""
    recipe = few_labels.recipe_for(TrainConfig(few_labels=None, teacher_width=4), few)
    model = teachers.teacher(few, recipe, seed=0)
    assert model.config.latent_dim == model.style.start, "no style"
    batches = Batches(few, 50)
    x, y = next(iter(batches))
    log_likelihood_of_labels(model, x, y).total.sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (not parameter.requires_grad), name
    posterior = model.posterior(x)
    assert posterior.scale.max() < 0.01, "a teacher is sure of its latents"
    for block in model.label_blocks():
        assert any(p.requires_grad for p in block.parameters()) == isinstance(block, ContinuousBlocks), "logits are latents"


def test_students_learn_from_soft_targets_of_all_rows(few, monkeypatch):
    config = TrainConfig(few_labels=True, students=2, student_steps=4, teacher_width=4)
    recipe = few_labels.recipe_for(config, few)
    rows = few.splits["train"]
    outputs = sum(len(label.output_columns) for label in few.space)
    first = SoftTargets(few.space, rows, np.full((len(rows), outputs), 0.5, np.float32))
    seen = []

    def train(model, data, settings, stage, objective):
        seen.append((stage.targets, settings.seed, settings.weight_decay, stage.title))
        assert objective is log_likelihood_of_labels
        assert len(data.splits["train"]) == len(rows)
        assert not len(data.splits["validation"])
        return False

    stage = Stage(None, None)
    last = students.teach(few, config, recipe, stage, train, first)
    assert [each[3] for each in seen] == ["student 1 of 2", "student 2 of 2"]
    assert seen[0][0] is first
    assert seen[1][0] is not first, "the second learns from the first"
    assert last is not seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert {each[2] for each in seen} == {0.15}
    assert students.teach(few, config, replace(recipe, students=0), stage, train, first) is first


def test_a_student_has_an_attentive_network_without_scales(few):
    recipe = few_labels.recipe_for(TrainConfig(few_labels=True), few)
    model = students.student(few, recipe, seed=0)
    assert isinstance(model.encoder.means, students.AttendedMeans)
    x, y = next(iter(Batches(few, 50)))
    log_likelihood_of_labels(model, x, y).total.sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (not parameter.requires_grad), name
    assert model.posterior(x).scale.max() < 0.01


def test_students_get_better_than_what_they_learn_from():
    """Targets that are right in 70 % of the rows, wherever: what is common to them is the rule."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (1200, 4)).astype(np.float32)
    truth = (inputs[:, 0] > 0).astype(int)
    data = arrays(inputs, {"positive": truth}, validation=0, test=200).hide(10)
    rows = data.splits["train"]
    noisy = np.where(rng.random(len(rows)) < 0.7, truth[rows], 1 - truth[rows])
    confident = np.where(noisy == 1, 0.9, 0.1)
    targets = SoftTargets(data.space, rows, np.stack([1 - confident, confident], 1).astype(np.float32))
    config = TrainConfig(few_labels=True, student_steps=400)
    recipe = few_labels.recipe_for(config, data)
    stage = Stage(None, None, progress=False)
    learned = students.teach(data, config, recipe, stage, train, targets)
    right = ((learned.predictions[:, 1] > 0.5) == truth[rows]).mean()
    assert right > 0.9


def test_passes_make_an_epoch_and_targets_fill_labels(few):
    rows = few.splits["train"]
    outputs = sum(len(label.output_columns) for label in few.space)
    targets = SoftTargets(few.space, rows, np.full((len(rows), outputs), 0.5, np.float32))
    one, many = Batches(few, 30, seed=3, targets=targets), Batches(few, 30, seed=3, passes=4)
    assert len(many) == 4 * len(one)
    for step in range(2 * len(one)):
        np.testing.assert_array_equal(one.rows(step), many.rows(step))
    assert not np.isnan(one.labels(one.rows(0), 0)).any()
    assert np.isnan(many.labels(many.rows(0), 0)).any()
    np.testing.assert_array_equal(one.labels(one.rows(5), 5), Batches(few, 30, seed=3, targets=targets).labels(one.rows(5), 5))


def test_the_model_learns_what_its_teachers_say(monkeypatch):
    """Where two signs agree: 12 labels do not tell that, but soft targets of 400 rows do."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (600, 2)).astype(np.float32)
    agree = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    data = arrays(inputs, {"agree": agree}, validation=0, test=200).hide(12)

    def teach(data, *others):
        rows = data.splits["train"]
        confident = np.where(agree[rows] == 1, 0.95, 0.05)
        return SoftTargets(data.space, rows, np.stack([1 - confident, confident], 1).astype(np.float32))

    monkeypatch.setattr(teachers, "teach", teach)
    right = []
    for few in (False, True):
        torch.manual_seed(0)
        model = CCVAE.for_data(data, width=8, dropout=0.0)
        weights = {"classification_weight": 20.0, "intervention_weight": 0.0}
        fit(model, data, few_labels=few, students=0, epochs=20, batch_size=50, progress=False, **weights)
        right.append((model.predict(data.tensor("test"))["agree"] == agree[data.splits["test"]]).mean())
    assert right[1] > 0.92
    assert right[1] > right[0] + 0.03


def test_an_own_callback_sees_the_model_and_not_its_teachers(few):
    seen = []

    class Watch(lightning.Callback):
        def on_train_start(self, trainer, module):
            seen.append(module)

    fit(model_for(few), few, callbacks=[Watch()], **QUICK)
    assert len(seen) == 1
    assert isinstance(seen[0], TrainingModule)
    assert not isinstance(seen[0].model.decoder, torch.nn.Identity)
