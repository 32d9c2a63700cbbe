"""Mutation score: how many small faults in the bound, label blocks, distributions and labels the tests notice.

    python benchmarks/mutation.py [--sample 25] [--seconds 20] [--again] [--out benchmarks/results/mutation.md]

A mutant is a module with one change (`mutants.py` lists the kinds). Of each module a sample is drawn with a seed, all mutants
where there are fewer. A mutant is killed if a test fails, or takes much longer than it should. Only the tests that reach the
changed line are run, the fastest first, and only as many as take `--seconds` together: a survivor may be killed by more.
Everything happens in a copy of the tree; each mutant has a process of its own, forked from one that has PyTorch loaded.

What was found is kept in `--state`, so that an interrupted run goes on, and `--again` tries the survivors again. The last
column of the list of survivors is for people, and is kept when the file is written again.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("model/bound.py", "model/label_blocks/*.py", "distributions/*.py", "labels/*.py")
TESTS = (
    "tests/distributions", "tests/labels", "tests/model/label_blocks", "tests/model/test_bound.py",
    "tests/model/test_numerics.py", "tests/model/test_label_weights.py",
    "src/ccvae/distributions", "src/ccvae/labels", "src/ccvae/model/bound.py", "src/ccvae/model/label_blocks",
)  # fmt: skip
LOADED_BEFORE = (
    "torch",
    "torch._dynamo",
    "pandas",
    "scipy.stats",
    "scipy.integrate",
    "hypothesis",
    "lightning",
    "coverage",
    "pytest",
)
"""What takes long to import, and is loaded once."""
NO_TESTS_FOUND, USAGE_ERROR = 5, 4
MEMORY = 16 << 30
OUTCOMES = ("killed", "survived", "not reached")


@dataclass
class Baseline:
    """What the tests do with the code as it is.

    Args:
        seconds: by test.
        reached: by module and line, the tests that run the line.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    reached: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    def tests(self, module: str, lines: range, seconds: float) -> list[str]:
        """Tests that reach some lines of a module, the fastest first, as many as take some seconds together.

        Lines that run when the module is imported matter to all its tests.
        """
        by_line = self.reached.get(module, {})
        found = {test for line in lines for test in by_line.get(line, [])}
        if "" in found:
            found = {test for tests in by_line.values() for test in tests}
        left, chosen = seconds, []
        for test in sorted(found - {""}, key=self.seconds.__getitem__):
            left -= self.seconds[test]
            if left < 0 and chosen:
                break
            chosen.append(test)
        files = dict.fromkeys(test.partition("::")[0] for test in chosen)  # file by file, for their fixtures
        return [test for file in files for test in chosen if test.partition("::")[0] == file]


class Recorder:
    """Plugin of pytest: the time of each test, and the lines that it runs."""

    def __init__(self, modules: Sequence[str]) -> None:
        import coverage

        self.seconds: dict[str, float] = {}
        self.start = 0.0
        self.coverage = coverage.Coverage(data_file=None, include=list(modules))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """What runs from now on belongs to a test."""
        self.coverage.switch_context(nodeid)
        self.start = time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        self.seconds[nodeid] = time.process_time() - self.start

    def baseline(self, modules: Sequence[str]) -> Baseline:
        """What was recorded."""
        data = self.coverage.get_data()
        lines = {module: data.contexts_by_lineno(str(Path(module).resolve())) for module in modules}
        return Baseline(self.seconds, lines)


class MutatedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from code that is given."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        """The code, whatever the file says."""
        return self.code


class MutatedFinder:
    """Finds one module, and gives it the code that was made for it."""

    def __init__(self, module: str, code: CodeType) -> None:
        self.name = ".".join(Path(module).with_suffix("").parts[1:]).removesuffix(".__init__")
        self.loader = MutatedLoader(self.name, module)
        self.loader.code = code

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        """Where the module comes from; None for any other."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


def in_a_process(work: Callable[[], int], seconds: float) -> int | None:
    """Exit code of some work in a forked process, None if it takes longer, in seconds of the CPU or ten times as many."""
    gc.freeze()
    process = os.fork()
    if not process:
        code = 3
        try:
            output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + 10 * seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.05)


