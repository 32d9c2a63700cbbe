"""Links in folders from strangers: no file of this machine is shown, and none is replaced, that a link in a folder names.

Every test here has a secret outside of the folder, which would be shown or changed if a link to it were followed.
"""

import base64
import io
import logging
import os
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import ccvae
from ccvae.cli.main import main
from ccvae.config import DataConfig
from ccvae.data import image_folder
from ccvae.data.open import open_data
from ccvae.labels import Binary, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.reports.report import write_report
from ccvae.storage import hub
from ccvae.storage.atomic import machine_name, writing
from ccvae.storage.links import check_inside

SECRET = "the secret of this machine"


@pytest.fixture
def secret(tmp_path):
    """A folder that nobody sent: a text, a picture, a table and settings."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "note.txt").write_text(SECRET)
    Image.new("L", (16, 16), 137).save(folder / "photo.png")
    (folder / "table.csv").write_text(f"epoch,step,id,split,train/{SECRET}\n1,1,0,train,5\n")
    (folder / "settings.yaml").write_text(f"# {SECRET}\nmodel: {{}}\n")
    return folder


@pytest.fixture
def run(tmp_path):
    """A stranger's run folder on images, with its data beside it."""
    torch.manual_seed(0)
    images = tmp_path / "sent" / "images"
    images.mkdir(parents=True)
    for number in range(24):
        Image.new("L", (16, 16), 10 * number).save(images / f"{number}.png")
    (tmp_path / "sent" / "labels.csv").write_text("\n".join(["image,on", *(f"{n}.png,{n % 2}" for n in range(24))]))
    folder = tmp_path / "sent" / "run"
    model = CCVAE(LabelSpace((Binary("on"),)), (1, 16, 16), ccvae.ModelConfig(network="mlp", width=1, latent_dim=4))
    model.save(folder)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["data"] = {"source": str(images), "csv": str(tmp_path / "sent" / "labels.csv"), "size": 16, "labels": ["on"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "figures").mkdir()
    Image.new("L", (20, 20), 200).save(folder / "figures" / "own.png")
    return folder


def images_in(page):
    """The files that a page contains."""
    return [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", page.read_text())]


def chunk(kind, content):
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def test_a_report_has_only_png_files_of_its_run_folder(run, secret, caplog):
    figures = run / "figures"
    (figures / "text.png").symlink_to(secret / "note.txt")
    (figures / "photo.png").symlink_to(secret / "photo.png")
    (figures / "relative.png").symlink_to(Path("../../../secret/photo.png"))
    (figures / "twice.png").symlink_to(figures / "photo.png")
    (figures / "lost.png").symlink_to(secret / "nothing")
    (figures / "endless.png").symlink_to("/dev/zero")
    (figures / "round.png").symlink_to(figures / "round.png")
    (figures / "up.png").symlink_to(Path("../../run/../../secret/photo.png"))
    (figures / "folder.png").mkdir()
    os.mkfifo(figures / "pipe.png")
    (figures / "note.png").write_text(SECRET)
    (figures / "cut.png").write_bytes((figures / "own.png").read_bytes()[:40])
    Image.new("L", (8, 8)).save(figures / "jpeg.png", format="JPEG")
    header = chunk(b"IHDR", (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0]))
    (figures / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with caplog.at_level(logging.WARNING):
        page = write_report(run)
    assert images_in(page) == [(figures / "own.png").read_bytes()]
    assert SECRET not in page.read_text()
    left_out = {path.name for path in figures.iterdir()} - {"own.png"}
    assert all(f"{name} is left out of the report" in caplog.text for name in left_out), "nothing is left out silently"


def test_links_within_a_run_folder_are_shown(run):
    (run / "figures" / "same.png").symlink_to(run / "figures" / "own.png")
    assert len(images_in(write_report(run))) == 2


def test_a_run_folder_may_be_a_link_itself(run, tmp_path):
    (tmp_path / "latest").symlink_to(run)
    assert len(images_in(write_report(tmp_path / "latest"))) == 1
    assert main(["report", str(tmp_path / "latest")]) == 0


def test_settings_are_not_shown_through_a_link(run, secret):
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to(secret / "settings.yaml")
    with pytest.raises(ValueError, match=r"config\.yaml leads to .*settings\.yaml, outside of .*CCVAE_ALLOW_LINKS=1"):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("verb", ["report", "evaluate"])
def test_figures_are_not_written_through_a_link(run, secret, capsys, verb):
    """`figures/` that is a link would have files of other folders replaced, and removed by their names."""
    for name in ("attention", "training", "samples", "evaluation-old"):
        (secret / f"{name}.png").write_text(SECRET)
    shutil.rmtree(run / "figures")
    (run / "figures").symlink_to(secret)
    before = {path: path.read_bytes() for path in secret.iterdir()}
    words = [verb, str(run)]
    assert main(words) == 2
    assert "figures is a link to" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in secret.iterdir()} == before


@pytest.mark.parametrize(("name", "verb"), [("metrics.csv", "report"), ("splits.csv", "report"), ("splits.csv", "predict")])
def test_tables_are_not_read_through_a_link(run, secret, capsys, name, verb):
    (run / name).symlink_to(secret / "table.csv")
    assert main([verb, str(run)]) == 2
    error = capsys.readouterr().err
    assert f"{name} leads to" in error
    assert SECRET not in error


def test_stored_data_are_not_read_through_a_link(run, secret, capsys):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({key: value for key, value in settings.items() if key != "data"}))
    (run / "data.safetensors").symlink_to(secret / "note.txt")
    assert main(["predict", str(run)]) == 2
    assert "does not say where" in (error := capsys.readouterr().err) or "data.safetensors leads to" in error


