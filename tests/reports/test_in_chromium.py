"""The pages of a run, opened in Chromium at the widths of a desktop and a phone."""

import pytest
import torch

from browser import needs_chromium, seen
from ccvae.evaluation import EvaluationConfig, evaluate_run
from ccvae.model.ccvae import CCVAE
from ccvae.model.saving import save
from ccvae.reports.figures import draw_all
from ccvae.reports.report import write_report

WIDTHS = (1280, 390)
SMALL = EvaluationConfig(
    rows=40, evidence_rows=2, evidence_samples=8, edit_rows=10, walk_rows=4, truth_rows=4, pairs=10, probe_rows=60,
    conditions=4, repeats=2, pictures=20, draws=3,
)  # fmt: skip
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run folder with its report and evaluation, of a model that was not trained."""
    folder = tmp_path_factory.mktemp("runs") / "squares"
    torch.manual_seed(0)
    model = CCVAE.for_data(data, latent_dim=12, width=4).eval()
    save(model, folder, {"training": {"epochs": 3, "seed": 0}})
    draw_all(model, data, folder)
    write_report(folder, model, data)
    evaluate_run(folder, data, config=SMALL, progress=False)
    return folder


@pytest.mark.parametrize("name", ["report", "evaluation"])
def test_pages_fit_and_all_is_shown(run, name):
    found, asked = seen(run / f"{name}.html", WIDTHS)
    assert set(asked) <= {f"/{name}.html", "/favicon.ico"}, "nothing else is loaded"
    for each, width in zip(found, WIDTHS, strict=True):
        assert each["title"] == "squares"
        assert each["width"] <= width
        assert each["outside"] == [], "what is wider than the window scrolls within itself"
        assert each["pictures"] > 2
        assert each["broken"] == []
        assert len(each["links"]) > 2
        assert all(link["found"] and link["visible"] for link in each["links"])
        assert "bright" in each["text"]
        assert "NaN" not in each["text"]
    assert all(opened > 50 for each in found for opened in each["folded"])
    assert found[0]["folded"] or name == "evaluation"


def test_what_does_not_fit_is_found(tmp_path):
    """The checks above fail for a page that is broken."""
    page = tmp_path / "page.html"
    page.write_text(
        "<title>x</title><nav><a href='#none'>none</a></nav><div style='width: 700px'>wide</div>"
        "<div style='overflow-x: auto'><p style='width: 900px'>scrolls</p></div><img alt='gone' src='gone.png'>"
    )
    [wide, narrow], asked = seen(page, WIDTHS)
    assert "/gone.png" in asked
    assert wide["broken"] == ["gone"]
    assert wide["links"] == [{"text": "none", "found": False, "visible": False}]
    assert wide["outside"] == []
    assert narrow["width"] > WIDTHS[1]
    assert [each[:4] for each in narrow["outside"]] == ["<div"]
