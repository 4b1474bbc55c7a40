from __future__ import annotations

import pytest

from ctglip_training.pairs.sentences import LONGEST, is_report_part, split_clauses, split_heading, split_sentences


def clauses(sentence):
    return [clause.text.strip() for clause in split_clauses(sentence)]


@pytest.mark.parametrize(
    ("report", "sentences"),
    [
        ("The liver is large. The spleen is not.", ["The liver is large.", "The spleen is not."]),
        ("The liver is large.The spleen is not.", ["The liver is large.", "The spleen is not."]),
        ("A cyst of 2.5 cm. A stone of 3 mm.", ["A cyst of 2.5 cm.", "A stone of 3 mm."]),
        ("FINDINGS: A cyst.\nIMPRESSION: A stone.", ["FINDINGS: A cyst.", "IMPRESSION: A stone."]),
        ("1. A cyst.\n2) A stone.", ["A cyst.", "A stone."]),
        ("\u2022 A cyst \u2022 A stone", ["A cyst", "A stone"]),
        ("- A cyst\n- A stone", ["A cyst", "A stone"]),
        ('Large liver " Small cyst', ["Large liver", "Small cyst"]),
        ("A lesion (cyst?). A stone", ["A lesion (cyst?).", "A stone"]),
        ("A lesion in the\nleft kidney.", ["A lesion in the left kidney."]),
        ("A large cyst vs. an abscess.", ["A large cyst vs. an abscess."]),
        ("", []),
        (" . \n - ", []),
    ],
)
def test_a_report_is_cut_into_its_sentences(report, sentences):
    assert split_sentences(report) == sentences


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("A cyst is seen, and there is a stone.", ["A cyst is seen", "there is a stone."]),
        ("A cyst is seen, a stone is not.", ["A cyst is seen", "a stone is not."]),
        ("No cyst, stone or mass is seen.", ["No cyst, stone or mass is seen."]),
        ("A cyst is seen, larger than before.", ["A cyst is seen, larger than before."]),
        ("Small cyst, no stone", ["Small cyst", "no stone"]),
        ("There are cysts but no stone.", ["There are cysts", "no stone."]),
        ("The liver is large; the spleen is small.", ["The liver is large", "the spleen is small."]),
        ("The liver and spleen are large.", ["The liver and spleen are large."]),
        ("The liver and the spleen are large.", ["The liver and the spleen are large."]),
        ("A stone lies in the kidney and the ureter.", ["A stone lies in the kidney and the ureter."]),
        ("Apart from a cyst, no lesion is seen.", ["Apart from a cyst", "no lesion is seen."]),
    ],
)
def test_a_sentence_is_cut_where_another_statement_begins(sentence, parts):
    assert clauses(sentence) == parts


def test_clauses_know_their_place():
    sentence = "A cyst is seen, and there is a stone."
    assert [sentence[part.start : part.end] for part in split_clauses(sentence)] == [
        part.text for part in split_clauses(sentence)
    ]


def test_a_denial_set_between_dashes_is_of_both():
    assert split_sentences("Wall cyst - no stone was seen.") == ["Wall cyst-stone was seen."]


@pytest.mark.parametrize(
    ("sentence", "heading"),
    [
        ("LIVER: Large.", ("LIVER", "Large.")),
        ("Lungs and pleura: Clear.", ("Lungs and pleura", "Clear.")),
        ("The liver is: large.", ("", "The liver is: large.")),
        ("No heading", ("", "No heading")),
    ],
)
def test_a_heading_is_a_few_words_before_a_colon(sentence, heading):
    assert split_heading(sentence) == heading


def test_the_parts_of_a_report_are_no_organs():
    assert is_report_part("Impression")
    assert not is_report_part("Liver")


def test_a_text_without_full_stops_is_cut_between_words():
    pieces = split_sentences("cyst " * 1000)
    assert max(len(piece) for piece in pieces) <= LONGEST
    assert " ".join(pieces).split() == ["cyst"] * 1000
