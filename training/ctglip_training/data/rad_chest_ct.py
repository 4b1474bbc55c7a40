"""Rad-ChestCT: chest CT as npz arrays without a header, with labels by abnormality and location.

The array `ct` counts slices from head to foot, rows from front to back and columns from the patient's right to left
(the data set's table of lung limits names the axes so), 0.8 mm apart: orientation IPL (test_layout_rad_chest_ct).
Of the 84 x 52 labels a study keeps every abnormality as 1 or 0, and "abnormality*location" where it is present.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ctglip_training.data.layout import (
    Fit,
    Layout,
    Reading,
    find_tables,
    fit,
    not_on_disk,
    relative,
    require_studies,
    walk,
)
from ctglip_training.data.study import Corrections, Split, Study
from ctglip_training.data.tables import Row, cell, iterate_table, labels_in
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "trn00001.npz"
VOLUME_NAME = re.compile(r"(trn|val|tst)\d+\.npz")
SPLITS: dict[str, Split] = {"trn": "train", "val": "val", "tst": "test"}
LABELS = tuple(f"img{part}_Abnormality_and_Location_Labels.csv" for part in ("train", "valid", "test"))
PATIENTS = ("CT_Scan_Metadata_Complete_35747.csv", "all_identifiers.csv")
ID_COLUMNS = ("NoteAcc_DEID", "Accession", "Unnamed: 0", "")
CORRECTIONS = Corrections(spacing_mm=(0.8, 0.8, 0.8), orientation="IPL")


def recognise(root: Path) -> Fit:
    """Volumes such as trn00001.npz, and the tables of labels."""
    volumes, labels = bool(_volumes(root, first_only=True)), bool(find_tables(root, LABELS))
    if not volumes and not labels:
        return Fit()
    return fit([(f"volumes such as {EXAMPLE}", volumes), (LABELS[0], labels)])


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """Rad-ChestCT's studies.

    Raises:
        InputError: if a table is broken, or there is no volume.
    """
    labels = {name: _labels(row) for path in find_tables(root, LABELS) for name, row in _rows(path)}
    patients = {name: cell(row, "MRN_DEID", "MRN") for path in find_tables(root, PATIENTS) for name, row in _rows(path)}
    volumes = _volumes(root)
    studies = []
    for done, (name, path) in enumerate(sorted(volumes.items())):
        report(progress, "reading Rad-ChestCT", done, len(volumes))
        studies.append(
            Study(
                id=name,
                patient=patients.get(name) or name,
                volume=relative(path, root),
                layout="rad-chest-ct",
                labels=labels.get(name, {}),
                split=SPLITS[name[:3]],
                corrections=CORRECTIONS,
            )
        )
    notes = not_on_disk(len(set(labels) - set(volumes)), "studies of the labels")
    if not patients:
        notes += (f"{PATIENTS[0]} is missing: every study counts as a patient of its own.",)
    return Reading(require_studies(studies, root, "Rad-ChestCT", EXAMPLE), notes)


def _labels(row: Row) -> dict[str, float]:
    """Each abnormality as 1 or 0, wherever it is, and the places where it is present."""
    found: dict[str, float] = {}
    for title, value in labels_in(row, ID_COLUMNS).items():
        abnormality = title.split("*")[0]
        found[abnormality] = max(value, found.get(abnormality, 0.0))
        if value and title != abnormality:
            found[title] = value
    return found


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    for row in iterate_table(path):
        name = cell(row, *ID_COLUMNS)
        if name:
            yield name.removesuffix(".npz"), row


def _volumes(root: Path, first_only: bool = False) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, files in walk(root):
        found |= {name.removesuffix(".npz"): folder / name for name in files if VOLUME_NAME.fullmatch(name)}
        if found and first_only:
            break
    return found


LAYOUT = Layout("rad-chest-ct", "Rad-ChestCT", EXAMPLE, recognise, read)
