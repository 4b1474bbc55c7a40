"""Crops a second from the store, beside NIfTI + MONAI's transforms for each crop, on a real CT; prints JSON.

    CTGLIP_DATA=... python Testing/Benchmarks/bench_store.py [--edge 96] [--crops 12] [--spacing 1.5]

Both give a crop of the windowed CT and of its organs at the given spacing, at random places; they take turns, so that
all meet the same load of the machine. `draw_sample` adds what training needs: organs that count, geometry, texts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import blosc2
import monai
import numpy as np
import torch
from monai.transforms import (
    Compose,
    LoadImaged,
    Orientationd,
    RandSpatialCropd,
    ScaleIntensityRanged,
    Spacingd,
)

from ctglip_training.config import TrainConfig
from ctglip_training.samples import draw_sample
from ctglip_training.simulate.patient import Patient
from ctglip_training.store import PoolEntry, read_crop, write_patient
from ctglip_training.texts import OrganTextSampler, build_dictionary
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.io import read_volume
from CTGLIPLib.preprocess import windowed
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import read_segmentation, resample_segmentation


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=96)
    parser.add_argument("--crops", type=int, default=12)
    parser.add_argument("--spacing", type=float, default=1.5)
    options = parser.parse_args()
    source = Path(os.environ["CTGLIP_DATA"]) / "chest_lidc_0001"
    torch.set_num_threads(1)
    config = TrainConfig()
    data = replace(config.data, crop_voxels=options.edge)
    config = replace(config, data=data, preprocess=replace(config.preprocess, spacing_mm=options.spacing))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        entry = stored(source, Path(folder) / "chest" / "0", options.spacing)
        prepared_s = time.perf_counter() - started
        known = facts(source, entry, prepared_s, options)
        figures = timed(readers(source, entry, config), options.crops)
        sys.stdout.write(json.dumps(known | figures, indent=1) + "\n")


def stored(source: Path, folder: Path, spacing_mm: float) -> PoolEntry:
    """The CT in the store."""
    volume = read_volume(source / "ct.nii.gz").volume
    organs = read_segmentation(source / "seg_totalseg_v2.nii.gz", source / "structures.csv").segmentation
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing_mm)
    write_patient(Patient(resample_volume(volume, grid), resample_segmentation(organs, grid)), folder)
    return PoolEntry(folder, folder.parent.name)


def readers(source: Path, entry: PoolEntry, config: TrainConfig) -> dict[str, Callable[[], tuple[int, ...]]]:
    """What is measured, by name; each gives the crop's shape."""
    rng, edge = np.random.default_rng(0), config.data.crop_voxels
    sampler = OrganTextSampler(build_dictionary((), 512, 0), 2)
    low, high = config.preprocess.window_hu
    keys, spacing = ["ct", "organs"], (config.preprocess.spacing_mm,) * 3
    transforms = Compose(
        [
            LoadImaged(keys, ensure_channel_first=True),
            Orientationd(keys, "RAS", labels=None),
            Spacingd(keys, spacing, mode=("bilinear", "nearest")),
            ScaleIntensityRanged(["ct"], low, high, 0, 1, clip=True),
            RandSpatialCropd(keys, (edge,) * 3, random_size=False),
        ]
    )
    files = {"ct": str(source / "ct.nii.gz"), "organs": str(source / "seg_totalseg_v2.nii.gz")}

    def from_store() -> tuple[int, ...]:
        start = [int(rng.integers(0, max(n - edge, 0) + 1)) for n in entry.study.grid.shape_ijk]
        box = (slice(start[0], start[0] + edge), slice(start[1], start[1] + edge), slice(start[2], start[2] + edge))
        hu, layers = read_crop(entry.path, entry.study, box)
        assert layers.shape[1:] == hu.shape
        return windowed(hu, config.preprocess).shape

    return {
        "nifti_monai": lambda: tuple(transforms(files)["ct"].shape[1:]),
        "store": from_store,
        "draw_sample": lambda: tuple(draw_sample(entry, config, sampler, rng).intensity.shape),
    }


def timed(kinds: dict[str, Callable[[], tuple[int, ...]]], crops: int) -> dict[str, object]:
    """Median and 90th percentile of each, in turns, after one turn of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    shapes = {name: kind() for name, kind in kinds.items()}
    for _ in range(crops):
        for name, kind in kinds.items():
            started = time.perf_counter()
            kind()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        name: {
            "shape": shapes[name],
            "median_ms": round(1000 * medians[name], 2),
            "p90_ms": round(1000 * float(np.percentile(seconds[name], 90)), 2),
            "crops_per_s": round(1 / medians[name], 2),
            "times_faster_than_nifti": round(medians["nifti_monai"] / medians[name], 1),
        }
        for name in kinds
    }


def facts(source: Path, entry: PoolEntry, prepared_s: float, options: argparse.Namespace) -> dict[str, object]:
    """What the figures stand on."""
    return {
        "device": f"cpu, 1 thread, {platform.processor() or platform.machine()}",
        "versions": {"blosc2": blosc2.__version__, "monai": monai.__version__, "torch": torch.__version__},
        "study": {
            "shape": entry.study.grid.shape_ijk,
            "organs": len(entry.study.names),
            "store_mb": round(sum(file.stat().st_size for file in entry.path.iterdir()) / 1e6, 1),
            "nifti_mb": round((source / "ct.nii.gz").stat().st_size / 1e6, 1),
            "prepared_s": round(prepared_s, 1),
        },
        "crops": options.crops,
        "warm_up": 1,
    }


if __name__ == "__main__":
    main()
