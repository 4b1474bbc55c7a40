"""Where in an organ a text fits: its similarity with the organ's neighbourhoods, voxel by voxel.

A neighbourhood is described as if it were the whole organ: the same averages, taken under a Gaussian around the voxel
within the organ's mask. The map therefore shows where the organ's answer comes from. It is ours; the paper has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import stream_features
from CTGLIPLib.geometry import Grid
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.pooling import voxel_rows
from CTGLIPLib.preprocess import Prepared
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.volume import Segmentation
from CTGLIPLib.windows import bounding_box

NEIGHBOURHOOD_MM = 8.0
CHUNK_VOXELS = 4096


@dataclass(frozen=True, eq=False)
class Direction:
    """What a voxel is compared with: similarity = embedding . plus - embedding . minus, both shape (dim,)."""

    plus: np.ndarray
    minus: np.ndarray


def organ_heat(
    model: GroundedEncoder,
    prepared: Prepared,
    config: PreprocessConfig,
    directions: Mapping[str, Direction],
    progress: ProgressCallback | None = None,
) -> np.ndarray:
    """Similarity of every voxel of the organs in `directions`, float32, on the network's grid; NaN elsewhere.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    segmentation = prepared.segmentation
    heat = np.full(prepared.grid.shape_ijk, np.nan, dtype=np.float32)
    for organ, direction in directions.items():
        mask = segmentation.mask(organ)
        if not mask.any():
            continue
        box = bounding_box(mask)
        channels = _blended_channels(model, prepared, config, mask, progress)
        index = segmentation.names.index(organ)
        geometry = torch.from_numpy(prepared.geometry_features[index : index + 1])
        inside = mask[box]
        local = _neighbourhood_means(channels, inside, NEIGHBOURHOOD_MM / config.spacing_mm)
        values = heat[box]
        values[inside] = _similarity(model, local[inside], geometry, direction)
    return heat


def on_grid(heat: np.ndarray, grid: Grid, segmentation: Segmentation, organs: tuple[str, ...]) -> np.ndarray:
    """The map on the grid of `segmentation`, float32, NaN outside the organs' masks there.

    Args:
        heat: on `grid`, NaN outside the organs.
        grid: the network's grid.
        segmentation: organs on the grid wanted.
        organs: names of the organs that were asked.
    """
    known = ~np.isnan(heat)
    if not known.any():
        return np.full(segmentation.grid.shape_ijk, np.nan, dtype=np.float32)
    nearest = np.empty((3, *heat.shape), dtype=np.int32)
    ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True, indices=nearest)
    filled = heat[tuple(nearest)]
    wanted = np.zeros(segmentation.grid.shape_ijk, dtype=bool)
    for organ in organs:
        wanted |= segmentation.mask(organ)
    index = np.argwhere(wanted)
    source = grid.to_index(segmentation.grid.to_ras(index))
    result = np.full(wanted.shape, np.nan, dtype=np.float32)
    result[wanted] = ndimage.map_coordinates(filled, source.T, order=1, mode="nearest")
    return result


@torch.inference_mode()
def _blended_channels(
    model: GroundedEncoder,
    prepared: Prepared,
    config: PreprocessConfig,
    mask: np.ndarray,
    progress: ProgressCallback | None,
) -> np.ndarray:
    """Voxel channels inside one organ's box, zero outside its mask, float32, shape (i, j, k, channel)."""
    box = bounding_box(mask)
    organ = Segmentation(mask[None].astype(np.uint16), prepared.grid, ("organ",))
    alone = Prepared(prepared.image, organ, prepared.body_centre_ras_mm, prepared.geometry)
    blended: np.ndarray | None = None
    for features, window, weight in stream_features(model, alone, config, progress):
        index = torch.from_numpy(np.flatnonzero(mask[window])).to(features.device)
        maps = model.intensity_maps(torch.from_numpy(prepared.image[window]).to(features.device))
        rows = model.voxel_channels(voxel_rows(features, index), voxel_rows(maps, index))
        rows = rows * weight.flatten()[index][:, None]
        if blended is None:
            blended = np.zeros((*mask[box].shape, rows.shape[1]), dtype=np.float32)
        place = np.argwhere(mask[window]) + [w.start - b.start for w, b in zip(window, box, strict=True)]
        blended[tuple(place.T)] += rows.cpu().numpy()
    if blended is None:
        msg = "An organ with voxels is covered by no window."
        raise RuntimeError(msg)
    return blended


def _neighbourhood_means(channels: np.ndarray, inside: np.ndarray, sigma_voxels: float) -> np.ndarray:
    """Means of the channels under a Gaussian around each voxel, over the organ's voxels only, same shape."""
    sigma = (sigma_voxels,) * 3
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
    smooth = ndimage.gaussian_filter(channels, (*sigma, 0.0), mode="constant")
    return smooth / np.maximum(share, 1e-6)[..., None]


@torch.inference_mode()
def _similarity(model: GroundedEncoder, rows: np.ndarray, geometry: torch.Tensor, direction: Direction) -> np.ndarray:
    """Similarity of each row of channels, shape (voxel,)."""
    device = next(model.parameters()).device
    difference = torch.from_numpy(direction.plus - direction.minus).to(device)
    values = []
    for start in range(0, len(rows), CHUNK_VOXELS):
        chunk = torch.from_numpy(rows[start : start + CHUNK_VOXELS]).to(device)
        organ = geometry.to(device).expand(len(chunk), -1)
        values.append((model.project(model.descriptor(chunk, organ)) @ difference).cpu().numpy())
    return np.concatenate(values)
