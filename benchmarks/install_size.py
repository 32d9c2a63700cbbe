"""Megabytes of the lightest install, and what every extra adds: the files of the packages that this environment has.

    python benchmarks/install_size.py     # seconds, downloads nothing; writes benchmarks/results/install_size.md

For every extra, the packages that it needs and the lightest install does not are found from the metadata of what is installed,
and the sizes of their files on the disk are summed. Compiled Python files are left out. PyTorch's size is that of the build
installed here.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
LEFT_OUT = ("test", "docs")
"""Extras for development."""


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def needed(requirements: list[str]) -> tuple[set[str], set[str]]:
    """Packages that requirements lead to; and those of them that are not installed here."""
    found: set[str] = set()
    absent: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(each.name), frozenset(each.extras)) for each in map(Requirement, requirements)]
    while waiting:
        this = waiting.pop()
        if this in seen:
            continue
        seen.add(this)
        package = installed(this[0])
        if package is None:
            absent.add(this[0])
            continue
        found.add(this[0])
        for text in package.requires or ():
            requirement = Requirement(text)
            environments = [dict(default_environment(), extra=extra) for extra in (*this[1], "")]
            if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found, absent


def megabytes(name: str) -> float:
    package = distribution(name)
    paths = [Path(str(package.locate_file(file))) for file in package.files or () if "__pycache__" not in file.parts]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    base, absent = needed(project["dependencies"])
    own = sum(path.stat().st_size for path in (REPOSITORY / "src").rglob("*") if path.is_file() and path.suffix != ".pyc")
    sizes = {name: megabytes(name) for name in base} | {"ccvae": own / 1e6}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    lines = []
    for extra in sorted({*extras} - {*LEFT_OUT}):
        more, missing = needed([*project["dependencies"], *extras[extra]])
        added = {name: megabytes(name) for name in more - base}
        shown = ", ".join(f"{name} {size:.0f}" for name, size in sorted(added.items(), key=lambda item: -item[1])[:4])
        unknown = f"; not installed here: {', '.join(sorted(missing - absent))}" if missing - absent else ""
        lines.append(f"| `{extra}` | {sum(added.values()):.0f} | {len(added)} | {shown}{unknown} |")
    text = [
        "# Size of an installation",
        "",
        f"`python benchmarks/install_size.py` with Python {sys.version.split()[0]}, torch {version('torch')}, on Linux x86-64.",
        "",
        f"The lightest install, `pip install ccvae`, is **{sum(sizes.values()):,.0f} MB** in {len(sizes)} packages. The",
        f"largest are {', '.join(f'{name} {size:,.0f} MB' for name, size in largest)};",
        f"ccvae itself is {sizes['ccvae']:.1f} MB. PyTorch's builds for NVIDIA GPUs, which plain pip takes on Linux, are",
        "several gigabytes larger.",
        "",
        "| extra | adds MB | packages | the largest, in MB |",
        "|---|---|---|---|",
        *lines,
        "",
        "Extras share packages, so two together add less than the sum.",
        "",
    ]
    (RESULTS / "install_size.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
