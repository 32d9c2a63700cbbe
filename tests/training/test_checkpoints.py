"""Checkpoints: a stranger's does no harm, a damaged one is noticed, and training resumes exactly from the newest whole one."""

import io
import logging
import os
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ccvae.cli.main import main
from ccvae.model.ccvae import CCVAE, load
from ccvae.storage import atomic
from ccvae.training import trainer as trainers
from ccvae.training.callbacks import StopOnInterrupt
from ccvae.training.checkpoint_files import MARK, TRAILER, newest_checkpoint, read_checkpoint, write_checkpoint
from ccvae.training.fit import Interrupted, fit

SMALL = {"network": "conv", "latent_dim": 10, "width": 4, "dropout": 0.2}
QUICK = {"batch_size": 40, "epochs": 3, "patience": 9, "progress": False}
STEPS = 5


class StopAfter(lightning.Callback):
    """Requests a stop as Ctrl-C would, after a number of steps."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == STEPS:
            next(callback for callback in trainer.callbacks if isinstance(callback, StopOnInterrupt)).requested = True


def model_for(data):
    torch.manual_seed(0)
    return CCVAE.for_data(data, **SMALL)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def straight(data):
    """Weights of the training that was never stopped."""
    return weights(fit(model_for(data), data, **QUICK, out=None, trainer={"enable_checkpointing": False}))


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A run that was stopped within its second epoch, with two checkpoints."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        fit(model_for(data), data, folder, callbacks=[StopAfter()], **QUICK)
    assert [read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")["global_step"] for name in ("last", "previous")] == [5, 4]
    return folder


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of it, beside something that is not part of it."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    (tmp_path / "notes.ckpt").write_text("mine")
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def resumed(run, data, **settings):
    return fit(model_for(data), data, run, resume=True, **QUICK | settings)


def changed(run, change, name="last.ckpt"):
    """Replace a checkpoint by one that `change` has changed; its hash is right."""
    path = run / "checkpoints" / name
    checkpoint = read_checkpoint(path)
    change(checkpoint)
    (run / "checkpoints" / "previous.ckpt").unlink(missing_ok=True)
    path.unlink()
    write_checkpoint(checkpoint, path)


def outside(run):
    """Every file beside the run, with its content."""
    return {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file() and run not in path.parents}


# ---------------------------------------------------------------------- strangers


def state_naming(folder):
    """State of Lightning's `ModelCheckpoint` for a folder that names paths outside wherever it can.

    Lightning removes paths below the callback's own folder only, and takes one with `..` to be such.
    """
    (folder / "mine").mkdir()
    first, second = f"{folder}/mine/../../precious", f"{folder}/mine/../../notes.ckpt"
    return {
        "monitor": "validation/total", "best_model_score": torch.tensor(1e9), "best_model_path": first,
        "current_score": torch.tensor(1e9), "dirpath": str(folder / "mine"), "best_k_models": {first: torch.tensor(-1e9)},
        "kth_best_model_path": first, "kth_value": torch.tensor(-1e9), "last_model_path": second,
    }  # fmt: skip


def users_callback(run):
    """A checkpoint callback that a user adds; Lightning would give it the state of the same name in the checkpoint."""
    return ModelCheckpoint(
        dirpath=run / "mine", filename="mine", monitor="validation/total", mode="max", save_top_k=1, save_last=True,
        enable_version_counter=False,
    )  # fmt: skip


def name_paths(run, key):
    def change(checkpoint):
        checkpoint["callbacks"][key] = state_naming(run)
        checkpoint["callbacks"]["Checkpoints"] |= (
            {} if key != "Checkpoints" else {"best_model_path": str(run.parent / "precious")}
        )
        checkpoint["hyper_parameters"] = {"_class_path": "os.system", "dirpath": str(run.parent / "precious")}
        checkpoint["datamodule_hyper_parameters"] = checkpoint["hparams_name"] = "kwargs"
        checkpoint["native_amp_scaling_state"] = {"scale": 1.0}

    return change


@pytest.mark.parametrize("guarded", [True, False])
def test_a_hostile_checkpoint_removes_nothing(run, data, straight, monkeypatch, guarded, caplog):
    """Without the guard, Lightning removes the folder that the checkpoint names: so this test would notice."""
    callback = users_callback(run)
    changed(run, name_paths(run, callback.state_key))
    if not guarded:
        monkeypatch.setattr(trainers, "restorable", lambda checkpoint, path, trainer, module: checkpoint)
        monkeypatch.setattr(trainers, "CheckpointFiles", RemovingFiles)
    before = outside(run)
    model = resumed(run, data, callbacks=[callback])
    if not guarded:
        assert not (run.parent / "precious").exists()
        assert not (run.parent / "notes.ckpt").exists()
        return
    assert outside(run) == before
    assert same(straight, weights(model)), "nothing else was changed by it"
    assert "the state of the callback ModelCheckpoint is not restored" in caplog.text


class RemovingFiles(trainers.CheckpointFiles):
    """Removes what it is told to, as Lightning's own plugin does."""

    def remove_checkpoint(self, path):
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)


