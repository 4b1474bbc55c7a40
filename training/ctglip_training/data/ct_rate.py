"""CT-RATE: chest CT volumes with reports, 18 labels, and a metadata table that mends their headers.

The volumes of `train` and `valid` have wrong spacing, orientation and unscaled values; those of `train_fixed` and
`valid_fixed` are mended. Where both lie on disk the mended one is taken. Conventions:
- HU = stored value * RescaleSlope + RescaleIntercept; columns of the direction matrix are DICOM's row and column
  cosines and their cross product (test_layout_ct_rate: `an unfixed volume becomes the fixed one`). The published
  script for this writes them as rows, which differs where a gantry or couch is turned;
- an official "valid" is "val" here; papers report their figures on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from ctglip_training.data.study import NO_CORRECTIONS, Corrections, Study, Triple, split_named, triple
from ctglip_training.data.tables import Row, cell, labels_in, number, numbers, read_list, read_table
from CTGLIPLib.errors import InputError
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"
VOLUME_NAME = re.compile(r"(train|valid)_(\d+)_([a-z]+)_(\d+)\.nii\.gz")
MASK_FOLDER = re.compile(r"(mask|seg)", re.IGNORECASE)
TABLES = {
    "reports": ("train_reports.csv", "validation_reports.csv", "valid_reports.csv"),
    "labels": ("train_predicted_labels.csv", "valid_predicted_labels.csv"),
    "metadata": ("train_metadata.csv", "validation_metadata.csv", "valid_metadata.csv"),
}
NO_CHEST = ("no_chest_train.txt", "no_chest_valid.txt")
KNOWN_BAD = re.compile(r"train_1267_a_4|train_11755_a_[234]|train_9792_a_\d+|train_3821_a_5")
"""Volumes that the community found broken, from section 8 of the project's references."""


@dataclass
class Tables:
    """CT-RATE's tables by the volume's file name."""

    reports: dict[str, Row] = field(default_factory=dict)
    labels: dict[str, Row] = field(default_factory=dict)
    metadata: dict[str, Row] = field(default_factory=dict)
    no_chest: set[str] = field(default_factory=set)

    @property
    def volumes(self) -> set[str]:
        """The names of all volumes that a table knows."""
        return {*self.reports, *self.labels, *self.metadata}


def recognise(root: Path) -> Fit:
    """Volumes named SPLIT_PATIENT_SCAN_RECONSTRUCTION.nii.gz, and the tables of reports and metadata."""
    volumes = any(True for _ in _volume_paths(root, first_only=True))
    tables = {kind: bool(find_tables(root, names)) for kind, names in TABLES.items()}
    if not volumes and sum(tables.values()) < 2:
        return Fit()
    return fit(
        [
            (f"volumes such as {EXAMPLE}", volumes),
            ("radiology_text_reports/{train,validation}_reports.csv", tables["reports"]),
            ("metadata/{train,validation}_metadata.csv", tables["metadata"] or _all_fixed(root)),
        ]
    )


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """CT-RATE's studies, a row a volume (reconstruction).

    Raises:
        InputError: if a table is broken, or an unfixed volume has no row in the metadata.
    """
    tables = read_tables(root)
    volumes = find_volumes(root)
    masks = find_label_maps(root)
    studies = []
    for done, (name, path) in enumerate(sorted(volumes.items())):
        report(progress, "reading CT-RATE", done, len(volumes))
        studies.append(study_of(root, name, path, tables, masks.get(name)))
    notes = not_on_disk(len(tables.volumes - set(volumes)), "volumes of the tables")
    return Reading(require_studies(studies, root, "CT-RATE", EXAMPLE), notes)


def read_tables(root: Path) -> Tables:
    """The tables of a CT-RATE download; what is not there is empty.

    Raises:
        InputError: if a table is broken or lacks its columns.
    """
    tables = Tables()
    required = {"reports": ("VolumeName", "Findings_EN"), "labels": ("VolumeName",), "metadata": ("VolumeName",)}
    for kind, names in TABLES.items():
        for path in find_tables(root, names):
            rows = read_table(path, required[kind])
            getattr(tables, kind).update({file_name(cell(row, "VolumeName")): row for row in rows})
    for path in find_tables(root, NO_CHEST):
        tables.no_chest.update(file_name(line) for line in read_list(path))
    return tables


def find_volumes(root: Path) -> dict[str, Path]:
    """The volumes below a folder by file name; the mended one where there are two."""
    found: dict[str, Path] = {}
    for path in _volume_paths(root):
        if path.name not in found or is_fixed(path, root):
            found[path.name] = path
    return found


