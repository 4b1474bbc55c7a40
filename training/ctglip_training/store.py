"""The pool: prepared patients on disk, one file each, ready to be cropped and trained on."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ctglip_training.simulate.patient import Patient, SimulatedFinding
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Segmentation, Volume


@dataclass(frozen=True)
class PoolEntry:
    """A patient of the pool that is not loaded yet."""

    path: Path
    subject: str


def write_patient(patient: Patient, path: Path) -> None:
    """Write a patient as compressed npz: CT in whole HU, organ layers, names, findings."""
    facts = {
        "names": patient.segmentation.names,
        "source": patient.segmentation.source,
        "findings": [asdict(finding) for finding in patient.findings],
    }
    with whole_file(path) as temporary:
        np.savez_compressed(
            temporary,
            hu=np.rint(patient.volume.array).astype(np.int16),
            layers=patient.segmentation.layers.astype(np.uint8),
            affine=patient.volume.grid.affine,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        )


def read_patient(path: Path) -> Patient:
    """A patient that `write_patient` wrote.

    Raises:
        InputError: if the file is missing or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            hu, layers, affine = file["hu"], file["layers"], file["affine"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        msg = f"Expected a patient of the pool at {path}: {error}. Delete it and run `ctglip-train simulate` again."
        raise InputError(msg) from error
    grid = Grid(hu.shape, affine)
    segmentation = Segmentation(layers.astype(np.uint16), grid, tuple(facts["names"]), facts["source"])
    findings = tuple(SimulatedFinding(**finding) for finding in facts["findings"])
    return Patient(Volume(hu.astype(np.float32), grid), segmentation, findings)


def list_pool(folder: Path) -> tuple[PoolEntry, ...]:
    """Every patient of a pool, laid out as FOLDER/SUBJECT/NUMBER.npz, in a fixed order.

    Raises:
        InputError: if there is none.
    """
    entries = tuple(PoolEntry(path, path.parent.name) for path in sorted(folder.glob("*/[0-9]*.npz")))
    if not entries:
        msg = (
            f"Expected prepared patients at {folder}/SUBJECT/NUMBER.npz, found none. Run `ctglip-train simulate` first."
        )
        raise InputError(msg)
    return entries
