"""Training: it learns, resumes exactly, stops well, and says what is wrong."""

import signal
import threading
from dataclasses import replace
from itertools import chain

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ccvae.config import TrainConfig
from ccvae.data.loaders.batches import Batches, SplitBatches, turns
from ccvae.model.ccvae import CCVAE, load
from ccvae.model.saving import save
from ccvae.storage.run_folder import check_resumable
from ccvae.training.fit import Interrupted, fit

SMALL = {"latent_dim": 10, "width": 4, "dropout": 0.2}
QUICK = {"batch_size": 40, "progress": False}


def model_for(data, seed=0):
    torch.manual_seed(seed)
    return CCVAE.for_data(data, **SMALL)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


class StopAfter(lightning.Callback):
    """Interrupts as Ctrl-C would, or with another signal, after a number of steps."""

    def __init__(self, steps, number=signal.SIGINT):
        self.steps = steps
        self.number = number

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            signal.raise_signal(self.number)


def test_fit_learns_and_writes_a_run_folder(data, trained):
    folder = trained[1]
    table = pd.read_csv(folder / "metrics.csv")
    assert table["validation/total"].iloc[-1] > table["validation/total"].iloc[0]
    assert table["validation/accuracy"].iloc[-1] > 0.9
    assert len(table) == 120
    terms = table[[f"train/{t}" for t in ("reconstruction", "labels", "style", "classification")]].sum(axis=1)
    assert np.allclose(terms, table["train/total"], atol=1e-2)
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert (folder / "checkpoints" / "last.ckpt").exists()
    assert pd.read_csv(folder / "splits.csv")["split"].value_counts()["train"] == len(data.splits["train"])
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["epochs"] == 120
    assert not list(folder.glob("**/*.partial"))


def test_loaded_model_is_the_trained_one(data, trained):
    model, folder = trained
    other = load(folder)
    assert same(weights(model), weights(other))
    assert other.space == model.space
    pd.testing.assert_frame_equal(model.predict_proba(data.tensor("test")), other.predict_proba(data.tensor("test")))


def test_same_seed_same_weights(data):
    first, second = (fit(model_for(data), data, epochs=2, **QUICK) for _ in range(2))
    assert same(weights(first), weights(second))
    other = fit(model_for(data), data, epochs=2, seed=1, **QUICK)
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("steps", [3, 4, 6, 8])
def test_resumed_training_is_the_uninterrupted_one(data, tmp_path, steps):
    """Four steps an epoch: interrupted within an epoch and at its end."""
    straight = fit(model_for(data), data, tmp_path / "straight", epochs=3, **QUICK)
    with pytest.raises(Interrupted, match="continue with --resume"):
        fit(model_for(data), data, tmp_path / "run", epochs=3, callbacks=[StopAfter(steps)], **QUICK)
    again = fit(load(tmp_path / "run"), data, tmp_path / "run", epochs=3, resume=True, **QUICK)
    assert same(weights(straight), weights(again))
    tables = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("straight", "run")]
    assert tables[1]["epoch"].tolist() == [1, 2, 3]
    columns = [column for column in tables[0] if column.startswith("validation")]
    pd.testing.assert_frame_equal(tables[0][columns], tables[1][columns])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_what_was_trained(data, tmp_path, number):
    before, handler = weights(model_for(data)), signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped in epoch 1 of 5"):
        fit(model_for(data), data, tmp_path / "run", epochs=5, callbacks=[StopAfter(2, number)], **QUICK)
    assert not same(before, weights(load(tmp_path / "run")))
    assert signal.getsignal(number) is handler


def test_fit_in_another_thread_leaves_signals_alone(data):
    done = []
    thread = threading.Thread(target=lambda: done.append(fit(model_for(data), data, epochs=1, **QUICK)))
    thread.start()
    thread.join()
    assert done


def test_nan_names_step_term_and_checkpoint(data, tmp_path):
    class Spoil(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *_):
            if trainer.global_step == 6:
                with torch.no_grad():
                    next(module.model.decoder.parameters()).fill_(torch.nan)

    with pytest.raises(
        ValueError, match=r"step 6 .epoch 1.: reconstruction and style are not finite; .*last\.ckpt.*Lower learning_rate"
    ):
        fit(model_for(data), data, tmp_path / "run", epochs=3, callbacks=[Spoil()], **QUICK)


