"""Which organ a segment is."""

from dataclasses import replace

import numpy as np
import pytest
from harness.study_nodes import addVolume
from nodes_rig import SHARED, gridOf, huVoxels, organs, renamed

from CTGLIPLib.errors import LabelError
from CTGLIPLib.segmentation_io import read_segmentation
from CTGLIPSlicer import nodes
from CTGLIPSlicer.nodes_import import segmentationNodeFrom


@pytest.fixture
def hu() -> np.ndarray:
    return huVoxels()


@pytest.mark.parametrize(
    ("segmentId", "name", "code", "organ"),
    [
        ("Segment_1", "kidney_left", None, "kidney_left"),
        ("Segment_1", "left kidney", None, "kidney_left"),
        ("Segment_1", "  Left   Kidney ", None, "kidney_left"),
        ("Segment_1", "hepatic parenchyma", None, "liver"),
        ("liver", "Leber", None, "liver"),
        ("Segment_1", "Leber", "SCT^10200004^Liver~^^", "liver"),
        ("Segment_1", "Niere", "SCT^64033007^Kidney~SCT^7771000^Left", "kidney_left"),
        ("Segment_1", "Niere", "SCT^64033007^Kidney~SCT^24028007^Right", "kidney_right"),
        ("Segment_1", "Nieren", "SCT^64033007^Kidney~^^", "Nieren"),
        ("liver", "Milz", "SCT^78961009^Spleen~^^", "Milz"),
        ("Segment_1", "tumour 3", "SCT^85756007^Tissue~^^", "tumour 3"),
        ("Segment_1", "broken code", "~~~", "broken code"),
        ("spleen", "liver", "SCT^78961009^Spleen~^^", "liver"),
        ("Segment_9", "", None, "Segment_9"),
    ],
)
def test_a_segment_is_the_organ_of_its_name_else_id_else_code(scene, segmentId, name, code, organ):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.GetSegmentation().AddEmptySegment(segmentId, "x")
    renamed(node, segmentId, name, code)

    assert nodes.segmentIdsOf(node) == {organ: segmentId}


def test_an_organ_known_by_id_alone_is_said(scene):
    node = segmentationNodeFrom(organs(gridOf("RAS")), "organs")
    renamed(node, "liver", "Leber")

    read = nodes.organsFromNode(node)

    assert read.segmentation.names == SHARED
    assert read.warnings[0] == "Segment 'Leber' is taken as liver after its id. Rename it if that is wrong."


def test_an_id_does_not_take_an_organ_that_another_segment_is_by_name(scene):
    node = segmentationNodeFrom(organs(gridOf("RAS")), "organs")
    renamed(node, "liver", "Leber")
    renamed(node, "my lesion", "liver")

    assert nodes.segmentIdsOf(node) == {"kidney_left": "kidney_left", "Leber": "liver", "liver": "my lesion"}


@pytest.mark.parametrize(("first", "second"), [("liver", "Liver"), ("lesion A", "Lesion a")])
def test_two_segments_of_one_organ_are_refused_by_name(scene, first, second):
    unnamed = replace(organs(gridOf("RAS")), names=("Segment_1", "Segment_2", "Segment_3"))
    node = segmentationNodeFrom(unnamed, "organs")
    renamed(node, "Segment_1", first)
    renamed(node, "Segment_3", second)

    with pytest.raises(LabelError, match=f"Segments '{first}' and '{second}' are the same organ"):
        nodes.organsFromNode(node)


def test_names_outside_the_vocabulary_stay_and_are_said(scene, tmp_path, hu):
    node = segmentationNodeFrom(organs(gridOf("RAS")), "organs")
    renamed(node, "my lesion", "Läsion, Nr. 3")

    files = nodes.exportStudy(addVolume(hu, gridOf("RAS"), "ct"), node, tmp_path)

    assert read_segmentation(files.segmentation, files.names).segmentation.names[2] == "Läsion, Nr. 3"
    assert "open vocabulary: Läsion, Nr. 3." in files.warnings[-1]


def test_real_organs_keep_names_volumes_and_sides(chestScene, tmp_path):
    files = nodes.exportStudy(chestScene.volume, chestScene.segmentation, tmp_path)
    read = read_segmentation(files.segmentation, files.names).segmentation

    assert len(read.names) == 89
    centre = {name: read.grid.to_ras(np.argwhere(read.mask(name))).mean(axis=0) for name in ("spleen", "liver")}
    for name, place in centre.items():
        assert np.abs(place - chestScene.centreRas(name)).max() < 0.01
    assert centre["spleen"][0] < centre["liver"][0]
