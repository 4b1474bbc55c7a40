"""Segmentation nodes against the library reading the same files: layers, lattices, empty segments."""

import time

import numpy as np
import pytest
import slicer
import vtk
from harness.study_nodes import addVolume
from nodes_rig import (
    DIRECTIONS,
    OVERLAPPING,
    SHAPE,
    SHARED,
    gridOf,
    huVoxels,
    loaded,
    organs,
    underTransform,
)

from CTGLIPLib.errors import GeometryError, LabelError
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.segmentation_io import read_segmentation, resample_segmentation
from CTGLIPLib.volume import Segmentation
from CTGLIPSlicer import nodes
from CTGLIPSlicer.nodes_arrays import orientedImage
from CTGLIPSlicer.nodes_import import segmentationNodeFrom


@pytest.fixture(params=list(DIRECTIONS))
def grid(request) -> Grid:
    return gridOf(request.param)


@pytest.fixture
def hu() -> np.ndarray:
    return huVoxels()


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_segmentation_that_slicer_loads_equals_the_library_s(scene, tmp_path, grid, overlapping):
    original = organs(grid, overlapping)

    read = nodes.organsFromNode(loaded(original, tmp_path))

    assert read.segmentation.names == original.names
    assert same_grid(resample_segmentation(read.segmentation, grid).grid, grid)
    onGrid = resample_segmentation(read.segmentation, grid)
    for name in original.names:
        assert np.array_equal(onGrid.mask(name), original.mask(name)), name
    assert read.segmentation.voxel_counts().tolist() == original.voxel_counts().tolist()
    assert read.segmentIds == {name: name for name in original.names}


@pytest.mark.parametrize("overlapping", [False, True])
def test_exported_organs_read_back_as_the_same_voxels(scene, tmp_path, hu, grid, overlapping):
    original = organs(grid, overlapping)
    ct, node = addVolume(hu, grid, "ct"), loaded(original, tmp_path)

    files = nodes.exportStudy(ct, node, tmp_path / "out")
    read = read_segmentation(files.segmentation, files.names).segmentation

    assert files.segmentation.name == ("organs.seg.nrrd" if overlapping else "organs.nii")
    assert (files.names is None) == overlapping
    assert read.names == original.names
    for name in original.names:
        assert np.array_equal(resample_segmentation(read, grid).mask(name), original.mask(name)), name


def test_segments_in_layers_that_do_not_overlap_become_one_label_map(scene, tmp_path, hu):
    grid = gridOf("LPS")
    node = loaded(organs(grid), tmp_path)
    node.GetSegmentation().SeparateSegmentLabelmap("liver")
    assert node.GetSegmentation().GetNumberOfLayers("Binary labelmap") == 2

    files = nodes.exportStudy(addVolume(hu, grid, "ct"), node, tmp_path / "out")

    assert files.segmentation.name == "organs.nii"
    assert np.array_equal(
        resample_segmentation(read_segmentation(files.segmentation).segmentation, grid).layers, organs(grid).layers
    )


@pytest.mark.parametrize("name", ["RAS", "PIL", "oblique LPS"])
def test_a_segmentation_of_another_grid_than_the_ct_keeps_its_own(scene, tmp_path, hu, name):
    ct = addVolume(hu, gridOf("LPS"), "ct")
    fine = gridOf(name, (40, 30, 25), (0.7, 0.9, 1.1))
    original = organs(fine, overlapping=True)

    files = nodes.exportStudy(ct, loaded(original, tmp_path), tmp_path / "out")
    read = read_segmentation(files.segmentation, files.names).segmentation

    assert np.allclose(sorted(read.grid.spacing_mm), (0.7, 0.9, 1.1))
    assert all(np.array_equal(resample_segmentation(read, fine).mask(n), original.mask(n)) for n in OVERLAPPING)


def test_layers_of_other_lattices_are_resampled_to_the_first_and_said_so(scene):
    grid = gridOf("LAS")
    node = segmentationNodeFrom(organs(grid), "organs")
    other = gridOf("oblique", (60, 60, 60), (0.8, 0.8, 0.8))
    ball = np.linalg.norm(np.argwhere(np.ones(other.shape_ijk, bool)) - 29.5, axis=1).reshape(other.shape_ijk) < 12
    segment = slicer.vtkSegment()
    segment.SetName("spleen")
    segment.AddRepresentation("Binary labelmap", orientedImage(ball.astype(np.uint8), other))
    node.GetSegmentation().AddSegment(segment, "spleen")

    read = nodes.organsFromNode(node)

    assert "resampled to it: spleen." in read.warnings[0]
    onGrid = resample_segmentation(read.segmentation, grid)
    assert np.array_equal(onGrid.mask("liver"), organs(grid).mask("liver"))
    at = grid.to_ras(np.argwhere(onGrid.mask("spleen")))
    assert np.abs(at.mean(axis=0) - other.to_ras(np.full(3, 29.5))).max() < 1.0
    volume = read.segmentation.mask("spleen").sum() * read.segmentation.grid.voxel_volume_ml
    assert volume == pytest.approx(ball.sum() * other.voxel_volume_ml, rel=0.1)