def test_early_stopping_stops(data, tmp_path):
    fit(model_for(data), data, tmp_path / "run", epochs=50, patience=1, learning_rate=1.0, **QUICK)
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) < 50


def test_best_weights_are_kept(data, tmp_path):
    class Ruin(lightning.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                with torch.no_grad():
                    [parameter.normal_(std=3) for parameter in module.model.decoder.parameters()]

    fit(model_for(data), data, tmp_path / "run", epochs=3, learning_rate=1e-3, callbacks=[Ruin()], **QUICK)
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == table["validation/total"].idxmax() == 1
    kept = weights(load(tmp_path / "run"))
    assert all(torch.equal(kept[name], best["state_dict"][f"model.{name}"]) for name in kept)


def test_gradient_clipping_and_warm_up_reach_the_trainer(data):
    seen = {}

    class Look(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            # the step that has just ended
            seen[trainer.global_step] = module.loss.kl_weight(module.step(trainer.global_step - 1, module.batches.shard))
            seen["clip"] = trainer.gradient_clip_val

    fit(model_for(data), data, epochs=2, gradient_clip=3.0, kl_warmup=0.5, kl_weight=2.0, callbacks=[Look()], **QUICK)
    assert seen["clip"] == 3.0
    assert seen[1] < seen[2] < seen[4] == seen[8] == 2.0


def test_label_maps_and_priors_learn_faster(data):
    rates = {}

    class Look(lightning.Callback):
        def on_train_start(self, trainer, module):
            groups = trainer.optimizers[0].param_groups
            rates.update({group["max_lr"]: {id(p) for p in group["params"]} for group in groups})
            rates["blocks"] = {id(p) for p in module.model.blocks.parameters()}

    fit(model_for(data), data, epochs=1, learning_rate=1e-3, label_learning_rate=7.0, callbacks=[Look()], **QUICK)
    assert rates[7e-3] == rates["blocks"]


def test_learned_scale_follows_the_errors(data, tmp_path):
    """The most likely scale of a Laplace density is the mean absolute error, and training moves towards it."""
    torch.manual_seed(0)
    model = CCVAE.for_data(data, learn_scale=True, **SMALL)
    before = model.likelihood_of.scale.item()
    fit(model, data, tmp_path / "run", epochs=60, **QUICK)
    x = data.tensor("train")
    with torch.no_grad():
        error = (model.likelihood_of.mean(model.decoder(model.posterior(x).sample())) - x).abs().mean().item()
    assert 0.9 * error < model.likelihood_of.scale.item() < 0.9 * before
    assert load(tmp_path / "run").likelihood_of.scale.item() == model.likelihood_of.scale.item()


@pytest.mark.parametrize("estimator", ["exact", "paper"])
def test_both_estimators_train(data, estimator):
    fit(model_for(data), data, epochs=1, estimator=estimator, **QUICK)


def test_data_of_another_model_are_refused(data):
    model = model_for(data)
    with pytest.raises(ValueError, match=r"label 'bright' \(binary: 0, 1\), found 'corner'"):
        fit(model, replace(data, space=type(data.space)(data.space.labels[1:]), labels=data.labels[:, 1:]), **QUICK)
    with pytest.raises(ValueError, match="takes inputs of shape"):
        fit(model, replace(data, inputs=np.repeat(data.inputs, 2, axis=1)), **QUICK)


def test_data_without_labels_are_refused(data):
    with pytest.raises(ValueError, match="no training row has an observed label"):
        fit(model_for(data), replace(data, labels=np.full_like(data.labels, np.nan)), **QUICK)


def test_one_training_row_is_refused(data):
    splits = {"train": data.splits["train"][:1], "validation": data.splits["validation"], "test": data.splits["test"]}
    with pytest.raises(ValueError, match="at least 2 rows, found 1"):
        fit(model_for(data), replace(data, splits=splits), **QUICK)


def test_resume_without_folder_or_with_other_settings(data, tmp_path):
    with pytest.raises(ValueError, match="no run folder to resume from"):
        fit(model_for(data), data, resume=True, **QUICK)
    save(model_for(data), tmp_path / "run", {"training": {"epochs": 3, "devices": 1}})
    check_resumable(tmp_path / "run", {"training": {"epochs": 3, "devices": 2, "compile": True}})
    check_resumable(tmp_path / "run", {"model": {"latent_dim": 0}})
    with pytest.raises(ValueError, match=r"model.latent_dim \(was 10, now 12\)"):
        check_resumable(tmp_path / "run", {"model": {"latent_dim": 12}})
    check_resumable(tmp_path / "run", {"training": {"epochs": 4}})
    with pytest.raises(ValueError, match=r"training.epochs \(was 3, now 2\)"):
        check_resumable(tmp_path / "run", {"training": {"epochs": 2}})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        *((each, r"config\.yaml: training: expected a mapping, found") for each in (None, 5, "x", [1], [["epochs", 3]])),
        *(({"epochs": each}, r"training\.epochs \(was .*, now 3\)") for each in (None, "x", [3], {"a": 1}, 1.5, 4)),
        ({}, r"training\.epochs \(was None, now 3\)"),
    ],
)
def test_resuming_a_run_whose_settings_are_of_other_types(tmp_path, section, message):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"training": section}))
    with pytest.raises(ValueError, match=message):
        check_resumable(tmp_path, {"training": {"epochs": 3}})


