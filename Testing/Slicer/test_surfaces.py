"""Surfaces made one at a time are those that Slicer makes at once."""

from __future__ import annotations

import numpy as np
import pytest

SURFACE = "Closed surface"


@pytest.fixture
def rig(views, patientScene):
    return patientScene.segmentation, views


@pytest.fixture
def steps():
    return []


@pytest.fixture
def told():
    return []


@pytest.fixture
def maker(scene, steps, told):
    from CTGLIPSlicer.surfaces import SurfaceMaker

    return SurfaceMaker(steps.append, lambda made, every: told.append((made, every)))


def made(node):
    from CTGLIPSlicer.surfaces import hasSurface

    return [one for one in node.GetSegmentation().GetSegmentIDs() if hasSurface(node, one)]


def run(steps):
    while steps:
        steps.pop(0)()


def test_one_step_makes_one_surface_although_3d_views_look_on(rig, maker, steps, told):
    node, _ = rig
    every = node.GetSegmentation().GetNumberOfSegments()
    node.GetDisplayNode().SetVisibility3D(True)
    maker.make(node)
    assert made(node) == []
    for count in range(1, every):
        assert len(steps) == 1
        steps.pop()()
        assert len(made(node)) == count
    run(steps)
    assert told == [(count, every) for count in range(1, every + 1)]
    assert not maker.isWorking


def test_the_surfaces_are_those_that_slicer_makes_at_once(rig, maker, steps):
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    node, _ = rig
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    other.GetSegmentation().DeepCopy(node.GetSegmentation())
    other.CreateClosedSurfaceRepresentation()
    maker.make(node)
    run(steps)
    for one in node.GetSegmentation().GetSegmentIDs():
        points = [
            vtk_to_numpy(each.GetSegmentation().GetSegmentRepresentation(one, SURFACE).GetPoints().GetData())
            for each in (node, other)
        ]
        assert np.array_equal(*points)
    assert node.GetSegmentation().GetNumberOfLayers() == 1


def test_the_3d_view_shows_them_when_all_are_made(rig, maker, steps):
    node, views = rig
    node.GetDisplayNode().SetVisibility3D(True)
    view = views.threeDWidget(0).view
    view.fit()
    empty = view.image().astype(int)
    maker.make(node)
    run(steps)
    view.fit()
    assert np.abs(view.image().astype(int) - empty).sum() > 10_000


def test_stopped_half_way_the_segmentation_passes_for_one_without_surfaces(rig, maker, steps):
    node, _ = rig
    maker.make(node)
    steps.pop()()
    maker.stop()
    run(steps)
    assert len(made(node)) == 1
    assert not maker.isWorking
    assert not node.GetSegmentation().ContainsRepresentation(SURFACE)
    maker.make(node)
    run(steps)
    assert node.GetSegmentation().ContainsRepresentation(SURFACE)


def test_surfaces_that_are_there_are_not_made_again(rig, maker, steps, told):
    node, _ = rig
    node.CreateClosedSurfaceRepresentation()
    maker.make(node)
    assert steps == []
    assert told == [(8, 8)]


def test_a_removed_segment_or_node_ends_quietly(rig, maker, steps, told):
    import slicer

    node, _ = rig
    maker.make(node)
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetNthSegmentID(3))
    steps.pop()()
    slicer.mrmlScene.RemoveNode(node)
    run(steps)
    assert not maker.isWorking
    assert len(told) == 1
