"""The studies of a folder: which CT and which organs belong together, by their names; docs/batch.md tells the rules.

Conventions:
- nothing is guessed: a folder with two CTs or two segmentations is a study with a `problem`, which the batch reports
  as that study's failure (test_batch_studies: `what is ambiguous is told and not guessed`);
- files are found here but not read: whether a CT is one is found out when its turn comes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from CTGLIPLib.dicom import SUFFIXES, is_dicom_file
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import shown_name
from CTGLIPLib.label_names import IMAGE_ENDINGS, LIST_ENDINGS, image_stem
from CTGLIPLib.study import is_study_file

UNNAMED_PATTERNS = ("segmentation*", "organs*", "seg*", "totalseg*")
ORGAN_PATTERNS = (*UNNAMED_PATTERNS, "*_seg", "*-seg", "*_dseg", "*_segmentation")
"""Names of organ files, without ending, and of folders of masks, in a study's folder."""
MASK_FOLDERS = ("masks", "segmentations")
"""Folders of masks in a study's folder; beside CTs that share a folder they hold each CT's masks under its name."""
PAIR_ENDINGS = ("_seg", "-seg", "_dseg", "_segmentation", "_organs")
"""NAME + one of these are the organs of NAME, where CTs share a folder."""
CT_ENDINGS = ("_ct", "-ct", "_image", "_0000")
"""NAME + one of these is a CT whose organs may be named by NAME alone."""
MASK_WORDS = frozenset({"mask", "masks", "msk", "seg", "label", "labels", "roi", "gtv"})
"""A file whose name has one of these words is no CT."""
SLICER_ENDINGS = (".seg.nrrd", ".seg.nhdr")
LIST_STEMS = ("structures", "labels", "names", "organ_names", "classes")
"""Names, without ending, of a list of organ names that belongs to the only label map in its folder."""


@dataclass(frozen=True)
class BatchStudy:
    """One study of a batch.

    Attributes:
        name: its folder's name, or its file's without ending.
        source: the CT's file, its DICOM folder, or a study file (.ctglip); None where it could not be told.
        segmentation: the organs' file or folder; None = to be found by a segmenter.
        lists: lists of organ names in the study's folder.
        unused: names of images in the study's folder that are neither CT nor organs.
        problem: why the study cannot be read; empty where it can.
    """

    name: str
    source: Path | None
    segmentation: Path | None = None
    lists: tuple[Path, ...] = ()
    unused: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class FoundStudies:
    """The studies of a folder by name, and the names of what belongs to none of them."""

    studies: tuple[BatchStudy, ...]
    passed_over: tuple[str, ...]


def find_studies(folder: Path, out: Path | None = None) -> FoundStudies:
    """The studies of a folder, sorted by name.

    Args:
        folder: holds a folder for each study, or CTs and study files, or is itself one study.
        out: the folder of results, which is no study.

    Raises:
        InputError: if there is no such folder, it cannot be read, it holds no study, or two studies have one name.
    """
    if not folder.is_dir():
        msg = f"Expected a folder of studies, got {folder}, which {_what_is(folder)}. Give the folder that holds them."
        raise InputError(msg)
    try:
        found = _found(folder, _real(out) if out else None)
    except OSError as error:
        msg = f"{folder} could not be read: {error.strerror or error}. Check that you may open its files."
        raise InputError(msg) from error
    if not found.studies:
        msg = (
            f"Expected studies in {folder}, found none: no CT file (NIfTI, NRRD, MetaImage), no DICOM slices, no study "
            "file (.ctglip), neither in it nor in its folders. docs/batch.md tells how studies are laid out."
        )
        raise InputError(msg)
    _require_names(found.studies)
    return found


