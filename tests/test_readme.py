"""README and docs: their Python code runs, their commands are parsed, and what they name exists.

`make docs` builds the site of the docs, executes the tutorials at full size and checks anchors too.
"""

import functools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from ccvae.cli import main as cli

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
DOCUMENTS = [README, *sorted((REPOSITORY / "docs").rglob("*.md"))]
LONGEST_README = 130
"""Lines."""

SMALLER = {
    r"avatars\(\s*[\d_]+": "avatars(200",
    r"\bepochs=\d+": "epochs=1",
    r"\bfit\((\w+, data, [^,()]+)\)": r"fit(\1, epochs=1)",
    r"\blabelled=[\d_.]+": "labelled=80",
    r"\bhide\([\d_]+": "hide(80",
    r"\blatent_dim=\d+": "latent_dim=40",
    r"\bsize=\d+": "size=16",
    r"\b(\w+_)?steps=\d{3,}": r"\1steps=20",
    r"\bteachers=\d+": "teachers=1",
    r"\b(\w*rows|pictures|evidence_samples)=\d{2,}": r"\1=24",
    r"\bdraws=\d+": "draws=10",
}
"""What the code of the README is run with, so that it takes seconds: patterns and what stands in for them."""


def blocks(document: Path, *languages: str) -> list[tuple[int, str]]:
    """The code of a document in some languages: the number of each block's first line, and its text."""
    text = document.read_text()
    pattern = rf"^```(?:{'|'.join(languages)})[^\n]*\n(.*?)^```"
    found = re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def commands(document: Path, program: str) -> list[str]:
    """The command lines of a document that begin with some word."""
    text = "".join(block for _, block in blocks(document, "bash", "console", "sh", "shell")).replace("\\\n", " ")
    lines = [re.sub(r"^(\$ )?(\.venv/bin/)?", "", line.strip()) for line in text.splitlines()]
    return [line for line in lines if re.match(rf"{program}\s", line)]


def write_images(folder: Path) -> None:
    """Write what the README supposes that its reader has: images in `my_images`, and `labels.csv` with holes."""
    random = np.random.default_rng(0)
    smiling = random.integers(0, 2, 60)
    age = random.integers(20, 80, 60)
    (folder / "my_images").mkdir()
    for row in range(60):
        pixels = random.integers(100, 120, (24, 24, 3)) + 60 * smiling[row] + age[row] // 2
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "my_images" / f"{row}.png")
    table = pd.DataFrame({"image": [f"{row}.png" for row in range(60)], "Smiling": smiling, "age": age}).astype(object)
    table.loc[random.random(60) < 0.3, "Smiling"] = ""
    table.loc[random.random(60) < 0.3, "age"] = ""
    table.to_csv(folder / "labels.csv", index=False)


def smaller(document: Path) -> str:
    """A document's code, changed so that it takes seconds, each line at its own place, so that errors name it."""
    lines = [""] * document.read_text().count("\n")
    for start, text in blocks(document, "python"):
        for pattern, replacement in SMALLER.items():
            text = re.sub(pattern, replacement, text)
        lines[start - 1 : start - 1 + text.count("\n")] = text.splitlines()
    return "\n".join(lines)


@pytest.mark.parametrize("folder", sorted({document.parent for document in DOCUMENTS[1:]}), ids=lambda path: path.name)
def test_python_code_runs(folder: Path, tmp_path: Path) -> None:
    """The code of all documents of a folder, without a warning: in one process, since importing torch takes long.

    The README's runs in `test_package.py`, with what users install.
    """
    documents = [document for document in DOCUMENTS if document.parent == folder and blocks(document, "python")]
    for document in documents:
        place = tmp_path / document.stem
        place.mkdir()
        write_images(place)
        (place / document.name).write_text(smaller(document))
    program = "import os, runpy, sys\nfor path in sys.argv[1:]:\n    os.chdir(os.path.dirname(path))\n    runpy.run_path(path)"
    run = subprocess.run(
        [sys.executable, "-c", program, *(str(tmp_path / document.stem / document.name) for document in documents)],
        env=os.environ | {"CCVAE_CACHE": str(tmp_path / "cache"), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr


def is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a command line asks for help, or leads to a verb being called; none is."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "ccvae"
    arguments = arguments[: next((at for at, word in enumerate(arguments) if word in ("|", ">", "&&", ";")), None)]
    called: list[Any] = []
    for verb, function in list(cli.VERBS.items()):
        # of the same signature, which the parser is made of
        monkeypatch.setitem(cli.VERBS, verb, functools.wraps(function)(lambda *_, **given: called.append(given)))
    try:
        exit_code = cli.main(arguments)
    except SystemExit as stopped:
        exit_code = stopped.code
    return exit_code == 0 and (bool(called) or not arguments or "--help" in arguments)


@pytest.mark.parametrize("line", [line for document in DOCUMENTS for line in commands(document, "ccvae")])
def test_command_lines_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_understood(line, monkeypatch)


@pytest.mark.parametrize(
    "line", ["ccvae train", "ccvae trane avatars", "ccvae train avatars --epocks 3", "ccvae train avatars --training.epochs x"]
)
def test_wrong_command_lines_are_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_understood(line, monkeypatch)


def test_readme_is_short_and_shows_code() -> None:
    assert README.read_text().count("\n") <= LONGEST_README
    assert blocks(README, "python")


def test_there_are_command_lines() -> None:
    assert commands(README, "ccvae")


def test_what_it_says_to_make_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for line in commands(README, "make") for word in line.split("#")[0].split()[1:] if word.isalpha()}
    assert {"demo", "test"} <= named <= targets


def test_extras_exist() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    named = {extra.strip() for found in re.findall(r"ccvae\[([a-z, ]+)\]", README.read_text()) for extra in found.split(",")}
    assert named
    assert named <= extras


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, REPOSITORY / "CONTRIBUTING.md"], ids=lambda path: path.relative_to(REPOSITORY).as_posix()
)
def test_links_lead_to_files(document: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    def pages(entry: Any) -> Iterator[str]:
        for each in entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else []:
            yield from [each] if isinstance(each, str) else pages(each)

    site = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())
    listed = {page for page in pages(site["nav"]) if not page.startswith("repository/")}
    assert listed == {path.relative_to(REPOSITORY / "docs").as_posix() for path in DOCUMENTS[1:]}
