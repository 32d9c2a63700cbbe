"""What users can rely on, compared with `public_api.json`, section by section.

Public names and signatures, commands and their flags, settings, names and shapes of weights, what training and evaluation
write, and the values of one bound. Modules may move freely as long as this test passes. To change the public surface on
purpose, run

    python tests/test_public_api.py --write

read the difference that it prints, and add a line to CHANGELOG.md for every change.
"""

import dataclasses
import difflib
import inspect
import io
import json
import math
import os
import re
import sys
import tempfile
import types
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import ccvae
import ccvae.data
import ccvae.evaluation
from ccvae.cli.main import main
from ccvae.config import DataConfig  # the only class used here that no `__all__` of the three packages names

HERE = Path(__file__).parent
SNAPSHOT = HERE / "public_api.json"
PACKAGES = (ccvae, ccvae.data, ccvae.evaluation)
NETWORKS = {"attentive": (3, 16, 16), "conv": (3, 16, 16), "paper": (3, 32, 32), "resnet": (3, 16, 16), "mlp": (6,)}
SPACE = ccvae.LabelSpace(
    (
        ccvae.Binary("on", prior=0.3),
        ccvae.Categorical("where", ("left", "right", "low"), (0.2, 0.5, 0.3)),
        ccvae.Continuous("amount", 10.0, 2.5),
    )
)
COUNTS = {
    "rows": 20, "evidence_rows": 2, "evidence_samples": 4, "edit_rows": 6, "walk_rows": 4, "truth_rows": 4, "pairs": 6,
    "probe_rows": 40, "conditions": 4, "repeats": 2, "pictures": 10, "draws": 3,
}  # fmt: skip


# ---------------------------------------------------------------------- names and signatures


def names():
    """Everything that the packages export."""
    return {package.__name__: {name: described(getattr(package, name)) for name in package.__all__} for package in PACKAGES}


def described(value):
    """A function's signature, a class with its public members, or what else it is."""
    if isinstance(value, types.ModuleType):
        return "module"
    if inspect.isclass(value):
        return {"constructor": signature(value), "members": members(value)}
    return signature(value) if callable(value) else type(value).__name__


def signature(function, skip=0):
    """Names, kinds and defaults of parameters."""
    own = inspect.signature(function)
    parameters = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in own.parameters.values()]
    return str(own.replace(parameters=parameters[skip:], return_annotation=inspect.Signature.empty))


