"""The cases of a tumour data set: CTs with label maps, the names of their classes, and which of them are tumours.

Names come from the data set's own list (dataset.json of MSD and nnU-Net, `mask_names` of a manifest) or from the file
names of a folder of masks, never from bare ids. Guard: test_finetune_cases.py.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctglip_training.data.layout import visible_files
from ctglip_training.data.layouts import read_layout
from ctglip_training.data.manifest import ENDINGS, Manifest, read_manifest
from ctglip_training.data.masks import FINDING_WORDS, given_names, masks_path
from ctglip_training.data.study import Study
from CTGLIPLib.errors import ConfigError, GeometryError, InputError, LabelError
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.io import read_array
from CTGLIPLib.label_names import image_stem
from CTGLIPLib.label_values import used_ids, whole_labels
from CTGLIPLib.volume import Volume

logger = logging.getLogger(__name__)
MOST_CLASSES = 254
"""Labels are kept as uint8, and 255 is what lies outside the scan."""


@dataclass(frozen=True)
class CaseSet:
    """Cases with masks.

    Attributes:
        name: the data set's folder or the manifest's, without its path.
        manifest: where their files lie.
        studies: the cases.
        classes: names of the labels 1, 2, ...
        tumors: those of them that are tumours.
    """

    name: str
    manifest: Manifest
    studies: tuple[Study, ...]
    classes: tuple[str, ...]
    tumors: tuple[str, ...]

    def class_map(self, study: Study) -> Volume:
        """The labels of a case on the grid of its masks: 0 background, n is `classes[n - 1]`; uint8.

        Raises:
            InputError: if the masks are missing or broken.
            GeometryError: if their grid cannot be used, or masks of one case have different grids.
            LabelError: if a value has no name.
        """
        path = masks_path(self.manifest, study)
        return self._painted(path) if path.is_dir() else self._translated(study, path)

    def _translated(self, study: Study, path: Path) -> Volume:
        array, grid, _ = read_array(path)
        labels = whole_labels(array, path.name)
        names = given_names(study) or {}
        lookup = np.zeros(int(labels.max()) + 1, dtype=np.uint8)
        for number in used_ids(labels):
            if names.get(number) not in self.classes:
                msg = (
                    f"{path} has voxels with id {number}, which the data set does not name (it names "
                    f"{', '.join(f'{n} {name}' for n, name in names.items())}). Correct the labels or their list."
                )
                raise LabelError(msg)
            lookup[number] = self.classes.index(names[number]) + 1
        return Volume(lookup[labels], grid)

    def _painted(self, folder: Path) -> Volume:
        """A folder of masks as one label map: organs first, so that a tumour lies upon its organ."""
        files = {image_stem(path): path for path in visible_files(folder)}
        painted: Volume | None = None
        for name in sorted(files, key=lambda stem: (stem in self.tumors, stem)):
            array, grid, _ = read_array(files[name])
            if painted is None:
                painted = Volume(np.zeros(grid.shape_ijk, dtype=np.uint8), grid)
            elif not same_grid(painted.grid, grid):
                msg = (
                    f"The masks in {folder} must share one grid, but {name} differs:\n  {grid.describe()}\n  "
                    f"{painted.grid.describe()}\nResample them to the CT."
                )
                raise GeometryError(msg)
            painted.array[array > 0.5] = self.classes.index(name) + 1
        assert painted is not None  # masks_path found a file
        return painted


def open_cases(data: Path, tumors: Sequence[str] = ()) -> CaseSet:
    """The cases of a data set.

    Args:
        data: an MSD or nnU-Net folder as it was downloaded, or a manifest whose studies have masks.
        tumors: names of the classes that are tumours; empty = those whose names say so ("cancer", "GTV_Mass"), or the
            only class.

    Raises:
        InputError: if there is no such data set, no case with masks, or a case without that is no test case.
        LabelError: if classes have no names, or none of them is known for a tumour.
        ConfigError: if a tumour is no class.
    """
    if data.suffix.lower() in ENDINGS:
        manifest, folder = read_manifest(data), data.absolute().parent
    else:
        reading = read_layout(data)[1]
        manifest, folder = Manifest(data, reading.studies), data.absolute()
        for note in reading.notes:
            logger.warning("%s", note)
    studies = tuple(study for study in manifest.usable if study.masks)
    if not studies:
        msg = f"{data} has {len(manifest.studies)} cases, none of them with masks. Fine-tuning needs label maps."
        raise InputError(msg)
    lacking = [study.id for study in manifest.usable if not study.masks and study.split != "test"]
    if lacking:
        msg = (
            f"{len(lacking)} of {len(manifest.usable)} cases have no label map, the first one {lacking[0]}. Download "
            "it, or give a manifest (`ctglip-train manifest`) without these cases."
        )
        raise InputError(msg)
    classes = tuple(dict.fromkeys(name for study in studies for name in _names(manifest, study)))
    if len(classes) > MOST_CLASSES:
        msg = f"Expected {MOST_CLASSES} classes at most, got {len(classes)}. Leave some masks out."
        raise LabelError(msg)
    return CaseSet(folder.name, manifest, studies, classes, _tumors_among(classes, tumors))


def _names(manifest: Manifest, study: Study) -> tuple[str, ...]:
    path = masks_path(manifest, study)
    if path.is_dir():
        return tuple(image_stem(file) for file in visible_files(path))
    names = given_names(study)
    if not names:
        msg = (
            f"The masks {path} need a name for each id. Write them into mask_names of the manifest, "
            'such as {"1": "liver", "2": "liver tumor"}.'
        )
        raise LabelError(msg)
    return tuple(names.values())


def _tumors_among(classes: tuple[str, ...], asked: Sequence[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in classes:
            close = difflib.get_close_matches(name, classes, n=1, cutoff=0.0)[0]
            msg = f"Expected tumours among the classes {', '.join(classes)}; got {name!r}. The closest is {close!r}."
            raise ConfigError(msg)
    if asked:
        return tuple(name for name in classes if name in asked)
    found = tuple(name for name in classes if FINDING_WORDS.search(name.lower().replace("_", " ")))
    if found or len(classes) == 1:
        return found or classes
    msg = f"None of the classes {', '.join(classes)} is known for a tumour. Name those that are with --tumors."
    raise LabelError(msg)
