"""Crops a second from the store, beside NIfTI + MONAI's transforms for each crop, on a real CT; prints JSON.

    python Testing/Benchmarks/bench_store.py [--edge 96] [--crops 3] [--spacing 1.5]

Both give a crop of the windowed CT and of its organs at the given spacing, at random places, in turns, on one thread.
`draw_sample` adds what training needs: organs that count, geometry, texts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import at_least, data_folder, facts, in_turns, ratio, show
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
from ctglip_training.statements import StudyText
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
    parser.add_argument("--crops", type=int, default=3)
    parser.add_argument("--spacing", type=float, default=1.5)
    options = parser.parse_args()
    source = data_folder() / "chest_lidc_0001"
    torch.set_num_threads(1)
    config = TrainConfig()
    data = replace(config.data, crop_voxels=options.edge)
    config = replace(config, data=data, preprocess=replace(config.preprocess, spacing_mm=options.spacing))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        entry = stored(source, Path(folder) / "chest" / "0", options.spacing)
        prepared_s = time.perf_counter() - started
        ways = readers(source, entry, config)
        shapes = {name: read() for name, read in ways.items()}
        timed = in_turns(ways, options.crops, warm_up=0)
        megabytes = sum(file.stat().st_size for file in entry.path.iterdir()) / 1e6
    times = {name: round(ratio(timed, "nifti_monai", name), 1) for name in timed}
    study = {
        "shape": entry.study.grid.shape_ijk,
        "organs": len(entry.study.names),
        "store_mb": round(megabytes, 1),
        "nifti_mb": round((source / "ct.nii.gz").stat().st_size / 1e6, 1),
        "prepared_s": round(prepared_s, 1),
    }
    show(
        {
            "facts": facts("blosc2", "monai"),
            "study": study,
            "shapes": shapes,
            "warm_up": "one crop each",
            "seconds": timed,
            "crops_per_s": {name: round(1 / figures["median_s"], 2) for name, figures in timed.items()},
            "times_nifti_monai": times,
            "rows": [at_least("data loading from the store: crops/s beside NIfTI + MONAI", times["store"], 10)],
        }
    )


def stored(source: Path, folder: Path, spacing_mm: float, said: StudyText | None = None) -> PoolEntry:
    """The CT in the store; `said` is what is known of its organs."""
    volume = read_volume(source / "ct.nii.gz").volume
    organs = read_segmentation(source / "seg_totalseg_v2.nii.gz", source / "structures.csv").segmentation
    grid = grid_at_spacing(canonical_grid(volume.grid), spacing_mm)
    organs = resample_segmentation(organs, grid)
    write_patient(Patient(resample_volume(volume, grid), organs, text=said), folder)
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


if __name__ == "__main__":
    main()
