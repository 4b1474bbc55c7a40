"""Merlin: abdominal CT volumes with findings, splits, 30 labels and five-year outcomes.

Conventions:
- a label of -1 ("not mentioned") is left out, so that it is neither present nor absent;
- where the table of reports has a study twice, the longer text counts: the shorter is a preliminary reading;
- without a column of patients every study counts as a patient of its own, which a note says.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ctglip_training.data.layout import (
    NIFTI_ENDINGS,
    Fit,
    Layout,
    Reading,
    find_tables,
    fit,
    not_on_disk,
    relative,
    require_studies,
    visible_files,
)
from ctglip_training.data.study import Study, split_named
from ctglip_training.data.tables import Row, cell, labels_in, read_table
from CTGLIPLib.errors import InputError
from CTGLIPLib.label_names import image_stem
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "merlin_data/STUDY.nii.gz"
FOLDER = "merlin_data"
REPORTS = ("reports_final.xlsx", "reports_final.csv")
FINDINGS = ("zero_shot_findings_disease_cls.csv",)
FIVE_YEARS = ("five_years_disease_task.csv",)
METADATA = ("metadata.csv",)
STUDY_ID = ("study id", "study_id", "VolumeName")
PATIENT_ID = ("patient id", "patient_id", "anon_patient_id", "mrn")
NO_LABELS = (*STUDY_ID, *PATIENT_ID, "split", "merlin_split", "Few Shot", "Unnamed: 0", "")


def recognise(root: Path) -> Fit:
    """The folder merlin_data with volumes, and the table of reports."""
    folder = _volume_folder(root)
    reports, findings = find_tables(root, REPORTS), find_tables(root, FINDINGS)
    if folder is None and not reports and not findings:
        return Fit()
    volumes = folder is not None and bool(visible_files(folder, NIFTI_ENDINGS))
    return fit([(f"volumes such as {EXAMPLE}", volumes), ("reports_final.xlsx", bool(reports))])


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """Merlin's studies.

    Raises:
        InputError: if a table is broken, or there is no volume.
    """
    reports = _reports(root)
    findings, five_years, metadata = (_by_study(root, names) for names in (FINDINGS, FIVE_YEARS, METADATA))
    folder = _volume_folder(root)
    volumes = {image_stem(path): path for path in visible_files(folder, NIFTI_ENDINGS)} if folder else {}
    studies = []
    for done, (name, path) in enumerate(sorted(volumes.items())):
        report(progress, "reading Merlin", done, len(volumes))
        row = reports.get(name, {})
        later = labels_in(five_years.get(name, {}), NO_LABELS)
        patient = cell(metadata.get(name, {}), *PATIENT_ID) or cell(row, *PATIENT_ID)
        studies.append(
            Study(
                id=name,
                patient=patient or name,
                volume=relative(path, root),
                layout="merlin",
                report=cell(row, "Findings"),
                labels=labels_in(findings.get(name, {}), NO_LABELS) | {f"in 5 years: {k}": v for k, v in later.items()},
                split=split_named(cell(row, "Split")),
            )
        )
    notes = not_on_disk(len(set(reports) - set(volumes)), "studies of the reports")
    if studies and all(study.patient == study.id for study in studies):
        notes += ("The tables name no patients: every study counts as a patient of its own. Keep the official splits.",)
    return Reading(require_studies(studies, root, "Merlin", EXAMPLE), notes)


def _volume_folder(root: Path) -> Path | None:
    if root.name == FOLDER and root.is_dir():
        return root
    return next((path for above in ("", "*/") for path in sorted(root.glob(above + FOLDER)) if path.is_dir()), None)


def _reports(root: Path) -> dict[str, Row]:
    """The row of each study, the longest text where a study has several.

    Raises:
        InputError: if the table lacks the studies' ids.
    """
    found: dict[str, Row] = {}
    for path in find_tables(root, REPORTS)[-1:]:
        for name, row in _named(read_table(path, ("Findings", "Split")), path):
            if name not in found or len(cell(row, "Findings")) > len(cell(found[name], "Findings")):
                found[name] = row
    return found


def _by_study(root: Path, names: tuple[str, ...]) -> dict[str, Row]:
    return {name: row for path in find_tables(root, names) for name, row in _named(read_table(path), path)}


def _named(rows: list[Row], path: Path) -> Iterable[tuple[str, Row]]:
    if rows and not any(cell(row, *STUDY_ID) for row in rows):
        msg = f"{path} must have a column {STUDY_ID[0]!r}, got {', '.join(list(rows[0])[:8])}. Is this the right table?"
        raise InputError(msg)
    return ((image_stem(Path(cell(row, *STUDY_ID))), row) for row in rows if cell(row, *STUDY_ID))


LAYOUT = Layout("merlin", "Merlin Abdominal CT", EXAMPLE, recognise, read)
