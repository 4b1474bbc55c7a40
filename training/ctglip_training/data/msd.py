"""Medical Segmentation Decathlon: TaskNN_Name with dataset.json that lists images and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctglip_training.data.layout import Fit, Layout, Reading, fit, not_on_disk, relative, require_studies, subfolders
from ctglip_training.data.study import Split, Study
from CTGLIPLib.errors import InputError
from CTGLIPLib.label_names import image_stem, whole_number
from CTGLIPLib.progress import ProgressCallback, report

EXAMPLE = "Task03_Liver/imagesTr/liver_0.nii.gz"
FILE = "dataset.json"


def recognise(root: Path) -> Fit:
    """dataset.json with a list of training images, and imagesTr without channel numbers."""
    tasks = [folder for folder in task_folders(root) if not uses_channels(folder)]
    if not tasks:
        return without_list(root, channels=False)
    listed = [folder for folder in tasks if isinstance(read_json(folder / FILE).get("training"), list)]
    images = any((folder / "imagesTr").is_dir() for folder in tasks)
    return fit([(FILE, True), (f'"training" in {FILE}', bool(listed)), ("imagesTr", images)])


def read(root: Path, progress: ProgressCallback | None = None) -> Reading:
    """The cases of one task, or of every task in a folder of tasks.

    Raises:
        InputError: if dataset.json is broken, the images are no CT, or there is no volume.
    """
    tasks = [folder for folder in task_folders(root) if not uses_channels(folder)]
    studies: list[Study] = []
    absent = 0
    for done, folder in enumerate(tasks):
        report(progress, "reading Medical Segmentation Decathlon", done, len(tasks))
        facts = read_json(folder / FILE)
        require_ct(facts.get("modality"), folder / FILE)
        names = json.dumps(names_of_ids(facts, folder / FILE))
        prefix = f"{folder.name}/" if len(tasks) > 1 else ""
        for entry in _entries(facts, folder / FILE):
            image, label, split = entry
            volume, masks = folder / image, folder / label
            if not volume.is_file():
                absent += 1
                continue
            has_masks = bool(label) and masks.is_file()
            case = image_stem(volume)
            studies.append(
                Study(
                    id=f"{prefix}{case}",
                    patient=f"{prefix}{case}",
                    volume=relative(volume, root),
                    layout="msd",
                    masks=relative(masks, root) if has_masks else "",
                    mask_names=names if has_masks else "",
                    split=split,
                )
            )
    return Reading(require_studies(studies, root, "MSD", EXAMPLE), not_on_disk(absent, f"images of {FILE}"))


def task_folders(root: Path) -> list[Path]:
    """The root itself if it has a dataset.json, else its folders that have one."""
    if (root / FILE).is_file():
        return [root]
    return [folder for folder in subfolders(root) if (folder / FILE).is_file()]


def without_list(root: Path, *, channels: bool) -> Fit:
    """The fit of folders of images of which none has a dataset.json; none where one has."""
    if task_folders(root):
        return Fit()
    images = [folder for folder in (root, *subfolders(root)) if (folder / "imagesTr").is_dir()]
    return fit([("imagesTr", True), (FILE, False)] if any(uses_channels(f) == channels for f in images) else [])


def uses_channels(folder: Path) -> bool:
    """Whether images end in a channel's number (_0000), as nnU-Net's do."""
    images = folder / "imagesTr"
    return images.is_dir() and any("_0000." in path.name for path in images.iterdir())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: if it cannot be read or is no object.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}). Download it again."
        raise InputError(msg) from error
    if not isinstance(facts, dict):
        msg = f"{path} must be a JSON object, got {type(facts).__name__}. Download it again."
        raise InputError(msg)
    return facts


def require_ct(channels: object, path: Path) -> int:
    """The number of the channel that is the CT.

    Raises:
        InputError: if no channel is named CT.
    """
    named = channels if isinstance(channels, Mapping) else {}
    for key, name in named.items():
        if str(name).strip().upper() in {"CT", "CTNORMALIZATION"} and whole_number(key) is not None:
            return whole_number(key) or 0
    shown = ", ".join(map(str, named.values())) or "none"
    msg = f"{path} must have a channel named CT, got {shown}. CT-GLIP is trained on CT only: leave this set out."
    raise InputError(msg)


def names_of_ids(facts: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The organ or finding of each id, background left out; of regions (lists) the smallest that holds the id.

    Raises:
        InputError: if "labels" is missing or no map.
    """
    labels = facts.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        msg = f'{path} must have "labels" with a name for each id, got {labels!r}. Add them.'
        raise InputError(msg)
    sized: dict[int, tuple[int, str]] = {}
    for key, value in labels.items():
        ids, name = ([whole_number(key)], value) if isinstance(value, str) and whole_number(value) is None else (
            [whole_number(item) for item in (value if isinstance(value, list) else [value])], key)  # fmt: skip
        for number in ids:
            if number is None:
                msg = f'{path}: "labels" must hold whole numbers and names, got {key!r}: {value!r}. Correct it.'
                raise InputError(msg)
            if number and str(name).lower() != "ignore" and (number not in sized or len(ids) < sized[number][0]):
                sized[number] = (len(ids), str(name))
    return {str(number): name for number, (_, name) in sorted(sized.items())}


def _entries(facts: Mapping[str, Any], path: Path) -> list[tuple[str, str, Split]]:
    """(image, label, split) of each case; test cases have no label.

    Raises:
        InputError: if an entry is neither a path nor an object with "image".
    """
    found: list[tuple[str, str, Split]] = []
    parts: tuple[tuple[str, Split], ...] = (("training", ""), ("test", "test"))
    for key, split in parts:
        for entry in facts.get(key) or []:
            image = entry.get("image") if isinstance(entry, dict) else entry
            label = entry.get("label", "") if isinstance(entry, dict) else ""
            if not isinstance(image, str) or not isinstance(label, str):
                msg = f'{path}: an entry of "{key}" must be a path or have "image" and "label", got {entry!r}.'
                raise InputError(msg)
            if not Path(image).name.startswith((".", "_")):
                found.append((image, label, split))
    return found


LAYOUT = Layout("msd", "Medical Segmentation Decathlon", EXAMPLE, recognise, read)
