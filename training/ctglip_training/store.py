"""The store: prepared studies on disk, a folder each, of which a crop reads only its own chunks.

STORE/SUBJECT/STUDY/ holds `ct.b2nd` (int16 HU, shape (i, j, k)), `organs.b2nd` (uint8 or uint16, shape
(layer, i, j, k)) and `study.json` (see study_file). The arrays are packed by packed.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ctglip_training.packed import open_packed, pack, whole_folder
from ctglip_training.simulate.patient import Patient
from ctglip_training.study_file import STUDY_FILE, StoredStudy, broken_study, read_study, study_facts
from CTGLIPLib.errors import InputError
from CTGLIPLib.volume import Segmentation, Volume

CT_FILE, ORGANS_FILE = "ct.b2nd", "organs.b2nd"
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class PoolEntry:
    """A study of the store that is not loaded yet.

    Attributes:
        path: its folder.
        subject: the patient.
    """

    path: Path
    subject: str

    @cached_property
    def study(self) -> StoredStudy:
        """What is known of it without its voxels, read once.

        Raises:
            InputError: if it is broken.
        """
        return read_study(self.path)


def write_patient(patient: Patient, path: Path) -> None:
    """Write a patient to the folder `path`, STORE/SUBJECT/STUDY, whole or not at all.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    hu = np.clip(np.rint(patient.volume.array), -32768, 32767).astype(np.int16)
    layers = patient.segmentation.layers.astype(np.uint8 if len(patient.segmentation.names) < 256 else np.uint16)
    facts = study_facts(patient)
    with whole_folder(path) as temporary:
        pack(hu, temporary / CT_FILE)
        pack(layers, temporary / ORGANS_FILE)
        text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
        (temporary / STUDY_FILE).write_text(text, encoding="utf-8")


def read_patient(path: Path) -> Patient:
    """A whole patient that `write_patient` wrote.

    Raises:
        InputError: if the folder is missing or broken.
    """
    study = read_study(path)
    hu, layers = read_crop(path, study, (slice(None), slice(None), slice(None)))
    segmentation = Segmentation(layers.astype(np.uint16), study.grid, study.names, study.source, study.vocabulary)
    volume = Volume(hu.astype(np.float32), study.grid)
    return Patient(volume, segmentation, study.findings, study.text, study.origin)


def read_crop(path: Path, study: StoredStudy, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """A box of a study's voxels: HU, int16, shape (i, j, k), and organ numbers, shape (layer, i, j, k).

    Raises:
        InputError: if the folder is missing or broken.
    """
    try:
        ct, organs = open_packed(path / CT_FILE), open_packed(path / ORGANS_FILE)
        if ct.shape != study.grid.shape_ijk or organs.shape[1:] != study.grid.shape_ijk:
            raise ValueError(f"arrays {ct.shape} and {organs.shape}, not {study.grid.shape_ijk}")  # noqa: EM102, TRY301
        return np.asarray(ct[box]), np.asarray(organs[(slice(None), *box)])
    except (OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise broken_study(path, error) from error


def list_pool(folder: Path) -> tuple[PoolEntry, ...]:
    """Every study of a store, laid out as FOLDER/SUBJECT/STUDY/study.json, in a fixed order.

    Raises:
        InputError: if there is none.
    """
    studies = sorted(path.parent for path in folder.glob(f"*/*/{STUDY_FILE}") if not path.parent.name.startswith("."))
    if not studies:
        old = any(folder.glob("*/[0-9]*.npz"))
        found = "patients of an older version (.npz), which must be made again" if old else "none"
        msg = (
            f"Expected prepared studies at {folder}/SUBJECT/STUDY/{STUDY_FILE}, found {found}. "
            "Run `ctglip-train simulate` or `ctglip-train prepare` first."
        )
        raise InputError(msg)
    return tuple(PoolEntry(path, path.parent.name) for path in studies)
