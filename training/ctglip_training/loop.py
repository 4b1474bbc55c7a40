"""The training loop, top to bottom: draw a batch, losses, clip, step, log, save; all stages, one process or many.

Every random choice depends on (seed, step, number of the patient in the batch) alone, so a resumed run continues as if
it had never stopped, and another number of processes trains the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import TrainConfig
from ctglip_training.contrast import Contrast, Described, Losses
from ctglip_training.descriptors import WholePatient, describe_patients
from ctglip_training.distributed import ALONE, Ranks, process_group
from ctglip_training.draw import Drawer, Place
from ctglip_training.example_picture import example_picture
from ctglip_training.forward import CropFeatures, on_device
from ctglip_training.guard import check_same_everywhere, stop_not_finite
from ctglip_training.learn_texts import learn_texts
from ctglip_training.metrics_log import MetricsLog, TimeLeft
from ctglip_training.network import centre_of_texts, new_model, prepare, shares_backbone, whole_network
from ctglip_training.optimise import NotFiniteError, average_gradients, update
from ctglip_training.sources import training_dictionary, training_entries
from ctglip_training.state import load_state, save_state
from ctglip_training.stopping import StoppedError, stop_request
from ctglip_training.task import Counts, Crop, Task
from ctglip_training.texts import OrganTextSampler, TextTable
from CTGLIPLib.model import GroundedEncoder, RunningStandardise
from CTGLIPLib.text import TextEncoder

logger = logging.getLogger(__name__)


def train(config: TrainConfig, out: Path, encoder: TextEncoder, device: str = "cpu") -> GroundedEncoder:
    """Run or resume a training run in folder `out` and return the trained network, on the CPU.

    Started by torchrun, the processes share each batch; the first one writes.

    Raises:
        CheckpointError: if `out` holds another run.
        ConfigError: if the pool has not the held-out subjects, no other subject, or another spacing; if there is no
            such device; if the processes cannot share a batch.
        DependencyError: if TensorBoard is not installed.
        OutputError: if something cannot be written; the last checkpoint is whole.
        NotFiniteError: if a loss or gradient is not finite; the step and patients are named and in `nan_batch.json`.
        StoppedError: if SIGTERM came; the checkpoint is that of the step before.
        CTGLIPError: if another process stopped.
    """
    torch.set_flush_denormal(True)  # high powers of small features are denormal: steps twice as long (benchmarks.md)
    with process_group(device) as ranks, ExitStack() as closing:
        run = _Run(config, encoder, ranks)
        closing.callback(run.drawer.close)
        step = load_state(out, config, run.model, run.optimiser)
        log = closing.enter_context(MetricsLog(out, step)) if ranks.first else None
        stop = closing.enter_context(stop_request())
        clock = TimeLeft(step, config.optim.steps)
        while step < config.optim.steps:
            lr = learning_rate(config, step)
            try:
                losses, norms = run.step(step, lr)
            except NotFiniteError as error:
                stop_not_finite(out, step, run.drawer.parts(step), error, ranks)
            picture = run.picture(step) if config.picture_every and step % config.picture_every == 0 else None
            step += 1
            if log:
                facts = {"samples_seen": config.optim.samples_after(step), "lr": lr}
                log.add(step, {**facts, **clock.after(config.optim.batch_of(step - 1)), **losses, **norms})
                log.add_picture(step, picture)
                logger.info("step %d of %d, %s, %s left", step, config.optim.steps, _short(losses), clock.left(step))
            stopped = stop.agreed(ranks)
            if stopped or step % config.save_every == 0 or step in config.optim.stage_ends:
                save_state(out, config, step, run.model, run.optimiser)
            if stopped and step < config.optim.steps:
                msg = f"Stopped by SIGTERM after step {step} of {config.optim.steps}, which is saved. Start the same "
                raise StoppedError(msg + "command again to go on.")
        return whole_network(run.model, config).eval()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Cosine from `lr` to `final_lr` within the stage that `step` belongs to."""
    optim = config.optim
    done = step
    for total in (optim.segmentation_steps, optim.contrast_steps, optim.head_steps):
        if done < total:
            break
        done -= total
    return optim.final_lr + (optim.lr - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * done / max(total, 1)))