def test_surfaces_alone_are_voxelised_without_changing_the_node(scene, hu):
    ct = addVolume(hu, gridOf("LPS", SHAPE, (2.0, 2.0, 2.0)), "ct")
    centre = gridOf("LPS", SHAPE, (2.0, 2.0, 2.0)).centre_ras_mm
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "contours")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    ball = vtk.vtkSphereSource()
    ball.SetCenter(*centre)
    ball.SetRadius(10.0)
    ball.SetThetaResolution(30)
    ball.SetPhiResolution(30)
    ball.Update()
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "liver", [1.0, 0.0, 0.0], "liver")

    read = nodes.organsFromNode(node).segmentation

    assert read.voxel_counts()[0] * read.grid.voxel_volume_ml == pytest.approx(4.19, rel=0.1)
    assert np.allclose(read.grid.to_ras(np.argwhere(read.mask("liver"))).mean(axis=0), centre, atol=0.5)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_reading_leaves_the_scene_as_it_was(scene, tmp_path, hu):
    ct, node = addVolume(hu, gridOf("RAS"), "ct"), loaded(organs(gridOf("RAS"), overlapping=True), tmp_path)
    before = (scene.GetNumberOfNodes(), ct.GetMTime(), node.GetMTime(), nodes.contentKey(ct, node))

    nodes.exportStudy(ct, node, tmp_path / "out")
    nodes.segmentIdsOf(node)

    assert (scene.GetNumberOfNodes(), ct.GetMTime(), node.GetMTime(), nodes.contentKey(ct, node)) == before


def test_a_segmentation_under_a_transform_is_refused(scene, tmp_path):
    node = loaded(organs(gridOf("RAS")), tmp_path)
    underTransform(node)

    with pytest.raises(GeometryError, match=r"organs is under the transform patient moved.*Harden"):
        nodes.organsFromNode(node)


def test_organs_of_another_place_than_the_ct_are_refused(scene, tmp_path, hu):
    affine = gridOf("RAS").affine.copy()
    affine[0, 3] += 500
    node = loaded(organs(Grid(SHAPE, affine)), tmp_path)

    with pytest.raises(GeometryError, match="cannot belong together"):
        nodes.exportStudy(addVolume(hu, gridOf("RAS"), "ct"), node, tmp_path / "out")


def test_empty_segments_are_left_out_with_a_warning(scene):
    node = segmentationNodeFrom(organs(gridOf("RAS")), "organs")
    node.GetSegmentation().AddEmptySegment("spleen", "spleen")

    read = nodes.organsFromNode(node)

    assert read.segmentation.names == SHARED
    assert read.warnings[0] == "Segments without voxels were left out: spleen."
    assert nodes.segmentIdsOf(node)["spleen"] == "spleen"


@pytest.mark.parametrize("count", [0, 1])
def test_a_segmentation_without_voxels_is_refused(scene, count):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    for number in range(count):
        node.GetSegmentation().AddEmptySegment(f"organ {number}", f"organ {number}")

    with pytest.raises(LabelError, match="nothing has no segment with voxels"):
        nodes.organsFromNode(node)


def test_label_values_of_no_segment_are_background(scene):
    grid = gridOf("RAS")
    node = segmentationNodeFrom(organs(grid), "organs")
    node.GetSegmentation().GetSegment("liver").SetLabelValue(77)

    read = nodes.organsFromNode(node)

    assert read.segmentation.names == ("kidney_left", "my lesion")


def test_104_segments_of_one_layer_are_read_in_one_pass(scene):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 105, (128, 128, 96)).astype(np.uint16)
    grid = gridOf("LPS", labels.shape)
    names = tuple(f"structure {number}" for number in range(1, 105))
    node = segmentationNodeFrom(Segmentation(labels[None], grid, names), "many")

    started = time.perf_counter()
    read = nodes.organsFromNode(node)

    assert time.perf_counter() - started < 3.0
    assert np.array_equal(read.segmentation.layers[0], labels)
