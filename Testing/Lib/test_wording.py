"""Answers in plain words."""

from __future__ import annotations

import dataclasses

import pytest

from CTGLIPLib.results import OrganScore, QueryAnswer
from CTGLIPLib.wording import answer_words, shortened

LEFT = OrganScore("kidney_left", "left kidney", "present", 0.3, 0.8)
RIGHT = OrganScore("kidney_right", "right kidney", "cut", 0.2, 0.6)
FOUND = QueryAnswer("renal cyst", "finding", "renal_cyst", False, (), "found", 0.5, (), (), (LEFT, RIGHT))


def test_a_found_finding_names_the_organ_and_counts_the_others() -> None:
    assert answer_words(FOUND) == "found in the left kidney and 1 more organ (score 0.80, threshold 0.50)"


def test_a_finding_that_is_not_found_names_the_closest_organ() -> None:
    missed = dataclasses.replace(FOUND, answer="not_found", threshold=0.9)
    assert answer_words(missed) == "not found; closest: left kidney (score 0.80, threshold 0.90)"


def test_an_organ_is_found_without_a_place() -> None:
    organ = OrganScore("liver", "liver", "present", 0.412)
    asked = QueryAnswer("liver", "organ", None, False, ("liver",), "found", None, (), (), (organ,))
    assert answer_words(asked) == "found: liver (similarity 0.41)"


def test_a_mask_of_another_name_is_not_said_to_be_the_organ_asked() -> None:
    other = OrganScore("subclavian_artery_right", "right subclavian artery", "present", 0.4, 0.7)
    asked = QueryAnswer("iliac arteries", "organ", None, False, ("iliac_artery_left",), "found", 0.5, (), (), (other,))
    said = "no mask has that name; the mask that matches: right subclavian artery (score 0.70, threshold 0.50)"
    assert answer_words(asked) == said


@pytest.mark.parametrize(
    ("state", "words"), [("found", "although the text says that it is not there"), ("not_found", "as the text says")]
)
def test_the_words_of_a_negated_question_say_whether_it_holds(state: str, words: str) -> None:
    negated = dataclasses.replace(FOUND, negated=True, answer=state)
    assert words in answer_words(negated)


@pytest.mark.parametrize(
    ("organs", "why"),
    [
        ((), "no organ of the segmentation belongs to the question"),
        ((OrganScore("gallbladder", "gallbladder", "absent"),), "gallbladder not in the segmentation"),
        (
            (OrganScore("a", "a", "absent"), OrganScore("b", "b", "too_small"), OrganScore("c", "c", "cut")),
            "c cut off by the scan's edge; a not in the segmentation; b too small to score",
        ),
        (tuple(OrganScore(n, n, "absent") for n in "abcde"), "a, b, c and 2 more not in the segmentation"),
        ((LEFT,), "the organs asked were not scored"),
    ],
)
def test_an_unanswerable_question_says_why(organs: tuple[OrganScore, ...], why: str) -> None:
    assert (
        answer_words(dataclasses.replace(FOUND, answer="unanswerable", organs=organs)) == f"cannot be answered: {why}"
    )


def test_shortened_text_has_one_line_and_no_control_characters() -> None:
    assert shortened("a\x1b[31m  b\n c", 40) == "a?[31m b c"
    assert shortened("abcdefghij", 7) == "abcd..."