def members(cls):
    """Public methods, properties and fields that this package gives a class."""
    found = {field.name: "field" for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    for owner in cls.__mro__:
        if owner.__module__.partition(".")[0] == "ccvae":
            found |= {name: member(cls, name) for name in vars(owner) if not name.startswith("_") and name not in found}
    return found


def member(cls, name):
    """A method's signature without the object itself, or what else the member is."""
    static = inspect.getattr_static(cls, name)
    if isinstance(static, types.FunctionType):
        return "method " + signature(static, skip=1)
    if isinstance(static, classmethod | staticmethod):
        return f"{type(static).__name__} {signature(getattr(cls, name))}"
    return "property" if isinstance(static, property) else "attribute"


# ---------------------------------------------------------------------- what calls return


def results():
    """Attributes of a model, and what its methods and a check of data return."""
    model = small_model("mlp").eval()
    x = torch.linspace(-1, 1, 12).reshape(2, 6)
    rng = np.random.default_rng(0)
    labels = {"on": rng.integers(0, 2, 40), "where": rng.choice(["left", "right", "low"], 40), "amount": rng.normal(size=40)}
    report = ccvae.data.check(ccvae.data.arrays(rng.normal(size=(40, 3)), labels))
    parts = {**vars(model), **model._modules, **model._buffers}
    return {
        "attributes of CCVAE": sorted(name for name in parts.keys() - vars(nn.Module()).keys() if not name.startswith("_")),
        "bound": members(type(model.bound(x, torch.full((2, 3), math.nan)))),
        "bound terms": list(model.bound(x, torch.full((2, 3), math.nan)).terms()),
        "counterfactual": members(type(model.counterfactual(x, "where", "low"))),
        "predict columns": list(model.predict(x)),
        "predict_proba columns": list(model.predict_proba(x)),
        "check": members(type(report)),
        "check as JSON": paths(json.loads(report.to_json())),
    }


# ---------------------------------------------------------------------- command line and settings


def commands():
    """Arguments of every command with their defaults, as --help shows them."""
    overview = said(["--help"]).partition("\n\n")[2]
    verbs = re.findall(r"^  (\S+(?: \S+)?) {2,}\S", overview, re.MULTILINE)
    return {verb: arguments(said([*verb.split(), "--help"])) for verb in verbs}


def said(words):
    """What a command prints, on a terminal of endless width."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "10000"}), redirect_stdout(out):
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
    assert not code, words
    return out.getvalue()


def arguments(text):
    """Defaults by flag, from a help text; "required" for arguments that must be given."""
    found = {}
    for entry in re.findall(r"^  (\S.*(?:\n {3,}\S.*)*)", text.partition("positional arguments:")[2] or text, re.MULTILINE):
        invocation, _, explained = entry.replace("\n", "  ").partition("  ")
        default = re.search(r"default: (.*)\)$", explained)
        state = "required" if "(required" in explained else f"default {default[1]}" if default else "no default"
        found |= dict.fromkeys(re.findall(r"(?<!\S)--?[\w.+-]+", invocation) or [invocation.split()[0]], state)
    return found


def settings():
    """Keys and defaults of all settings."""
    kinds = (ccvae.ModelConfig, ccvae.TrainConfig, DataConfig, ccvae.evaluation.EvaluationConfig)
    return {kind.__name__: dataclasses.asdict(kind()) for kind in kinds}


# ---------------------------------------------------------------------- weights, files and measurements


def small_model(network):
    """A model with one label of each kind."""
    return ccvae.CCVAE(SPACE, NETWORKS[network], ccvae.ModelConfig(network=network, width=4, latent_dim=8))


def weights():
    """Shapes of a model's weights, by network and name."""
    return {
        network: {name: str(tuple(tensor.shape)) for name, tensor in small_model(network).state_dict().items()}
        for network in NETWORKS
    }


def run_folder():
    """Files of a run that was trained on a small folder of images, and the columns and keys in them."""
    rng = np.random.default_rng(0)
    with workplace() as place:
        (place / "images").mkdir()
        for number in range(60):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(place / "images" / f"{number:02d}.png")
        table = {"id": [f"{number:02d}.png" for number in range(60)], **random_labels(rng)}
        pd.DataFrame(table).to_csv(place / "labels.csv", index=False)
        train(place / "images", place / "run", ["--data.csv", str(place / "labels.csv"), "--data.size", "16"])
        return {"files": files(place / "run"), "contents": contents(place / "run")}


def measurements():
    """Files that evaluation adds to a run, and paths in metrics.json: of a table, and of pictures whose truth is known."""
    rng = np.random.default_rng(0)
    with workplace() as place:
        table = {**random_labels(rng), **{f"x{column}": rng.normal(size=60) for column in range(4)}}
        pd.DataFrame(table).to_csv(place / "table.csv", index=False)
        train(place / "table.csv", place / "run", ["--data.labels", "on,where,amount", "--figures", "false"])
        before = files(place / "run")
        run_main(["evaluate", str(place / "run"), *(f"--settings.{name}={count}" for name, count in COUNTS.items())])
        metrics = json.loads((place / "run" / "metrics.json").read_text())
        return {
            "files": sorted(set(files(place / "run")) - set(before)),
            "metrics.json": paths(metrics),
            "summary": [row["path"] for row in metrics["summary"]],
            **measurements_with_truth(),
        }


def measurements_with_truth():
    """Paths in the results for data with known truth; labels and variants have the same ones, and are put together."""
    sys.path.insert(0, str(HERE))
    from toy_pictures import LABELS, NAMES, SIZE, ReadsPixels, as_pictures, random_recipe, toy_data

    class Decoder(nn.Module):
        """Any latents become a picture that the oracle can read."""

        def forward(self, z):
            return as_pictures(random_recipe(np.random.default_rng(int(row.abs().sum() * 1000))) for row in z)

    torch.manual_seed(0)
    data, latents = toy_data(count=80), 8
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2 * latents))
    model = ccvae.CCVAE.for_data(data, encoder=encoder, decoder=Decoder(), latent_dim=latents)
    config = ccvae.evaluation.EvaluationConfig(**COUNTS)
    found = ccvae.evaluation.evaluate(model, data, config=config, oracle=ReadsPixels(), progress=False)
    together = dict.fromkeys(LABELS, "<label>") | dict.fromkeys(NAMES, "<variant>")
    return {
        "metrics.json with truth": paths(found, together),
        "summary with truth": [row["path"] for row in found["summary"]],
    }


@contextmanager
def workplace():
    """A folder for files and caches, removed afterwards."""
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, {"CCVAE_CACHE": str(Path(name) / "cache")}):
        yield Path(name)


def random_labels(rng):
    """60 rows of labels of all kinds."""
    return {
        "on": rng.integers(0, 2, 60),
        "where": rng.choice(["left", "right", "low"], 60),
        "amount": rng.normal(size=60).round(3),
    }


