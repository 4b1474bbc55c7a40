"""A chest CT read, resampled and windowed, beside MONAI's transforms; prints JSON.

    CTGLIP_DATA=... python Testing/Benchmarks/bench_load.py [--repeats 5]

Both answer on the grid that MONAI's Spacing makes, so that the answers can be compared:
- at 1.0 mm, where no axis shrinks by two or more, both interpolate linearly: the difference is decided there;
- at the shipped model's spacing, where the time is decided, ours averages whole blocks of voxels first and MONAI does
  not, so the answers differ by design.
`monai` is MONAI as it comes, `monai_float32` computes in float32; `before` resamples as ours
did, on whole float arrays; `ours_zlib` leaves isal out.
Peak memory is measured in a process for each way, above what the imports hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, ScaleIntensityRange, Spacing
from scipy import ndimage

from CTGLIPLib import gunzip
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.geometry import Grid, canonical_array, canonical_grid
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.io import read_volume
from CTGLIPLib.model_list import find_model
from CTGLIPLib.organ_geometry import measure_organs
from CTGLIPLib.preprocess import prepare, windowed
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import read_segmentation, resample_segmentation
from CTGLIPLib.study import content_sha256
from CTGLIPLib.volume import Volume

ISAL = gunzip.igzip
FINE_MM = 1.0
WAYS = ("monai", "monai_float32", "ours", "before", "ours_zlib")
Way = Callable[[], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", help="measure the memory of this way alone")
    parser.add_argument("--grid", type=json.loads, help="of --peak: shape and affine")
    options = parser.parse_args()
    config = find_model().config.preprocess
    if options.peak:
        way = ways(Grid(*options.grid), config)[options.peak]
        with measure.PeakMemory() as memory:
            way()
        measure.show({"mib": memory.mib})
        return
    fine = compared(FINE_MM, config, ("monai", "ours"), repeats=1)
    coarse = compared(config.spacing_mm, config, WAYS if ISAL else WAYS[:-1], options.repeats)
    measure.show(
        {
            "facts": measure.facts("monai", "nibabel", "scipy") | {"gzip": "isal" if ISAL else "zlib"},
            f"at_{FINE_MM:g}_mm": fine,
            f"at_{config.spacing_mm:g}_mm": coarse,
            "steps": steps(config, options.repeats),
            "rows": rows(fine, coarse),
        }
    )


def rows(fine: Mapping[str, Any], coarse: Mapping[str, Any]) -> list[dict[str, object]]:
    """The targets."""
    what = "load + resample + HU window of the chest CT"
    faster = measure.ratio(coarse["seconds"], "monai", "ours")
    return [
        measure.at_least(f"{what}, MONAI over ours", faster, 3.0),
        measure.at_most(f"{what}, largest difference inside organs", fine["difference_hu"]["largest"], 1.0, "HU"),
    ]


def chest() -> Path:
    """The folder of the CT."""
    return measure.data_folder() / "chest_lidc_0001"


def compared(spacing_mm: float, config: PreprocessConfig, names: Sequence[str], repeats: int) -> dict[str, Any]:
    """Times in turns, peak memory and the differences inside organs."""
    grid = monai_grid(spacing_mm)
    every = {name: way for name, way in ways(grid, config).items() if name in names}
    theirs, ours = every["monai"](), every["ours"]()
    organs = read_segmentation(chest() / "seg_totalseg_v2.nii.gz", chest() / "structures.csv").segmentation
    inside = resample_segmentation(organs, grid).layers.any(axis=0)
    low, high = config.window_hu
    apart = np.abs(theirs - ours)[inside] * (high - low)
    seconds = measure.in_turns(every, repeats, warm_up=min(repeats - 1, 1))  # a single turn follows the answers above
    return {
        "shape": ours.shape,
        "seconds": seconds,
        "monai_over_ours": {name: round(measure.ratio(seconds, "monai", name), 2) for name in every},
        "peak_mib": {name: peak(name, grid) for name in every},
        "difference_hu": {
            "largest": round(float(apart.max()), 4),
            "p99": round(float(np.percentile(apart, 99)), 4),
            "voxels_in_organs": int(inside.sum()),
        },
    }


def ways(grid: Grid, config: PreprocessConfig) -> dict[str, Way]:
    """From the file to the window, float32 (i, j, k): MONAI's, ours, ours as it was, ours without isal."""
    path = chest() / "ct.nii.gz"
    low, high = config.window_hu

    def monai(dtype: type) -> Way:
        transform = Compose(
            [
                LoadImage("NibabelReader", image_only=True),
                EnsureChannelFirst(),
                Orientation("RAS", labels=None),
                Spacing(grid.spacing_mm, mode="bilinear", dtype=dtype),
                ScaleIntensityRange(low, high, 0, 1, clip=True),
            ]
        )
        return lambda: np.asarray(transform(str(path)))[0]

    def ours(fast: bool, resample: Callable[[Volume, Grid], Volume]) -> np.ndarray:
        gunzip.igzip = ISAL if fast else None
        try:
            return windowed(resample(read_volume(path).volume, grid).array, config)
        finally:
            gunzip.igzip = ISAL

    return {
        "monai": monai(np.float64),
        "monai_float32": monai(np.float32),
        "ours": lambda: ours(True, resample_volume),
        "before": lambda: ours(False, resample_whole),
        "ours_zlib": lambda: ours(False, resample_volume),
    }