def _found(folder: Path, out: Path | None) -> FoundStudies:
    entries = _visible(folder, out)
    images = [path for path in entries if _is_image(path)]
    folders = [path for path in entries if path.is_dir()]
    if _is_one_study(entries, images, folders):
        study = _study_in(folder, out)
        unused = [] if study.source == folder else [path.name for path in folders if not _is_mask_folder(path)]
        return FoundStudies((study,), tuple(unused))
    shelf = _organs_beside(images, folders)
    candidates = _ct_candidates([path for path in images if path not in shelf and not _is_organ_file(path)])
    studies = [_with_organs(BatchStudy(shown_name(image_stem(path)), path), shelf) for path in candidates]
    studies += [BatchStudy(shown_name(path.stem), path) for path in entries if is_study_file(path)]
    passed_over = [path.name for path in images if path not in candidates]
    for sub in folders:
        if sub in shelf or sub.name.lower() in MASK_FOLDERS:
            continue
        study = _study_or_problem_in(sub, out)
        if study.source or study.problem:
            studies.append(study if study.segmentation or study.problem else _with_organs(study, shelf))
        else:
            passed_over.append(sub.name)
    used = {study.segmentation.name for study in studies if study.segmentation}
    passed_over = [name for name in passed_over if name not in used]
    return FoundStudies(tuple(sorted(studies, key=lambda study: study.name.lower())), tuple(sorted(passed_over)))


def _is_one_study(entries: Sequence[Path], images: Sequence[Path], folders: Sequence[Path]) -> bool:
    """Whether a folder is one study: a file ct.*, DICOM slices, or organs of no name beside a CT or the only folder."""
    if any(_stem(path) == "ct" for path in images) or any(_is_dicom(path) for path in entries):
        return True
    organs = [path for path in images if _is_organ_file(path)]
    others = [path for path in folders if not _is_mask_folder(path)]
    is_unnamed = any(_name_of_pair(path) is None for path in organs)
    return is_unnamed and (len(others) == 1 or bool(_ct_candidates([path for path in images if path not in organs])))


def _study_in(folder: Path, out: Path | None) -> BatchStudy:
    """The study of a folder of its own; without source and problem where the folder holds none."""
    name = _folder_name(folder)
    entries = _visible(folder, out)
    images = [path for path in entries if _is_image(path)]
    organs = [path for path in entries if _is_organ_file(path) or _is_mask_folder(path)]
    candidates = _ct_candidates([path for path in images if path not in organs])
    if len(candidates) > 1:
        advice = "Name the CT ct (such as ct.nii.gz), or give each a folder of its own."
        return BatchStudy(name, None, problem=f"{_several('CT', candidates)} {advice}")
    source = candidates[0] if candidates else _dicom_or_study_file(folder, entries)
    if source is None:
        return BatchStudy(name, None, problem=_why_no_ct([path for path in entries if is_study_file(path)] or images))
    if is_study_file(source):
        return BatchStudy(name, source)
    if len(organs) > 1:
        return BatchStudy(name, None, problem=_two_segmentations(organs))
    unused = tuple(path.name for path in images if path not in (source, *organs))
    return BatchStudy(name, source, organs[0] if organs else None, _lists(entries), unused)


def _study_or_problem_in(folder: Path, out: Path | None) -> BatchStudy:
    """The study of a folder of its own, also of one that may not be opened: it fails, and the others are answered."""
    try:
        return _study_in(folder, out)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problem = f"Expected a folder that can be read, got: {reason}. Check that you may open its files."
        return BatchStudy(_folder_name(folder), None, problem=problem)


def _why_no_ct(files: Sequence[Path]) -> str:
    """What is wrong with a folder that has these files but no CT; nothing where it has none."""
    if not files:
        return ""
    if is_study_file(files[0]):
        return f"{_several('study file', files)} Move all but one away."
    return f"Expected a CT, got {_listed(files)} only. Add it as ct.nii.gz, or move these away."


def _two_segmentations(organs: Sequence[Path]) -> str:
    return f"{_several('segmentation', organs)} Move all but one away."


def _ct_candidates(images: Sequence[Path]) -> list[Path]:
    """The files that may be CTs: those named ct, else those with the word ct, else all, masks left out."""
    named = [path for path in images if _stem(path) == "ct"]
    others = [path for path in images if not MASK_WORDS & _words(path)]
    return named or [path for path in others if "ct" in _words(path)] or others


def _dicom_or_study_file(folder: Path, entries: Sequence[Path]) -> Path | None:
    """The folder itself if it holds DICOM slices at any depth, else its only study file, else None."""
    if any(_is_dicom(Path(root, file)) for root, _, files in os.walk(folder) for file in files):
        return folder
    files = [path for path in entries if is_study_file(path)]
    return files[0] if len(files) == 1 else None


