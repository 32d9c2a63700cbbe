"""What holds for the package as a whole: directions of imports, their cost, sizes, and what is shipped."""

import ast
import importlib
import io
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

import ccvae
import ccvae.data

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "ccvae"

ROOMS = (
    "labels", "config", "storage", "distributed", "distributions", "drawing", "model", "data", "training", "baselines",
    "evaluation", "reports", "integrations", "cli",
)  # fmt: skip
"""Packages and modules at the top of ccvae: each may import those before it only, inside functions too."""

LARGEST_MODULE = 350
"""Lines of code, without blank lines, comments and docstrings."""

LIGHT = {
    "ccvae": ("numpy", "pandas"),
    "ccvae.config": ("numpy", "pandas"),
    "ccvae.cli.main": ("numpy", "pandas"),
    "ccvae.data": ("numpy", "pandas"),
    "ccvae.labels": (),
    "ccvae.data.synthetic_faces.drawing": (),  # imported by every process that draws
}
HEAVY = (
    "torch",
    "lightning",
    "torchmetrics",
    "matplotlib",
    "scipy",
    "sklearn",
    "datasets",
    "dicebear",
    "tensorboard",
    "gradio",
)

UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def name_of(path: Path) -> str:
    parts = ("ccvae", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text(), str(path)) for path in sorted(SOURCE.rglob("*.py"))}


def parent_of(module: str) -> str:
    """The package in which the relative imports of a module start."""
    return module if (SOURCE.parent / Path(*module.split("."))).is_dir() else module.rpartition(".")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_in(nodes: list[Any]) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports of some code, those inside functions too, but not those that only type checkers see."""
    for node in nodes:
        if is_type_checking(node):
            yield from imports_in(node.orelse)
        else:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node
            yield from imports_in(list(ast.iter_child_nodes(node)))


def imported(module: str, tree: ast.Module) -> set[str]:
    """Modules of ccvae that a module imports, at its top or inside functions."""
    found = set()
    for node in imports_in(tree.body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            base = node.module or ""
            if node.level:
                start = parent_of(module).split(".")
                base = ".".join([*start[: len(start) - node.level + 1], *([base] if base else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in TREES else base for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "ccvae"} - {module}


IMPORTED = {module: imported(module, tree) for module, tree in TREES.items()}


def room_of(module: str) -> int:
    return ROOMS.index(module.split(".")[1])


def test_every_module_has_its_room() -> None:
    assert {module.split(".")[1] for module in TREES if "." in module} <= {*ROOMS, "__main__"}
    assert len(ROOMS) <= 14


def test_imports_go_one_way() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTED.items()
        if module not in ("ccvae", "ccvae.__main__")
        for other in others
        if other == "ccvae" or room_of(other) > room_of(module)
    ]
    assert not wrong
    assert set(TopologicalSorter(IMPORTED).static_order()) == set(TREES), "there is no circle within a room either"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import ccvae.labels", {"ccvae.labels"}),
        ("from ccvae.labels import LabelSpace, Binary", {"ccvae.labels"}),
        ("from ccvae import labels as kinds, CCVAE", {"ccvae.labels", "ccvae"}),
        ("from ..dataset import Dataset\nfrom ...model import CCVAE", {"ccvae.data.dataset", "ccvae.model"}),
        ("if True:\n    try:\n        import ccvae.model\n    except ImportError:\n        pass", {"ccvae.model"}),
        ("if TYPE_CHECKING:\n    import ccvae.model\nelse:\n    import ccvae.labels", {"ccvae.labels"}),
        ("class Reader:\n    import ccvae.model", {"ccvae.model"}),
        ("def read():\n    import ccvae.model", {"ccvae.model"}),
        ("import numpy, ccvae.data.images.image_cache", set()),
    ],
)
def test_imports_are_found(code: str, found: set[str]) -> None:
    assert imported("ccvae.data.images.image_cache", ast.parse(code)) == found


@pytest.mark.parametrize("module", ["ccvae", "ccvae.data", "ccvae.evaluation", "ccvae.integrations"])
def test_packages_import_what_they_export_on_first_use(module: str) -> None:
    assert IMPORTED[module] <= {"ccvae.config"}
    package = importlib.import_module(module)
    [for_types] = [node for node in TREES[module].body if is_type_checking(node)]
    assert isinstance(for_types, ast.If)
    homes = {
        alias.name: node.module
        for node in for_types.body
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module != module
        for alias in node.names
    }
    assert homes.keys() | {"__version__", "data", "EvaluationConfig"} >= set(package.__all__) >= homes.keys()
    for name in package.__all__:
        assert name in {*dir(package), *vars(package)}
        found = getattr(package, name)
        assert name not in homes or found is getattr(sys.modules[homes[name]], name), "type checkers must see what users get"
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "ccvae" in loaded
    assert not {*HEAVY, *LIGHT[module]} & set(loaded)


def test_help_imports_nothing_heavy() -> None:
    code = """
