"""Figures that others published, with their source and what they were measured on, and the slips in them.

All in percent. A figure is comparable only where `protocol` says the same as one's own. Guard: test_published.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ctglip_training.evaluation.protocols import FVLM_16, RADAR_21


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        dataset: name of the protocol that it belongs beside, or "ct-glip" for that paper's private sets.
        system: what was measured.
        metric: auc, ppv, accuracy, two_class_f1, balanced_accuracy, f1, sensitivity, top1, dsc or crg.
        percent: the figure.
        protocol: what was asked of whom.
        source: where it was published.
        finding: the finding or cancer, "" for the mean.
        supervised: whether the system was trained on the labels; the others are zero-shot.
        subset: name of the findings that a mean is over, see `protocols.Protocol.subsets`; "" is all.
    """

    dataset: str
    system: str
    metric: str
    percent: float
    protocol: str
    source: str
    finding: str = ""
    supervised: bool = False
    subset: str = ""


def _means(dataset: str, system: str, protocol: str, source: str, **percent: float) -> list[Published]:
    """Means over findings; `_supervised` and `_over` say more of them."""
    return [Published(dataset, system, metric, value, protocol, source) for metric, value in percent.items()]


def _supervised(figures: list[Published]) -> list[Published]:
    return [replace(figure, supervised=True) for figure in figures]


def _over(subset: str, figures: list[Published]) -> list[Published]:
    return [replace(figure, subset=subset) for figure in figures]


_FVLM = "arXiv 2501.14548"
_RADFINDER = "arXiv 2603.02026"
_16 = "16 findings, threshold nearest the corner on the test set"
_CT_RATE = [
    *_means("ct-rate", "CT-CLIP", "18 findings, corner threshold on the test set", "CT-RATE paper", auc=73.1),
    *_means("ct-rate", "BIUD", "as run by others", "fVLM's comparison", auc=71.3),
    *_means("ct-rate", "Merlin", "as run by fVLM; users of the released weights report 64", _FVLM, auc=72.8),
    *_over(FVLM_16, _means("ct-rate", "fVLM", _16, _FVLM, auc=77.8, ppv=37.9, accuracy=71.8, two_class_f1=75.1)),
    *_means(
        "ct-rate", "ViSD-Boost", "as published", "ViSD-Boost release",
        auc=79.0, ppv=38.7, accuracy=73.1, two_class_f1=75.9,
    ),
    *_means("ct-rate", "HLIP (itemised supervision)", "16 findings", "HLIP repository, 2026", auc=79.8),
    *_means("ct-rate", "RadFinder", "18 findings, mean of seven templates", _RADFINDER, auc=83.8),
    *_means("ct-rate", "Disease-Centric VLP", "as published", "arXiv 2606.25546", auc=84.4),
    *_supervised(_means("ct-rate", "RevCT", "18 findings", "model card", auc=87.15, f1=61.54)),
    *_supervised(
        _means("ct-rate", "VLM3D 2026 winner", "challenge's hidden test", "challenge", auc=87.64, f1=64.87, crg=57.15)
    ),
]  # fmt: skip
_RAD_CHESTCT = [
    *_means("rad-chestct", "fVLM", "as published; about", _FVLM, auc=68.0),
    *_means(
        "rad-chestct", "HLIP", "HLIP's 15 labels", "arXiv 2505.21862, stored result",
        auc=72.32, accuracy=68.4, two_class_f1=72.1, ppv=40.4,
    ),
    *_means("rad-chestct", "HLIP (itemised supervision)", "HLIP's 15 labels", "HLIP repository, 2026", auc=71.8),
    *_means("rad-chestct", "RadFinder", "standard mapping, 16 findings, seven templates", _RADFINDER, auc=77.0),
    *_means("rad-chestct", "Disease-Centric VLP", "as published", "arXiv 2606.25546", auc=75.4),
]  # fmt: skip
_RADAR_SOURCE = "RADAR, inference document of its repository"
_RADAR_PROTOCOL = "zero-shot, label -1 left out, absent organ scores 0"
_RADAR_FINDINGS = {
    "abdominal_aortic_aneurysm": 99.0, "atherosclerosis": 87.4, "submucosal_edema": 88.8, "appendicitis": 76.2,
    "bowel_obstruction": 97.0, "aortic_valve_calcification": 84.4, "cardiomegaly": 87.2,
    "biliary_ductal_dilation": 87.1, "hepatomegaly": 89.9, "hepatic_steatosis": 89.2, "pleural_effusion": 95.7,
    "atelectasis": 70.9, "renal_hypodensities": 91.2, "renal_cyst": 94.3, "hydronephrosis": 88.0, "gallstones": 91.9,
    "pancreatic_atrophy": 93.6, "splenomegaly": 96.8, "fracture": 68.3, "hiatal_hernia": 86.0,
    "surgically_absent_gallbladder": 92.3,
}  # fmt: skip
_MERLIN = [
    *_over(RADAR_21, _means("merlin", "RADAR", f"21 findings, {_RADAR_PROTOCOL}", _RADAR_SOURCE, auc=88.35)),
    *_over(RADAR_21, _means("merlin", "RADAR+ fine-tuned on Merlin", "anatomy branch", _RADAR_SOURCE, auc=91.8)),
    *_means("merlin", "RADAR+ fine-tuned on Merlin (30 findings)", "30 findings", _RADAR_SOURCE, auc=87.6),
    *_supervised(_means("merlin", "ORACLE-CT", "30 findings, organ masks", "ORACLE-CT repository", auc=85.8)),
    *(
        Published("merlin", "RADAR", "auc", percent, _RADAR_PROTOCOL, _RADAR_SOURCE, finding)
        for finding, percent in _RADAR_FINDINGS.items()
    ),
]
_FVLM_RECOMPUTED = [
    Published("ct-rate", "fVLM", "auc", percent, _16, "recomputed from scores of the released model", finding)
    for finding, percent in {
        "Pleural effusion": 92.1, "Cardiomegaly": 94.0, "Hiatal hernia": 73.2, "Lung nodule": 63.9,
        "Pulmonary fibrotic sequela": 63.4,
    }.items()
]  # fmt: skip