class _Run:
    """What one process of a run holds: data, network, optimiser."""

    def __init__(self, config: TrainConfig, encoder: TextEncoder, ranks: Ranks = ALONE) -> None:
        self.config, self.ranks = config, ranks
        self.entries = training_entries(config)
        table = TextTable(encoder, config.data.pools[0] / "texts")
        dictionary = training_dictionary(config, self.entries)
        check_same_everywhere(config, self.entries, dictionary, ranks)
        self.sampler = OrganTextSampler(dictionary, config.loss.dictionary_texts, config.data.suspected)
        learn_texts(table, self.sampler, self.entries, config, ranks)
        self.model = new_model(config)
        if config.loss.centre_texts:
            self.model.get_buffer("text_mean").copy_(centre_of_texts(table))
        self.drawer = Drawer(config, self.entries, self.sampler, ranks)
        self.optimiser = prepare(self.model, config, ranks)
        features = CropFeatures(
            self.model, config.compute.precision, ranks, equal_passes=shares_backbone(config, ranks)
        )
        contrast = Contrast(self.model, table, self.model.get_buffer("text_mean"), config.loss, ranks)
        self.task = Task(self.model, features, contrast, config.loss, ranks)
        self._whole: dict[Path, WholePatient] | None = None

    def step(self, step: int, lr: float) -> tuple[dict[str, float], dict[str, float]]:
        """One optimiser step; returns losses and norms.

        Raises:
            NotFiniteError: if a loss, the gradient or the new weights are not finite.
        """
        self.optimiser.zero_grad(set_to_none=True)
        parts = self._head_losses(step) if step >= self.config.optim.cropped_steps else self._crop_losses(step)
        figures: dict[str, Tensor] = {}
        for losses in parts:
            if losses:
                total = self.task.total(losses)
                if total.requires_grad:  # not so where a process has no patient that a loss is told of
                    total.backward()
                for name, value in {**losses, "loss": total}.items():
                    figures[name] = figures.get(name, torch.zeros((), device=value.device)) + value.detach()
        mean = _over_processes(figures, self.ranks)
        if not mean:  # no patient of the batch has two organs to tell apart
            return {"loss": 0.0}, {}
        if not math.isfinite(mean["loss"]):
            raise NotFiniteError(_short(mean))
        average_gradients(list(self.model.parameters()), self.ranks)
        norms = update(self.optimiser, lr, self.config.optim.clip_norm, self.ranks)
        return mean, {**norms, "temperature": float(self.model.temperature.detach())}

    def picture(self, step: int) -> np.ndarray | None:
        """The example picture of a step on crops, by the first process; all processes must call this together."""
        if step >= self.config.optim.cropped_steps:
            return None
        crop = Crop(on_device(self.drawer.example(step), self.ranks.device), torch.Generator())
        with torch.no_grad():
            features = self.task.features([crop])[0]
            contrasts = step >= self.config.optim.segmentation_steps and self.config.method == "ct-glip"
            contrast = self.task.contrast if contrasts else None
            return example_picture(self.model, crop.sample, features, contrast) if self.ranks.first else None

    def _crop_losses(self, step: int) -> Iterator[Losses]:
        """The losses of each part of a step of stage 1 or 2."""
        optim, device = self.config.optim, self.ranks.device
        parts = self.drawer.samples(step)
        counts = Counts.of([sample for part in parts for sample in part], len(parts), self.ranks)
        for samples, places in zip(parts, self.drawer.parts(step), strict=True):
            part = [Crop(on_device(s, device), place.generator) for s, place in zip(samples, places, strict=True)]
            if step < optim.segmentation_steps:
                yield self.task.segmentation(part, counts)
            elif self.config.method == "ct-glip":
                yield self.task.grounded(part, counts)
            else:
                yield self.task.whole_image(part, counts)

    def _head_losses(self, step: int) -> Iterator[Losses]:
        """The losses of a step of the last stage, which is computed in one part."""
        (places,) = self.drawer.parts(step)
        patients = self._whole_patients()
        described = [self._described(place, patients[place.entry.path]) for place in places]
        counts = Counts.of(described, ranks=self.ranks)
        if self.config.method == "vanilla-clip":
            whole = [patients[place.entry.path].whole for place in places]
            reports, generators = [d.texts.report for d in described], [d.generator for d in described]
            yield self.task.whole_head(whole, reports, generators, counts)
        else:
            yield self.task.head(described, counts)

    def _described(self, place: Place, patient: WholePatient) -> Described:
        organs = patient.organs if self.config.method == "ct-glip" else ()
        texts = self.sampler(place.entry.study, organs, place.rng)
        return Described(organs, patient.descriptor, texts, place.generator)

    def _whole_patients(self) -> dict[Path, WholePatient]:
        """Descriptors of all patients by the network as the last stage found it; the projection reads no others."""
        if self._whole is None:
            self._whole = describe_patients(self.model, self.config, self.entries, self.ranks)
            if isinstance(self.model.standardise, RunningStandardise):
                self.model.standardise.fit(torch.cat([patient.pooled for patient in self._whole.values()]))
        return self._whole


def _over_processes(figures: Mapping[str, Tensor], ranks: Ranks) -> dict[str, float]:
    """Mean of each figure over the processes; one that a process lacks counts as 0 there."""
    names = sorted({name for known in ranks.collect(sorted(figures)) for name in known})
    if not names:
        return {}
    values = torch.stack([figures[name].cpu() if name in figures else torch.zeros(()) for name in names])
    return dict(zip(names, (ranks.sum(values) / ranks.count).tolist(), strict=True))


def _short(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items())
