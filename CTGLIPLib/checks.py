"""Whether a volume is a CT in HU that can be asked: warnings for the odd, errors for the hopeless.

The limits were set so that every real CT of the development data passes (test_checks), among them crops without air,
slabs of 20 slices, padding of -1024, -2048 and -3024 outside the field of view, and resampling overshoot.
"""

from __future__ import annotations

import numpy as np

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import AXIS_LETTERS, Grid
from CTGLIPLib.volume import Volume

PADDING_HU = -1100.0
"""Below this nothing is measured: padding, or overshoot of resampling."""
NARROWEST_RANGE_HU = 100
SAMPLE_VOXELS = 2_000_000
THICK_SPACING_MM = 5.0
FEW_SLICES = 16
THIN_EXTENT_MM = 60.0
RIGHT_ANGLE_TOLERANCE_DEGREES = 0.1


def require_finite(array: np.ndarray, what: str) -> None:
    """Raise InputError with the count unless every value is a finite number.

    Args:
        array: values of any shape.
        what: the thing checked, such as "The CT".
    """
    if np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_:
        return
    if not np.issubdtype(array.dtype, np.floating):
        msg = f"{what} must hold real numbers, got {array.dtype}. Export one real value per voxel."
        raise InputError(msg)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        msg = (
            f"{what} must hold finite numbers, got {bad:,} of {array.size:,} voxels that are NaN or infinite. "
            "Replace them by the HU of air (-1024) if they lie outside the field of view, else export the CT again."
        )
        raise InputError(msg)


def check_hu(volume: Volume) -> list[str]:
    """Warnings about a CT's intensities.

    Raises:
        InputError: if values are not finite, all alike, or cannot be HU (MR, label map, unscaled or windowed CT).
    """
    array = volume.array
    require_finite(array, "The CT")
    low, high = float(array.min()), float(array.max())
    if low == high:
        msg = (
            f"The CT must show a body, but all its voxels have the value {low:g}. Check that the right file was given."
        )
        raise InputError(msg)
    sample = _sample(array)
    measured = sample[sample >= PADDING_HU]
    reason = _why_not_hu(measured, float(measured.min()), high) if measured.size else "no value above -1100"
    if reason:
        msg = (
            f"Expected a CT in HU (air near -1000, soft tissue near 0 to 100), got values {low:g} to {high:g}: {reason}"
        )
        raise InputError(msg)
    return _intensity_warnings(sample, measured, low)


def _sample(array: np.ndarray) -> np.ndarray:
    step = int(np.ceil(max(1.0, array.size / SAMPLE_VOXELS) ** (1 / 3)))
    return np.asarray(array[::step, ::step, ::step], dtype=np.float32).ravel()


def _share(values: np.ndarray, low: float, high: float) -> float:
    return float(np.count_nonzero((values >= low) & (values <= high))) / max(values.size, 1)


def _why_not_hu(measured: np.ndarray, low: float, high: float) -> str:
    """The reason why values (without padding) cannot be HU, with its remedy; empty if they can."""
    soft, water = _share(measured, -200.0, 300.0), _share(measured, 900.0, 1200.0)
    bottom, top = np.percentile(measured, (0.1, 99.9))
    if high - low < NARROWEST_RANGE_HU:
        return "so narrow a range is a normalised image or a label map. Give the CT before any scaling."
    if low >= 0 and high <= 255:
        return "this is a windowed picture, a label map or an MR. Give the CT before any scaling."
    if low >= 0 or water > 0.15 or (bottom > -50 and top > 300):
        return "this looks like an MR or an unscaled CT. For a CT apply its rescale slope and intercept (often -1024)."
    if soft < 0.005:
        return "hardly a voxel lies near soft tissue. The rescale intercept was perhaps applied twice, or never."
    return ""


def _intensity_warnings(sample: np.ndarray, measured: np.ndarray, low: float) -> list[str]:
    warnings = []
    padded = 1 - measured.size / sample.size
    if padded > 0.001:
        warnings.append(
            f"{padded:.1%} of the voxels lie below {PADDING_HU:g} HU (lowest {low:g}): "
            "outside the field of view, taken as air."
        )
    if low > -850 and _share(sample, low, low) > 0.05:
        warnings.append(f"The CT seems to be clipped at {low:g} HU: give it before any windowing if you can.")
    elif _share(measured, PADDING_HU, -850.0) < 0.001:
        warnings.append("The CT holds no air: a crop within the body. Organs that it cuts are scored in part.")
    if _share(measured, -200.0, 300.0) < 0.05:
        warnings.append("Less than 5 % of the CT is soft tissue: check that the intensities are HU.")
    return warnings


def check_grid(grid: Grid) -> list[str]:
    """Warnings about a CT's grid: oblique, thick slices, thin slab."""
    warnings = []
    if grid.is_oblique:
        warnings.append(
            f"The CT's axes are turned away from the patient's by more than half a degree ({grid.orientation})."
        )
    names = [AXIS_LETTERS[axis][0] + AXIS_LETTERS[axis][1] for axis, _ in grid.closest_axes]
    for name, count, spacing in zip(names, grid.shape_ijk, grid.spacing_mm, strict=True):
        if spacing > THICK_SPACING_MM + 1e-3:
            warnings.append(f"Voxels are {spacing:.3g} mm apart along {name}: small organs and findings may be missed.")
        if count < FEW_SLICES or count * spacing < THIN_EXTENT_MM:
            warnings.append(f"Only {count} slices ({count * spacing:.0f} mm) along {name}: most organs are cut off.")
    return warnings


def require_right_angles(grid: Grid, what: str) -> None:
    """Raise GeometryError unless the grid's axes stand at right angles to each other.

    Args:
        grid: the grid to check.
        what: the thing checked, such as the file's path.
    """
    direction = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    cosines = np.abs((direction.T @ direction)[np.triu_indices(3, 1)])
    angle = float(np.rad2deg(np.arcsin(min(1.0, float(cosines.max())))))
    if angle > RIGHT_ANGLE_TOLERANCE_DEGREES:
        msg = (
            f"{what}: the axes must stand at right angles, but they are sheared by {angle:.2f} degrees (gantry tilt?). "
            "Resample the CT to a straight grid first, in 3D Slicer or by dcm2niix with its tilt correction."
        )
        raise GeometryError(msg)
