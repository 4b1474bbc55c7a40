from __future__ import annotations

import pytest

from ctglip_training.pairs.denial import is_denied, is_uncertain, says_normal


def denied(clause, word="cyst"):
    start = clause.index(word)
    return is_denied(clause, start, start + len(word))


@pytest.mark.parametrize(
    "clause",
    [
        "No cyst",
        "There is no renal cyst",
        "Kidneys without a cyst",
        "A cyst was not observed",
        "Stone or cyst could not be found",
        "Neither stone nor cyst",
        "A cyst is no longer seen",
        "The cyst has completely resolved",
        "Kidneys do not show a cyst",
        "A stone and cyst were not clearly seen",
        "cyst is absent",
    ],
)
def test_a_denial_in_front_or_behind_reaches_the_finding(clause):
    assert denied(clause)


@pytest.mark.parametrize(
    "clause",
    [
        "There is a cyst",
        "A cyst that was not seen before",
        "No change in the cyst",
        "The cyst shows no significant change",
        "Without contrast a cyst is seen",
        "Owing to the lack of contrast the cyst is dim",
        "No increase in the size of the cyst",
        "Nothing new: cyst not exceeding 5 mm is observed",
    ],
)
def test_what_is_there_is_not_denied_by_what_is_said_of_it(clause):
    assert not denied(clause)


@pytest.mark.parametrize("clause", ["Cyst?", "Possible cyst", "A cyst cannot be excluded", "This may be a cyst"])
def test_a_suspicion_is_uncertain(clause):
    assert is_uncertain(clause)


def test_a_plain_finding_is_certain():
    assert not is_uncertain("There is a cyst in the liver")


@pytest.mark.parametrize(
    ("clause", "normal"),
    [
        ("The liver is normal", True),
        ("Contours are smooth, no lesion", True),
        ("A lesion was not observed", True),
        ("The aorta is wider than normal", False),
        ("The trachea lies in the midline", True),
        ("The liver is large", False),
    ],
)
def test_normal_is_what_is_called_so_or_has_nothing(clause, normal):
    assert says_normal(clause) is normal
