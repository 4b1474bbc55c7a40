"""The pool: prepared patients on disk, one file each, ready to be cropped and trained on."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ctglip_training.config import TrainConfig
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from CTGLIPLib.errors import ConfigError, InputError
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
        "vocabulary": patient.segmentation.vocabulary,
        "findings": [asdict(finding) for finding in patient.findings],
    }
    small = np.uint8 if len(patient.segmentation.names) < 256 else np.uint16
    with whole_file(path) as temporary:
        np.savez_compressed(
            temporary,
            hu=np.rint(patient.volume.array).astype(np.int16),
            layers=patient.segmentation.layers.astype(small),
            affine=patient.volume.grid.affine,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        )


def read_patient(path: Path) -> Patient:
    """A patient that `write_patient` wrote.

    Raises:
        InputError: if the file is missing or broken.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            hu, layers, affine = file["hu"], file["layers"], file["affine"]
        findings = tuple(SimulatedFinding(**finding) for finding in facts["findings"])
        names, source, vocabulary = tuple(facts["names"]), facts["source"], facts.get("vocabulary", "names")
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"Expected a patient of the pool at {path}: {error}. Delete it and run `ctglip-train simulate` again."
        raise InputError(msg) from error
    grid = Grid(hu.shape, affine)
    segmentation = Segmentation(layers.astype(np.uint16), grid, names, source, vocabulary)
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


def training_entries(config: TrainConfig) -> list[PoolEntry]:
    """The patients that a run may train on.

    Raises:
        InputError: if the pool has no patient.
        ConfigError: if a held-out subject is not in the pool (a typing error would train on the test subject), no
            subject is left, or the pool was made at another spacing.
    """
    pool = list_pool(Path(config.data.pool))
    subjects = {entry.subject for entry in pool}
    unknown = sorted(set(config.data.hold_out) - subjects)
    if unknown:
        msg = f"The pool has no subject {', '.join(unknown)} to hold out; it has {', '.join(sorted(subjects))}."
        raise ConfigError(msg)
    entries = [entry for entry in pool if entry.subject not in config.data.hold_out]
    if not entries:
        msg = f"All subjects of the pool are held out ({', '.join(sorted(subjects))}); leave one or more to train on."
        raise ConfigError(msg)
    spacing_mm = read_patient(entries[0].path).volume.grid.spacing_mm
    if not np.allclose(spacing_mm, config.preprocess.spacing_mm, rtol=1e-3):
        made = ", ".join(f"{edge:.3g}" for edge in spacing_mm)
        msg = (
            f"The pool's voxels are {made} mm, but the configuration says {config.preprocess.spacing_mm:g} mm. "
            f"Make the pool anew with `ctglip-train simulate --spacing {config.preprocess.spacing_mm:g}`."
        )
        raise ConfigError(msg)
    return entries
