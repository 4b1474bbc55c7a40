"""Our own terminology context: the organs that the model knows and the findings that it can be asked for.

Conventions (guarded by Testing/Slicer/test_terminology.py):
- CTGLIP/Resources/CTGLIP.term.json is what `terminologyJson` makes of CTGLIPLib's vocabulary and catalogue.
- A type that has a SNOMED CT code is in the scheme SCT; a finding without one is in our own scheme 99CTGLIP under a
  code made from its id, since DICOM allows a code 16 characters and a scheme of ours no claim on SNOMED's numbers.
- Kidney cysts are findings (a cyst of the kidney), not anatomy, as in DICOM's own list.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk

if TYPE_CHECKING:
    from CTGLIPLib.abnormalities import Abnormality
    from CTGLIPLib.organs import Organ

CONTEXT = "Segmentation category and type - CT-GLIP"
OWN_SCHEME = "99CTGLIP"
SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#"
ANATOMY = ("SCT", "123037004", "Anatomical Structure")
ALTERED = ("SCT", "49755003", "Morphologically Altered Structure")
CYST_GROUP = "kidney cyst"
KIDNEY = ("SCT", "64033007", "Kidney")
SIDES = {"right": ("SCT", "24028007", "Right"), "left": ("SCT", "7771000", "Left")}
LONGEST_MEANING = 64  # DICOM's value representation LO
TERMINOLOGY_FILE = Path(__file__).resolve().parents[1] / "Resources" / "CTGLIP.term.json"

Code = tuple[str, str, str]


def terminologyJson() -> str:
    """The text of CTGLIP.term.json, made from CTGLIPLib's organs and abnormalities."""
    from CTGLIPLib.abnormalities import ABNORMALITIES
    from CTGLIPLib.organs import ORGANS

    anatomy = [organ for organ in ORGANS if organ.group != CYST_GROUP]
    cysts = [organ for organ in ORGANS if organ.group == CYST_GROUP]
    categories = [
        {**_coded(ANATOMY), "showAnatomy": False, "Type": _organTypes(anatomy)},
        {
            **_coded(ALTERED),
            "showAnatomy": True,
            "Type": [*_organTypes(cysts), *(_findingType(finding) for finding in ABNORMALITIES)],
        },
    ]
    content = {
        "SegmentationCategoryTypeContextName": CONTEXT,
        "@schema": SCHEMA,
        "SegmentationCodes": {"Category": categories},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def findingCode(finding: Abnormality) -> Code:
    """Scheme, code and meaning of a finding: SNOMED CT where the catalogue has its code, else our own."""
    meaning = finding.name[:LONGEST_MEANING]
    if "SCT" in finding.codes:
        return ("SCT", finding.codes["SCT"], meaning)
    return (OWN_SCHEME, f"{zlib.crc32(finding.id.encode()):08x}", meaning)


def findingTag(finding: Abnormality, organ: Organ | None = None) -> str:
    """Slicer's TerminologyEntry value of a segment that shows a finding, with the organ it lies in as its region."""
    region, side = ("", "", ""), ("", "", "")
    if organ is not None:
        region = KIDNEY if organ.group == CYST_GROUP else ("SCT", organ.snomed, organ.snomed_meaning)
        side = SIDES.get(organ.side or "", side)
    parts = [ALTERED, findingCode(finding), ("", "", "")]
    codes = "~".join("^".join(code) for code in parts)
    return f"{CONTEXT}~{codes}~Anatomic codes - DICOM master list~{'^'.join(region)}~{'^'.join(side)}"


def loadTerminology() -> str:
    """The name of our context, loaded into Slicer's terminologies unless it is there; "" without that module."""
    module = getattr(slicer.modules, "terminologies", None)
    if module is None:
        return ""
    logic, loaded = module.logic(), vtk.vtkStringArray()
    logic.GetLoadedTerminologyNames(loaded)
    if loaded.LookupValue(CONTEXT) >= 0:
        return CONTEXT
    return logic.LoadTerminologyFromFile(str(TERMINOLOGY_FILE))


def _coded(code: Code) -> dict[str, Any]:
    scheme, value, meaning = code
    return {"CodeMeaning": meaning, "CodingSchemeDesignator": scheme, "CodeValue": value}


def _organTypes(organs: list[Organ]) -> list[dict[str, Any]]:
    """One type for each code; what has sides lists them as modifiers, each with its own name and colour."""
    types: dict[str, dict[str, Any]] = {}
    for organ in organs:
        code = ("SCT", organ.snomed, organ.snomed_meaning)
        shown = {"3dSlicerLabel": organ.readable, "recommendedDisplayRGBValue": list(organ.colour)}
        if organ.side is None:
            types[organ.snomed] = {**_coded(code), **shown}
            continue
        both = {**shown, "3dSlicerLabel": organ.snomed_meaning.lower(), "Modifier": []}
        kind = types.setdefault(organ.snomed, {**_coded(code), **both})
        kind["Modifier"].append({**_coded(SIDES[organ.side]), **shown})
    return list(types.values())


def _findingType(finding: Abnormality) -> dict[str, Any]:
    from CTGLIPLib.slicer_segments import organ_colour

    colour = list(organ_colour(finding.id))
    return {**_coded(findingCode(finding)), "3dSlicerLabel": finding.name, "recommendedDisplayRGBValue": colour}
