"""Time and memory of averaging a feature map over organs, against a loop over masks and reading the map once, as JSON.

    python Testing/Benchmarks/bench_pooling.py

The map is random, channels last as the network leaves it on a processor; the labels are those of a real CT, taken at
the nearest voxels and renamed to 104 organs. Each way starts from map, label map and weights and ends with the means.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import nibabel as nib
import numpy as np
import torch
from measure import PeakMemory, at_least, at_most, data_folder, facts, in_turns, ratio, show
from torch import Tensor
from torch.nn import functional

from CTGLIPLib.pooling import CHUNK_VOXELS, OrganPool

SHAPE, CHANNELS, ORGANS = (192, 192, 160), 32, 104
LABELS = {
    "abdomen": "abdomen_example/seg_v1_104.nii.gz",
    "chest": "chest_lidc_0001/seg_totalseg_v2.nii.gz",
}
OURS, LOOP, FLOOR = "ours", "mask loop", "read the map once"
REPEATS = 7


def made(labels: str, channels_last: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Map (channel, i, j, k), label map and weights."""
    stored = np.asarray(nib.load(data_folder() / LABELS[labels]).dataobj)
    nearest = [np.arange(n) * stored.shape[axis] // n for axis, n in enumerate(SHAPE)]
    numbers, place = np.unique(stored[np.ix_(*nearest)], return_inverse=True)
    renamed = np.where(numbers > 0, (np.arange(len(numbers)) - 1) % ORGANS + 1, 0).astype(np.uint16)
    generator = torch.Generator().manual_seed(1)
    shape = (*SHAPE, CHANNELS) if channels_last else (CHANNELS, *SHAPE)
    features = torch.rand(shape, generator=generator)
    weight = torch.rand(SHAPE, generator=generator) * 0.9 + 0.1
    layer = torch.from_numpy(np.ascontiguousarray(renamed[place].reshape(SHAPE)))
    return features.permute(3, 0, 1, 2) if channels_last else features, layer, weight


def ours(features: Tensor, layer: Tensor, weight: Tensor) -> Tensor:
    """The library's pool."""
    pool = OrganPool(ORGANS)
    pool.add(features, layer, weight)
    return pool.means()


def mask_loop(features: Tensor, layer: Tensor, weight: Tensor) -> Tensor:
    """The reference: each organ's voxels by its mask."""
    means, labels, rows = torch.zeros(ORGANS, len(features)), layer.int(), features.permute(1, 2, 3, 0)
    for organ in range(ORGANS):
        mask = labels == organ + 1
        share = weight[mask]
        means[organ] = (rows[mask] * share[:, None]).sum(dim=0) / share.sum().clamp_min(1e-6)
    return means


def read_once(features: Tensor, _layer: Tensor, _weight: Tensor) -> Tensor:
    """The floor: every value of the map added up."""
    return features.sum()


def foreground(features: Tensor, layer: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Map (voxel, channel); the organ voxels' index, organ and weight."""
    labels = layer.int().flatten()
    index = labels.nonzero().squeeze(1)
    return features.flatten(1).T, index, labels[index] - 1, weight.flatten()[index]


def index_add(features: Tensor, layer: Tensor, weight: Tensor) -> Tensor:
    """Rows gathered, weighted and added, 4,096 at a time: the pool before."""
    rows, index, organ, share = foreground(features, layer, weight)
    sums, weights = torch.zeros(ORGANS, rows.shape[1]), torch.zeros(ORGANS).index_add(0, organ, share)
    weighted = (rows[index] * share[:, None]).split(4096)
    for part, organs in zip(weighted, organ.split(4096), strict=True):
        sums += torch.zeros_like(sums).index_add(0, organs, part)
    return sums / weights.clamp_min(1e-6)[:, None]


def embedding_bag(features: Tensor, layer: Tensor, weight: Tensor) -> Tensor:
    """Bags of at most 4,096 voxels of one organ, after a radix sort of the organs."""
    rows, index, organ, share = foreground(features, layer, weight)
    order = torch.from_numpy(np.argsort(organ.numpy().astype(np.uint16), kind="stable"))
    ends = organ.bincount(minlength=ORGANS).cumsum(0)
    starts = torch.cat([torch.arange(0, len(index), 4096), ends[ends < len(index)]]).unique()
    bags = functional.embedding_bag(index[order], rows, starts, mode="sum", per_sample_weights=share[order])
    sums = torch.zeros(ORGANS, rows.shape[1]).index_add(0, organ[order][starts], bags)
    return sums / torch.zeros(ORGANS).index_add(0, organ, share).clamp_min(1e-6)[:, None]


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    OURS: ours,
    FLOOR: read_once,
    "index_add": index_add,
    "embedding_bag": embedding_bag,
    LOOP: mask_loop,
}


def timed(labels: str) -> dict[str, dict[str, float]]:
    """Seconds of every way; the loop takes one turn."""
    given = made(labels)
    expected, found = mask_loop(*given), ours(*given)
    if not torch.allclose(found, expected, atol=1e-5):
        msg = f"The pool differs from the loop by {(found - expected).abs().max():.1e}."
        raise RuntimeError(msg)
    ways = {name: partial(way, *given) for name, way in WAYS.items()}
    slow = ways.pop(LOOP)
    first = made(labels, channels_last=False)
    ways["ours, channels first in memory"] = partial(ours, *first)
    return {**in_turns(ways, REPEATS), **in_turns({LOOP: slow}, 1, warm_up=0)}


def peak_mib(way: str) -> float:
    """Peak memory of one way above its input, in a process of its own."""
    command = [sys.executable, __file__, way]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1:
        given = made("abdomen")
        with PeakMemory() as peak:
            WAYS[sys.argv[1]](*given)
        sys.stdout.write(json.dumps(peak.mib) + "\n")
        return
    shares = {labels: round(float((made(labels)[1].int() > 0).float().mean()), 3) for labels in LABELS}
    seconds = {labels: timed(labels) for labels in LABELS}
    loop = min(ratio(figures, LOOP, OURS) for figures in seconds.values())
    floor = max(ratio(figures, OURS, FLOOR) for figures in seconds.values())
    show(
        {
            **facts("scipy"),
            "map": {"shape": SHAPE, "channels": CHANNELS, "organs": ORGANS, "share_of_organ_voxels": shares},
            "chunk_voxels": CHUNK_VOXELS,
            "seconds": seconds,
            "peak_mib_above_map": {way: peak_mib(way) for way in WAYS},
            "rows": [
                at_least("organ pooling against the mask loop", loop, 20),
                at_most("organ pooling against reading the map once", floor, 1.5),
            ],
        }
    )


if __name__ == "__main__":
    main()
