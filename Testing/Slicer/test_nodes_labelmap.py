"""Label maps become segmentations only where their ids have names that are certain."""

import json

import numpy as np
import pytest
import slicer
from harness.study_nodes import addVolume

from CTGLIPLib.errors import GeometryError, InputError, LabelError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume
from CTGLIPSlicer import nodes

GRID = Grid((12, 10, 8), np.diag([-2.0, -2.0, 3.0, 1.0]))
SPLEEN, LIVER = 1, 5
V1_ONLY, V2_ONLY = 93, 117  # face; costal cartilages


def labels(*ids: int) -> np.ndarray:
    """Slabs along i, one an id."""
    array = np.zeros(GRID.shape_ijk, np.uint8)
    for number, label in enumerate(ids):
        array[2 * number : 2 * number + 2, 1:9, 1:7] = label
    return array


def labelmapNode(*ids: int, names: dict[int, str] | None = None):
    node = addVolume(labels(*ids), GRID, "labels", "vtkMRMLLabelMapVolumeNode")
    if names is not None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "my names")
        table.SetTypeToUser()
        table.SetNumberOfColors(130)
        for number, name in names.items():
            table.SetColor(number, name, 0.2, 0.4, 0.6, 1.0)
        node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    return node


def organsOf(node) -> dict[str, int]:
    read = nodes.organsFromNode(node).segmentation
    return dict(zip(read.names, read.voxel_counts().tolist(), strict=True))


def test_the_colour_table_names_the_organs(scene):
    node = nodes.segmentationFromLabelmap(labelmapNode(1, 7, names={1: "left kidney", 7: "my lesion"}))

    assert organsOf(node) == {"kidney_left": 96, "my lesion": 96}
    assert node.GetSegmentation().GetSegment("kidney_left").GetName() == "left kidney"
    assert node.GetName() == "labels organs"


def test_the_voxels_stay_where_they_are(scene):
    node = nodes.segmentationFromLabelmap(labelmapNode(SPLEEN, LIVER), "totalsegmentator_v2")

    read = nodes.organsFromNode(node).segmentation
    centre = read.grid.to_ras(np.argwhere(read.mask("liver"))).mean(axis=0)
    assert np.allclose(centre, GRID.to_ras(np.argwhere(labels(SPLEEN, LIVER) == LIVER)).mean(axis=0))


@pytest.mark.parametrize(
    ("vocabulary", "organ"), [("totalsegmentator_v1", "pancreas"), ("totalsegmentator_v2", "lung_upper_lobe_left")]
)
def test_a_totalsegmentator_version_names_the_organs(scene, vocabulary, organ):
    assert list(organsOf(nodes.segmentationFromLabelmap(labelmapNode(SPLEEN, 10), vocabulary))) == ["spleen", organ]


@pytest.mark.parametrize(
    ("ids", "fit"),
    [
        ((SPLEEN, LIVER), "TotalSegmentator v1 and TotalSegmentator v2"),
        ((SPLEEN, V2_ONLY), "fit TotalSegmentator v2"),
        ((SPLEEN, 200), "no TotalSegmentator version"),
    ],
)
def test_bare_ids_are_refused_with_the_choices(scene, ids, fit):
    with pytest.raises(LabelError, match=f"no organ names.*{fit}.*Say which version"):
        nodes.segmentationFromLabelmap(labelmapNode(*ids))


def test_slicer_s_built_in_colour_tables_name_nothing(scene):
    node = labelmapNode(SPLEEN, LIVER)
    builtIn = slicer.modules.colors.logic().GetDefaultLabelMapColorNodeID()
    node.GetDisplayNode().SetAndObserveColorNodeID(builtIn)
    assert node.GetDisplayNode().GetColorNode().GetColorName(1)

    with pytest.raises(LabelError, match="no organ names"):
        nodes.segmentationFromLabelmap(node)


def test_numbers_are_no_names(scene):
    with pytest.raises(LabelError, match="no organ names"):
        nodes.segmentationFromLabelmap(labelmapNode(1, 2, names={1: "1", 2: "2"}))


def test_sources_that_contradict_each_other_are_refused(scene):
    node = labelmapNode(SPLEEN, LIVER, names={SPLEEN: "spleen", LIVER: "pancreas"})

    with pytest.raises(LabelError, match=r"Id 5 of labels is liver in TotalSegmentator v2 but pancreas in .*my names"):
        nodes.segmentationFromLabelmap(node, "totalsegmentator_v2")


def test_sources_that_agree_in_other_words_are_taken(scene):
    node = labelmapNode(2, 3, names={2: "right kidney", 3: "Left Kidney"})

    assert list(organsOf(nodes.segmentationFromLabelmap(node, "totalsegmentator_v2"))) == [
        "kidney_right",
        "kidney_left",
    ]


def test_an_id_without_a_name_is_refused(scene):
    with pytest.raises(LabelError, match="ids that TotalSegmentator v1 does not name: 117"):
        nodes.segmentationFromLabelmap(labelmapNode(SPLEEN, V2_ONLY), "totalsegmentator_v1")


def test_two_ids_of_one_organ_are_refused(scene):
    with pytest.raises(LabelError, match="are the same organ, kidney_left"):
        nodes.segmentationFromLabelmap(labelmapNode(1, 2, names={1: "left kidney", 2: "kidney_left"}))


def test_a_list_of_names_beside_the_loaded_file_is_used(scene, tmp_path):
    write_volume(labels(1, 2), GRID, tmp_path / "map.nii.gz")
    (tmp_path / "map.json").write_text(json.dumps({"1": "aorta", "2": "liver"}))
    node = slicer.util.loadLabelVolume(str(tmp_path / "map.nii.gz"))

    assert organsOf(nodes.segmentationFromLabelmap(node)) == {"aorta": 96, "liver": 96}


def test_the_segmentation_lies_beside_the_label_map(scene):
    node = labelmapNode(SPLEEN)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study 1")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)

    segmentation = nodes.segmentationFromLabelmap(node, "totalsegmentator_v1")

    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation)) == study


def test_other_nodes_are_refused(scene):
    ct = addVolume(labels(1), GRID, "ct")
    empty = labelmapNode()
    moved = labelmapNode(1)
    moved.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    soft = addVolume(labels(1) * 0.3, GRID, "soft", "vtkMRMLLabelMapVolumeNode")

    for node, error, reason in (
        (None, InputError, "No volume is chosen"),
        (ct, InputError, "ct is no label map"),
        (empty, LabelError, "is empty"),
        (moved, GeometryError, "Harden"),
        (soft, LabelError, "not whole"),
    ):
        with pytest.raises(error, match=reason):
            nodes.segmentationFromLabelmap(node)


def test_an_unknown_vocabulary_is_refused_with_the_choices(scene):
    with pytest.raises(LabelError, match="totalsegmentator_v1, totalsegmentator_v2 or none, got 'v3'"):
        nodes.segmentationFromLabelmap(labelmapNode(1), "v3")


def test_real_labels_become_the_organs_of_their_names(abdomenScene):
    arrays = abdomenScene.arrays
    node = addVolume(arrays.labels, arrays.grid, "seg", "vtkMRMLLabelMapVolumeNode")

    read = nodes.organsFromNode(nodes.segmentationFromLabelmap(node, "totalsegmentator_v1")).segmentation

    assert len(read.names) == 59
    liver = read.grid.to_ras(np.argwhere(read.mask("liver"))).mean(axis=0)
    assert np.abs(liver - abdomenScene.centreRas("liver")).max() < 1e-3
