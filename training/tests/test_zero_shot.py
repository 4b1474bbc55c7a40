"""Zero-shot figures against numbers computed by hand, and thresholds that never come from the case itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctglip_training.evaluate import FindingCase, OrganCase
from ctglip_training.evaluation.intervals import estimate
from ctglip_training.evaluation.zero_shot import (
    FIGURES,
    Answers,
    best_thresholds,
    difference,
    separate_thresholds,
    zero_shot_values,
)
from CTGLIPLib.errors import InputError


def asked(*margins: tuple[float, bool], finding: str = "cyst") -> tuple[FindingCase, ...]:
    return tuple(FindingCase(n, finding, "liver", m, t) for n, (m, t) in enumerate(margins))


def random_answers(rng, patients: int = 12) -> dict[str, Answers]:
    answers = {}
    for subject in ("a", "b"):
        organs = tuple(OrganCase(n, "liver", (str(rng.choice(["liver", "spleen"])),)) for n in range(patients))
        findings = tuple(
            FindingCase(n, finding, organ, float(rng.normal()), bool(rng.random() < 0.4))
            for n in range(patients)
            for finding in ("cyst", "stone")
            for organ in ("kidney_left", "kidney_right")
        )
        answers[subject] = Answers(organs, findings)
    return answers


def test_the_figures_are_those_computed_by_hand():
    cyst = asked((0.5, True), (0.1, True), (-0.2, True), (0.3, False), (-0.1, False))
    stone = asked((0.2, False), (-0.3, True), finding="stone")
    organs = (OrganCase(0, "liver", ("liver",)), OrganCase(0, "spleen", ("aorta", "spleen")), OrganCase(1, "x", ("y",)))
    values = zero_shot_values({"s": Answers(organs, cyst + stone)}, repeats=0)
    # cyst: TP 2, FP 1, FN 1; pairs right: 0.5 beats 2, 0.1 beats 1, -0.2 none of 2 -> 3 of 6. stone: all wrong.
    expected = {"ppv": (2 / 3 + 0) / 2, "sensitivity": (2 / 3 + 0) / 2, "f1": (2 / 3 + 0) / 2, "auc": (3 / 6 + 0) / 2}
    expected |= {"top1": 1 / 3, "top5": 2 / 3}
    assert {name: float(values[name][0]) for name in FIGURES} == pytest.approx(expected)


def test_a_margin_of_nothing_is_not_called():
    values = zero_shot_values({"s": Answers((), asked((0.0, True), (0.1, True), (0.0, False)))}, repeats=0)
    assert (values["sensitivity"][0], values["ppv"][0]) == (0.5, 1.0)


def test_a_finding_that_no_patient_has_is_in_no_mean():
    cases = asked((0.5, True), (-0.5, False)) + asked((0.5, False), (0.1, False), finding="stone")
    values = zero_shot_values({"s": Answers((), cases)}, repeats=0)
    assert [float(values[name][0]) for name in ("ppv", "sensitivity", "f1", "auc")] == [1.0, 1.0, 1.0, 1.0]
    assert np.isnan(values["top1"][0])


def test_without_findings_the_organs_are_still_told():
    values = zero_shot_values({"s": Answers((OrganCase(0, "liver", ("liver",)),), ())}, repeats=3)
    assert values["top1"].tolist() == [1.0] * 4
    assert np.isnan(values["auc"]).all()


def test_nothing_asked_is_refused():
    with pytest.raises(InputError, match="asked of one patient or more, got none"):
        zero_shot_values({"s": Answers((), ())})


def test_the_resampled_figures_are_those_of_the_patients_drawn(rng):
    answers = random_answers(rng)
    values = zero_shot_values(answers, repeats=3, seed=5)
    patients = [(s, n) for s in ("a", "b") for n in range(12)]
    draws = np.random.default_rng(5).integers(len(patients), size=(3, len(patients)))
    for repeat, drawn in enumerate(draws, start=1):
        organs, findings = [], []
        for number, (subject, patient) in enumerate(patients[i] for i in drawn):
            organs += [OrganCase(number, c.organ, c.best) for c in answers[subject].organs if c.patient == patient]
            findings += [
                FindingCase(number, c.abnormality, c.organ, c.margin, c.truth)
                for c in answers[subject].findings
                if c.patient == patient
            ]
        again = zero_shot_values({"s": Answers(tuple(organs), tuple(findings))}, repeats=0)
        assert {name: values[name][repeat] for name in FIGURES} == pytest.approx(
            {name: again[name][0] for name in FIGURES}
        )


def test_systems_that_answer_alike_differ_by_nothing_in_every_resampling(rng):
    answers = random_answers(rng)
    doubled = {
        subject: Answers(own.organs, tuple(replace(case, margin=2 * case.margin) for case in own.findings))
        for subject, own in answers.items()
    }
    values, others = zero_shot_values(answers, repeats=50), zero_shot_values(doubled, repeats=50)
    found = difference(values["auc"], others["auc"])
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    alone = estimate(values["auc"])
    assert alone.low < alone.value < alone.high


def test_a_threshold_never_comes_from_the_subject_that_it_is_used_on(rng):
    answers = random_answers(rng)
    chosen = separate_thresholds(answers)
    assert chosen == {"a": best_thresholds(answers["b"].findings), "b": best_thresholds(answers["a"].findings)}
    turned = (replace(case, margin=-case.margin, truth=not case.truth) for case in answers["a"].findings)
    flipped = Answers((), tuple(turned))
    assert separate_thresholds({**answers, "a": flipped})["a"] == chosen["a"]
    assert separate_thresholds({**answers, "a": flipped})["b"] != chosen["b"]


def test_thresholds_of_others_are_applied_subject_by_subject():
    first = Answers((), asked((0.5, True), (0.4, False), (0.1, False)))
    second = Answers((), asked((0.9, True), (0.6, False), (0.7, True)))
    chosen = separate_thresholds({"a": first, "b": second})
    assert chosen == {"a": {"cyst": 0.7}, "b": {"cyst": 0.5}}
    values = zero_shot_values({"a": first, "b": second}, chosen, repeats=0)
    # a: all below 0.7, one missed; b: all at or above 0.5, one wrong
    assert (values["sensitivity"][0], values["ppv"][0]) == pytest.approx((2 / 3, 2 / 3))


def test_a_finding_that_the_others_do_not_tell_has_no_figures_of_calls():
    first = Answers((), asked((0.5, True), (0.4, False)))
    second = Answers((), asked((0.9, False), (0.6, False)))
    values = zero_shot_values({"a": first, "b": second}, separate_thresholds({"a": first, "b": second}), repeats=0)
    assert np.isnan(values["f1"][0])
    assert not np.isnan(values["auc"][0])
