"""A random crop of a patient with its organs and their texts: what one forward pass sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctglip_training.simulate.patient import Patient
from ctglip_training.texts import OrganTexts, OrganTextSampler
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.preprocess import Prepared, input_channels, prepare_on_grid, sub_grid

MIN_SHARE = 0.3
"""An organ counts in a crop when at least this share of its voxels lies inside."""
GEOMETRY_NOISE = 0.03


@dataclass(frozen=True, eq=False)
class Sample:
    """One crop.

    Attributes:
        image: network input, float32, shape (channel, i, j, k).
        intensity: CT in 0..1, shape (i, j, k).
        layers: int64, shape (layer, i, j, k): 1-based index into `organs`, 0 elsewhere.
        organs: names of the organs that count in this crop.
        geometry: float32, shape (organ, 8).
        texts: what is said of them.
        body: bool, shape (i, j, k): the patient, for global pooling.
    """

    image: Tensor
    intensity: Tensor
    layers: Tensor
    organs: tuple[str, ...]
    geometry: Tensor
    texts: OrganTexts
    body: Tensor


def draw_sample(
    patient: Patient, preprocess: PreprocessConfig, crop_voxels: int, sampler: OrganTextSampler, rng: np.random.Generator,
    *, coordinates: bool,
) -> Sample:  # fmt: skip
    """A random crop of a patient that holds at least two organs where it can."""
    prepared = prepare_on_grid(patient.volume, patient.segmentation, preprocess)
    box = _random_box(prepared, crop_voxels, rng)
    layers = prepared.segmentation.layers[(slice(None), *box)].astype(np.int64)
    inside = np.bincount(layers.ravel(), minlength=len(prepared.segmentation.names) + 1)[1:]
    enough = np.maximum(preprocess.min_organ_voxels, MIN_SHARE * prepared.geometry.voxels)
    kept = np.flatnonzero((inside > 0) & (inside >= enough))
    renumber = np.zeros(len(inside) + 1, dtype=np.int64)
    renumber[kept + 1] = np.arange(1, len(kept) + 1)
    organs = tuple(prepared.segmentation.names[i] for i in kept)
    geometry = prepared.geometry_features[kept] + rng.normal(0, GEOMETRY_NOISE, (len(kept), 8)).astype(np.float32)
    intensity = np.ascontiguousarray(prepared.image[box])
    grid = sub_grid(prepared.grid, (box[0].start, box[1].start, box[2].start), intensity.shape)
    image = input_channels(intensity, grid, prepared.body_centre_ras_mm, coordinates)
    return Sample(
        image=torch.from_numpy(image),
        intensity=torch.from_numpy(intensity),
        layers=torch.from_numpy(renumber[layers]),
        organs=organs,
        geometry=torch.from_numpy(geometry),
        texts=sampler(patient, organs, rng),
        body=torch.from_numpy(patient.volume.array[box] > -300.0),
    )


def _random_box(prepared: Prepared, crop_voxels: int, rng: np.random.Generator) -> tuple[slice, slice, slice]:
    """A box of at most `crop_voxels` an axis around a random voxel of a random organ."""
    present = np.flatnonzero(prepared.geometry.voxels)
    shape = prepared.image.shape
    if len(present):
        centre = prepared.grid.to_index(prepared.geometry.centroid_ras_mm[rng.choice(present)])
    else:
        centre = rng.uniform(0, shape)
    box = []
    for axis in range(3):
        size = min(shape[axis], crop_voxels)
        start = round(float(centre[axis]) - size * rng.uniform(0.3, 0.7))
        start = int(np.clip(start, 0, shape[axis] - size))
        box.append(slice(start, start + size))
    return (box[0], box[1], box[2])
