"""What `evaluate` writes: organs, findings, thresholds and scores of other patients, the paper's figures beside."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ctglip_training.calibrate import calibrate
from ctglip_training.cases import read_cases, write_cases
from ctglip_training.evaluate import FindingCase, OrganCase
from ctglip_training.evaluation.asked import asked_cases, measurable
from ctglip_training.evaluation.naming import confusion, organ_figures
from ctglip_training.evaluation.thresholds import best_f1
from ctglip_training.evaluation.zero_shot import Answers
from ctglip_training.evaluation.zero_shot_folder import Evaluation, write_evaluation
from ctglip_training.separate import separate_score, threshold_cases
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import ConfigError, InputError
from CTGLIPLib.similarity import finding_score

ORGANS = (
    OrganCase(0, "liver", ("liver", "spleen")), OrganCase(1, "liver", ("spleen", "liver")),
    OrganCase(0, "spleen", ("aorta", "liver")), OrganCase(1, "aorta", ("aorta",)),
)  # fmt: skip

PAPER_LIKE = ScoreConfig(slope=5.0)


def made_up(seed: int, patients: int = 20, shift: float = 0.0) -> tuple[FindingCase, ...]:
    rng = np.random.default_rng(seed)
    return tuple(
        FindingCase(n, finding, organ, float(rng.normal(shift + 0.1 * truth, 0.1)), truth)
        for n in range(patients)
        for finding, organ in (("renal_cyst", "kidney_left"), ("renal_cyst", "kidney_right"), ("fatty_liver", "liver"))
        for truth in [bool(rng.random() < 0.5)]
    )


def evaluation(separate=None, score=PAPER_LIKE, findings=None, notes=("a note",)) -> Evaluation:
    answers = {"beta": Answers(ORGANS, made_up(1) if findings is None else findings)}
    return Evaluation("a run on beta", answers, score, separate or {}, notes, {"run": "a run"})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    others = {"gamma": list(made_up(2, shift=-0.1))}
    score, words = separate_score(ScoreConfig(), others)
    line = write_evaluation(evaluation(others, score, notes=(words,)), folder, repeats=30)
    assert line.startswith("organ top-1 0.500")
    return folder


def test_the_folder_holds_tables_pictures_and_the_cases(written):
    names = {path.name for path in written.iterdir()}
    assert names == {
        "scores.json", "findings.csv", "summary.md", "volumes.json", "auc.png", "roc.png", "reliability.png",
        "organs.csv", "organs.json", "confusion.csv", "confusion.png", "cases.csv",
    }  # fmt: skip
    assert read_cases(written / "cases.csv") == {"beta": list(made_up(1))}


def test_the_findings_are_judged_at_equal_similarity_and_at_the_others_thresholds_alone(written):
    scores = json.loads((written / "scores.json").read_text(encoding="utf-8"))
    assert set(scores["rules"]) == {"equal", "best-f1, separate set", "youden, separate set"}
    own, others = ([c for c in made_up(s, shift=d) if c.abnormality == "renal_cyst"] for s, d in ((1, 0.0), (2, -0.1)))
    [cyst] = [f for f in scores["findings"] if f["name"] == "renal_cyst"]
    margins, truth = np.array([c.margin for c in own]), np.array([c.truth for c in own])
    assert cyst["figures"]["auc"]["value"] == pytest.approx(roc_auc_score(truth, margins))
    assert cyst["figures"]["equal: sensitivity"]["value"] == pytest.approx((margins[truth] > 0).mean())
    limit = best_f1(np.array([c.margin for c in others]), np.array([c.truth for c in others]))
    assert cyst["thresholds"]["best-f1, separate set"] == limit
    assert cyst["figures"]["best-f1, separate set: ppv"]["value"] == pytest.approx(truth[margins >= limit].mean())


def test_calibration_is_measured_on_scores_that_were_fitted_to_the_others(written):
    scores = json.loads((written / "scores.json").read_text(encoding="utf-8"))
    fitted = calibrate(made_up(2, shift=-0.1), ScoreConfig(), "gamma")
    sure = np.array([finding_score(c.margin, fitted, c.abnormality) for c in made_up(1)])
    truth = np.array([c.truth for c in made_up(1)])
    assert scores["averages"]["micro"]["brier"]["value"] == pytest.approx(((sure - truth) ** 2).mean())
    assert any("fitted to the cases of gamma alone" in warning for warning in scores["warnings"])


def test_the_summary_tells_organs_findings_and_the_papers_figures_with_their_slips(written):
    words = (written / "summary.md").read_text(encoding="utf-8")
    assert words.startswith("# a run on beta\n\n## Organs\n\nTop-1 0.500")
    assert "| spleen | 1 | 0.000" in words
    assert "aorta (1)" in words
    assert "60 organs of 20 patients, 2 findings" in words
    assert "| nnUNet +ACL +DCL +A-Dict | top1 | 86.24 | 50.0 (" in words
    assert "| 104 names | private test set" in words
    assert "the table says 49.02" in words
    assert "nan" not in words.lower().replace("nanometre", "")


def test_each_organ_has_its_accuracy_and_what_it_was_taken_for():
    figures = organ_figures({"beta": Answers(ORGANS, ())}, repeats=20)
    assert [(f.organ, f.cases, f.top1.value, f.top5.value) for f in figures] == [
        ("aorta", 1, 1.0, 1.0), ("liver", 2, 0.5, 1.0), ("spleen", 1, 0.0, 0.0)
    ]  # fmt: skip
    assert (figures[1].top1.low, figures[1].top1.high) == (0.0, 1.0)
    organs, given, shares = confusion(figures)
    assert (organs, given) == (("aorta", "liver", "spleen"), ("aorta", "liver", "spleen"))
    assert shares.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0]]
    assert np.allclose(shares.sum(axis=1), 1)


def test_the_confusion_table_counts_every_case(written):
    with (written / "confusion.csv").open(encoding="utf-8", newline="") as stream:
        rows = {(row["organ"], row["named"]): int(row["cases"]) for row in csv.DictReader(stream)}
    assert rows == {("liver", "liver"): 1, ("liver", "spleen"): 1, ("spleen", "aorta"): 1, ("aorta", "aorta"): 1}


def test_what_an_organ_was_not_asked_for_is_unknown():
    cases = asked_cases({"beta": Answers((), made_up(1, patients=2))}, ScoreConfig())
    assert cases.findings == ("fatty_liver", "renal_cyst")
    assert cases.known.sum(axis=0).tolist() == [2, 4]
    assert (cases.known.sum(axis=1) == 1).all()
    assert sorted(set(cases.patients.tolist())) == ["beta/0", "beta/1"]
    with pytest.raises(InputError, match="asked of one organ or more, got none"):
        asked_cases({"beta": Answers(ORGANS, ())})


def test_without_a_finding_to_tell_apart_the_organs_are_written_and_the_rest_is_told(tmp_path):
    healthy = tuple(FindingCase(n, "fatty_liver", "liver", 0.1, truth=False) for n in range(3))
    assert not measurable({"beta": Answers((), healthy)})
    line = write_evaluation(evaluation(findings=healthy), tmp_path, repeats=5)
    assert "no finding could be measured" in line
    words = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "none can be measured" in words
    assert "- a note" in words
    assert not (tmp_path / "scores.json").exists()
    assert (tmp_path / "organs.csv").is_file()


def test_cases_of_an_evaluated_subject_never_choose_thresholds(tmp_path):
    for name in ("beta", "gamma"):
        write_cases({name: made_up(3)}, tmp_path / f"{name}.csv")
    paths = (tmp_path / "beta.csv", tmp_path / "gamma.csv")
    assert set(threshold_cases(paths[1:], ["beta"])) == {"gamma"}
    with pytest.raises(InputError, match="other subjects than those evaluated, got cases of beta"):
        threshold_cases(paths, ["beta"])
    with pytest.raises(InputError, match="patients that the scored set has too"):
        write_evaluation(evaluation({"beta": list(made_up(1))}), tmp_path / "out", repeats=2)
    with pytest.raises(ConfigError, match="Expected cases with the columns"):
        threshold_cases((tmp_path / "none.csv",), [])


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (ScoreConfig(), "never calibrated: give --threshold-cases"),
        (ScoreConfig(calibrated_on="x"), "the errors flatter"),
    ],
)
def test_scores_that_are_not_separate_are_told(score, words):
    own, told = separate_score(score, {"gamma": made_up(2)[:9]})
    assert own == score
    assert words in told
