from __future__ import annotations

import re

import pytest

from CTGLIPLib.abnormalities import ABNORMALITIES, abnormality_named, find_abnormality, match_abnormalities
from CTGLIPLib.errors import InputError
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.phrases import folded

PAPER = {
    "splenomegaly", "splenic_calcification", "acute_pancreatitis", "chronic_pancreatitis", "pancreatic_duct_stone",
    "aortic_calcification", "kidney_stone", "renal_cyst", "fatty_liver", "hepatic_cyst", "hepatic_calcification",
    "gallstone", "cholecystitis", "pulmonary_nodule", "pneumonia", "emphysema",
}  # fmt: skip
CT_RATE = {
    "medical_material", "arterial_wall_calcification", "cardiomegaly", "pericardial_effusion",
    "coronary_calcification", "hiatal_hernia", "lymphadenopathy", "emphysema", "atelectasis", "pulmonary_nodule",
    "lung_opacity", "pulmonary_fibrosis", "pleural_effusion", "mosaic_attenuation", "peribronchial_thickening",
    "consolidation", "bronchiectasis", "interlobular_septal_thickening",
}  # fmt: skip
MERLIN = {
    "hepatomegaly", "splenomegaly", "prostatomegaly", "coronary_calcification", "abdominal_aortic_aneurysm",
    "arterial_wall_calcification", "gallstone", "pancreatic_atrophy", "hydronephrosis", "renal_hypodensity",
    "atelectasis", "osteopenia", "fracture", "cardiomegaly", "aortic_valve_calcification", "biliary_dilation",
    "absent_gallbladder", "renal_cyst", "pleural_effusion", "bowel_obstruction", "submucosal_edema", "hiatal_hernia",
    "fatty_liver", "appendicitis", "free_air", "thrombosis", "ascites", "anasarca", "metastatic_disease",
    "lymphadenopathy",
}  # fmt: skip
NEGATION = re.compile(
    r"\b(no|not|without|free of|neither|nor|never|negative|normal|unremarkable|denied)\b", re.IGNORECASE
)


def matched(text):
    return [(abnormality.id, text[start:end]) for abnormality, start, end in match_abnormalities(text)]


@pytest.mark.parametrize(("catalogue", "ids"), [("paper", PAPER), ("ct-rate", CT_RATE), ("merlin", MERLIN)])
def test_each_published_list_is_held_in_full(catalogue, ids):
    assert {a.id for a in ABNORMALITIES if catalogue in a.catalogues} == ids
    assert len(ids) == {"paper": 16, "ct-rate": 18, "merlin": 30}[catalogue]


def test_ids_are_unique_and_organs_are_in_the_vocabulary():
    known = {organ.name for organ in ORGANS}
    assert len({a.id for a in ABNORMALITIES}) == len(ABNORMALITIES)
    assert all(a.organs and known.issuperset(a.organs) and len(set(a.organs)) == len(a.organs) for a in ABNORMALITIES)


def test_findings_live_on_both_sides_and_in_both_vocabularies():
    assert abnormality_named("kidney_stone").organs == ("kidney_right", "kidney_left")
    assert len(abnormality_named("pulmonary_nodule").organs) == 5
    assert abnormality_named("cardiomegaly").organs[-1] == "heart"
    assert len(abnormality_named("cardiomegaly").organs) == 6
    for abnormality in ABNORMALITIES:
        for organ in ORGANS:
            twin = organ.name.replace("left", "*").replace("right", "left").replace("*", "right")
            if organ.side and organ.name in abnormality.organs and twin in {o.name for o in ORGANS}:
                assert twin in abnormality.organs


def test_no_name_belongs_to_two_findings():
    owners: dict[tuple[str, ...], set[str]] = {}
    for abnormality in ABNORMALITIES:
        for text in (abnormality.id, abnormality.name, *abnormality.synonyms):
            owners.setdefault(folded(text), set()).add(abnormality.id)
    assert {text: who for text, who in owners.items() if len(who) > 1} == {}


def test_every_name_and_synonym_finds_its_own():
    wrong = [
        (a.id, text, found.id if found else None)
        for a in ABNORMALITIES
        for text in (a.id, a.name, *a.synonyms)
        for found in (find_abnormality(text),)
        if found != a
    ]
    assert wrong == []
    assert min(len(a.synonyms) for a in ABNORMALITIES) >= 7


