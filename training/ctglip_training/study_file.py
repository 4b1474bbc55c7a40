"""A stored study without its voxels: `study.json`, from which a crop is drawn before any voxel is read.

Conventions: affine and centroids in RAS mm; a box is the first and the last-but-one voxel index along i, j, k, null for
an organ without voxels. Guarded by training/tests/test_store.py: measures that are read equal measures that are taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ctglip_training.simulate.patient import Origin, Patient, SimulatedFinding, findings_text
from ctglip_training.statements import Statement, StudyText
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.geometry import Grid
from CTGLIPLib.organ_geometry import BODY_HU, OrganGeometry, body_centre_ras_mm, measure_organs
from CTGLIPLib.volume import Segmentation

STUDY_FILE = "study.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class StoredStudy:
    """What `study.json` says.

    Attributes:
        grid: of the CT and the organs.
        names: the organs, in the order of their numbers.
        source: as the segmentation's.
        vocabulary: as the segmentation's.
        geometry: measures of the organs.
        body: measures of all that is denser than -300 HU, as of one organ.
        body_centre_ras_mm: middle of the body (R, A), shape (2,).
        findings: those that were simulated.
        text: what a real report says; None where the findings are all that there is.
        said: what is said of the patient: the real report, or what the findings say.
        origin: where the data come from.
    """

    grid: Grid
    names: tuple[str, ...]
    source: str
    vocabulary: str
    geometry: OrganGeometry
    body: OrganGeometry
    body_centre_ras_mm: np.ndarray
    findings: tuple[SimulatedFinding, ...]
    text: StudyText | None
    said: StudyText
    origin: Origin


def study_facts(patient: Patient) -> dict[str, Any]:
    """The content of a patient's `study.json`."""
    volume, organs = patient.volume, patient.segmentation
    body = Segmentation((volume.array > BODY_HU)[None].astype(np.uint16), volume.grid, ("body",))
    return {
        "schema_version": SCHEMA_VERSION,
        "origin": asdict(patient.origin),
        "shape_ijk": list(volume.grid.shape_ijk),
        "affine": volume.grid.affine.tolist(),
        "body_centre_ras_mm": body_centre_ras_mm(volume).tolist(),
        "body": _measures(body),
        "source": organs.source,
        "vocabulary": organs.vocabulary,
        "organs": _measures(organs),
        "findings": [asdict(finding) for finding in patient.findings],
        "text": None if patient.text is None else asdict(patient.text),
    }


def read_study(folder: Path) -> StoredStudy:
    """The study of a folder.

    Raises:
        InputError: if its `study.json` is missing or broken.
    """
    path = folder / STUDY_FILE
    try:
        facts: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema {facts['schema_version']}, not {SCHEMA_VERSION}")  # noqa: EM102, TRY301 - told below
        shape = facts["shape_ijk"]
        findings, text = tuple(SimulatedFinding(**one) for one in facts["findings"]), _text(facts["text"])
        grid = Grid((shape[0], shape[1], shape[2]), np.array(facts["affine"]))
        return StoredStudy(
            grid=grid,
            names=tuple(facts["organs"]["name"]),
            source=facts["source"],
            vocabulary=facts["vocabulary"],
            geometry=_geometry(facts["organs"], grid),
            body=_geometry(facts["body"], grid),
            body_centre_ras_mm=np.array(facts["body_centre_ras_mm"], dtype=np.float64),
            findings=findings,
            text=text,
            said=findings_text(findings) if text is None else text,
            origin=Origin(**{**facts["origin"], "notes": tuple(facts["origin"]["notes"])}),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise broken_study(folder, error) from error


def rewrite_text(folder: Path, text: StudyText | None, origin: Origin) -> None:
    """Replace what is said of a stored study and where it comes from; its voxels are not touched.

    Raises:
        InputError: if its `study.json` is missing or broken.
        OutputError: if it cannot be written.
    """
    path = folder / STUDY_FILE
    try:
        facts = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise broken_study(folder, error) from error
    facts |= {"text": None if text is None else asdict(text), "origin": asdict(origin)}
    write_whole_text(path, json.dumps(facts, ensure_ascii=False, allow_nan=False))


def broken_study(folder: Path, error: Exception) -> InputError:
    """The error that names a study that cannot be read."""
    msg = (
        f"Expected a stored study at {folder}: {error}. "
        "Delete it and run `ctglip-train simulate` or `ctglip-train prepare` again."
    )
    return InputError(msg)


def _measures(organs: Segmentation) -> dict[str, list[Any]]:
    """Name, voxels, centroid and box of every organ, by columns."""
    measured = measure_organs(organs)
    boxes: list[Any] = [None] * len(organs.names)
    for layer in organs.layers:
        for number, box in enumerate(ndimage.find_objects(layer.astype(np.int32), max_label=len(organs.names))):
            if box is not None:
                boxes[number] = [[s.start, s.stop] for s in box]
    return {
        "name": list(organs.names),
        "voxels": measured.voxels.tolist(),
        "centroid_ras_mm": [
            c if box else None for c, box in zip(measured.centroid_ras_mm.tolist(), boxes, strict=True)
        ],
        "box_ijk": boxes,
    }


def _geometry(organs: Mapping[str, list[Any]], grid: Grid) -> OrganGeometry:
    """The measures as `measure_organs` gives them; extent and touched borders follow from the boxes."""
    voxels = np.array(organs["voxels"], dtype=np.int64)
    there = np.array([box is not None for box in organs["box_ijk"]], dtype=bool)
    centroid = np.array([place or [np.nan] * 3 for place in organs["centroid_ras_mm"]], dtype=np.float64).reshape(-1, 3)
    box = np.array([box or [[0, 0]] * 3 for box in organs["box_ijk"]], dtype=np.int64).reshape(-1, 3, 2)
    extent = (box[:, :, 1] - box[:, :, 0]) @ np.abs(grid.affine[:3, :3]).T
    touches = np.zeros((len(voxels), 6), dtype=bool)
    touches[:, 0::2] = there[:, None] & (box[:, :, 0] == 0)
    touches[:, 1::2] = there[:, None] & (box[:, :, 1] == np.array(grid.shape_ijk))
    return OrganGeometry(voxels, voxels * grid.voxel_volume_ml, centroid, extent, touches)


def _text(facts: Mapping[str, Any] | None) -> StudyText | None:
    if facts is None:
        return None
    statements = tuple(Statement(**statement) for statement in facts["statements"])
    return StudyText(statements, facts["report"], facts["exhaustive"])
