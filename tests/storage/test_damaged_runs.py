"""Run folders whose files are damaged or altered: one error that names the file, before anything large is allocated."""

import json
import os
import shutil
import struct
from itertools import pairwise

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import ccvae
from ccvae.labels import Binary, Categorical, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE, load

SPACE = LabelSpace((Binary("on"), Categorical("where", ("left", "right", "low")), Continuous("amount")))


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("honest") / "run"
    CCVAE(SPACE, (1, 16, 16), ccvae.ModelConfig(network="conv", width=2, latent_dim=8)).save(folder)
    return folder


@pytest.fixture
def run(honest, tmp_path):
    return shutil.copytree(honest, tmp_path / "run")


def refused(run, match):
    with pytest.raises(ValueError, match=match) as error:
        load(run)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500


# ---------------------------------------------------------------------- config.yaml


def changed(run, **sections):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"] = {**settings["model"], **sections.pop("model", {})}
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, **sections}))
    return run


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "expected sections"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: [", "not valid YAML"),
        (b"a: b: c", "not valid YAML"),
        (b"\ta: 1", "not valid YAML"),
        (b"%YAML 9.9\n---\na: 1", "YAML|input_shape"),
        (b"- 1\n- 2", "expected sections"),
        (b"12", "expected sections"),
        (b"{}", "no input_shape"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
        (b"&a [*a]", "refers to itself"),
        (b"a: *b", "refers to itself or to nothing"),
        (b"[" * 100_000, "nested"),
        (b"{a: " * 5_000, "nested"),
        (b"x: " + b"9" * 5_000, "a number has 5,000 characters"),
        (b"x: 0x" + b"f" * 500_000, "a number has"),
        (b"x: " + b":".join([b"1"] * 100_000), "a number has"),
        (b"x: 2001-99-99", "not valid YAML"),
        (b"? [1]\n: 2", "not valid YAML"),
        (b"a: !!int '1'", "tag"),
        (b"a: !mine 1", "tag"),
        (b"- a\n" * 200_000, "stands for more than"),
        (b"a" * 5_000_000, "larger than|characters"),
        (b"a: \x00", "not valid YAML"),
    ],
)
def test_damaged_settings(run, text, match):
    (run / "config.yaml").write_bytes(text)
    refused(run, rf"config\.yaml.*({match})")


def test_alias_bombs(run):
    levels = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in pairwise(levels)]
    (run / "config.yaml").write_text("\n".join(lines))
    refused(run, r"config\.yaml stands for more than 50,000 values")


@pytest.mark.parametrize("section", [None, 5, "x", [1, 2], True, 1.5])
@pytest.mark.parametrize("name", ["model", "input_shape"])
def test_sections_of_other_types(run, section, name):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, name: section}))
    refused(run, rf"config\.yaml: {name}: expected")


@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, -1, 1.5, 10**30, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["latent_dim", "block_dim", "network", "width", "dropout", "likelihood", "learn_scale"])
def test_settings_of_other_types(run, name, value):
    if (name, value) == ("block_dim", None):  # that is its default
        value = True
    changed(run, model={name: value})
    refused(run, rf"{name}|config\.yaml|fit|cannot be built|no label")


def test_unknown_settings(run):
    refused(changed(run, model={"colour": "red"}), r"config\.yaml: model: unknown key colour")
    refused(changed(run, model={1: "red"}), r"config\.yaml: model: unknown key")


@pytest.mark.parametrize(
    "model",
    [{"width": 10**6}, {"latent_dim": 10**6}, {"block_dim": 10**5, "latent_dim": 10**6}, {"block_dim": {"on": 10**6}},
     {"network": "mlp", "width": 10**6}, {"network": "resnet"}, {"network": "attentive", "width": 10**5}, {"latent_dim": 0}],
)  # fmt: skip
def test_nothing_large_is_allocated(run, model, monkeypatch):
    monkeypatch.setattr(CCVAE, "__init__", lambda *_, **__: pytest.fail("built before the weights were compared"))
    refused(changed(run, model=model), "fit|latent_dim|cannot be built|block")


@pytest.mark.parametrize("shape", [[1, 16, 17], [3, 16, 16], [1, 256, 256], [256], [1, 8, 8], [1, 4096, 4096]])
def test_other_shapes(run, shape):
    refused(changed(run, input_shape=shape), "fit|images must|vectors|sides")


# ---------------------------------------------------------------------- labels.json


