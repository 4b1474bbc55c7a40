"""A study's CT as its data set means it: read from the stored file, corrected, on its true grid.

Conventions:
- stored array axes are (i, j, k); corrections are applied here and nowhere else
  (test_layout_ct_rate: `an unfixed volume becomes the fixed one`);
- a header alone is read where it suffices: a check of many thousand volumes then takes minutes.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ctglip_training.data.layout import NIFTI_ENDINGS, is_image
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.study import Corrections, Study, triple
from CTGLIPLib.checks import check_hu, require_right_angles
from CTGLIPLib.dicom import list_series
from CTGLIPLib.dicom_slices import ordered_slices
from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import read_array, read_volume
from CTGLIPLib.nifti import read_nifti_grid, read_nifti_shape, read_nifti_voxels
from CTGLIPLib.volume import Volume

NPZ_KEY = "ct"


def read_study_volume(manifest: Manifest, study: Study) -> Volume:
    """The CT of a study in HU on its true grid.

    Raises:
        InputError: if the file is missing, broken, or not a CT in HU after its corrections.
        GeometryError: if its grid cannot be used.
    """
    volume = load_study_volume(manifest, study)
    try:
        check_hu(volume)
    except InputError as error:
        msg = f"{manifest.path(study.volume)}: {error}"
        raise InputError(msg) from error
    return volume


def load_study_volume(manifest: Manifest, study: Study) -> Volume:
    """As `read_study_volume`, for a caller that checks the intensities itself; a DICOM folder's are checked here.

    Raises:
        InputError: if the file is missing or broken.
        GeometryError: if its grid cannot be used.
    """
    path = manifest.path(study.volume)
    stored, header = _read_stored(path, study)
    shape = (int(stored.shape[0]), int(stored.shape[1]), int(stored.shape[2]))
    grid = study.corrections.grid(shape, header)
    require_right_angles(grid, str(path))
    return Volume(study.corrections.values_in_hu(stored), grid)


def read_study_grid(manifest: Manifest, study: Study) -> Grid | None:
    """The true grid of a study from the file's header alone; None for files that have to be read whole.

    Raises:
        InputError: if the file is missing or its header broken.
        GeometryError: if its grid cannot be used.
    """
    path = manifest.path(study.volume)
    _require_there(path)
    if path.is_dir():
        return _series_grid(path, study)
    if not is_image(path.name, NIFTI_ENDINGS):
        return None
    stored = None if study.corrections.replaces_grid else read_nifti_grid(path)
    shape = read_nifti_shape(path) if stored is None else stored.shape_ijk
    grid = study.corrections.grid(shape, stored)
    require_right_angles(grid, str(path))
    return grid


def _series_grid(folder: Path, study: Study) -> Grid | None:
    """The grid of a DICOM series from its slices' headers; None where it is one multi-frame file."""
    found = [s for s in list_series(folder) if study.series in {"", s.uid, str(s.number)} and s.is_ct_volume]
    if len(found) != 1 or any(image.frames > 1 for image in found[0].slices):
        return None
    slices, _ = ordered_slices(found[0].slices, f"DICOM series {found[0].number} of {folder}")
    first, spacing = slices[0], found[0].spacing_mm
    if spacing is None or first.position_mm is None:
        return None
    header = Corrections(1.0, 0.0, spacing, triple(first.position_mm), first.directions)
    return header.grid((int(first.layout[0]), int(first.layout[1]), len(slices)), None)


def _read_stored(path: Path, study: Study) -> tuple[np.ndarray, Grid | None]:
    """The stored array, and the grid of the file's header if it has one."""
    _require_there(path)
    if path.suffix.lower() == ".npz":
        return _read_npz(path), None
    if study.layout == "dicom" or path.is_dir():
        volume = read_volume(path, study.series or None).volume
        return volume.array, volume.grid
    if study.corrections.replaces_grid and is_image(path.name, NIFTI_ENDINGS):
        return read_nifti_voxels(path), None
    array, grid, _ = read_array(path)
    return array, grid


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            array = file[NPZ_KEY]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"Expected a volume named {NPZ_KEY!r} in {path}: {error}. Download it again."
        raise InputError(msg) from error
    if array.ndim != 3:
        msg = f"{path} must hold a 3-D volume, got shape {array.shape}. Download it again."
        raise GeometryError(msg)
    return array


def _require_there(path: Path) -> None:
    if not path.exists():
        msg = f"There is no {path}. Download it, or say with --root where the data lies."
        raise InputError(msg)
