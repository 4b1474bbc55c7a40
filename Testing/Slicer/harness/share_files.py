"""Small files of our own in place of those that Slicer installs in its share folder and slicer-core leaves out.

The terminologies are not Slicer's: they hold a handful of DICOM codes under the names that Slicer's logic looks for, so
that look-ups run and nothing is reported as missing.
"""

from __future__ import annotations

import json
from pathlib import Path

_LIST = "Segmentation category and type - "
TERMINOLOGIES = {
    "SegmentationCategoryTypeModifier-SlicerGeneralAnatomy": f"{_LIST}3D Slicer General Anatomy list",
    "SegmentationCategoryTypeModifier-DICOM-Master": f"{_LIST}DICOM master list",
}
REGIONS = "AnatomicRegionAndModifier-DICOM-Master"
CATEGORIES = {
    ("123037004", "Anatomical Structure"): {
        "liver": ("10200004", [221, 130, 101]),
        "spleen": ("78961009", [157, 108, 162]),
        "aorta": ("15825003", [224, 97, 76]),
        "kidney": ("64033007", [185, 102, 83]),
    },
    ("85756007", "Tissue"): {"tissue": ("85756007", [128, 174, 128])},
}


def writeShare(folder: Path) -> None:
    """Write the colour table and the terminologies that the logics read when they start."""
    (folder / "ColorFiles").mkdir(exist_ok=True)
    rows = (f"{i} {i} {i * 67 % 256} {i * 131 % 256} {i * 199 % 256} 255" for i in range(1, 256))
    lines = ["# Color table file", "0 Background 0 0 0 0", *rows, ""]
    (folder / "ColorFiles" / "GenericColors.txt").write_text("\n".join(lines))
    for stem, name in TERMINOLOGIES.items():
        (folder / f"{stem}.term.json").write_text(json.dumps(_terminology(name)))
    (folder / f"{REGIONS}.term.json").write_text(json.dumps(_regions()))


def _code(value: str, meaning: str) -> dict[str, str]:
    return {"CodingSchemeDesignator": "SCT", "CodeValue": value, "CodeMeaning": meaning}


def _terminology(name: str) -> dict[str, object]:
    categories = [
        {
            **_code(*category),
            "showAnatomy": "true",
            "Type": [
                {**_code(value, meaning), "recommendedDisplayRGBValue": rgb} for meaning, (value, rgb) in types.items()
            ],
        }
        for category, types in CATEGORIES.items()
    ]
    return {
        "SegmentationCategoryTypeContextName": name,
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/segment-context-schema.json#",
        "SegmentationCodes": {"Category": categories},
    }


def _regions() -> dict[str, object]:
    return {
        "AnatomicContextName": "Anatomic codes - DICOM master list",
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/anatomic-context-schema.json#",
        "AnatomicCodes": {"AnatomicRegion": [_code("818981001", "abdomen"), _code("816094009", "chest")]},
    }