@pytest.mark.parametrize(
    "entries",
    [
        None, 5, "x", {}, [], [1], [[]], [{}], [{"kind": "binary"}], [{"kind": "odd", "name": "a"}], [{"kind": ["binary"]}],
        [{"kind": "binary", "name": 5}], [{"kind": "binary", "name": ""}], [{"kind": "binary", "name": "a", "colour": 1}],
        [{"kind": "binary", "name": "a", "prior": "x"}], [{"kind": "binary", "name": "a", "prior": None}],
        [{"kind": "binary", "name": "a", "prior": 1.5}], [{"kind": "binary", "name": "a", "prior": float("nan")}],
        [{"kind": "binary", "name": "a", "prior": True}], [{"kind": "binary", "name": "a", "prior": [0.5]}],
        [{"kind": "binary", "name": "a", "values": 5}], [{"kind": "binary", "name": "a", "values": [0, 1, 2]}],
        [{"kind": "binary", "name": "a", "values": [0, None]}], [{"kind": "binary", "name": "a", "values": [0, {}]}],
        [{"kind": "binary", "name": "a", "values": [0, 0]}], [{"kind": "categorical", "name": "a"}],
        [{"kind": "categorical", "name": "a", "values": ["x"]}], [{"kind": "categorical", "name": "a", "values": "xyz"}],
        [{"kind": "categorical", "name": "a", "values": ["x", "y"], "prior": 0.5}],
        [{"kind": "categorical", "name": "a", "values": ["x", "y"], "prior": [1]}],
        [{"kind": "categorical", "name": "a", "values": ["x", "y"], "prior": [0.5, "y"]}],
        [{"kind": "categorical", "name": "a", "values": ["x", "y"], "prior": [2, -1]}],
        [{"kind": "categorical", "name": "a", "values": ["x", "y"], "prior": {"x": 1}}],
        [{"kind": "continuous", "name": "a", "mean": "x"}], [{"kind": "continuous", "name": "a", "scale": 0}],
        [{"kind": "continuous", "name": "a", "mean": float("inf")}], [{"kind": "continuous", "name": "a", "mean": 10**400}],
        [{"kind": "continuous", "name": "a", "mean": 1e39}], [{"kind": "continuous", "name": "a", "scale": 1e300}],
        [{"kind": "continuous", "name": "a", "scale": 1e-320}], [{"kind": "continuous", "name": "a", "scale": 1e-46}],
        [{"kind": "binary", "name": "a", "values": [True, False]}], [{"kind": "binary", "name": "\ud800"}],
        [{"kind": "binary", "name": "a"}, {"kind": "binary", "name": "a"}], [{"kind": "binary", "name": "other"}],
    ],
)  # fmt: skip
def test_altered_labels(run, entries):
    (run / "labels.json").write_text(json.dumps(entries))
    refused(run, r"labels\.json|fit|latent_dim")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 200_000, b"[" + b"9" * 5000 + b"]", b"[NaN", b"\x00"])
def test_damaged_labels(run, text):
    (run / "labels.json").write_bytes(text)
    refused(run, r"labels\.json")


# ---------------------------------------------------------------------- model.safetensors and calibration.json


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not weights", b"\x80\x04\x95", b"PK\x03\x04", bytes(1000), struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}',
        struct.pack("<Q", 60) + b'{"a":{"dtype":"odd","shape":[1],"data_offsets":[0,4]}}      ' + bytes(4),
    ],
)  # fmt: skip
def test_damaged_weights(run, content):
    (run / "model.safetensors").write_bytes(content)
    refused(run, r"model\.safetensors")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_weights_that_are_cut_short(run, share):
    content = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    refused(run, r"model\.safetensors is damaged")


def altered_weights(run, change):
    weights = load_file(run / "model.safetensors")
    change(weights)
    save_file(weights, run / "model.safetensors")
    return run


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(run, value):
    refused(
        altered_weights(run, lambda w: w["decoder.0.weight"].view(-1)[3:4].fill_(value)),
        r"model\.safetensors: decoder\.0\.weight",
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: w.pop("encoder.0.weight"), r"encoder\.0\.weight is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda w: w.update({"encoder.extra": torch.zeros(1)}), r"encoder\.extra is unknown"),
        (lambda w: w.update({"encoder.0.weight": torch.zeros(2, 2)}), r"encoder\.0\.weight has the shape \(2, 2\), expected"),
        (lambda w: w.update({"encoder.0.weight": w["encoder.0.weight"].long()}), "numbers of type torch.int64"),
        (
            lambda w: w.update({"encoder.0.weight": w["encoder.0.weight"].to(torch.complex64)}),
            "numbers of type torch.complex64",
        ),
        (lambda w: w["encoder.1.running_var"].fill_(-1), "negative variances"),
        (lambda w: w.clear(), "is missing"),
        (lambda w: w.pop(next(name for name in w if name.startswith("blocks"))), "blocks.* is missing"),
    ],
)
def test_weights_of_another_model(run, change, match):
    refused(altered_weights(run, change), rf"model\.safetensors does not fit.*{match}")


