"""Malformed inputs of all readers and commands: exit code 2, one clear message, nothing half-written, in bounded time.

Cases are grouped by kind; `docs/safety.md` has the table of kinds with their numbers, which a test here compares.
"""

import contextlib
import gzip
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import ccvae
from ccvae.cli.main import main
from ccvae.config import DataConfig
from ccvae.data.open import open_data
from ccvae.data.readers.fashion_mnist import read_idx
from ccvae.data.tables.files import read_table
from ccvae.labels import Binary, Categorical, LabelSpace
from ccvae.model.calibration import Calibration
from ccvae.model.ccvae import CCVAE
from ccvae.model.inputs.format import InputFormat
from ccvae.model.inputs.reading import open_inputs
from ccvae.storage.files import read_json
from ccvae.storage.yaml_text import parse_yaml


def read_images(paths, shape):
    """All images of paths, read as a model does."""
    return [row for batch in open_inputs(paths, shape, InputFormat()).batches(64) for row in batch]


LONGEST = 30
PATIENCE = 5 * LONGEST
"""Seconds that a command may take to refuse its input."""
LARGEST = 2 * 2**30
"""Bytes of memory that it may take, with all that was imported before."""
MEASURED = os.environ.get("CCVAE_MEASURED")
"""File to which the seconds and megabytes of every test are added; `benchmarks/malformed_inputs.py` makes a table of it."""
DRAWN = 25
"""Inputs that hypothesis draws for each of the tests below; CI's soak draws more."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Good inputs that cases damage: a run on images, images, and tables."""
    place = tmp_path_factory.mktemp("honest")
    (place / "images").mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,on,where,amount"]
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(place / "images" / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{('left', 'right', 'low')[number % 3]},{number / 7:.3f}")
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    rows = [f"{number % 2},{rng.normal():.3f},{rng.normal():.3f}" for number in range(30)]
    (place / "table.csv").write_text("\n".join(["on,x,y", *rows]) + "\n")
    torch.manual_seed(0)
    space = LabelSpace((Binary("on"), Categorical("where", ("left", "right", "low"))))
    model = CCVAE(space, (1, 16, 16), ccvae.ModelConfig(network="mlp", width=1, latent_dim=6))
    model.save(place / "run")
    return place


@pytest.fixture
def place(honest, tmp_path, monkeypatch):
    """A working directory with a copy of the good inputs."""
    shutil.copytree(honest, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "work"


def peak_memory():
    """Most bytes that this process has taken since the last `forget_peak`; None where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return None if found is None else int(found[1]) * 1024


def processor_seconds():
    """Seconds that this process and those that it started and waited for have had on a processor."""
    return sum(os.times()[:4])


def forget_peak():
    """Start to measure the peak of memory again."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@pytest.fixture(autouse=True)
def within_limits(request):
    """Every test here ends in time, that of other programs on the machine not counted, and takes no more memory than it may."""
    forget_peak()
    begun, started = time.monotonic(), processor_seconds()
    yield
    seconds, memory = processor_seconds() - started, peak_memory()
    if MEASURED:
        with Path(MEASURED).open("a", encoding="utf-8") as file:
            file.write(f"{request.node.originalname}\t{seconds:.3f}\t{(memory or 0) / 2**20:.0f}\n")
    assert seconds < LONGEST
    assert time.monotonic() - begun < PATIENCE, "it waited"
    assert memory is None or memory < LARGEST


def contents(folder):
    """All files below a folder, with their sizes and times."""
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if not path.is_dir()}


def refused(words, place, capsys):
    """Run a command in this process, which must refuse; returns the message."""
    before, started = contents(place), time.monotonic()
    capsys.readouterr()
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    error = capsys.readouterr().err
    assert code == 2, f"{words} ended with {code}: {error}"
    assert "Traceback" not in error
    message = error[error.rindex("error:") :].strip()
    assert len(message) > len("error: ") + 5
    assert "\n" not in message, message
    assert len(message) < 1500, message
    assert time.monotonic() - started < LONGEST
    assert contents(place) == before, "nothing was written"
    return message


# ---------------------------------------------------------------------- arguments

ARGUMENTS = """
predict
report
evaluate
generate
intervene
intervene run
traverse
traverse run
transfer run
counterfactual run
compare
compare run
data check
data cache
train
train mnist
train fashion_mnist/nowhere
train nowhere
train digits extra
train digits --nothing 1
train digits --training.epoch 3
train digits --training.epochs
train digits --training.epochs x
train digits --training.epochs 1.5
train digits --training.epochs 0
train digits --training.epochs 1e30
train digits --training.epochs 1000000000000000000000
train digits --training.batch_size 1
train digits --training.learning_rate nan
train digits --training.learning_rate -1
train digits --training.learning_rate 1e400
train digits --training.seed -1
train digits --training.seed 99999999999999999999
train digits --training.estimator other
train digits --training.precision half
train digits --training.accelerator tpu
train digits --training.accelerator other
train digits --training.devices 0
train digits --training.devices many
train digits --training.strategy other
train digits --training.num_nodes 0
train digits --training.label_weights 5
train digits --training.label_weights '{nothing: 2}'
train digits --training.label_weights '{digit: -2}'
train digits --training.label_weights '{digit: [1]}'
train digits --training.estimator paper --training.label_weights '{digit: 2}'
train digits --model.width wide
train digits --model.width 0
train digits --model.width 1000000000
train digits --model.latent_dim 1000000000
train digits --model.latent_dim 3
train digits --model.block_dim 1000000000
train digits --model.block_dim '{digit: 1000000000}'
train digits --model.block_dim '{nothing: 2}'
train digits --model.block_dim '{digit: x}'
train digits --model.network other
train digits --model.dropout 1.5
train digits --model.scale 0
train digits --model.encoder nothing
train digits --model.encoder nothing:Encoder
train digits --model.encoder os:getcwd
train digits --model.likelihood other
train digits --data.size 8
train digits --data.size 300
train digits --data.size 1000000000
train digits --data.size x
train digits --data.size -4
train digits --data.labelled x
train digits --data.labelled -1
train digits --data.labelled 1
train digits --data.labelled 1000000
train digits --data.labelled_per_class 0
train digits --data.labelled_per_class 1000000
train digits --data.labelled 10 --data.labelled_per_class 10
train digits --data.validation -1
train digits --data.validation 100000
train digits --data.test 1.5
train digits --data.reader other
train digits --data.options 5
train digits --data.options '{nothing: 1}'
train digits --data.options '{size: large}'
train digits --data.options '{size: [1, 2, 3]}'
train digits --data.options '{labelled: [1]}'
train digits --data.options '{seed: x}'
train digits --data.csv labels.csv
train digits --out labels.csv
train digits --out labels.csv/inside
train digits --out /proc/nothing
train digits --config nowhere.yaml
train digits --config '{a'
train run
train images
train labels.csv
generate run --device other
generate run --device cuda:99
generate run --device meta
generate run --count 0
generate run --count -1
generate run --count 1000000000
generate run --count 1000000000 --out folder
generate run --count x
generate run --seed -1
generate run --seed 100000000000000000000
generate run --given on
generate run --given nothing=1
generate run --given on=7
generate run --given on=1 --strength 2
generate run --given on=1 --strength nan
generate run --given where=up
generate run --out /proc/nothing.png
generate run --out labels.csv/inside.png
intervene run nothing --images images
intervene run nothing=1 --images images
intervene run on=9 --images images
intervene run on=1 --images images --strength 7
intervene run on=1 --images images --seed -1
intervene run on=1
traverse run nothing --images images
traverse run on,on --images images
traverse run on --images images --steps 1
traverse run on --images images --steps 1000000000
traverse run on,where --images images --steps 100000
traverse run on --images images --strength 1.5
transfer run nothing --source images/0.png --targets images
transfer run on --source nowhere.png --targets images
transfer run on --source images/0.png --targets images --count 0
counterfactual run nothing --images images
counterfactual run on --value 7 --images images
counterfactual run on --probability 7 --images images
predict run
predict run --images nowhere.png
predict run --images labels.csv
predict run --images '[]'
predict run --images '[images/0.png, nowhere.png]'
predict run --images /dev/zero
predict run --images images --threshold 7
predict run --images images --threshold other
predict run --split all
predict run --images images --out /proc/nothing.csv
predict images
predict labels.csv
predict nowhere
evaluate run
evaluate run --settings.rows 0
evaluate run --settings.rows 1000000000000
evaluate run --settings.draws 1000000000
evaluate run --settings.evidence_samples 1000000000
evaluate run --settings.conditions 1000000 --settings.repeats 1000000
evaluate run --device other
report run
report nowhere
compare run run
compare run nowhere
data check nowhere
data check images --data.csv nowhere.csv
data check images --data.csv images
data check table.csv
data check table.csv --data.labels nothing
data check table.csv --data.labels on --data.kinds '{on: other}'
data check table.csv --data.labels on --data.kinds '{nothing: binary}'
data check table.csv --data.labels on --data.group_column nothing
data check table.csv --data.labels on --data.split_column on
data check table.csv --data.labels on --data.id_column nothing
data check table.csv --data.labels on --html /proc/nothing.html
data check digits --html labels.csv/inside.html
data avatars --count 1
data avatars --count 1000000000
data avatars --size 1
data avatars --size 100000
data avatars --style other
data avatars --seed -1
data cache nowhere
export
export run --graphs nothing
export run --graphs '[encoder, 5]'
export run --graphs '[]'
export run --graphs '{a: 1}'
export run --out labels.csv
export run --out labels.csv/inside
export run --out /proc/nothing
export nowhere
export images
export labels.csv
export hf://nothing
export hf://a/b/c
export hf://../b
card
card run
card run --license 'a b'
card run --license '[mit]'
card run --unmeasured --license ''
card run --unmeasured --out /proc/nothing.md
card run --unmeasured --out labels.csv/inside.md
card run --unmeasured --out images
card nowhere
card labels.csv
card hf://a/b
card avatars-64
evaluate run --split all
evaluate run --settings.rows x
evaluate run --settings.seed -1
evaluate run --settings.nothing 1
evaluate run --settings 5
evaluate hf://a/b
evaluate avatars-64
evaluate labels.csv
report hf://a/b
report avatars-64
report labels.csv
compare run run --others 5
compare run run --others '[nowhere]'
compare run labels.csv
compare hf://a/b hf://a/b
predict hf://a
predict hf://a/b@
predict 'hf://a/b c'
train digits --resume perhaps
train digits --from nowhere
train digits --from labels.csv
train digits --from run --model.width 3
train digits --from run
train digits --figures perhaps
train digits --out run
""".strip().splitlines()


@pytest.mark.parametrize("line", ARGUMENTS)
def test_arguments(place, capsys, line):
    refused(shlex.split(line), place, capsys)


# ---------------------------------------------------------------------- tables


def bomb(byte=b"a", size=2**31):
    """A gzip file that unpacks to two gigabytes."""
    packer, out = zlib.compressobj(9, zlib.DEFLATED, 31), io.BytesIO()
    for _ in range(size >> 24):
        out.write(packer.compress(byte * ((1 << 24) // len(byte))))
    out.write(packer.flush())
    return out.getvalue()


TABLES = {
    "empty": b"",
    "blank lines": b"\n\n\n",
    "header only": b"file,on\n",
    "one byte": b"\xff",
    "utf-16": "file,on\n0.png,1\n".encode("utf-16"),
    "latin-1": b"file,on\n0.png,\xe9\n1.png,0\n",
    "zero bytes": b"file,on\n0.png,\x00\n",
    "only zeros": bytes(1000),
    "zip": b"PK\x03\x04" + bytes(50),
    "gzip cut short": gzip.compress(b"file,on\n0.png,1\n" * 100)[:-20],
    "gzip damaged": gzip.compress(b"file,on\n0.png,1\n" * 100)[:20] + bytes(20),
    "gzip header only": b"\x1f\x8b",
    "repeated columns": b"file,on,on\n0.png,1,0\n",
    "empty names of columns": b"file,,\n0.png,1,0\n",
    "ragged": b"file,on\n0.png,1,2\n1.png\n",
    "quote not closed": b'file,on\n"0.png,1\n1.png,0\n',
    "quote within": b'file,on\n"0".png,1\n',
    "no such images": b"file,on\na.png,yes\nb.png,no\n",
    "constant label": b"file,on\n0.png,1\n1.png,1\n",
    "never observed": b"file,on\n0.png,\n1.png,\n",
    "no labels": b"file\n0.png\n1.png\n",
    "repeated images": b"file,on\n0.png,1\n0.png,0\n1.png,1\n",
    "paths out of the folder": b"file,on\n../labels.csv,yes\n../../etc/passwd,no\n",
    "urls": b"file,on\nhttps://example.org/0.png,yes\nfile:///etc/passwd,no\n",
    "decimal commas": b"file;amount\n0.png;1,5\n1.png;2,5\n2.png;3,7\n",
    "infinite": b"file,amount\n0.png,1e999\n1.png,0.5\n2.png,-1e999\n",
    "a long field": b"file,on\n0.png," + b"x" * 200_000 + b"\n1.png,0\n",
    "parquet in name only": b"PAR1" + bytes(20) + b"PAR1",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(place, capsys, name):
    path = place / ("labels.parquet" if "parquet" in name else "labels.csv")
    path.write_bytes(TABLES[name])
    kinds = ["--data.kinds", "{amount: continuous}"] if name == "infinite" else []
    refused(["data", "check", "images", "--data.csv", str(path), *kinds], place, capsys)


@pytest.mark.parametrize("byte", [b"a", b"\n", b",", b"a,b\n1,2\n"])
def test_gzip_bombs(place, capsys, byte):
    (place / "labels.csv").write_bytes(bomb(byte, 2**30))
    assert (place / "labels.csv").stat().st_size < 2**22
    assert "limit" in refused(["data", "check", "images", "--data.csv", "labels.csv"], place, capsys)


def test_endless_tables(place, capsys, monkeypatch):
    with (place / "labels.csv").open("wb") as file:
        file.truncate(10**11)  # sparse: it takes no space
    assert "CCVAE_LIMIT_TABLE_BYTES" in refused(["data", "check", "images", "--data.csv", "labels.csv"], place, capsys)
    monkeypatch.setenv("CCVAE_LIMIT_TABLE_CELLS", "20")
    assert "more than 20 table cells" in refused(["data", "check", "table.csv", "--data.labels", "on"], place, capsys)
    monkeypatch.setenv("CCVAE_LIMIT_TABLE_CELLS", "many")
    assert "expected a number" in refused(["data", "check", "table.csv", "--data.labels", "on"], place, capsys)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_that_are_no_files(place, capsys, kind, suffix):
    path = place / f"special.{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    for words in (["images", "--data.csv", path.name], [path.name, "--data.labels", "on", "--data.reader", "table"]):
        assert "expected" in refused(["data", "check", *words], place, capsys)


def test_parquet_bombs(place, capsys):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    pandas.DataFrame({"on": np.zeros(30_000_000, np.int8)}).to_parquet(place / "labels.parquet")
    assert (place / "labels.parquet").stat().st_size < 2**20
    assert "limit" in refused(["data", "check", "labels.parquet", "--data.labels", "on"], place, capsys)


# ---------------------------------------------------------------------- images


def png(width, height, mode=2, body=b""):
    """A PNG file with a header of any size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def saved(image, **how):
    out = io.BytesIO()
    image.save(out, **how)
    return out.getvalue()


GOOD = saved(Image.new("L", (16, 16), 90), format="PNG")
IMAGES = {
    "empty": b"",
    "text": b"no image",
    "cut short": GOOD[:40],
    "damaged": GOOD[:45] + bytes(10) + GOOD[55:],
    "header only": GOOD[:33],
    "no pixels": png(16, 16),
    "zero width": png(0, 16),
    "just under Pillow's limit": png(13_000, 13_000),
    "over Pillow's limit": png(50_000, 50_000),
    "one long line": png(2**31 - 1, 1),
    "many small lines": png(1, 100_000_000),
    "jpeg cut short": saved(Image.new("RGB", (64, 64)), format="JPEG")[:200],
    "jpeg in name": b"\xff\xd8\xff\xe0" + bytes(100),
    "gif cut short": saved(Image.new("P", (16, 16)), format="GIF")[:20],
    "bmp header": b"BM" + bytes(60),
    "tiff header": b"II*\x00\x08\x00\x00\x00" + bytes(20),
    "webp header": b"RIFF\x00\x00\x00\x00WEBP",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pickle": b"\x80\x04\x95\x00",
    "html": b"<html><script>alert(1)</script></html>",
    "floating point": saved(Image.new("F", (16, 16)), format="TIFF"),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
def test_images(place, capsys, name):
    (place / "images" / "3.png").write_bytes(IMAGES[name])
    assert "3.png" in refused(["predict", "run", "--images", "images/3.png"], place, capsys)
    assert "3.png" in refused(["data", "check", "images", "--data.csv", "labels.csv", "--data.size", "16"], place, capsys)


def test_images_that_are_no_files(place, capsys):
    (place / "images" / "3.png").unlink()
    os.mkfifo(place / "images" / "3.png")
    assert "is a pipe" in refused(["predict", "run", "--images", "images/3.png"], place, capsys)
    assert "is a pipe" in refused(["data", "check", "images", "--data.csv", "labels.csv", "--data.size", "16"], place, capsys)


def test_links_that_lead_back(place):
    for name in ("one", "two"):
        (place / "images" / name).symlink_to(place / "images")
    started = time.monotonic()
    assert len(read_images(["images"], (1, 16, 16))) == 30
    assert time.monotonic() - started < LONGEST


# ---------------------------------------------------------------------- settings and run folders

SECTIONS = ["", "5", "- a", "a: [", "data: 5", "data: [a]", "data: {size: x}", "data: {size: [1]}", "data: {nothing: 1}",
            "model: x", "model: {width: 1.5}", "model: {width: {a: 1}}", "model: {network: 5}", "model: {learn_scale: 7}",
            "training: {epochs: []}", "training: {label_weights: [1]}", "training: {compile: perhaps}", "training: null",
            "nothing: 1", "source: [a, b]", "source: 5", "resume: x", "{1: 2}", "data: {kinds: {a: 5}}",
            "data: {labels: {a: 1}}",
            "model: {block_dim: x}", "model: {scale: .nan}", "training: {learning_rate: .inf}", "data: {options: [1]}",
            "out: {a: 1}", "&a [*a]", "a: !!python/name:os.system", "data: {seed: 2001-01-01}",
            "allow_class_paths: true"]  # fmt: skip


@pytest.mark.parametrize("text", SECTIONS)
def test_settings_files(place, capsys, text):
    (place / "settings.yaml").write_text(text)
    words = ["train", "digits", "--config", "settings.yaml"]
    if text in ("", "source: 5"):
        words = ["train", "--config", "settings.yaml"]
    refused(words, place, capsys)


RUN_DATA = [None, 5, "x", [], {}, {"source": 5}, {"source": None}, {"source": "nowhere"}, {"source": "images"},
            {"source": "images", "csv": 5}, {"source": "images", "csv": "nowhere.csv"},
            {"source": "images", "csv": "/dev/zero"},
            {"source": "images", "csv": "labels.csv", "size": 10**9}, {"source": "images", "csv": "labels.csv", "size": 20},
            {"source": "digits", "options": 5}, {"source": "digits", "options": {"a": 1}},
            {"source": "avatars", "options": {"count": 10**9}}, {"source": "avatars", "options": {"count": "x"}},
            {"source": "/dev/zero", "reader": "table", "labels": ["on"]}, {"source": "/etc/passwd", "reader": "table"},
            {"source": "/etc/passwd", "reader": "image_folder", "csv": "labels.csv"},
            {"source": "a/b", "reader": "hugging_face"},
            {"source": "images", "csv": "labels.csv", "labels": 5}, {"source": "images", "csv": "labels.csv", "kinds": [1]},
            {"source": "\x00", "reader": "table", "labels": ["on"]}, {"source": "x" * 5000, "reader": "celeba"},
            {"source": "images", "reader": "celeba"}, {"source": "images", "reader": "chexpert"},
            {"source": "images", "reader": "fashion_mnist"}, {"source": "images", "reader": "mnist"}]  # fmt: skip


@pytest.mark.parametrize("data", RUN_DATA)
def test_data_that_runs_name(place, capsys, data):
    path = place / "run" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "data": data}))
    refused(["predict", "run"], place, capsys)


SPLITS = [b"", b"id\n", b"\xff", b"id,split\n", b"id,split\na,b\n", b"id,split,more\n1", b'id,split\n"a', bytes(100)]


@pytest.mark.parametrize("text", SPLITS, ids=range(len(SPLITS)))
def test_splits(place, capsys, text):
    path = place / "run" / "config.yaml"
    data = {"source": "images", "csv": "labels.csv", "size": 16, "labels": ["on", "where"]}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "data": data}))
    (place / "run" / "splits.csv").write_bytes(text)
    refused(["predict", "run"], place, capsys)


ABOUT = '{"form": 2, "data": {"name": "n", "split": "test", "rows": 5, "labels": []}, "summary": '
ROW = '"path": "a", "title": "a", "meaning": "a", "better": "higher", "group": "a", "digits": 3, "value"'
METRICS = [
    *("", "5", "[]", "{}", '{"form": 7}', "[" * 100_000, '{"form": 1}', '{"form": 1, "data": 5}', "\x00"),
    *('{"form": 2}', '{"form": 2, "data": 5}', '{"form": 2, "data": {"name": 5}, "summary": []}'),
    *(ABOUT + rows + "}" for rows in ("5", "[5]", "[{}]", "[{" + ROW + ': "a"}]', "[{" + ROW + ': 5, "low": 1}]')),
    ABOUT + "[{" + ROW + ': 5, "low": NaN, "high": 1}]}',
]


@pytest.mark.parametrize("text", METRICS, ids=range(len(METRICS)))
def test_metrics_of_other_runs(place, capsys, text):
    (place / "run" / "metrics.json").write_text(text)
    refused(["compare", "run", "run"], place, capsys)
    refused(["card", "run"], place, capsys)


# ---------------------------------------------------------------------- drawn by hypothesis: readers

EASY = settings(max_examples=DRAWN, deadline=None, suppress_health_check=list(HealthCheck))


def quiet(read):
    """Read something that may be anything: what is refused is refused by a clear error."""
    message = "accepted"
    try:
        read()
    except (ValueError, OSError) as error:
        message = str(error)
    assert 5 < len(message) < 5000


CELLS = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "NaN", "yes", "no", "1e999", "0x10", "=1+1", "1,5", "١", "\ufeff", "NULL", "-1", '"', "\r", "../x", "\u202e"]
    ),
)


@EASY
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_any_table(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("any") / "table.csv"
    path.write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8", errors="replace")
    quiet(lambda: open_data(str(path), DataConfig(labels=[rows[0][0]])))


@EASY
@given(st.binary(max_size=300), st.sampled_from(["csv", "tsv", "parquet", "csv.gz"]))
def test_any_bytes_as_table(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("any") / f"table.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    quiet(lambda: read_table(path))


@EASY
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8), st.booleans())
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
def test_any_damage_to_an_image(tmp_path_factory, position, change, cut):
    path = tmp_path_factory.mktemp("any") / "image.png"
    path.write_bytes(GOOD[:position] + change + (b"" if cut else GOOD[position + len(change) :]))
    quiet(lambda: read_images([path], (1, 16, 16)))


@EASY
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\x00", b"RIFF"]),
)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
def test_any_bytes_as_image(tmp_path_factory, content, start):
    path = tmp_path_factory.mktemp("any") / "image.png"
    path.write_bytes(start + content)
    quiet(lambda: read_images([path], (3, 16, 16)))


@EASY
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes_as_idx(tmp_path_factory, content, packed, start):
    folder = tmp_path_factory.mktemp("any")
    content = struct.pack(">HBBI", 0, 8, 1, len(content) - 4) + content[8:] if start and len(content) > 8 else content
    (folder / ("idx.gz" if packed else "idx")).write_bytes(gzip.compress(content) if packed else content)
    quiet(lambda: read_idx(folder, "idx", 1))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


FIELDS = ("name", "values", "prior", "mean", "scale", "more")
LABELS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["binary", "categorical", "continuous"]) | VALUES}, optional=dict.fromkeys(FIELDS, VALUES)
)


@EASY
@given(VALUES | st.lists(LABELS, max_size=3))
def test_any_labels(entries):
    quiet(lambda: LabelSpace.from_entries(entries))
    quiet(lambda: LabelSpace.from_json(json.dumps(entries)))


@EASY
@given(VALUES | st.fixed_dictionaries({"temperatures": VALUES, "balanced": VALUES, "rows": VALUES}))
def test_any_calibration(entries):
    quiet(lambda: Calibration.from_entries(entries))


@EASY
@given(st.text(max_size=100) | VALUES.map(json.dumps) | VALUES.map(yaml.safe_dump))
def test_any_yaml(text):
    quiet(lambda: parse_yaml(text, "settings"))


@EASY
@given(st.binary(max_size=100))
def test_any_json(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "any.json"
    path.write_bytes(content)
    quiet(lambda: read_json(path))


@EASY
@given(st.dictionaries(st.sampled_from(["reader", "csv", "labels", "kinds", "size", "labelled", "validation", "seed", "options",
                                        "group_column", "split_column", "missing_values"]), VALUES, max_size=3))  # fmt: skip
def test_any_data_settings(section):
    quiet(lambda: open_data("digits", ccvae.config.settings_from(DataConfig, section, "data")))


@EASY
@given(
    st.dictionaries(st.sampled_from(["latent_dim", "block_dim", "network", "width", "dropout", "likelihood", "scale"]), VALUES)
)
def test_any_model_settings(section):
    quiet(lambda: ccvae.config.settings_from(ccvae.ModelConfig, section, "model"))


@EASY
@given(st.dictionaries(st.sampled_from(["epochs", "batch_size", "label_weights", "seed", "devices", "precision"]), VALUES))
def test_any_training_settings(section):
    quiet(lambda: ccvae.config.settings_from(ccvae.TrainConfig, section, "training"))


# ---------------------------------------------------------------------- as processes, with limits of time and memory


PROCESSES = [
    "train mnist",
    "predict run --images images/3.png",
    "data check images --data.csv bomb.csv",
    "data check pipe.csv --data.labels on",
]


@pytest.mark.parametrize("line", PROCESSES)
def test_processes(place, line):
    """Commands as a shell starts them, with two gigabytes of memory and half a minute."""
    (place / "images" / "3.png").write_bytes(IMAGES["just under Pillow's limit"])
    (place / "bomb.csv").write_bytes(bomb(size=2**30))
    os.mkfifo(place / "pipe.csv")
    before = contents(place)
    code = (
        "import resource, sys; from ccvae.cli.main import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stdout); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *line.split()], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len([text for text in done.stderr.splitlines() if "error" in text]) == 1
    assert int(done.stdout.split()[-1]) * 1024 < LARGEST, "memory"
    assert contents(place) == before


# ---------------------------------------------------------------------- the table in the docs

KINDS = {
    "arguments of commands": len(ARGUMENTS),
    "tables": len(TABLES) + 4 + 3 + 16 + 1,
    "images": 2 * len(IMAGES) + 3,
    "settings files": len(SECTIONS),
    "data that a run names, splits, metrics": len(RUN_DATA) + len(SPLITS) + len(METRICS),
    "drawn by hypothesis": len([name for name in globals() if name.startswith("test_any_")]) * DRAWN,
    "as processes": len(PROCESSES),
}


def test_docs_have_the_numbers():
    text = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    found = {name.strip(): int(count) for name, count in re.findall(r"^\| ([^|]+) \| (\d+) \|", text, re.MULTILINE)}
    assert found == KINDS
    assert sum(KINDS.values()) >= 300
