"""An organ against itself and its surroundings: what stands out of its inner voxels, and what lies around it.

Ours, beside the paper. A stone or cyst of a few voxels hardly moves an average over the whole organ, and contrast
medium moves it more; the extremes of the organ's core, measured from the core's own median, show the one and not the
other. Fluid and stranded fat lie outside the mask, where no pooling looks.

Convention: measured once a study on the network's grid, whatever the windows (guard: test_core_and_shell.py).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTGLIPLib.intensity import HU_CENTRES, bin_sums, to_hu, widened
from CTGLIPLib.windows import Box

RELATIVE_CENTRES = (
    -400.0, -200.0, -120.0, -80.0, -50.0, -30.0, -15.0, 0.0, 15.0, 30.0, 50.0, 80.0, 120.0, 200.0, 400.0, 800.0,
)  # fmt: skip
QUANTILES = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
CORE_AND_SHELL_FEATURES = 2 * len(RELATIVE_CENTRES) + len(QUANTILES) + 2 * len(HU_CENTRES)
FEWEST_CORE_VOXELS = 8
SHELL_VOXELS = (1, 3)
"""The shell is more than the first and at most the second of these away from the organ."""
SLAB_VOXELS = 128
"""Slices looked at together, so that the memory for an organ as long as the scan does not grow with it."""
LOG_SCALE = 1000.0
QUANTILE_HU = 10.0


def core_and_shell(
    image: np.ndarray, layers: np.ndarray, count: int, window_hu: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """Each organ's core and shell as the network reads them, float32, shape (organ, 81); zeros without voxels.

    Columns: histogram of HU minus the median in the organ's core (the organ less its outermost voxels), the logarithms
    of its small shares, quantiles of the same differences on a logarithmic scale; then histogram of HU in the shell of
    voxels around the organ, and its logarithms.

    Args:
        image: the CT, shape (i, j, k).
        layers: number of the organ that each voxel belongs to, from 1 on, 0 for none, shape (layer, i, j, k).
        count: how many organs there are.
        window_hu: the HU that 0 and 1 of the image stand for; as it is, the image is in HU.
    """
    features = np.zeros((count, CORE_AND_SHELL_FEATURES), dtype=np.float32)
    for layer in layers:
        for organ, box in enumerate(ndimage.find_objects(layer, max_label=count)):
            if box is not None:
                features[organ] = _of_organ(image, layer, box, organ + 1, window_hu)
    return features


def _of_organ(
    image: np.ndarray, layer: np.ndarray, box: tuple[slice, ...], number: int, window_hu: tuple[float, float]
) -> np.ndarray:
    """The columns of the organ of that number, which lies in the box."""
    i, j, k = widened(box, SHELL_VOXELS[1], image.shape)
    slabs = [
        _of_slab(image, layer, (i, j, slice(start, min(start + SLAB_VOXELS, k.stop))), number)
        for start in range(k.start, k.stop, SLAB_VOXELS)
    ]
    mask, core, around = (to_hu(np.concatenate(parts), window_hu) for parts in zip(*slabs, strict=True))
    core = np.sort(core if len(core) >= FEWEST_CORE_VOXELS else mask)
    around = around if len(around) else mask
    inside = core - _quantiles(core, (0.5,)).astype(core.dtype)
    quantiles = _quantiles(inside, QUANTILES)
    return np.concatenate(
        [
            _with_logarithms(_histogram(inside, RELATIVE_CENTRES)),
            np.sign(quantiles) * np.log1p(np.abs(quantiles) / QUANTILE_HU),
            _with_logarithms(_histogram(around, HU_CENTRES)),
        ]
    )


def _of_slab(image: np.ndarray, layer: np.ndarray, slab: Box, number: int) -> tuple[np.ndarray, ...]:
    """The image's values in an organ, in its core and in its shell, as far as they lie in the slab."""
    i, j, k = slab
    far = SHELL_VOXELS[1]
    low = max(0, k.start - far)
    # Rows and slices of the flat array are parted by as many empty voxels as a shell can cross.
    mask = np.ascontiguousarray(np.pad(layer[i, j, low : k.stop + far] == number, ((0, far),) * 3))
    grown = [mask.ravel()]
    steps = [stride // mask.itemsize for stride in mask.strides]
    for _ in range(far):
        grown.append(_grown(grown[-1], steps))
    shell = grown[SHELL_VOXELS[0]] != grown[far]
    values, own = image[slab], (slice(-far), slice(-far), slice(k.start - low, k.stop - low))
    wanted = (mask, _shrunk(grown[0], steps), shell)
    return tuple(values[where.reshape(mask.shape)[own]] for where in wanted)


def _grown(mask: np.ndarray, steps: list[int]) -> np.ndarray:
    """The voxels of a flat mask and those one of the steps away from them, to either side."""
    grown = mask.copy()
    for step in steps:
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    return grown


def _shrunk(mask: np.ndarray, steps: list[int]) -> np.ndarray:
    """The voxels of a flat mask that have others of it one of the steps away, to both sides."""
    shrunk = mask.copy()
    for step in steps:
        shrunk[:step] = False
        shrunk[step:] &= mask[:-step]
        shrunk[:-step] &= mask[step:]
    return shrunk


def _quantiles(values: np.ndarray, wanted: tuple[float, ...]) -> np.ndarray:
    """Quantiles of sorted values, linear between two of them, float64."""
    place = np.array(wanted) * (len(values) - 1)
    lower = place.astype(np.intp)
    first, second = values[lower], values[np.minimum(lower + 1, len(values) - 1)]
    return first + (place - lower) * (second - first)


def _histogram(values: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Shares of the bins, each value split between its two nearest centres, summing to 1."""
    return bin_sums(values, centres, 0, 1)[0] / len(values)


def _with_logarithms(shares: np.ndarray) -> np.ndarray:
    """The shares and the logarithms that bring small ones into view."""
    return np.concatenate([shares, np.log1p(LOG_SCALE * shares)])
