"""A tumour data set in miniature: nnU-Net's folder with bright balls in cylinders, and patients without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from data_sets import GRID, SIZE, ct

from ctglip_training.finetune.cache import CachedCase, prepare_cases
from ctglip_training.finetune.cases import CaseSet, open_cases
from ctglip_training.finetune.config import FinetuneConfig, PatchConfig, ScheduleConfig
from CTGLIPLib.io import write_volume

CASES = ("lung_0", "lung_1", "lung_2", "lung_3")
HEALTHY = "lung_3"
TUMOR_HU = 400


def ball(case: str) -> np.ndarray:
    """Where a case's tumour is, shape (24, 24, 24); nowhere in the healthy one."""
    centre = np.array((10 + int(case[-1]), 12, 9))
    inside = np.linalg.norm(np.indices((SIZE,) * 3) - centre[:, None, None, None], axis=0) < 3.5
    return inside & (case != HEALTHY)


def write_tumor_set(root: Path, cases: Sequence[str] = CASES) -> Path:
    """An nnU-Net data set at `root`: label 1 lung, label 2 cancer."""
    facts = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lung": 1, "cancer": 2},
        "file_ending": ".nii.gz",
    }
    root.mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps({**facts, "numTraining": len(cases)}))
    for seed, case in enumerate(cases):
        hu, labels = ct(seed), np.zeros((SIZE,) * 3, np.uint8)
        labels[8:18, 8:16, 4:16] = 1
        labels[ball(case)] = 2
        hu[ball(case)] = TUMOR_HU
        write_volume(hu, GRID, root / "imagesTr" / f"{case}_0000.nii.gz")
        write_volume(labels, GRID, root / "labelsTr" / f"{case}.nii.gz")
    return root


def small_config(**schedule: object) -> FinetuneConfig:
    """Crops of 32 voxels at 5 mm with the smallest encoder, a few steps."""
    steps = {"steps": 3, "momentum": 0.9, **schedule}
    patch = PatchConfig(spacing_mm=5.0, window_hu=(-1000, 1000), patch_voxels=32, batch=2)
    return FinetuneConfig(
        "tiny-test", "tiny", save_every=1, patch=patch, schedule=ScheduleConfig(**steps)  # type: ignore[arg-type]
    )  # fmt: skip


def prepared(root: Path, spacing_mm: float = 5.0) -> tuple[CaseSet, list[CachedCase]]:
    """The data set at `root`, and its cases prepared beside it."""
    cases = open_cases(root)
    ready = prepare_cases(cases, cases.studies, spacing_mm, root.parent / "cache")
    return cases, [ready[study.id] for study in cases.studies]
