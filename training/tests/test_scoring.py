"""Figures of many findings: golden against scikit-learn, intervals against a loop, what cannot be measured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from score_files import ct_rate_names, invented
from sklearn import metrics

from ctglip_training.evaluation.intervals import bootstrap_interval
from ctglip_training.evaluation.paired import PairedCases
from ctglip_training.evaluation.scoring import EQUAL, ScoreRules, score
from ctglip_training.evaluation.thresholds import best_f1, closest_corner
from CTGLIPLib.errors import Cancelled, InputError

RULES = ScoreRules(rules=("youden", "closest-corner-grid"), repeats=60)


def cases_of(scores, truth, known=None, patients=None) -> PairedCases:
    volumes = tuple(ct_rate_names(len(scores)))
    return PairedCases(
        findings=tuple(f"finding {n}" for n in range(scores.shape[1])),
        volumes=volumes,
        patients=np.array(patients if patients is not None else [name.rsplit("_", 2)[0] for name in volumes]),
        scores=scores,
        truth=truth,
        known=np.ones(truth.shape, dtype=bool) if known is None else known,
        filled=np.zeros(scores.shape[1], dtype=int),
        only_predicted=(),
        only_labelled=(),
        left_out=(),
    )


@pytest.fixture
def cases() -> PairedCases:
    return cases_of(*invented(120, 3))


def test_every_average_equals_scikit_learns(cases):
    found = score(cases, RULES).averages
    calls = cases.scores > 0.5
    for kind in ("macro", "weighted", "micro"):
        own = found[kind]
        assert own["auc"].value == pytest.approx(metrics.roc_auc_score(cases.truth, cases.scores, average=kind))
        assert own["equal: f1"].value == pytest.approx(metrics.f1_score(cases.truth, calls, average=kind))
        assert own["equal: ppv"].value == pytest.approx(metrics.precision_score(cases.truth, calls, average=kind))
    assert found["micro"]["brier"].value == pytest.approx(((cases.scores - cases.truth) ** 2).mean())


def test_every_finding_has_its_own_thresholds_and_figures(cases):
    found = score(cases, RULES)
    for place, finding in enumerate(found.findings):
        scores, truth = cases.scores[:, place], cases.truth[:, place]
        calls = scores >= finding.thresholds["youden"]
        assert finding.figures["youden: f1"].value == pytest.approx(metrics.f1_score(truth, calls))
        assert finding.figures["equal: accuracy"].value == pytest.approx((truth == (scores > 0.5)).mean())
        assert (finding.positives, finding.negatives) == (truth.sum(), (~truth).sum())
    assert list(found.rules.values()) == ["no labels", "the test set itself", "the test set itself"]
    assert (found.volumes, found.patients) == (120, 60)


def test_the_intervals_equal_a_loop_that_draws_patients(cases):
    found = score(cases, RULES)

    def mean_auc(index) -> float:
        return float(metrics.roc_auc_score(cases.truth[index], cases.scores[index], average="macro"))

    low, high = bootstrap_interval(cases.patients, mean_auc, repeats=60)
    macro = found.averages["macro"]["auc"]
    assert (macro.low, macro.high) == pytest.approx((low, high), abs=1e-12)
    pooled = found.averages["micro"]["auc"]
    assert pooled.low < pooled.value < pooled.high


def test_two_reconstructions_of_a_patient_are_drawn_together():
    scores, truth = invented(100, 1)
    twice = cases_of(np.repeat(scores, 2, axis=0), np.repeat(truth, 2, axis=0))
    alone = cases_of(twice.scores, twice.truth, patients=np.arange(200))
    wide, narrow = (score(c, replace(RULES, repeats=300)).averages["macro"]["auc"] for c in (twice, alone))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_a_cell_without_a_label_leaves_its_finding_alone(rng):
    scores, truth = invented(80, 2)
    known = np.ones(truth.shape, dtype=bool)
    known[10:40, 1] = False
    changed = scores.copy()
    changed[10:40, 1] = rng.random(30)
    first, second = (score(cases_of(s, truth, known), RULES) for s in (scores, changed))
    assert first.findings == second.findings
    assert first.averages == second.averages
    assert first.findings[1].unlabelled == 30
    kept = known[:, 1]
    expected = metrics.roc_auc_score(truth[kept, 1], scores[kept, 1])
    assert first.findings[1].figures["auc"].value == pytest.approx(expected)


def test_a_finding_of_one_class_is_left_out_of_the_means(cases):
    truth = cases.truth.copy()
    truth[:, 2] = False
    found = score(replace(cases, truth=truth), RULES)
    single = found.findings[2]
    assert math.isnan(single.figures["auc"].value)
    assert math.isnan(single.thresholds["youden"])
    assert math.isnan(single.figures["youden: specificity"].value)
    two = [finding.figures["auc"].value for finding in found.findings[:2]]
    assert found.averages["macro"]["auc"].value == pytest.approx(np.mean(two))


def test_nothing_to_tell_apart_is_refused(cases):
    with pytest.raises(InputError, match="got none among 3 findings and 120 volumes"):
        score(replace(cases, truth=np.zeros_like(cases.truth)), RULES)


def test_margins_have_no_calibration_and_are_called_above_zero(cases):
    margins = replace(cases, scores=cases.scores - 0.5)
    found = score(margins, replace(RULES, kind="margin"))
    sure = score(cases, RULES)
    assert "ece" not in found.averages["macro"]
    assert found.averages["macro"]["auc"] == sure.averages["macro"]["auc"]
    assert found.averages["macro"]["equal: f1"].value == pytest.approx(sure.averages["macro"]["equal: f1"].value)
    expected = closest_corner(margins.scores[:, 0], margins.truth[:, 0])
    assert found.findings[0].thresholds["closest-corner"] == expected


def test_thresholds_of_a_separate_set_are_chosen_there_and_used_here(cases):
    scores, truth = invented(90, 2, seed=8)
    separate = cases_of(scores, truth, patients=[f"other {n}" for n in range(90)])
    found = score(cases, RULES, separate)
    rule = "best-f1, separate set"
    chosen = best_f1(scores[:, 1], truth[:, 1])
    assert found.rules[rule] == "a separate set"
    assert found.findings[1].thresholds[rule] == chosen
    expected = metrics.f1_score(cases.truth[:, 1], cases.scores[:, 1] >= chosen)
    assert found.findings[1].figures[f"{rule}: f1"].value == pytest.approx(expected)
    assert math.isnan(found.findings[2].figures[f"{rule}: f1"].value)  # the separate set has not this finding


def test_a_separate_set_of_the_same_patients_is_refused(cases):
    with pytest.raises(InputError, match="got 60 patients that the scored set has too"):
        score(cases, RULES, cases)


def test_a_subset_has_its_own_mean_where_all_of_it_is_scored(cases):
    subsets = {"two": cases.findings[:2], "all": cases.findings, "unknown": ("finding 0", "other")}
    found = score(cases, replace(RULES, subsets=subsets)).averages
    assert set(found) == {"macro", "macro, two", "weighted", "micro"}
    own = [finding.figures["auc"].value for finding in score(cases, RULES).findings[:2]]
    assert found["macro, two"]["auc"].value == pytest.approx(np.mean(own))


def test_the_same_seed_gives_the_same_intervals(cases):
    first, second, other = (score(cases, replace(RULES, seed=seed)).averages["macro"]["auc"] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_perfect_model_has_a_crg_of_one(cases):
    perfect = replace(cases, scores=cases.truth.astype(float))
    found = score(perfect, RULES)
    crg = found.averages["micro"][f"{EQUAL}: crg"]
    assert (crg.value, crg.low, crg.high) == pytest.approx((1.0, 1.0, 1.0))
    assert found.averages["macro"]["ece"].value == 0.0


def test_scoring_can_be_stopped(cases):
    with pytest.raises(Cancelled, match="Cancelled while resampling patients"):
        score(cases, RULES, progress=lambda *_: False)


def test_ct_rates_means_equal_a_direct_computation_by_each_published_protocol(cases):
    """CT-CLIP and fVLM: 100 steps, calls above the step. RadFinder: Youden, calls from the threshold on."""
    found = score(cases, RULES).averages["macro"]
    corner, youden = [], []
    for scores, truth in zip(cases.scores.T, cases.truth.T, strict=True):
        steps = np.linspace(0, 1, 100)
        distance = [math.hypot(1 - (scores > s)[truth].mean(), (scores > s)[~truth].mean()) for s in steps]
        calls = scores > steps[max(n for n in range(100) if distance[n] == min(distance))]
        corner.append(
            (
                metrics.precision_score(truth, calls),
                metrics.accuracy_score(truth, calls),
                metrics.f1_score(truth, calls, average="weighted"),
            )
        )
        fpr, tpr, levels = metrics.roc_curve(truth, scores)
        calls = scores >= levels[np.argmax(tpr - fpr)]
        youden.append(
            (
                metrics.balanced_accuracy_score(truth, calls),
                metrics.f1_score(truth, calls, average="weighted"),
            )
        )
    names = ("ppv", "accuracy", "two_class_f1")
    ours = [found[f"closest-corner-grid: {name}"].value for name in names]
    assert ours == pytest.approx(np.mean(corner, axis=0).tolist(), abs=1e-12)
    ours = [found[f"youden: {name}"].value for name in ("balanced_accuracy", "two_class_f1")]
    assert ours == pytest.approx(np.mean(youden, axis=0).tolist(), abs=1e-12)
