"""What the published evaluations ask, of whom, and how they count.

Protocols name the findings, what a missing label or score means, and the threshold rules; prompt sets are what a model
is asked. Facts were read in the sources named; the words are the prompts themselves. Guard: test_protocols.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from CTGLIPLib.errors import ConfigError, InputError

CT_RATE_FINDINGS = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)
MERLIN_FINDINGS = (
    "hepatomegaly", "splenomegaly", "prostatomegaly", "coronary_calcification", "abdominal_aortic_aneurysm",
    "atherosclerosis", "gallstones", "pancreatic_atrophy", "hydronephrosis", "renal_hypodensities", "atelectasis",
    "osteopenia", "fracture", "cardiomegaly", "aortic_valve_calcification", "biliary_ductal_dilation",
    "surgically_absent_gallbladder", "renal_cyst", "pleural_effusion", "bowel_obstruction", "submucosal_edema",
    "hiatal_hernia", "hepatic_steatosis", "appendicitis", "free_air", "thrombosis", "ascites", "anasarca",
    "metastatic_disease", "lymphadenopathy",
)  # fmt: skip
BOTH_CALCIFICATIONS = "Arterial or coronary wall calcification"
CALCIFICATIONS = ("Arterial wall calcification", "Coronary artery wall calcification")


@dataclass(frozen=True)
class Protocol:
    """How one table of scores is compared with one table of labels.

    Attributes:
        name: of the command line.
        title: of the results.
        findings: what is scored; None takes the columns of the labels.
        volume_columns: names that the column of volumes may have; "" is a column without a name.
        patient: pattern whose first group is the patient in a volume's name; None takes each volume for a patient.
        ignores_missing_labels: a label of -1 or none leaves the case out; otherwise it is refused.
        lowest_if_missing: a score that is missing or NaN counts as the lowest; otherwise it is refused.
        rules: threshold rules that choose on the test set itself, see `thresholds.RULES`.
        notes: what a reader of the figures has to know.
        subsets: findings that a published system's mean is over, by name.
        unit: what a row of scores is.
    """

    name: str
    title: str
    findings: tuple[str, ...] | None
    volume_columns: tuple[str, ...]
    patient: str | None
    ignores_missing_labels: bool
    lowest_if_missing: bool
    rules: tuple[str, ...]
    notes: tuple[str, ...]
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: str = "volumes"


FVLM_LEFT_OUT = ("Medical material", "Lymphadenopathy")
FVLM_16 = "16 of fVLM"
RADAR_LEFT_OUT = (
    "prostatomegaly", "coronary_calcification", "osteopenia", "free_air", "thrombosis", "ascites", "anasarca",
    "metastatic_disease", "lymphadenopathy",
)  # fmt: skip
RADAR_21 = "21 of RADAR"
OPTIMISTIC = "Thresholds chosen on the test set flatter every figure but the AUC; the published ones are chosen so."
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "ct-rate",
            "CT-RATE validation, 18 findings, every reconstruction a case (CT-CLIP's and fVLM's protocol)",
            CT_RATE_FINDINGS,
            ("VolumeName", "file_name"),
            r"^((?:train|valid)_\d+)_",
            ignores_missing_labels=False,
            lowest_if_missing=True,
            rules=("closest-corner-grid", "youden"),
            notes=(
                OPTIMISTIC,
                "CT-CLIP and fVLM: closest-corner-grid, precision of the positive class (ppv), accuracy, two_class_f1; "
                "a missing score counts as 0. RadFinder: youden, two_class_f1, and balanced_accuracy as its accuracy.",
                "fVLM scores 16 of the 18 findings, without Medical material and Lymphadenopathy.",
                "The validation set has 3,039 reconstructions of 1,564 scans of 1,304 patients; systems differ in "
                "which they keep.",
            ),
            subsets={FVLM_16: tuple(name for name in CT_RATE_FINDINGS if name not in FVLM_LEFT_OUT)},
        ),
        Protocol(
            "rad-chestct",
            "Rad-ChestCT, labels mapped to CT-RATE's findings",
            None,
            ("NoteAcc_DEID", "VolumeName", "file_name", ""),
            None,
            ignores_missing_labels=False,
            lowest_if_missing=True,
            rules=("closest-corner-grid", "youden"),
            notes=(
                OPTIMISTIC,
                "The data set has one label for calcification: the higher score of arterial and coronary counts.",
                "Mosaic attenuation has no label in the standard mapping.",
                "RadFinder: youden, two_class_f1, and balanced_accuracy as its accuracy.",
            ),
        ),
        Protocol(
            "merlin",
            "Merlin test set, 30 findings, labels of -1 (not mentioned) left out",
            MERLIN_FINDINGS,
            ("study id", "study_id", "VolumeName", "file_name"),
            None,
            ignores_missing_labels=True,
            lowest_if_missing=True,
            rules=("youden",),
            notes=(
                OPTIMISTIC,
                "RADAR scores 21 of the 30 findings, tells an absent gallbladder by the size of its segmentation, and "
                "takes 0 where the organ is absent or cut.",
            ),
            subsets={RADAR_21: tuple(name for name in MERLIN_FINDINGS if name not in RADAR_LEFT_OUT)},
        ),
        Protocol(
            "plain",
            "The label file's own findings",
            None,
            ("VolumeName", "volume", "file_name", "study id", "study_id", "NoteAcc_DEID"),
            None,
            ignores_missing_labels=False,
            lowest_if_missing=False,
            rules=("youden",),
            notes=("youden is chosen on this test set and flatters; AUC does not depend on a threshold.",),
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in PROTOCOLS:
        msg = f"Expected one of the protocols {', '.join(PROTOCOLS)}, got {name!r}."
        raise ConfigError(msg)
    return PROTOCOLS[name]


def patient_of(volume: str, protocol: Protocol) -> str:
    """The patient in a volume's name, train_12 of train_12_a_1; the whole name where the protocol knows no better."""
    found = re.match(protocol.patient, volume) if protocol.patient else None
    return found.group(1) if found else volume


