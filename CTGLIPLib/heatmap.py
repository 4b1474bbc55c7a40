"""Where in an organ a text fits: its similarity with the organ's neighbourhoods, voxel by voxel.

A neighbourhood is described as if it were the whole organ: the same averages, taken under a Gaussian around the voxel
within the organ's mask; its geometry, core and shell stay the organ's. The map therefore shows where the organ's answer
comes from. It is ours; the paper has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import organ_measures, stream_features
from CTGLIPLib.geometry import Grid
from CTGLIPLib.intensity import REACH_VOXELS, histograms, hu_maps, to_hu, widened, within
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.pooling import voxel_rows
from CTGLIPLib.preprocess import Prepared
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.volume import Segmentation
from CTGLIPLib.windows import Box, bounding_box

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

    The network sees each window once, however many organs are asked. Where organs overlap, the last one asked counts.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    segmentation = prepared.segmentation
    heat = np.full(prepared.grid.shape_ijk, np.nan, dtype=np.float32)
    places = {}
    for organ in directions:
        mask = segmentation.mask(organ)
        if mask.any():
            places[organ] = _Place.of(mask)
    if not places:
        return heat
    channels = _blended_channels(model, prepared, config, places, progress)
    measures = organ_measures(model.config, prepared, config)
    for number, (organ, place) in enumerate(places.items()):
        report(progress, "comparing places", number, len(places))
        index = segmentation.names.index(organ)
        own = torch.from_numpy(measures[index : index + 1])
        sigma_voxels = NEIGHBOURHOOD_MM / config.spacing_mm
        local = _neighbourhood_means(channels.pop(organ), place.inside, sigma_voxels)
        shares = np.zeros((len(local), 0), dtype=np.float32)
        if model.config.intensity:
            rows = _histogram_rows(prepared.image, place, config.window_hu)
            shares = _neighbourhood_means(rows, place.inside, sigma_voxels)
        values = heat[place.box]
        values[place.inside] = _similarity(model, (local, shares), own, directions[organ])
    report(progress, "comparing places", len(places), len(places))
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
    asked = np.zeros(len(segmentation.names) + 1, dtype=bool)
    asked[[segmentation.names.index(organ) + 1 for organ in organs]] = True
    wanted = asked[segmentation.layers].any(axis=0)
    index = np.argwhere(wanted)
    source = grid.to_index(segmentation.grid.to_ras(index))
    result = np.full(wanted.shape, np.nan, dtype=np.float32)
    result[wanted] = ndimage.map_coordinates(filled, source.T, order=1, mode="nearest")
    return result


def hottest_ras_mm(
    heat: np.ndarray, segmentation: Segmentation, organs: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Centre of each organ's hottest voxel, RAS mm; organs without a known voxel are left out.

    Args:
        heat: on the segmentation's grid, NaN where nothing was asked; of equal voxels the first in C order counts.
        segmentation: the organs.
        organs: names of those wanted.
    """
    index = np.flatnonzero(~np.isnan(heat))
    values = heat.ravel()[index]
    places: dict[str, tuple[float, float, float]] = {}
    for layer in segmentation.layers:
        labels = layer.ravel()[index]
        by_label = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[by_label], np.arange(len(segmentation.names) + 2))
        for organ in organs:
            number = segmentation.names.index(organ) + 1
            own = by_label[starts[number] : starts[number + 1]]
            if len(own):
                hottest = np.unravel_index(index[own[np.argmax(values[own])]], heat.shape)
                r, a, s = segmentation.grid.to_ras(np.array(hottest)).tolist()
                places[organ] = (r, a, s)
    return {organ: places[organ] for organ in organs if organ in places}


@dataclass(frozen=True, eq=False)
class _Place:
    """Where an organ lies.

    Attributes:
        box: its bounding box.
        inside: bool, the box's shape: its voxels.
        row: int64, the box's shape: each voxel's place among the organ's voxels in C order.
    """

    box: Box
    inside: np.ndarray
    row: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _Place:
        box = bounding_box(mask)
        inside = mask[box]
        return cls(box, inside, np.cumsum(inside).reshape(inside.shape) - 1)

    def within(self, window: Box) -> tuple[np.ndarray, np.ndarray]:
        """Flat indices into a window of the organ's voxels there, and these voxels' rows, both shape (voxel,)."""
        both = [(max(w.start, b.start), min(w.stop, b.stop)) for w, b in zip(window, self.box, strict=True)]
        part = tuple(
            slice(low - b.start, max(high, low) - b.start) for (low, high), b in zip(both, self.box, strict=True)
        )
        shift = [low - w.start for (low, _), w in zip(both, window, strict=True)]
        index = np.argwhere(self.inside[part]) + shift
        shape = tuple(w.stop - w.start for w in window)
        flat: np.ndarray = np.asarray(np.ravel_multi_index(tuple(index.T), shape))
        return flat, self.row[part][self.inside[part]]


