"""The fine-tuning loop, top to bottom: crops, losses, clip, step, log, save."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ctglip_training.distributed import ALONE
from ctglip_training.finetune.cache import CachedCase
from ctglip_training.finetune.config import FinetuneConfig
from ctglip_training.finetune.losses import supervised_losses
from ctglip_training.finetune.patches import Patch, Patches
from ctglip_training.finetune.schedule import freeze_encoder, learning_rate, make_optimiser
from ctglip_training.finetune.start import Start, new_network
from ctglip_training.finetune.state import load_state, save_state
from ctglip_training.metrics_log import MetricsLog
from ctglip_training.optimise import NotFiniteError, update
from CTGLIPLib.errors import ConfigError, CTGLIPError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter

logger = logging.getLogger(__name__)
BROKEN_BATCH = "broken_batch.json"
SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Job:
    """One training: an initialisation on the cases of a fold.

    Attributes:
        config: the fine-tuning, with nothing left open.
        tumor: the model that it makes.
        start: the initialisation.
        cases: the prepared cases that are learnt from.
        out: folder for checkpoint and metrics.
        device: where the network runs.
        workers: processes that draw crops beside this one.
    """

    config: FinetuneConfig
    tumor: TumorConfig
    start: Start
    cases: Sequence[CachedCase]
    out: Path
    device: str = "cpu"
    workers: int = 0

    @property
    def identity(self) -> dict[str, object]:
        """Everything that the weights depend on, in plain values."""
        return {
            "config": json.loads(json.dumps(dataclasses.asdict(self.config))),
            "model": json.loads(json.dumps(dataclasses.asdict(self.tumor))),
            "initialisation": self.start.identity,
            "cases": [case.id for case in self.cases],
        }


def finetune(job: Job) -> TumorSegmenter:
    """Run or resume a fine-tuning and return the network, in eval mode on the job's device.

    Raises:
        CheckpointError: if the folder holds another run.
        ConfigError: if the pretrained encoder does not fit, crops have a size that it cannot take, or classes with a
            side would be mirrored.
        InputError: if a prepared case is broken.
        CTGLIPError: if a loss or gradient is not finite; the batch's cases are listed in `broken_batch.json`.
    """
    _require_sides_kept(job)
    torch.set_flush_denormal(True)
    schedule = job.config.schedule
    network = new_network(job.tumor, job.start, job.config.patch.seed).to(job.device).train()
    optimiser = make_optimiser(network, schedule)
    identity = job.identity
    first = step = load_state(job.out, identity, network, optimiser)
    if step == schedule.steps:
        return network.eval()
    started = time.monotonic()
    with MetricsLog(job.out, step) as log:
        for batch in _batches(job, step):
            freeze_encoder(network, schedule, step)
            lr = learning_rate(schedule, step)
            try:
                figures = _step(job, network, optimiser, batch, lr)
            except NotFiniteError as error:
                _stop(job, batch, step, error)
            step += 1
            seconds = time.monotonic() - started
            seen = step * job.config.patch.batch
            log.add(step, {"samples_seen": seen, "seconds": round(seconds, 2), "lr": lr, **figures})
            left = seconds / (step - first) * (schedule.steps - step)
            logger.info("step %d of %d, loss %.4f, %.0f s left", step, schedule.steps, figures["loss"], left)
            if step % job.config.save_every == 0 or step == schedule.steps:
                save_state(job.out, identity, step, network, optimiser)
    return network.eval()


def _require_sides_kept(job: Job) -> None:
    """Refuse to mirror patients whose classes have a side: a mirrored left kidney is a right one."""
    sided = [name for name in job.tumor.classes if SIDE.search(name)]
    if sided and job.config.augment.mirror:
        msg = (
            f"The classes {', '.join(sided)} have a side, and augment.mirror would teach the wrong one. "
            "Set mirror = false under [augment]."
        )
        raise ConfigError(msg)


def _batches(job: Job, step: int) -> DataLoader[Patch]:
    """The batches from `step` on; crops are numbered through the run, so workers change nothing."""
    patches = Patches(job.cases, job.config)
    numbers = range(step * job.config.patch.batch, len(patches))
    return DataLoader(
        patches,
        batch_size=job.config.patch.batch,
        sampler=numbers,
        num_workers=job.workers,
        pin_memory=job.device.startswith("cuda"),
    )


def _step(job: Job, network: TumorSegmenter, optimiser: Optimizer, batch: Patch, lr: float) -> dict[str, float]:
    schedule = job.config.schedule
    image, labels = batch["image"].to(job.device), batch["labels"].to(job.device)
    with torch.autocast(torch.device(job.device).type, torch.bfloat16, enabled=schedule.bf16):
        logits = network(image)
    losses = supervised_losses(logits if schedule.deep_supervision else logits[:1], labels)
    total = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(total):
        raise NotFiniteError(", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items()))
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    norms = update(optimiser, lr, schedule.clip_norm, ALONE)
    return {
        "loss": float(total.detach()),
        **{name: float(value.detach()) for name, value in losses.items()},
        **norms,
    }


def _stop(job: Job, batch: Patch, step: int, reason: NotFiniteError) -> NoReturn:
    """Save which crops broke the run, and end it before its weights change; the last checkpoint stays."""
    numbers = [step * job.config.patch.batch + n for n in range(job.config.patch.batch)]
    which = cast("Tensor", batch["case"]).tolist()
    facts = {"step": step, "crops": numbers, "cases": [job.cases[n].id for n in which]}
    path = job.out / BROKEN_BATCH
    write_whole_text(path, json.dumps(facts, indent=1) + "\n")
    msg = (
        f"Step {step} has a loss or gradient that is not finite ({reason}). Its crops are listed in {path}. "
        "Look at their CTs, or lower schedule.lr; the last checkpoint is kept."
    )
    raise CTGLIPError(msg) from reason
