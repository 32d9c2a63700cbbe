"""Local data sets of Hugging Face's library from strangers: nothing is downloaded or run, and no other file is shown."""

import gc
import io
import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest
from PIL import Image

from ccvae.data import hugging_face

datasets = pytest.importorskip("datasets")


@pytest.fixture
def secret(tmp_path):
    """A folder that nobody sent."""
    folder = tmp_path / "secret"
    folder.mkdir()
    Image.new("L", (16, 16), 137).save(folder / "photo.png")
    return folder


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine on which every attempt to reach another is noted."""
    attempts = []

    def refuse(self, address, *_):
        if self.family != socket.AF_UNIX:
            attempts.append(address)
            raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: refuse(socket.socket(), words[:2]))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub"))
    return attempts


def image_rows(paths=(), count=20):
    """A `datasets.Dataset` of images, of which some are given by paths."""
    content = io.BytesIO()
    Image.new("L", (16, 16), 90).save(content, "png")
    pictures = [{"bytes": None, "path": str(path)} for path in paths]
    pictures += [{"bytes": content.getvalue(), "path": None}] * (count - len(pictures))
    features = datasets.Features({"picture": datasets.Image(decode=False), "on": datasets.Value("int64")})
    rows = datasets.Dataset.from_dict({"picture": pictures, "on": [0, 1] * (count // 2)}, features=features)
    return rows.cast_column("picture", datasets.Image())


README = {
    "a URL": "configs:\n- config_name: default\n  data_files: https://example.org/data.parquet\n",
    "the hub": "configs:\n- config_name: default\n  data_files: hf://datasets/a/b/data.parquet\n",
    "another folder": "configs:\n- config_name: default\n  data_files: ../secret/*.png\n",
    "an absolute path": "configs:\n- config_name: default\n  data_files: {secret}/*.png\n",
    "a chain": "configs:\n- config_name: default\n  data_files: zip://a.parquet::https://example.org/a.zip\n",
    "a base path": "configs:\n- config_name: default\n  data_dir: https://example.org/\n",
}


@pytest.mark.parametrize("kind", README)
def test_a_local_data_set_names_no_other_place(tmp_path, secret, offline, kind):
    """What README.md, .huggingface.yaml and dataset_infos.json say of files is not followed."""
    folder = tmp_path / "sent"
    folder.mkdir()
    text = README[kind].replace("{secret}", str(secret))
    image_rows().to_parquet(folder / "train.parquet")
    (folder / "README.md").write_text(f"---\n{text}---\n")
    (folder / ".huggingface.yaml").write_text(text)
    (folder / "dataset_infos.json").write_text('{"default": {"download_checksums": {"https://example.org/a": {}}}}')
    data = hugging_face(folder, size=16)
    assert len(data) == 20
    assert np.unique(data.inputs).tolist() == [90], "its own images only"
    assert not offline, "nothing was asked of another machine"


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "py", "tar", "zip", "arrow", "lance", "sqlite", "xml", "h5"])
def test_a_local_data_set_runs_nothing(tmp_path, offline, suffix):
    """Neither a script of the folder's name, nor files of formats that unpickle or unpack."""
    mark = tmp_path / "MARK"

    class Gadget:
        def __reduce__(self):
            return (Path.touch, (mark,))

    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / "sent.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    for name in (f"train.{suffix}", f"0.{suffix}"):
        (folder / name).write_bytes(pickle.dumps(Gadget()) if suffix != "py" else (folder / "sent.py").read_bytes())
    with pytest.raises(ValueError, match="has no Parquet files and no images"):
        hugging_face(folder, size=16)
    image_rows().to_parquet(folder / "train.parquet")
    assert len(hugging_face(folder, size=16)) == 20
    assert not mark.exists()
    assert not offline


@pytest.mark.parametrize("form", ["file", "folder", "saved"])
def test_rows_name_no_image_of_this_machine(tmp_path, secret, offline, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate((secret / "photo.png", Path("secret/photo.png"), Path("https://example.org/a.png"))):
        folder = tmp_path / f"sent{number}"
        folder.mkdir()
        rows = image_rows([path])
        table = rows.data.table  # the library would store the image itself
        if form == "saved":
            image_rows().save_to_disk(folder)
            with pyarrow.ipc.new_stream(str(next(folder.glob("*.arrow"))), table.schema) as writer:
                writer.write_table(table)
        else:
            pyarrow.parquet.write_table(table, folder / "train.parquet")
        with pytest.raises(ValueError, match=r"1 of 20 images in .* cannot be read: row 0: .* outside of"):
            hugging_face(folder / "train.parquet" if form == "file" else folder, size=16)
    assert not offline


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_of_images_for_the_library_stays_in_it(tmp_path, secret, offline):
    folder = tmp_path / "sent"
    for number in range(20):
        path = folder / "train" / f"{'cat' if number % 2 else 'dog'}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), number).save(path)
    assert len(hugging_face(folder, size=16)) == 20
    (folder / "train" / "cat" / "99.png").symlink_to(secret / "photo.png")
    with pytest.raises(ValueError, match=r"99\.png leads to"):
        hugging_face(folder, size=16)
    (folder / "train" / "cat" / "99.png").unlink()
    lines = ["file_name,on", *(f"cat/{n}.png,{n % 3 % 2}" for n in range(1, 20, 2)), "../../secret/photo.png,1"]
    (folder / "train" / "metadata.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"cannot be read|outside of"):
        hugging_face(folder, size=16)
    gc.collect()  # the library leaves the table open
    assert not offline


def test_a_saved_data_set_stays_in_its_folder(tmp_path, secret, offline):
    image_rows().save_to_disk(tmp_path / "other")
    arrow = next((tmp_path / "other").glob("*.arrow"))
    for number, name in enumerate((str(arrow), f"../other/{arrow.name}", "link.arrow")):
        folder = tmp_path / f"sent{number}"
        image_rows().save_to_disk(folder)
        (folder / "link.arrow").symlink_to(arrow)
        state = json.loads((folder / "state.json").read_text())
        state["_data_files"] = [{"filename": name}]
        (folder / "state.json").write_text(json.dumps(state))
        with pytest.raises(ValueError, match="outside of"):
            hugging_face(folder, size=16)
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "dataset_dict.json").write_text('{"splits": ["../other"]}')
    with pytest.raises(ValueError, match="outside of"):
        hugging_face(folder, size=16)
    assert not offline
