"""CT series in DICOM folders.

SimpleITK (GDCM) reads headers and pixels and applies the rescale to HU; which series and which slices is decided
here. Names and numbers of patients are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from CTGLIPLib.dicom_slices import Slice, ordered_slices
from CTGLIPLib.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".ima")
LISTED = 30
CT_IMAGE_STORAGE = b"1.2.840.10008.5.1.4.1.1.2\0"
PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class Series:
    """One DICOM series of a folder.

    Attributes:
        number: its place in the list, from 1.
        uid: its UID; may be empty in anonymised files.
        description: its free-text description.
        modality: "CT", "MR", ...
        slices: its images, frames of enhanced files counted in `slice_count`.
    """

    number: int
    uid: str
    description: str
    modality: str
    slices: tuple[Slice, ...]

    @property
    def slice_count(self) -> int:
        """Number of images without localizers."""
        return sum(s.frames for s in self.slices if not s.localizer)

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel spacing along columns, rows and slices, None where a single image or its header does not tell."""
        placed = [s for s in self.slices if s.position_mm and s.directions and not s.localizer]
        if len(placed) < 2:
            return None
        along = sorted(float(placed[0].normal @ s.position_mm) for s in placed)
        gaps = sorted(b - a for a, b in zip(along, along[1:], strict=False))
        return (placed[0].layout[3], placed[0].layout[2], gaps[len(gaps) // 2])

    @property
    def is_ct_volume(self) -> bool:
        """Whether it is a CT of two slices or more, localizers apart."""
        return self.modality in {"CT", ""} and self.slice_count >= 2

    def describe(self) -> str:
        """A short text for messages: number, description, modality, slices, spacing, UID."""
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm) + " mm, " if self.spacing_mm else ""
        scout = "localizer, " if all(s.localizer for s in self.slices) else ""
        name = self.description or "no description"
        return (
            f"{self.number}: {name} ({self.modality or 'no modality'}, {scout}{self.slice_count or len(self.slices)} "
            f"slices, {spacing}UID {self.uid or 'missing'})"
        )


def is_dicom_file(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def list_series(folder: Path, recursive: bool = True) -> tuple[Series, ...]:
    """The image series of a folder, in the order of their first file's path; what is no DICOM image is passed over.

    Raises:
        InputError: if the folder or one of its images cannot be read.
    """
    groups: dict[tuple[str, str], list[Slice]] = {}
    try:
        for path in sorted(folder.rglob("*") if recursive else folder.glob("*")):
            image = _read_header(path) if _may_be_dicom(path) else None
            if image is not None:
                groups.setdefault((image.series_uid, image.modality), []).append(image)
    except OSError as error:
        msg = f"{folder} could not be read: {error.strerror or error}. Check that you may open its files."
        raise InputError(msg) from error
    return tuple(
        Series(number, uid, slices[0].description, modality, tuple(slices))
        for number, ((uid, modality), slices) in enumerate(groups.items(), start=1)
    )


def read_series(path: Path, series: str | None = None) -> tuple[sitk.Image, list[str]]:
    """The CT of a folder, or of the series that a single DICOM file belongs to, in HU, and warnings.

    Args:
        path: a folder, searched with its subfolders, or one DICOM file.
        series: the series to take, by UID or number; None where there is only one CT series.

    Raises:
        InputError: if there is no CT series, more than one, or the chosen one is incomplete or unreadable.
        GeometryError: if its slices are tilted or unevenly spaced.
    """
    if path.is_dir():
        chosen, warnings = _choose(list_series(path), path, series)
    else:
        chosen, warnings = _series_of(path)
    what = f"DICOM series {chosen.number} ({chosen.description or chosen.uid or 'no description'}) of {path}"
    if chosen.modality not in {"CT", ""}:
        msg = f"{what} must be a CT, got modality {chosen.modality}. CT-GLIP reads CT in HU only; choose a CT series."
        raise InputError(msg)
    if not chosen.modality:
        warnings.append("The DICOM files name no modality; they are taken as CT.")
    frames = [s for s in chosen.slices if s.frames > 1]
    if frames:
        files, notes = _one_enhanced_file(chosen, frames, what)
    else:
        files, notes = ordered_slices(chosen.slices, what)
    if not all(all(s.rescale) for s in files):
        notes.append("Slices lack their rescale slope or intercept; their stored values are taken as HU.")
    return _read_pixels(files, what), [*warnings, *notes]


def _choose(found: tuple[Series, ...], folder: Path, wanted: str | None) -> tuple[Series, list[str]]:
    if not found:
        msg = (
            f"Expected DICOM images in {folder}, found none. "
            "Give the folder of a CT series, or a single file by its name."
        )
        raise InputError(msg)
    listing = "\n  ".join(s.describe() for s in found[:LISTED])
    listing += f"\n  ... and {len(found) - LISTED} more" if len(found) > LISTED else ""
    if wanted is not None:
        for candidate in found:
            if wanted in {candidate.uid, str(candidate.number)} and wanted:
                return candidate, []
        msg = f"There is no series {wanted!r} in {folder}; it has\n  {listing}\nChoose one by its number or UID."
        raise InputError(msg)
    volumes = [s for s in found if s.is_ct_volume]
    if len(volumes) == 1:
        others = len(found) - 1
        return volumes[0], [f"{others} other series in the folder (no CT volumes) were left out."] if others else []
    if volumes:
        msg = (
            f"Expected one CT series, {folder} has {len(volumes)}:\n  {listing}\nChoose one: "
            "--series N or --series UID."
        )
    else:
        msg = (
            f"Expected a CT series of two slices or more, {folder} has none:\n  {listing}\nGive the folder of "
            "a CT series."
        )
    raise InputError(msg)


def _series_of(path: Path) -> tuple[Series, list[str]]:
    own = _read_header(path)
    if own is None:
        msg = f"{path} is a DICOM file without a readable image. Give the folder of a CT series."
        raise InputError(msg)
    if own.frames > 1:
        return Series(1, own.series_uid, own.description, own.modality, (own,)), []
    for candidate in list_series(path.parent, recursive=False):
        if any(s.path == path for s in candidate.slices):
            return candidate, [
                f"The file was read with the {len(candidate.slices)} images of its series in its folder."
            ]
    return Series(1, own.series_uid, own.description, own.modality, (own,)), []


def _one_enhanced_file(chosen: Series, frames: list[Slice], what: str) -> tuple[list[Slice], list[str]]:
    if len(chosen.slices) > 1:
        msg = (
            f"{what} has {len(frames)} multi-frame files of {len(chosen.slices)}; expected a single one. "
            "Give that file by its name."
        )
        raise InputError(msg)
    return frames, [
        "The CT is one multi-frame file: its slice spacing is taken from the header, frames were not checked singly."
    ]


def _read_pixels(files: list[Slice], what: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader() if len(files) > 1 else sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    if isinstance(reader, sitk.ImageSeriesReader):
        reader.SetFileNames([str(s.path) for s in files])
    else:
        reader.SetFileName(str(files[0].path))
    if len({s.rescale for s in files}) > 1:  # the first slice's type need not hold the others' values
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return reader.Execute()
    except RuntimeError as error:
        msg = (
            f"{what} could not be decoded: a file is truncated, or compressed in a way that SimpleITK does not know. "
            "Copy it again, or convert it to uncompressed DICOM (gdcmconv --raw, dcmdjpeg) and give that."
        )
        raise InputError(msg) from error


def _may_be_dicom(path: Path) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    return path.suffix.lower() in SUFFIXES or is_dicom_file(path)


def _read_header(path: Path) -> Slice | None:
    """What the header of a DICOM image says; None if the file holds none (reports, contours, indices).

    Raises:
        InputError: if the file is a broken image: left out quietly, the volume would lack a slice.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if not _holds_pixels(path):
            return None
        msg = (
            f"{path} is a DICOM image that cannot be read: truncated or corrupt. "
            "Copy it again, or take it out of the folder."
        )
        raise InputError(msg) from error
    size, spacing = reader.GetSize(), reader.GetSpacing()
    return Slice(
        path=path,
        series_uid=_text(reader, "0020|000e"),
        description=_text(reader, "0008|103e"),
        modality=_text(reader, "0008|0060"),
        instance_uid=_text(reader, "0008|0018"),
        position_mm=_numbers(reader, "0020|0032", 3),
        directions=_numbers(reader, "0020|0037", 6),
        layout=(float(size[0]), float(size[1]), spacing[1], spacing[0]),
        frames=size[2] if len(size) > 2 else 1,
        localizer="LOCALIZER" in _text(reader, "0008|0008").upper().split("\\"),
        rescale=(_text(reader, "0028|1052"), _text(reader, "0028|1053")),
    )


def _holds_pixels(path: Path) -> bool:
    """Whether a file that is no readable image was meant to be one: a CT, or anything with pixel data."""
    data = path.read_bytes()
    return CT_IMAGE_STORAGE in data[:1024] or PIXEL_DATA_TAG in data


def _text(reader: sitk.ImageFileReader, tag: str) -> str:
    if not reader.HasMetaDataKey(tag):
        return ""
    raw = reader.GetMetaData(tag).encode("utf-8", "surrogateescape")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip()


def _numbers(reader: sitk.ImageFileReader, tag: str, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(part) for part in _text(reader, tag).split("\\"))
    except ValueError:
        return None
    return values if len(values) == count else None
