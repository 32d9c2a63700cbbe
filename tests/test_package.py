"""The wheel and the source distribution, installed into fresh environments: what users get, without this repository.

The environments see the packages of this one through a path file, so that nothing is downloaded. A path file within that folder
is not read, so ccvae itself comes from the wheel only.
"""

import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import ccvae
from test_readme import README, REPOSITORY, commands, smaller, write_images

SMALLER_COMMANDS = {
    r"^ccvae train avatars": r"\g<0> --data.options '{count: 120}' --data.size 16 --training.epochs 1 --figures false",
    r"^ccvae train my_images": r"\g<0> --training.epochs 1 --figures false",
    r"--data\.labelled \d+": "--data.labelled 60",
    r"--data\.size \d+": "--data.size 16",
    r"^ccvae export runs/\w+": r"\g<0> --graphs [decoder]",
    r"^ccvae evaluate runs/\w+": r"\g<0> --settings.rows 20 --settings.pictures 20 --settings.evidence_rows 2",
}
"""What the README's commands are run with, so that they take seconds; the words that are given last are the ones that count."""
IN_ONE_PROCESS = """
import os, shlex, sys
from pathlib import Path
import ccvae
from ccvae.cli.main import main
for line in Path("commands.txt").read_text().splitlines():
    code = main(shlex.split(line, comments=True)[1:])
    sys.stderr.flush()
    print(code, line, flush=True)
print(ccvae.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    [wheel] = WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"])
    [source] = SdistBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"])
    return Path(wheel), Path(source)


@pytest.fixture(scope="module")
def fresh(built, tmp_path_factory):
    """A fresh environment with the wheel, and an empty folder to work in."""
    place = tmp_path_factory.mktemp("fresh")
    return environment(place / "env", built[0]), place


def environment(folder: Path, package: Path) -> Path:
    """A new environment with a package, and with what this environment has; its Python."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    words = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    run(sys.executable, "-m", "pip", "--python", str(python), *words, str(package))
    (own / "packages_of_the_tests.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def run(program, *arguments, cwd=None, **variables):
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(program), *arguments], cwd=cwd, env=plain | variables, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def test_it_is_the_installed_package(fresh):
    python, place = fresh
    shown = run(python, "-c", "import ccvae; print(ccvae.__file__, ccvae.__version__)", cwd=place).split()
    assert shown[0].startswith(str(place / "env"))
    assert shown[1] == ccvae.__version__
    assert run(python.parent / "ccvae", "--version", cwd=place) == f"ccvae {ccvae.__version__}\n"


def test_code_of_the_readme_runs(fresh):
    """With small numbers; that the repository is not there, its documents and tests included, is all that is new here."""
    python, place = fresh
    work = place / "python"
    work.mkdir()
    write_images(work)
    (work / "readme.py").write_text(smaller(README) + "\nprint(ccvae.__file__)\n")
    shown = run(
        python, "-W", "error", "readme.py", cwd=work, CCVAE_CACHE=str(place / "cache"), MPLBACKEND="Agg", OMP_NUM_THREADS="1"
    )
    assert shown.splitlines()[-1].startswith(str(place / "env"))
    assert (work / "runs" / "avatars" / "model.safetensors").exists()


def test_commands_of_the_readme_run(fresh):
    """In their order, in one process: importing torch takes seconds. The program itself is `main` of the same module."""
    python, place = fresh
    work = place / "commands"
    work.mkdir()
    write_images(work)
    lines = commands(README, "ccvae")
    for pattern, replacement in SMALLER_COMMANDS.items():
        assert any(re.search(pattern, line) for line in lines), f"{pattern} matches no command"
        lines = [re.sub(pattern, replacement, line) for line in lines]
    (work / "commands.txt").write_text("\n".join(lines))
    variables = {"CCVAE_CACHE": str(place / "cache"), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    shown = run(python, "-c", IN_ONE_PROCESS, cwd=work, **variables).splitlines()
    assert [f"0 {line}" for line in lines] == [line for line in shown if line[2:] in lines]
    assert shown[-1].startswith(str(place / "env"))
    pictures = {"glasses.png", "hats.png", "smiling.png", "transferred.png", "predictions.csv"}
    assert pictures <= {path.name for path in work.iterdir()}
    assert (work / "runs" / "faces" / "evaluation.html").exists()


def test_types_are_seen_from_outside(fresh):
    """The package has `py.typed`, and a strict program of a user has no errors."""
    python, place = fresh
    (place / "mypy.ini").write_text("[mypy]\nstrict = True\nuntyped_calls_exclude = torch\n")
    if (REPOSITORY / ".mypy_cache").exists():  # what is known of other packages' types saves a minute
        shutil.copytree(REPOSITORY / ".mypy_cache", place / "mypy")
    words = ["--config-file", "mypy.ini", "--python-executable", str(python), "--cache-dir", str(place / "mypy")]
    right, wrong = REPOSITORY / "tests" / "typed_program.py", place / "wrong.py"
    wrong.write_text("import ccvae\nccvae.load(5)\nccvae.TrainConfig(epochs='many')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words, str(right), str(wrong)], cwd=place, capture_output=True, text=True, check=False
    )
    *errors, summary = done.stdout.splitlines()
    assert [line.split(":")[:2] for line in errors if ": error:" in line] == [["wrong.py", "2"], ["wrong.py", "3"]], done.stdout
    assert summary == "Found 2 errors in 1 file (checked 2 source files)"


def test_the_source_distribution_makes_the_same_wheel(built, tmp_path):
    wheel, source = built
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    assert {"src", "tests", "benchmarks", "examples", "constraints.txt", "Makefile", "README.md", "LICENSE"} <= {
        path.name for path in unpacked.iterdir()
    }
    [again] = WheelBuilder(str(unpacked)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(again) as theirs:
        assert {each.filename: each.CRC for each in ours.infolist()} == {each.filename: each.CRC for each in theirs.infolist()}