_IMPLANTS = (
    "catheter_or_port", "tracheal_tube", "chest_tube", "breast_implant", "pacemaker_or_defib", "stent", "clip",
    "staple", "gi_tube", "hardware", "suture",
)  # fmt: skip
_SHARED = {
    "Cardiomegaly": ("cardiomegaly",),
    "Pericardial effusion": ("pericardial_effusion",),
    "Hiatal hernia": ("hernia",),
    "Emphysema": ("emphysema",),
    "Atelectasis": ("atelectasis",),
    "Pleural effusion": ("pleural_effusion",),
    "Peribronchial thickening": ("bronchial_wall_thickening",),
    "Consolidation": ("consolidation",),
    "Interlobular septal thickening": ("septal_thickening",),
}
RAD_CHESTCT_MAPPINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "standard": {
        **_SHARED,
        "Medical material": _IMPLANTS,
        BOTH_CALCIFICATIONS: ("calcification",),
        "Lymphadenopathy": ("lymphadenopathy",),
        "Lung nodule": ("nodule", "nodulegr1cm"),
        "Lung opacity": ("opacity",),
        "Pulmonary fibrotic sequela": ("scarring",),
        "Bronchiectasis": ("bronchiectasis",),
    },
    "extended": {
        **_SHARED,
        "Medical material": (*_IMPLANTS, "heart_valve_replacement", "cabg", "sternotomy"),
        "Arterial wall calcification": ("atherosclerosis",),
        "Coronary artery wall calcification": ("coronary_artery_disease",),
        "Lymphadenopathy": ("lymphadenopathy",),
        "Lung nodule": ("nodule", "nodulegr1cm"),
        "Lung opacity": ("opacity", "groundglass", "infiltrate", "airspace_disease"),
        "Pulmonary fibrotic sequela": (
            "fibrosis", "reticulation", "honeycombing", "scarring", "interstitial_lung_disease",
        ),
        "Mosaic attenuation pattern": ("air_trapping",),
        "Bronchiectasis": ("bronchiectasis", "bronchiolectasis"),
    },
    "hlip": {
        **_SHARED,
        BOTH_CALCIFICATIONS: ("calcification",),
        "Lung nodule": ("nodule",),
        "Lung opacity": ("opacity",),
        "Pulmonary fibrotic sequela": ("fibrosis",),
        "Bronchiectasis": ("bronchiectasis",),
    },
}  # fmt: skip
"""Rad-ChestCT's abnormalities that make each finding of CT-RATE; any of them present makes it present.

Source: RadFinder's published configurations (standard: 16 findings, extended: 18), HLIP's published labels (14).
"""

PromptPairs = tuple[tuple[str, str], ...]
RADFINDER_TEMPLATES: PromptPairs = (
    ("{}.", "No {}."),
    ("Findings are compatible with {}.", "Findings are not compatible with {}."),
    ("There is {}.", "There is no {}."),
    ("{} is seen.", "{} is not seen."),
    ("{}.", "Not {}."),
    ("{} is observed.", "{} is not observed."),
    ("{} is present.", "{} is not present."),
)
"""T1 to T7; the text embeddings of a finding are averaged and brought to unit norm again."""
FVLM_WORDS = {
    "Atelectasis": "Atelectatic",
    "Lung nodule": "Nodule",
    "Lung opacity": "Opacity",
    "Pulmonary fibrotic sequela": "Pulmonary fibrotic",
}
FVLM_ORGANS = {
    "Cardiomegaly": "heart",
    "Pericardial effusion": "heart",
    "Coronary artery wall calcification": "heart",
    "Hiatal hernia": "esophagus",
    "Arterial wall calcification": "aorta",
}


def ct_clip_prompts(finding: str) -> PromptPairs:
    """CT-CLIP's pair: (positive, negative)."""
    return ((f"{finding} is present.", f"{finding} is not present."),)


def fvlm_prompts(finding: str) -> PromptPairs:
    """The pair of fVLM: (positive, negative).

    Raises:
        InputError: if fVLM does not ask that finding.
    """
    if finding not in CT_RATE_FINDINGS or finding in FVLM_LEFT_OUT:
        msg = (
            f"Expected a finding of CT-RATE but {' and '.join(FVLM_LEFT_OUT)}, which fVLM leaves out, got {finding!r}."
        )
        raise InputError(msg)
    word = FVLM_WORDS.get(finding, finding)
    return ((f"{word}.", f"Not {word}."),)


def fvlm_organ(finding: str) -> str:
    """The organ that fVLM asks: lung unless it is another's."""
    return FVLM_ORGANS.get(finding, "lung")


def radfinder_prompts(finding: str) -> PromptPairs:
    """RadFinder's seven pairs: (positive, negative)."""
    return tuple((positive.format(finding), negative.format(finding)) for positive, negative in RADFINDER_TEMPLATES)


PROMPT_SETS: dict[str, Callable[[str], PromptPairs]] = {
    "ct-clip": ct_clip_prompts,
    "fvlm": fvlm_prompts,
    "radfinder": radfinder_prompts,
}
