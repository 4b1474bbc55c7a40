"""RadGenome-ChestCT: CT-RATE's volumes with organ masks and the report split by region.

Its volumes are CT-RATE's, so they may lie below the root in any of CT-RATE's folders, or in `train_preprocessed`.
Regions are the data set's own paths ("lung/lung/lung lower lobe/left lung lower lobe"); a sentence without one is said
of "whole".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ctglip_training.data import ct_rate
from ctglip_training.data.layout import (
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
from ctglip_training.data.study import Study
from ctglip_training.data.tables import cell, read_table
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "train_preprocessed/train_1/train_1a/train_1_a_1.nii.gz"
SPLITS = ("train", "validation", "valid")
MASK_FOLDERS = ("anatomy_mask", "region_mask")
"""The finer masks are taken where a download has both."""
WHOLE = "whole"
YES_NO = {"yes": 1.0, "no": 0.0}


def recognise(root: Path) -> Fit:
    """The region reports, CT-RATE's volumes, and the folders of masks."""
    reports = bool(find_tables(root, _names("region_report.csv")))
    masks = bool(_mask_shelves(root))
    if not reports and not masks:
        return Fit()
    return fit(
        [
            ("{train,validation}_region_report.csv", reports),
            ("{train,valid}_region_mask/seg_VOLUME/ORGAN.nii.gz", masks),
            (f"CT-RATE's volumes, such as {EXAMPLE} or {ct_rate.EXAMPLE}", bool(ct_rate.find_volumes(root))),
        ]
    )


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """RadGenome-ChestCT's studies, a row a volume.

    Raises:
        InputError: if a table is broken or there is no volume.
    """
    regions, presence = _region_reports(root), _presence(root)
    volumes, tables, shelves = ct_rate.find_volumes(root), ct_rate.read_tables(root), _mask_shelves(root)
    studies = []
    for done, (name, path) in enumerate(sorted(volumes.items())):
        report(progress, "reading RadGenome-ChestCT", done, len(volumes))
        study = ct_rate.study_of(root, name, path, tables, None)
        studies.append(_with_regions(study, regions.get(name, {}), presence.get(name, {}), shelves, root))
    notes = not_on_disk(len(set(regions) - set(volumes)), "volumes of the region reports")
    return Reading(require_studies(studies, root, "RadGenome-ChestCT", EXAMPLE), notes)


def _with_regions(
    study: Study, regions: dict[str, str], presence: dict[str, float], shelves: list[Path], root: Path
) -> Study:
    folders = (shelf / f"seg_{study.id}" for shelf in shelves)
    masks = next((folder for folder in folders if visible_files(folder)), None)
    return replace(
        study,
        layout="rad-genome",
        report=study.report or " ".join(regions.values()),
        regions=regions,
        labels={**study.labels, **presence},
        masks=relative(masks, root) if masks else "",
        mask_names="files" if masks else "",
    )


def _region_reports(root: Path) -> dict[str, dict[str, str]]:
    """What the report says of each region: volume -> region -> sentences."""
    found: dict[str, dict[str, str]] = {}
    for path in find_tables(root, _names("region_report.csv")):
        for row in read_table(path, ("Volumename", "Anatomy", "Sentence")):
            sentence = cell(row, "Sentence")
            regions = found.setdefault(ct_rate.file_name(cell(row, "Volumename")), {})
            region = cell(row, "Anatomy") or WHOLE
            if sentence:
                regions[region] = f"{regions[region]} {sentence}" if region in regions else sentence
    return found


def _presence(root: Path) -> dict[str, dict[str, float]]:
    """Which finding is in which region: volume -> "region: finding" -> 1 or 0."""
    found: dict[str, dict[str, float]] = {}
    for path in find_tables(root, _names("vqa_presence.csv")):
        for row in read_table(path, ("Volumename", "Anatomy", "Finding", "Presence")):
            answer = YES_NO.get(cell(row, "Presence").rstrip(".").lower())
            if answer is not None:
                labels = found.setdefault(ct_rate.file_name(cell(row, "Volumename")), {})
                labels[f"{cell(row, 'Anatomy') or WHOLE}: {cell(row, 'Finding')}"] = answer
    return found


def _mask_shelves(root: Path) -> list[Path]:
    """The folders that hold a folder of masks for each volume, the finer masks first."""
    names = [f"{split}_{kind}" for kind in MASK_FOLDERS for split in SPLITS]
    return [path for name in names for above in ("", "*/") for path in sorted(root.glob(f"{above}{name}"))]


def _names(ending: str) -> list[str]:
    return [f"{split}_{ending}" for split in SPLITS]


LAYOUT = Layout("rad-genome", "RadGenome-ChestCT", EXAMPLE, recognise, read)
