"""What two processes do in test_distributed.py: the steps of three kinds of run, then a run in which one is killed.

    python rank_worker.py POOL OUT

One program that splits into two once everything is imported, which takes longer than the steps.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from training_phantom import FakeEncoder, smoke_config

from ctglip_training import loop
from ctglip_training.config import ComputeConfig, LossConfig, OptimConfig, TrainConfig
from ctglip_training.distributed import ALONE, process_group
from CTGLIPLib.errors import CTGLIPError

LOSS = LossConfig(segmentation_voxels=500, own_negatives=0.5, cross_patient=1.0, symmetric_same=True)
OPTIM = OptimConfig(batch=4, accumulate=2, segmentation_steps=1, contrast_steps=1, head_steps=1, head_batch=4)
KINDS = (("ct-glip", "ddp"), ("vanilla-clip", "ddp"), ("ct-glip", "fsdp"))


def config_of(pool: Path, method: str, parallel: str) -> TrainConfig:
    """A run of a step in each stage; a share of the backbone has no third, and the baseline's first is no other."""
    optim = replace(OPTIM, head_steps=0) if parallel == "fsdp" else OPTIM
    optim = replace(optim, segmentation_steps=0) if method == "vanilla-clip" else optim
    compute = ComputeConfig(parallel=parallel)  # type: ignore[arg-type]
    return smoke_config(pool, ("beta",), method=method, loss=LOSS, optim=optim, compute=compute, save_every=1)


def steps(config: TrainConfig, ranks=ALONE) -> dict[str, object]:
    """Losses, norms and, of the steps' last, gradients, of every step of a run."""
    run = loop._Run(config, FakeEncoder(), ranks)
    figures, gradients = [], {}
    for step in range(config.optim.steps):
        losses, norms = run.step(step, 1e-3)
        figures.append({**losses, **norms})
        for name, p in run.model.named_parameters():
            if p.grad is not None:
                whole = p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
                gradients[f"{step} {name}"] = whole.detach().clone()
    run.drawer.close()
    return {"figures": figures, "gradients": gradients}


def compare(pool: Path, out: Path) -> None:
    """The steps of each kind of run, saved by the first process."""
    with process_group("cpu") as ranks:
        for method, parallel in KINDS:
            found = steps(config_of(pool, method, parallel), ranks)
            if ranks.first:
                torch.save(found, out / f"{method}-{parallel}.pt")


def die(pool: Path, out: Path) -> None:
    """A run of which process 1 is killed in its second step; the other writes down what it is told."""
    whole = loop._Run.step

    def step(self, number, lr):
        if number == 1 and self.ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, number, lr)

    loop._Run.step = step
    try:
        loop.train(config_of(pool, "ct-glip", "ddp"), out, FakeEncoder())
    except CTGLIPError as error:
        (out / "told.txt").write_text(str(error))


if __name__ == "__main__":
    pool, out = Path(sys.argv[1]), Path(sys.argv[2])
    ports = [os.environ["MASTER_PORT"], os.environ["SECOND_PORT"]]
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = "1" if os.fork() == 0 else "0"
    for task, port in zip((compare, die), ports, strict=True):
        os.environ["MASTER_PORT"] = port
        task(pool, out)