def test_the_own_callback_takes_no_paths(run, data):
    changed(run, lambda checkpoint: checkpoint["callbacks"]["Checkpoints"].update(folder=str(run.parent / "precious")))
    before = outside(run)
    with pytest.raises(ValueError, match=r"last\.ckpt: callbacks\.Checkpoints: expected 1 entries.*folder"):
        resumed(run, data)
    assert outside(run) == before


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("entry", ["epoch", "callbacks", "loops", "extra"])
def test_a_pickled_object_is_not_unpickled(run, data, entry):
    mark = run.parent / "mark"
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    checkpoint[entry] = Runs(mark)
    (run / "checkpoints" / "previous.ckpt").unlink()
    write_checkpoint(checkpoint, path)
    with pytest.raises(ValueError, match=r"last\.ckpt: no checkpoint, or it has more than tensors, numbers and texts"):
        resumed(run, data)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "it would have run"


def put(*places, value):
    """A change of one entry of a checkpoint."""

    def change(checkpoint):
        for place in places[:-1]:
            checkpoint = checkpoint[place]
        if callable(value):
            checkpoint[places[-1]] = value(checkpoint[places[-1]])
        else:
            checkpoint[places[-1]] = value

    return change


EARLY_STOPPING = "EarlyStopping{'monitor': 'validation/total', 'mode': 'max'}"
HOSTILE = {
    "a name of a class as epoch": (put("epoch", value="os.system"), "epoch: expected a whole number"),
    "an endless training": (put("global_step", value=-(10**9)), "global_step: expected a whole number from 0 to 12"),
    "steps beyond the end": (put("global_step", value=13), "global_step: expected a whole number from 0 to 12"),
    "a true count": (put("epoch", value=True), "epoch: expected a whole number"),
    "weights not finite": (
        put("state_dict", "model.encoder.0.weight", value=lambda t: t * torch.nan), "encoder.0.weight: has values that are not"
    ),
    "weights of another shape": (
        put("state_dict", "model.encoder.0.weight", value=torch.zeros(10**3)), r"expected torch.float32 \(4, 3, 3, 3\), found"
    ),
    "weights of another type": (put("state_dict", "model.encoder.0.weight", value=lambda t: t.double()), "found torch.float64"),
    "a text as weights": (put("state_dict", "model.encoder.0.weight", value="/etc"), "expected a tensor, found '/etc'"),
    "sparse weights": (put("state_dict", "model.encoder.0.weight", value=lambda t: t.to_sparse()), "expected a tensor, found"),
    "unknown weights": (put("state_dict", "model.backdoor", value=torch.zeros(3)), r"these differ: \['model.backdoor'\]"),
    "no weights": (lambda checkpoint: checkpoint.pop("state_dict"), "state_dict: expected .* entries .*None"),
    "another loader": (put("loops", "fit_loop", "state_dict", value={"combined_loader": ["/etc"]}), "combined_loader"),
    "a loader's position": (
        put("loops", "fit_loop", "state_dict", "combined_loader", 0, "position", value=-1), "position: expected a whole number"
    ),
    "unknown loops": (put("loops", "evil_loop", value={}), "loops: expected 4 entries"),
    "a text in the loops": (
        put("loops", "fit_loop", "epoch_progress", "current", "ready", value="3"), "ready: expected a whole number from 0"
    ),
    "learning rates": (put("optimizer_states", 0, "param_groups", 0, "lr", value=torch.inf), "lr: expected a finite number"),
    "weight decay": (put("optimizer_states", 0, "param_groups", 0, "weight_decay", value=-9.0), "weight_decay: expected 0.05"),
    "parameters": (put("optimizer_states", 0, "param_groups", 0, "params", value=[0]), r"params: expected list, found list"),
    "moments": (put("optimizer_states", 0, "state", 0, "exp_avg", value=torch.zeros(3)), r"state|exp_avg: expected"),
    "a moment of a thing": (put("optimizer_states", 0, "state", 0, "path", value="/etc"), "optimizer_states.0: expected 3"),
    "a parameter that is none": (put("optimizer_states", 0, "state", 10**6, value={}), "expected a state for each"),
    "two optimizers": (put("optimizer_states", value=lambda states: states * 2), "optimizer_states: expected a list of one"),
    "a schedule's end": (put("lr_schedulers", 0, "total_steps", value=10**9), "total_steps: expected 12"),
    "a schedule's attribute": (put("lr_schedulers", 0, "step", value="os.system"), "lr_schedulers: expected"),
    "a schedule's text": (put("lr_schedulers", 0, "_anneal_func_type", value="__class__"), "_anneal_func_type: expected 'cos'"),
    "early stopping": (put("callbacks", EARLY_STOPPING, "wait_count", value="/etc"), "wait_count: expected a whole number"),
    "a best score": (put("callbacks", "Checkpoints", "best_score", value="1e9"), "Checkpoints: expected a finite number"),
    "callbacks": (put("callbacks", value=["/etc"]), "callbacks: expected states by name"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_not_of_this_training_is_refused(run, data, kind):
    change, message = HOSTILE[kind]
    changed(run, change)
    before = outside(run)
    with pytest.raises(ValueError, match=rf"last\.ckpt: .*{message}"):
        resumed(run, data)
    assert outside(run) == before


def test_a_wrong_best_score_leaves_the_last_weights(run, data, caplog):
    """Nothing is better than a score that a stranger made up, so `best.ckpt` is of the first epoch, or the stranger's."""
    changed(run, put("callbacks", "Checkpoints", "best_score", value=1e9))
    (run / "checkpoints" / "best.ckpt").write_bytes(b"nothing")
    resumed(run, data)
    assert "the weights of the last step are kept" in caplog.text


def test_a_compressed_checkpoint_is_refused(run):
    """It could be much larger in memory than on disk."""
    path = run / "checkpoints" / "last.ckpt"
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(path.read_bytes()[:-TRAILER])) as plain, zipfile.ZipFile(packed, "w") as archive:
        for entry in plain.infolist():
            archive.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    path.write_bytes(with_hash(packed.getvalue()))
    with pytest.raises(ValueError, match=r"last\.ckpt: compressed"):
        read_checkpoint(path)


def with_hash(content):
    import hashlib

    return content + MARK + hashlib.sha256(content).hexdigest().encode()


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/teacher-1", "checkpoints/pretraining"])
def test_a_linked_folder_is_refused(run, data, name):
    """Its checkpoints would replace those of another run."""
    other = Path(shutil.copytree(run / "checkpoints", run.parent / "other"))
    if name == "checkpoints":
        shutil.rmtree(run / name)
    (run / name).symlink_to(other, target_is_directory=True)
    before = outside(run)
    with pytest.raises(ValueError, match=rf"{name} is a link to .*other"):
        resumed(run, data)
    assert outside(run) == before


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "metrics.csv"])
def test_a_linked_file_is_refused(run, data, name):
    """The rows of another table would be copied into metrics.csv."""
    path = run / name if name == "metrics.csv" else run / "checkpoints" / name
    path.replace(run.parent / name)
    path.symlink_to(run.parent / name)
    before = outside(run)
    with pytest.raises(ValueError, match=rf"{name} leads to .*, outside of .*CCVAE_ALLOW_LINKS=1"):
        resumed(run, data)
    assert outside(run) == before