def test_phrasings_are_many_unique_and_begin_with_the_papers_normal_template():
    for abnormality in ABNORMALITIES:
        for phrasings in (abnormality.positive, abnormality.negative):
            assert len(set(phrasings)) == len(phrasings) >= 4, abnormality.id
            assert all(text[0].isupper() or text[0] == "{" for text in phrasings)
            assert all(text.endswith(".") for text in phrasings)
            assert all(set(re.findall(r"{.*?}", text)) <= {"{organ}"} for text in phrasings)
        assert abnormality.negative[0] == "No evident abnormality in the {organ}."
        assert set(abnormality.positive).isdisjoint(abnormality.negative)


def test_positive_phrasings_hold_no_negation_and_negative_ones_name_no_finding():
    assert [t for a in ABNORMALITIES for t in a.positive if NEGATION.search(t)] == []
    negated = [t for a in ABNORMALITIES for t in a.negative[1:] if re.search(r"\b(no|not|without|absen\w+)\b", t, re.I)]
    assert negated == []
    named = [(a.id, t) for a in ABNORMALITIES for t in a.negative for other, *_ in match_abnormalities(t) if other == a]
    assert named == []


def test_snomed_codes_are_unique_and_pass_their_check_digit():
    codes = [a.codes["SCT"] for a in ABNORMALITIES if "SCT" in a.codes]
    assert len(set(codes)) == len(codes) > 30
    assert [code for code in codes if not check_digit_is_right(code)] == []


def check_digit_is_right(code):
    """Verhoeff's check, by permutations of the dihedral group instead of its published table."""
    step = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    turned, flipped = 0, False
    for place, character in enumerate(reversed(code)):
        digit = int(character)
        for _ in range(place % 8):
            digit = step[digit]
        turned = (turned - digit % 5) % 5 if flipped else (turned + digit % 5) % 5
        flipped ^= digit >= 5
    return turned == 0 and not flipped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fatty Liver", "fatty_liver"),
        ("hepatic steatosis", "fatty_liver"),
        ("kidney stones", "kidney_stone"),
        ("Renal calculi", "kidney_stone"),
        ("stone in the kidney", "kidney_stone"),
        ("a stone within the left kidney", "kidney_stone"),
        ("kidney-stone", "kidney_stone"),
        ("left renal cyst", "renal_cyst"),
        ("cysts of both kidneys", "renal_cyst"),
        ("calcification of the spleen", "splenic_calcification"),
        ("enlarged spleen", "splenomegaly"),
        ("liver tumours", "liver_mass"),
        ("brain haemorrhage", "intracranial_hemorrhage"),
        ("pulmonary oedema", "interlobular_septal_thickening"),
        ("nodule in the right upper lobe", "pulmonary_nodule"),
        ("lung nodule", "pulmonary_nodule"),
        ("gallstone and kidney stone", None),
        ("is the spleen enlarged", None),
        ("no gallstones", None),
        ("stone", None),
        ("", None),
    ],
)
def test_find_abnormality_names_one_finding_from_the_whole_text(text, expected):
    found = find_abnormality(text)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "cyst in the left kidney, no gallstones",
            [("renal_cyst", "cyst in the left kidney"), ("gallstone", "gallstones")],
        ),
        ("Is the spleen enlarged?", [("splenomegaly", "enlarged")]),
        ("is the heart enlarged and the liver enlarged", [("cardiomegaly", "enlarged"), ("hepatomegaly", "enlarged")]),
        ("the liver holds a cyst", [("hepatic_cyst", "cyst")]),
        ("liver: mass in the right kidney", [("renal_mass", "mass in the right kidney")]),
        ("spleen: opacity in the left lower lobe", [("lung_opacity", "opacity")]),
        ("calcified plaque in the left iliac artery", [("arterial_wall_calcification", "calcified plaque")]),
        ("mass in the stomach", []),
        ("gallstones in the gallbladder", [("gallstone", "gallstones")]),
        ("acute pancreatitis", [("acute_pancreatitis", "acute pancreatitis")]),
        ("keystones and milestones of the kidney", []),
    ],
)
def test_match_abnormalities_gives_longest_whole_word_spans(text, expected):
    assert matched(text) == expected


def test_an_unknown_finding_is_refused_with_the_closest():
    assert abnormality_named("hepatic steatosis").id == "fatty_liver"
    with pytest.raises(InputError, match="fatty_liver"):
        abnormality_named("faty livr")