_PAPER = "arXiv 2404.15272v4, "
_TABLE_1 = {
    "nnUNet vanilla CLIP": (0.01, 32.75, 35.19, 33.93, 52.23),
    "nnUNet +ACL": (0.03, 35.24, 70.66, 47.02, 66.00),
    "nnUNet +ACL +DCL": (86.92, 39.07, 64.11, 48.60, 66.76),
    "nnUNet +ACL +DCL +A-Dict": (86.24, 39.24, 72.85, 49.02, 68.63),
    "MiT vanilla CLIP": (0.01, 34.01, 40.43, 36.94, 52.37),
    "MiT +ACL": (0.07, 37.65, 74.24, 49.96, 69.27),
    "MiT +ACL +DCL": (85.46, 38.24, 77.43, 51.19, 70.12),
    "MiT +ACL +DCL +A-Dict": (84.93, 39.47, 78.59, 52.55, 71.90),
}
CANCERS = ("pancreas", "breast", "stomach", "colorectum", "lung", "esophagus", "liver", "")
"""Columns of Table 2; the last is the mean."""
_TABLE_2 = {
    ("dsc", "nnUNet scratch"): (38.77, 13.20, 20.36, 24.18, 40.45, 52.94, 19.25, 29.88),
    ("dsc", "nnUNet vanilla CLIP"): (50.58, 19.28, 19.98, 24.31, 47.15, 56.45, 16.43, 33.45),
    ("dsc", "nnUNet CT-GLIP"): (52.42, 20.59, 23.13, 26.16, 48.89, 53.25, 18.44, 34.70),
    ("dsc", "MiT scratch"): (35.18, 19.13, 0.00, 18.56, 11.12, 40.32, 34.41, 22.68),
    ("dsc", "MiT vanilla CLIP"): (36.02, 19.96, 17.47, 28.78, 33.39, 50.19, 28.75, 30.65),
    ("dsc", "MiT CT-GLIP"): (39.85, 22.84, 27.23, 34.15, 42.32, 46.60, 37.39, 35.77),
    ("auc", "nnUNet scratch"): (92.19, 70.23, 83.48, 90.72, 74.91, 100.00, 63.31, 82.12),
    ("auc", "nnUNet vanilla CLIP"): (96.69, 80.97, 83.17, 86.99, 92.05, 100.00, 71.39, 87.32),
    ("auc", "nnUNet CT-GLIP"): (97.73, 81.49, 90.64, 90.54, 92.43, 93.70, 80.35, 89.55),
    ("auc", "MiT scratch"): (97.63, 77.91, 50.00, 90.26, 74.05, 98.74, 77.99, 80.94),
    ("auc", "MiT vanilla CLIP"): (90.10, 85.83, 78.40, 95.65, 78.45, 99.55, 81.03, 87.00),
    ("auc", "MiT CT-GLIP"): (91.48, 81.31, 87.79, 95.03, 85.76, 96.35, 82.46, 88.60),
}
_ZERO_SHOT = "private test set, 16 abnormalities of 7 organs; equal similarity; top-1 over 104 organs"
_FINE_TUNED = "private non-contrast CTs, 100 patients a cancer; the volume is the AUC's score"
_CT_GLIP = [
    Published("ct-glip", system, metric, percent, _ZERO_SHOT, _PAPER + "Table 1")
    for system, row in _TABLE_1.items()
    for metric, percent in zip(("top1", "ppv", "sensitivity", "f1", "auc"), row, strict=True)
] + [
    Published("ct-glip-fine-tuning", system, metric, percent, _FINE_TUNED, _PAPER + "Table 2", cancer)
    for (metric, system), row in _TABLE_2.items()
    for cancer, percent in zip(CANCERS, row, strict=True)
]

PUBLISHED: tuple[Published, ...] = (*_CT_RATE, *_FVLM_RECOMPUTED, *_RAD_CHESTCT, *_MERLIN, *_CT_GLIP)

SLIPS: dict[str, str] = {
    "Table 1, rows +ACL": "the text says that this variant keeps the diagnosis loss alone, and its organ accuracy "
    "is at chance: read +DCL",
    "Table 1, nnUNet +ACL +DCL +A-Dict": "F1 of PPV 39.24 and sensitivity 72.85 is 51.01, the table says 49.02",
    "Table 1, Top-1 of 0.01, 0.03 and 0.07": "far below the 0.96 % of chance among 104 names: probably shares, not "
    "percent",
    "test set": "1,130 patients in abstract and methods, 1,330 in two captions",
}
"""Known slips in the CT-GLIP paper (arXiv 2404.15272v4), to be told wherever its figures are shown."""


def published_beside(dataset: str, metric: str | None = None, finding: str | None = "") -> list[Published]:
    """Published figures of a data set.

    Args:
        dataset: name of the protocol, or "ct-glip", "ct-glip-fine-tuning".
        metric: that metric alone.
        finding: that finding alone; "" the means; None everything.
    """
    return [
        figure
        for figure in PUBLISHED
        if figure.dataset == dataset and metric in (None, figure.metric) and finding in (None, figure.finding)
    ]
