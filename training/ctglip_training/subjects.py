"""The real studies that training starts from, listed in a TOML file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ctglip_training.config import tomllib
from ctglip_training.simulate.patient import Origin, Patient, SimulatedFinding
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.io import read_volume
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import read_segmentation, resample_segmentation

WORKING_SPACING_MM = 2.5


@dataclass(frozen=True)
class Subject:
    """A real CT with its organs; paths are relative to the data folder.

    Attributes:
        id: short name, which splits are made by.
        ct: path of the CT.
        segmentation: path of the label map.
        names: path of its name list, where it has one.
        vocabulary: TotalSegmentator version of the label map's ids, where it has no name list.
        licence: under which the data may be used.
        credit: whom the model card thanks.
        findings: what the real patient is known to have, so that these organs are not called normal.
    """

    id: str
    ct: str
    segmentation: str
    licence: str
    credit: str
    findings: tuple[SimulatedFinding, ...] = ()
    names: str | None = None
    vocabulary: Literal["totalsegmentator_v1", "totalsegmentator_v2"] | None = None


def read_subjects(path: Path) -> tuple[Subject, ...]:
    """The subjects of a TOML file with one [[subject]] table each.

    Raises:
        ConfigError: if the file is missing, not TOML, or a subject lacks a key.
    """
    try:
        tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["subject"]
        return tuple(_subject(table) for table in tables)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"Expected [[subject]] tables with id, ct, segmentation, licence, credit in {path}: {error}."
        raise ConfigError(msg) from error


def _subject(table: dict[str, Any]) -> Subject:
    findings = tuple(SimulatedFinding(**finding) for finding in table.get("finding", []))
    return Subject(**{key: value for key, value in table.items() if key != "finding"}, findings=findings)


def data_folder(given: Path | None) -> Path:
    """The folder of real data: the given one, or $CTGLIP_DATA.

    Raises:
        ConfigError: if neither is a folder.
    """
    folder = given or Path(os.environ.get("CTGLIP_DATA", ""))
    if not str(folder) or not folder.is_dir() or str(folder) == ".":
        msg = f"Expected a folder of CTs, got {str(folder)!r}. Give --data FOLDER or set CTGLIP_DATA."
        raise ConfigError(msg)
    return folder


def load_subject(subject: Subject, folder: Path, spacing_mm: float = WORKING_SPACING_MM) -> Patient:
    """A real patient with the findings it is known to have, on an isotropic RAS grid no finer than `spacing_mm`."""
    volume = read_volume(folder / subject.ct).volume
    names = folder / subject.names if subject.names else None
    segmentation = read_segmentation(folder / subject.segmentation, names, subject.vocabulary).segmentation
    spacing = max(spacing_mm, min(volume.grid.spacing_mm))
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing)
    origin = Origin(dataset="simulated", licence=subject.licence, credit=subject.credit)
    organs = resample_segmentation(segmentation, grid)
    return Patient(resample_volume(volume, grid), organs, subject.findings, origin=origin)
