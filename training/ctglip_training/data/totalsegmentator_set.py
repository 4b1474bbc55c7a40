"""TotalSegmentator's data set: a folder a subject with the CT and one mask an organ.

Version 1 (104 organs) and 2 (117) differ in ids, not in names; the masks' file names decide.
"""

from __future__ import annotations

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
    subfolders,
    visible_files,
)
from ctglip_training.data.study import Study, split_named
from ctglip_training.data.tables import cell, read_table
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "s0001/ct.nii.gz"
SUBJECTS = "s[0-9][0-9][0-9][0-9]"


def recognise(root: Path) -> Fit:
    """Folders s0001, s0002, ... with ct.nii.gz and segmentations."""
    folders = _subjects(root)
    if not folders:
        return Fit()
    masks = any(visible_files(folder / "segmentations", NIFTI_ENDINGS) for folder in folders)
    volumes = any(_volume(folder) for folder in folders)
    return fit([(EXAMPLE, volumes), ("s0001/segmentations/ORGAN.nii.gz", masks)])


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """The subjects of the data set, official splits from meta.csv where it has them.

    Raises:
        InputError: if meta.csv is broken, or there is no volume.
    """
    rows = {
        cell(row, "image_id"): row
        for path in find_tables(root, ("meta.csv",))[:1]
        for row in read_table(path, ("image_id",), delimiter=";")
    }
    studies, without = [], 0
    folders = _subjects(root)
    for done, folder in enumerate(folders):
        report(progress, "reading TotalSegmentator's data set", done, len(folders))
        volume, masks = _volume(folder), folder / "segmentations"
        if volume is None:
            without += 1
            continue
        has_masks = bool(visible_files(masks, NIFTI_ENDINGS))
        studies.append(
            Study(
                id=folder.name,
                patient=folder.name,
                volume=relative(volume, root),
                layout="totalsegmentator",
                masks=relative(masks, root) if has_masks else "",
                mask_names="files" if has_masks else "",
                split=split_named(cell(rows.get(folder.name, {}), "split")),
            )
        )
    absent = len(set(rows) - {folder.name for folder in folders}) + without
    notes = not_on_disk(absent, "subjects")
    return Reading(require_studies(studies, root, "TotalSegmentator's data set", EXAMPLE), notes)


def _subjects(root: Path) -> list[Path]:
    return subfolders(root, SUBJECTS) or subfolders(root, f"*/{SUBJECTS}")


def _volume(folder: Path) -> Path | None:
    return next((folder / name for name in ("ct.nii.gz", "ct.nii") if (folder / name).is_file()), None)


LAYOUT = Layout("totalsegmentator", "TotalSegmentator's data set", EXAMPLE, recognise, read)
