"""The cache gives whole folders or none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
import pytest

from ccvae.storage import cache
from ccvae.storage.cache import built_once, cache_root


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(text: str):
    return lambda folder: (folder / "content").write_text(text)


def visible(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if not entry.name.endswith(".lock"))


def in_another_process(root: Path, code: str) -> subprocess.Popen[str]:
    # the module by itself, which starts faster than the package
    code = f"import sys; sys.path.insert(0, {str(Path(cache.__file__).parent)!r}); from cache import built_once\n{code}"
    environment = {**os.environ, "CCVAE_CACHE": str(root)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def test_the_variable_names_the_root_and_else_it_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCVAE_CACHE", "~/elsewhere")
    assert cache_root() == Path.home() / "elsewhere"
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("CCVAE_CACHE")
        else:
            monkeypatch.setenv("CCVAE_CACHE", unset)
        assert cache_root() == Path(platformdirs.user_cache_dir("ccvae", appauthor=False))


def test_a_folder_is_built_the_first_time_only(root: Path) -> None:
    assert built_once("numbers-1.0", write("first")) == root / "numbers-1.0"
    assert built_once("numbers-1.0", write("second")) == root / "numbers-1.0"
    assert (root / "numbers-1.0" / "content").read_text() == "first"
    built_once("numbers-1.1", write("other"))
    assert visible(root) == ["numbers-1.0", "numbers-1.1"]


def test_an_error_leaves_nothing_and_the_next_call_builds(root: Path) -> None:
    def fail(folder: Path) -> None:
        write("half")(folder)
        raise RuntimeError("no more disk")

    with pytest.raises(RuntimeError, match="no more disk"):
        built_once("numbers", fail)
    assert visible(root) == []
    assert (built_once("numbers", write("whole")) / "content").read_text() == "whole"


def test_a_crash_leaves_nothing_that_is_taken_for_whole(root: Path) -> None:
    crash = in_another_process(
        root,
        """
import os
def build(folder):
    (folder / "content").write_text("half")
    os._exit(3)
built_once("numbers", build)""",
    )
    crash.communicate()
    assert crash.returncode == 3
    (left,) = visible(root)
    assert left.startswith(".numbers.")
    assert (built_once("numbers", write("whole")) / "content").read_text() == "whole"
    assert visible(root) == ["numbers"]


def test_of_processes_that_want_the_same_folder_one_builds_and_all_get_it(root: Path, tmp_path: Path) -> None:
    code = f"""
import os, time
def build(folder):
    (folder / "content").write_text(str(os.getpid()))
    time.sleep(0.3)
    with open({str(tmp_path / "log")!r}, "a") as log: log.write(f"{{os.getpid()}} ")
while time.time() < {time.time() + 0.7}: time.sleep(0.01)
print((built_once("numbers", build) / "content").read_text())"""
    outputs = [process.communicate()[0].strip() for process in [in_another_process(root, code) for _ in range(3)]]
    assert outputs == [(tmp_path / "log").read_text().strip()] * 3
    assert visible(root) == ["numbers"]


def test_where_another_machine_was_faster_its_copy_stays(root: Path) -> None:
    def build(folder: Path) -> None:
        write("slow")(folder)
        (root / "numbers").mkdir()
        write("fast")(root / "numbers")

    assert (built_once("numbers", build) / "content").read_text() == "fast"
    assert visible(root) == ["numbers"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".hidden", "a*", "a\\b"])
def test_a_name_that_is_no_plain_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a cached folder"):
        built_once(name, write(""))


def test_a_root_that_cannot_be_written_to_says_what_to_do(root: Path) -> None:
    root.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cannot write to the cache folder .*CCVAE_CACHE"):
        built_once("numbers", write(""))


def test_what_an_interrupted_build_left_is_there_for_the_next_only_if_it_asks_for_it(root: Path) -> None:
    def stop(folder: Path) -> None:
        write("half")(folder)
        raise KeyboardInterrupt

    def go_on(folder: Path) -> None:
        content = folder / "content"
        content.write_text(f"{content.read_text() if content.exists() else 'nothing'} and more")

    for resumable, expected in ((True, "half and more"), (False, "nothing and more")):
        name = f"numbers-{resumable}"
        with pytest.raises(KeyboardInterrupt):
            built_once(name, stop, resumable=resumable)
        assert not (root / name).exists()
        assert (built_once(name, go_on, resumable=resumable) / "content").read_text() == expected
    assert visible(root) == ["numbers-False", "numbers-True"]


def test_an_error_leaves_nothing_to_go_on_from(root: Path) -> None:
    def fail(folder: Path) -> None:
        write("half")(folder)
        raise RuntimeError("broken image")

    with pytest.raises(RuntimeError, match="broken image"):
        built_once("numbers", fail, resumable=True)
    assert visible(root) == []
