"""Whether a study is still the same, and its files written in steps."""

import numpy as np
import pytest
import slicer
from harness.study_nodes import addVolume
from nodes_rig import SHAPE, gridOf, huVoxels, loaded, organs, renamed, underTransform

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.io import read_volume
from CTGLIPSlicer import nodes, nodes_layers


@pytest.fixture
def hu() -> np.ndarray:
    return huVoxels()


def test_the_content_key_ignores_colours_and_surfaces(chestScene):
    key = nodes.contentKey(chestScene.volume, chestScene.segmentation)
    display = chestScene.segmentation.GetDisplayNode()

    chestScene.segmentation.GetSegmentation().GetSegment(chestScene.segmentId("liver")).SetColor(1, 0, 0)
    display.SetSegmentOpacity3D(chestScene.segmentId("liver"), 0.2)
    chestScene.volume.GetDisplayNode().SetWindow(123)
    nodes.organsFromNode(chestScene.segmentation)

    assert nodes.contentKey(chestScene.volume, chestScene.segmentation) == key


def test_the_content_key_ignores_views_and_surfaces(views, patientScene):
    key = nodes.contentKey(patientScene.volume, patientScene.segmentation)

    views.sliceWidget("Red").view.show(patientScene.volume)
    views.sliceWidget("Red").view.image()
    patientScene.segmentation.CreateClosedSurfaceRepresentation()
    views.threeDWidget(0).view.image()

    assert nodes.contentKey(patientScene.volume, patientScene.segmentation) == key


CHANGES = {
    "voxels of the CT": lambda ct, _: slicer.util.arrayFromVolumeModified(ct),
    "origin of the CT": lambda ct, _: ct.SetOrigin(1, 2, 3),
    "transform of the CT": lambda ct, _: underTransform(ct),
    "transform of the organs": lambda _, seg: underTransform(seg),
    "name of a segment": lambda _, seg: seg.GetSegmentation().GetNthSegment(0).SetName("other"),
    "segment removed": lambda _, seg: seg.GetSegmentation().RemoveSegment(seg.GetSegmentation().GetNthSegmentID(0)),
    "segment added": lambda _, seg: seg.GetSegmentation().AddEmptySegment("new", "new"),
    "code of a segment": lambda _, seg: renamed(seg, seg.GetSegmentation().GetNthSegmentID(0), "liver", "SCT^1^x~^^"),
    "voxels of a segment": lambda ct, seg: slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones(slicer.util.arrayFromVolume(ct).shape, np.uint8), seg, seg.GetSegmentation().GetNthSegmentID(0), ct
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_content_key_changes_with(patientScene, change):
    key = nodes.contentKey(patientScene.volume, patientScene.segmentation)

    CHANGES[change](patientScene.volume, patientScene.segmentation)

    assert nodes.contentKey(patientScene.volume, patientScene.segmentation) != key


def test_the_content_key_tells_a_study_with_organs_from_one_without(patientScene):
    alone = nodes.contentKey(patientScene.volume, None)

    assert alone != nodes.contentKey(patientScene.volume, patientScene.segmentation)
    assert alone == nodes.contentKey(patientScene.volume, None)


def test_a_study_is_exported_in_small_steps_with_the_same_files(scene, tmp_path, hu, monkeypatch):
    monkeypatch.setattr(nodes_layers, "SLAB_VOXELS", 1000)
    ct, node = addVolume(hu, gridOf("oblique LPS"), "ct"), loaded(organs(gridOf("oblique LPS")), tmp_path)
    steps, count = nodes.exportSteps(ct, node, tmp_path / "steps"), 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as end:
        files = end.value

    atOnce = nodes.exportStudy(ct, node, tmp_path / "once")

    assert count > 10
    assert files.segmentIds == atOnce.segmentIds
    for name in ("ct.nii", "organs.nii", "organs.json"):
        assert (tmp_path / "steps" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_what_cannot_be_exported_is_refused_before_the_first_step(scene, tmp_path, hu):
    ct, moved = addVolume(hu, gridOf("RAS"), "ct"), loaded(organs(gridOf("RAS")), tmp_path)
    underTransform(moved)

    with pytest.raises(GeometryError, match="Harden"):
        next(nodes.exportSteps(ct, moved, tmp_path / "out"))
    with pytest.raises(InputError, match="No volume is chosen"):
        next(nodes.exportSteps(None, moved, tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_an_export_that_is_closed_leaves_no_half_file(scene, tmp_path, hu):
    ct, node = addVolume(hu, gridOf("RAS"), "ct"), loaded(organs(gridOf("RAS")), tmp_path)
    steps = nodes.exportSteps(ct, node, tmp_path / "out")
    while not (tmp_path / "out" / "ct.nii").exists():
        next(steps)

    steps.close()

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ct.nii"]
    assert read_volume(tmp_path / "out" / "ct.nii").volume.grid.shape_ijk == SHAPE