def train(source, out, words):
    """One epoch of a small model."""
    sizes = ["--data.validation", "20", "--data.test", "20", "--model.width", "4", "--training.batch_size", "10"]
    run_main(
        ["train", str(source), "--out", str(out), *sizes, "--training.epochs", "1", "--training.accelerator", "cpu", *words]
    )


def run_main(words):
    """Run a command that must succeed."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = main(words)
    assert code == 0, out.getvalue()


def files(folder):
    """Paths of a folder's files."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def contents(folder):
    """Columns of tables, sections and keys of settings and paths in JSON, by file."""
    found = {path.name: list(pd.read_csv(path)) for path in folder.glob("*.csv")}
    found |= {path.name: paths(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json")}
    for path in folder.glob("*.yaml"):
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.name] = {name: list(section) if isinstance(section, dict) else [] for name, section in sections.items()}
    return found


def paths(node, together=None):
    """Paths in nested results, sorted: list elements as [], and numbers with their intervals on one line."""
    return sorted(set(walked(node, "", together or {})))


def walked(node, path, together):
    if isinstance(node, dict) and node and "value" not in node:
        for key, child in node.items():
            key = together.get(key, key)
            yield from walked(child, f"{path}.{key}" if path else key, together)
    elif isinstance(node, dict):
        yield f"{path} {{{', '.join(sorted(node))}}}"
    elif isinstance(node, list) and node:
        for child in node:
            yield from walked(child, f"{path}[]", together)
    else:
        yield path + ("[]" if isinstance(node, list) else "")


# ---------------------------------------------------------------------- one bound


def bound():
    """Values of all terms, row by row, of a model with given weights."""
    model = small_model("mlp").double().eval()
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.named_parameters())):
            waves = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 1.7 + number)
            parameter.copy_(0.4 * waves.reshape(parameter.shape))
    nan = math.nan
    y = [[1, 2, 9], [0, nan, 14], [nan, 1, nan], [nan, nan, 7.5], [1, nan, nan], [0.3, 0, nan], [0, 1, 10], [nan, nan, nan]]
    y = torch.tensor(y, dtype=torch.float64)
    x = torch.cos(torch.arange(48, dtype=torch.float64)).reshape(8, 6)
    found = {}
    for estimator in ("exact", "paper"):
        torch.manual_seed(0)
        with torch.no_grad():
            terms = model.bound(x, y, estimator).terms()
        found[estimator] = {name: values.tolist() for name, values in terms.items()}
    return found


# ---------------------------------------------------------------------- the comparison

SECTIONS = {
    "names": names,
    "results": results,
    "commands": commands,
    "settings": settings,
    "weights": weights,
    "run folder": run_folder,
    "measurements": measurements,
    "bound": bound,
}


def lines(content):
    """A section as lines of text."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def difference(section, before, now):
    """What changed in a section, line by line; empty if nothing did."""
    return "\n".join(
        difflib.unified_diff(lines(before), lines(now), f"{section}, as written", f"{section}, now", n=4, lineterm="")
    )


def as_json(content):
    """Content as JSON gives it back."""
    return json.loads(json.dumps(content))


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "bound"])
def test_public_surface_is_unchanged(section):
    before = json.loads(SNAPSHOT.read_text(encoding="utf-8"))[section]
    changed = difference(section, before, as_json(SECTIONS[section]()))
    if changed:
        pytest.fail(f"the public surface changed; see the top of {Path(__file__).name}\n{changed}", pytrace=False)


def test_bound_is_unchanged():
    before, now = json.loads(SNAPSHOT.read_text(encoding="utf-8"))["bound"], bound()
    assert before.keys() == now.keys()
    for estimator, terms in before.items():
        assert terms.keys() == now[estimator].keys()
        for name, values in terms.items():
            assert now[estimator][name] == pytest.approx(values, rel=1e-9), f"{estimator}: {name}"


def write():
    """Write the snapshot again, and print what changed."""
    torch.set_num_threads(1)
    before = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    now = {section: as_json(found()) for section, found in SECTIONS.items()}
    changes = [difference(section, before.get(section, {}), now[section]) for section in SECTIONS]
    SNAPSHOT.write_text("\n".join(lines(now)) + "\n", encoding="utf-8")
    print("\n".join(filter(None, changes)) or "nothing changed")
    print(f"\nwrote {SNAPSHOT}; every change above needs a line in CHANGELOG.md under Unreleased")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("this replaces what users can rely on; to do so on purpose: python tests/test_public_api.py --write")
    write()
