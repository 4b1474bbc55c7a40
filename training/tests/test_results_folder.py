"""The results folder: every file, what is in it, and nothing of an earlier run."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from score_files import ct_rate_files

from ctglip_training.evaluation.paired import PairRules, read_pair
from ctglip_training.evaluation.protocols import PROTOCOLS
from ctglip_training.evaluation.results_folder import Outcome, markdown, plain, summary_line, write_results
from ctglip_training.evaluation.scoring import ScoreRules, score
from CTGLIPLib.errors import OutputError

FILES = {"scores.json", "findings.csv", "summary.md", "volumes.json", "auc.png", "roc.png", "reliability.png"}


def outcome_of(folder, kind="probability", protocol="ct-rate") -> Outcome:
    chosen = PROTOCOLS[protocol]
    predictions, labels = ct_rate_files(folder)
    cases = read_pair(predictions, labels, chosen, PairRules(kind=kind))
    rules = ScoreRules(kind, chosen.rules, chosen.subsets, repeats=20)
    return Outcome(chosen, cases, score(cases, rules), {"predictions": "p.csv", "labels": "l.csv"})


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Outcome:
    return outcome_of(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def written(outcome, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write_results(outcome, folder)
    return folder


def test_the_folder_has_tables_and_pictures_and_nothing_else(written):
    assert {path.name for path in written.iterdir()} == FILES


def test_the_json_holds_every_figure_with_its_interval_and_the_published_ones(written, outcome):
    read = json.loads((written / "scores.json").read_text(encoding="utf-8"))
    auc = outcome.scores.averages["macro"]["auc"]
    assert read["averages"]["macro"]["auc"] == {"value": auc.value, "low": auc.low, "high": auc.high}
    assert (read["protocol"], read["volumes"], read["patients"], len(read["findings"])) == ("ct-rate", 60, 30, 18)
    assert read["rules"]["youden"] == "the test set itself"
    assert {"fVLM", "CT-CLIP", "RadFinder"} <= {figure["system"] for figure in read["published_percent"]}
    assert read["inputs"] == {"predictions": "p.csv", "labels": "l.csv"}


def test_the_csv_has_a_row_for_each_finding_rule_and_figure(written, outcome):
    with (written / "findings.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    first = outcome.scores.findings[0]
    assert len(rows) == 18 * len(first.figures)
    [row] = [r for r in rows if (r["finding"], r["rule"], r["figure"]) == (first.name, "youden", "f1")]
    assert float(row["value"]) == first.figures["youden: f1"].value
    assert float(row["threshold"]) == first.thresholds["youden"]
    [row] = [r for r in rows if (r["finding"], r["figure"]) == (first.name, "auc")]
    assert (row["rule"], row["threshold"]) == ("", "")


def test_the_summary_names_the_protocol_beside_every_published_figure(written, outcome):
    text = (written / "summary.md").read_text(encoding="utf-8")
    auc = outcome.scores.averages["macro, 16 of fVLM"]["auc"]
    ours = f"{100 * auc.value:.1f} ({100 * auc.low:.1f}-{100 * auc.high:.1f})"
    assert f"| fVLM | auc | 77.8 | {ours} | none; 16 of fVLM | 16 findings, threshold nearest the corner" in text
    assert "Thresholds chosen on the test set flatter" in text
    assert "Research only, not for diagnosis" in text
    assert "nan" not in text


@pytest.mark.parametrize("name", ["auc.png", "roc.png", "reliability.png"])
def test_a_picture_has_room_and_ink(written, name):
    with Image.open(written / name) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 300
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    assert 0.0005 < blue.mean() < 0.5


def test_margins_leave_no_reliability_of_an_earlier_run(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "reliability.png").write_bytes(b"old")
    write_results(outcome_of(tmp_path, "margin"), out)
    assert {path.name for path in out.iterdir()} == FILES - {"reliability.png"}


def test_the_plain_protocol_has_no_published_figures(tmp_path):
    text = markdown(outcome_of(tmp_path, protocol="plain"))
    assert "Published" not in text
    assert "## Findings" in text


def test_warnings_tell_what_was_left_out_filled_or_too_small(outcome):
    truth = outcome.cases.truth.copy()
    truth[:, 0] = False
    truth[:, 1] = np.arange(60) < 3
    changed = replace(
        outcome.cases, truth=truth, only_predicted=("secret",), left_out=("Z",), filled=np.array([2] + [0] * 17)
    )
    told = Outcome(outcome.protocol, changed, score(changed, ScoreRules(repeats=5)), {})
    words = "\n".join(told.warnings)
    assert "volumes with scores but no labels: 1, with labels but no scores: 0" in words
    assert "Not scored, missing from a table: Z." in words
    assert "2 missing scores count as the lowest" in words
    assert "One class only, so no AUC and not in its mean: Medical material." in words
    assert "little is known of: Arterial wall calcification" in words
    assert "secret" not in markdown(told) + summary_line(told, "out")
    assert "| Medical material | 0 | 60 | - |" in markdown(told)
    assert " over 17 findings, 60 volumes of 30 patients (ct-rate); written to out" in summary_line(told, "out")


def test_a_calibration_error_below_its_interval_is_explained(outcome):
    rare = replace(outcome.cases, scores=np.full((60, 18), outcome.cases.truth.mean(axis=0)))
    told = Outcome(outcome.protocol, rare, score(rare, ScoreRules(repeats=20)), {})
    assert told.scores.averages["macro"]["ece"].value == pytest.approx(0.0, abs=1e-9)
    assert "its interval lies above it" in told.warnings[-1]


def test_json_has_none_for_what_is_no_number():
    assert plain({"a": (float("nan"), float("inf"), 1.5), "b": {"c": 2}}) == {"a": [None, None, 1.5], "b": {"c": 2}}


def test_a_folder_that_cannot_be_written_is_told(outcome, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError, match="Could not write .*scores.json"):
        write_results(outcome, blocked)
