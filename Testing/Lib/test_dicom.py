"""DICOM series: read as pydicom reads them, chosen with care, refused when slices do not form a volume."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from CTGLIPLib.dicom import list_series
from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import canonical_array, canonical_grid, same_grid
from CTGLIPLib.io import read_array, read_volume

UID = "1.2.826.0.1.3680043.8.498.1"
PATIENT = "Nobody^Secret"


@dataclass(frozen=True)
class Scan:
    """A synthetic series: `count` slices of 12 x 10 voxels, each a body in air."""

    count: int = 8
    uid: str = UID
    modality: str = "CT"
    description: str = "Abdomen 3.0"
    directions: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    step: tuple[float, float, float] = (0, 0, 3.0)
    size: tuple[int, int] = (12, 10)
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    rescale: tuple[float, float] | None = (-1024.0, 1.0)
    tags: dict[str, object] = field(default_factory=dict)

    def pixels(self, number: int) -> np.ndarray:
        """Stored values of a slice, shape (row, column)."""
        rows, columns = self.size
        stored = np.full((rows, columns), 24, dtype=np.int16)
        stored[2:-2, 2:-2] = 1024 + 50 + np.arange(columns - 4)
        stored[3, 3] = 900 + number
        return stored


def write_scan(folder: Path, scan: Scan, shift=lambda number: 0.0, numbers=None) -> list[Path]:
    """Write the slices, in an order of names that is not the order of positions."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(scan.count) if numbers is None else numbers:
        path = folder / f"{(number * 5) % 97:03d}-{len(paths):03d}.dcm"
        header = slice_header(scan, number)
        position = np.array([-90.0, -70.5, 40.25]) + np.array(scan.step) * (number + shift(number))
        header.ImagePositionPatient = [round(float(v), 4) for v in position]
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def slice_header(scan: Scan, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID = PATIENT, "4711"
    header.Modality, header.SeriesDescription = scan.modality, scan.description
    header.SeriesInstanceUID, header.StudyInstanceUID = scan.uid, UID + ".9"
    header.ImageType = list(scan.image_type)
    header.InstanceNumber = number + 1
    header.ImageOrientationPatient = list(scan.directions)
    header.PixelSpacing = [0.9, 0.7]
    header.Rows, header.Columns = scan.size
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    if scan.rescale is not None:
        header.RescaleIntercept, header.RescaleSlope = scan.rescale
    header.PixelData = scan.pixels(number).tobytes()
    for name, value in scan.tags.items():
        setattr(header, name, value)
    return header


def as_pydicom_reads(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """HU (i, j, k) and affine (RAS) of the one series in a folder, from pydicom and the DICOM standard's formula."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    directions = np.array(slices[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(directions[:3], directions[3:])
    slices.sort(key=lambda s: float(normal @ np.array(s.ImagePositionPatient, dtype=float)))
    hu = [s.pixel_array * float(s.get("RescaleSlope", 1)) + float(s.get("RescaleIntercept", 0)) for s in slices]
    first, last = (np.array(s.ImagePositionPatient, dtype=float) for s in (slices[0], slices[-1]))
    affine = np.eye(4)
    affine[:3, 0] = directions[:3] * float(slices[0].PixelSpacing[1])
    affine[:3, 1] = directions[3:] * float(slices[0].PixelSpacing[0])
    affine[:3, 2] = (last - first) / (len(slices) - 1)
    affine[:3, 3] = first
    return np.stack(hu).transpose(2, 1, 0), np.diag([-1.0, -1, 1, 1]) @ affine


def test_the_real_series_reads_as_pydicom_reads_it_and_lies_where_its_label_map_lies(data_folder):
    folder = data_folder / "dicom_example"
    loaded = read_volume(folder / "dicom")
    hu, affine = as_pydicom_reads(folder / "dicom")
    assert loaded.kind == "dicom"
    assert loaded.volume.array.dtype == np.int16
    np.testing.assert_array_equal(loaded.volume.array, hu)
    np.testing.assert_allclose(loaded.volume.grid.affine, affine, atol=1e-4)
    labels, label_grid, _ = read_array(folder / "seg_v2_117.nii.gz")
    assert label_grid.orientation != loaded.volume.grid.orientation
    assert same_grid(canonical_grid(label_grid), canonical_grid(loaded.volume.grid))
    liver = canonical_array(labels, label_grid) == 5
    assert 40 < np.median(canonical_array(loaded.volume.array, loaded.volume.grid)[liver]) < 130


ACROSS = {
    "axial": ((1, 0, 0, 0, 1, 0), (0, 0, 3.0)),
    "axial, downwards": ((1, 0, 0, 0, 1, 0), (0, 0, -3.0)),
    "coronal": ((1, 0, 0, 0, 0, -1), (0, 3.0, 0)),
    "sagittal": ((0, 1, 0, 0, 0, -1), (3.0, 0, 0)),
    "prone": ((-1, 0, 0, 0, -1, 0), (0, 0, 3.0)),
    "oblique": ((0.8, 0.6, 0, 0, 0, -1), (-1.8, 2.4, 0)),
}


@pytest.mark.parametrize("plane", ACROSS)
def test_a_series_of_any_plane_is_placed_by_the_formula_of_the_standard(tmp_path, plane):
    directions, step = ACROSS[plane]
    write_scan(tmp_path, Scan(directions=directions, step=step))
    loaded = read_volume(tmp_path)
    hu, affine = as_pydicom_reads(tmp_path)
    np.testing.assert_array_equal(loaded.volume.array, hu)
    np.testing.assert_allclose(loaded.volume.grid.affine, affine, atol=1e-3)
    assert ("turned away" in " ".join(loaded.warnings)) == (plane == "oblique")


def test_slices_keep_their_own_rescale(tmp_path):
    scan = Scan(count=4)
    write_scan(tmp_path, scan, numbers=range(2))
    write_scan(tmp_path, replace(scan, rescale=(-1000.5, 1.25)), numbers=range(2, 4))
    hu, _ = as_pydicom_reads(tmp_path)
    np.testing.assert_allclose(read_volume(tmp_path).volume.array, hu)


def test_a_series_without_rescale_is_taken_as_hu_with_a_warning_and_refused_when_it_is_not(tmp_path):
    in_hu = Scan(rescale=None)
    for path in write_scan(tmp_path / "hu", in_hu):
        header = pydicom.dcmread(path)
        header.PixelData = (header.pixel_array - 1024).astype(np.int16).tobytes()
        header.save_as(path)
    assert "lack their rescale slope" in " ".join(read_volume(tmp_path / "hu").warnings)
    write_scan(tmp_path / "raw", in_hu)
    with pytest.raises(InputError, match="unscaled CT"):
        read_volume(tmp_path / "raw")


def test_small_jitter_of_positions_is_allowed(tmp_path):
    write_scan(tmp_path, Scan(), shift=lambda number: 0.002 * (-1) ** number)
    assert read_volume(tmp_path).volume.grid.spacing_mm == pytest.approx((0.7, 0.9, 3.0), abs=0.01)


def test_two_series_are_listed_without_the_patients_name_and_chosen_by_number_or_uid(tmp_path):
    write_scan(tmp_path / "a", Scan(count=5))
    write_scan(tmp_path / "b" / "deep", Scan(count=6, uid=UID + ".2", description="Lunge Schädel"))
    with pytest.raises(InputError, match="Expected one CT series, .* has 2:") as caught:
        read_volume(tmp_path)
    text = str(caught.value)
    assert f"1: Abdomen 3.0 (CT, 5 slices, 0.7 x 0.9 x 3 mm, UID {UID})" in text
    assert f"2: Lunge Schädel (CT, 6 slices, 0.7 x 0.9 x 3 mm, UID {UID}.2)" in text
    assert "--series N or --series UID" in text
    assert "Nobody" not in text
    assert "4711" not in text
    assert read_volume(tmp_path, series="1").volume.grid.shape_ijk == (10, 12, 5)
    assert read_volume(tmp_path, series=UID + ".2").volume.grid.shape_ijk == (10, 12, 6)
    for wrong in ("3", "0", ""):
        with pytest.raises(InputError, match=re.escape(f"There is no series {wrong!r}")):
            read_volume(tmp_path, series=wrong)


def test_other_modalities_and_scouts_beside_one_ct_do_not_stand_in_its_way(tmp_path):
    write_scan(tmp_path / "ct", Scan())
    write_scan(tmp_path / "pt", Scan(uid=UID + ".2", modality="PT"))
    write_scan(tmp_path / "scout", Scan(count=2, uid=UID + ".3", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")))
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "broken.dcm").write_text("not DICOM either")
    loaded = read_volume(tmp_path)
    assert loaded.volume.grid.shape_ijk == (10, 12, 8)
    assert "2 other series in the folder (no CT volumes) were left out." in loaded.warnings
    assert [(s.modality, s.slice_count) for s in list_series(tmp_path)] == [("CT", 8), ("PT", 8), ("CT", 0)]
    with pytest.raises(InputError, match="must be a CT, got modality PT"):
        read_volume(tmp_path, series="2")
    with pytest.raises(InputError, match="at least two slices"):
        read_volume(tmp_path, series="3")


@pytest.mark.parametrize("modality", ["MR", "PT", "NM"])
def test_a_folder_without_ct_says_what_it_has(tmp_path, modality):
    write_scan(tmp_path, Scan(modality=modality))
    with pytest.raises(InputError, match=rf"has none:\n  1: Abdomen 3.0 \({modality}, 8 slices"):
        read_volume(tmp_path)


def test_a_series_that_names_no_modality_or_uid_is_read_with_a_warning(tmp_path):
    write_scan(tmp_path, Scan(modality="", uid=""))
    assert "name no modality" in " ".join(read_volume(tmp_path).warnings)


def test_scouts_within_the_series_are_left_out_with_a_warning(tmp_path):
    scan = Scan(count=9)
    write_scan(tmp_path / "a", scan)
    write_scan(tmp_path / "b", replace(scan, count=1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), size=(20, 30)))
    write_scan(tmp_path / "c", replace(scan, count=1, directions=(0, 1, 0, 0, 0, -1)))
    loaded = read_volume(tmp_path)
    assert loaded.volume.grid.shape_ijk == (10, 12, 9)
    assert loaded.warnings[:2] == (
        "1 localizer images (scouts) in the series were left out.",
        "1 images of another size or orientation in the series were left out.",
    )


def test_the_same_file_twice_counts_once(tmp_path):
    paths = write_scan(tmp_path, Scan())
    (tmp_path / "copy.dcm").write_bytes(paths[3].read_bytes())
    loaded = read_volume(tmp_path)
    assert loaded.volume.grid.shape_ijk == (10, 12, 8)
    assert loaded.warnings[0].startswith("1 files are copies")


def test_one_file_is_read_with_its_series_and_a_lone_slice_is_refused(tmp_path):
    paths = write_scan(tmp_path / "a", Scan())
    write_scan(tmp_path / "a", Scan(count=3, uid=UID + ".2"), numbers=range(20, 23))
    loaded = read_volume(paths[2].rename(tmp_path / "a" / "noending"))
    assert loaded.volume.grid.shape_ijk == (10, 12, 8)
    assert loaded.warnings[0] == "The file was read with the 8 images of its series in its folder."
    (lone,) = write_scan(tmp_path / "b", Scan(count=1))
    with pytest.raises(InputError, match="at least two slices to be a volume, got 1"):
        read_volume(lone)


def write_enhanced(path: Path, scan: Scan) -> np.ndarray:
    """One enhanced multi-frame CT; returns its HU (i, j, k)."""
    header = slice_header(scan, 0)
    for name in ("ImageOrientationPatient", "PixelSpacing", "RescaleIntercept", "RescaleSlope"):
        delattr(header, name)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = EnhancedCTImageStorage
    header.NumberOfFrames = scan.count
    shared, measures, plane, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = (
        [0.9, 0.7],
        scan.step[2],
        scan.step[2],
    )
    plane.ImageOrientationPatient = list(scan.directions)
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024, 1, "HU"
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [plane]
    shared.PixelValueTransformationSequence = [rescale]
    header.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in range(scan.count):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [-90.0, -70.5, 40.25 + scan.step[2] * number]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = frames
    stored = np.stack([scan.pixels(number) for number in range(scan.count)])
    header.PixelData = stored.tobytes()
    header.save_as(path, enforce_file_format=True)
    return stored.transpose(2, 1, 0) - 1024


def test_an_enhanced_multi_frame_ct_is_read_alone_or_from_its_folder(tmp_path):
    hu = write_enhanced(tmp_path / "enhanced.dcm", Scan())
    for path in (tmp_path, tmp_path / "enhanced.dcm"):
        loaded = read_volume(path)
        np.testing.assert_array_equal(loaded.volume.array, hu)
        expected = np.array([[-0.7, 0, 0, 90], [0, -0.9, 0, 70.5], [0, 0, 3, 40.25], [0, 0, 0, 1]])
        np.testing.assert_allclose(loaded.volume.grid.affine, expected, atol=1e-4)
        assert "one multi-frame file" in loaded.warnings[0]
    write_enhanced(tmp_path / "second.dcm", Scan())
    with pytest.raises(InputError, match="2 multi-frame files of 2; expected a single one"):
        read_volume(tmp_path)


def without(name: str):
    def remove(folder: Path) -> None:
        for path in write_scan(folder, Scan()):
            header = pydicom.dcmread(path)
            delattr(header, name)
            header.save_as(path)

    return remove


def cut_one(folder: Path) -> None:
    path = write_scan(folder, Scan())[4]
    path.write_bytes(path.read_bytes()[:-120])


def garble_compressed(folder: Path) -> None:
    for path in write_scan(folder, Scan()):
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        header.PixelData = pydicom.encaps.encapsulate([b"no JPEG at all.."])
        header["PixelData"].VR = "OB"
        header.save_as(path)


def mixed(folder: Path) -> None:
    write_scan(folder / "a", Scan(count=9))
    write_scan(folder / "b", Scan(count=6, directions=(0, 1, 0, 0, 0, -1), step=(3.0, 0, 0)))


def two_phases(folder: Path) -> None:
    write_scan(folder / "a", Scan())
    write_scan(folder / "b", Scan())


FLAWS = {
    "one slice missing": (
        lambda f: write_scan(f, Scan(), numbers=[0, 1, 2, 4, 5, 6, 7]),
        InputError,
        "lacks 1 of its slices: the gap after slice 3 is 6.00 mm where 3.00 mm is usual",
    ),
    "four slices missing": (
        lambda f: write_scan(f, Scan(), numbers=[0, 1, 2, 5, 6, 7, 8, 11]),
        InputError,
        "lacks 4 of its slices",
    ),
    "two phases": (two_phases, InputError, "has 8 slices at a position that another slice has"),
    "one slice off": (
        lambda f: write_scan(f, Scan(), shift=lambda n: 0.1 * (n == 4)),
        GeometryError,
        "must have even slice spacing, got 2.700 to 3.300 mm",
    ),
    "two spacings": (
        lambda f: write_scan(f, Scan(), shift=lambda n: 0.5 * max(0, n - 4)),
        GeometryError,
        "must have even slice spacing",
    ),
    "gantry tilt": (
        lambda f: write_scan(f, Scan(step=(0, 0.5, 3.0))),
        GeometryError,
        r"shifted sideways by up to 3.5 mm \(9.5 degrees\): gantry tilt",
    ),
    "mixed orientations": (mixed, InputError, "got groups of 9, 6 images that differ"),
    "no positions": (without("ImagePositionPatient"), InputError, "8 images that do not say where they lie"),
    "no orientations": (without("ImageOrientationPatient"), InputError, "8 images that do not say where they lie"),
    "colours": (
        lambda f: write_scan(
            f,
            Scan(
                size=(12, 10),
                tags={
                    "SamplesPerPixel": 3,
                    "PhotometricInterpretation": "RGB",
                    "PlanarConfiguration": 0,
                    "BitsAllocated": 8,
                    "BitsStored": 8,
                    "HighBit": 7,
                    "PixelRepresentation": 0,
                    "PixelData": bytes(360),
                },
            ),
        ),
        InputError,
        "must hold one number per voxel, got 3",
    ),
    "truncated file": (cut_one, InputError, "020-004.dcm is a DICOM image that cannot be read: truncated"),
    "unreadable compression": (garble_compressed, InputError, "could not be decoded"),
    "no DICOM": (lambda f: (f / "a.txt").write_text("text"), InputError, "Expected DICOM images in .* found none"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_series_that_is_no_whole_straight_volume_is_refused_with_the_reason(tmp_path, flaw):
    make, error, message = FLAWS[flaw]
    make(tmp_path)
    with pytest.raises(error, match=message) as caught:
        read_volume(tmp_path)
    assert "Nobody" not in str(caught.value)


def test_a_dicom_report_is_passed_over_in_a_folder_and_refused_alone(tmp_path):
    write_scan(tmp_path / "ct", Scan())
    header = slice_header(Scan(modality="SR"), 0)
    for name in ("PixelData", "Rows", "Columns"):
        delattr(header, name)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    header.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert read_volume(tmp_path).volume.grid.shape_ijk == (10, 12, 8)
    with pytest.raises(InputError, match="without a readable image"):
        read_volume(tmp_path / "report.dcm")
