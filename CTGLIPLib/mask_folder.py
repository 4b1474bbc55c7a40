"""A folder with one mask per organ, as TotalSegmentator writes them: the file's name is the organ's.

Masks that overlap (a lung and its lobes) go to different layers. Guarded by Testing/Lib/test_segmentation_io.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from CTGLIPLib.errors import GeometryError, InputError, LabelError
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.io import read_array
from CTGLIPLib.label_names import IMAGE_ENDINGS, image_stem
from CTGLIPLib.label_values import binary_mask
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.segmentation_names import organ_names, vocabulary_of
from CTGLIPLib.volume import Segmentation

_PLACE = {organ.name: place for place, organ in enumerate(ORGANS)}


def read_mask_folder(folder: Path) -> Segmentation:
    """The organs of a folder with one mask per organ, in the vocabulary's order; empty masks are left out.

    Raises:
        InputError: if there are no images in the folder, or one cannot be read.
        GeometryError: if the masks do not share a grid.
        LabelError: if a file is no mask, two files are the same organ, or all masks are empty.
    """
    files = sorted(path for path in folder.iterdir() if _is_image(path))
    if not files:
        msg = f"{folder} has no masks: expected files such as liver.nii.gz. Give a folder of masks, or a label map."
        raise InputError(msg)
    names = organ_names((path.name, image_stem(path)) for path in files)
    ordered = sorted(zip(names, files, strict=True), key=lambda pair: (_PLACE.get(pair[0], len(_PLACE)), pair[0]))
    layers: list[np.ndarray] = []
    grid: Grid | None = None
    present: list[str] = []
    for name, path in ordered:
        array, own_grid, _ = read_array(path)
        grid = grid or own_grid
        if not same_grid(grid, own_grid):
            raise GeometryError(_other_grid(path, own_grid, ordered[0][1], grid))
        mask = binary_mask(array, path.name)
        if mask.any():
            present.append(name)
            _add(layers, mask, len(present))
    if grid is None or not present:
        msg = f"All {len(files)} masks in {folder} are empty. Check that they belong to this CT, or segment it again."
        raise LabelError(msg)
    return Segmentation(np.stack(layers), grid, tuple(present), f"folder of masks {folder.name}", vocabulary_of(names))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_ENDINGS) and not path.name.startswith(".") and path.is_file()


def _add(layers: list[np.ndarray], mask: np.ndarray, organ: int) -> None:
    """Write an organ into the first layer where it meets no other, or into a new one."""
    for layer in layers:
        if not layer[mask].any():
            layer[mask] = organ
            return
    layers.append(np.where(mask, np.uint16(organ), np.uint16(0)))


def _other_grid(path: Path, grid: Grid, first_path: Path, first_grid: Grid) -> str:
    return (
        f"All masks of a folder must lie on one grid, but {path.name} and {first_path.name} differ:\n"
        f"  {grid.describe()}\n  {first_grid.describe()}\nResample {path.name}, or move it away."
    )