def _organs_beside(images: Iterable[Path], folders: Sequence[Path]) -> dict[Path, str]:
    """The files and folders of organs among studies that lie side by side, with the study's name in lower case."""
    found = {path: name for path in (*images, *folders) if (name := _name_of_pair(path)) is not None}
    for shelf in folders:
        if shelf.name.lower() in MASK_FOLDERS:
            shelved = [path for path in _visible(shelf, None) if _is_image(path) or _holds_images(path)]
            found |= {path: _name_of_pair(path) or _stem(path) for path in shelved}
    return found


def _with_organs(study: BatchStudy, shelf: Mapping[Path, str]) -> BatchStudy:
    """The study with the organs that bear its name; with a problem where there are several."""
    stem = study.name.lower()
    names = {stem, *(stem.removesuffix(ending) for ending in CT_ENDINGS)}
    organs = [path for path, name in shelf.items() if name in names]
    if len(organs) > 1:
        return BatchStudy(study.name, None, problem=_two_segmentations(organs))
    return replace(study, segmentation=organs[0] if organs else None)


def _name_of_pair(path: Path) -> str | None:
    """The lower-case name of the study whose organs a file or folder is by its own; None where it is no such thing."""
    stem = _stem(path)
    if path.name.lower().endswith(SLICER_ENDINGS) and not any(fnmatch(stem, pattern) for pattern in UNNAMED_PATTERNS):
        return next((stem.removesuffix(ending) for ending in PAIR_ENDINGS if stem.endswith(ending)), stem)
    name = next((stem.removesuffix(ending) for ending in PAIR_ENDINGS if stem.endswith(ending)), None)
    return name if name is not None and (_is_image(path) or _holds_images(path)) else None


def _visible(folder: Path, out: Path | None) -> list[Path]:
    """The entries of a folder by name, hidden ones and the folder of results left out."""
    entries = (path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    return sorted((path for path in entries if _real(path) != out), key=lambda path: path.name.lower())


def _real(path: Path) -> Path:
    """Where a path leads; a link that leads in a circle is no error, as it is for `Path.resolve` before Python 3.13."""
    return Path(os.path.realpath(path))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_ENDINGS) and path.is_file()


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or _is_image(path) or not path.is_file():
        return False
    return path.suffix.lower() in SUFFIXES or is_dicom_file(path)


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(_is_image(entry) for entry in path.iterdir())


def _has_organ_name(path: Path) -> bool:
    is_slicers = path.name.lower().endswith(SLICER_ENDINGS)
    return is_slicers or any(fnmatch(_stem(path), pattern) for pattern in ORGAN_PATTERNS)


def _is_organ_file(path: Path) -> bool:
    return _is_image(path) and _has_organ_name(path)


def _is_mask_folder(path: Path) -> bool:
    return path.is_dir() and (path.name.lower() in MASK_FOLDERS or _has_organ_name(path)) and _holds_images(path)


def _folder_name(folder: Path) -> str:
    """The name as given, not that of a link's target, which may be a patient's."""
    name = folder.resolve().name if folder.name in {"", ".."} else folder.name
    return shown_name(name)


def _lists(entries: Iterable[Path]) -> tuple[Path, ...]:
    endings = (path for path in entries if path.suffix.lower() in LIST_ENDINGS and path.is_file())
    return tuple(path for path in endings if path.stem.lower() in LIST_STEMS)


def _stem(path: Path) -> str:
    """The lower-case name without the ending of an image."""
    stem = image_stem(path) if path.name.lower().endswith(IMAGE_ENDINGS) else path.name
    return shown_name(stem.lower().removesuffix(".seg"))


def _words(path: Path) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", _stem(path)))


def _several(what: str, paths: Sequence[Path]) -> str:
    return f"Expected one {what}, got {len(paths)}: {_listed(paths)}."


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name + ("/" if path.is_dir() else "") for path in paths[:5])
    return names + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _what_is(path: Path) -> str:
    return "is a file" if path.exists() else "does not exist"


def _require_names(studies: Sequence[BatchStudy]) -> None:
    """Raise InputError if two studies have one name, capital letters aside."""
    names: dict[str, str] = {}
    for study in studies:
        if other := names.get(study.name.lower()):
            msg = (
                f"Every study needs a name of its own, but two are named {other!r}"
                f"{'' if other == study.name else f' and {study.name!r}'}. Rename one of the files or folders."
            )
            raise InputError(msg)
        names[study.name.lower()] = study.name
