"""A model's scores from the held-out cases of runs: the cases file, the network where there is none, what is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from training_phantom import FakeEncoder

from ctglip_training import calibrate_model as module
from ctglip_training import hold_out
from ctglip_training.calibrate import calibrate, fit_logistic
from ctglip_training.calibrate_model import calibrate_model
from ctglip_training.cases import CASES, read_cases, write_cases
from ctglip_training.cli import main
from ctglip_training.evaluate import FindingCase
from ctglip_training.hold_out import held_out_cases, open_run
from CTGLIPLib.checkpoint import open_model_folder
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import ConfigError


def made_up(seed: int, finding: str = "renal_cyst") -> list[FindingCase]:
    rng = np.random.default_rng(seed)
    return [
        FindingCase(i // 4, finding, "kidney_left", float(rng.normal(0.2 * (i % 2), 0.1)), bool(i % 2))
        for i in range(40)
    ]


@pytest.fixture
def model(smoke_run: Path, tmp_path: Path) -> Path:
    copytree(smoke_run / "model", tmp_path / "model")
    return tmp_path / "model"


def run_with(cases: dict[str, list[FindingCase]], folder: Path) -> Path:
    folder.mkdir()
    write_cases(cases, folder / CASES)
    return folder


def test_cases_read_back_equal(tmp_path):
    cases = {"beta": made_up(1), "gamma, the 2nd": made_up(2, "fatty_liver")}
    write_cases(cases, tmp_path / CASES)
    assert read_cases(tmp_path / CASES) == cases
    header = (tmp_path / CASES).read_text().splitlines()[0]
    assert header == "subject,patient,abnormality,organ,margin,truth"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "subject,patient,abnormality,organ,margin,truth\nx,y,z\n"])
def test_a_file_that_holds_no_cases_is_refused(text, tmp_path):
    (tmp_path / CASES).write_text(text)
    with pytest.raises(ConfigError, match=r"Expected cases with the columns subject, .*cases.csv, got.*evaluate"):
        read_cases(tmp_path / CASES)


def test_the_cases_of_all_runs_make_the_scores_of_the_model(model, tmp_path, capsys):
    before = open_model_folder(model).config.score
    cyst, fat = made_up(1), made_up(2, "fatty_liver")
    runs = [run_with({"beta": cyst}, tmp_path / "a"), run_with({"gamma": fat[:10]}, tmp_path / "b")]
    assert main(["calibrate", "--runs", *map(str, [*runs, runs[0]]), "--model", str(model)]) == 0
    score = open_model_folder(model).config.score
    every = [*cyst, *fat[:10]]
    margins, truth = np.array([c.margin for c in every]), np.array([c.truth for c in every])
    assert (score.slope, score.intercept) == pytest.approx(fit_logistic(margins, truth))
    assert set(score.by_finding) == {"renal_cyst"}  # five positives and negatives of fatty liver are too few
    assert (score.temperature, score.threshold) == (before.temperature, before.threshold)
    assert score.calibrated_on.startswith("50 simulated findings (25 present) in patients made from beta, gamma")
    shown = capsys.readouterr().out
    assert f"slope {score.slope:.3f}, intercept {score.intercept:.3f}" in shown
    assert "expected calibration error, 95 % interval over patients: 0." in shown
    assert "in-sample" in shown


def test_a_run_without_cases_is_asked_itself(smoke_run, model, monkeypatch):
    monkeypatch.setattr(hold_out, "open_text_encoder", lambda *_args, **_named: FakeEncoder())
    asked: list[FindingCase] = []

    def kept(cases, score: ScoreConfig, words: str) -> ScoreConfig:
        asked.extend(cases)
        return replace(calibrate(made_up(1), score, words), by_finding={})

    monkeypatch.setattr(module, "calibrate", kept)
    shown = calibrate_model([smoke_run], model, 2)
    assert asked == held_out_cases(open_run(smoke_run), 2)["beta"]
    assert "made from beta, each asked of a model trained without that subject" in shown
    assert "beta" in open_model_folder(model).card
    assert not (smoke_run / CASES).exists()


def error_by_hand(cases: list[FindingCase], others: list[FindingCase]) -> float:
    """Ten bins of the probabilities by a line fitted to the others."""
    slope, intercept = fit_logistic(np.array([c.margin for c in others]), np.array([c.truth for c in others]))
    sure = 1 / (1 + np.exp(-(slope * np.array([c.margin for c in cases]) + intercept)))
    truth = np.array([c.truth for c in cases])
    inside = np.minimum((sure * 10).astype(int), 9)
    return float(sum(abs((sure - truth)[inside == b].sum()) for b in range(10)) / len(cases))


def test_the_error_on_subjects_left_out_comes_of_scores_fitted_to_the_others(model, tmp_path):
    first, second = made_up(1), [replace(case, margin=case.margin + 0.3) for case in made_up(2)]
    runs = [run_with({"beta": first}, tmp_path / "a"), run_with({"gamma": second}, tmp_path / "b")]
    shown = calibrate_model(runs, model, 2, out=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "calibration.json").read_text(encoding="utf-8"))
    fitted, honest = (facts["expected_calibration_error"][name] for name in (module.FITTED, module.LEFT_OUT))
    expected = (error_by_hand(first, second) + error_by_hand(second, first)) / 2
    assert honest["value"] == pytest.approx(expected)
    assert honest["low"] <= honest["value"] <= honest["high"]
    assert fitted["value"] < 0.15 < 0.3 < honest["value"]
    assert f"{honest['value']:.3f}" in shown
    assert (tmp_path / "out" / "reliability.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("others", "reason"),
    [(None, "all cases are of one subject"), (made_up(2)[:6], "8 positive and 8 negative cases or more, got 3 and 3")],
)
def test_an_error_that_cannot_be_measured_on_others_is_told_and_the_scores_are_set(model, tmp_path, others, reason):
    cases = {"beta": made_up(1)} if others is None else {"beta": made_up(1), "gamma": others}
    shown = calibrate_model([run_with(cases, tmp_path / "a")], model, 2)
    assert "not measured (" in shown
    assert reason in shown
    assert "beta" in open_model_folder(model).config.score.calibrated_on
