"""Rows of the findings table: every question and every organ asked has one."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
from made_results import answer, organ, result  # noqa: E402 - needs nothing of Slicer, but its tests do


@pytest.fixture
def findings(slicerApp):
    from CTGLIPSlicer import findings

    return findings


def test_a_row_has_all_that_the_table_shows(findings):
    found = answer("renal cyst", organ("kidney_left", 0.9))
    assert findings.rowsOf(result(found)) == [
        findings.FindingRow(
            question="renal cyst",
            organ="left kidney",
            side="left",
            score=0.9,
            similarity=0.45,
            state="present",
            answer="found",
            volumeMl=123.4,
            questionIndex=0,
            organName="kidney_left",
            centroidRas=(1.0, 2.0, 3.0),
            answerCode="found",
            stateCode="present",
        )
    ]


def test_rows_are_in_the_order_of_questions_and_then_of_scores(findings):
    rows = findings.rowsOf(
        result(answer("a", organ("liver", 0.6), organ("spleen", 0.8)), answer("b", organ("liver", 0.7)))
    )
    assert [(row.questionIndex, row.organName) for row in rows] == [(0, "spleen"), (0, "liver"), (1, "liver")]


def test_an_organ_below_the_threshold_was_asked_and_not_found(findings):
    rows = findings.rowsOf(result(answer("cyst", organ("kidney_left", 0.8), organ("kidney_right", 0.2))))
    assert [row.answer for row in rows] == ["found", "asked, not found"]
    assert [row.answerCode for row in rows] == ["found", "not_found"]


def test_an_organ_cut_by_the_scans_edge_says_so_and_is_scored(findings):
    (row,) = findings.rowsOf(result(answer("effusion", organ("lung_left", 0.8, "cut"))))
    assert (row.state, row.stateCode, row.answerCode) == ("cut off by the scan's edge", "cut", "found")


def test_an_absent_organ_is_a_row_without_numbers(findings):
    (row,) = findings.rowsOf(result(answer("gallstones", organ("gallbladder", None, "absent"), verdict="unanswerable")))
    assert (row.state, row.answer) == ("not in the segmentation", "cannot be answered")
    assert (row.score, row.similarity, row.volumeMl, row.centroidRas) == (None, None, None, None)


def test_an_organ_without_a_mask_comes_first_then_the_closest_masks(findings):
    others = [organ(name, score) for name, score in (("liver", 0.1), ("spleen", 0.4), ("colon", 0.2), ("aorta", 0.3))]
    asked = {"kind": "organ", "organs_asked": ("gallbladder",), "verdict": "not_found"}
    searched = answer("gallbladder", *others, organ("gallbladder", None, "absent"), **asked)
    assert [(row.organName, row.answer, row.answerCode) for row in findings.rowsOf(result(searched))] == [
        ("gallbladder", "asked, not found", "not_found"),
        ("spleen", "closest mask", "not_found"),
        ("aorta", "closest mask", "not_found"),
        ("colon", "closest mask", "not_found"),
    ]


def test_a_mask_of_another_name_that_fits_the_organ_asked_is_told_as_that(findings):
    asked = {"kind": "organ", "organs_asked": ("gallbladder",)}
    searched = answer("gallbladder", organ("structure_7", 0.9), organ("gallbladder", None, "absent"), **asked)
    assert [(row.organName, row.answer, row.answerCode) for row in findings.rowsOf(result(searched))] == [
        ("gallbladder", "asked, not found", "not_found"),
        ("structure_7", "matching mask", "found"),
    ]


def test_of_a_pair_with_one_mask_the_other_is_told_too(findings):
    asked = {"kind": "organ", "organs_asked": ("kidney_left", "kidney_right"), "threshold": None}
    both = answer("kidneys", organ("kidney_left", 0.9), organ("kidney_right", None, "absent"), **asked)
    assert [(row.organName, row.answerCode) for row in findings.rowsOf(result(both))] == [
        ("kidney_left", "found"),
        ("kidney_right", "not_found"),
    ]


def test_an_organ_with_a_mask_is_found_whatever_its_score(findings):
    (row,) = findings.rowsOf(result(answer("liver", organ("liver", 0.01), kind="organ", threshold=None)))
    assert row.answerCode == "found"


def test_a_question_that_no_organ_belongs_to_has_one_row(findings):
    (row,) = findings.rowsOf(result(answer("brain tumour", verdict="unanswerable")))
    assert (row.question, row.organ, row.answerCode, row.stateCode) == ("brain tumour", "", "unanswerable", "")
    assert row.state == "no organ of the segmentation belongs to the question"


def test_an_organ_without_a_twin_has_no_side(findings):
    rows = findings.rowsOf(result(answer("x", organ("heart_atrium_left"), organ("my_right_thing"))))
    assert {row.organName: row.side for row in rows} == {"heart_atrium_left": "", "my_right_thing": "right"}


def test_a_text_that_asks_several_things_shows_each_part(findings):
    text = "fatty liver and renal cyst"
    both = result(
        answer(text, organ("liver"), phrase="fatty liver"), answer(text, organ("kidney_left"), phrase="renal cyst")
    )
    assert [row.question for row in findings.rowsOf(both)] == ["fatty liver", "renal cyst"]
    assert findings.questionOf(result(answer("no cyst", organ("liver"), phrase="cyst")), 0) == "no cyst"


def test_every_code_has_words(findings):
    from typing import get_args

    from CTGLIPLib.results import Answer, OrganState

    assert all(findings.answerWords(code) for code in get_args(Answer))
    assert all(findings.stateWords(code) for code in (*get_args(OrganState), ""))
