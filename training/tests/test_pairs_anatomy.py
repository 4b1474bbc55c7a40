from __future__ import annotations

import pytest

from ctglip_training.pairs.anatomy import find_places, implied_place, known_groups, on_side, organs_of, side_in


@pytest.mark.parametrize(
    ("clause", "groups"),
    [
        ("The liver and spleen", ["liver", "spleen"]),
        ("The left pleural space", ["lung"]),
        ("Pericardium and pleura", ["heart", "lung"]),
        ("The left anterior descending", ["heart"]),
        ("Both main bronchi", ["trachea"]),
        ("Enlarged lymph nodes", ["lymph node"]),
        ("The left breast", ["breast"]),
        ("Main pulmonary artery", ["pulmonary artery"]),
        ("A remark", []),
    ],
)
def test_organs_are_named_by_themselves_or_by_their_parts(clause, groups):
    assert [place.group for place in find_places(clause)] == groups


def test_a_side_or_lobe_narrows_the_organs():
    assert find_places("the left kidney")[0].organs == ("kidney_left",)
    assert find_places("the right upper lobe")[0].organs == ("lung_upper_lobe_right",)
    assert organs_of("kidney", "A stone on the left.", "left") == ("kidney_left",)
    assert organs_of("lung", "A nodule in the right upper lobe.", "right") == ("lung_upper_lobe_right",)
    assert organs_of("lymph node", "Large lymph nodes.", None) == ()


def test_both_sides_bring_the_twin():
    assert on_side(("kidney_left",), "both") == ("kidney_left", "kidney_right")
    assert on_side(("liver",), "both") == ("liver",)
    assert on_side(("liver",), "left") == ("liver",)


@pytest.mark.parametrize(
    ("finding", "group"),
    [
        ("pleural_effusion", "lung"),
        ("fatty_liver", "liver"),
        ("coronary_calcification", "heart"),
        ("gallstone", "gallbladder"),
    ],
)
def test_a_finding_implies_the_organ_that_it_lives_in(finding, group):
    place = implied_place(finding, "")
    assert place is not None
    assert place.group == group
    assert place.organs


def test_words_of_the_lungs_imply_them_and_a_finding_of_many_places_implies_none():
    place = implied_place(None, "Suggestive of viral pneumonia")
    assert place is not None
    assert place.group == "lung"
    assert implied_place("metastatic_disease", "Progress") is None
    assert implied_place(None, "Progress") is None


@pytest.mark.parametrize(
    ("text", "side"),
    [("left", "left"), ("on the right", "right"), ("right and left", "both"), ("Bilateral", "both"), ("", None)],
)
def test_the_side_is_the_one_that_is_named(text, side):
    assert side_in(text) == side


def test_every_group_is_named_once():
    groups = known_groups()
    assert len(groups) == len(set(groups))
    assert {"lung", "heart", "kidney", "lymph node", "breast"} <= set(groups)
