"""A random crop of a study with its organs and their texts: what one forward pass sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import TrainConfig
from ctglip_training.store import Box, PoolEntry, read_crop
from ctglip_training.study_file import StoredStudy
from ctglip_training.texts import OrganTexts, OrganTextSampler
from CTGLIPLib.encode import measures_in
from CTGLIPLib.organ_geometry import BODY_HU, OrganGeometry, geometry_features
from CTGLIPLib.preprocess import input_channels, sub_grid, windowed

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
        geometry: float32, shape (organ, measure): the organs' own, then by option what `encode.measures_in` finds in
            the crop.
        texts: what is said of them.
        body: bool, shape (i, j, k): the patient, for global pooling.
        body_geometry: the same of the whole patient's body, shape (1, measure); (0, 8) but for vanilla CLIP.
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


def draw_sample(entry: PoolEntry, config: TrainConfig, sampler: OrganTextSampler, rng: np.random.Generator) -> Sample:
    """A random crop of a stored study, around one of its organs; only the crop's voxels are read.

    Raises:
        InputError: if the study is broken.
    """
    study = entry.study
    box = _random_box(study, config.data.crop_voxels, rng)
    hu, stored = read_crop(entry.path, study, box)
    layers = stored.astype(np.int64)
    kept = _counting(layers, study.geometry, config.preprocess.min_organ_voxels)
    renumber = np.zeros(len(study.names) + 1, dtype=np.int64)
    renumber[kept + 1] = np.arange(1, len(kept) + 1)
    organs = tuple(study.names[i] for i in kept)
    features = geometry_features(study.geometry, study.grid, study.body_centre_ras_mm)
    geometry = features[kept] + rng.normal(0, GEOMETRY_NOISE, (len(kept), 8)).astype(np.float32)
    intensity = windowed(hu, config.preprocess)
    grid = sub_grid(study.grid, (box[0].start, box[1].start, box[2].start), intensity.shape)
    image = input_channels(intensity, grid, study.body_centre_ras_mm, config.model.coordinates)
    body = hu > BODY_HU
    body_geometry = geometry_features(study.body, study.grid, study.body_centre_ras_mm)
    return Sample(
        image=torch.from_numpy(image),
        intensity=torch.from_numpy(intensity),
        layers=torch.from_numpy(renumber[layers]),
        organs=organs,
        labels=torch.from_numpy(layers.max(axis=0)),
        names=study.names,
        geometry=_measures(config, geometry, intensity, renumber[layers]),
        texts=sampler(study, organs, rng),
        body=torch.from_numpy(body),
        body_geometry=_measures(config, body_geometry, intensity, body[None].astype(np.uint16))
        if config.method == "vanilla-clip"
        else torch.zeros(0, 8),
    )


def _measures(config: TrainConfig, geometry: np.ndarray, intensity: np.ndarray, layers: np.ndarray) -> Tensor:
    """What the network reads of organs beside their voxels."""
    return torch.from_numpy(measures_in(config.model, geometry, intensity, layers, config.preprocess.window_hu))


def _counting(layers: np.ndarray, geometry: OrganGeometry, min_organ_voxels: int) -> np.ndarray:
    """Indices of the organs of which enough lies in a crop's layers."""
    inside = np.bincount(layers.ravel(), minlength=len(geometry.voxels) + 1)[1:]
    enough = np.maximum(min_organ_voxels, MIN_SHARE * geometry.voxels)
    return np.flatnonzero((inside > 0) & (inside >= enough))


def _random_box(study: StoredStudy, crop_voxels: int, rng: np.random.Generator) -> Box:
    """A box of at most `crop_voxels` an axis around an organ: one with a finding in half of the draws, else any."""
    present = np.flatnonzero(study.geometry.voxels)
    shape = study.grid.shape_ijk
    centre = rng.uniform(0, shape)
    if len(present):
        sick = set(study.said.abnormal_organs)
        abnormal = [i for i in present if study.names[i] in sick]
        organ = rng.choice(abnormal if abnormal and rng.random() < ABNORMAL_SHARE else present)
        centre = study.grid.to_index(study.geometry.centroid_ras_mm[organ])
    box = []
    for axis in range(3):
        size = min(shape[axis], crop_voxels)
        start = round(float(centre[axis]) - size * rng.uniform(0.35, 0.65))
        start = int(np.clip(start, 0, shape[axis] - size))
        box.append(slice(start, start + size))
    return (box[0], box[1], box[2])
