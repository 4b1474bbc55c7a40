"""Cases prepared once: CT and labels on the network's grid, in compressed chunks from which crops are read.

Conventions (test_finetune_patches.py):
- HU are kept as whole numbers and windowed when they are read, so one cache serves every window;
- a label takes a voxel in which it is the largest share, as the CT averages fine voxels into a coarse one;
- a case is prepared again when its files or the spacing change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_volume
from ctglip_training.finetune.cases import CaseSet
from ctglip_training.packed import open_packed, pack, whole_folder
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing
from CTGLIPLib.organ_geometry import body_centre_ras_mm
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import require_overlap
from CTGLIPLib.volume import Volume

VERSION = 1
MOST_PLACES = 10_000
OUTSIDE = 255
"""The label of voxels outside the scan: no loss looks at them."""
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class CachedCase:
    """A prepared case; its arrays stay on disk.

    Attributes:
        id: the case.
        folder: where it lies.
        grid: the network's grid, axes along RAS.
        body_centre_ras_mm: (R, A) of the body's middle.
        places: for each class that has voxels, indices of at most 10,000 of them, int, shape (voxel, 3).
    """

    id: str
    folder: Path
    grid: Grid
    body_centre_ras_mm: np.ndarray
    places: dict[int, np.ndarray]

    def crop(self, start_ijk: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        """HU (float32) and labels (uint8) of a cube; outside the scan its border is repeated and labels are `OUTSIDE`.

        Args:
            start_ijk: first voxel, may lie outside.
            size: edge of the cube in voxels.
        """
        spans = [(max(s, 0), min(s + size, n)) for s, n in zip(start_ijk, self.grid.shape_ijk, strict=True)]
        box: Any = tuple(slice(low, high) for low, high in spans)
        hu, labels = (np.asarray(_open(self.folder / name)[box]) for name in ("hu.b2nd", "labels.b2nd"))
        missing = [(low - s, s + size - high) for s, (low, high) in zip(start_ijk, spans, strict=True)]
        hu = np.pad(hu.astype(np.float32), missing, mode="edge")
        return hu, np.pad(labels, missing, constant_values=OUTSIDE)


def prepare_cases(
    cases: CaseSet, studies: Sequence[Study], spacing_mm: float, folder: Path, progress: ProgressCallback | None = None
) -> dict[str, CachedCase]:
    """Prepared cases by id; those that `folder` holds already are not read again.

    Raises:
        InputError: if a CT or its masks are missing, broken, or no CT in HU.
        GeometryError: if a grid cannot be used, or CT and masks do not overlap.
        LabelError: if a label has no name.
        OutputError: if the cache cannot be written.
        Cancelled: if `progress` says so.
    """
    ready = {}
    for done, study in enumerate(studies):
        report(progress, "preparing cases", done, len(studies))
        place = folder / _key(cases, study, spacing_mm)
        if not (place / "facts.json").is_file():
            _write(place, study, *_prepared(cases, study, spacing_mm))
        ready[study.id] = _read(place, study)
    report(progress, "preparing cases", len(studies), len(studies))
    return ready


def labels_on_grid(labels: Volume, grid: Grid, count: int) -> np.ndarray:
    """The class with the largest share of each voxel of `grid`, uint8; classes are 1 to `count`, ties go to the lower.

    Args:
        labels: the label map, 0 is background.
        grid: the grid.
        count: number of classes.
    """
    best = np.full(grid.shape_ijk, 0.0, dtype=np.float32)
    chosen = np.zeros(grid.shape_ijk, dtype=np.uint8)
    total = np.zeros(grid.shape_ijk, dtype=np.float32)
    for number in range(1, count + 1):
        mask = labels.array == number
        if not mask.any():
            continue
        share = resample_volume(Volume(mask.astype(np.float32), labels.grid), grid).array
        total += share
        chosen[share > best] = number
        best = np.maximum(best, share)
    chosen[best < 1 - total] = 0  # background has the largest share
    return chosen


def _prepared(cases: CaseSet, study: Study, spacing_mm: float) -> tuple[Volume, np.ndarray]:
    volume, labels = read_study_volume(cases.manifest, study), cases.class_map(study)
    require_overlap(volume.grid, labels.grid)
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing_mm)
    return resample_volume(volume, grid), labels_on_grid(labels, grid, len(cases.classes))


def _write(place: Path, study: Study, volume: Volume, labels: np.ndarray) -> None:
    """The case's folder, whole or not at all."""
    facts = {
        "case": study.id,
        "shape": volume.grid.shape_ijk,
        "affine": volume.grid.affine.tolist(),
        "body_centre_ras_mm": body_centre_ras_mm(volume).tolist(),
    }
    with whole_folder(place) as temporary:
        pack(np.clip(np.rint(volume.array), -32768, 32767).astype(np.int16), temporary / "hu.b2nd")
        pack(labels, temporary / "labels.b2nd")
        np.savez(temporary / "places.npz", allow_pickle=False, **_places(labels))
        (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _places(labels: np.ndarray) -> dict[str, np.ndarray]:
    places = {}
    for number in np.unique(labels[labels > 0]):
        found = np.argwhere(labels == number).astype(np.int32)
        kept = np.random.default_rng(0).permutation(len(found))[:MOST_PLACES]
        places[str(number)] = found[np.sort(kept)]
    return places


def _read(place: Path, study: Study) -> CachedCase:
    try:
        facts = json.loads((place / "facts.json").read_text(encoding="utf-8"))
        with np.load(place / "places.npz") as file:
            places = {int(number): file[number] for number in file.files}
        grid = Grid(tuple(facts["shape"]), np.array(facts["affine"]))
        return CachedCase(study.id, place, grid, np.array(facts["body_centre_ras_mm"]), places)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"The prepared case {place} is broken: {error}. Delete that folder and start again."
        raise InputError(msg) from error


def _key(cases: CaseSet, study: Study, spacing_mm: float) -> str:
    """A name that changes with everything that a prepared case depends on."""
    parts: list[object] = [VERSION, study.id, spacing_mm, study.corrections.to_json(), cases.classes, study.mask_names]
    for path in (cases.manifest.path(study.volume), cases.manifest.path(study.masks)):
        if path.exists():
            facts = path.stat()
            parts += [str(path.absolute()), facts.st_size, facts.st_mtime_ns]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def _open(path: Path) -> Any:  # noqa: ANN401 - blosc2 is not typed
    try:
        return open_packed(path)
    except (OSError, RuntimeError) as error:
        msg = f"The prepared case {path.parent} is broken: {error}. Delete that folder and start again."
        raise InputError(msg) from error