import contextlib, sys, ccvae.cli.main
for verb in ["", *ccvae.cli.main.VERBS]:
    with contextlib.suppress(SystemExit):
        ccvae.cli.main.main([*verb.split(), "--help"])
print("loaded:", *{name.partition(".")[0] for name in sys.modules})
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    told, _, loaded = shown.rpartition("loaded:")
    assert "classify, generate, intervene" in told
    assert "--training.epochs" in told
    assert not {*HEAVY, "pandas"} & set(loaded.split())


@pytest.mark.parametrize("module", TREES)
def test_modules_are_small(module: str) -> None:
    path = Path(SOURCE.parent, *module.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    assert len(lines) <= LARGEST_MODULE, "split it"


@pytest.mark.parametrize("module", [module for module, tree in TREES.items() if len(tree.body) > 1])
def test_modules_say_what_they_export(module: str) -> None:
    exported = importlib.import_module(module).__all__
    assert len(set(exported)) == len(exported)
    for name in exported:
        assert hasattr(importlib.import_module(module), name)


def unsafe(tree: ast.AST) -> list[str]:
    """Whatever in some code might run what a file holds."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in UNSAFE_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            tensors_only, _, when = given.get("weights_only", "None").partition(" if ")
            path, _, resumed = given.get("ckpt_path", "None").partition(" if ")
            loads = called in ("torch.load", "load_checkpoint") or called.endswith(".load_from_checkpoint") or path != "None"
            if loads and (tensors_only != "True" or when not in ("", resumed)):
                found.append(f"{called} without weights_only=True")
            if given.get("allow_pickle") == "True" or called.endswith("read_pickle"):
                found.append(called)
            if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"):
                found.append(called)
    return found


def test_no_file_can_run_code() -> None:
    assert {module: unsafe(tree) for module, tree in TREES.items() if unsafe(tree)} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def read():\n    from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "Training.load_from_checkpoint(path)",
        "trainer.fit(training, batches, ckpt_path=path)",
        "trainer.fit(training, ckpt_path=path if resume else None, weights_only=True if path else None)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "yaml.load(text, Loader)",
    ],
)
def test_unsafe_code_is_found(code: str) -> None:
    assert unsafe(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["torch.load(path, weights_only=True)", "np.load(path)", "yaml.safe_load(text)", "model.fit(x)"]
)
def test_safe_code_is_left_alone(code: str) -> None:
    assert not unsafe(ast.parse(code))


def test_wheel(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = f"ccvae-{ccvae.__version__}.dist-info"
        assert "ccvae = ccvae.cli.main:main" in archive.read(f"{metadata}/entry_points.txt").decode()
        assert "License-Expression: MIT" in archive.read(f"{metadata}/METADATA").decode()
    assert {"ccvae/py.typed", f"{metadata}/licenses/LICENSE"} <= names
    assert {f"ccvae/{path.relative_to(SOURCE).as_posix()}" for path in SOURCE.rglob("*.py")} <= names
    templates = {f"ccvae/{path.relative_to(SOURCE).as_posix()}" for path in SOURCE.rglob("templates/*")}
    assert "ccvae/drawing/templates/page.html" in templates
    assert templates <= names
    assert all(name.startswith(("ccvae/", f"{metadata}/")) for name in names), "the package, and nothing else"
