"""Our terminology context: it is what the library knows, and Slicer finds organs, sides and findings in it."""

from __future__ import annotations

import json

import pytest
import slicer


@pytest.fixture
def terminology(slicerApp):
    from CTGLIPSlicer import terminology

    return terminology


@pytest.fixture
def logic(terminology):
    terminology.loadTerminology()
    return slicer.modules.terminologies.logic()


@pytest.fixture
def categories(terminology):
    return json.loads(terminology.TERMINOLOGY_FILE.read_text(encoding="utf-8"))["SegmentationCodes"]["Category"]


def find(logic, context, label):
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.FindTypeInTerminologyBy3dSlicerLabel(context, label, entry)
    return entry


def test_the_shipped_file_is_made_from_the_library(terminology):
    assert terminology.TERMINOLOGY_FILE.read_text(encoding="utf-8") == terminology.terminologyJson()


def test_loading_gives_the_contexts_name_and_loads_it_once(terminology, logic):
    assert terminology.loadTerminology() == terminology.CONTEXT
    assert logic.IsTerminologyContextLoaded(terminology.CONTEXT)
    assert logic.GetNumberOfCategoriesInTerminology(terminology.CONTEXT) == 2


def test_slicer_without_terminologies_is_no_error(terminology, monkeypatch):
    monkeypatch.delattr(slicer.modules, "terminologies")
    assert terminology.loadTerminology() == ""


def test_every_organ_is_found_by_its_readable_name_with_its_code_side_and_colour(terminology, logic):
    from CTGLIPLib.organs import ORGANS

    for organ in ORGANS:
        entry = find(logic, terminology.CONTEXT, organ.readable)
        shown = entry.GetTypeModifierObject() if organ.side else entry.GetTypeObject()
        assert entry.GetTypeObject().GetCodeValue() == organ.snomed
        assert shown.GetRecommendedDisplayRGBValue() == organ.colour
        if organ.side:
            assert shown.GetCodeMeaning() == organ.side.capitalize()


def test_every_finding_is_found_by_its_name(terminology, logic):
    from CTGLIPLib.abnormalities import ABNORMALITIES

    for finding in ABNORMALITIES:
        kind = find(logic, terminology.CONTEXT, finding.name).GetTypeObject()
        code = (kind.GetCodingSchemeDesignator(), kind.GetCodeValue(), kind.GetCodeMeaning())
        assert code == terminology.findingCode(finding)


def test_the_librarys_segment_tags_are_found_in_our_context(terminology, logic):
    from CTGLIPLib.organs import ORGANS
    from CTGLIPLib.slicer_segments import terminology as tag_of

    for organ in ORGANS:
        if organ.group == terminology.CYST_GROUP:  # a finding here, anatomy there
            continue
        _context, category, kind, side = tag_of(organ.name).partition(":")[2].split("~")[:4]
        codes = [part for text in (category, kind, side) for part in text.split("^")[:2]]
        assert logic.FindTerminologyNames(*codes, [terminology.CONTEXT]) == (terminology.CONTEXT,)


def test_a_findings_tag_names_the_finding_and_the_organ_it_lies_in(terminology, logic):
    from CTGLIPLib.abnormalities import abnormality_named
    from CTGLIPLib.organs import find_organ

    tag = terminology.findingTag(abnormality_named("kidney_stone"), find_organ("kidney_left"))
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(tag, entry)
    assert entry.GetTypeObject().GetCodeValue() == "95570007"
    assert entry.GetRegionObject().GetCodeMeaning() == "Kidney"
    assert entry.GetRegionModifierObject().GetCodeMeaning() == "Left"
    assert len(terminology.findingTag(abnormality_named("renal_cyst")).split("~")) == 7


def test_codes_are_unique_and_short_enough_for_dicom(categories):
    for category in categories:
        codes = [(kind["CodingSchemeDesignator"], kind["CodeValue"]) for kind in category["Type"]]
        assert len(codes) == len(set(codes))
        assert all(len(scheme) <= 16 and len(value) <= 16 for scheme, value in codes)
        assert all(len(kind["CodeMeaning"]) <= 64 for kind in category["Type"])


def test_a_finding_without_a_snomed_code_claims_none(terminology, categories):
    from CTGLIPLib.abnormalities import ABNORMALITIES

    ours = [finding.name for finding in ABNORMALITIES if "SCT" not in finding.codes]
    shown = [kind["CodeMeaning"] for kind in categories[1]["Type"] if kind["CodingSchemeDesignator"] == "99CTGLIP"]
    assert shown == ours
