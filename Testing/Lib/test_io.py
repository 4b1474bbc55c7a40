"""Volumes from and to files: against nibabel and SimpleITK, and every broken file by its message."""

from __future__ import annotations

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from test_geometry import ORIENTATIONS, grid_of, tilted

from CTGLIPLib.errors import CTGLIPError, GeometryError, InputError
from CTGLIPLib.geometry import Grid, canonical_grid, same_grid
from CTGLIPLib.io import from_sitk, read_array, read_volume, to_sitk, write_volume

SHAPE = (5, 6, 7)
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]
AFFINE = np.array([[-1.5, 0, 0, 40.0], [0, -1.5, 0, -20.5], [0, 0, 3.0, 700.25], [0, 0, 0, 1.0]])


@pytest.fixture
def hu(rng):
    """A small CT with air, fat and tissue."""
    tissue = rng.choice([-1000, -100, 50], size=SHAPE)
    return (tissue + rng.integers(-20, 20, SHAPE)).astype(np.int16)


@pytest.fixture
def ct_file(tmp_path, hu):
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(hu, AFFINE), path)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_write_then_read_keeps_array_dtype_and_affine(tmp_path, rng, ending, dtype):
    array = rng.integers(0, 120, SHAPE).astype(dtype)
    grid = tilted(grid_of("PIR"), 12)
    path = tmp_path / f"volume{ending}"
    write_volume(array, grid, path)
    back, back_grid, warnings = read_array(path)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert warnings == ()
    np.testing.assert_allclose(back_grid.affine, grid.affine, atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_nifti_of_any_orientation_reads_as_nibabel_reads_it(tmp_path, rng, orientation):
    array, grid = rng.integers(-1000, 1000, SHAPE).astype(np.int16), tilted(grid_of(orientation), 7)
    image = nib.Nifti1Image(array, grid.affine)
    nib.save(image, tmp_path / "sform.nii")
    image.set_qform(grid.affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "qform.nii.gz")
    for name in ("sform.nii", "qform.nii.gz"):
        back, back_grid, _ = read_array(tmp_path / name)
        expected = nib.load(tmp_path / name)
        np.testing.assert_array_equal(back, np.asarray(expected.dataobj))
        np.testing.assert_allclose(back_grid.affine, expected.affine, atol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_formats_place_every_voxel_as_nibabel_and_simpleitk_do(tmp_path, rng, orientation):
    array, grid = rng.integers(-1000, 1000, SHAPE).astype(np.int16), tilted(grid_of(orientation), 7)
    write_volume(array, grid, tmp_path / "a.nii")
    ours = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(ours.get_sform(), grid.affine, atol=1e-4)
    np.testing.assert_allclose(ours.get_qform(), grid.affine, atol=1e-4)
    assert (int(ours.header["sform_code"]), int(ours.header["qform_code"])) == (1, 1)
    write_volume(array, grid, tmp_path / "a.mha", compress=False)
    for name in ("a.nii", "a.mha"):
        image = sitk.ReadImage(str(tmp_path / name))
        index = (4, 1, 5)
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(lps * (-1, -1, 1), grid.to_ras(np.array(index)), atol=1e-4)
        assert image[index] == array[index]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_to_and_from_sitk_are_each_others_inverse(rng, orientation):
    array, grid = rng.normal(size=SHAPE), tilted(grid_of(orientation), 33)
    back, back_grid = from_sitk(to_sitk(array, grid))
    np.testing.assert_array_equal(back, array)
    assert same_grid(back_grid, grid)


def test_to_sitk_makes_bool_uint8_and_refuses_a_foreign_grid():
    grid = Grid(SHAPE, AFFINE)
    assert to_sitk(np.ones(SHAPE, dtype=bool), grid).GetPixelID() == sitk.sitkUInt8
    with pytest.raises(GeometryError, match=r"shape \(6, 5, 7\) must equal its grid's \(5, 6, 7\)"):
        to_sitk(np.ones((6, 5, 7)), grid)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii", "nifti"),
        ("A.NII.GZ", "nifti"),
        ("a.nrrd", "nrrd"),
        ("a.nhdr", "nrrd"),
        ("a.mha", "mha"),
        ("a.mhd", "mha"),
    ],
)
def test_read_volume_reads_each_format_and_names_it(tmp_path, hu, name, kind):
    path = tmp_path / name
    if name.endswith(("hdr", "mhd")):
        sitk.WriteImage(to_sitk(hu, Grid(SHAPE, AFFINE)), str(path))
    else:
        write_volume(hu, Grid(SHAPE, AFFINE), path)
    loaded = read_volume(path)
    assert loaded.kind == kind
    np.testing.assert_array_equal(loaded.volume.array, hu)
    np.testing.assert_allclose(loaded.volume.grid.affine, AFFINE, atol=1e-4)
    assert len(loaded.warnings) == 3
    assert "Only 5 slices" in loaded.warnings[0]


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_both_byte_orders_and_versions_of_nifti_are_read(tmp_path, hu, big_endian, version):
    kind = {1: nib.Nifti1Image, 2: nib.Nifti2Image}[version]
    header = kind.header_class(endianness=">" if big_endian else "<")
    header.set_data_dtype(np.int16)
    image = kind(hu, AFFINE, header)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "a.nii")
    back, grid, warnings = read_array(tmp_path / "a.nii")
    np.testing.assert_array_equal(back, hu)
    assert back.dtype == np.dtype("int16")
    np.testing.assert_allclose(grid.affine, AFFINE)
    assert warnings == ()


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.5, 10.0), (2.0, 0.0)])
def test_the_scaling_of_nifti_is_applied_as_nibabel_applies_it(tmp_path, hu, slope, intercept):
    image = nib.Nifti1Image(hu, AFFINE)
    image.header.set_slope_inter(slope, intercept)
    nib.save(image, tmp_path / "a.nii")
    back, _, _ = read_array(tmp_path / "a.nii")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, nib.load(tmp_path / "a.nii").get_fdata(), rtol=1e-6)


