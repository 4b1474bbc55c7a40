"""Crops to train on: which case, where, and how it looks to the network.

Conventions (test_finetune_patches.py):
- crop number n of a run depends on (seed, n) alone, whoever draws it: runs resume, and workers do not matter;
- the last third of every batch is centred on a labelled voxel, of a class drawn first (nnU-Net);
- a crop stays within the scan where the scan is large enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ctglip_training.finetune.augment import Augmentation, read_size
from ctglip_training.finetune.cache import CachedCase
from ctglip_training.finetune.config import FinetuneConfig
from CTGLIPLib.geometry import Grid
from CTGLIPLib.preprocess import input_channels, windowed


class Patch(TypedDict):
    """One crop, or a batch of them with a first axis more.

    Attributes:
        image: float32, shape (channel, i, j, k).
        labels: int64, shape (i, j, k).
        case: number of the case in the list that was drawn from.
    """

    image: Tensor
    labels: Tensor
    case: int


class Patches(Dataset[Patch]):
    """The crops of a run, by number.

    Args:
        cases: what is drawn from.
        config: how; its spacing and window are known.
    """

    def __init__(self, cases: Sequence[CachedCase], config: FinetuneConfig) -> None:
        self._cases, self._config = tuple(cases), config
        self._augmentation = Augmentation(config.augment, config.preprocess.window_hu)

    def __len__(self) -> int:
        """Crops of the whole run."""
        return self._config.patch.batch * self._config.schedule.steps

    def __getitem__(self, number: int) -> Patch:
        """Crop `number`."""
        choices = self._config.patch
        rng = np.random.default_rng((choices.seed, number))
        which = int(rng.integers(len(self._cases)))
        case = self._cases[which]
        forced = number % choices.batch >= round(choices.batch * (1 - choices.foreground))
        start = draw_start(case, choices.patch_voxels, forced, rng)
        size = choices.patch_voxels
        wide = read_size(self._config.augment, size)
        hu, labels = case.crop([s - (wide - size) // 2 for s in start], wide)
        image = torch.from_numpy(windowed(hu, self._config.preprocess))[None]
        image, moved, mirrored = self._augmentation.moved(image, torch.from_numpy(labels)[None].float(), size, rng)
        image = self._augmentation.coloured(image, rng)
        channels = with_position(image[0].numpy(), case, start, mirrored, self._config.coordinates)
        return {"image": torch.from_numpy(channels), "labels": moved[0].round().long(), "case": which}


def draw_start(case: CachedCase, size: int, forced: bool, rng: np.random.Generator) -> tuple[int, int, int]:
    """First voxel of a crop; a scan that is smaller than the crop lies in its middle.

    Args:
        case: the case.
        size: edge of the crop in voxels.
        forced: centre it on a labelled voxel, as far as the scan's border lets it.
        rng: drawn from.
    """
    room = np.array(case.grid.shape_ijk) - size
    if forced and case.places:
        of_class = case.places[sorted(case.places)[int(rng.integers(len(case.places)))]]
        start = of_class[int(rng.integers(len(of_class)))] - size // 2
    else:
        start = rng.integers(0, np.maximum(room, 0) + 1)
    start = np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)
    return int(start[0]), int(start[1]), int(start[2])


def with_position(
    image: np.ndarray,
    case: CachedCase,
    start_ijk: tuple[int, int, int],
    mirrored: tuple[bool, bool, bool],
    coordinates: bool,
) -> np.ndarray:
    """The network's input of a crop, float32, shape (channel, i, j, k); of a mirrored patient where it is mirrored.

    Args:
        image: the crop in 0..1, mirrored already, shape (i, j, k).
        case: where it comes from.
        start_ijk: its first voxel before it was mirrored.
        mirrored: along which axes it was.
        coordinates: whether the network sees the position.
    """
    spacing = np.array(case.grid.spacing_mm)
    first = case.grid.to_ras(np.array(start_ijk, dtype=np.float64))
    first[:2] -= case.body_centre_ras_mm
    last = first + spacing * (np.array(image.shape) - 1)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.where(mirrored, -last, first)
    shape = (image.shape[0], image.shape[1], image.shape[2])
    return np.ascontiguousarray(input_channels(image, Grid(shape, affine), np.zeros(2), coordinates))
