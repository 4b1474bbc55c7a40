"""One study of a data set: where its files lie and what is known about it.

Conventions:
- paths are relative to the data set's root, with "/" (test_manifest: `a manifest can be moved with its data`);
- labels say 1 (present) or 0 (absent); what a data set does not know is left out, never guessed to be absent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import numpy as np

from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import AXIS_LETTERS, Grid

Split = Literal["train", "val", "test", ""]
Triple = tuple[float, float, float]
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "tune": "val",
    "test": "test", "testing": "test", "tst": "test", "ts": "test", "": "",
}  # fmt: skip
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Corrections:
    """What must be done to a stored volume before it is the CT that the data set means.

    Attributes:
        slope: stored value -> HU, with `intercept`: HU = value * slope + intercept.
        intercept: see `slope`.
        spacing_mm: true distance between voxel centres along the stored array's axes; None = the header's.
        origin_lps_mm: DICOM's image position of the first voxel; None = the header's.
        directions_lps: DICOM's image orientation: unit vectors along i, then along j; None = the header's.
        orientation: letters of where i, j, k increase to ("IPL"), for arrays that have no header.
    """

    slope: float = 1.0
    intercept: float = 0.0
    spacing_mm: Triple | None = None
    origin_lps_mm: Triple | None = None
    directions_lps: tuple[float, ...] | None = None
    orientation: str = ""

    def __post_init__(self) -> None:
        numbers = [self.slope, self.intercept, *(self.spacing_mm or ()), *(self.origin_lps_mm or ())]
        if not all(map(math.isfinite, (*numbers, *(self.directions_lps or ())))) or self.slope == 0:
            msg = f"Corrections must be finite numbers with a slope other than 0, got {self}. Mend the metadata table."
            raise InputError(msg)
        if min(self.spacing_mm or (1.0,)) <= 0:
            msg = f"A spacing must be positive, got {self.spacing_mm}. Mend the metadata table."
            raise InputError(msg)

    @property
    def changes_grid(self) -> bool:
        """Whether the header's spacing or direction is replaced."""
        return self.spacing_mm is not None or self.directions_lps is not None or bool(self.orientation)

    @property
    def replaces_grid(self) -> bool:
        """Whether nothing of the header's spacing and direction is needed."""
        return self.spacing_mm is not None and (self.directions_lps is not None or bool(self.orientation))

    @property
    def changes_values(self) -> bool:
        """Whether stored values are not HU yet."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def values_in_hu(self, stored: np.ndarray) -> np.ndarray:
        """The HU of stored values, float32 where they change; the same array where they do not."""
        if not self.changes_values:
            return stored
        return (stored * np.float64(self.slope) + np.float64(self.intercept)).astype(np.float32)

    def grid(self, shape_ijk: tuple[int, int, int], header: Grid | None) -> Grid:
        """The true grid of an array of that shape.

        Raises:
            InputError: if there is no header, and the corrections do not replace all of it.
            GeometryError: if the corrected axes cannot be used.
        """
        if not self.changes_grid and header is not None:
            return header
        spacing = self.spacing_mm or (header.spacing_mm if header else None)
        directions = self._directions_ras(header)
        if spacing is None or directions is None:
            msg = "An array without a header needs its spacing and orientation in the manifest's corrections."
            raise InputError(msg)
        affine = np.eye(4)
        affine[:3, :3] = directions * np.array(spacing)
        if self.origin_lps_mm is not None:
            affine[:3, 3] = LPS_TO_RAS @ np.array(self.origin_lps_mm)
        elif header is not None:
            affine[:3, 3] = header.affine[:3, 3]
        else:
            affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape_ijk) - 1) / 2)
        return Grid(shape_ijk, affine)

    def _directions_ras(self, header: Grid | None) -> np.ndarray | None:
        """Unit vectors along i, j, k as the columns of a matrix in RAS."""
        if self.orientation:
            return directions_of(self.orientation)
        if self.directions_lps is not None:
            along_i, along_j = np.array(self.directions_lps[:3]), np.array(self.directions_lps[3:])
            return LPS_TO_RAS @ np.stack([along_i, along_j, np.cross(along_i, along_j)], axis=1)
        return None if header is None else header.affine[:3, :3] / np.array(header.spacing_mm)

    def to_json(self) -> str:
        """The corrections that differ from none, as JSON; empty where there are none."""
        changed = {key: value for key, value in vars(self).items() if value != getattr(NO_CORRECTIONS, key)}
        return json.dumps(changed) if changed else ""

    @staticmethod
    def from_json(text: str) -> Corrections:
        """The corrections that `to_json` wrote.

        Raises:
            InputError: if it is not JSON of known keys.
        """
        try:
            facts = json.loads(text or "{}")
            for key in ("spacing_mm", "origin_lps_mm", "directions_lps"):
                if facts.get(key) is not None:
                    facts[key] = tuple(float(number) for number in facts[key])
            return Corrections(**facts)
        except (ValueError, TypeError, AttributeError) as error:
            msg = f"Expected corrections as JSON, got {text[:80]!r}: {error}. Make the manifest again."
            raise InputError(msg) from error


NO_CORRECTIONS = Corrections()


def directions_of(orientation: str) -> np.ndarray:
    """Unit vectors along i, j, k as the columns of a matrix in RAS, from letters such as "IPL".

    Raises:
        InputError: if the letters do not name the three axes once each.
    """
    matrix = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        for axis, (negative, positive) in enumerate(AXIS_LETTERS):
            if letter in {negative, positive} and column < 3:
                matrix[axis, column] = 1.0 if letter == positive else -1.0
    if len(orientation) != 3 or np.linalg.matrix_rank(matrix) < 3:
        msg = f"An orientation has one letter each of L/R, P/A, I/S, such as LPS; got {orientation!r}."
        raise InputError(msg)
    return matrix


@dataclass(frozen=True)
class Study:
    """One row of a manifest.

    Attributes:
        id: the data set's name of it, unique in the manifest.
        patient: who it belongs to; splits are made by it.
        volume: the CT's file or DICOM folder.
        layout: which layout it was read from.
        series: UID of the DICOM series in the folder; empty elsewhere.
        masks: label map or folder of masks; empty where there are none.
        mask_names: how the masks name organs: "files" (one file an organ), "header" (in the file or beside it),
            "totalsegmentator_v1", "totalsegmentator_v2", or a JSON object of id -> name.
        report: the report's text; empty where there is none.
        report_file: the report's file, where the text is not in the manifest.
        regions: what the report says of each region, for data sets that split it so.
        labels: finding -> 1 or 0.
        split: "train", "val", "test", or empty.
        corrections: what to do to the stored volume.
        expected_spacing_mm: what the data set's own table says of a volume that needs no correction.
        exclude: why the data set's makers say that it is not to be used; empty = use it.
    """

    id: str
    patient: str
    volume: str
    layout: str
    series: str = ""
    masks: str = ""
    mask_names: str = ""
    report: str = ""
    report_file: str = ""
    regions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    split: Split = ""
    corrections: Corrections = NO_CORRECTIONS
    expected_spacing_mm: Triple | None = None
    exclude: str = ""


def split_named(word: str) -> Split:
    """The split that a data set's word means ("valid", "Validation", "tst").

    Raises:
        InputError: if it means none.
    """
    split = SPLIT_WORDS.get(word.strip().lower())
    if split is None:
        msg = f"A split must be one of {', '.join(filter(None, get_args(Split)))}, got {word!r}. Correct the table."
        raise InputError(msg)
    return split


def triple(numbers: Sequence[float]) -> Triple:
    """Three numbers as a tuple of floats.

    Raises:
        InputError: if there are not three.
    """
    if len(numbers) != 3:
        msg = f"Expected three numbers, got {list(numbers)}. Mend the metadata table."
        raise InputError(msg)
    return cast("Triple", tuple(float(number) for number in numbers))
