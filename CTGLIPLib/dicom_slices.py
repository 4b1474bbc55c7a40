"""Whether the slices of a DICOM series form one straight, evenly spaced volume.

Positions and directions here are DICOM's own (LPS mm); they are compared with each other only, never handed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import GeometryError, InputError

SPACING_TOLERANCE = 0.01
ROUNDING_MM = 0.02
"""Positions are often written with two decimals."""
SIDEWAYS_TOLERANCE_DEGREES = 0.1
SIDEWAYS_ROUNDING_MM = 0.1
MOST_STRAY_IMAGES = 3


@dataclass(frozen=True)
class Slice:
    """One DICOM image file.

    Attributes:
        path: the file.
        series_uid: its series; may be empty in anonymised files.
        description: the series' free-text description.
        modality: "CT", "MR", ...
        instance_uid: its own UID; may be empty in anonymised files.
        position_mm: where its first voxel lies (LPS), None where the file does not say.
        directions: unit vectors of its rows and columns (LPS), six numbers, None where the file does not say.
        layout: columns, rows, and the two pixel spacings in mm.
        frames: number of frames in the file; more than 1 in an enhanced CT.
        localizer: whether it is a scout image.
        rescale: intercept and slope, as written; empty where missing.
    """

    path: Path
    series_uid: str
    description: str
    modality: str
    instance_uid: str
    position_mm: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    layout: tuple[float, ...]
    frames: int
    localizer: bool
    rescale: tuple[str, str]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice (LPS), shape (3,)."""
        directions = np.array(self.directions, dtype=np.float64)
        normal = np.cross(directions[:3], directions[3:])
        return normal / np.linalg.norm(normal)


def ordered_slices(slices: Sequence[Slice], what: str) -> tuple[list[Slice], list[str]]:
    """The slices of one straight, even volume in the order of their positions, and warnings on what was left out.

    Args:
        slices: single-frame images of one series.
        what: the series, for messages.

    Raises:
        InputError: if slices are missing, double, of mixed kinds, or do not say where they lie.
        GeometryError: if the slices are tilted or unevenly spaced.
    """
    kept, warnings = _without_copies(slices)
    kept, notes = _of_one_kind(kept, what)
    warnings += notes
    if len(kept) < 2:
        msg = f"{what} must have at least two slices to be a volume, got {len(kept)}. Give the whole series."
        raise InputError(msg)
    positions = np.array([s.position_mm for s in kept])
    along = positions @ kept[0].normal
    order = np.argsort(along, kind="stable")
    _require_even(along[order], what)
    _require_straight(positions[order], kept[0].normal, what)
    return [kept[i] for i in order], warnings


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    seen: set[str] = set()
    kept = []
    for image in slices:
        if image.instance_uid and image.instance_uid in seen:
            continue
        seen.add(image.instance_uid)
        kept.append(image)
    copies = len(slices) - len(kept)
    return kept, [f"{copies} files are copies of other files in the series and were left out."] if copies else []


def _of_one_kind(slices: Sequence[Slice], what: str) -> tuple[list[Slice], list[str]]:
    """The slices that share size, pixel spacing and orientation; scouts and few stray images are left out."""
    images = [s for s in slices if not s.localizer]
    skipped = len(slices) - len(images)
    warnings = [f"{skipped} localizer images (scouts) in the series were left out."] if skipped else []
    unplaced = sum(s.position_mm is None or s.directions is None for s in images)
    if unplaced:
        msg = (
            f"{what} has {unplaced} images that do not say where they lie (Image Position, Image "
            "Orientation). Export the original series."
        )
        raise InputError(msg)
    groups: list[list[Slice]] = []
    for image in images:
        group = next((g for g in groups if _same_kind(g[0], image)), None)
        if group is None:
            groups.append([image])
        else:
            group.append(image)
    if len(groups) <= 1:
        return images, warnings
    largest, *others = sorted(groups, key=len, reverse=True)
    stray = sum(map(len, others))
    if stray > MOST_STRAY_IMAGES or stray * 4 > len(largest):
        counts = ", ".join(str(len(group)) for group in (largest, *others))
        msg = (
            f"{what} must be one volume, got groups of {counts} images that differ in size or orientation. "
            "Export each as its own series."
        )
        raise InputError(msg)
    return largest, [*warnings, f"{stray} images of another size or orientation in the series were left out."]


def _same_kind(a: Slice, b: Slice) -> bool:
    return bool(
        np.allclose(a.layout, b.layout, rtol=0, atol=1e-3)
        and np.allclose(a.directions or (), b.directions or (), rtol=0, atol=1e-3)
    )


def _require_even(along_mm: np.ndarray, what: str) -> None:
    gaps = np.diff(along_mm)
    median = float(np.median(gaps))
    doubles = int(np.count_nonzero(gaps < max(0.1 * median, 1e-3)))
    if doubles:
        msg = (
            f"{what} has {doubles} slices at a position that another slice has already: perhaps two phases or "
            "reconstructions in one series. Export each as its own series."
        )
        raise InputError(msg)
    tolerance = max(SPACING_TOLERANCE * median, ROUNDING_MM)
    wrong = np.flatnonzero(np.abs(gaps - median) > tolerance)
    if not wrong.size:
        return
    multiples = gaps[wrong] / median
    if (np.abs(multiples - np.rint(multiples)) * median <= tolerance * np.rint(multiples)).all():
        missing = int(np.rint(multiples).sum()) - wrong.size
        msg = (
            f"{what} lacks {missing} of its slices: the gap after slice {wrong[0] + 1} is {gaps[wrong[0]]:.2f} mm "
            f"where {median:.2f} mm is usual. Copy or export the whole series again."
        )
        raise InputError(msg)
    msg = (
        f"{what} must have even slice spacing, got {gaps.min():.3f} to {gaps.max():.3f} mm (median {median:.3f}). "
        "Take a reconstruction with even spacing, or resample it to even spacing first."
    )
    raise GeometryError(msg)


def _require_straight(positions_mm: np.ndarray, normal: np.ndarray, what: str) -> None:
    steps = positions_mm - positions_mm[0]
    forward = steps @ normal
    sideways = np.linalg.norm(steps - forward[:, None] * normal, axis=1)
    limit = max(SIDEWAYS_ROUNDING_MM, float(np.tan(np.deg2rad(SIDEWAYS_TOLERANCE_DEGREES))) * float(forward[-1]))
    if sideways.max() <= limit:
        return
    worst = int(sideways.argmax())
    angle = float(np.rad2deg(np.arctan2(sideways[worst], forward[worst])))
    msg = (
        f"{what} must be stacked straight, got slices shifted sideways by up to {sideways.max():.1f} mm "
        f"({angle:.1f} degrees): gantry tilt, or a moved field of view. "
        "Correct the tilt first (dcm2niix does), then give the corrected volume."
    )
    raise GeometryError(msg)
