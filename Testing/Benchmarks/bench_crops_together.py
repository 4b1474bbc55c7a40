"""Processor seconds of a batch's forward and backward pass: crops together against one by one, as JSON.

OMP_NUM_THREADS=1 python Testing/Benchmarks/bench_crops_together.py [backbone] [edge] [batch]
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from CTGLIPLib.config import ModelConfig, PreprocessConfig  # noqa: E402 - found by the path above
from CTGLIPLib.model import GroundedEncoder  # noqa: E402

WARM_UP, TIMES = 1, 5


def seconds(step: Callable[[], list[Tensor]], model: GroundedEncoder) -> list[float]:
    """Processor seconds of each timed pass."""
    taken = []
    for number in range(WARM_UP + TIMES):
        started = time.process_time()
        torch.stack([features.square().mean() for features in step()]).mean().backward()
        model.zero_grad(set_to_none=True)
        if number >= WARM_UP:
            taken.append(time.process_time() - started)
    return sorted(taken)


def main(backbone: str = "tiny", edge: str = "48", batch: str = "2") -> None:
    """Print the figures."""
    torch.set_flush_denormal(True)
    model = GroundedEncoder(ModelConfig(backbone, coordinates=True), PreprocessConfig())
    crops = [torch.rand(3, *[int(edge)] * 3) for _ in range(int(batch))]
    ways = {
        "one by one": seconds(lambda: [model.features(crop[None])[0] for crop in crops], model),
        "together": seconds(lambda: list(model.features(torch.stack(crops))), model),
        "each twice together": seconds(
            lambda: list(model.features(torch.stack([*crops, *crops])))[: len(crops)], model
        ),
    }
    figures = {way: {"median_s": statistics.median(taken), "p90_s": taken[-1]} for way, taken in ways.items()}
    facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
    shape = {"backbone": backbone, "edge_voxels": int(edge), "batch": int(batch), "warm_up": WARM_UP, "times": TIMES}
    sys.stdout.write(json.dumps({**facts, **shape, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
