"""Run folders and settings files from strangers: nothing that they name is imported, called or downloaded.

Every test here would leave a mark, a file called MARK, if something of the stranger's ran.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import ccvae
from ccvae.cli.main import main
from ccvae.labels import Binary, LabelSpace
from ccvae.model.ccvae import CCVAE, load

VERBS = {
    "predict": [],
    "report": [],
    "evaluate": [],
    "generate": [],
    "intervene": ["on=1"],
    "traverse": ["on"],
    "transfer": ["on"],
    "counterfactual": ["on"],
}
MODULE = """
import functools, os
from pathlib import Path
from torch import nn
MARK = Path({mark!r})
MARK.write_text("imported")

class Called:
    def __init__(self, *sizes, **names):
        MARK.write_text("called")

class Network(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        MARK.write_text("made")

class Sneaky(type):
    def __call__(cls, *sizes):
        MARK.write_text("made by its metaclass")

class Odd(metaclass=Sneaky):
    pass

def function(*sizes):
    MARK.write_text("called")

partial = functools.partial(function)
instance = object.__new__(Called)
"""
GADGETS = [
    "subprocess:Popen", "subprocess:run", "subprocess:call", "os:system", "os:remove", "os:execv", "shutil:rmtree",
    "builtins:exec", "builtins:eval", "builtins:open", "functools:partial", "importlib:import_module", "runpy:run_path",
    "code:InteractiveInterpreter", "webbrowser:open", "torch:load", "torch.hub:load", "pickle:loads", "pty:spawn",
    "antigravity:webbrowser", "stranger:Network", "stranger:Called", "stranger:Odd",
    "stranger:function", "stranger:partial", "stranger:instance", "stranger:nothing", "stranger", "stranger:", ":Network",
    ".stranger:Network", "torch.nn:Linear",
]  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A small run on images, as this package writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("honest") / "run"
    model = CCVAE(LabelSpace((Binary("on"),)), (1, 16, 16), ccvae.ModelConfig(network="mlp", width=1, latent_dim=4))
    model.save(folder)
    return folder


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """Where a mark would appear, in a working directory that has a stranger's module which can be imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "MARK"
    (tmp_path / "stranger.py").write_text(MODULE.format(mark=str(path)))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    yield path
    sys.modules.pop("stranger", None)


def hostile(honest, folder, **changes):
    """A copy of a run whose config.yaml has other values: `model` settings are added, other sections are replaced."""
    shutil.copytree(honest, folder)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["model"] |= changes.pop("model", {})
    settings |= changes
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "stranger.py").write_bytes(Path("stranger.py").read_bytes())
    return folder


