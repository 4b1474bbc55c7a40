from __future__ import annotations

import json
from collections import Counter

import pytest

from CTGLIPLib.errors import LabelError
from CTGLIPLib.organs import (
    ORGANS,
    PAPER_ORGANS,
    find_organ,
    match_organs,
    organ_named,
    organs_in_group,
    readable_name,
)


def names(organs):
    return [organ.name for organ in organs]


def matched(text):
    return [(names(organs), text[start:end]) for organs, start, end in match_organs(text)]


def test_the_vocabulary_is_104_of_v1_in_id_order_then_20_of_v2():
    assert len(ORGANS) == 124
    assert [organ.v1_id for organ in PAPER_ORGANS] == list(range(1, 105))
    assert [organ.v1_id for organ in ORGANS[104:]] == [None] * 20
    assert sorted(organ.v2_id for organ in ORGANS if organ.v2_id is not None) == list(range(1, 118))


def test_ids_are_those_of_totalsegmentator(data_folder):
    maps = json.loads((data_folder / "totalsegmentator_class_maps.json").read_text())
    assert {str(o.v1_id): o.name for o in ORGANS if o.v1_id} == maps["v1_104"]
    assert {str(o.v2_id): o.name for o in ORGANS if o.v2_id} == maps["v2_117"]


def test_names_readable_forms_and_colours_are_unique():
    assert len({organ.name for organ in ORGANS}) == 124
    assert len({organ.readable for organ in ORGANS}) == 124
    assert Counter(organ.colour for organ in ORGANS).most_common(1)[0][1] == 1


def test_no_synonym_belongs_to_two_organs():
    owners: dict[str, set[str]] = {}
    for organ in ORGANS:
        for text in (organ.name.replace("_", " "), organ.readable, *organ.synonyms):
            owners.setdefault(text.lower(), set()).add(organ.name)
    assert {text: who for text, who in owners.items() if len(who) > 1} == {}


def test_every_organ_has_synonyms_and_each_finds_it():
    wrong = [(o.name, s) for o in ORGANS for s in (o.name, o.readable, *o.synonyms) if find_organ(s) != o]
    assert wrong == []
    assert min(len(organ.synonyms) for organ in ORGANS) >= 2


def test_sided_organs_come_in_twins_of_one_group_and_code():
    for organ in ORGANS:
        if organ.side is None:
            continue
        assert organ.side in organ.readable
        twin = organ.name.replace("left", "*").replace("right", "left").replace("*", "right")
        if organ.name != "lung_middle_lobe_right":
            assert (organ_named(twin).group, organ_named(twin).snomed) == (organ.group, organ.snomed)


def verhoeff_is_valid(code):
    d = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6]]
    d += [[3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1]]
    d += [[6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4]]
    d += [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]
    p = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        p.append([p[-1][p[1][n]] for n in range(10)])
    check = 0
    for place, digit in enumerate(reversed(code)):
        check = d[check][p[place % 8][int(digit)]]
    return check == 0


def test_snomed_codes_pass_their_check_digit():
    assert [organ.name for organ in ORGANS if not verhoeff_is_valid(organ.snomed)] == []


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(LabelError, match="kidney_left"):
        organ_named("kidney_lef")
    with pytest.raises(LabelError, match="inferior_vena_cava"):
        organ_named("IVC")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hepatic parenchyma", "liver"),
        ("IVC", "inferior_vena_cava"),
        ("L3", "vertebrae_L3"),
        ("LV", "heart_ventricle_left"),
        ("RUL", "lung_upper_lobe_right"),
        ("Bladder", "urinary_bladder"),
        ("gall bladder", "gallbladder"),
        ("oesophagus", "esophagus"),
        ("left psoas", "iliopsoas_left"),
        ("right pubic bone", "hip_right"),
        ("left 3rd rib", "rib_left_3"),
        ("right lungs middle_lobe", "lung_middle_lobe_right"),
        ("The Spleen", "spleen"),
        ("breastbone", "sternum"),
        ("kidneys", None),
        ("banana", None),
        ("", None),
    ],
)
def test_find_organ_knows_everyday_words(text, name):
    organ = find_organ(text)
    assert (organ.name if organ else None) == name


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("rib_left_3", "left third rib"),
        ("iliac_vena_left", "left iliac vein"),
        ("livertumor1", "livertumor1"),
        ("radius_left", "left radius"),
        ("left_radius", "left radius"),
        ("skin", "skin"),
    ],
)
def test_readable_names_also_for_names_outside_the_vocabulary(name, readable):
    assert readable_name(name) == readable


@pytest.mark.parametrize(
    ("text", "count", "first"),
    [
        ("kidneys", 2, "kidney_right"),
        ("both kidneys", 2, "kidney_right"),
        ("left kidney", 1, "kidney_left"),
        ("ribs", 24, "rib_left_1"),
        ("right ribs", 12, "rib_right_1"),
        ("lungs", 5, "lung_upper_lobe_left"),
        ("left lung", 2, "lung_upper_lobe_left"),
        ("heart", 6, "heart_myocardium"),
        ("vertebrae", 25, "vertebrae_L5"),
        ("lumbar spine", 5, "vertebrae_L5"),
        ("bowel", 3, "small_bowel"),
        ("liver", 1, "liver"),
        ("left hip", 1, "hip_left"),
        ("third ribs", 2, "rib_left_3"),
        ("large liver", 0, None),
        ("liver and spleen", 0, None),
    ],
)
def test_group_words_stand_for_all_their_organs(text, count, first):
    organs = organs_in_group(text)
    assert (len(organs), organs[0].name if organs else None) == (count, first)


def test_sides_choose_the_twin_in_questions():
    assert matched("stone in the left kidney?") == [(["kidney_left"], "left kidney")]
    assert matched("stones in the left and right kidney") == [(["kidney_right", "kidney_left"], "kidney")]
    assert matched("lower lobe of the left lung") == [(["lung_lower_lobe_left"], "lower lobe of the left lung")]
    assert matched("liver, left adrenal and the right third rib") == [
        (["liver"], "liver"),
        (["adrenal_gland_left"], "left adrenal"),
        (["rib_right_3"], "right third rib"),
    ]
    assert matched("left liver lobe") == [(["liver"], "liver lobe")]
    assert matched("left ventricle") == [(["heart_ventricle_left"], "left ventricle")]


def test_names_written_with_underscores_are_matched():
    assert matched("show kidney_left") == [(["kidney_left"], "kidney_left")]


def test_longest_organ_names_win_and_words_are_whole():
    assert [who for who, _ in matched("gall bladder wall")] == [["gallbladder"]]
    assert [who for who, _ in matched("portal vein")] == [["portal_vein_and_splenic_vein"]]
    assert matched("deliver the described ribbon") == []


def test_a_renal_cyst_in_a_question_is_not_the_segmented_structure():
    assert matched("left renal cyst") == [(["kidney_left"], "left renal")]
    assert find_organ("left kidney cyst") == organ_named("kidney_cyst_left")