# ---------------------------------------------------------------------- batches


def test_batches_hold_the_chosen_share_of_labelled_rows(data):
    few = data.hide(12)
    batches = Batches(few, 20, seed=3, labelled_share=0.25)
    known = ~torch.tensor(few.labels).isnan().all(1)
    seen = []
    for x, y in batches:
        assert len(x) == 20
        assert (~y.isnan().all(1)).sum() == 5
        seen.append(x)
    assert len(batches) == (len(few.splits["train"]) - 12) // 15
    rows = np.concatenate([batches.rows(step) for step in range(len(batches))])
    unlabelled = rows[~known[rows].numpy()]
    assert len(np.unique(unlabelled)) == len(unlabelled)
    assert set(rows) <= set(few.splits["train"])


def test_labelled_rows_are_used_equally(data):
    few = data.hide(12)
    batches = Batches(few, 20, labelled_share=0.5)
    rows = np.concatenate([batches.rows(step) for step in range(12 * len(batches))])
    counts = pd.Series(rows).value_counts()
    labelled = [row for row in few.splits["train"] if not np.isnan(few.labels[row]).all()]
    assert counts[labelled].max() - counts[labelled].min() <= 1


def test_epochs_differ_and_seeds_decide(data):
    first = [Batches(data, 40, seed=0).rows(step).tolist() for step in range(8)]
    assert first[:4] != first[4:]
    assert sorted(chain(*first[:4])) == sorted(chain(*first[4:])) == data.splits["train"].tolist()
    assert first != [Batches(data, 40, seed=1).rows(step).tolist() for step in range(8)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 30))
def test_turns_cover_what_they_should(first, count, length):
    places = [turn * length + place for turn, start, stop in turns(first, count, length) for place in range(start, stop)]
    assert places == list(range(first, first + count))


def test_split_batches_cover_a_split(data):
    batches = SplitBatches(data, "test", 16)
    rows = [len(x) for x, _ in batches]
    assert rows == [16, 16, 8]
    assert len(batches) == 3


def test_share_without_room_is_refused(data):
    with pytest.raises(ValueError, match="leave at least one row of either kind"):
        Batches(data.hide(12), 4, labelled_share=0.1)


def test_train_config_names_the_field():
    with pytest.raises(ValueError, match="estimator: expected one of exact, paper, found 'exakt'"):
        TrainConfig(estimator="exakt")
    with pytest.raises(ValueError, match="epochs"):
        TrainConfig(epochs=0)


def test_what_this_machine_lacks_is_named(data):
    with pytest.raises(ValueError, match=r"accelerator cpu, devices 0, strategy auto: .*devices=0"):
        fit(model_for(data), data, accelerator="cpu", devices=0, progress=False)
