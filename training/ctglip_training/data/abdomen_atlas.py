"""AbdomenAtlas: a folder BDMAP_... a case with the CT, one mask an organ, and all organs as one label map."""

from __future__ import annotations

import json
from pathlib import Path

from ctglip_training.data.layout import (
    NIFTI_ENDINGS,
    Fit,
    Layout,
    Reading,
    fit,
    not_on_disk,
    relative,
    require_studies,
    subfolders,
    visible_files,
)
from ctglip_training.data.study import Study
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "BDMAP_00000001/ct.nii.gz"
CASES = "BDMAP_*"
NAMES = (
    "aorta", "gall_bladder", "kidney_left", "kidney_right", "liver", "pancreas", "postcava", "spleen", "stomach",
    "adrenal_gland_left", "adrenal_gland_right", "bladder", "celiac_trunk", "colon", "duodenum", "esophagus",
    "femur_left", "femur_right", "hepatic_vessel", "intestine", "lung_left", "lung_right",
    "portal_vein_and_splenic_vein", "prostate", "rectum",
)  # fmt: skip
"""The 25 organs of version 1.1 in the order of their ids, from 1; version 1.0 has the first nine."""
COMBINED = json.dumps({str(number): name for number, name in enumerate(NAMES, start=1)})


def recognise(root: Path) -> Fit:
    """Folders BDMAP_... with ct.nii.gz, and organs as masks or as one label map."""
    folders = _cases(root)
    if not folders:
        return Fit()
    return fit(
        [
            (EXAMPLE, any((folder / "ct.nii.gz").is_file() for folder in folders)),
            ("BDMAP_.../segmentations/ORGAN.nii.gz or combined_labels.nii.gz", any(_masks(f)[1] for f in folders)),
        ]
    )


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """AbdomenAtlas' cases; it has no official splits.

    Raises:
        InputError: if there is no volume.
    """
    folders = _cases(root)
    studies = []
    for done, folder in enumerate(folders):
        report(progress, "reading AbdomenAtlas", done, len(folders))
        volume = folder / "ct.nii.gz"
        masks, names = _masks(folder)
        if volume.is_file():
            studies.append(
                Study(
                    id=folder.name,
                    patient=folder.name,
                    volume=relative(volume, root),
                    layout="abdomen-atlas",
                    masks=relative(masks, root) if names else "",
                    mask_names=names,
                )
            )
    notes = not_on_disk(len(folders) - len(studies), "cases")
    return Reading(require_studies(studies, root, "AbdomenAtlas", EXAMPLE), notes)


def _cases(root: Path) -> list[Path]:
    return subfolders(root, CASES) or subfolders(root, f"*/{CASES}")


def _masks(folder: Path) -> tuple[Path, str]:
    """The case's masks and how they name organs; "" where it has none."""
    if visible_files(folder / "segmentations", NIFTI_ENDINGS):
        return folder / "segmentations", "files"
    combined = folder / "combined_labels.nii.gz"
    return combined, COMBINED if combined.is_file() else ""


LAYOUT = Layout("abdomen-atlas", "AbdomenAtlas", EXAMPLE, recognise, read)
