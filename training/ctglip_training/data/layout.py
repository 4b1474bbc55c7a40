"""What a layout is: signs by which it is recognised, and a reader that takes it unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ctglip_training.data.study import Study
from CTGLIPLib.errors import InputError
from CTGLIPLib.label_names import IMAGE_ENDINGS
from CTGLIPLib.progress import ProgressCallback

NIFTI_ENDINGS = (".nii.gz", ".nii")
MOST_TABLE_FOLDERS = 200


@dataclass(frozen=True)
class Fit:
    """How a folder fits a layout.

    Attributes:
        has: what of the layout is there; empty = nothing of it.
        missing: what the layout needs and the folder lacks; empty beside `has` = it fits.
    """

    has: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the folder can be read as this layout."""
        return bool(self.has) and not self.missing


@dataclass(frozen=True)
class Reading:
    """The studies of a data set, and what its user should know about what was left out."""

    studies: tuple[Study, ...]
    notes: tuple[str, ...] = ()


Recogniser = Callable[[Path], Fit]
Reader = Callable[[Path, ProgressCallback | None], Reading]


@dataclass(frozen=True)
class Layout:
    """A way in which a data set lies on disk.

    Attributes:
        name: what `--layout` calls it.
        title: the data set's own name.
        example: the path of one of its volumes, for messages.
        recognise: how a folder fits.
        read: the studies of a folder that fits.
    """

    name: str
    title: str
    example: str
    recognise: Recogniser
    read: Reader


def fit(found: Iterable[tuple[str, bool]]) -> Fit:
    """The fit of a folder, from what the layout needs and whether it is there."""
    parts = tuple(found)
    return Fit(tuple(what for what, there in parts if there), tuple(what for what, there in parts if not there))


def relative(path: Path, root: Path) -> str:
    """A path from the root on, with "/"; a listed path that leads out of it begins with ".."."""
    return Path(os.path.relpath(path, root)).as_posix()


def is_image(name: str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> bool:
    """Whether a file's name ends as an image does; hidden files (macOS leaves "._ct.nii.gz") are none."""
    return name.lower().endswith(endings) and not name.startswith((".", "_"))


def visible_files(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """The image files of a folder by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image(path.name, endings) and path.is_file())


def subfolders(folder: Path, pattern: str = "*") -> list[Path]:
    """The folders in a folder by name, hidden ones left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob(pattern) if path.is_dir() and not path.name.startswith((".", "__")))


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below one, and the names of its files, in a fixed order; hidden folders left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield Path(place), sorted(name for name in files if not name.startswith("."))


def require_studies(studies: Iterable[Study], root: Path, layout: str, example: str) -> tuple[Study, ...]:
    """The studies as a tuple.

    Raises:
        InputError: if there is none.
    """
    found = tuple(studies)
    if not found:
        msg = (
            f"{root} was read as {layout}, but has no volume such as {example}. Download the volumes, or check --root."
        )
        raise InputError(msg)
    return found


def not_on_disk(count: int, what: str) -> tuple[str, ...]:
    """A note on rows of a table that have no volume, if there are any."""
    return (f"{count:,} {what} have no volume on disk and were left out.",) if count else ()


def find_tables(root: Path, names: Iterable[str]) -> list[Path]:
    """The tables of these names in the root, or one or two folders below it (dataset/metadata/...).

    A folder with very many folders holds studies, not tables; it is not searched, which on a network drive takes long.
    """
    places = [root]
    for _ in range(2):
        below = [folder for place in places for folder in _few_subfolders(place)]
        places = list(dict.fromkeys([*places, *below]))
    return sorted(place / name for place in places for name in names if (place / name).is_file())


def _few_subfolders(folder: Path) -> list[Path]:
    found = subfolders(folder)
    return found if len(found) <= MOST_TABLE_FOLDERS else []
