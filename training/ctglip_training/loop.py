"""The training loop, top to bottom: draw a batch, losses, clip, step, log, save; all stages.

Every random choice of step s depends on (seed, s) alone, so a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ctglip_training.config import TrainConfig
from ctglip_training.descriptors import Described, describe_patients
from ctglip_training.metrics_log import MetricsLog
from ctglip_training.samples import Sample, draw_sample
from ctglip_training.sources import training_dictionary, training_entries
from ctglip_training.state import load_run_weights, load_state, save_state
from ctglip_training.store import PoolEntry
from ctglip_training.task import Losses, Task
from ctglip_training.texts import OrganTextSampler, TextTable
from CTGLIPLib.errors import ConfigError, CTGLIPError
from CTGLIPLib.model import GroundedEncoder, RunningStandardise
from CTGLIPLib.nnunet import initialise_from
from CTGLIPLib.organs import ORGANS, readable_name
from CTGLIPLib.prompts import normal_prompt, organ_prompt
from CTGLIPLib.text import TextEncoder

logger = logging.getLogger(__name__)


def train(config: TrainConfig, out: Path, encoder: TextEncoder) -> GroundedEncoder:
    """Run or resume a training run in folder `out` and return the trained network.

    Raises:
        CheckpointError: if `out` holds another run.
        ConfigError: if the pool has not the held-out subjects, no other subject, or another spacing.
        DependencyError: if TensorBoard is not installed.
        CTGLIPError: if a loss is not finite; the step and patients are named.
    """
    torch.set_flush_denormal(True)  # high powers of small features are denormal: steps twice as long (benchmarks.md)
    run = _Run(config, encoder)
    step = load_state(out, config, run.model, run.optimiser)
    started, first = time.monotonic(), step
    with MetricsLog(out, step) as log:
        while step < config.optim.steps:
            lr = learning_rate(config, step)
            losses, norms = run.step(step, lr)
            step += 1
            seconds = time.monotonic() - started
            left = seconds / (step - first) * (config.optim.steps - step)
            seen = config.optim.samples_after(step)
            log.add(step, {"samples_seen": seen, "seconds": round(seconds, 2), "lr": lr, **losses, **norms})
            logger.info("step %d of %d, %s, %.0f s left", step, config.optim.steps, _short(losses), left)
            if step % config.save_every == 0 or step == config.optim.steps:
                save_state(out, config, step, run.model, run.optimiser)
    return run.model.eval()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Cosine from `lr` to `final_lr` within the stage that `step` belongs to."""
    optim = config.optim
    done = step
    for total in (optim.segmentation_steps, optim.contrast_steps, optim.head_steps):
        if done < total:
            break
        done -= total
    return optim.final_lr + (optim.lr - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * done / max(total, 1)))


def new_model(config: TrainConfig) -> GroundedEncoder:
    """The network of a run with fresh weights, or with an nnU-Net's where the configuration says so."""
    torch.manual_seed(config.data.seed)
    model = GroundedEncoder(config.model, config.preprocess)
    kind, _, folder = config.init_from.partition(":")
    if kind == "nnunet":
        initialise_from(model.backbone, config.init_from)
    elif kind == "run":
        load_run_weights(Path(folder), model)
    elif kind:
        msg = f"init_from must be empty, nnunet:FOLDER or run:FOLDER, got {config.init_from!r}."
        raise ConfigError(msg)
    return model


def centre_of_texts(table: TextTable) -> Tensor:
    """Mean embedding of the templates of all organs, shape (dim,)."""
    readable = [readable_name(organ.name) for organ in ORGANS]
    return table([*map(organ_prompt, readable), *map(normal_prompt, readable)]).mean(dim=0)