@torch.inference_mode()
def _blended_channels(
    model: GroundedEncoder,
    prepared: Prepared,
    config: PreprocessConfig,
    places: Mapping[str, _Place],
    progress: ProgressCallback | None,
) -> dict[str, np.ndarray]:
    """Channels of each organ's voxels in C order, float32, shape (voxel, channel), in one pass over the windows."""
    device = next(model.parameters()).device
    blended: dict[str, np.ndarray] = {}
    for features, window, weight in stream_features(model, _asked(prepared, places), config, progress):
        for organ, place in places.items():
            flat, row = place.within(window)
            if not len(flat):
                continue
            index = torch.from_numpy(flat).to(device)
            rows = model.voxel_channels(voxel_rows(features, index))
            weighted = (rows * weight.flatten()[index][:, None]).cpu().numpy()
            if organ not in blended:
                blended[organ] = np.zeros((int(place.inside.sum()), weighted.shape[1]), dtype=np.float32)
            blended[organ][row] += weighted
        del features, weight
    return blended


def _asked(prepared: Prepared, places: Mapping[str, _Place]) -> Prepared:
    """The study with one organ that is all the organs asked: its windows are those that show any of them."""
    layer = np.zeros((1, *prepared.grid.shape_ijk), dtype=np.uint16)
    for place in places.values():
        layer[0][place.box][place.inside] = 1
    return replace(prepared, segmentation=Segmentation(layer, prepared.grid, ("asked",)))


def _histogram_rows(image: np.ndarray, place: _Place, window_hu: tuple[float, float]) -> np.ndarray:
    """Shares of HU bins of an organ's voxels in C order, float32, shape (voxel, bin)."""
    around = widened(place.box, REACH_VOXELS, image.shape)
    maps = hu_maps(to_hu(image[around], window_hu))
    return histograms([one[within(place.box, around)][place.inside] for one in maps])


def _neighbourhood_means(rows: np.ndarray, inside: np.ndarray, sigma_voxels: float) -> np.ndarray:
    """Means of the channels under a Gaussian around each voxel, over the organ's voxels only, shape (voxel, channel).

    Args:
        rows: channels of the organ's voxels in C order, shape (voxel, channel).
        inside: the organ's voxels in its box, bool, shape (i, j, k).
        sigma_voxels: the Gaussian's width.
    """
    sigma = (sigma_voxels,) * 3
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")[inside]
    means = np.empty_like(rows)
    channel = np.zeros(inside.shape, dtype=np.float32)
    for number in range(rows.shape[1]):
        channel[inside] = rows[:, number]
        means[:, number] = ndimage.gaussian_filter(channel, sigma, mode="constant")[inside]
    return means / np.maximum(share, 1e-6)[:, None]


@torch.inference_mode()
def _similarity(
    model: GroundedEncoder, local: tuple[np.ndarray, np.ndarray], measures: torch.Tensor, direction: Direction
) -> np.ndarray:
    """Similarity of each neighbourhood, shape (voxel,).

    Args:
        model: the network.
        local: the neighbourhoods' means of channels and of shares of HU bins, shape (voxel, channel) and (voxel, bin).
        measures: the organ's own, shape (1, measure), of which the last are its shares of HU bins.
        direction: what they are compared with.
    """
    device = next(model.parameters()).device
    difference = torch.from_numpy(direction.plus - direction.minus).to(device)
    values = []
    for start in range(0, len(local[0]), CHUNK_VOXELS):
        means, shares = (torch.from_numpy(rows[start : start + CHUNK_VOXELS]).to(device) for rows in local)
        fixed = measures[:, : measures.shape[1] - shares.shape[1]].to(device).expand(len(means), -1)
        descriptor = model.descriptor(means, torch.cat([fixed, shares], dim=1))
        values.append((model.project(descriptor) @ difference).cpu().numpy())
    return np.concatenate(values)
