"""What is wrong with one study: its file, spacing, orientation, intensities and masks.

Spacing is compared with the data set's own table where it has one, and with what a body can measure. Orientation is
judged by the organs, where there are masks: the liver lies right of the spleen, the heart above the bladder, the
vertebrae behind the aorta (test_data_check: `a mirrored volume is found by its organs`). Which studies resemble each
other is the business of `check_manifest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from ctglip_training.data.manifest import Manifest
from ctglip_training.data.masks import masks_are_empty, matched_organs, names_of_masks, organ_centres, unmatched
from ctglip_training.data.study import Study
from ctglip_training.data.volumes import load_study_volume, read_study_grid
from CTGLIPLib.checks import check_grid, check_hu
from CTGLIPLib.errors import CTGLIPError, GeometryError
from CTGLIPLib.geometry import Grid, overlap_fraction
from CTGLIPLib.volume import Volume

Severity = Literal["error", "warning"]
Value = TypeVar("Value")
SPACING_TOLERANCE = 0.02
FINEST_MM, COARSEST_MM = 0.2, 12.0
SMALLEST_EXTENT_MM, LARGEST_ACROSS_MM, LARGEST_ALONG_MM = 40.0, 1000.0, 2300.0
"""No part of a body that is scanned in slices is smaller, no field of view wider, no patient longer."""
SMALLEST_OVERLAP = 0.5
HASHED_VOXELS = 1_000_000
PLACES = (
    ("liver", "spleen", 0, "right of"),
    ("kidney_right", "kidney_left", 0, "right of"),
    ("adrenal_gland_right", "adrenal_gland_left", 0, "right of"),
    ("hip_right", "hip_left", 0, "right of"),
    ("lung_lower_lobe_right", "lung_lower_lobe_left", 0, "right of"),
    ("heart", "liver", 2, "above"),
    ("liver", "urinary_bladder", 2, "above"),
    ("kidney_left", "urinary_bladder", 2, "above"),
    ("lung_upper_lobe_right", "liver", 2, "above"),
    ("lung_upper_lobe_left", "lung_lower_lobe_left", 2, "above"),
    ("aorta", "autochthon_left", 1, "in front of"),
    ("liver", "autochthon_right", 1, "in front of"),
    ("urinary_bladder", "sacrum", 1, "in front of"),
    ("heart", "autochthon_left", 1, "in front of"),
)
"""(organ, organ, RAS axis, in words): the first has the larger coordinate in every body but one of situs inversus."""
PLACED_ORGANS = frozenset(name for first, second, _, _ in PLACES for name in (first, second))
DIRECTIONS = ("left and right", "front and back", "head and feet")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        study: the study's id; empty where it is about the whole manifest.
        kind: "file", "spacing", "orientation", "hu", "masks", "mask names", "report", "duplicate", "split".
        severity: an error makes the check fail, a warning does not.
        message: why, and what to do.
    """

    study: str
    kind: str
    severity: Severity
    message: str


@dataclass(frozen=True)
class Examined:
    """What was found of one study, and the hash of its voxels ("" where they were not read)."""

    problems: tuple[Problem, ...]
    content: str = ""


def examine(manifest: Manifest, study: Study, header_only: bool = False) -> Examined:
    """What is wrong with a study: its header first, then, unless `header_only`, its voxels and masks."""
    found = _Findings(study.id)
    content = ""
    grid = found.attempt("file", lambda: read_study_grid(manifest, study))
    if not found.problems and not header_only:
        volume = found.attempt("file", lambda: load_study_volume(manifest, study))
        if volume is not None:
            grid = volume.grid
            found.attempt("hu", lambda: found.warn("hu", *check_hu(volume)))
            content = content_hash(volume)
    if grid is not None:
        _examine_grid(grid, study, found)
    if study.masks:
        _examine_masks(manifest, study, grid, header_only, found)
    if study.report_file and not manifest.path(study.report_file).is_file():
        found.fail("report", f"There is no report at {study.report_file}. Download it, or take it out of the manifest.")
    return Examined(tuple(found.problems), content)


def content_hash(volume: Volume) -> str:
    """A hash of up to a million voxels in whole HU, in stored order: the same for a copy in another format."""
    step = int(np.ceil(max(1.0, volume.array.size / HASHED_VOXELS) ** (1 / 3)))
    sample = np.nan_to_num(np.asarray(volume.array[::step, ::step, ::step], dtype=np.float32), posinf=0, neginf=0)
    digest = hashlib.sha256(repr(volume.grid.shape_ijk).encode())
    digest.update(np.ascontiguousarray(np.rint(sample)).astype("<i4").tobytes())
    return digest.hexdigest()


