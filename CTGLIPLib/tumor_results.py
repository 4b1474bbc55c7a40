"""What a tumour model found in a scan, as values; needs no torch.

Positions are RAS mm, volumes millilitres on the CT's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from CTGLIPLib.results import ModelInfo, StudyInfo


@dataclass(frozen=True)
class TumorRow:
    """One tumour class.

    Attributes:
        name: the class.
        detected: whether its volume reaches the model's threshold.
        volume_ml: of all its voxels.
        components: number of separate pieces (voxels that touch, corners included, are one).
        largest_ml: volume of the largest piece.
        centre_ras_mm: the largest piece's voxel nearest to its centre of mass; None where there is no voxel.
        organ: the given organ with most voxels in or within 3 mm of the largest piece; None where there is none.
    """

    name: str
    detected: bool
    volume_ml: float
    components: int = 0
    largest_ml: float = 0.0
    centre_ras_mm: tuple[float, float, float] | None = None
    organ: str | None = None


@dataclass(frozen=True)
class OrganRow:
    """A class of the model that is no tumour, and its volume."""

    name: str
    volume_ml: float


@dataclass(frozen=True)
class TumorResult:
    """Everything that a tumour model tells of one scan.

    Attributes:
        detected: whether any tumour was.
        detection_ml: the model's threshold.
        tumors: a row for each tumour class, found or not.
        organs: a row for each other class.
        organs_source: where the organs came from in which tumours were sought; None where none were given.
    """

    study: StudyInfo
    model: ModelInfo
    detected: bool
    detection_ml: float
    tumors: tuple[TumorRow, ...]
    organs: tuple[OrganRow, ...]
    organs_source: str | None = None


def found_names(tumors: Sequence[TumorRow]) -> tuple[str, ...]:
    """Names of the tumours that were detected, largest first."""
    return tuple(row.name for row in sorted(tumors, key=lambda row: -row.volume_ml) if row.detected)


def verdict(result: TumorResult) -> str:
    """The result in a few words, such as "cancer detected (3.2 ml)"."""
    volumes = {row.name: row.volume_ml for row in result.tumors}
    if names := found_names(result.tumors):
        return ", ".join(f"{name} detected ({volumes[name]:.1f} ml)" for name in names)
    return f"no tumour of {result.detection_ml:g} ml or more"
