"""A CT and its organs as the network sees them: isotropic RAS grid, HU window, position channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid, grid_at_spacing
from CTGLIPLib.merge_organs import with_kidney_cysts
from CTGLIPLib.organ_geometry import OrganGeometry, body_centre_ras_mm, geometry_features, measure_organs
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import require_overlap, resample_segmentation
from CTGLIPLib.volume import Segmentation, Volume

COORDINATE_SCALE_MM = 150.0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study ready for the network.

    Attributes:
        image: float32 in 0..1, shape (i, j, k): the CT in the HU window.
        segmentation: the organs on the same grid.
        body_centre_ras_mm: middle of the body (R, A), shape (2,).
        geometry: measures of the organs at the network's spacing.
    """

    image: np.ndarray
    segmentation: Segmentation
    body_centre_ras_mm: np.ndarray
    geometry: OrganGeometry

    @property
    def grid(self) -> Grid:
        """The network's grid."""
        return self.segmentation.grid

    @property
    def geometry_features(self) -> np.ndarray:
        """See `organ_geometry.geometry_features`."""
        return geometry_features(self.geometry, self.grid, self.body_centre_ras_mm)


def prepare(volume: Volume, segmentation: Segmentation, config: PreprocessConfig) -> Prepared:
    """A study on the network's grid, each kidney with its cysts (merge_organs.py).

    Raises:
        GeometryError: if the CT and the organs do not overlap in physical space.
    """
    require_overlap(volume.grid, segmentation.grid)
    grid = grid_at_spacing(canonical_grid(volume.grid), config.spacing_mm)
    organs = with_kidney_cysts(resample_segmentation(_canonical(segmentation), grid))
    return prepare_on_grid(resample_volume(volume, grid), organs, config)


def _canonical(segmentation: Segmentation) -> Segmentation:
    """The same organs stored in the order closest to RAS.

    A sample midway between two voxels (1 mm masks at 2 mm) takes the one of higher index, which must be the same one
    of the patient however the file is stored.
    """
    layers = canonical_array(segmentation.layers, segmentation.grid)
    return replace(segmentation, layers=layers, grid=canonical_grid(segmentation.grid))


def prepare_on_grid(volume: Volume, segmentation: Segmentation, config: PreprocessConfig) -> Prepared:
    """The same for a CT and organs that already lie on the network's grid."""
    image = windowed(volume.array, config)
    return Prepared(image, segmentation, body_centre_ras_mm(volume), measure_organs(segmentation))


def windowed(array_hu: np.ndarray, config: PreprocessConfig) -> np.ndarray:
    """Intensities in the HU window, float32 in 0..1, in the array's shape."""
    low, high = config.window_hu
    return np.clip((array_hu.astype(np.float32, copy=False) - low) / (high - low), 0, 1).astype(np.float32)


def input_channels(image: np.ndarray, grid: Grid, body_centre_ras_mm: np.ndarray, coordinates: bool) -> np.ndarray:
    """The network's input, float32, shape (channel, i, j, k): the CT, then by option the position in the body.

    The two position channels are the distance to the right and to the front of the body's middle, over 150 mm,
    clipped to -1.5..1.5. They come from the affine, so left is told from right whatever the array's order.

    Args:
        image: CT in 0..1, shape (i, j, k).
        grid: grid of `image` (a window's own), axes along RAS.
        body_centre_ras_mm: (R, A) of the body's middle.
        coordinates: whether to add the position.
    """
    if not coordinates:
        return image[None]
    right = (grid.affine[0, 3] + grid.spacing_mm[0] * np.arange(grid.shape_ijk[0]) - body_centre_ras_mm[0])[
        :, None, None
    ]
    front = (grid.affine[1, 3] + grid.spacing_mm[1] * np.arange(grid.shape_ijk[1]) - body_centre_ras_mm[1])[
        None, :, None
    ]
    channels = [image]
    for offset in (right, front):
        position = np.clip(offset / COORDINATE_SCALE_MM, -1.5, 1.5).astype(np.float32)
        channels.append(np.broadcast_to(position, image.shape))
    return np.stack(channels).astype(np.float32, copy=False)


def sub_grid(grid: Grid, start_ijk: tuple[int, int, int], shape_ijk: tuple[int, int, int]) -> Grid:
    """The grid of a box of voxels within `grid`."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_ras(np.array(start_ijk))
    return Grid(shape_ijk, affine)