class _Run:
    """What one run holds: data, network, optimiser."""

    def __init__(self, config: TrainConfig, encoder: TextEncoder) -> None:
        self.config = config
        self.entries = training_entries(config)
        self.subjects = sorted({entry.subject for entry in self.entries})
        table = TextTable(encoder)
        dictionary = training_dictionary(config, self.entries)
        self.sampler = OrganTextSampler(dictionary, config.loss.dictionary_texts, config.data.suspected)
        self.model = new_model(config).train()
        if config.loss.centre_texts:
            self.model.get_buffer("text_mean").copy_(centre_of_texts(table))
        self.task = Task(self.model, table, self.model.get_buffer("text_mean"), config.loss)
        self.optimiser = Adam(self.model.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay)
        self._described: dict[Path, Described] | None = None

    def step(self, step: int, lr: float) -> tuple[dict[str, float], dict[str, float]]:
        """One optimiser step; returns losses and norms."""
        rng = np.random.default_rng([self.config.data.seed, step])
        entries = self._draw(rng, head=step >= self.config.optim.steps - self.config.optim.head_steps)
        losses = self._losses(step, entries, rng)
        if not losses:  # no patient of the batch has two organs to tell apart
            return {"loss": 0.0}, {}
        total = self.task.total(losses)
        if not torch.isfinite(total):
            names = ", ".join(f"{entry.subject}/{entry.path.name}" for entry in entries)
            values = _short(_floats(losses))
            msg = f"The loss of step {step} is not finite ({values}); patients: {names}. Lower the learning rate."
            raise CTGLIPError(msg)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        return {**_floats(losses), "loss": float(total.detach())}, self._update(lr)

    def _losses(self, step: int, entries: Sequence[PoolEntry], rng: np.random.Generator) -> Losses:
        """The losses of a step, by the stage that it belongs to."""
        optim, grounded = self.config.optim, self.config.method == "ct-glip"
        generator = torch.Generator().manual_seed(self.config.data.seed * 1_000_003 + step)
        if step >= optim.segmentation_steps + optim.contrast_steps:
            return self._head_losses(entries, rng, generator)
        batch = [self._sample(entry, rng) for entry in entries]
        if step < optim.segmentation_steps:
            return self.task.segmentation(batch, generator)
        return self.task.grounded(batch, generator) if grounded else self.task.whole_image(batch, generator)

    def _head_losses(
        self, entries: Sequence[PoolEntry], rng: np.random.Generator, generator: torch.Generator
    ) -> Losses:
        if self._described is None:
            self._described = describe_patients(self.model, self.config, self.entries)
            if isinstance(self.model.standardise, RunningStandardise):
                self.model.standardise.fit(torch.cat([p.pooled for p in self._described.values()]))
        patients = [self._described[entry.path] for entry in entries]
        if self.config.method == "vanilla-clip":
            reports = [self.sampler(p.patient, (), rng).report for p in patients]
            return self.task.contrast_whole(torch.cat([p.whole for p in patients]), reports, generator)
        texts = [self.sampler(p.patient, p.organs, rng) for p in patients]
        return self.task.head([p.descriptor for p in patients], texts, generator)

    def _update(self, lr: float) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        parameters = list(self.model.parameters())
        gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.optim.clip_norm)
        before = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
        self.optimiser.step()
        after = torch.nn.utils.parameters_to_vector(parameters).detach()
        return {
            "gradient_norm": float(gradient_norm),
            "parameter_norm": float(after.norm()),
            "update_norm": float((after - before).norm()),
            "temperature": float(self.model.temperature.detach()),
        }

    def _draw(self, rng: np.random.Generator, *, head: bool) -> list[PoolEntry]:
        """Random patients; every subject is drawn equally often, however many patients were made from it."""
        drawn = []
        for _ in range(self.config.optim.head_batch if head else self.config.optim.batch):
            subject = self.subjects[int(rng.integers(len(self.subjects)))]
            mine = [entry for entry in self.entries if entry.subject == subject]
            drawn.append(mine[int(rng.integers(len(mine)))])
        return drawn

    def _sample(self, entry: PoolEntry, rng: np.random.Generator) -> Sample:
        return draw_sample(entry, self.config, self.sampler, rng)


def _floats(losses: Losses) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in losses.items()}


def _short(losses: dict[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items())
