from __future__ import annotations

import pytest

from CTGLIPLib.phrases import PhraseIndex, fold, folded


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Kidneys", "kidney"),
        ("calculi", "calculus"),
        ("opacities", "opacity"),
        ("masses", "mass"),
        ("oesophagus", "esophagus"),
        ("Haemorrhages", "hemorrhage"),
        ("tumours", "tumor"),
        ("uterus", "uterus"),
        ("stenosis", "stenosis"),
        ("of", "in"),
    ],
)
def test_words_fold_to_singular_american_lower_case(word, expected):
    assert fold(word) == expected


def test_hyphens_underscores_and_punctuation_divide_words():
    assert folded("Ground-glass, kidney_left (CT)") == ("ground", "glass", "kidney", "left", "ct")


def test_longer_phrases_take_their_words_first():
    index = PhraseIndex([("bladder", 1), ("gall bladder", 2), ("bladder wall", 3)])
    assert [(m.value, m.words) for m in index.find("gall bladder wall")] == [(2, 2)]
    assert [m.value for m in index.find("bladder and gall bladder")] == [1, 2]


def test_articles_and_sides_may_stand_between_the_words():
    index = PhraseIndex([("stone in kidney", "kidney_stone")])
    text = "Is there a stone within the left kidney?"
    (match,) = index.find(text)
    assert text[match.start : match.end] == "stone within the left kidney"
    assert index.whole("stones of both kidneys") == "kidney_stone"
    assert index.find("stone in my kidney") == []


def test_words_match_as_wholes_only():
    assert PhraseIndex([("rib", 1)]).find("tribe, ribbon, described") == []


def test_the_first_value_of_a_phrase_is_kept():
    assert PhraseIndex([("liver", 1), ("Livers", 2)]).exactly("the liver") == 1
