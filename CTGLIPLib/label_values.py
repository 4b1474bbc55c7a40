"""Which voxel values a label map or a mask may have.

Guarded by Testing/Lib/test_segmentation_io.py.
"""

from __future__ import annotations

import numpy as np

from CTGLIPLib.errors import LabelError

LARGEST_ID = 65535
SOFT_MASK_THRESHOLD = 0.5
EMPTY_MAP = "{} is empty: all voxels are 0. Check that it belongs to this CT, or segment the CT again."


def whole_labels(array: np.ndarray, what: str) -> np.ndarray:
    """The array as uint8 or uint16 labels.

    Args:
        array: integers, or floats that hold whole numbers.
        what: the file, for messages.

    Raises:
        LabelError: if values are not whole numbers from 0 to 65535.
    """
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= LARGEST_ID):
        msg = (
            f"{what} is no label map: its values run from {low:g} to {high:g}, but ids go from 0 to {LARGEST_ID}. "
            "Give the label map; is this the CT?"
        )
        raise LabelError(msg)
    labels = array if array.dtype in (np.uint8, np.uint16) else array.astype(np.uint16)
    if array.dtype.kind == "f" and (labels != array).any():
        value = array[labels != array][0]
        msg = (
            f"{what} is no label map: it has values that are not whole, such as {value:g}. "
            "Give the label map; is this the CT or a soft mask?"
        )
        raise LabelError(msg)
    return labels


def used_ids(labels: np.ndarray) -> list[int]:
    """The ids that have voxels, ascending, without the background 0."""
    present = np.zeros(int(labels.max()) + 1, bool)
    for slab in labels.T:
        present[slab[slab > 0]] = True
    return [int(number) for number in np.flatnonzero(present)]


def binary_mask(array: np.ndarray, what: str) -> np.ndarray:
    """The voxels of a mask, bool, in the array's shape: those of its one value besides 0, or above 0.5 if it is soft.

    Args:
        array: integers, or numbers from 0 to 1.
        what: the file, for messages.

    Raises:
        LabelError: if there are negative or undefined values, or several other than those between 0 and 1.
    """
    low, high = array.min(), array.max()
    if not low >= 0 or not np.isfinite(high):
        msg = (
            f"{what} is no mask: its values run from {low:g} to {high:g}, expected 0 and 1. "
            "Only masks may lie in a folder of masks; move it away."
        )
        raise LabelError(msg)
    if array.dtype.kind == "f" and high <= 1:
        return array > SOFT_MASK_THRESHOLD
    foreground = array != 0
    if (array[foreground] != high).any():
        shown = ", ".join(f"{value:g}" for value in np.unique(array[foreground])[:5])
        msg = (
            f"{what} holds several values ({shown}, ...), expected one organ a file. "
            "Move it away, or give it alone as a label map with --names FILE."
        )
        raise LabelError(msg)
    return foreground
