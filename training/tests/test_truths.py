"""What a report makes true of an organ: stated, denied, suspected, called normal, not mentioned."""

from __future__ import annotations

import pytest
from training_phantom import BIG, CYST

from ctglip_training.simulate.patient import findings_text
from ctglip_training.statements import Statement, StudyText
from ctglip_training.truths import findings_of, known_truths

KIDNEYS = ("kidney_left", "kidney_right")
ASKED = {"renal_cyst": KIDNEYS, "kidney_stone": KIDNEYS, "fatty_liver": ("liver",)}


def report(*statements: Statement) -> StudyText:
    return StudyText(statements, "a report")


CYST_LEFT = Statement("kidney_left", "A cyst.", finding="renal_cyst")
NO_STONE = Statement("kidney_left", "No stone.", normal=True, finding="kidney_stone")
NORMAL_RIGHT = Statement("kidney_right", "Normal.", normal=True)
MAYBE_FAT = Statement("liver", "Perhaps steatosis.", finding="fatty_liver", uncertain=True)


@pytest.mark.parametrize(("unmentioned", "liver"), [("negative", {("fatty_liver", "liver"): False}), ("unknown", {})])
def test_stated_is_present_denied_absent_and_the_unmentioned_as_asked(unmentioned, liver):
    said = report(CYST_LEFT, NO_STONE, NORMAL_RIGHT)
    assert known_truths(said, (*KIDNEYS, "liver"), ASKED, unmentioned) == {
        ("renal_cyst", "kidney_left"): True,
        ("kidney_stone", "kidney_left"): False,
        ("renal_cyst", "kidney_right"): False,
        ("kidney_stone", "kidney_right"): False,
        **liver,
    }


def test_what_is_suspected_is_left_out_unless_it_is_stated_too():
    certain = Statement("liver", "Steatosis.", finding="fatty_liver")
    assert known_truths(report(MAYBE_FAT), ("liver",), ASKED) == {}
    assert known_truths(report(MAYBE_FAT, certain), ("liver",), ASKED) == {("fatty_liver", "liver"): True}


def test_an_organ_called_normal_and_abnormal_is_not_normal():
    said = report(CYST_LEFT, Statement("kidney_left", "Otherwise normal.", normal=True))
    assert known_truths(said, KIDNEYS[:1], ASKED, "unknown") == {("renal_cyst", "kidney_left"): True}


def test_organs_that_are_not_there_are_not_asked_and_findings_only_where_they_can_live():
    assert set(known_truths(report(CYST_LEFT), ("liver",), ASKED)) == {("fatty_liver", "liver")}


def test_of_a_study_without_a_report_nothing_is_known():
    assert known_truths(StudyText(), (*KIDNEYS, "liver"), ASKED) == {}


def test_the_simulator_says_all_that_there_is():
    truths = known_truths(findings_text((CYST, BIG)), ("kidney_left", "spleen"), unmentioned="unknown")
    assert [key for key, truth in truths.items() if truth] == [
        ("renal_cyst", "kidney_left"),
        ("splenomegaly", "spleen"),
    ]
    assert truths["kidney_stone", "kidney_left"] is False


def test_what_somebody_certainly_has_is_asked_of_the_organs_it_can_live_in():
    denied_alone = Statement("liver", "No cyst.", normal=True, finding="hepatic_cyst")
    odd = Statement("body", "Cyst.", finding="renal_cyst")
    found = findings_of([report(CYST_LEFT, NO_STONE, MAYBE_FAT), report(denied_alone, odd)])
    assert list(found) == ["renal_cyst"]
    assert {"kidney_left", "kidney_right", "body"} <= set(found["renal_cyst"])