class _Findings:
    """The problems of one study while they are gathered."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.problems: list[Problem] = []

    def fail(self, kind: str, message: str) -> None:
        self.problems.append(Problem(self.study, kind, "error", message))

    def warn(self, kind: str, *messages: str) -> None:
        self.problems += [Problem(self.study, kind, "warning", message) for message in messages]

    def attempt(self, kind: str, work: Callable[[], Value]) -> Value | None:
        """What `work` returns; None, and a problem, if it raises an error of ours."""
        try:
            return work()
        except GeometryError as error:
            self.fail("orientation" if kind == "file" else kind, str(error))
        except CTGLIPError as error:
            self.fail(kind, str(error))
        except MemoryError:
            self.fail(kind, "Too large for this machine's memory. Is its header corrupt?")
        return None


def _examine_grid(grid: Grid, study: Study, found: _Findings) -> None:
    expected = study.expected_spacing_mm
    shown = " x ".join(f"{edge:.3g}" for edge in grid.spacing_mm)
    if expected and not np.allclose(sorted(grid.spacing_mm), sorted(expected), rtol=SPACING_TOLERANCE):
        wanted = " x ".join(f"{edge:.3g}" for edge in expected)
        found.fail("spacing", f"Voxels are {shown} mm, but the data set's table says {wanted} mm. Download it again.")
    if min(grid.spacing_mm) < FINEST_MM or max(grid.spacing_mm) > COARSEST_MM:
        found.fail("spacing", f"Voxels of {shown} mm are no CT's. Mend the header, or correct it in the manifest.")
    low, high = grid.box_ras_mm()
    extent = high - low
    if extent.min() < SMALLEST_EXTENT_MM or extent[:2].max() > LARGEST_ACROSS_MM or extent[2] > LARGEST_ALONG_MM:
        size = " x ".join(f"{edge:.0f}" for edge in extent)
        found.fail("spacing", f"The scan would measure {size} mm ({shown} mm voxels), which no body does.")
    elif _never_set(grid):
        found.fail("spacing", f"Voxels are exactly {shown} mm in a matrix of 512: was the header ever filled in?")
    found.warn("spacing", *check_grid(grid))


def _never_set(grid: Grid) -> bool:
    """Whether spacing and axes are a header's default on a full matrix, as in CT-RATE's unfixed volumes."""
    is_default = np.allclose(np.abs(grid.affine[:3, :3]), np.eye(3), atol=1e-6)
    return bool(is_default and sorted(grid.shape_ijk)[1:] >= [512, 512])


def _examine_masks(manifest: Manifest, study: Study, grid: Grid | None, header_only: bool, found: _Findings) -> None:
    names = found.attempt("masks", lambda: names_of_masks(manifest, study))
    if names is None:
        return
    strangers = unmatched(names)
    if not names:
        found.fail("mask names", "The label map has no names for its ids. Put a list beside it, or into the manifest.")
    elif strangers and not matched_organs(names):
        found.fail("mask names", f"No label matches an organ: {', '.join(strangers[:8])}. Are these the organs' masks?")
    elif strangers:
        found.warn("mask names", f"Labels that match no organ: {', '.join(strangers[:8])}.")
    if header_only:
        return
    placed = found.attempt("masks", lambda: organ_centres(manifest, study, PLACED_ORGANS))
    if placed is not None:
        centres, mask_grid = placed
        if grid is not None and _hardly_overlap(grid, mask_grid):
            found.fail(
                "masks",
                f"CT and masks hardly overlap:\n  CT    {grid.describe()}\n  masks {mask_grid.describe()}\n"
                "Give the masks of this CT.",
            )
        if not centres and found.attempt("masks", lambda: masks_are_empty(manifest, study)):
            found.warn("masks", "The masks are empty: no organ has a voxel. Make them again, or take them out.")
        for message in misplaced(centres):
            found.fail("orientation", message)


def _hardly_overlap(a: Grid, b: Grid) -> bool:
    return max(overlap_fraction(a, b), overlap_fraction(b, a)) < SMALLEST_OVERLAP


def misplaced(centres: dict[str, np.ndarray]) -> list[str]:
    """A message for each body axis along which the organs lie the wrong way round.

    Args:
        centres: middles of organs in RAS mm.
    """
    messages = []
    for axis, direction in enumerate(DIRECTIONS):
        pairs = [place for place in PLACES if place[2] == axis and {place[0], place[1]} <= set(centres)]
        wrong = [place for place in pairs if centres[place[0]][axis] < centres[place[1]][axis]]
        if wrong and len(wrong) * 2 > len(pairs):
            first, second, _, words = wrong[0]
            messages.append(
                f"{direction.capitalize()} seem swapped: {first} is not {words} {second} ({len(wrong)} of {len(pairs)} "
                "pairs of organs say so). The header or the masks are wrong, unless the patient has situs inversus."
            )
    return messages
