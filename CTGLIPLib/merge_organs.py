"""Masks that belong together put together before they are pooled.

TotalSegmentator v2 cuts renal cysts out of the kidneys as organs of their own. A question about a cyst of the left
kidney is answered from the left kidney's embedding, which must therefore see the cyst. Volumes, positions, pictures and
saved segmentations keep the masks as they came. Guarded by Testing/Lib/test_merge_organs.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CTGLIPLib.volume import Segmentation

CYSTS = {"kidney_left": "kidney_cyst_left", "kidney_right": "kidney_cyst_right"}


def with_kidney_cysts(segmentation: Segmentation) -> Segmentation:
    """The segmentation with each kidney's cysts in the kidney too; the cysts stay organs of their own.

    A kidney that is not in the scan is not made from its cysts.
    """
    merged = segmentation
    for kidney, cyst in CYSTS.items():
        if kidney in merged.names and cyst in merged.names:
            merged = _with_part(merged, kidney, cyst)
    return merged


def _with_part(segmentation: Segmentation, whole: str, part: str) -> Segmentation:
    """The segmentation where the organ `whole`, in a new layer of its own, covers the organ `part` as well."""
    core, more = segmentation.mask(whole), segmentation.mask(part)
    if not core.any() or not more.any():
        return segmentation
    number, layers = segmentation.names.index(whole) + 1, segmentation.layers.transpose(0, 3, 2, 1)
    merged = np.zeros((len(layers) + 1, *layers.shape[1:]), layers.dtype)  # i fastest, as label maps are in memory
    np.copyto(merged[:-1], layers, where=layers != number)
    np.putmask(merged[-1], (core | more).T, number)
    return replace(segmentation, layers=merged.transpose(0, 3, 2, 1))
