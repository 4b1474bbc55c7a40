"""From a study on the network's grid to organ embeddings: ours against MONAI's sliding window, as JSON.

    python Testing/Benchmarks/bench_study.py [--tiles 1 2 4 8] [--backbone small --spacing 2 --patch 96]

The reference is what one would write with MONAI: SlidingWindowInferer in fp32 over the whole volume, its feature map
kept, one boolean mask for each organ. Both get the same network, weights, windows, overlap, organs and measures of the
masks. The study is the chest CT with 89 organs (and the abdomen with 59), tiled along z. Each peak of memory is that of
a process of its own, above the image, the labels and the network.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import PeakMemory, at_least, at_most, data_folder, facts, in_turns, ratio, show

from CTGLIPLib import Predictor
from CTGLIPLib.allocator import return_freed_memory
from CTGLIPLib.checkpoint import load_network
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.geometry import Grid
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.openvino_backbone import use_openvino
from CTGLIPLib.preprocess import Prepared, prepare, prepare_on_grid
from CTGLIPLib.volume import Segmentation, Volume

sys.path.append(str(Path(__file__).resolve().parents[1] / "Lib"))
from plain_reference import monai_embeddings, with_torchs_modules  # noqa: E402 - found by the path above

STUDIES = {
    "chest": ("chest_lidc_0001/ct.nii.gz", "chest_lidc_0001/seg_totalseg_v2.nii.gz", "chest_lidc_0001/structures.csv"),
    "abdomen": ("abdomen_example/ct.nii.gz", "abdomen_example/seg_v1_104.nii.gz", None),
}
REPEATS = 5


def main() -> None:
    """Measure and print; with --peak only one way's peak memory."""
    options = arguments()
    if options.peak:
        peak(options)
        return
    report: dict[str, object] = facts("monai") | {"model": options.backbone or "shipped"}
    rows = []
    for name in options.studies:
        for tiles in options.tiles:
            report[f"{name} x{tiles}"] = figures = compare(name, tiles, options)
            speed, memory, cosine = figures["times_faster"], figures["times_less_memory"], figures["lowest_cosine"]
            rows += [
                at_least(f"{name} x{tiles}: study to organ embeddings against MONAI", speed, 5),
                at_least(f"{name} x{tiles}: peak memory against MONAI", memory, 5),
                at_least(f"{name} x{tiles}: lowest cosine of an organ with MONAI", cosine, 0.999, ""),
            ]
        first, last = (
            report[f"{name} x{tiles}"]["peak_mib"]["ours"] for tiles in (options.tiles[0], options.tiles[-1])
        )
        what = f"{name}: peak memory x{options.tiles[-1]} against x{options.tiles[0]}"
        rows.append(at_most(what, last / first, 1.1))
    show(report | {"rows": rows})


def arguments() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--tiles", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--backbone", help="another network, with weights drawn at random")
    parser.add_argument("--spacing", type=float)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--peak", choices=["ours", "monai"], help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(name: str, tiles: int, options: argparse.Namespace) -> dict[str, object]:
    """Time, memory and agreement of both ways for one study."""
    model, plain, config = networks(options)
    study = tiled(name, tiles, config)
    found = {}
    ways = {
        "ours": lambda: found.update(ours=encode_organs(model, study, config)),
        "monai": lambda: found.update(monai=monai_embeddings(plain, study, config)),
    }
    once = tiles > 2 or options.backbone is not None
    timed = in_turns(ways, 1 if once else REPEATS, warm_up=0 if once else 1)
    peaks = {way: peak_of(way, name, tiles, options) for way in ways}
    return {
        "shape": study.image.shape,
        "spacing_mm": config.spacing_mm,
        "network": type(model.backbone).__name__,
        "organs": int((study.geometry.voxels > 0).sum()),
        "seconds": timed,
        "times_faster": round(ratio(timed, "monai", "ours"), 2),
        "peak_mib": peaks,
        "times_less_memory": round(peaks["monai"] / peaks["ours"], 2),
        "lowest_cosine": round(float(np.nanmin((found["ours"] * found["monai"]).sum(axis=1))), 6),
    }


def networks(options: argparse.Namespace) -> tuple[GroundedEncoder, GroundedEncoder, PreprocessConfig]:
    """The network as we compute it and as torch's modules: the shipped one, or one with random weights."""
    predictor = Predictor.from_pretrained()
    config = predictor.config.preprocess
    config = replace(
        config, spacing_mm=options.spacing or config.spacing_mm, patch_voxels=options.patch or config.patch_voxels
    )
    if not options.backbone:
        return predictor.network, with_torchs_modules(load_network(predictor.folder)), config
    torch.manual_seed(0)
    model = GroundedEncoder(replace(predictor.config.model, backbone=options.backbone), config).eval()
    plain = with_torchs_modules(copy.deepcopy(model))
    return use_openvino(model, f"{options.backbone}, seed 0"), plain, config


def tiled(name: str, tiles: int, config: PreprocessConfig) -> Prepared:
    """The study on the network's grid, so many times above itself."""
    ct, masks, names = (data_folder() / path if path else None for path in STUDIES[name])
    vocabulary = None if names else "totalsegmentator_v1"
    given = load_input(ct, masks, InputOptions(names=names, vocabulary=vocabulary))
    once = prepare(given.volume, given.segmentation, config)
    if tiles == 1:
        return once
    low, high = config.window_hu
    image = np.concatenate([once.image] * tiles, axis=2) * (high - low) + low
    layers = np.concatenate([once.segmentation.layers] * tiles, axis=3)
    grid = Grid(image.shape, once.grid.affine)
    return prepare_on_grid(Volume(image, grid), Segmentation(layers, grid, once.segmentation.names), config)


def peak(options: argparse.Namespace) -> None:
    """Print the peak memory in MiB of one way in this process."""
    model, plain, config = networks(options)
    study = tiled(options.studies[0], options.tiles[0], config)
    way = encode_organs if options.peak == "ours" else monai_embeddings
    model = model if options.peak == "ours" else plain
    return_freed_memory()  # as in the processes of `ctglip`
    with PeakMemory() as memory:
        way(model, study, config)
    sys.stdout.write(json.dumps(memory.mib))


def peak_of(way: str, name: str, tiles: int, options: argparse.Namespace) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--peak", way, "--studies", name, "--tiles", str(tiles)]
    for option in ("backbone", "spacing", "patch"):
        if getattr(options, option):
            command += [f"--{option}", str(getattr(options, option))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
