"""Small patients, a fake text encoder and a pool of them: what the tests of training share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ctglip_training.config import TrainConfig, read_config
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.store import PoolEntry, write_patient
from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Segmentation, Volume

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SPACING_MM = 8.0
NAMES = ("liver", "spleen", "kidney_left", "kidney_right", "aorta", "heart")
CENTRES = ((22, 18, 12), (8, 14, 12), (8, 10, 22), (24, 10, 22), (16, 12, 16), (16, 24, 26))
HU = (60.0, 50.0, 30.0, 32.0, 150.0, 90.0)
CYST = SimulatedFinding("renal_cyst", "kidney_left", "A 30 mm cyst in the left kidney.", {"diameter_mm": 30.0})
FAT = SimulatedFinding("fatty_liver", "liver", "Diffuse low attenuation of the liver.", {})
BIG = SimulatedFinding("splenomegaly", "spleen", "The spleen is enlarged to 15 cm.", {})
FINDINGS = (CYST, FAT, BIG)


class FakeEncoder:
    """Texts as random unit vectors, seeded by the text alone."""

    name, revision = "fake", "0"

    def __init__(self, dim: int = 384) -> None:
        self.dim = dim

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(_seed(text)).normal(size=self.dim) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def phantom(seed: int = 0, findings: Sequence[SimulatedFinding] = (), size: int = 32) -> Patient:
    """A soft-tissue cylinder with six balls for organs, moved and noised by the seed; findings change their HU."""
    rng = np.random.default_rng(seed)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = -SPACING_MM * (size - 1) / 2
    grid = Grid((size, size, size), affine)
    index = np.indices(grid.shape_ijk)
    across = np.hypot(index[0] - (size - 1) / 2, index[1] - (size - 1) / 2)
    array = np.where(across < size * 0.48, -90.0, -1000.0)
    layers = np.zeros((2, size, size, size), dtype=np.uint16)
    sick = {finding.organ for finding in findings}
    for number, (name, centre) in enumerate(zip(NAMES, CENTRES, strict=True), start=1):
        middle = np.array(centre) * size / 32 + rng.uniform(-1, 1, 3)
        ball = np.linalg.norm(index - middle[:, None, None, None], axis=0) < 4.2 * size / 32
        layers[number % 2][ball] = number
        array[ball] = -20.0 if name in sick else HU[number - 1]
    array = np.rint(array + rng.normal(0, 5, array.shape)).astype(np.float32)
    return Patient(Volume(array, grid), Segmentation(layers, grid, NAMES, "phantom", "names"), tuple(findings))


def stored(patient: Patient, folder: Path) -> PoolEntry:
    """The patient as the store's study `folder`, written if it is not there."""
    if not folder.exists():
        write_patient(patient, folder)
    return PoolEntry(folder, folder.parent.name)


def write_pool(folder: Path, count: int = 3) -> Path:
    """A pool of two subjects with `count` patients each, every other of them with findings."""
    for order, subject in enumerate(("alpha", "beta")):
        for number in range(count):
            findings = FINDINGS[: 1 + number % 3] if number % 2 else ()
            write_patient(phantom(100 * order + number, findings), folder / subject / f"{number:05d}")
    return folder


def smoke_config(pool: Path, hold_out: tuple[str, ...] = (), **changes: object) -> TrainConfig:
    """The smoke configuration on a pool; `changes` are parts of the configuration."""
    config = read_config(CONFIGS / "smoke.toml")
    return replace(config, data=replace(config.data, pool=str(pool), hold_out=hold_out), **changes)  # type: ignore[arg-type]
