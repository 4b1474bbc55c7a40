from __future__ import annotations

import pytest

from ctglip_training.pairs.engine import PairEngine
from ctglip_training.pairs.rules import RuleEngine


def read(report):
    engine: PairEngine = RuleEngine()
    return engine(report)


def brief(report):
    return [(entry.group, entry.finding, entry.normal) for entry in read(report)]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ("Bilateral pleural effusion.", [("lung", "pleural_effusion", False)]),
        ("No pleural effusion.", [("lung", "pleural_effusion", True)]),
        ("Heart size is normal.", [("heart", None, True)]),
        ("Steatosis of the liver; the spleen is normal.", [("liver", "fatty_liver", False), ("spleen", None, True)]),
        ("The liver and the spleen are normal.", [("liver", None, True), ("spleen", None, True)]),
        ("No stone or cyst in the kidneys.", [("kidney", "kidney_stone", True), ("kidney", "renal_cyst", True)]),
        (
            "Calcified coronary arteries and aorta.",
            [("heart", "coronary_calcification", False), ("aorta", "arterial_wall_calcification", False)],
        ),
        ("The aortic arch is too wide.", [("aorta", None, False)]),
        ("The mediastinum could not be evaluated.", []),
        ("Follow-up is recommended.", []),
        ("", []),
    ],
)
def test_a_sentence_is_said_of_its_organs_with_its_finding(report, said):
    assert brief(report) == said


def test_side_lobe_and_certainty_come_along():
    nodule = read("Suspicious nodule in the right upper lobe.")[0]
    assert (nodule.organs, nodule.side, nodule.uncertain) == (("lung_upper_lobe_right",), "right", True)
    effusion = read("Left pleural effusion.")[0]
    assert (effusion.organs, effusion.uncertain) == (("lung_upper_lobe_left", "lung_lower_lobe_left"), False)


def test_an_organ_with_a_finding_is_not_called_normal_by_the_same_sentence():
    said = brief("Heart size is normal, but the coronary arteries are calcified.")
    assert said == [("heart", "coronary_calcification", False)]


def test_one_finding_may_be_there_and_another_denied():
    said = brief("There is consolidation in the left lung but no pleural effusion.")
    assert ("lung", "consolidation", False) in said
    assert ("lung", "pleural_effusion", True) in said


def test_a_heading_names_the_organ_of_what_follows():
    said = brief("LIVER: Diffuse steatosis. Small cyst in segment 4.\nSPLEEN: Unremarkable.\nIMPRESSION: Stable.")
    assert ("liver", "fatty_liver", False) in said
    assert ("liver", "hepatic_cyst", False) in said
    assert ("spleen", None, True) in said
    assert len(said) == 3


def test_a_heading_is_no_finding_itself():
    assert brief("Lymph nodes: No lymphadenopathy.") == [("lymph node", "lymphadenopathy", True)]


def test_an_organ_named_later_belongs_to_the_finding_of_its_clause():
    said = read("A cyst is seen in the left kidney and the liver is normal.")
    assert [(entry.group, entry.normal, entry.side) for entry in said] == [
        ("kidney", False, "left"),
        ("liver", True, None),
    ]


def test_a_finding_on_both_sides_is_one_entry():
    said = read("A cyst in the left kidney, there is a cyst in the right kidney.")
    assert len(said) == 1
    assert (said[0].side, set(said[0].organs)) == ("both", {"kidney_left", "kidney_right"})


def test_the_engine_has_a_name_with_its_version():
    assert RuleEngine().name == "rules-1"