def monai_grid(spacing_mm: float) -> Grid:
    """The grid of MONAI's Spacing."""
    loaded = Compose([LoadImage("NibabelReader", image_only=True), EnsureChannelFirst()])
    turned = Orientation("RAS", labels=None)(loaded(str(chest() / "ct.nii.gz")))
    spaced = Spacing((spacing_mm,) * 3, mode="nearest", dtype=np.float32)(turned)
    i, j, k = (int(n) for n in spaced.shape[1:])
    return Grid((i, j, k), np.asarray(spaced.affine))


def resample_whole(volume: Volume, grid: Grid) -> Volume:
    """What `resample_volume` did before: blocks averaged over the whole array, then scipy's affine_transform."""
    fine = canonical_grid(volume.grid)
    array = canonical_array(volume.array, volume.grid).astype(np.float32)
    reach_mm = np.abs((fine.affine[:3, :3] / fine.spacing_mm).T @ grid.affine[:3, :3]).max(axis=1)
    blocks = np.maximum(np.floor(reach_mm / fine.spacing_mm + 1e-6), 1).astype(int)
    for axis, block in enumerate(blocks):
        array = np.pad(array, [(0, -n % block if a == axis else 0) for a, n in enumerate(array.shape)], mode="edge")
        parts = (*array.shape[:axis], array.shape[axis] // block, block, *array.shape[axis + 1 :])
        array = array.reshape(parts).mean(axis=axis + 1, dtype=np.float32)
    affine = fine.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((blocks - 1) / 2)
    affine[:3, :3] *= blocks
    to_source = np.linalg.inv(affine) @ grid.affine
    return Volume(ndimage.affine_transform(array, to_source, 0.0, grid.shape_ijk, np.float32, 1, "nearest"), grid)


def steps(config: PreprocessConfig, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each part of the way to the network; `_before` as it was."""
    ct, masks, names = chest() / "ct.nii.gz", chest() / "seg_totalseg_v2.nii.gz", chest() / "structures.csv"
    given = load_input(ct, masks, InputOptions(names=names))
    volume, organs = given.volume, given.segmentation
    assert organs is not None
    grid = prepare(volume, organs, config).grid
    resampled = resample_volume(volume, grid).array
    return measure.in_turns(
        {
            "read_ct": lambda: read_volume(ct),
            "read_masks": lambda: read_segmentation(masks, names),
            "load_input": lambda: load_input(ct, masks, InputOptions(names=names)),
            "content_sha256": lambda: content_sha256(volume, organs),
            "resample_volume": lambda: resample_volume(volume, grid),
            "resample_volume_before": lambda: resample_whole(volume, grid),
            "window": lambda: windowed(resampled, config),
            "prepare": lambda: prepare(volume, organs, config),
            "measure_organs_of_the_ct": lambda: measure_organs(organs),
        },
        repeats,
    )


def peak(way: str, grid: Grid) -> float:
    """MiB above the imports of one way in a process of its own."""
    known = json.dumps([grid.shape_ijk, grid.affine.tolist()])
    command = [sys.executable, __file__, "--peak", way, "--grid", known]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["mib"]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
