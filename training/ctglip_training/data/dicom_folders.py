"""Folders of DICOM files: a row for each CT series, one folder or many.

Convention: who a series belongs to is told by a hash of the patient's number, which itself is neither kept nor logged
(test_layout_dicom: `the manifest does not hold the patient's number`). Where files name no patient, the first folder
below the root is taken for one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import SimpleITK as sitk

from ctglip_training.data.layout import Fit, Layout, Reading, fit, is_image, relative, require_studies, walk
from ctglip_training.data.study import Study
from CTGLIPLib.dicom import SUFFIXES, Series, is_dicom_file, list_series
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "PATIENT/STUDY/SERIES/0001.dcm"
PATIENT_ID = "0010|0020"


def recognise(root: Path) -> Fit:
    """Any DICOM file below the root."""
    return fit([(f"DICOM files such as {EXAMPLE}", True)]) if _folders(root, first_only=True) else Fit()


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """The CT series of two slices or more; scouts and other modalities are left out, with a note.

    Raises:
        InputError: if a DICOM image is broken, or there is no CT series.
    """
    folders = _folders(root)
    studies: list[Study] = []
    left_out = 0
    for done, folder in enumerate(folders):
        report(progress, "reading DICOM headers", done, len(folders))
        series = list_series(folder, recursive=False)
        volumes = [item for item in series if item.is_ct_volume]
        left_out += len(series) - len(volumes)
        studies += [_study(item, folder, root, len(volumes) > 1) for item in volumes]
    notes = (f"{left_out:,} series (no CT, or a single image) were left out.",) if left_out else ()
    return Reading(require_studies(studies, root, "DICOM folders", EXAMPLE), notes)


def _study(series: Series, folder: Path, root: Path, several: bool) -> Study:
    place = relative(folder, root)
    name = root.name if place == "." else place.replace("/", "_")
    return Study(
        id=f"{name}_{series.number}" if several else name,
        patient=_patient(series, place),
        volume=place,
        layout="dicom",
        series=series.uid or str(series.number),
    )


def _patient(series: Series, place: str) -> str:
    """A hash of the patient's number, or the first folder where the files have none."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(series.slices[0].path))
    reader.ReadImageInformation()
    number = reader.GetMetaData(PATIENT_ID).strip() if reader.HasMetaDataKey(PATIENT_ID) else ""
    if number:
        return "p" + hashlib.sha256(number.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return place.split("/", maxsplit=1)[0]


def _folders(root: Path, first_only: bool = False) -> list[Path]:
    """The folders that hold DICOM files themselves."""
    found: list[Path] = []
    for folder, files in walk(root):
        candidates = [name for name in files if not is_image(name)]
        if any(_is_dicom(folder / name) for name in candidates):
            found.append(folder)
            if first_only:
                break
    return found


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or (path.is_file() and is_dicom_file(path))


LAYOUT = Layout("dicom", "DICOM folders", EXAMPLE, recognise, read)
