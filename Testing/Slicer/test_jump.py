"""Jumping: every view shows the place, and stays as it was otherwise."""

import numpy as np
import pytest
import slicer
from harness.study_nodes import addVolume

from CTGLIPLib.geometry import Grid
from CTGLIPSlicer.jump import jumpTo

PLACE = (-31.0, 12.5, 77.0)


def centreOf(sliceNode) -> np.ndarray:
    """RAS mm of the middle of a slice view."""
    width, height, _ = sliceNode.GetDimensions()
    return np.array(sliceNode.GetXYToRAS().MultiplyPoint((width / 2, height / 2, 0, 1))[:3])


def distanceTo(place, sliceNode) -> float:
    """Distance in mm of a place from a slice's plane."""
    slicePose = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())
    return float((np.array(place) - slicePose[:3, 3]) @ slicePose[:3, 2])


def sliceNodes() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSliceNode")


def test_all_slice_views_are_centred_on_the_place(views, patientScene):
    for name in ("Red", "Green", "Yellow"):
        views.sliceWidget(name).view.show(patientScene.volume)
    before = {node.GetID(): (node.GetFieldOfView(), node.GetOrientation()) for node in sliceNodes()}

    jumpTo(PLACE)

    assert len(sliceNodes()) == 3
    for node in sliceNodes():
        pixel = node.GetFieldOfView()[0] / node.GetDimensions()[0]
        assert np.abs(centreOf(node) - PLACE).max() < pixel
        assert before[node.GetID()] == (node.GetFieldOfView(), node.GetOrientation())


def test_the_slice_lies_exactly_on_the_place(views, patientScene):
    jumpTo(PLACE)

    assert [distanceTo(PLACE, node) for node in sliceNodes()] == pytest.approx([0, 0, 0], abs=1e-6)


def test_an_oblique_slice_view_stays_oblique_and_runs_through_the_place(views, scene):
    oblique = views.sliceWidget("Red").view.node
    turned = np.array([[0.8, 0.36, 0.48], [-0.6, 0.48, 0.64], [0.0, -0.8, 0.6]])
    oblique.SetSliceToRASByNTP(*turned[:, 2], *turned[:, 0], 0, 0, 0, 0)

    jumpTo(PLACE)

    after = slicer.util.arrayFromVTKMatrix(oblique.GetSliceToRAS())
    assert np.allclose(after[:3, :3], turned)
    assert abs(distanceTo(PLACE, oblique)) < 1e-6
    assert np.abs(centreOf(oblique) - PLACE).max() < 1.0


def test_linked_slice_views_jump_alike(views, patientScene):
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)

    jumpTo(PLACE)

    assert [distanceTo(PLACE, node) for node in sliceNodes()] == pytest.approx([0, 0, 0], abs=1e-6)


def test_every_camera_looks_at_the_place_from_where_it_looked(views, scene):
    other = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    other.SetPosition(10, 20, 30)
    other.SetFocalPoint(1, 2, 3)
    cameras = slicer.util.getNodesByClass("vtkMRMLCameraNode")
    before = [np.array(camera.GetPosition()) - camera.GetFocalPoint() for camera in cameras]
    up = [camera.GetViewUp() for camera in cameras]

    jumpTo(PLACE)

    assert len(cameras) == 2
    for camera, direction, viewUp in zip(cameras, before, up, strict=True):
        assert camera.GetFocalPoint() == pytest.approx(PLACE)
        assert np.allclose(np.array(camera.GetPosition()) - camera.GetFocalPoint(), direction)
        assert camera.GetViewUp() == viewUp


def test_the_place_is_in_the_middle_of_the_picture(views, scene):
    hu = np.full((60, 60, 60), -1000, np.int16)
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = (60.0, 60.0, -60.0)
    grid = Grid(hu.shape, affine)
    hu[10:13, 40:43, 20:23] = 3000
    volume = addVolume(hu, grid, "ct")
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(100, 0)
    view = views.sliceWidget("Red").view
    view.show(volume)

    jumpTo(grid.to_ras(np.array([11, 41, 21])).tolist())

    bright = np.argwhere(view.image().min(axis=2) > 200)
    height, width, _ = view.image().shape
    assert np.abs(bright.mean(axis=0) - (height / 2, width / 2)).max() < 3


def test_organs_that_were_hidden_come_out(views, patientScene):
    display = patientScene.segmentation.GetDisplayNode()
    patientScene.segmentation.CreateClosedSurfaceRepresentation()
    display.SetVisibility(False)
    display.SetVisibility3D(False)

    jumpTo(PLACE, patientScene.segmentation)

    assert display.GetVisibility()
    assert display.GetVisibility3D()


def test_no_surface_is_made_only_to_jump(scene, patientScene):
    jumpTo(PLACE, patientScene.segmentation)

    assert not patientScene.segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


@pytest.mark.parametrize("place", [(1.0, 2.0), (1.0, 2.0, float("nan"))])
def test_a_place_that_is_none_is_refused(scene, place):
    with pytest.raises(ValueError, match="three finite RAS mm values"):
        jumpTo(place)