def images(folder):
    """A folder with two pictures."""
    folder.mkdir()
    for number in range(2):
        Image.fromarray(np.full((16, 16), 100 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def modules_loaded():
    return set(sys.modules)


@pytest.mark.parametrize("gadget", GADGETS)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_nothing_that_a_run_names_is_imported(honest, tmp_path, mark, capsys, part, gadget):
    for number, shape in enumerate(([1, 16, 16], ["touch", str(mark)], [str(mark), "w"], [f"open({str(mark)!r}, 'w')"])):
        run = hostile(honest, tmp_path / f"run{number}", model={part: gadget}, input_shape=shape)
        before = modules_loaded()
        with pytest.raises(ValueError, match=r"config\.yaml"):
            load(run)
        assert main(["generate", str(run), "--out", str(tmp_path / "out.png")]) == 2
        assert "Traceback" not in capsys.readouterr().err
        assert not mark.exists()
        assert not any(name.partition(".")[0] in ("stranger", "antigravity", "pty") for name in modules_loaded() - before)


@pytest.mark.parametrize("verb", VERBS)
def test_no_command_imports_what_a_run_names(honest, tmp_path, mark, capsys, verb):
    run = hostile(honest, tmp_path / "run", model={"encoder": "stranger:Network"}, data={"source": "digits"})
    assert main([verb, str(run), *VERBS[verb]]) == 2
    error = capsys.readouterr().err
    assert "allow_class_paths" in error or "made for" in error
    assert "Traceback" not in error
    assert not mark.exists()


@pytest.mark.parametrize("command", [[sys.executable, "-m", "ccvae"], [str(Path(sys.executable).with_name("ccvae"))]])
def test_the_command_of_the_issue(honest, tmp_path, mark, command):
    run = hostile(honest, tmp_path / "run", model={"encoder": "subprocess:Popen"}, input_shape=["touch", str(mark)])
    done = subprocess.run(
        [*command, "predict", str(run), "--images", str(images(tmp_path / "images"))],
        capture_output=True, text=True, check=False, cwd=run,
    )  # fmt: skip
    assert done.returncode == 2
    assert "input_shape" in done.stderr
    assert "Traceback" not in done.stderr
    assert not mark.exists()


def test_workers_import_nothing_from_the_working_directory(tmp_path, mark):
    """A stranger's numpy.py in the working directory must not be found by the processes that decode or draw."""
    for name in ("numpy", "PIL", "torch", "yaml", "ccvae", "json", "stranger"):
        (tmp_path / f"{name}.py").write_bytes((tmp_path / "stranger.py").read_bytes())
    code = "import ccvae.data; print(len(ccvae.data.avatars(400, size=16, processes=2)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, env=environment(tmp_path), cwd=tmp_path
    )
    assert done.stdout.strip() == "400", done.stderr
    assert not mark.exists()


def environment(folder):
    import os

    return {**os.environ, "CCVAE_CACHE": str(folder / "cache")}


def test_names_command_no_terminal(honest, tmp_path, mark, capsys):
    """A label's name is shown in messages: it must neither clear the screen, nor look like a line of this package's own."""
    run = hostile(honest, tmp_path / "run")
    labels = json.loads((run / "labels.json").read_text())
    labels[0]["name"] = "on\x1b[2J\r\nccvae: all is well\u2028"
    (run / "labels.json").write_text(json.dumps(labels))
    (run / "calibration.json").write_text('{"temperatures": {"other": 1}, "balanced": {}, "rows": {}}')
    assert main(["predict", str(run), "--images", str(images(tmp_path / "images"))]) == 2
    error = capsys.readouterr().err
    assert error.endswith("it has on\\x1b[2J\\r\\nccvae: all is well\\u2028\n")
    assert error.count("\n") == 1


def test_allowed_classes_must_be_networks(honest, tmp_path, mark, capsys):
    for number, gadget in enumerate(("stranger:Called", "stranger:Odd", "stranger:function", "stranger:partial")):
        run = hostile(honest, tmp_path / f"run{number}", model={"encoder": gadget})
        with pytest.raises(ValueError, match=r"expected a subclass of torch\.nn\.Module"):
            load(run, allow_class_paths=True)
        assert main(["generate", str(run), "--allow_class_paths"]) == 2
        assert "expected a subclass" in capsys.readouterr().err
        assert mark.read_text() == "imported", "it was allowed to be imported, and nothing of it was called"


def test_shape_is_checked_before_an_allowed_class_is_imported(honest, tmp_path, mark):
    shapes = [
        ["touch", str(mark)],
        [1, 16],
        [0],
        [-1, 16, 16],
        [1.5],
        [True],
        "abc",
        {"a": 1},
        5,
        None,
        [],
        [10**9] * 3,
        [10**30],
    ]
    for number, shape in enumerate(shapes):
        run = hostile(honest, tmp_path / f"run{number}", model={"encoder": "stranger:Network"}, input_shape=shape)
        with pytest.raises(ValueError, match=r"config\.yaml: input_shape: (expected|an input)"):
            load(run, allow_class_paths=True)
    assert not mark.exists()


def test_own_classes_come_back_when_allowed(honest, tmp_path, monkeypatch, mark, capsys):
    (tmp_path / "mine.py").write_text(
        "from math import prod\nfrom torch import nn\n"
        "class Encoder(nn.Sequential):\n"
        "    def __init__(self, shape, outputs):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(prod(shape), outputs))\n"
    )
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    words = ["train", "digits", "--training.epochs", "1", "--training.accelerator", "cpu", "--figures", "false"]
    words += ["--model.latent_dim", "16", "--model.width", "1"]
    assert main([*words, "--out", "typed", "--model.encoder", "mine:Encoder"]) == 0, "the user has typed the class"
    assert main([*words, "--out", "typed2", "--model.encoder=mine:Encoder"]) == 0
    Path("settings.yaml").write_text("model: {encoder: 'mine:Encoder'}")
    capsys.readouterr()
    assert main([*words, "--out", "file", "--config", "settings.yaml"]) == 2
    assert "--allow_class_paths" in capsys.readouterr().err
    assert main([*words, "--out", "file", "--config", "settings.yaml", "--allow_class_paths", "--dry_run"]) == 0
    assert main(["predict", "typed", "--out", "p.csv"]) == 2
    assert main(["predict", "typed", "--out", "p.csv", "--allow_class_paths"]) == 0
    assert Path("p.csv").exists()
    from mine import Encoder

    assert isinstance(load("typed", encoder=Encoder((1, 16, 16), 32)).encoder, nn.Module)


SETTINGS = [
    "model: {encoder: 'stranger:Network'}",
    "model: {decoder: 'stranger:Network'}",
    "{model: {encoder: 'stranger:Network'}, allow_class_paths: true}",
    "model: stranger.Called",
    "model: stranger:Called",
    "data: stranger.Called",
    "model: {class_path: stranger.Called}",
    "data: {class_path: stranger.Called, init_args: {a: 1}}",
    "training: {class_path: stranger.Called}",
    "data: {options: {a: {class_path: stranger.Called, init_args: {a: 1}}}}",
    "data: {options: {a: [{class_path: stranger.Called}]}}",
    "data: {options: {class_path: stranger.Called}}",
    "data: {options: {a: '{class_path: stranger.Called}'}}",
    "data: {options: stranger.Called}",
    "data: {options.a.class_path: stranger.Called}",
    "data.options: {a.class_path: stranger.Called}",
    "data.options.a.class_path: stranger.Called",
    "data.class_path: stranger.Called",
    "{data: '{options: {a: {class_path: stranger.Called}}}'}",
    "data: inner.yaml",
    "{model.help: stranger.Called}",
    "source: {class_path: stranger.Called}",
    "training: {label_weights: {class_path: stranger.Called}}",
    "data: {kinds: {class_path: stranger.Called}}",
    "!!python/object/apply:os.system ['touch MARK']",
    "model: !!python/object:stranger.Called {}",
    "model: !!python/name:stranger.Called",
    "model: {<<: {class_path: stranger.Called}}",
    "- model",
    "12",
]


@pytest.mark.parametrize(
    ("flag", "text"),
    [("--config", text) for text in SETTINGS]
    + [
        (flag, text)
        for flag in ("--data", "--model", "--training")
        for text in ("class_path: stranger.Called", "stranger.Called", "encoder: 'stranger:Network'", "help: stranger.Called")
    ],
)
def test_nothing_that_a_settings_file_names_is_imported(tmp_path, mark, capsys, flag, text):
    (tmp_path / "settings.yaml").write_text(text)
    (tmp_path / "inner.yaml").write_text("options: {a: {class_path: stranger.Called}}")
    given = [flag, "settings.yaml"] if len(text) % 2 else [f"{flag}=settings.yaml"]
    try:
        code = main(["train", "digits", *given, "--dry_run"])
    except SystemExit as stopped:
        code = stopped.code
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    assert not mark.exists()
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("source", ["someone/pictures", "https://example.org/data", "hf://datasets/a/b", "s3://bucket/x"])
def test_nothing_is_downloaded_that_a_run_names(honest, tmp_path, mark, capsys, monkeypatch, source):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: mark.write_text("downloaded"))
    run = hostile(honest, tmp_path / "run", data={"source": source, "reader": "hugging_face"})
    for verb, more in VERBS.items():
        if verb != "generate":
            assert main([verb, str(run), *more]) == 2
            assert "--allow_download" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize(
    "source", ["https://example.org/t.csv", "http://localhost:1/t.parquet", "ftp://h/t.csv", "s3://b/t.csv"]
)
@pytest.mark.parametrize("reader", ["auto", "table", "image_folder", "celeba", "chexpert", "fashion_mnist"])
def test_a_source_is_a_local_path(honest, tmp_path, mark, capsys, monkeypatch, source, reader):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: mark.write_text("connected"))
    data = {"source": source, "reader": reader, "labels": ["on"], "csv": source if reader == "image_folder" else None}
    assert main(["predict", str(hostile(honest, tmp_path / "run", data=data))]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists()