def find_label_maps(root: Path) -> dict[str, Path]:
    """Label maps that lie like the volumes in a folder of masks (train_mask, ts_seg/ts_total), by file name."""
    return {path.name: path for path in _volume_paths(root, masks=True)}


def is_fixed(path: Path, root: Path) -> bool:
    """Whether a volume lies in a folder of mended ones (RadGenome-ChestCT's preprocessed ones are)."""
    return any(part.endswith(("_fixed", "_preprocessed")) for part in path.relative_to(root).parts[:-1])


def study_of(root: Path, name: str, path: Path, tables: Tables, masks: Path | None) -> Study:
    """The study of a volume.

    Raises:
        InputError: if an unfixed volume has no usable row in the metadata.
    """
    split, patient, _, _ = VOLUME_NAME.fullmatch(name).groups()  # type: ignore[union-attr]
    metadata = tables.metadata.get(name, {})
    fixed, volume = is_fixed(path, root), relative(path, root)
    return Study(
        id=name.removesuffix(".nii.gz"),
        patient=f"{split}_{patient}",
        volume=volume,
        layout="ct-rate",
        masks=relative(masks, root) if masks else "",
        mask_names="totalsegmentator_v2" if masks else "",
        report=report_text(tables.reports.get(name, {})),
        labels=labels_in(tables.labels.get(name, {}), ("VolumeName",)),
        split=split_named(split),
        corrections=NO_CORRECTIONS if fixed else corrections_of(metadata, name),
        expected_spacing_mm=_spacing(metadata) if fixed and "_preprocessed/" not in volume else None,
        exclude=_why_excluded(name, tables),
    )


def report_text(row: Mapping[str, str]) -> str:
    """Findings and impression of a row of reports; what is "Not given." is left out."""
    parts = [("Findings", cell(row, "Findings_EN")), ("Impression", cell(row, "Impressions_EN"))]
    given = [f"{title}: {text}" for title, text in parts if text and text.strip(" .").lower() != "not given"]
    return "\n".join(given)


def corrections_of(row: Mapping[str, str], name: str) -> Corrections:
    """What mends an unfixed volume, from its row of the metadata.

    Raises:
        InputError: if there is no row, or it lacks spacing, slope or intercept.
    """
    spacing = _spacing(row)
    slope, intercept = number(cell(row, "RescaleSlope")), number(cell(row, "RescaleIntercept"))
    position = numbers(cell(row, "ImagePositionPatient"))
    directions = numbers(cell(row, "ImageOrientationPatient"))
    if spacing is None or slope is None or intercept is None or directions is None or len(directions) != 6:
        msg = (
            f"{name} is not in a _fixed folder, so it needs XYSpacing, ZSpacing, RescaleSlope, RescaleIntercept and "
            "ImageOrientationPatient in metadata/{train,validation}_metadata.csv. Download that table, or the fixed "
            "volume."
        )
        raise InputError(msg)
    origin = triple(position) if position is not None and len(position) == 3 else None
    return Corrections(slope, intercept, spacing, origin, directions)


def _spacing(row: Mapping[str, str]) -> Triple | None:
    in_plane, across = numbers(cell(row, "XYSpacing")), number(cell(row, "ZSpacing"))
    if in_plane is None or len(in_plane) != 2 or across is None:
        return None
    return (in_plane[0], in_plane[1], across)


def _why_excluded(name: str, tables: Tables) -> str:
    if name in tables.no_chest:
        return "shows no chest (the data set's list)"
    return "known to be broken" if KNOWN_BAD.fullmatch(name.removesuffix(".nii.gz")) else ""


def _volume_paths(root: Path, masks: bool = False, first_only: bool = False) -> Iterator[Path]:
    for folder, files in walk(root):
        found = [name for name in files if VOLUME_NAME.fullmatch(name)]
        if found and any(MASK_FOLDER.search(part) for part in folder.relative_to(root).parts) == masks:
            yield from (folder / name for name in found)
            if first_only:
                return


def _all_fixed(root: Path) -> bool:
    return all(is_fixed(path, root) for path in _volume_paths(root, first_only=True))


def file_name(name: str) -> str:
    """A volume's name with its ending; some tables leave it out."""
    return name if name.endswith(".nii.gz") or not name else f"{name}.nii.gz"


LAYOUT = Layout("ct-rate", "CT-RATE", EXAMPLE, recognise, read)