@pytest.mark.parametrize(
    "text",
    ["", "{", "5", "[]", "{}", '{"temperatures": 5}', '{"temperatures": {"on": -1}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": "x"}, "balanced": {}, "rows": {}}', '{"temperatures": {"odd": 1}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": NaN}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": 1}, "balanced": {"on": 2}, "rows": {}}',
     '{"temperatures": {"on": 1}, "balanced": {}, "rows": {"on": Infinity}}', "[" * 100_000,
     '{"temperatures": {"on": 1}, "balanced": {}, "rows": {"on": -1}}',
     '{"temperatures": {"on": 1}, "balanced": {}, "rows": {"on": 1.5}}',
     '{"temperatures": {"on": "1"}, "balanced": {}, "rows": {}}', '{"temperatures": {"on": true}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": 1e-300}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": 1e7}, "balanced": {}, "rows": {}}',
     '{"temperatures": {"on": 1}, "balanced": [1], "rows": {}}', '{"temperatures": {"on": 1}, "balanced": {}}',
     '{"temperatures": {"on": 1' + "0" * 400 + '}, "balanced": {}, "rows": {}}'],
)  # fmt: skip
def test_damaged_calibration(run, text):
    (run / "calibration.json").write_text(text)
    refused(run, r"calibration\.json")


def test_what_is_wrong_with_a_calibration_is_named(run):
    entries = {"temperatures": {"on": 1}, "balanced": {}, "rows": {}}
    for wrong, match in [
        ({"temperatures": {"on": "1"}}, r"temperatures of 'on': expected a number, found '1'"),
        ({"balanced": [1]}, r"balanced: expected numbers by label, found list"),
        ({"rows": {"on": 1.5}}, r"rows of 'on': expected a whole number, found '1.5'"),
        ({"rows": None}, r"rows: expected numbers by label, found none"),
    ]:
        (run / "calibration.json").write_text(json.dumps(entries | wrong))
        refused(run, match)


# ---------------------------------------------------------------------- inputs.json


COLUMN = {"name": "a", "mean": 0, "scale": 1}


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"missing": "refuse", "columns": [COLUMN | {"mean": 10**400}]}, "a number has 401 digits"),
        ({"missing": "refuse", "columns": [COLUMN | {"mean": True}]}, "expected a mean and a scale"),
        ({"missing": "refuse", "columns": [{"name": "a", "mean": 0}]}, "a column lacks 'scale'"),
        ({"missing": "refuse", "columns": {"a": 1}}, "found no columns"),
        ({"columns": [COLUMN]}, "not what is done about missing inputs"),
        ([1], "found no columns"),
        ({"missing": "refuse", "columns": [COLUMN | {"name": "\udfff"}]}, "udfff is no character"),
    ],
)
def test_altered_columns(run, table, match):
    (run / "inputs.json").write_text(json.dumps({"table": table}))
    refused(run, rf"inputs\.json.*{match}")


# ---------------------------------------------------------------------- files of other kinds


@pytest.mark.parametrize("target", ["nowhere.json", "calibration.json"])
@pytest.mark.parametrize("name", ["calibration.json", "inputs.json"])
def test_links_that_lead_nowhere_are_not_taken_for_no_file(run, name, target):
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target if target != "calibration.json" else name)
    with pytest.raises(FileNotFoundError, match=f"{name} is a link to what does not exist"):
        load(run)


@pytest.mark.parametrize("name", ["config.yaml", "labels.json", "model.safetensors", "calibration.json"])
def test_pipes_devices_and_folders_are_no_files(run, name):
    path = run / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    refused(run, f"{name} is a pipe; expected a file")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(run, f"{name} is a device; expected a file")
    path.unlink()
    path.mkdir()
    refused(run, f"{name} is a folder; expected a file")


@pytest.mark.parametrize("name", ["config.yaml", "labels.json", "calibration.json"])
def test_endless_files_are_not_read_to_the_end(run, name):
    with (run / name).open("wb") as file:
        file.truncate(10**11)  # sparse: it takes no space
    refused(run, rf"{name} is larger than")


def test_what_is_no_run_folder(tmp_path):
    refused(tmp_path, "is no run folder")
    refused(tmp_path / "nowhere", "is no run folder")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is no run folder")
