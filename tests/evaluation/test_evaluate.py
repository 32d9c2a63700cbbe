"""The whole evaluation, from models of all sorts to metrics.json, the page, and runs side by side."""

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest
import torch

from ccvae.data.dataset import Dataset
from ccvae.data.splits import split_rows
from ccvae.evaluation import EvaluationConfig, compare_runs, evaluate, evaluate_run
from ccvae.evaluation.oracle.oracle import OracleConfig, trained_oracle
from ccvae.evaluation.page import write_evaluation
from ccvae.evaluation.samples import sample_of
from ccvae.evaluation.sections import COSTLIEST_FIRST, Evaluation
from ccvae.evaluation.summary import METRICS
from ccvae.labels import Binary, Continuous, LabelSpace
from ccvae.model.ccvae import CCVAE
from ccvae.storage.metrics import FORM, find
from toy_pictures import LABELS, IgnoresLabels, PaintsTruth, ReadsPixels, toy_data

SMALL = EvaluationConfig(
    rows=60, evidence_rows=4, evidence_samples=16, edit_rows=20, walk_rows=6, truth_rows=10, pairs=20, probe_rows=150,
    conditions=8, repeats=3, pictures=60, draws=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CCVAE_CACHE", str(tmp_path_factory.getbasetemp() / "evaluation-cache"))


@pytest.fixture(scope="module")
def toys():
    return toy_data()


def numbers(results):
    return {row["path"]: row["value"] for row in results["summary"]}


def test_a_model_that_paints_the_truth(toys):
    results = evaluate(PaintsTruth(toys), toys, config=SMALL, oracle=ReadsPixels(), progress=False)
    found = numbers(results)
    for path in (
        "oracle.mean.accuracy",
        "oracle.mean.variant_accuracy",
        "generation.mean.agreement",
        "generation.mean.joint",
        "interventions.flip.mean.success",
        "interventions.traversal.mean.monotonicity",
        "characteristics.transfers.mean.recognised",
    ):
        assert found[path] == 1, path
    for path in (
        "interventions.flip.mean.side_effect",
        "counterfactuals.interventions.mean.nearest.inside.relative",
        "counterfactuals.interventions.mean.nearest.features.relative",
        "counterfactuals.transfers.mean.inside.relative",
    ):
        assert found[path] == 0, path
    assert found["realism.reconstructed.frechet"] == pytest.approx(0, abs=1e-3)
    assert set(results["skipped"]) == {"classification", "likelihood", "latents", "leakage", "consistency"}
    assert results["skipped"]["classification"] == "the model does not classify"
    assert results["skipped"]["leakage"] == "the model has no latent blocks"


def test_a_model_that_ignores_labels(toys):
    found = numbers(evaluate(IgnoresLabels(toys), toys, config=SMALL, oracle=ReadsPixels(), progress=False))
    assert found["interventions.flip.mean.success"] == 0
    assert found["counterfactuals.interventions.mean.nearest.inside.relative"] == 1
    assert found["characteristics.transfers.mean.recognised"] == 0
    assert found["generation.mean.agreement"] == pytest.approx(0.5, abs=0.2)


def test_a_classifier_alone(toys):
    class Perfect:
        space = toys.space

        def predict_proba(self, images):
            predictions = ReadsPixels().predict(images)
            return pd.DataFrame(
                {f"{label}={value}": predictions.values[label][:, value] for label in LABELS for value in (0, 1)}
            )

    results = evaluate(Perfect(), toys, config=SMALL, oracle=ReadsPixels(), progress=False)
    assert numbers(results)["classification.mean.accuracy"] == 1
    assert results["skipped"]["generation"] == "the model cannot reconstruct, generate, intervene, traverse, transfer"


def test_a_run_with_all_kinds_of_labels(trained, data, tmp_path):
    model, _ = trained
    run = model.save(tmp_path / "squares")
    results = evaluate_run(run, data, config=SMALL, progress=False)
    assert json.loads((run / "metrics.json").read_text()) == results
    assert results["form"] == FORM
    assert set(results["skipped"]) == {"counterfactuals", "characteristics"}
    assert "only rendered data have it" in results["skipped"]["counterfactuals"]
    found = numbers(results)
    assert found["interventions.flip.mean.success"] > 0.6
    assert found["classification.mean.accuracy"] > 0.8
    assert found["classification.mean.r2"] > 0.5
    assert results["classification"]["temperatures"] == model.calibration.temperatures
    assert results["data"] == {"name": "squares", "split": "test", "rows": 40, "labels": ["bright", "corner", "side"]}
    assert results["oracle"]["unknown_training_labels"] == pytest.approx(0.5, abs=0.1)

    page = unescape((run / "evaluation.html").read_text())
    assert "What a change of one label changes" in page
    note = f"it predicts {results['oracle']['mean']['accuracy']['value']:.1%} of the labels of real inputs correctly"
    assert page.count(note) > 3, "beside all numbers that depend on the oracle"
    assert "of the training labels that the oracle learned from are unknown" in page
    assert "Not measured: counterfactuals" in page
    for row in results["summary"]:
        assert row["title"] in page
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page needs no other file"
    assert {path.stem for path in (run / "figures").iterdir()} == {
        "evaluation-matrices", "evaluation-reliability", "evaluation-latents",
    }  # fmt: skip


def test_vectors(tmp_path):
    generator = np.random.default_rng(0)
    labels = np.stack([generator.random(200) < 0.5, generator.normal(size=200)], 1).astype(np.float32)
    inputs = (labels @ generator.normal(size=(2, 6)) + 0.1 * generator.normal(size=(200, 6))).astype(np.float32)
    splits = split_rows(200, 30, 60)
    space = LabelSpace((Binary("on"), Continuous("size"))).with_priors(labels[splits["train"]])
    data = Dataset(inputs, labels, space, np.arange(200).astype(str), splits)
    model = CCVAE.for_data(data, latent_dim=6, width=4, network="mlp", likelihood="normal")
    run = model.save(tmp_path / "vectors")
    results = evaluate_run(run, data, config=SMALL, progress=False)
    assert "ssim" not in results["likelihood"]["reconstruction"]
    assert set(results["skipped"]) == {"counterfactuals", "characteristics"}
    assert results["oracle"]["labels"]["on"]["accuracy"]["value"] > 0.8


def test_data_and_split_must_fit(toys, data, trained):
    with pytest.raises(ValueError, match="the model was made for"):
        evaluate(trained[0], toys, config=SMALL, progress=False)
    empty = replace(data, splits={**data.splits, "test": data.splits["test"][:0]})
    with pytest.raises(ValueError, match="test has no rows to measure on; choose another: train"):
        evaluate(trained[0], empty, config=SMALL, progress=False)
    with pytest.raises(ValueError, match="expected one of train, validation, test, found 'tset'"):
        evaluate(trained[0], data, "tset", config=SMALL, progress=False)


def test_counts_must_be_possible():
    with pytest.raises(ValueError, match="edit_rows: expected a whole number, at least 2, found 1"):
        EvaluationConfig(edit_rows=1)


def test_results_are_the_same_again(toys):
    first, again = (
        evaluate(
            PaintsTruth(toys),
            toys,
            config=SMALL,
            oracle=trained_oracle(toys, OracleConfig(epochs=1, least_steps=0)),
            progress=False,
        )
        for _ in range(2)
    )
    torch.manual_seed(99)
    assert {**first, "seconds": {}} == {**again, "seconds": {}}


def test_every_section_has_its_turn(toys):
    sections = Evaluation(PaintsTruth(toys), toys, sample_of(toys, "test", 9), SMALL, ReadsPixels()).sections()
    assert sorted(sections) == sorted(COSTLIEST_FIRST)


def test_every_measure_says_what_it_is():
    assert len({measure.path for measure in METRICS}) == len({(measure.group, measure.title) for measure in METRICS})
    for measure in METRICS:
        assert measure.meaning
        assert measure.better in ("higher", "lower", "beaten", "as it is")


@pytest.fixture
def runs(toys, tmp_path):
    folders = []
    for model in (PaintsTruth(toys), IgnoresLabels(toys)):
        folder = tmp_path / type(model).__name__
        folder.mkdir()
        results = evaluate(model, toys, config=SMALL, oracle=ReadsPixels(), progress=False)
        (folder / "metrics.json").write_text(json.dumps(results))
        folders.append(folder)
    return folders


def test_runs_side_by_side(runs):
    table = compare_runs(runs).set_index("measure")
    assert list(table.columns) == ["better", "PaintsTruth", "IgnoresLabels"]
    assert table.loc["intervention succeeds", "PaintsTruth"] == "1.000 [1.000, 1.000] *"
    assert table.loc["intervention succeeds", "IgnoresLabels"] == "0.000 [0.000, 0.000]"
    assert table.loc["side effect", "PaintsTruth"] == table.loc["side effect", "IgnoresLabels"] == "0.000 [0.000, 0.000]"
    assert "accuracy" not in table.index


def test_runs_that_cannot_be_compared(runs, tmp_path):
    with pytest.raises(ValueError, match="name at least two"):
        compare_runs(runs[:1])
    with pytest.raises(ValueError, match=r"has no metrics.json; evaluate the run first"):
        compare_runs([runs[0], tmp_path])
    path = runs[1] / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "data": {**metrics["data"], "split": "validation"}}))
    with pytest.raises(ValueError, match="measured on split validation"):
        compare_runs(runs)
    path.write_text(json.dumps({**metrics, "form": 0}))
    with pytest.raises(ValueError, match="has an unknown format"):
        compare_runs(runs)
    path.write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        compare_runs(runs)


def test_page_of_a_model_that_paints(toys, runs):
    results = json.loads((runs[0] / "metrics.json").read_text())
    page = write_evaluation(runs[0], results).read_text()
    for title in ("Transfers recognised", "Edits beside the truth", "Interventions by label", "Not measured: latents"):
        assert title in page
    assert find(results, "nothing.here") is None
    (runs[0] / "figures" / "evaluation-old.png").write_bytes(b"")
    write_evaluation(runs[0], results)
    assert not (runs[0] / "figures" / "evaluation-old.png").exists()