def test_resuming_follows_no_link(run, secret, capsys):
    """Resumed, a training would copy the rows of metrics.csv, and add files to folders."""
    for name, target in (("metrics.csv", secret / "table.csv"), ("tensorboard", secret)):
        (run / name).symlink_to(target)
        data = yaml.safe_load((run / "config.yaml").read_text())["data"]
        model = CCVAE(LabelSpace((Binary("on"),)), (1, 16, 16), ccvae.ModelConfig(network="mlp", width=1, latent_dim=4))
        dataset = image_folder(data["source"], data["csv"], size=16)
        with pytest.raises(ValueError, match=f"{name} leads to"):
            ccvae.fit(model, dataset, run, ccvae.TrainConfig(epochs=1, accelerator="cpu"), resume=True)
        (run / name).unlink()


def test_images_of_data_are_in_its_folder(run, secret, monkeypatch, capsys):
    images = Path(yaml.safe_load((run / "config.yaml").read_text())["data"]["source"])
    (images / "24.png").symlink_to(secret / "photo.png")
    for words in (["data", "check", str(images), "--html", str(run / "page.html")], ["predict", str(run)],
                  ["predict", str(run), "--images", str(images)], ["report", str(run)]):  # fmt: skip
        assert main(words) == 2, words
        assert "24.png leads to" in capsys.readouterr().err
    (images / "24.png").unlink()
    (images / "more").symlink_to(secret)
    with pytest.raises(ValueError, match=r"photo\.png leads to .*secret/photo\.png, outside of"):
        image_folder(images, images.parent / "labels.csv", size=16)
    monkeypatch.setenv("CCVAE_ALLOW_LINKS", "1")
    assert len(image_folder(images, images.parent / "labels.csv", size=16)) == 25
    monkeypatch.setenv("CCVAE_ALLOW_LINKS", "yes")
    with pytest.raises(ValueError, match="CCVAE_ALLOW_LINKS: expected 0 or 1, found 'yes'"):
        image_folder(images, images.parent / "labels.csv", size=16)


def test_no_settings_file_allows_links(run, secret, capsys):
    images = Path(yaml.safe_load((run / "config.yaml").read_text())["data"]["source"])
    (images / "24.png").symlink_to(secret / "photo.png")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    for option in ("allow_links", "CCVAE_ALLOW_LINKS", "links"):
        settings["data"]["options"] = {option: True}
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        assert main(["predict", str(run)]) == 2


