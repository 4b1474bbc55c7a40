"""A patient of blobs as files, and a model of random weights: the whole pipeline in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CTGLIPLib.config import Config, ModelConfig, PreprocessConfig, TextConfig
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume
from CTGLIPLib.volume import Segmentation, Volume

if TYPE_CHECKING:
    from CTGLIPLib.checkpoint import ModelFolder

SHAPE, SPACING_MM = (40, 34, 28), 7.0
CONFIG = Config(
    name="test",
    preprocess=PreprocessConfig(spacing_mm=8.0, patch_voxels=32),
    model=ModelConfig(
        backbone="tiny", text_dim=384, hidden_dim=16, coordinates=True, intensity=True, power_mean=True, geometry=True
    ),
    text=TextConfig("minilm"),
)
# name: centre (i, j, k), radius (i, j, k), HU. The patient's left is at small i (RAS), the feet at small k.
ORGANS = {
    "liver": ((27, 18, 15), (7, 8, 5), 60),
    "spleen": ((10, 14, 15), (3, 4, 4), 50),
    "kidney_left": ((13, 11, 8), (3, 3, 4), 35),
    "kidney_right": ((26, 10, 7), (3, 3, 4), 35),
    "kidney_cyst_left": ((13, 16, 8), (2, 2, 2), 5),
    "gallbladder": ((21, 24, 12), (1, 0.6, 0.6), 10),
    "lung_lower_lobe_right": ((27, 17, 28), (6, 8, 6), -850),
    "livertumor1": ((28, 18, 10), (2, 2, 1), 20),
}
STATES = dict.fromkeys(ORGANS, "present") | {"gallbladder": "too_small", "lung_lower_lobe_right": "cut"}


def patient_grid() -> Grid:
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = (-140, -120, -300)
    return Grid(SHAPE, affine)


def ellipsoid(centre, radius) -> np.ndarray:
    index = np.indices(SHAPE, dtype=float)
    return sum(((index[a] - centre[a]) / radius[a]) ** 2 for a in range(3)) <= 1


def make_patient() -> tuple[Volume, Segmentation]:
    """CT (int16 HU) and organs of the patient, both on `patient_grid`."""
    rng = np.random.default_rng(7)
    hu = np.full(SHAPE, -1000.0)
    hu[ellipsoid((20, 17, 14), (18, 15, 60))] = 40
    labels = np.zeros(SHAPE, dtype=np.uint16)
    for number, (centre, radius, value) in enumerate(ORGANS.values(), start=1):
        inside = ellipsoid(centre, radius)
        hu[inside], labels[inside] = value, number
    hu += rng.normal(0, 5, SHAPE)
    grid = patient_grid()
    return Volume(hu.round().astype(np.int16), grid), Segmentation(labels[None], grid, tuple(ORGANS))


def write_patient(folder: Path) -> None:
    """ct.nii.gz, and organs.nii.gz with its names in organs.json."""
    volume, organs = make_patient()
    write_volume(volume.array, volume.grid, folder / "ct.nii.gz")
    write_volume(organs.layers[0].astype(np.uint8), organs.grid, folder / "organs.nii.gz")
    names = {str(number): name for number, name in enumerate(ORGANS, start=1)}
    (folder / "organs.json").write_text(json.dumps(names))


def make_model(folder: Path, config: Config = CONFIG, seed: int = 1) -> ModelFolder:
    import torch  # here: the patient alone is also for tests that do without

    from CTGLIPLib.checkpoint import save_model
    from CTGLIPLib.model import GroundedEncoder

    torch.manual_seed(seed)
    network = GroundedEncoder(config.model, config.preprocess)
    return save_model(folder, config, network, "# test\n\nRandom weights.\n")
