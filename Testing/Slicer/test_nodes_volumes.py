"""CT nodes against the library reading the same files: no voxel and no side may change on the way."""

import numpy as np
import pytest
import slicer
import vtk
from harness.study_nodes import addVolume
from nodes_rig import DIRECTIONS, SHAPE, gridOf, huVoxels, read_array_of, sameInPatient, underTransform

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.io import read_volume, write_volume
from CTGLIPSlicer import nodes


@pytest.fixture(params=list(DIRECTIONS))
def grid(request) -> Grid:
    return gridOf(request.param)


@pytest.fixture
def hu() -> np.ndarray:
    return huVoxels()


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_a_volume_that_slicer_loads_equals_the_library_s(scene, tmp_path, hu, grid, ending):
    path = tmp_path / f"ct{ending}"
    write_volume(hu, grid, path)

    read = nodes.volumeFromNode(slicer.util.loadVolume(str(path)))

    assert sameInPatient(read, read_volume(path).volume)
    assert read.array.dtype == np.int16


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.float64])
def test_an_exported_ct_is_the_node_s_voxel_for_voxel(scene, tmp_path, hu, grid, dtype):
    node = addVolume((hu % 2000 if dtype == np.uint16 else hu).astype(dtype), grid, "ct")

    read, _, _ = read_array_of(nodes.exportStudy(node, None, tmp_path).ct)

    assert read.array.dtype == dtype
    assert np.array_equal(read.array, nodes.volumeFromNode(node).array)
    assert same_grid(read.grid, grid)


def test_left_stays_left(scene, tmp_path, grid):
    place = grid.centre_ras_mm + np.array([-9.0, 0.0, 0.0])
    voxel = np.rint(grid.to_index(place)).astype(int)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[tuple(voxel)] = 900
    write_volume(hu, grid, tmp_path / "ct.nrrd")

    node = slicer.util.loadVolume(str(tmp_path / "ct.nrrd"))
    exported = read_array_of(nodes.exportStudy(node, None, tmp_path / "out").ct)[0]

    for volume in (nodes.volumeFromNode(node), exported):
        bright = volume.grid.to_ras(np.argwhere(volume.array == 900)[0])
        assert bright[0] < grid.centre_ras_mm[0] - 5
        assert np.abs(bright - grid.to_ras(voxel)).max() < 1e-3


def test_the_array_is_a_view_so_that_no_memory_is_spent(scene, hu):
    node = addVolume(hu, gridOf("LPS"), "ct")

    assert np.shares_memory(nodes.volumeFromNode(node).array, slicer.util.arrayFromVolume(node))


def test_an_image_whose_first_voxel_is_not_number_zero_lies_where_slicer_shows_it(scene, hu):
    node = addVolume(hu, gridOf("oblique"), "ct")
    whole = nodes.volumeFromNode(node)
    crop = vtk.vtkExtractVOI()
    crop.SetInputData(node.GetImageData())
    crop.SetVOI(3, 9, 2, 11, 4, 12)
    crop.Update()
    node.SetAndObserveImageData(crop.GetOutput())

    cropped = nodes.volumeFromNode(node)

    assert cropped.grid.shape_ijk == (7, 10, 9)
    assert np.allclose(cropped.grid.to_ras(np.zeros(3)), whole.grid.to_ras(np.array([3, 2, 4])))
    assert np.array_equal(cropped.array, hu[3:10, 2:12, 4:13])


@pytest.mark.parametrize(
    ("nodeClass", "shape", "reason"),
    [
        ("vtkMRMLVectorVolumeNode", (4, 5, 6, 3), "3 numbers a voxel"),
        ("vtkMRMLLabelMapVolumeNode", (4, 5, 6), "is a label map"),
        ("vtkMRMLScalarVolumeNode", (1, 5, 6), "single slice"),
    ],
)
def test_other_volumes_are_refused_with_the_reason(scene, nodeClass, shape, reason):
    node = slicer.util.addVolumeFromArray(np.zeros(shape, np.int16), name="other", nodeClassName=nodeClass)

    with pytest.raises(InputError, match=reason):
        nodes.volumeFromNode(node)


def test_no_node_and_no_voxels_are_refused(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "model")

    for node, reason in ((None, "No volume is chosen"), (empty, "empty .* holds no"), (model, "model .* holds no")):
        with pytest.raises(InputError, match=reason):
            nodes.volumeFromNode(node)


def test_a_volume_under_a_transform_is_refused_until_it_is_hardened(scene, hu):
    node = addVolume(hu, gridOf("RAS"), "ct")
    underTransform(node)

    with pytest.raises(GeometryError, match=r"ct is under the transform patient moved.*Harden"):
        nodes.volumeFromNode(node)

    node.HardenTransform()
    assert np.array_equal(nodes.volumeFromNode(node).array, hu)


def test_sheared_axes_are_refused(scene, hu):
    affine = gridOf("RAS").affine.copy()
    affine[1, 2] = 0.5
    node = addVolume(hu, Grid(SHAPE, affine), "tilted")

    with pytest.raises(GeometryError, match=r"tilted.*right angles.*gantry"):
        nodes.volumeFromNode(node)


def test_a_ct_has_the_warnings_that_the_library_gives(chestScene):
    warnings = nodes.ctWarnings(chestScene.volume)

    assert warnings == [
        "21.3% of the voxels lie below -1100 HU (lowest -2048): outside the field of view, taken as air."
    ]


def test_an_mr_volume_is_warned_of_with_the_reason(scene):
    rng = np.random.default_rng(3)
    mr = rng.gamma(2.0, 150.0, (64, 64, 32)).astype(np.int16)
    node = addVolume(mr, gridOf("RAS", mr.shape, (3.0, 3.0, 3.0)), "t1")

    assert "looks like an MR or an unscaled CT" in nodes.ctWarnings(node)[0]


@pytest.mark.parametrize("fault", ["nan", "constant", "label map", "transform", "nothing"])
def test_warnings_never_raise(scene, fault):
    array = np.zeros((30, 30, 30), np.float32)
    array[3] = np.nan if fault == "nan" else 0
    nodeClass = "vtkMRMLLabelMapVolumeNode" if fault == "label map" else "vtkMRMLScalarVolumeNode"
    node = None
    if fault != "nothing":
        node = addVolume(
            array.astype(np.uint8) if fault == "label map" else array, gridOf("RAS", array.shape), "x", nodeClass
        )
    if fault == "transform":
        underTransform(node)
    expected = {"nan": "NaN", "constant": "all its voxels", "label map": "is a label map", "transform": "transform"}

    assert expected.get(fault, "No volume is chosen") in nodes.ctWarnings(node)[0]


def test_oblique_and_thick_volumes_are_warned_of(scene, hu):
    node = addVolume(hu, gridOf("oblique", SHAPE, (3.0, 3.0, 8.0)), "thick")

    text = "\n".join(nodes.ctWarnings(node))

    assert "turned away" in text
    assert "8 mm apart" in text
