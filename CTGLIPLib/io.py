"""CT volumes from and to files.

Conventions: files and SimpleITK count in LPS and (k, j, i); everything else in CTGLIPLib in RAS and (i, j, k). The two
meet in `to_sitk` and `from_sitk` only (test_io: 48 orientations against nibabel).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from CTGLIPLib.checks import check_grid, check_hu, require_finite, require_right_angles
from CTGLIPLib.dicom import is_dicom_file, read_series
from CTGLIPLib.errors import GeometryError, InputError, OutputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import Grid
from CTGLIPLib.nifti import read_nifti, write_nifti
from CTGLIPLib.volume import Volume

__all__ = [
    "FileKind",
    "LoadedVolume",
    "from_sitk",
    "read_array",
    "read_volume",
    "require_finite",
    "to_sitk",
    "write_volume",
]

FileKind = Literal["nifti", "nrrd", "mha", "dicom"]
KINDS: dict[str, FileKind] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
ITK_NAMES = {"nrrd": "NrrdImageIO", "mha": "MetaImageIO"}
ONE_PIECE = (".nii", ".nii.gz", ".nrrd", ".mha")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class LoadedVolume:
    """A CT as read: the volume in HU, what the user should know about it, and the kind of file."""

    volume: Volume
    warnings: tuple[str, ...]
    kind: FileKind


def to_sitk(array_ijk: np.ndarray, grid: Grid) -> sitk.Image:
    """A SimpleITK image of an array, shape (i, j, k), on `grid`; bool becomes uint8.

    Raises:
        GeometryError: if the array's shape is not the grid's.
    """
    if array_ijk.shape != grid.shape_ijk:
        msg = f"The array's shape {array_ijk.shape} must equal its grid's {grid.shape_ijk}."
        raise GeometryError(msg)
    plain = array_ijk.astype(np.uint8) if array_ijk.dtype == np.bool_ else array_ijk
    image = sitk.GetImageFromArray(np.transpose(plain, (2, 1, 0)))
    spacing = np.array(grid.spacing_mm)
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection((LPS_TO_RAS @ (grid.affine[:3, :3] / spacing)).ravel().tolist())
    image.SetOrigin((LPS_TO_RAS @ grid.affine[:3, 3]).tolist())
    return image


def from_sitk(image: sitk.Image) -> tuple[np.ndarray, Grid]:
    """The array, shape (i, j, k), and the grid of a 3-D SimpleITK image of one component.

    Raises:
        InputError: if the image is not 3-D or has several components.
        GeometryError: if its position or orientation is unusable.
    """
    _require_3d(image.GetSize(), image.GetNumberOfComponentsPerPixel(), "The image")
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = LPS_TO_RAS @ direction * np.array(image.GetSpacing())
    affine[:3, 3] = LPS_TO_RAS @ np.array(image.GetOrigin())
    size = image.GetSize()
    return np.transpose(sitk.GetArrayFromImage(image), (2, 1, 0)), Grid((size[0], size[1], size[2]), affine)


def read_volume(path: Path, series: str | None = None) -> LoadedVolume:
    """A CT in HU from a NIfTI, NRRD or MetaImage file, a DICOM folder, or one file of a DICOM series.

    Args:
        path: the file or folder.
        series: DICOM series to take, by UID or by its number (from 1) in the list; None where there is only one.

    Raises:
        InputError: if the file is missing, broken, of an unknown format, not 3-D, or not a CT in HU.
        GeometryError: if its position and orientation cannot be used.
    """
    kind = _kind(path)
    array, grid, notes = _read(path, kind, series)
    if series is not None and kind != "dicom":
        notes.append(f"The series choice {series!r} was ignored: {path.name} is not DICOM.")
    require_right_angles(grid, str(path))
    if min(grid.shape_ijk) < 2:
        msg = f"{path} must hold a volume, got a single slice ({grid.describe()}). Give the whole series."
        raise InputError(msg)
    volume = Volume(array, grid)
    try:
        warnings = (*notes, *check_grid(grid), *check_hu(volume))
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error
    return LoadedVolume(volume, warnings, kind)


def read_array(path: Path) -> tuple[np.ndarray, Grid, tuple[str, ...]]:
    """The array (i, j, k) in its stored dtype, grid and warnings of any NIfTI, NRRD or MetaImage file: label maps too.

    Raises:
        InputError: if the file is missing, broken, of another format, or not 3-D.
        GeometryError: if its position and orientation cannot be used.
    """
    kind = _kind(path)
    if kind == "dicom":
        msg = f"Expected a NIfTI, NRRD or MetaImage file, got DICOM at {path}. Convert it first."
        raise InputError(msg)
    array, grid, notes = _read(path, kind, None)
    return array, grid, tuple(notes)


def _read(path: Path, kind: FileKind, series: str | None) -> tuple[np.ndarray, Grid, list[str]]:
    if kind == "nifti":
        return read_nifti(path)
    if kind == "dicom":
        image, notes = read_series(path, series)
        return *from_sitk(image), notes
    return *_read_itk(path, kind), []


def _kind(path: Path) -> FileKind:
    """The kind of file at `path`, by its ending, or by its first bytes for DICOM."""
    if not path.exists():
        msg = f"There is no file or folder {path}. Check the name and that the disk is attached."
        raise InputError(msg)
    if path.is_dir():
        return "dicom"
    try:
        if path.stat().st_size == 0:
            msg = f"{path} is empty (0 bytes). Copy or export it again."
            raise InputError(msg)
        kind = KINDS.get(_ending(path))
        if kind is not None:
            return kind
        if is_dicom_file(path):
            return "dicom"
    except OSError as error:
        msg = f"{path} could not be opened: {error.strerror or error}. Check that you may read it."
        raise InputError(msg) from error
    msg = f"{path} must be a DICOM folder or a file ending in {', '.join(KINDS)}, got {path.suffix or 'no ending'!r}."
    raise InputError(msg)


def _ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def _read_itk(path: Path, kind: FileKind) -> tuple[np.ndarray, Grid]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(ITK_NAMES[kind])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _require_3d(reader.GetSize(), reader.GetNumberOfComponents(), str(path))
        if kind == "nrrd" and not reader.HasMetaDataKey("NRRD_space"):
            msg = (
                f"{path} names no space (such as left-posterior-superior), so left and right cannot be known. "
                "Export it again."
            )
            raise GeometryError(msg)
        if len(reader.GetSize()) > 3:
            reader.SetExtractSize([*reader.GetSize()[:3], *[0] * (len(reader.GetSize()) - 3)])
        return from_sitk(reader.Execute())
    except RuntimeError as error:
        msg = f"{path} could not be read: {_cause(error)}. It is truncated or corrupt; copy or export it again."
        raise InputError(msg) from error


def _require_3d(size: tuple[int, ...], components: int, what: str) -> None:
    if components != 1:
        msg = f"{what} must hold one number per voxel, got {components} (colours or vectors). Export the CT itself."
        raise InputError(msg)
    if len(size) < 3 or any(n != 1 for n in size[3:]):
        shown = "x".join(map(str, size))
        advice = "Save one time point or component as a 3-D file." if len(size) > 3 else "Give the whole volume."
        msg = f"{what} must be a 3-D volume, got {len(size)}-D ({shown}). {advice}"
        raise InputError(msg)


def _cause(error: RuntimeError) -> str:
    """The last telling line of a SimpleITK error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"(sitk::|ITK )ERROR: |\w+ImageIO\(0x[0-9a-f]+\): |\[nrrd\] ", "", lines[-1])
    return text.rstrip(".:") or "SimpleITK gave no reason"


