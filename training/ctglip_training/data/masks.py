"""A study's organ masks: their names, and where the organs lie.

Names decide which organ a mask is; a manifest says how they are given (`Study.mask_names`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from ctglip_training.data.layout import visible_files
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.study import Study
from CTGLIPLib.errors import InputError, LabelError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import read_array
from CTGLIPLib.label_names import image_stem, names_beside, read_names
from CTGLIPLib.label_values import used_ids, whole_labels
from CTGLIPLib.nifti_names import names_in_nifti
from CTGLIPLib.organs import find_organ, organs_in_group
from CTGLIPLib.segmentation_io import LoadedSegmentation, read_segmentation
from CTGLIPLib.segmentation_names import VERSION_NAMES, Vocabulary, vocabulary_name

FINDING_WORDS = re.compile(
    r"\b(cancers?|tumou?rs?|carcinomas?|lesions?|cysts?|nodules?|mass|masses|metastas[ei]s|hemorrhages?|edema|stones?|"
    r"infections?|findings?|primaries|ignore)\b"
)
"""Labels of findings, not of organs, in tumour data sets."""


def read_study_masks(manifest: Manifest, study: Study) -> LoadedSegmentation:
    """The organs of a study.

    Raises:
        InputError: if the study has no masks, or a file is missing or broken.
        GeometryError: if the masks' grid cannot be used.
        LabelError: if organs have no names, or there are none.
    """
    path = masks_path(manifest, study)
    if study.mask_names in VERSION_NAMES:
        return read_segmentation(path, vocabulary=cast("Vocabulary", study.mask_names))
    return read_segmentation(path, given_names(study))


def masks_path(manifest: Manifest, study: Study) -> Path:
    """Where the masks are.

    Raises:
        InputError: if the manifest names none, or they are not there.
    """
    if not study.masks:
        msg = f"{study.id} has no masks. Make them with `ctglip-train masks`."
        raise InputError(msg)
    path = manifest.path(study.masks)
    if not path.exists() or (path.is_dir() and not visible_files(path)):
        msg = f"There are no masks at {path}. Download them, or make them with `ctglip-train masks`."
        raise InputError(msg)
    return path


def given_names(study: Study) -> dict[int, str] | None:
    """The names of the ids that the manifest gives; None where files or headers name them.

    Raises:
        InputError: if the manifest's cell is neither.
    """
    if study.mask_names in {"", "files", "header"}:
        return None
    try:
        return {int(key): str(name) for key, name in json.loads(study.mask_names).items()}
    except (ValueError, AttributeError) as error:
        msg = f"{study.id}: mask_names must be files, header, a TotalSegmentator version or JSON: {error}."
        raise InputError(msg) from error


def names_of_masks(manifest: Manifest, study: Study) -> tuple[str, ...]:
    """The names that the masks may have, as the data set writes them, without reading voxels.

    Raises:
        InputError: if the masks are missing.
        LabelError: if a list of names is broken, or given for a folder.
    """
    path = masks_path(manifest, study)
    if path.is_dir():
        if study.mask_names not in VERSION_NAMES and given_names(study) is not None:
            msg = f'A folder of masks names organs by its files; {study.id} needs mask_names "files", got a list.'
            raise LabelError(msg)
        return tuple(image_stem(file) for file in visible_files(path))
    return tuple(_names_by_id(study, path).values())


def unmatched(names: Collection[str]) -> tuple[str, ...]:
    """The names that match no organ of the vocabulary, and are no finding either."""
    return tuple(name for name in names if not _is_known(name))


def matched_organs(names: Collection[str]) -> tuple[str, ...]:
    """The names that match an organ or a group of them."""
    return tuple(name for name in names if find_organ(name) or organs_in_group(name))


def organ_centres(manifest: Manifest, study: Study, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], Grid]:
    """The middle of each wanted organ that has voxels, in RAS mm, and the masks' grid.

    Args:
        manifest: the manifest.
        study: the study.
        wanted: vocabulary names; others are not read.

    Raises:
        InputError: if masks are missing or broken.
        GeometryError: if a grid cannot be used.
        LabelError: if values are no labels.
    """
    path = masks_path(manifest, study)
    if not path.is_dir():
        array, grid, _ = read_array(path)
        labels = whole_labels(array, path.name)
        names = _names_by_id(study, path)
        ids = {number: vocabulary_name(names.get(number, "")) for number in used_ids(labels)}
        return {ids[number]: _centre(labels == number, grid) for number in ids if ids[number] in wanted}, grid
    files = visible_files(path)
    centres: dict[str, np.ndarray] = {}
    grid = None
    for file in files:
        name = vocabulary_name(image_stem(file))
        if name in wanted or (grid is None and file == files[-1]):
            array, grid, _ = read_array(file)
            mask = array > 0
            if mask.any() and name in wanted:
                centres[name] = _centre(mask, grid)
    assert grid is not None  # masks_path found a file
    return centres, grid


def masks_are_empty(manifest: Manifest, study: Study) -> bool:
    """Whether no organ has a voxel.

    Raises:
        InputError: if masks are missing or broken.
        GeometryError: if a grid cannot be used.
    """
    path = masks_path(manifest, study)
    return not any(read_array(file)[0].any() for file in (visible_files(path) if path.is_dir() else [path]))


def _names_by_id(study: Study, path: Path) -> Mapping[int, str]:
    if study.mask_names in VERSION_NAMES:
        return VERSION_NAMES[cast("Vocabulary", study.mask_names)]
    given = given_names(study)
    if given is not None:
        return given
    beside = names_beside(path)
    return names_in_nifti(path) or (read_names(beside) if beside else {})


def _is_known(name: str) -> bool:
    words = name.lower().replace("_", " ")
    return bool(find_organ(name) or organs_in_group(name) or FINDING_WORDS.search(words))


def _centre(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """The mean position of a mask's voxels in RAS mm, from the sums along each axis."""
    middle = []
    for axis in range(3):
        along = mask.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.int64)
        middle.append(float((along * np.arange(len(along))).sum() / along.sum()))
    return grid.to_ras(np.array(middle))
