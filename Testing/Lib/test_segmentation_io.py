"""Organ segmentations read, brought onto other grids, written, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CTGLIPLib.errors import GeometryError, InputError, LabelError, OutputError
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing, same_grid
from CTGLIPLib.io import from_sitk, to_sitk
from CTGLIPLib.segmentation_io import (
    read_segmentation,
    require_overlap,
    resample_segmentation,
    write_segmentation,
)
from CTGLIPLib.slicer_segments import organ_colour, terminology
from CTGLIPLib.volume import Segmentation

AFFINE = np.array([[0.0, -2.0, 0.0, 10.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 30.0], [0.0, 0.0, 0.0, 1.0]])


def _blocks(*values: int, shape: tuple[int, int, int] = (6, 5, 4)) -> np.ndarray:
    """Labels: slab i of the array has the i-th value."""
    labels = np.zeros(shape, np.uint8)
    for place, value in enumerate(values):
        labels[place, 1:4, 1:3] = value
    return labels


def _save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    if path.name.endswith(("nii", "nii.gz")):
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
    else:
        sitk.WriteImage(to_sitk(array, Grid(array.shape, affine)), str(path))
    return path


def _overlapping() -> Segmentation:
    layers = np.zeros((2, 6, 5, 4), np.uint16)
    layers[0, :2], layers[0, 2:4], layers[0, 5, 1:3, 0] = 1, 2, 4
    layers[1, 1:4] = 3
    names = ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung", "kidney_right")
    return Segmentation(layers, Grid((6, 5, 4), AFFINE), names)


def _two_organs() -> Segmentation:
    return Segmentation(
        _blocks(1, 2)[None].astype(np.uint16), Grid((6, 5, 4), AFFINE), ("kidney_left", "livertumor1"), "test"
    )


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_label_map_with_names_gives_each_organ_its_voxels(tmp_path, ending):
    array = _blocks(9, 2, 0, 7)
    path = _save(array, tmp_path / f"a{ending}")
    loaded = read_segmentation(path, {7: "Left kidney", 2: "livertumor1", 9: "spleen", 4: "colon"})
    segmentation = loaded.segmentation
    assert segmentation.names == ("livertumor1", "kidney_left", "spleen")
    for name, value in (("livertumor1", 2), ("kidney_left", 7), ("spleen", 9)):
        assert np.array_equal(segmentation.mask(name), array == value)
    assert np.allclose(segmentation.grid.affine, AFFINE)
    assert loaded.warnings == ("Not in the organ vocabulary, asked as open vocabulary: livertumor1.",)
    assert (segmentation.vocabulary, segmentation.source) == ("names", f"label map a{ending}")


def test_names_come_from_a_file_or_from_beside_the_map(tmp_path):
    path = _save(_blocks(1, 5).astype(np.float64), tmp_path / "a.nii.gz")
    given = tmp_path / "organs.csv"
    given.write_text("id,name\n1,colon\n5,spleen\n")
    assert read_segmentation(path, given).segmentation.names == ("colon", "spleen")
    (tmp_path / "a.json").write_text('{"1": "trachea", "5": "brain"}')
    assert read_segmentation(path).segmentation.names == ("trachea", "brain")


def test_a_totalsegmentator_version_names_a_map_without_names(tmp_path):
    path = _save(_blocks(7, 20), tmp_path / "a.nii.gz")
    v1 = read_segmentation(path, vocabulary="totalsegmentator_v1").segmentation
    v2 = read_segmentation(path, vocabulary="totalsegmentator_v2").segmentation
    assert (v1.names, v2.names) == (("aorta", "vertebrae_L3"), ("pancreas", "colon"))
    assert (v1.vocabulary, v1.source) == ("totalsegmentator_v1", "TotalSegmentator v1 label map a.nii.gz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (_blocks(), "a.nii.gz is empty: all voxels are 0"),
        (_blocks(1, 3), "ids that the given list of names does not name: 3"),
        (_blocks(1, 2), "id 1 .'liver'. and id 2 .'Liver'. are the same organ, liver"),
        (_blocks(1).astype(np.float32) / 2, "values that are not whole, such as 0.5"),
        (_blocks(1).astype(np.int16) - 5, "its values run from -5 to -4"),
    ],
)
def test_unusable_label_maps_are_refused(tmp_path, array, message):
    with pytest.raises(LabelError, match=message):
        read_segmentation(_save(array, tmp_path / "a.nii.gz"), {1: "liver", 2: "Liver"})


def test_files_that_are_missing_broken_or_no_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file or folder .*none.nii.gz"):
        read_segmentation(tmp_path / "none.nii.gz")
    (tmp_path / "a.seg.nrrd").write_bytes(b"NRRD0004\ntype: unsigned char\n")
    with pytest.raises(InputError, match="a.seg.nrrd could not be read"):
        read_segmentation(tmp_path / "a.seg.nrrd")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder has no masks: expected files such as liver.nii.gz"):
        read_segmentation(tmp_path / "folder")


def test_a_folder_of_masks_is_read_in_the_order_of_the_vocabulary_and_overlaps_go_to_layers(tmp_path):
    masks = {"lung": [1, 1, 1, 1], "liver": [0, 0, 0, 1], "Left kidney": [1, 1], "colon": [], "spleen": [0, 1]}
    for name, slabs in masks.items():
        _save(_blocks(*slabs), tmp_path / f"{name}.nii.gz")
    (tmp_path / "notes.txt").write_text("not a mask")
    (tmp_path / ".hidden.nii.gz").write_text("not a mask")
    loaded = read_segmentation(tmp_path)
    assert loaded.segmentation.names == ("spleen", "kidney_left", "liver", "lung")
    assert loaded.segmentation.layers.shape == (3, 6, 5, 4)
    for name, stem in zip(loaded.segmentation.names, ("spleen", "Left kidney", "liver", "lung"), strict=True):
        assert np.array_equal(loaded.segmentation.mask(name), _blocks(*masks[stem]) > 0)
    assert loaded.warnings == ("Not in the organ vocabulary, asked as open vocabulary: lung.",)


@pytest.mark.parametrize(
    ("array", "voxels"),
    [
        (_blocks(255, 255), 12),
        (_blocks(3).astype(np.float64), 6),
        (_blocks(4, 6).astype(np.float32) / 10, 6),
        (_blocks(1, 1, 1).astype(np.int32), 18),
    ],
)
def test_masks_of_one_value_and_soft_masks_above_a_half_are_organs(tmp_path, array, voxels):
    _save(array, tmp_path / "liver.nii.gz")
    assert read_segmentation(tmp_path).segmentation.voxel_counts().tolist() == [voxels]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (_blocks(1, 2), r"liver.nii.gz holds several values .1, 2, \.\.\.., expected one organ a file"),
        (_blocks(1).astype(np.int16) - 1000, "liver.nii.gz is no mask: its values run from -1000 to -999"),
        (_blocks(1) / np.float32(np.nan), "liver.nii.gz is no mask: its values run from nan"),
        (_blocks(), "All 1 masks in .* are empty"),
    ],
)
def test_files_in_a_folder_that_are_no_masks_are_refused_by_name(tmp_path, array, message):
    _save(array, tmp_path / "liver.nii.gz")
    with pytest.raises(LabelError, match=message):
        read_segmentation(tmp_path)


def test_a_folder_with_two_grids_two_names_or_a_name_list_is_refused(tmp_path):
    _save(_blocks(1), tmp_path / "liver.nii.gz")
    with pytest.raises(LabelError, match="--names does not fit"):
        read_segmentation(tmp_path, {1: "liver"})
    _save(_blocks(1), tmp_path / "Spleen.nii.gz", AFFINE + np.eye(4) * [0.1, 0, 0, 0])
    with pytest.raises(GeometryError, match="one grid, but liver.nii.gz and Spleen.nii.gz differ"):
        read_segmentation(tmp_path)
    _save(_blocks(1), tmp_path / "LIVER.mha")
    with pytest.raises(LabelError, match=r"LIVER.mha .'LIVER'. and liver.nii.gz .'liver'. are the same organ"):
        read_segmentation(tmp_path)


def _same(a: Segmentation, b: Segmentation) -> bool:
    masks = all(np.array_equal(a.mask(name), b.mask(name)) for name in a.names)
    return a.names == b.names and same_grid(a.grid, b.grid) and masks


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_what_is_written_is_read_back_without_options(tmp_path, ending, compress):
    names = ("kidney_left", "livertumor1", "lung_upper_lobe_left", "my tumour (ä)", "rib_right_3")
    segmentation = Segmentation(_blocks(1, 2, 3, 4, 5)[None].astype(np.uint16), Grid((6, 5, 4), AFFINE), names)
    path = tmp_path / f"out{ending}"
    written = write_segmentation(segmentation, path, compress)
    loaded = read_segmentation(path)
    assert _same(segmentation, loaded.segmentation)
    assert loaded.warnings == ("Not in the organ vocabulary, asked as open vocabulary: livertumor1, my tumour (ä).",)
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_an_uncompressed_segmentation_holds_its_voxels_as_they_are(tmp_path):
    segmentation = _overlapping()
    for compress in (True, False):
        write_segmentation(segmentation, tmp_path / f"{compress}.seg.nrrd", compress)
    assert b"\nencoding: gzip\n" in (tmp_path / "True.seg.nrrd").read_bytes()
    assert b"\nencoding: raw\n" in (tmp_path / "False.seg.nrrd").read_bytes()
    assert _same(segmentation, read_segmentation(tmp_path / "False.seg.nrrd").segmentation)


def test_organs_that_overlap_are_written_as_layers_of_a_slicer_segmentation(tmp_path):
    segmentation = _overlapping()
    write_segmentation(segmentation, tmp_path / "a.seg.nrrd")
    assert _same(segmentation, read_segmentation(tmp_path / "a.seg.nrrd").segmentation)
    assert b"\nkinds: list domain domain domain\n" in (tmp_path / "a.seg.nrrd").read_bytes()
    with pytest.raises(LabelError, match="Organs overlap, and a.nii.gz holds one organ per voxel. Write a .seg.nrrd"):
        write_segmentation(segmentation, tmp_path / "a.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.seg.nrrd"]


def test_layers_that_do_not_overlap_are_written_as_one_label_map(tmp_path):
    layers = np.stack([_blocks(1), _blocks(0, 2)]).astype(np.uint16)
    segmentation = Segmentation(layers, Grid((6, 5, 4), AFFINE), ("liver", "spleen"))
    write_segmentation(segmentation, tmp_path / "a.nii.gz")
    assert np.array_equal(nibabel.Nifti1Image.from_filename(tmp_path / "a.nii.gz").get_fdata(), _blocks(1, 2))


def test_the_slicer_header_has_names_colours_codes_layers_and_extents(tmp_path):
    write_segmentation(_overlapping(), tmp_path / "a.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert image.GetNumberOfComponentsPerPixel() == 2
    keys = [key.removeprefix("Segment3_") for key in image.GetMetaDataKeys() if key.startswith("Segment3_")]
    segment = {key: image.GetMetaData(f"Segment3_{key}") for key in keys}
    red, green, blue = organ_colour("kidney_right")
    assert [float(part) for part in segment.pop("Color").split()] == pytest.approx(
        [red / 255, green / 255, blue / 255], abs=1e-5
    )
    assert segment == {
        "ID": "kidney_right",
        "Name": "right kidney",
        "NameAutoGenerated": "0",
        "ColorAutoGenerated": "0",
        "Extent": "5 5 1 2 0 0",
        "LabelValue": "4",
        "Layer": "0",
        "Tags": "TerminologyEntry:Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure"
        "~SCT^64033007^Kidney~SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^|",
    }
    assert (image.GetMetaData("Segment2_Layer"), image.GetMetaData("Segment2_Extent")) == ("1", "1 3 0 4 0 3")


def test_terminology_entries_have_seven_parts_and_colours_of_other_names_are_stable():
    for name in ("kidney_left", "liver", "skin"):
        assert len(terminology(name).split("~")) == 7
    assert "SCT^7771000^Left" in terminology("kidney_left")
    assert terminology("kidney_cyst_left").endswith("~SCT^64033007^Kidney~SCT^7771000^Left")
    assert "Morphologically Altered Structure~SCT^367643001^Cyst~^^~" in terminology("kidney_cyst_left")
    assert organ_colour("skin") == organ_colour("skin") != organ_colour("livertumor1")


def test_the_name_list_beside_a_label_map_has_readable_names_colours_and_codes(tmp_path):
    write_segmentation(_two_organs(), tmp_path / "a.nii.gz")
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["schema_version"] == 1
    assert content["labels"]["1"] == {
        "name": "kidney_left",
        "readable": "left kidney",
        "colour": list(organ_colour("kidney_left")),
        "snomed": {"code": "64033007", "meaning": "Kidney", "side_code": "7771000", "side": "left"},
    }
    assert set(content["labels"]["2"]) == {"name", "readable", "colour"}


def test_organs_that_cannot_be_written_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="can be written as .* got a.png"):
        write_segmentation(_two_organs(), tmp_path / "a.png")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Could not write"):
        write_segmentation(_two_organs(), tmp_path / "file" / "a.seg.nrrd")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _segments(path: Path, components: list[np.ndarray], header: dict[str, str]) -> Path:
    images = [to_sitk(array, Grid(array.shape, AFFINE)) for array in components]
    image = sitk.Compose(images) if len(images) > 1 else images[0]
    for key, value in header.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def test_segments_saved_by_an_old_slicer_are_one_component_each(tmp_path):
    header = {"Segment0_ID": "S1", "Segment0_Name": "Liver", "Segment1_ID": "S2", "Segment1_Name": "skin"}
    path = _segments(tmp_path / "a.seg.nrrd", [_blocks(1), _blocks(1, 1)], header)
    segmentation = read_segmentation(path).segmentation
    assert segmentation.names == ("liver", "skin")
    assert segmentation.voxel_counts().tolist() == [6, 12]


def _described(*segments: tuple[str, str, str]) -> dict[str, str]:
    keys = ("Name", "LabelValue", "Layer")
    return {
        f"Segment{n}_{key}": value
        for n, segment in enumerate(segments)
        for key, value in zip(keys, segment, strict=True)
    }


@pytest.mark.parametrize(
    ("components", "segments", "message"),
    [
        ([_blocks(1)], [("liver", "1", "0"), ("spleen", "1", "0")], "two segments with the label value 1"),
        ([_blocks(1, 2)], [("liver", "1", "0")], "ids that the header of a.seg.nrrd does not name: 2"),
        ([_blocks(1)], [("liver", "one", "0")], "Segment 0 needs a name, a layer from 0 and a value from 1"),
        ([_blocks(1)], [("", "1", "0")], "Segment 0 needs a name"),
        ([_blocks(1)], [("liver", "1", "1")], "more layers than its 1"),
        (
            [_blocks(1), _blocks(1, 2)],
            [("liver", "1", "0"), ("skin", "1", "1")],
            r"voxels of no segment .*: \[.1, 2.\]",
        ),
        ([_blocks(), _blocks()], [("liver", "1", "0"), ("skin", "1", "1")], "a.seg.nrrd is empty"),
        ([_blocks(1), _blocks(1)], [("liver", "1", "0"), *[("skin", "1", "1")] * 2], "two segments with one layer"),
        ([_blocks(1), _blocks(1)], [("liver", "1", "0"), ("Liver", "1", "1")], "are the same organ, liver"),
    ],
)
def test_slicer_segmentations_that_contradict_themselves_are_refused(tmp_path, components, segments, message):
    with pytest.raises(LabelError, match=message):
        read_segmentation(_segments(tmp_path / "a.seg.nrrd", components, _described(*segments)))


def test_a_segmentation_with_layers_takes_no_other_names_and_needs_a_space(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(_overlapping(), path)
    with pytest.raises(LabelError, match="has several layers and names its own segments"):
        read_segmentation(path, {1: "liver"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(InputError, match="truncated or corrupt"):
        read_segmentation(path)
    path.write_bytes(whole.replace(b"space: left-posterior-superior\n", b"space dimension: 3\n", 1))
    with pytest.raises(GeometryError, match="names no space"):
        read_segmentation(path)


def _random(rng: np.random.Generator, affine: np.ndarray) -> Segmentation:
    layers = rng.integers(0, 3, (2, 9, 8, 7)).astype(np.uint16)
    layers[1] = np.where(layers[1] > 1, 3, 0)
    return Segmentation(layers, Grid((9, 8, 7), affine), ("liver", "spleen", "skin"))


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_resampling_equals_simpleitk_nearest_neighbour_for_any_orientation_and_spacing(rng, degrees):
    turn = np.eye(4)
    angle = np.deg2rad(degrees)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    segmentation = _random(rng, turn @ AFFINE)
    target = grid_at_spacing(canonical_grid(Grid((9, 8, 7), AFFINE)), 1.37)
    got = resample_segmentation(segmentation, target)
    reference = to_sitk(np.zeros(target.shape_ijk, np.uint8), target)
    for layer, labels in enumerate(segmentation.layers):
        image = to_sitk(labels, segmentation.grid)
        expected, _ = from_sitk(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor))
        assert np.array_equal(got.layers[layer], expected)
    assert got.names == segmentation.names
    assert got.layers.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_resampling_onto_a_flipped_and_turned_lattice_moves_no_organ(rng, axis):
    segmentation = _random(rng, AFFINE)
    flipped = AFFINE.copy()
    flipped[:3, 3] += AFFINE[:3, axis] * (segmentation.grid.shape_ijk[axis] - 1)
    flipped[:3, axis] *= -1
    turned = Grid((8, 7, 9), flipped[:, [1, 2, 0, 3]])
    there = resample_segmentation(segmentation, turned)
    assert np.array_equal(there.layers, np.flip(segmentation.layers, axis + 1).transpose(0, 2, 3, 1))
    assert np.array_equal(resample_segmentation(there, segmentation.grid).layers, segmentation.layers)
    assert resample_segmentation(segmentation, segmentation.grid) is segmentation


def test_resampling_outside_the_organs_grid_gives_background(rng):
    segmentation = _random(rng, AFFINE)
    far = AFFINE.copy()
    far[:3, 3] += 500
    assert not resample_segmentation(segmentation, Grid((4, 4, 4), far)).layers.any()


def test_grids_that_hardly_overlap_are_refused_and_parts_of_each_other_are_not():
    whole = Grid((40, 40, 40), np.eye(4))
    for start, shape in ((5, (4, 4, 4)), (-20, (80, 80, 80)), (15, (40, 60, 60))):
        affine = np.eye(4)
        affine[0, 3] = start
        require_overlap(whole, Grid(shape, affine))
    affine[0, 3] = 30
    with pytest.raises(GeometryError, match=r"overlap by 25% only.*\n  CT    40x40x40 .*\n  masks 40x40x40"):
        require_overlap(whole, Grid((40, 40, 40), affine))