def write_volume(array: np.ndarray, grid: Grid, path: Path, compress: bool = True) -> None:
    """Write an array, shape (i, j, k), with its grid and dtype (bool as uint8), wholly or not at all.

    Args:
        array: intensities, labels or a map.
        grid: where the array lies.
        path: ends in .nii, .nii.gz, .nrrd or .mha.
        compress: whether .nrrd and .mha are compressed; .nii never and .nii.gz always is.

    Raises:
        InputError: if the ending or the dtype cannot be written.
        GeometryError: if the array's shape is not the grid's.
        OutputError: if the folder cannot be written or the disk is full.
    """
    ending = _ending(path)
    if ending not in ONE_PIECE:
        msg = f"A volume can be written as {', '.join(ONE_PIECE)} (one whole file), got {path.name}. Change the ending."
        raise InputError(msg)
    if array.shape != grid.shape_ijk:
        msg = f"The array's shape {array.shape} must equal its grid's {grid.shape_ijk}."
        raise GeometryError(msg)
    plain = array.astype(np.uint8) if array.dtype == np.bool_ else array
    with whole_file(path) as temporary:
        if KINDS[ending] == "nifti":
            write_nifti(plain, grid, temporary)
        else:
            _write_itk(plain, grid, temporary, compress)


def _write_itk(array: np.ndarray, grid: Grid, path: Path, compress: bool) -> None:
    writer = sitk.ImageFileWriter()
    writer.SetImageIO(ITK_NAMES[KINDS[_ending(path)]])
    writer.SetFileName(str(path))
    writer.SetUseCompression(compress)
    try:
        writer.Execute(to_sitk(array, grid))
    except RuntimeError as error:
        msg = f"Could not write {path}: {_cause(error)}. Free space or choose a folder that you may write to."
        raise OutputError(msg) from error
