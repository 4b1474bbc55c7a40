"""nnU-Net's raw folders, version 1 and 2: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctglip_training.data.layout import Fit, Layout, Reading, fit, not_on_disk, relative, require_studies, visible_files
from ctglip_training.data.msd import (
    FILE,
    names_of_ids,
    read_json,
    require_ct,
    task_folders,
    uses_channels,
    without_list,
)
from ctglip_training.data.study import Split, Study
from CTGLIPLib.errors import InputError
from CTGLIPLib.io import KINDS
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "Dataset001_Name/imagesTr/CASE_0000.nii.gz"
FOLDERS: tuple[tuple[str, str, Split], ...] = (("imagesTr", "labelsTr", ""), ("imagesTs", "labelsTs", "test"))


@dataclass(frozen=True)
class DataSet:
    """One nnU-Net data set.

    Attributes:
        folder: its folder.
        names: names of the ids, JSON.
        channel: the number of the channel that is the CT.
        ending: of all its images.
        listed: version 2's own list of cases, case -> {images, label}.
    """

    folder: Path
    names: str
    channel: int
    ending: str
    listed: Mapping[str, Any]


def recognise(root: Path) -> Fit:
    """dataset.json with channels and labels, and imagesTr with channel numbers."""
    folders = _folders(root)
    if not folders:
        return without_list(root, channels=True)
    facts = [read_json(folder / FILE) for folder in folders]
    return fit(
        [
            (f"{FILE} with imagesTr/CASE_0000.nii.gz", True),
            (f'"channel_names" (v2) or "modality" (v1) in {FILE}', any(_channels(item) for item in facts)),
            (f'"labels" in {FILE}', any(item.get("labels") for item in facts)),
        ]
    )


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """The cases of one data set, or of every data set in nnUNet_raw.

    Raises:
        InputError: if dataset.json is broken, no channel is CT, or there is no volume.
    """
    folders = _folders(root)
    studies: list[Study] = []
    absent = 0
    for done, folder in enumerate(folders):
        report(progress, "reading nnU-Net's raw data", done, len(folders))
        data = _data_set(folder)
        prefix = f"{folder.name}/" if len(folders) > 1 else ""
        for case, volume, masks, split in _cases(data):
            if not volume.is_file():
                absent += 1
                continue
            studies.append(
                Study(
                    id=f"{prefix}{case}",
                    patient=f"{prefix}{case}",
                    volume=relative(volume, root),
                    layout="nnunet",
                    masks=relative(masks, root) if masks.is_file() else "",
                    mask_names=data.names if masks.is_file() else "",
                    split=split,
                )
            )
    return Reading(require_studies(studies, root, "nnU-Net raw", EXAMPLE), not_on_disk(absent, "cases"))


def _folders(root: Path) -> list[Path]:
    return [folder for folder in task_folders(root) if uses_channels(folder) or _is_version_2(read_json(folder / FILE))]


def _is_version_2(facts: Mapping[str, Any]) -> bool:
    return "channel_names" in facts or "file_ending" in facts


def _channels(facts: Mapping[str, Any]) -> object:
    return facts.get("channel_names") or facts.get("modality")


def _data_set(folder: Path) -> DataSet:
    facts = read_json(folder / FILE)
    ending = str(facts.get("file_ending", ".nii.gz"))
    if ending.lower() not in KINDS:
        msg = f"{folder / FILE}: images must end in {', '.join(KINDS)}, got {ending!r}. Convert them first."
        raise InputError(msg)
    listed = facts.get("dataset")
    return DataSet(
        folder=folder,
        names=json.dumps(names_of_ids(facts, folder / FILE)),
        channel=require_ct(_channels(facts), folder / FILE),
        ending=ending,
        listed=listed if isinstance(listed, Mapping) else {},
    )


def _cases(data: DataSet) -> list[tuple[str, Path, Path, Split]]:
    """(case, CT, label map, split) of each case: those listed, else those in the folders."""
    if data.listed:
        return [_listed_case(case, entry, data) for case, entry in sorted(data.listed.items())]
    found: list[tuple[str, Path, Path, Split]] = []
    ending = re.escape(data.ending)
    name = re.compile(rf"(.+)_{data.channel:04d}{ending}")
    for images, labels, split in FOLDERS:
        for path in visible_files(data.folder / images):
            match = name.fullmatch(path.name)
            if match:
                found.append((match[1], path, data.folder / labels / f"{match[1]}{data.ending}", split))
        known = {case for case, *_ in found}
        for path in visible_files(data.folder / labels):  # of which the image is not there
            case = path.name.removesuffix(data.ending)
            if case not in known:
                found.append((case, data.folder / images / f"{case}_{data.channel:04d}{data.ending}", path, split))
    return found


def _listed_case(case: str, entry: object, data: DataSet) -> tuple[str, Path, Path, Split]:
    images = entry.get("images") if isinstance(entry, dict) else None
    if not isinstance(images, list) or len(images) <= data.channel:
        msg = f'{data.folder / FILE}: case {case!r} of "dataset" must list {data.channel + 1} or more "images".'
        raise InputError(msg)
    label = str(entry.get("label", "")) if isinstance(entry, dict) else ""
    return case, data.folder / str(images[data.channel]), data.folder / label, ""


LAYOUT = Layout("nnunet", "nnU-Net raw (v1 and v2)", EXAMPLE, recognise, read)
