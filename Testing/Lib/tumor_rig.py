"""A patient with one bright ball, on any grid, and a network made by hand that finds what is bright."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.geometry import Grid
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.volume import Volume

if TYPE_CHECKING:
    from CTGLIPLib.tumor_checkpoint import TumorFolder
    from CTGLIPLib.tumor_model import TumorSegmenter

BALL_RAS_MM, RADIUS_MM, BALL_HU = (-30.0, 12.0, 8.0), 14.0, 900.0
"""On the patient's left."""
BALL_ML = 4 / 3 * np.pi * RADIUS_MM**3 / 1000
CONFIG = TumorConfig(
    "balls",
    ("muscle", "ball"),
    ("ball",),
    PreprocessConfig(spacing_mm=4.0, patch_voxels=32),
    backbone="tiny",
    trained_on="a ball",
)


def ball_grid(spacing_mm: tuple[float, float, float] = (3.0, 2.5, 4.0)) -> Grid:
    """An RAS grid of 132 x 110 x 104 mm round the middle."""
    shape = np.round(np.array((132.0, 110.0, 104.0)) / spacing_mm).astype(int)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.array(spacing_mm) * (shape - 1) / 2
    return Grid(tuple(shape.tolist()), affine)


def turned(grid: Grid, degrees: float) -> Grid:
    """The grid turned about the axis from head to foot and tilted by half as much, round its middle."""
    a, b = np.deg2rad(degrees), np.deg2rad(degrees / 2)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = grid.affine.copy()
    affine[:3] = about_r @ about_s @ grid.affine[:3]
    return Grid(grid.shape_ijk, affine)


def in_ball(grid: Grid) -> np.ndarray:
    """Whether each voxel's centre lies in the ball, bool, shape (i, j, k)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_ijk), indexing="ij"), axis=-1)
    return np.linalg.norm(grid.to_ras(index) - BALL_RAS_MM, axis=-1) <= RADIUS_MM


def ball_ct(grid: Grid) -> Volume:
    """A CT of soft tissue with the ball, air in its lowest and highest tenth along R."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_ijk), indexing="ij"), axis=-1)
    hu = np.where(np.abs(grid.to_ras(index)[..., 0]) < 55, 40.0, -1000.0).astype(np.float32)
    hu[in_ball(grid)] = BALL_HU
    return Volume(hu, grid)


def bright_network(config: TumorConfig = CONFIG) -> TumorSegmenter:
    """A network of hand-set weights: its last class is what stands out of the window by its brightness.

    The image goes through the first level unchanged but for its normalisation; nothing comes from the levels below.
    """
    import torch

    from CTGLIPLib.tumor_model import TumorSegmenter

    network = TumorSegmenter(config).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        first = network.backbone.encoder.stages[0][0].convs
        last = network.backbone.decoder.stages[-1].convs
        width = network.backbone.out_channels
        for convolution, source in ((first[0], 0), (first[1], 0), (last[0], width), (last[1], 0)):
            convolution.conv.weight[0, source, 1, 1, 1] = 1.0
        network.heads[0].weight[-1, 0] = 1.0
        network.heads[0].bias[-1] = -2.0
        network.heads[0].bias[1:-1] = -5.0
    return network


def save_bright_model(folder: Path, config: TumorConfig = CONFIG) -> TumorFolder:
    """The network as a folder."""
    from CTGLIPLib.tumor_checkpoint import save_tumor_model

    return save_tumor_model(folder, config, bright_network(config), "---\nlicense: none\n---\nFinds bright balls.")
