"""A small synthetic patient, given by formulas, so that any grid can sample it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.encode import organ_descriptors
from CTGLIPLib.geometry import Grid
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.volume import Segmentation, Volume

EXTENT_MM = (96.0, 84.0, 90.0)
BODY_RADII_MM = (60.0, 52.0, 200.0)
EDGE_MM = 8.0


@dataclass(frozen=True)
class Ellipsoid:
    """An organ: centre and radii in mm from the patient's middle (RAS), and its HU."""

    centre_ras_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float


ORGANS = {
    "liver": Ellipsoid((16.0, 6.0, 12.0), (18.0, 19.0, 20.0), 90.0),
    "spleen": Ellipsoid((-26.0, -4.0, 16.0), (12.0, 14.0, 18.0), 140.0),
    "kidney_left": Ellipsoid((-20.0, -14.0, -20.0), (11.0, 10.0, 16.0), 200.0),
    "kidney_right": Ellipsoid((21.0, -15.0, -24.0), (11.0, 11.0, 15.0), 180.0),
    "aorta": Ellipsoid((0.0, -12.0, 0.0), (9.0, 9.0, 500.0), 260.0),
}
LAYERED = {"livertumor1": Ellipsoid((20.0, 6.0, 14.0), (10.0, 10.0, 9.0), 30.0)}
"""Lies inside the liver, so in a second layer."""
NAMES = (*ORGANS, *LAYERED)


def phantom_grid(
    spacing_mm: tuple[float, float, float] = (1.5, 2.0, 3.0), centre_ras_mm: tuple[float, float, float] = (0, 0, 0)
) -> Grid:
    """An RAS grid that covers exactly the phantom's box."""
    shape = np.round(np.array(EXTENT_MM) / spacing_mm).astype(int)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = np.array(centre_ras_mm) - np.array(spacing_mm) * (shape - 1) / 2
    return Grid(tuple(shape.tolist()), affine)


def phantom(grid: Grid, centre_ras_mm: tuple[float, float, float] = (0, 0, 0)) -> tuple[Volume, Segmentation]:
    """The patient sampled at the voxel centres of `grid`: CT and organs."""
    return phantom_ct(grid, centre_ras_mm), phantom_organs(grid, centre_ras_mm)


def phantom_ct(grid: Grid, centre_ras_mm: tuple[float, float, float] = (0, 0, 0)) -> Volume:
    """The CT alone: soft-edged organs with a smooth texture in a body of soft tissue, air around."""
    at = _positions(grid, centre_ras_mm)
    hu = -1000 + 1040 * _share(at, Ellipsoid((0, 0, 0), BODY_RADII_MM, 0))
    for organ in (*ORGANS.values(), *LAYERED.values()):
        share = _share(at, organ)
        texture = 15 * np.sin(at[..., 0] / 11) * np.sin(at[..., 1] / 13 + 1) * np.sin(at[..., 2] / 12 + 2)
        hu = hu * (1 - share) + (organ.hu + texture) * share
    return Volume(hu.astype(np.float32), grid)


def phantom_organs(grid: Grid, centre_ras_mm: tuple[float, float, float] = (0, 0, 0)) -> Segmentation:
    """The organs alone, in two layers."""
    at = _positions(grid, centre_ras_mm)
    layers = np.zeros((2, *grid.shape_ijk), np.uint16)
    for number, name in enumerate(NAMES, 1):
        organ = ORGANS.get(name) or LAYERED[name]
        layers[0 if name in ORGANS else 1][_radius(at, organ) <= 1] = number
    return Segmentation(layers, grid, NAMES)


def reordered(
    array: np.ndarray, grid: Grid, order: tuple[int, ...], flips: tuple[bool, ...]
) -> tuple[np.ndarray, Grid]:
    """The same patient stored in another axis order and direction; the array may have leading axes."""
    lead = array.ndim - 3
    turned = np.transpose(array, (*range(lead), *(lead + axis for axis in order)))
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, list(order)]
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, lead + axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[lead + axis] - 1)
            affine[:3, axis] *= -1
    shape = turned.shape[lead:]
    return np.ascontiguousarray(turned), Grid(shape, affine)  # type: ignore[arg-type]


def tiny_model(preprocess: PreprocessConfig, **options: bool) -> GroundedEncoder:
    """A tiny network with random weights, the same at every call."""
    torch.manual_seed(7)
    config = ModelConfig("tiny", segmentation_organs=tuple(ORGANS), text_dim=24, hidden_dim=48, **options)
    return GroundedEncoder(config, preprocess).eval()


def standardised_model(preprocess: PreprocessConfig, **options: bool) -> GroundedEncoder:
    """The same with descriptor statistics of the phantom, so that its organs get embeddings far from each other.

    Columns in which the phantom's few organs hardly differ keep a deviation of 0.1: it would blow up rounding.
    """
    model = tiny_model(preprocess, **options)
    descriptor = organ_descriptors(model, prepare(*phantom(phantom_grid((1.0, 1.0, 1.0))), preprocess), preprocess)
    with torch.no_grad():
        model.standardise.train()
        model.standardise(descriptor.clone())
        model.standardise.eval()
        model.standardise.variance.clamp_(min=0.01)
    return model


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of one with the same row of the other."""
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def _positions(grid: Grid, centre_ras_mm: tuple[float, float, float]) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_ijk), indexing="ij"), axis=-1)
    return grid.to_ras(index) - np.array(centre_ras_mm)


def _radius(at: np.ndarray, organ: Ellipsoid) -> np.ndarray:
    return np.linalg.norm((at - np.array(organ.centre_ras_mm)) / np.array(organ.radii_mm), axis=-1)


def _share(at: np.ndarray, organ: Ellipsoid) -> np.ndarray:
    depth_mm = (1 - _radius(at, organ)) * min(organ.radii_mm)
    return 1 / (1 + np.exp(-np.clip(depth_mm / EDGE_MM * 2, -50, 50)))
