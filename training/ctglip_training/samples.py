"""A random crop of a patient with its organs and their texts: what one forward pass sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import TrainConfig
from ctglip_training.simulate.patient import Patient
from ctglip_training.texts import OrganTexts, OrganTextSampler
from ctglip_training.whole_image import whole_body
from CTGLIPLib.organ_geometry import BODY_HU
from CTGLIPLib.preprocess import Prepared, input_channels, prepare_on_grid, sub_grid

MIN_SHARE = 0.3
"""An organ counts in a crop when at least this share of its voxels lies inside."""
ABNORMAL_SHARE = 0.5
"""Share of crops that are laid around an organ with a finding."""
GEOMETRY_NOISE = 0.03


@dataclass(frozen=True, eq=False)
class Sample:
    """One crop.

    Attributes:
        image: network input, float32, shape (channel, i, j, k).
        intensity: CT in 0..1, shape (i, j, k).
        layers: int64, shape (layer, i, j, k): 1-based index into `organs`, 0 elsewhere.
        organs: names of the organs that count in this crop.
        labels: int64, shape (i, j, k): 1-based index into `names` of whatever organ is there, however little of it; the
            later where two overlap; 0 elsewhere. What the segmentation learns.
        names: all organs of the patient.
        geometry: float32, shape (organ, 8).
        texts: what is said of them.
        body: bool, shape (i, j, k): the patient, for global pooling.
        body_geometry: float32, shape (1, 8): geometry of the whole patient's body; (0, 8) but for vanilla CLIP.
    """

    image: Tensor
    intensity: Tensor
    layers: Tensor
    organs: tuple[str, ...]
    labels: Tensor
    names: tuple[str, ...]
    geometry: Tensor
    texts: OrganTexts
    body: Tensor
    body_geometry: Tensor


def draw_sample(patient: Patient, config: TrainConfig, sampler: OrganTextSampler, rng: np.random.Generator) -> Sample:
    """A random crop of a patient, around one of its organs."""
    prepared = prepare_on_grid(patient.volume, patient.segmentation, config.preprocess)
    box = _random_box(prepared, [f.organ for f in patient.findings], config.data.crop_voxels, rng)
    layers = prepared.segmentation.layers[(slice(None), *box)].astype(np.int64)
    kept = _counting(layers, prepared, config.preprocess.min_organ_voxels)
    renumber = np.zeros(len(prepared.segmentation.names) + 1, dtype=np.int64)
    renumber[kept + 1] = np.arange(1, len(kept) + 1)
    organs = tuple(prepared.segmentation.names[i] for i in kept)
    geometry = prepared.geometry_features[kept] + rng.normal(0, GEOMETRY_NOISE, (len(kept), 8)).astype(np.float32)
    intensity = np.ascontiguousarray(prepared.image[box])
    grid = sub_grid(prepared.grid, (box[0].start, box[1].start, box[2].start), intensity.shape)
    image = input_channels(intensity, grid, prepared.body_centre_ras_mm, config.model.coordinates)
    whole = config.method == "vanilla-clip"
    body_geometry = whole_body(patient, prepared).geometry_features if whole else np.zeros((0, 8), np.float32)
    return Sample(
        image=torch.from_numpy(image),
        intensity=torch.from_numpy(intensity),
        layers=torch.from_numpy(renumber[layers]),
        organs=organs,
        labels=torch.from_numpy(layers.max(axis=0)),
        names=prepared.segmentation.names,
        geometry=torch.from_numpy(geometry),
        texts=sampler(patient, organs, rng),
        body=torch.from_numpy(patient.volume.array[box] > BODY_HU),
        body_geometry=torch.from_numpy(body_geometry),
    )


def _counting(layers: np.ndarray, prepared: Prepared, min_organ_voxels: int) -> np.ndarray:
    """Indices of the organs of which enough lies in a crop's layers."""
    inside = np.bincount(layers.ravel(), minlength=len(prepared.segmentation.names) + 1)[1:]
    enough = np.maximum(min_organ_voxels, MIN_SHARE * prepared.geometry.voxels)
    return np.flatnonzero((inside > 0) & (inside >= enough))


def _random_box(
    prepared: Prepared, sick: Sequence[str], crop_voxels: int, rng: np.random.Generator
) -> tuple[slice, slice, slice]:
    """A box of at most `crop_voxels` an axis around an organ: one with a finding in half of the draws, else any."""
    present = np.flatnonzero(prepared.geometry.voxels)
    shape = prepared.image.shape
    centre = rng.uniform(0, shape)
    if len(present):
        abnormal = [i for i in present if prepared.segmentation.names[i] in sick]
        organ = rng.choice(abnormal if abnormal and rng.random() < ABNORMAL_SHARE else present)
        centre = prepared.grid.to_index(prepared.geometry.centroid_ras_mm[organ])
    box = []
    for axis in range(3):
        size = min(shape[axis], crop_voxels)
        start = round(float(centre[axis]) - size * rng.uniform(0.35, 0.65))
        start = int(np.clip(start, 0, shape[axis] - size))
        box.append(slice(start, start + size))
    return (box[0], box[1], box[2])
