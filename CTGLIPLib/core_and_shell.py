"""An organ against itself and its surroundings: what stands out of its inner voxels, and what lies around it.

Ours, beside the paper. A stone or cyst of a few voxels hardly moves an average over the whole organ, and contrast
medium moves it more; the extremes of the organ's core, measured from the core's own median, show the one and not the
other. Fluid and stranded fat lie outside the mask, where no pooling looks.

Convention: measured once a study on the network's grid, whatever the windows (guard: test_core_and_shell.py).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from CTGLIPLib.intensity import HU_CENTRES

RELATIVE_CENTRES = (
    -400.0, -200.0, -120.0, -80.0, -50.0, -30.0, -15.0, 0.0, 15.0, 30.0, 50.0, 80.0, 120.0, 200.0, 400.0, 800.0,
)  # fmt: skip
QUANTILES = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
CORE_AND_SHELL_FEATURES = 2 * len(RELATIVE_CENTRES) + len(QUANTILES) + 2 * len(HU_CENTRES)
FEWEST_CORE_VOXELS = 8
SHELL_VOXELS = (1, 3)
"""The shell is more than the first and at most the second of these away from the organ."""
LOG_SCALE = 1000.0
QUANTILE_HU = 10.0


def core_and_shell(hu: np.ndarray, layers: np.ndarray, count: int) -> np.ndarray:
    """Each organ's core and shell as the network reads them, float32, shape (organ, 81); zeros without voxels.

    Columns: histogram of HU minus the median in the organ's core (the organ less its outermost voxels), the logarithms
    of its small shares, quantiles of the same differences on a logarithmic scale; then histogram of HU in the shell of
    voxels around the organ, and its logarithms.

    Args:
        hu: the CT, shape (i, j, k).
        layers: number of the organ that each voxel belongs to, from 1 on, 0 for none, shape (layer, i, j, k).
        count: how many organs there are.
    """
    features = np.zeros((count, CORE_AND_SHELL_FEATURES), dtype=np.float32)
    for layer in layers:
        for organ, box in enumerate(ndimage.find_objects(layer.astype(np.int32), max_label=count)):
            if box is not None:
                wide = _widened(box, hu.shape)
                features[organ] = _of_organ(hu[wide], layer[wide] == organ + 1)
    return features


def _widened(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The box with room for the shell, within the scan."""
    room = SHELL_VOXELS[1] + 1
    return tuple(slice(max(0, s.start - room), min(n, s.stop + room)) for s, n in zip(box, shape, strict=True))


def _of_organ(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    core = np.extract(ndimage.binary_erosion(mask), hu)
    if len(core) < FEWEST_CORE_VOXELS:
        core = np.extract(mask, hu)
    inside = core - np.median(core)
    quantiles = np.quantile(inside, QUANTILES)
    near, far = (ndimage.binary_dilation(mask, iterations=voxels) for voxels in SHELL_VOXELS)
    around = np.extract(np.not_equal(near, far), hu)
    if len(around) == 0:
        around = np.extract(mask, hu)
    return np.concatenate(
        [
            _with_logarithms(_histogram(inside, RELATIVE_CENTRES)),
            np.sign(quantiles) * np.log1p(np.abs(quantiles) / QUANTILE_HU),
            _with_logarithms(_histogram(around, HU_CENTRES)),
        ]
    )


def _histogram(values: np.ndarray, centres: tuple[float, ...]) -> np.ndarray:
    """Shares of the bins, each value split between its two nearest centres, summing to 1."""
    middle = np.array(centres)
    inside = np.clip(values, middle[0], middle[-1])
    upper = np.clip(np.searchsorted(middle, inside), 1, len(middle) - 1)
    fraction = (inside - middle[upper - 1]) / (middle[upper] - middle[upper - 1])
    sums = np.bincount(upper, fraction, len(middle)) + np.bincount(upper - 1, 1 - fraction, len(middle))
    return sums / len(values)


def _with_logarithms(shares: np.ndarray) -> np.ndarray:
    """The shares and the logarithms that bring small ones into view."""
    return np.concatenate([shares, np.log1p(LOG_SCALE * shares)])
