"""The folder of masks that `ctglip-train masks` fills: a label map a study, and why studies have none.

Conventions:
- a study's masks are NAME.nii.gz and NAME.json, its organs' names, which is written last: where both are, the masks are
  whole (test_masks_command: `a study that was interrupted is made again`);
- why a study failed is kept in .failed/NAME.json, a file a study, so that machines never write the same one at once;
  failures.csv is gathered from them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ctglip_training.data.check import file_marks
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.masks import masks_path
from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_grid
from CTGLIPLib.errors import CTGLIPError, GeometryError, InputError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.nifti import read_nifti_grid
from CTGLIPLib.segmentation_io import write_segmentation
from CTGLIPLib.volume import Segmentation

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
NAMED_BY = "header"
"""`Study.mask_names` of these masks: the list of names lies beside the label map."""
FAILURES = "failures.csv"
FAILURE_COLUMNS = ("study", "error", "message")


@dataclass(frozen=True)
class Failure:
    """Why a study has no masks: the error's class and its message."""

    study: str
    error: str
    message: str


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks made for a manifest's studies."""

    folder: Path

    def label_map(self, study: Study) -> Path:
        """Where the study's label map lies, made or not."""
        return self.folder / f"{file_name(study.id)}.nii.gz"

    def has(self, study: Study) -> bool:
        """Whether the study's masks are there, whole."""
        label_map = self.label_map(study)
        return label_map.is_file() and self._names(study).is_file()

    def require_of(self, manifest: Manifest, study: Study) -> None:
        """Nothing, if the study's masks have its CT's grid, by their headers; passed over where there is none.

        Raises:
            GeometryError: if they lie on another grid: another data set's masks were written here.
        """
        path = self.label_map(study)
        try:
            grid, own = read_study_grid(manifest, study), read_nifti_grid(path)
        except (InputError, GeometryError):
            return  # a CT that was moved away or is broken does not make its masks wrong
        if grid is not None and not same_grid(grid, own):
            msg = (
                f"{path} holds masks of another CT:\n  CT    {grid.describe()}\n  masks {own.describe()}\n"
                "Delete it, or choose another folder with --out."
            )
            raise GeometryError(msg)

    def keep(self, study: Study, found: Segmentation) -> None:
        """Write the study's masks, and forget that it failed before.

        Raises:
            OutputError: if the folder cannot be written or the disk is full.
        """
        write_segmentation(found, self.label_map(study))
        self._failed(study).unlink(missing_ok=True)

    def note_failure(self, manifest: Manifest, study: Study, failure: Failure) -> None:
        """Remember why the study has no masks.

        Raises:
            OutputError: if the folder cannot be written or the disk is full.
        """
        facts = {**vars(failure), "inputs": _inputs(manifest, study)}
        write_whole_text(self._failed(study), json.dumps(facts, ensure_ascii=False))

    def forget_failure(self, study: Study) -> None:
        """Let the study be tried again."""
        self._failed(study).unlink(missing_ok=True)

    def failure(self, manifest: Manifest, study: Study) -> Failure | None:
        """Why the study failed before; None where it did not, or its CT or corrections have changed since."""
        try:
            facts = json.loads(self._failed(study).read_text(encoding="utf-8"))
            if facts["inputs"] != _inputs(manifest, study):
                return None
            return Failure(study.id, str(facts["error"]), str(facts["message"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_failures(self, manifest: Manifest) -> int:
        """Gather failures.csv, or remove it where nothing failed; the number of the manifest's failed studies.

        Raises:
            OutputError: if the folder cannot be written or the disk is full.
        """
        found = [self.failure(manifest, study) for study in manifest.studies if self._failed(study).is_file()]
        failures = [failure for failure in found if failure]
        if not failures:
            (self.folder / FAILURES).unlink(missing_ok=True)
            return 0
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(FAILURE_COLUMNS)
        writer.writerows((failure.study, failure.error, failure.message) for failure in failures)
        write_whole_text(self.folder / FAILURES, text.getvalue())
        return len(failures)

    def _names(self, study: Study) -> Path:
        return self.folder / f"{file_name(study.id)}.json"

    def _failed(self, study: Study) -> Path:
        return self.folder / ".failed" / f"{file_name(study.id)}.json"


def file_name(study_id: str) -> str:
    """The id as a file's name; a hash tells ids apart that have other characters than letters, digits, "._-"."""
    if PLAIN_NAME.fullmatch(study_id):
        return study_id
    shown = re.sub(r"[^A-Za-z0-9_-]+", "_", study_id)[:60]
    return f"{shown}-{hashlib.sha256(study_id.encode('utf-8', 'surrogateescape')).hexdigest()[:10]}"


def has_own_masks(manifest: Manifest, study: Study) -> bool:
    """Whether the manifest names masks of the study that are there."""
    try:
        return masks_path(manifest, study).exists()
    except InputError:
        return False


def with_masks(manifest: Manifest, masks: MaskFolder, instead_of_own: bool = False) -> Manifest:
    """The manifest, with the masks in the folder for each study that has some there.

    Args:
        manifest: the manifest.
        masks: the folder.
        instead_of_own: also for studies whose own masks the manifest names.
    """

    def named(study: Study) -> Study:
        if not masks.has(study) or (not instead_of_own and has_own_masks(manifest, study)):
            return study
        try:
            masks.require_of(manifest, study)
        except CTGLIPError:
            return study
        return replace(study, masks=_place(masks.label_map(study), manifest.root), mask_names=NAMED_BY)

    return Manifest(manifest.root, tuple(named(study) for study in manifest.studies))


def _place(path: Path, root: Path) -> str:
    """The path from the data's root on, or the whole path where ".." would lead elsewhere (a root that is a link)."""
    try:
        relative = Path(os.path.relpath(path.absolute(), root.absolute()))
    except ValueError:  # another drive
        return path.absolute().as_posix()
    same = (root / relative).resolve() == path.resolve()
    return relative.as_posix() if same else path.absolute().as_posix()


def _inputs(manifest: Manifest, study: Study) -> str:
    """A hash of all that the masks depend on: how the CT is read, its files' sizes and times."""
    facts = (study.volume, study.series, study.corrections, file_marks(manifest.path(study.volume)))
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
