"""Models go to the Hugging Face Hub and come back; what is said when that cannot be. The Hub is a server of this process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import ccvae
from ccvae.cli.main import main
from ccvae.model.calibration import Calibration
from ccvae.model.saving import save
from ccvae.storage import hub
from ccvae.storage.run_folder import hash_of_weights
from hub_stand_in import TOKEN, hub_stand_in

ROW = {"path": "classification.mean.accuracy", "title": "accuracy", "meaning": "correct | labels", "better": "higher",
       "group": "Classification", "digits": 3, "value": 0.9512, "low": 0.94, "high": 0.9633}  # fmt: skip
# huggingface_hub gives its HTTP client bytes in a way that this client's newest version deprecates
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SECRET = "/home/somebody/clinic"


@pytest.fixture
def server(tmp_path, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    with hub_stand_in() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in has no Xet storage
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        disable_progress_bars()
        yield state


@pytest.fixture(scope="module")
def model(data):
    torch.manual_seed(0)
    found = ccvae.CCVAE.for_data(data, latent_dim=12, width=4).eval()
    found.calibration = Calibration({"bright": 2.0, "corner": 1.5, "side": 0.5})
    return found


@pytest.fixture
def run(model, tmp_path):
    """A run folder with metrics, and with files and paths that nobody else should see."""
    folder = tmp_path / "runs" / "squares"
    data = {"source": SECRET, "csv": f"{SECRET}/labels.csv", "size": 16, "options": {"root": SECRET}}
    save(model, folder, {"training": {"epochs": 3, "seed": 0}, "data": data, "notes": SECRET})
    (folder / "splits.csv").write_text("id,split,labelled\nsecret-patient,train,True\nb,train,False\nc,test,True\n")
    (folder / "data.safetensors").write_bytes(b"secret-pixels")
    (folder / "figures").mkdir()
    (folder / "figures" / "faces.png").write_bytes(b"secret-pixels")
    measured(folder)
    return folder


def measured(folder: Path, **changes):
    about = {"name": "squares", "split": "test", "rows": 40, "labels": ["bright", "corner", "side"]}
    labels = {"bright": {"balanced_accuracy": {"value": 0.6, "low": 0.45, "high": 0.7, "rows": 40}}}
    metrics = {"form": 2, "data": about, "model": {"weights": hash_of_weights(folder)}, "summary": [ROW],
               "classification": {"labels": labels}, "skipped": {"realism": "there are no images"}}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))


def refused(arguments, capsys) -> str:
    assert main(list(map(str, arguments))) == 2
    [message] = capsys.readouterr().err.strip().splitlines()
    return message


def test_there_and_back(server, model, run, data):
    page = ccvae.load(run).push_to_hub("anna/squares", license="mit", private=True)
    assert page == f"{server.address}/anna/squares"
    assert server.repositories["anna/squares"].private
    files = server.repositories["anna/squares"].files
    assert set(files) == {"README.md", "config.yaml", "labels.json", "model.safetensors", "calibration.json"}
    again = ccvae.load("hf://anna/squares")
    x = data.tensor(np.arange(5))
    assert again.predict_proba(x).equals(model.predict_proba(x))
    assert torch.equal(again.generate(3, {"bright": 1}, seed=1), model.generate(3, {"bright": 1}, seed=1))
    assert "squares" in str(again.run_folder)


def test_nothing_of_the_data_is_sent(server, run):
    ccvae.load(run).push_to_hub("anna/squares")
    sent = bytes(server.received) + b"".join(server.repositories["anna/squares"].files.values())
    for secret in (SECRET, "secret-patient", "secret-pixels", str(run.parent), "squares-"):
        assert secret.encode() not in sent
    settings = yaml.safe_load(server.repositories["anna/squares"].files["config.yaml"])
    assert settings["data"] == {"size": 16}
    assert {*settings} == {"ccvae", "input_shape", "model", "training", "data"}


def test_the_card_says_what_was_measured(server, run):
    ccvae.load(run).push_to_hub("anna/squares", license="cc-by-4.0")
    card = server.repositories["anna/squares"].files["README.md"].decode()
    _, front, text = card.split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["license"] == "cc-by-4.0"
    assert front["library_name"] == "ccvae"
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": ROW["path"], "name": "accuracy", "value": 0.9512}]
    assert "| accuracy | 0.951 [0.940, 0.963] | higher | correct \\| labels |" in text
    assert "ccvae.load('hf://anna/squares')" in text
    assert "Rows: train 2 (1 with labels), test 1 (1 with labels)." in text
    assert "Predictions of bright are not better than chance" in text
    assert "Not measured: realism (there are no images)." in text
    for label in ("bright", "corner", "side"):
        assert f"| {label} |" in text
    assert "| bright | binary | 0 or 1 | " in text


def test_a_second_upload_replaces_the_first(server, run):
    ccvae.load(run).push_to_hub("anna/squares")
    model = ccvae.load(run)
    model.calibration = None
    model.push_to_hub("anna/squares")
    assert "calibration.json" not in server.repositories["anna/squares"].files
    assert ccvae.load("hf://anna/squares").calibration is None


def test_revisions(server, run):
    model = ccvae.load(run)
    model.push_to_hub("anna/squares")
    model.calibration = None
    model.push_to_hub("anna/squares", revision="plain")
    assert ccvae.load("hf://anna/squares").calibration is not None
    assert ccvae.load("hf://anna/squares@plain").calibration is None
    assert ccvae.load("hf://anna/squares", revision="plain").calibration is None
    with pytest.raises(ValueError, match="hf://anna/squares@never: the repository has no such branch, tag or commit"):
        ccvae.load("hf://anna/squares", revision="never")


def test_only_known_files_are_downloaded(server, run):
    ccvae.load(run).push_to_hub("eve/model")
    repository = server.repositories["eve/model"]
    others = {"model.py": b"boom", "sub/config.yaml": b"boom", "weights.pkl": b"boom", "../escape": b"boom"}
    server.add("eve/model", repository.files | others)
    server.requests.clear()
    ccvae.load("hf://eve/model")
    asked = {request.rpartition("/")[2] for request in server.requests if "/resolve/" in request}
    assert asked == {"config.yaml", "labels.json", "model.safetensors", "calibration.json"}
    assert not any("sub/" in request or "escape" in request for request in server.requests)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_nothing_is_run_on_load(server, run, name, tmp_path, monkeypatch):
    (tmp_path / "hostile_network.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nNet = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    settings = yaml.safe_load(files["config.yaml"])
    settings["model"][name] = "hostile_network:Net"
    server.add("eve/model", files | {"config.yaml": yaml.safe_dump(settings).encode()})
    with pytest.raises(ValueError, match="importing it runs its code"):
        ccvae.load("hf://eve/model")
    server.add("eve/tagged", files | {"config.yaml": b"a: !!python/object/apply:os.system ['true']"})
    with pytest.raises(ValueError, match="tag"):
        ccvae.load("hf://eve/tagged")
    assert not (tmp_path / "ran").exists()


def test_sizes_are_limited_before_the_download(server, run):
    ccvae.load(run).push_to_hub("eve/huge")
    server.lies["model.safetensors"] = 3_000_000_000
    server.requests.clear()
    with pytest.raises(
        ValueError, match=r"hf://eve/huge has more than 2,000,000,000 download bytes.*CCVAE_LIMIT_DOWNLOAD_BYTES"
    ):
        ccvae.load("hf://eve/huge")
    assert not [request for request in server.requests if request.startswith("GET") and "/resolve/" in request]


@pytest.mark.parametrize("command", ["predict", "generate", "intervene", "export"])
def test_commands_take_addresses(server, run, command, tmp_path, capsys, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    ccvae.load(run).push_to_hub("anna/squares")
    Image.new("RGB", (16, 16)).save("one.png")
    arguments = {
        "predict": ["--images", "one.png", "--out", "out.csv"],
        "generate": ["bright=1", "--out", "out.png", "--count", "2"],
        "intervene": ["bright=1", "--images", "one.png", "--out", "out.png"],
        "export": ["--graphs", "[encoder]", "--out", "out"],
    }[command]
    if command == "generate":
        arguments = ["--given", *arguments]
    assert main([command, "hf://anna/squares", *arguments]) == 0, capsys.readouterr().err
    assert list(tmp_path.glob("out*"))


# ---------------------------------------------------------------------- what cannot be done


def test_unknown_and_closed_repositories(server, run, capsys):
    message = refused(["predict", "hf://nobody/nothing"], capsys)
    assert "hf://nobody/nothing: there is no such repository" in message
    server.add("anna/closed", {"config.yaml": b""}, gated=True)
    server.add("anna/private", {"config.yaml": b""}, private=True)
    for name, said in (("closed", "grants access on request"), ("private", "private")):
        with pytest.raises(ValueError, match=said):
            ccvae.load(f"hf://anna/{name}", token="wrong")


@pytest.mark.parametrize("missing", ["model.safetensors", "labels.json", "config.yaml"])
def test_a_repository_without_a_model(server, run, missing, capsys):
    ccvae.load(run).push_to_hub("anna/squares")
    files = dict(server.repositories["anna/squares"].files)
    del files[missing]
    server.add("anna/squares", files)
    message = refused(["predict", "hf://anna/squares"], capsys)
    assert f"hf://anna/squares has no {missing}; it is no model that ccvae uploaded" in message


def test_damaged_downloads_are_refused_as_damaged_folders_are(server, run):
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    server.add("eve/cut", files | {"model.safetensors": files["model.safetensors"][:-10]})
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        ccvae.load("hf://eve/cut")
    server.add("eve/cut", files | {"labels.json": b"["})
    with pytest.raises(ValueError, match=r"labels\.json is not valid JSON"):
        ccvae.load("hf://eve/cut")


def test_without_a_network(server, run, monkeypatch, capsys):
    ccvae.load(run).push_to_hub("anna/squares")
    ccvae.load("hf://anna/squares")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert ccvae.load("hf://anna/squares").space.names == ("bright", "corner", "side"), "from the cache"
    message = refused(["predict", "hf://anna/other"], capsys)
    assert "hf://anna/other: http://127.0.0.1:9 cannot be reached" in message
    with pytest.raises(ConnectionError, match="cannot be reached"):
        ccvae.load(run).push_to_hub("anna/other")


def test_a_hub_that_fails(server, run):
    server.failing = 400
    with pytest.raises(ValueError, match="answered 400"):
        ccvae.load(run).push_to_hub("anna/squares")
    with pytest.raises(ValueError, match="answered 400"):
        ccvae.load("hf://anna/squares")


def test_without_a_right_to_write(server, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ValueError, match=r"hf auth login"):
        ccvae.load(run).push_to_hub("anna/squares")
    assert not server.repositories


def test_without_the_package(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'ccvae[hub]'" in refused(["predict", "hf://anna/squares"], capsys)
    with pytest.raises(ImportError, match=r"pip install 'ccvae\[hub\]'"):
        ccvae.load(run).push_to_hub("anna/squares")


@pytest.mark.parametrize(
    "address", ["hf://", "hf://anna", "hf://a/b/c", "hf://anna/..", "hf://an na/b", "hf://anna/b@", "hf://-a/b"]
)
def test_addresses_that_are_none(address, capsys):
    assert "expected hf://USER/NAME" in refused(["predict", address], capsys)


@pytest.mark.parametrize("command", ["evaluate", "report", "card"])
def test_commands_that_write_into_the_run_need_a_folder(command, capsys):
    assert ".save('runs/squares')" in refused([command, "hf://anna/squares"], capsys)


@pytest.mark.parametrize("name", ["anna/squares", "https://huggingface.co/anna/squares"])
def test_names_of_the_hub_get_a_hint(name, capsys):
    assert "or hf://anna/squares for a model on the Hugging Face Hub" in refused(["predict", name], capsys)
    with pytest.raises(ValueError, match="or hf://anna/squares for a model on the Hugging Face Hub"):
        ccvae.load(name)


def test_folders_have_no_revisions(run):
    with pytest.raises(ValueError, match="is a folder"):
        ccvae.load(run, revision="v1")


# ---------------------------------------------------------------------- cards


def test_card_of_a_run(run, capsys):
    assert main(["card", str(run), "--license", "mit"]) == 0
    card = (run / "README.md").read_text()
    assert "ccvae.load('squares')" in card
    assert "The weights are under mit." in card
    assert SECRET not in card


def test_measures_stand_in_groups_and_the_oracle_is_explained(run):
    judged = {**ROW, "title": "intervention succeeds", "group": "Interventions", "meaning": "what the oracle predicts"}
    measured(run, summary=[ROW, judged])
    assert main(["card", str(run)]) == 0
    card = (run / "README.md").read_text()
    first, second = card.split("### Classification\n\n| measure |")[1].split("### Interventions\n\n| measure |")
    assert "| accuracy |" in first
    assert "| intervention succeeds |" in second
    assert "The oracle is a classifier of its own" in card
    measured(run)
    assert main(["card", str(run)]) == 0
    assert "The oracle is" not in (run / "README.md").read_text()


def code_of(card: str) -> str:
    """The Python code of a card."""
    return card.split("```python\n")[1].split("```")[0]


def test_the_code_of_a_card_of_images_runs(run, tmp_path, monkeypatch):
    assert main(["card", str(run)]) == 0
    monkeypatch.chdir(run.parent)
    Path("my_images").mkdir()
    Image.new("RGB", (20, 20)).save("my_images/a.png")
    exec(code_of((run / "README.md").read_text()), {})


def test_a_card_of_a_table_names_its_columns_and_its_code_runs(tmp_path, monkeypatch):
    ages = [30.0, 40.0, 50.0, 60.0] * 10
    days = ["2024-05-17", "2024-06-01"] * 20
    rows = pd.DataFrame({"age|years": ages, "sex": ["f", "m"] * 20, "day": days, "sick": ["no", "yes"] * 20})
    model = ccvae.CCVAE.for_data(data := ccvae.data.table(rows, ["sick"]), width=2)
    model.input_format = data.input_format
    model.save(tmp_path / "patients")
    monkeypatch.chdir(tmp_path)
    assert main(["card", "patients", "--unmeasured"]) == 0
    card = Path("patients/README.md").read_text()
    assert re.search(r"\| age\\\|years \| number \| mean 4[\d.]+, standard deviation 1[\d.]+ \|", card)
    assert "| sex | category | f, m |" in card
    assert "| day | date | such as 2024-05-17 |" in card
    rows.drop(columns="sick").to_csv("new.csv", index=False)
    exec(code_of(card), {})


def test_the_code_of_a_card_of_vectors_runs(tmp_path, monkeypatch):
    ccvae.CCVAE(ccvae.LabelSpace((ccvae.Binary("a"),)), (5,), ccvae.ModelConfig(width=2)).save(tmp_path / "vectors")
    monkeypatch.chdir(tmp_path)
    assert main(["card", "vectors", "--unmeasured"]) == 0
    card = Path("vectors/README.md").read_text()
    assert "## Inputs" not in card
    exec(code_of(card), {})


def test_a_card_without_metrics_is_asked_for(run, capsys):
    (run / "metrics.json").unlink()
    message = refused(["card", run], capsys)
    assert f"evaluate the run first: ccvae evaluate {run}" in message
    assert not (run / "README.md").exists()
    assert main(["card", str(run), "--unmeasured"]) == 0
    assert "was not evaluated" in (run / "README.md").read_text()
    with pytest.raises(ValueError, match="unmeasured=True"):
        ccvae.load(run).push_to_hub("anna/squares")


def test_metrics_of_other_weights_are_refused(run, capsys):
    model = ccvae.load(run)
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    with pytest.raises(ValueError, match="measured with other weights"):
        model.push_to_hub("anna/squares")
    model.save(run)
    assert "measured with other weights" in refused(["card", run], capsys)


def test_a_model_that_was_never_saved(model):
    with pytest.raises(ValueError, match="no run folder"):
        model.push_to_hub("anna/squares")


def test_names_from_a_stranger_are_only_text(run):
    labels = json.loads((run / "labels.json").read_text())
    labels[0]["name"] = "<script>|`x`\n# [a](b)"
    (run / "labels.json").write_text(json.dumps(labels))
    assert main(["card", str(run)]) == 0
    card = (run / "README.md").read_text()
    assert "<script>" not in card.split("```", 4)[-1]
    assert "\n# [a]" not in card
    assert card.count("```") == 4


@pytest.mark.parametrize("license", ["a b", "", "mit\nx: y", "x" * 99])
def test_licenses_are_identifiers(run, license, capsys):
    assert "license: expected an identifier" in refused(["card", run, f"--license={license}"], capsys)


def test_through_the_environment_of_a_process(server, run, tmp_path):
    """As users do it: addresses and token from the environment, the client as it is installed."""
    ccvae.load(run).push_to_hub("anna/squares")
    code = "import ccvae; print(ccvae.load('hf://anna/squares', token=False).space.names)"
    environment = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(tmp_path / "home"),
        "PATH": "",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "('bright', 'corner', 'side')", done.stderr


def test_known_files_are_those_of_run_folders():
    assert hub.FILES == ("config.yaml", "labels.json", "model.safetensors", "inputs.json", "calibration.json")