def test_a_fourth_dimension_of_length_one_is_dropped(tmp_path, hu):
    nib.save(nib.Nifti1Image(hu[..., None], AFFINE), tmp_path / "a.nii")
    sitk.WriteImage(sitk.JoinSeries([to_sitk(hu, Grid(SHAPE, AFFINE))]), str(tmp_path / "a.mha"))
    for name in ("a.nii", "a.mha"):
        back, grid, _ = read_array(tmp_path / name)
        np.testing.assert_array_equal(back, hu)
        np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-4)


def test_the_sform_counts_and_a_qform_elsewhere_is_told(tmp_path, hu):
    image = nib.Nifti1Image(hu, AFFINE)
    other = AFFINE.copy()
    other[2, 3] += 9
    image.set_sform(AFFINE, 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "a.nii")
    loaded = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(loaded.volume.grid.affine, AFFINE)
    assert "9.0 mm apart; the sform is used" in loaded.warnings[0]


def test_units_of_metres_become_millimetres(tmp_path, hu):
    image = nib.Nifti1Image(hu, np.diag([0.001, 0.001, 0.002, 1.0]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    _, grid, warnings = read_array(tmp_path / "a.nii")
    np.testing.assert_allclose(grid.spacing_mm, (1, 1, 2), rtol=1e-6)
    assert "units of 1000 mm" in warnings[0]


def test_a_series_choice_for_a_file_that_is_no_dicom_is_told(ct_file):
    assert "ignored: ct.nii.gz is not DICOM" in read_volume(ct_file, series="2").warnings[0]


def nifti(path, array=None, affine=AFFINE, **header):
    image = nib.Nifti1Image(np.zeros(SHAPE, dtype=np.int16) if array is None else array, affine)
    nib.save(image, path)
    if header:  # nibabel itself would not write such a header
        with path.open("r+b") as file:
            changed = nib.Nifti1Header.from_fileobj(file)
            for key, value in header.items():
                changed[key] = value
            file.seek(0)
            file.write(changed.binaryblock)


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def altered(path):
    """A byte of the compressed voxels is changed, so that gzip's checksum no longer holds."""
    nifti(path, np.random.default_rng(0).integers(-1000, 1000, (30, 30, 30)).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def itk(path, image, share=1.0):
    sitk.WriteImage(image, str(path))
    cut(path, share)


def cube(kind=sitk.sitkInt16, components=1):
    return sitk.Image([8, 8, 8], kind, components)


COLOURS = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
SHEARED = np.array([[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
BROKEN = {
    "missing": ("a.nii", lambda p: None, "There is no file or folder"),
    "empty": ("a.nii.gz", lambda p: p.touch(), "is empty"),
    "text": ("a.nii.gz", lambda p: p.write_text("not an image" * 99), "is not a NIfTI file"),
    "text in gzip": ("a.nii.gz", lambda p: p.write_bytes(gzip.compress(b"text" * 999)), "is not a NIfTI file"),
    "short text": ("a.nii", lambda p: p.write_text("x"), "is not a NIfTI file"),
    "truncated gzip": ("a.nii.gz", lambda p: (nifti(p), cut(p)), "truncated or corrupt"),
    "last byte of gzip": ("a.nii.gz", lambda p: (nifti(p), cut(p, 0.99)), "truncated or corrupt"),
    "altered gzip": ("a.nii.gz", altered, "truncated or corrupt"),
    "truncated nii": ("a.nii", lambda p: (nifti(p), cut(p, 0.9)), "is truncated: 420 bytes of voxels announced"),
    "header only": ("a.nii", lambda p: p.write_bytes(b"\x5c\x01" + bytes(400)), "is not a NIfTI file"),
    "2-D": ("a.nii", lambda p: nifti(p, np.zeros((5, 6), dtype=np.int16)), r"must be a 3-D volume, got 2-D \(5x6\)"),
    "4-D": ("a.nii", lambda p: nifti(p, np.zeros((*SHAPE, 2), dtype=np.int16)), "got 4-D .*one time point"),
    "no dimensions": ("a.nii", lambda p: nifti(p, dim=[9] * 8), "corrupt header: its dimensions"),
    "RGB": ("a.nii", lambda p: nifti(p, COLOURS), "got RGB voxels"),
    "complex": ("a.nii", lambda p: nifti(p, np.zeros(SHAPE, dtype=np.complex64)), "got complex voxels"),
    "singular sform": ("a.nii", lambda p: nifti(p, srow_z=[0, 0, 0, 0]), "unusable sform or qform"),
    "NaN sform": ("a.nii", lambda p: nifti(p, srow_x=[np.nan] * 4), "unusable sform or qform"),
    "NaN qform": ("a.nii", lambda p: nifti(p, qform_code=1, sform_code=0, quatern_b=np.nan), "unusable sform or qform"),
    "zero spacing": ("a.nii", lambda p: nifti(p, qform_code=1, sform_code=0, pixdim=[1] + [0] * 7), "unusable sform"),
    "no position": ("a.nii", lambda p: nifti(p, sform_code=0, qform_code=0), "left and right cannot be known"),
    "sheared": ("a.nii", lambda p: nifti(p, affine=SHEARED), "sheared by 16.70 degrees"),
    "one slice": ("a.nii", lambda p: nifti(p, np.zeros((5, 6, 1), dtype=np.int16)), "got a single slice"),
    "constant": ("a.nii", lambda p: nifti(p), "a.nii: The CT must show a body"),
    "NaN voxels": ("a.nii", lambda p: nifti(p, np.full(SHAPE, np.nan)), "got 210 of 210 voxels that are NaN"),
    "truncated mha": ("a.mha", lambda p: itk(p, cube(), 0.9), "truncated or corrupt"),
    "truncated nrrd": ("a.nrrd", lambda p: itk(p, cube(), 0.9), "could not be read: .*truncated or corrupt"),
    "text nrrd": ("a.nrrd", lambda p: p.write_text("no nrrd"), "could not be read"),
    "text mha": ("a.mha", lambda p: p.write_text("no mha"), "could not be read"),
    "vector mha": ("a.mha", lambda p: itk(p, cube(sitk.sitkVectorFloat32, 3)), "one number per voxel, got 3"),
    "2-D mha": ("a.mha", lambda p: itk(p, sitk.Image(8, 8, sitk.sitkInt16)), r"got 2-D \(8x8\). Give the whole"),
    "4-D nrrd": ("a.nrrd", lambda p: itk(p, sitk.JoinSeries([cube(), cube()])), r"got 4-D \(8x8x8x2\)"),
    "no space": (
        "a.nrrd",
        lambda p: p.write_bytes(
            b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n\n" + bytes(16)
        ),
        "names no space",
    ),
    "lost data file": (
        "a.mhd",
        lambda p: p.write_text("NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = gone.raw\n"),
        "could not be read",
    ),
    "png": ("a.png", lambda p: p.write_bytes(b"\x89PNG"), "must be a DICOM folder or a file ending in .nii"),
    "no ending": ("ct", lambda p: p.write_bytes(bytes(200)), "got 'no ending'"),
    "folder without DICOM": ("folder", lambda p: p.mkdir(), "Expected DICOM images in .* found none"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_file_is_refused_in_one_clear_message(tmp_path, case):
    name, make, message = BROKEN[case]
    make(tmp_path / name)
    with pytest.raises((InputError, GeometryError), match=message) as caught:
        read_volume(tmp_path / name)
    text = str(caught.value)
    assert name in text
    assert "0x" not in text
    assert ".cxx" not in text


def test_a_header_gets_no_more_memory_than_a_plain_file_has_bytes(tmp_path):
    nifti(tmp_path / "a.nii", np.zeros((99, 99, 99), np.uint8), dim=[3, 9999, 9999, 9999, 1, 1, 1, 1])
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="is truncated: 999,700,029,999 bytes of voxels announced, 970,299 found"):
            read_array(tmp_path / "a.nii")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6


def test_an_unreadable_file_is_refused(ct_file, monkeypatch):
    def refuse(*_args: object, **_kwargs: object):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(ct_file), "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_volume(ct_file)


def test_read_array_takes_label_maps_and_refuses_dicom(tmp_path):
    write_volume(np.full(SHAPE, 3, dtype=np.uint16), Grid(SHAPE, AFFINE), tmp_path / "labels.nrrd")
    array, grid, _ = read_array(tmp_path / "labels.nrrd")
    assert (array == 3).all()
    assert grid.orientation == "LPS"
    with pytest.raises(InputError, match="got DICOM"):
        read_array(tmp_path)


def test_real_cts_read_as_nibabel_reads_them(data_folder):
    for name in ("abdomen_example/ct.nii.gz", "small/sub-ct_label-22_ct.nii.gz", "cta_thorax/ct_cropped.nii.gz"):
        expected = nib.load(data_folder / name)
        loaded = read_volume(data_folder / name)
        np.testing.assert_array_equal(loaded.volume.array, np.asarray(expected.dataobj))
        np.testing.assert_allclose(loaded.volume.grid.affine, expected.affine, atol=1e-6)
        assert canonical_grid(loaded.volume.grid).orientation == "RAS"


def test_every_error_is_one_of_ours():
    assert issubclass(InputError, CTGLIPError)
    assert issubclass(GeometryError, CTGLIPError)
