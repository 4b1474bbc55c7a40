"""Nodes of the scene against the library reading the same files: no voxel, side or name may change on the way."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from CTGLIPSlicer import nodes, nodes_layers
from CTGLIPSlicer.nodes_arrays import orientedImage
from CTGLIPSlicer.nodes_import import segmentationNodeFrom
from harness.study_nodes import addVolume

from CTGLIPLib.errors import GeometryError, InputError, LabelError
from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid, same_grid
from CTGLIPLib.io import read_volume, write_volume
from CTGLIPLib.segmentation_io import read_segmentation, resample_segmentation, write_segmentation
from CTGLIPLib.volume import Segmentation

SHAPE = (17, 20, 16)
SPACING = (1.5, 2.0, 3.0)
SHARED = ("kidney_left", "liver", "my lesion")
OVERLAPPING = (*SHARED, "lung_nodules")


def turned(degrees: float) -> np.ndarray:
    """A rotation about an axis that is none of the patient's."""
    axis, angle = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5]), np.deg2rad(degrees)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


DIRECTIONS = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "RPI": np.diag([1.0, -1, -1]),
    "SRA": np.eye(3)[:, [2, 0, 1]],
    "PIL": np.array([[0.0, 0, -1], [-1, 0, 0], [0, -1, 0]]),
    "oblique": turned(20.0),
    "oblique LPS": turned(-35.0) @ np.diag([-1.0, -1, 1]),
}


def gridOf(direction: str, shape: tuple[int, ...] = SHAPE, spacing: tuple[float, ...] = SPACING) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * spacing
    affine[:3, 3] = (-31.5, 12.25, 140.0) - affine[:3, :3] @ (np.array(shape) / 2)
    return Grid(shape, affine)


@pytest.fixture(params=list(DIRECTIONS))
def grid(request) -> Grid:
    return gridOf(request.param)


@pytest.fixture
def hu() -> np.ndarray:
    """Voxels that differ everywhere, in the range of a CT."""
    return np.random.default_rng(5).permutation(np.arange(np.prod(SHAPE)) % 3000 - 1000).reshape(SHAPE).astype(np.int16)


def organs(grid: Grid, overlapping: bool = False) -> Segmentation:
    """Random blocks; `lung_nodules` lies in a second layer over the liver."""
    rng = np.random.default_rng(7)
    layers = np.zeros((2 if overlapping else 1, *grid.shape_ijk), np.uint16)
    for number, start in enumerate(((2, 3, 1), (9, 4, 6), (3, 12, 9)), 1):
        box = tuple(slice(first, first + 5) for first in start)
        layers[0][box] = np.where(rng.random((5, 5, 5)) < 0.7, number, 0)
    if overlapping:
        layers[1][8:12, 5:9, 7:10] = 4
    return Segmentation(layers, grid, OVERLAPPING if overlapping else SHARED)


def sameInPatient(a, b) -> bool:
    """Whether two volumes hold the same values at the same places, however they are stored."""
    return same_grid(canonical_grid(a.grid), canonical_grid(b.grid)) and np.array_equal(
        canonical_array(a.array, a.grid), canonical_array(b.array, b.grid)
    )


def loaded(segmentation: Segmentation, folder: Path):
    """The segmentation in the scene, by way of Slicer's own reader."""
    path = folder / "organs.seg.nrrd"
    write_segmentation(segmentation, path)
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "organs")


def underTransform(node) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient moved")
    node.SetAndObserveTransformNodeID(transform.GetID())


# CT volumes


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


def read_array_of(path):
    from CTGLIPLib.io import read_array
    from CTGLIPLib.volume import Volume

    array, grid, notes = read_array(path)
    return Volume(array, grid), grid, notes


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


# Organs


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


# Which organ a segment is


def renamed(node, segmentId: str, name: str, code: str | None = None):
    segment = node.GetSegmentation().GetSegment(segmentId)
    segment.SetName(name)
    tag = segment.GetTerminologyEntryTagName()
    segment.RemoveTag(tag)
    if code is not None:
        segment.SetTag(tag, f"context~SCT^123037004^Anatomical Structure~{code}~Anatomic codes~^^~^^")
    return segment


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


# From files into the scene


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_imported_organs_have_the_file_s_voxels_names_colours_and_codes(scene, tmp_path, hu, ending):
    grid = gridOf("oblique LPS")
    path = tmp_path / f"organs{ending}"
    write_segmentation(organs(grid, overlapping=ending == ".seg.nrrd"), path)

    node = nodes.importOrgans(path, addVolume(hu, grid, "ct"), "CT-GLIP organs")

    segmentation = node.GetSegmentation()
    kidney = segmentation.GetSegment("kidney_left")
    code = vtk.reference("")
    assert kidney.GetTag(kidney.GetTerminologyEntryTagName(), code)
    assert "SCT^64033007^Kidney~SCT^7771000^Left" in str(code)
    assert (kidney.GetName(), kidney.GetNameAutoGenerated(), kidney.GetColorAutoGenerated()) == ("left kidney", 0, 0)
    assert np.allclose(kidney.GetColor(), np.array([46, 138, 184]) / 255, atol=1e-5)
    read = resample_segmentation(nodes.organsFromNode(node).segmentation, grid)
    assert all(np.array_equal(read.mask(n), organs(grid, overlapping=True).mask(n)) for n in read.names)
    assert node.GetName() == "CT-GLIP organs"
    assert node.GetStorageNode() is None


def test_imported_organs_lie_beside_the_ct_in_the_study_on_its_geometry(scene, tmp_path, hu):
    path = tmp_path / "organs.seg.nrrd"
    write_segmentation(organs(gridOf("LPS")), path)
    ct = addVolume(hu, gridOf("LPS"), "ct")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study 1")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)

    node = nodes.importOrgans(path, ct, "organs")

    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is ct
    geometry = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    assert "0;16;0;19;0;15;" in geometry


@pytest.mark.parametrize("fault", ["header", "truncated", "missing"])
def test_a_broken_file_is_refused_and_leaves_no_node(scene, tmp_path, hu, fault):
    ct, path = addVolume(hu, gridOf("RAS"), "ct"), tmp_path / "organs.seg.nrrd"
    write_segmentation(organs(gridOf("RAS")), path)
    whole = path.read_bytes()
    broken = {"header": b"NRRD0004\nno image", "truncated": whole[: len(whole) - 40]}
    path.write_bytes(broken.get(fault, b""))
    count = scene.GetNumberOfNodes()

    with pytest.raises(InputError, match="could not be read as a segmentation"):
        nodes.importOrgans(path if fault != "missing" else tmp_path / "none.seg.nrrd", ct, "organs")

    assert scene.GetNumberOfNodes() == count


def test_organs_of_another_place_are_not_imported(scene, tmp_path, hu):
    path = tmp_path / "far.seg.nrrd"
    affine = gridOf("RAS").affine.copy()
    affine[2, 3] += 900
    write_segmentation(organs(Grid(SHAPE, affine)), path)
    ct = addVolume(hu, gridOf("RAS"), "ct")

    with pytest.raises(GeometryError, match="cannot belong together"):
        nodes.importOrgans(path, ct, "organs")

    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


# Whether a study is still the same


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