def test_published_layouts_stay_in_their_folder(tmp_path, secret):
    """CheXpert's and CelebA's tables name the images: no path in them, and no link, leads out of the folder."""
    chexpert = tmp_path / "chexpert"
    (chexpert / "train").mkdir(parents=True)
    shutil.copy(secret / "photo.png", tmp_path / "outside.png")
    rows = [f"CheXpert/train/p{n}/../../../outside.png,Frontal,{n % 2}" for n in range(4)]
    for number in range(4):
        (chexpert / "train" / f"p{number}").mkdir()
    for part in ("train", "valid"):
        (chexpert / f"{part}.csv").write_text("\n".join(["Path,Frontal/Lateral,Edema", *rows]))
    with pytest.raises(ValueError, match=r"outside\.png, outside of"):
        open_data(str(chexpert), DataConfig(validation=1, options={"observations": ["Edema"]}))
    celeba = tmp_path / "celeba"
    (celeba / "img_align_celeba").mkdir(parents=True)
    names = [f"{n:06d}.jpg" for n in range(1, 5)]
    for name in names:
        (celeba / "img_align_celeba" / name).symlink_to(secret / "photo.png")
    lines = ["4", "Smiling Male", *(f"{name} {1 - 2 * (n % 2)} 1" for n, name in enumerate(names))]
    (celeba / "list_attr_celeba.txt").write_text("\n".join(lines))
    (celeba / "list_eval_partition.txt").write_text("\n".join(f"{name} {n // 2}" for n, name in enumerate(names)))
    with pytest.raises(ValueError, match=r"000001\.jpg leads to .*photo\.png, outside of .*, and 3 more"):
        ccvae.data.celeba(celeba, attributes=["Smiling"], size=16)
    shutil.rmtree(celeba / "img_align_celeba")
    (celeba / "img_align_celeba").symlink_to(secret)
    with pytest.raises(ValueError, match=r"img_align_celeba leads to .*secret, outside of"):
        ccvae.data.celeba(celeba, attributes=["Smiling"], size=16)
    (celeba / "list_attr_celeba.txt").unlink()
    (celeba / "list_attr_celeba.txt").symlink_to(secret / "note.txt")
    (celeba / "img_align_celeba").unlink()
    (celeba / "img_align_celeba").mkdir()
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt leads to") as refused:
        ccvae.data.celeba(celeba, attributes=["Smiling"], size=16)
    assert SECRET not in str(refused.value)


def test_a_file_is_not_written_through_a_link_of_its_temporary_name(tmp_path, secret):
    place = tmp_path / "run"
    place.mkdir()
    partial = place / f".report.html.{machine_name()}.{os.getpid()}.partial"
    partial.symlink_to(secret / "note.txt")
    with writing(place / "report.html") as path:
        path.write_text("page")
    assert (secret / "note.txt").read_text() == SECRET
    assert (place / "report.html").read_text() == "page"


@pytest.mark.parametrize("name", ["README.md", "calibration.json", "config.yaml"])
def test_nothing_is_uploaded_through_a_link(run, secret, monkeypatch, name):
    """A run folder's card that is a link would publish a file of this machine."""
    monkeypatch.setattr(hub, "imported_hub", lambda: pytest.fail("the Hub was asked"))
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret / "note.txt")
    with pytest.raises(ValueError, match=rf"{name} leads to .*note\.txt"):
        hub.upload(run, "someone/model", message="model")


def test_many_files_are_checked_without_resolving_each(tmp_path, monkeypatch):
    """A folder of a million images has a million names, and few folders."""
    folder = tmp_path / "images"
    folder.mkdir()
    resolved = []
    original = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: resolved.append(path) or original(path))
    check_inside(folder, [f"{number}.png" for number in range(1000)])
    assert len(resolved) == 2


def test_a_picture_is_shown_as_it_is(run):
    """The page contains the file's own bytes, which Pillow reads as a PNG."""
    [content] = images_in(write_report(run))
    assert np.asarray(Image.open(io.BytesIO(content))).mean() == 200
