"""Views render real pixels (harness/views.py, layout_manager.py)."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def redLiver(views, patientScene):
    """The patient's study, the liver pure red and filled, every other segment hidden."""
    study = patientScene
    display = study.segmentation.GetDisplayNode()
    display.SetAllSegmentsVisibility(False)
    liver = study.segmentId("liver")
    study.segmentation.GetSegmentation().GetSegment(liver).SetColor(1.0, 0.0, 0.0)
    display.SetSegmentVisibility(liver, True)
    display.SetSegmentOpacity2DFill(liver, 1.0)
    display.SetOpacity2DFill(1.0)
    return study


def isRed(image):
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    return (red > 120) & (green < 60) & (blue < 60)


def test_the_patients_right_is_on_the_left_of_an_axial_picture(views, redLiver):
    widget = views.sliceWidget("Red")
    widget.view.show(redLiver.volume)
    widget.mrmlSliceNode().JumpSliceByCentering(*redLiver.centreRas("liver"))
    widget.fitSliceToBackground()
    rows, columns = np.nonzero(isRed(widget.view.image()))
    assert redLiver.centreRas("liver")[0] > 0  # R
    assert len(columns) > 500
    assert columns.mean() < 0.5 * widget.width


def test_a_coloured_segment_is_where_its_centre_is(views, redLiver):
    for name in views.sliceViewNames():
        widget = views.sliceWidget(name)
        widget.view.show(redLiver.volume)
        widget.mrmlSliceNode().JumpSlice(*redLiver.centreRas("liver"))
        red = isRed(widget.view.image())
        row, column = widget.view.pixelOf(redLiver.centreRas("liver"))
        assert red[row, column], name
        assert 0.005 < red.mean() < 0.3, name


def test_jumping_moves_the_slice_to_the_point(views, redLiver):
    import slicer

    for name in views.sliceViewNames():
        views.sliceWidget(name).view.show(redLiver.volume)
    target = redLiver.centreRas("spleen")
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *target, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    origins = [views.sliceWidget(name).mrmlSliceNode().GetSliceToRAS() for name in ("Red", "Green", "Yellow")]
    positions = [matrix.GetElement(axis, 3) for matrix, axis in zip(origins, (2, 1, 0), strict=True)]
    assert positions == pytest.approx([target[2], target[1], target[0]], abs=0.01)
    height, width, _ = views.sliceWidget("Red").view.image().shape
    assert views.sliceWidget("Red").view.pixelOf(target) == pytest.approx((height / 2, width / 2), abs=1.5)


def test_the_ct_shows_behind_the_segments(views, redLiver):
    redLiver.segmentation.GetDisplayNode().SetVisibility(False)
    display = redLiver.volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(400, 40)
    widget = views.sliceWidget("Red")
    widget.view.show(redLiver.volume)
    image = widget.view.image()
    row, column = widget.view.pixelOf(redLiver.centreRas("liver"))
    assert image[row, column].tolist() == pytest.approx([140, 140, 140], abs=20)  # 60 HU in the window -160..240
    assert image[:6, :6].max() == 0  # air


def test_the_3d_view_shows_a_closed_surface_in_its_colour(views, redLiver):
    redLiver.segmentation.CreateClosedSurfaceRepresentation()
    view = views.threeDWidget(0).view
    view.fit()
    red = isRed(view.image())
    assert red.mean() > 0.05
    assert red[view.window.GetSize()[1] // 2, view.window.GetSize()[0] // 2]


def test_a_colour_legend_appears_in_a_view_that_was_there_before(views, redLiver):
    import slicer

    widget = views.sliceWidget("Red")
    widget.view.show(redLiver.volume)
    before = widget.view.image()
    display = redLiver.volume.GetDisplayNode()
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(display)
    legend.SetTitleText("score")
    after = widget.view.image()
    changed = np.argwhere(np.any(before != after, axis=-1))
    assert len(changed) > 500
    assert changed[:, 1].min() > 0.5 * after.shape[1]  # the legend stands on the right


def test_a_png_is_written(views, patientScene, tmp_path):
    views.sliceWidget("Green").view.png(tmp_path / "green.png")
    assert (tmp_path / "green.png").read_bytes()[:4] == b"\x89PNG"


def test_slicers_own_functions_work_on_the_layout_manager(views, redLiver):
    import slicer

    slicer.util.setSliceViewerLayers(background=redLiver.volume, fit=True)
    slicer.util.resetSliceViews()
    slicer.util.forceRenderAllViews()
    shown = {
        views.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() for name in views.sliceViewNames()
    }
    assert shown == {redLiver.volume.GetID()}
    assert views.sliceWidget("Red").pixmap.width() == 320


def test_an_unknown_view_is_none_as_in_slicer(views):
    assert (views.sliceWidget("Purple"), views.threeDWidget(1)) == (None, None)


def test_closed_views_leave_no_nodes(scene, slicerApp):
    import slicer
    from harness import application

    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)  # made with the first node
    before = scene.GetNumberOfNodes()
    application.start(views=True)
    assert scene.GetNumberOfNodes() > before
    application.closeViews()
    assert (scene.GetNumberOfNodes(), slicerApp.layoutManager()) == (before, None)
    assert slicerApp.applicationLogic().GetSliceLogics().GetNumberOfItems() == 0