def run_tests(tests: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Exit code of pytest, in this process."""
    import pytest
    from hypothesis import settings

    settings.register_profile("mutants", deadline=None, database=None, derandomize=True)  # the same examples for all
    quiet = [
        "-q",
        "--hypothesis-profile=mutants",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]  # hypothesis is loaded already
    return int(pytest.main(["-x", *quiet, "-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=list(plugins)))


def measure(modules: Sequence[str], kept: Path) -> Baseline:
    """Run all tests on the code as it is; what was found for the same code and tests before is used again."""
    texts = [path.read_bytes() for part in ("src", "tests") for path in sorted(Path(part).rglob("*.py"))]
    kept = kept.with_suffix(f".{zlib.crc32(b''.join(texts)):08x}.json")

    def work() -> int:
        recorder = Recorder(modules)
        with recorder.coverage.collect():
            code = run_tests(TESTS, [recorder])
        if code == 0:
            kept.write_text(json.dumps(asdict(recorder.baseline(modules))))
        return code

    if not kept.exists() and in_a_process(work, 3600) != 0:
        sys.exit(f"the tests fail, or take too long, without any change:\n{Path('output.txt').read_text()[-5000:]}")
    found = json.loads(kept.read_text())
    reached = {module: {int(line): tests for line, tests in lines.items()} for module, lines in found["reached"].items()}
    return Baseline(found["seconds"], reached)


def outcome(module: str, tree: ast.Module, mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
    """Whether tests notice a mutant: one of `OUTCOMES`."""
    if not tests:
        return "not reached"

    def work(chosen: Sequence[str]) -> int:
        mutant.apply()
        code = compile(ast.fix_missing_locations(tree), str(Path(module).resolve()), "exec", dont_inherit=True)
        finder = MutatedFinder(module, code)
        sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
        importlib.import_module(finder.name)  # before pytest, which loads the modules that its arguments name in its own way
        return run_tests(chosen)

    code = in_a_process(lambda: work(tests), 30 + 3 * seconds)
    if code in (NO_TESTS_FOUND, USAGE_ERROR):  # tests that have other names now, or a module that cannot be imported
        code = in_a_process(lambda: work(sorted({test.partition("::")[0] for test in tests})), 600)
    return "survived" if code == 0 else "killed"


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=25, help="mutants of each module")
    parser.add_argument("--seconds", type=float, default=20, help="most seconds of tests for one mutant")
    parser.add_argument("--again", action="store_true", help="try survivors again")
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "mutation.json", help="what was found so far")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    return parser.parse_args()


def main() -> None:
    arguments = arguments_given()
    state, out = arguments.state.resolve(), None if arguments.out is None else arguments.out.resolve()
    state.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, Any]] = json.loads(state.read_text()) if state.exists() else {}
    modules = [str(path.relative_to(ROOT)) for pattern in MODULES for path in sorted((ROOT / "src/ccvae").glob(pattern))]
    for name in LOADED_BEFORE:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, Path(folder) / part)
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.chdir(folder)
        sys.path.insert(0, str(Path(folder) / "src"))
        os.environ["PYTHONPATH"] = sys.path[0]
        sys.dont_write_bytecode = False
        baseline = measure(modules, state)
        print(f"{len(baseline.seconds)} tests take {sum(baseline.seconds.values()):.0f} seconds", flush=True)
        for module in modules:
            text = Path(module).read_text()
            tree, version = ast.parse(text), f"{zlib.crc32(text.encode()):08x}"
            entry = known.setdefault(module, {"source": version, "all": 0, "found": {}})
            if entry["source"] != version:
                entry |= {"source": version, "found": {}}
            mutants = mutants_of(tree)
            entry["all"] = len(mutants)
            drawn = random.Random(module).sample(mutants, len(mutants))[: arguments.sample]
            before = entry["found"]
            left = [each for each in drawn if each.name not in before or (arguments.again and before[each.name] != "killed")]
            if not left or arguments.only not in module:
                continue
            nothing = Mutant(1, range(1, 2), "nothing", lambda: None)
            if outcome(module, tree, nothing, baseline.tests(module, nothing.lines, 3), 600) == "killed":
                sys.exit(f"{module}: tests fail without any change:\n{Path('output.txt').read_text()[-5000:]}")
            for mutant in left:
                tests = baseline.tests(module, mutant.lines, arguments.seconds)
                before[mutant.name] = outcome(module, tree, mutant, tests, arguments.seconds)
                print(f"{before[mutant.name]:12} {module}:{mutant.name}", flush=True)
                state.write_text(json.dumps(known, indent=1))
        os.chdir(ROOT)
    text = report(known, arguments, notes_in(out))
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def notes_in(out: Path | None) -> dict[str, str]:
    """What people wrote about survivors, by module and mutant."""
    if out is None or not out.exists():
        return {}
    cells = [line.strip("|").split(" | ") for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip(): row[-1].strip() for row in cells if len(row) == 3}


def report(known: dict[str, dict[str, Any]], arguments: argparse.Namespace, notes: dict[str, str]) -> str:
    """The tables as Markdown."""
    rows, survivors, sums = [], [], [0, 0, 0]
    for module, entry in known.items():
        found = list(entry["found"].values())
        if not found:
            continue
        counts = (entry["all"], len(found), found.count("killed"))
        sums = [before + count for before, count in zip(sums, counts, strict=True)]
        rows.append(f"| {module.removeprefix('src/ccvae/')} | {' | '.join(map(str, counts))} | {counts[2] / counts[1]:.0%} |")
        for name, what in entry["found"].items():
            if what != "killed":
                key = f"`{module.removeprefix('src/ccvae/')}:{name.replace('|', chr(0xA6))}`"
                survivors.append(f"| {key} | {what} | {notes.get(key, '')} |")
    return "\n".join(
        [
            "# Mutation score",
            "",
            f"`python benchmarks/mutation.py --sample {arguments.sample} --seconds {arguments.seconds:g}`, then with `--again` "
            "after tests were added: single changes of the code, and how many of them the tests notice.",
            "",
            f"**{sums[2] / max(sums[1], 1):.1%}** of {sums[1]} mutants, drawn from {sums[0]}, were killed. Modules that are "
            "not in the table were not tried.",
            "",
            "| module | mutants | tried | killed | score |",
            "|---|---:|---:|---:|---:|",
            *rows,
            "",
            "## Survivors",
            "",
            "| where and what | | why |",
            "|---|---|---|",
            *survivors,
            "",
        ]
    )


if __name__ == "__main__":
    main()
