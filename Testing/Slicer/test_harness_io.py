"""Nodes are saved and loaded through Slicer's own logics and storage nodes (harness/io_manager.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def tagOf(segment, name):
    import vtk

    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else None


def test_a_scene_with_references_and_tags_survives_an_mrb(patientScene, scene, tmp_path):
    import slicer

    study = patientScene
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "findings")
    slicer.util.updateTableFromArray(table, [np.array([0.5, 0.25])], ["score"])
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", "provenance")
    text.SetText('{"question": "fatty liver \u2265 5 %"}')
    text.SetForceCreateStorageNode(True)
    parameters = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "CTGLIP")
    parameters.SetParameter("questions", "fatty liver\ncyst")
    parameters.SetNodeReferenceID("InputVolume", study.volume.GetID())
    parameters.SetNodeReferenceID("Findings", table.GetID())
    liver = study.segmentation.GetSegmentation().GetSegment(study.segmentId("liver"))
    liver.SetTag("CTGLIP.score", "0.83")
    hu = slicer.util.arrayFromVolume(study.volume).copy()
    assert slicer.util.saveScene(str(tmp_path / "study.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "study.mrb"))

    parameters = slicer.util.getNode("CTGLIP")
    assert parameters.GetParameter("questions") == "fatty liver\ncyst"
    volume, table = parameters.GetNodeReference("InputVolume"), parameters.GetNodeReference("Findings")
    assert np.array_equal(slicer.util.arrayFromVolume(volume), hu)
    assert list(slicer.util.arrayFromTableColumn(table, "score")) == [0.5, 0.25]
    assert slicer.util.getNode("provenance").GetText() == '{"question": "fatty liver \u2265 5 %"}'
    segmentation = slicer.util.getNode("patient organs").GetSegmentation()
    liver = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("liver"))
    assert (segmentation.GetNumberOfSegments(), tagOf(liver, "CTGLIP.score")) == (len(study.organs) or 8, "0.83")


def test_subject_hierarchy_items_are_not_doubled_by_loading(patientScene, scene, tmp_path):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before = hierarchy.GetNumberOfItems()
    slicer.util.saveScene(str(tmp_path / "study.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "study.mrb"))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert (before, hierarchy.GetNumberOfItems()) == (2, 2)


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_a_volume_comes_back_on_its_grid(patientScene, tmp_path, ending):
    import slicer

    path = tmp_path / f"ct{ending}"
    assert slicer.util.saveNode(patientScene.volume, str(path))
    loaded = slicer.util.loadVolume(path, {"name": "again"})
    matrices = []
    for node in (patientScene.volume, loaded):
        import vtk

        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        matrices.append(slicer.util.arrayFromVTKMatrix(matrix))
    assert np.allclose(*matrices, atol=1e-4)
    assert np.array_equal(*(slicer.util.arrayFromVolume(node) for node in (patientScene.volume, loaded)))
    assert loaded.GetName() == "again"


def test_a_segmentation_comes_back_with_its_names(patientScene, tmp_path):
    import slicer

    path = tmp_path / "organs.seg.nrrd"
    assert slicer.util.saveNode(patientScene.segmentation, str(path))
    segmentation = slicer.util.loadSegmentation(path).GetSegmentation()
    names = [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())]
    assert names == patientScene.organs


def test_a_label_map_is_loaded_as_one(patientScene, tmp_path):
    import slicer

    path = tmp_path / "ct.nrrd"
    slicer.util.saveNode(patientScene.volume, str(path))
    assert slicer.util.loadLabelVolume(path).GetClassName() == "vtkMRMLLabelMapVolumeNode"


def test_a_text_file_becomes_a_text_node(scene, tmp_path):
    import slicer

    (tmp_path / "note.txt").write_text("research only")
    assert slicer.util.loadText(tmp_path / "note.txt").GetText() == "research only"


def test_a_missing_file_is_an_error(scene):
    import slicer

    with pytest.raises(RuntimeError, match="Failed to load node"):
        slicer.util.loadVolume("/no/such/ct.nrrd")


def test_a_path_object_is_refused_where_slicer_needs_text(patientScene, tmp_path):
    import slicer

    with pytest.raises(TypeError, match="expected a file name as str"):
        slicer.util.saveNode(patientScene.volume, Path(tmp_path) / "ct.nrrd")


def test_the_kind_of_a_file_is_told_by_its_longest_ending(slicerApp):
    kinds = [
        slicerApp.coreIOManager().fileType(name) for name in ("a.seg.nrrd", "a.nrrd", "a.NII.GZ", "a.mrk.json", "a.x")
    ]
    assert kinds == ["SegmentationFile", "VolumeFile", "VolumeFile", "MarkupsFile", "NoFile"]