def test_a_table_of_other_columns_is_refused(run, data):
    (run / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: expected the columns epoch and step, found a; b"):
        resumed(run, data)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("text", r"expected numbers as epoch and step"),
        ("bytes", r"is damaged: "),
        ("empty", r"is damaged: "),
        ("pipe", r"is a pipe"),  # to wait for what never comes is no way to go on
        ("folder", r"is a folder"),
        ("link", r"is a link to what does not exist"),
    ],
)
def test_a_damaged_table_is_refused_before_any_step(run, data, kind, match):
    path = run / "metrics.csv"
    path.unlink()
    {
        "text": lambda: path.write_text("epoch,step\nx,y\n"),
        "bytes": lambda: path.write_bytes(b"epoch,step\n\xff,1\n"),
        "empty": path.touch,
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("metrics.csv"),
    }[kind]()
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=rf"metrics\.csv:? {match}.*; delete it"):
        resumed(run, data)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_the_command_line_refuses_a_hostile_checkpoint(tmp_path, capsys):
    """One message, exit code 2, and nothing is changed."""
    words = [
        "train",
        "digits",
        "--out",
        str(tmp_path / "run"),
        "--figures",
        "false",
        "--training.epochs",
        "1",
        "--model.width",
        "1",
    ]
    assert main(words) == 0
    changed(tmp_path / "run", lambda checkpoint: checkpoint["callbacks"]["Checkpoints"].update(best_model_path="/etc"))
    kept = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.ckpt")}
    capsys.readouterr()
    assert main([*words, "--resume"]) == 2
    said = capsys.readouterr().err
    assert "callbacks.Checkpoints: expected 1 entries" in said
    assert "Traceback" not in said
    assert kept == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.ckpt")}


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, pickle.dumps({"epoch": 1}), b"\0" * 5000])
def test_what_is_no_checkpoint_is_refused(run, data, content):
    (run / "checkpoints" / "previous.ckpt").unlink()
    (run / "checkpoints" / "last.ckpt").write_bytes(with_hash(content))
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        resumed(run, data)


