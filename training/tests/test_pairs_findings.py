from __future__ import annotations

import pytest

from ctglip_training.pairs.findings import CT_RATE_LABELS, FINDINGS, find_mentions


def found(clause):
    return {mention.finding for mention in find_mentions(clause)}


def test_each_of_the_18_labels_is_a_finding_of_the_catalogue():
    assert len(CT_RATE_LABELS) == 18
    assert all("ct-rate" in FINDINGS[finding].catalogues for finding in CT_RATE_LABELS.values())


@pytest.mark.parametrize(
    ("clause", "finding"),
    [
        ("Pacemaker in place", "medical_material"),
        ("Calcified plaques in the aortic arch", "arterial_wall_calcification"),
        ("The cardiothoracic ratio is increased", "cardiomegaly"),
        ("Fluid in the pericardial sac", "pericardial_effusion"),
        ("Calcification of the LAD", "coronary_calcification"),
        ("A hiatus hernia", "hiatal_hernia"),
        ("Enlarged lymph nodes", "lymphadenopathy"),
        ("Apical bullae", "emphysema"),
        ("Collapse of the lower lobe", "atelectasis"),
        ("A solid nodule in the upper lobe", "pulmonary_nodule"),
        ("Patchy ground-glass areas", "lung_opacity"),
        ("Fibrotic scars at the apex", "pulmonary_fibrosis"),
        ("Fluid in the left pleural space", "pleural_effusion"),
        ("Mosaic pattern", "mosaic_attenuation"),
        ("Thickened bronchial walls", "peribronchial_thickening"),
        ("Lobar consolidation", "consolidation"),
        ("Cylindrical bronchiectasis", "bronchiectasis"),
        ("Thick interlobular septa", "interlobular_septal_thickening"),
        ("Stones in the gallbladder", "gallstone"),
        ("Simple cyst of the kidney", "renal_cyst"),
    ],
)
def test_a_finding_is_found_in_the_words_of_reports(clause, finding):
    assert finding in found(clause)


@pytest.mark.parametrize(
    ("clause", "not_found"),
    [
        ("Calcified plaques in the coronary arteries", "arterial_wall_calcification"),
        ("Calcification of the aortic valve", "arterial_wall_calcification"),
        ("A nodule in the thyroid", "pulmonary_nodule"),
        ("Nodular consolidation", "pulmonary_nodule"),
        ("A ground-glass nodule", "lung_opacity"),
        ("Fibroatelectatic bands", "atelectasis"),
        ("An intrapulmonary lymph node", "lymphadenopathy"),
        ("Pericardial effusion", "pleural_effusion"),
        ("Degenerated end plates", "medical_material"),
        ("Air secondary to surgery in the lung", "metastatic_disease"),
        ("Dilatation of the ascending aorta", "abdominal_aortic_aneurysm"),
        ("Subcutaneous emphysema", "emphysema"),
    ],
)
def test_a_word_that_means_something_else_is_left_alone(clause, not_found):
    assert not_found not in found(clause)


def test_aorta_and_coronary_arteries_are_both_calcified():
    both = found("Calcified plaques in the aorta and the coronary arteries")
    assert {"arterial_wall_calcification", "coronary_calcification"} <= both