# ---------------------------------------------------------------------- damage


def cut(size):
    return lambda content: content[: int(size * len(content))]


def flipped(place):
    def damage(content):
        number = int(place * len(content))
        return content[:number] + bytes([content[number] ^ 4]) + content[number + 1 :]

    return damage


@pytest.mark.parametrize("damage", [cut(0), cut(0.5), cut(0.999), flipped(0.1), flipped(0.5), flipped(0.9999)])
def test_training_resumes_from_the_newest_whole_checkpoint(run, data, straight, damage, caplog):
    path = run / "checkpoints" / "last.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    assert newest_checkpoint(path.parent) == path.with_name("previous.ckpt")
    assert same(straight, weights(resumed(run, data)))
    assert "last.ckpt: damaged, or cut short" in caplog.text
    assert "previous.ckpt instead" in caplog.text


def test_without_a_whole_checkpoint_a_message_says_what_to_do(run, data):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged.*previous\.ckpt: damaged.*delete .*run and train again"):
        resumed(run, data)


@pytest.mark.parametrize("name", ["last", "previous", "best"])
def test_a_full_disk_leaves_whole_checkpoints(data, tmp_path, straight, monkeypatch, name):
    """The disk fills while the second checkpoint of a name is written."""
    folder, real, count = tmp_path / "run", atomic.check_space, []

    def check_space(path, size):
        if path.name == f"{'last' if name == 'previous' else name}.ckpt":
            count.append(size)
            if len(count) == 2:
                raise OSError(28, f"no space to write {path}: it needs {size:,} bytes, and 0 are free")
        real(path, size)

    monkeypatch.setattr(atomic, "check_space", check_space)
    with pytest.raises(OSError, match=r"no space to write .*\.ckpt: it needs .* bytes.*then continue with resume"):
        fit(model_for(data), data, folder, **QUICK)
    monkeypatch.undo()
    assert not list(folder.rglob("*.partial"))
    assert same(straight, weights(resumed(folder, data)))


def test_a_crash_between_the_two_renames_loses_nothing(run, data, straight):
    (run / "checkpoints" / "last.ckpt").replace(run / "checkpoints" / "previous.ckpt")
    assert same(straight, weights(resumed(run, data)))


# ---------------------------------------------------------------------- what a run folder has, and when


def test_where_there_is_nothing_to_resume_training_begins(data, tmp_path, straight, caplog):
    """As after a kill between the first metrics and the first checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.csv").write_text("epoch,step\n1,4\n")
    assert same(straight, weights(resumed(folder, data)))
    assert "has no checkpoint to resume from: training starts at the beginning" in caplog.text
    assert (folder / "metrics.csv").read_text().count("\n") == 4


def test_trained_weights_without_checkpoints_are_not_overwritten(run, data):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match="has trained weights but no checkpoint"):
        resumed(run, data)


def test_weights_appear_when_they_are_trained(data, tmp_path):
    seen = []

    class Look(lightning.Callback):
        def on_train_batch_start(self, trainer, *_):
            seen.append((tmp_path / "run" / "model.safetensors").exists())

    fit(model_for(data), data, tmp_path / "run", callbacks=[Look()], **QUICK)
    assert not any(seen)
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_loading_an_untrained_run_says_so(run):
    (run / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"has no model.safetensors: its training has not finished; continue it with .*--resume"
    ):
        load(run)


def test_loading_a_partly_trained_run_says_so(run, data, caplog):
    load(run)
    assert "these weights are of an interrupted training ('5 of 12 steps'); continue it" in caplog.text
    caplog.clear()
    resumed(run, data)
    load(run)
    assert "interrupted" not in caplog.text


@pytest.mark.parametrize("validated", [True, False])
def test_weights_that_are_not_finite_at_the_end_are_said(data, tmp_path, caplog, validated):
    """The last step's update is checked by no later loss."""

    class Ruin(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            if trainer.global_step == 12:
                with torch.no_grad():
                    module.model.decoder[-1].bias.fill_(torch.nan)

    if not validated:
        data = replace(data, splits={**data.splits, "validation": data.splits["validation"][:0]})
        with pytest.raises(ValueError, match=r"training diverged: 1 weights are not finite, such as decoder\..*learning_rate"):
            fit(model_for(data), data, tmp_path / "run", callbacks=[Ruin()], **QUICK)
        assert not (tmp_path / "run" / "model.safetensors").exists()
        return
    fit(model_for(data), data, tmp_path / "run", callbacks=[Ruin()], **QUICK)
    assert "training diverged in its last epoch; the best weights before are kept" in caplog.text
    assert all(torch.isfinite(tensor).all() for tensor in load(tmp_path / "run").state_dict().values())


@pytest.fixture(autouse=True)
def _messages(caplog):
    caplog.set_level(logging.WARNING)
