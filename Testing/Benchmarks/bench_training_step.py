"""Samples a second of a training step beside the plain one, on crops of a real CT; prints JSON.

    python Testing/Benchmarks/bench_training_step.py [--backbone small] [--edge 96] [--batches 1 2] [--repeats 3]

The step is that of stage 2, which has all of the paper's losses: Eq. 2, Eq. 3 and segmentation; Adam. All the options
that are not the paper's are off. Both ways take the same crops of the store, weights and texts, in turns.

- ours: `Task.grounded`, embeddings of texts from the table, organs pooled together, segmentation of 20,000 voxels.
- plain: the text encoder in every step, a boolean mask for each organ, the segmentation head on every voxel with cross
  entropy and Dice of all classes. The network is the same.

Organs of the CT get a sentence of the simulator's kind: two with a finding, the others normal.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_store import stored
from measure import PeakMemory, at_least, data_folder, facts, in_turns, ratio, show
from torch import Tensor, nn
from torch.nn import functional

from ctglip_training.config import TrainConfig
from ctglip_training.contrast import Contrast, Described, Losses
from ctglip_training.distributed import ALONE
from ctglip_training.forward import CropFeatures
from ctglip_training.losses import grounded_contrastive_loss
from ctglip_training.network import new_model, prepare
from ctglip_training.optimise import update
from ctglip_training.samples import Sample, draw_sample
from ctglip_training.statements import Statement, StudyText
from ctglip_training.store import PoolEntry
from ctglip_training.task import Counts, Crop, Task
from ctglip_training.texts import OrganTextSampler, TextTable, build_dictionary
from ctglip_training.wording import same_texts
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.text import TextEncoder, load_text_encoder

LR, WEIGHTS = 1e-3, {"anatomy_loss": 0.5, "diagnosis_loss": 0.5, "segmentation_loss": 1.0}
SAID = StudyText(
    (Statement("aorta", "Aortic wall calcification."), Statement("liver", "Fatty liver.", finding="fatty_liver")),
    "Aortic wall calcification. Fatty liver.",
    exhaustive=True,
)


def main() -> None:
    """Measure and print; with --way, only the peak memory of one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--edge", type=int, default=96)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    if options.way:
        step = Steps(options, options.batches[0]).ways()[options.way]
        with PeakMemory() as peak:
            step()
        sys.stdout.write(json.dumps(peak.mib))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.store = Path(folder) / "chest" / "0"
        stored(data_folder() / "chest_lidc_0001", options.store, TrainConfig().preprocess.spacing_mm, SAID)
        report = {f"batch_{batch}": measured(options, batch) for batch in options.batches}
    rows = [
        at_least(f"training step, {options.backbone}, {options.edge}^3, {name}", figures["times_plain"], 2)
        for name, figures in report.items()
    ]
    known = {**facts("transformers"), "backbone": options.backbone, "edge_voxels": options.edge}
    show({"facts": known, **report, "rows": rows})


def measured(options: argparse.Namespace, batch: int) -> dict[str, Any]:
    """Figures of one size of batch."""
    steps = Steps(options, batch)
    losses = {way: {name: float(value.detach()) for name, value in of().items()} for way, of in steps.losses().items()}
    for name in ("anatomy_loss", "diagnosis_loss"):
        assert abs(losses["ours"][name] - losses["plain"][name]) <= 1e-4 * losses["plain"][name], losses
    timed = in_turns(steps.ways(), options.repeats)
    steps.task.seconds.clear()
    steps.ours()
    same = [str(options.store), "--backbone", options.backbone, "--edge", str(options.edge)]
    same += ["--batches", str(batch), "--threads", str(options.threads)]
    peaks = {
        way: json.loads(subprocess.check_output([sys.executable, __file__, "--way", way, "--store", *same]))
        for way in timed
    }
    return {
        "shapes": [tuple(sample.image.shape) for sample in steps.samples],
        "organs": [len(sample.organs) for sample in steps.samples],
        "texts_embedded_by_plain": len(list(steps.texts())),
        "losses_of_the_first_step": losses,
        "seconds": timed,
        "samples_per_s": {way: round(batch / figures["median_s"], 4) for way, figures in timed.items()},
        "times_plain": round(ratio(timed, "plain", "ours"), 2),
        "peak_mib": peaks,
        "seconds_by_part_of_ours": {name: round(value, 3) for name, value in steps.task.seconds.items()},
    }


class TimedTask(Task):
    """Notes the seconds of the parts of a step."""

    seconds: dict[str, float]

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Adds the time within it to `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def features(self, part: Sequence[Crop]) -> list[Tensor]:
        """As `Task`."""
        with self.clock("forward"):
            return super().features(part)

    def pool(self, features: Tensor, layers: Tensor, measures: Tensor) -> Tensor:
        """As `Task`."""
        with self.clock("pooling"):
            return super().pool(features, layers, measures)

    def head(self, described: Sequence[Described], counts: Counts) -> Losses:
        """As `Task`."""
        with self.clock("contrast"):
            return super().head(described, counts)

    def _segmentation(self, part: Sequence[Crop], features: Sequence[Tensor], counts: Counts) -> Losses:
        with self.clock("segmentation"):
            return super()._segmentation(part, features, counts)


class Steps:
    """The ways of a step, each with a network of its own that begins with the same weights."""

    def __init__(self, options: argparse.Namespace, batch: int) -> None:
        config = TrainConfig()
        off = {"coordinates": False, "intensity": False, "power_mean": False, "geometry": False}
        model = replace(config.model, backbone=options.backbone, text_dim=384, **off)
        loss = replace(config.loss, centre_texts=False, learn_temperature=False)
        self.config = replace(config, model=model, loss=loss, data=replace(config.data, crop_voxels=options.edge))
        entry = PoolEntry(options.store, "chest")
        sampler = OrganTextSampler(build_dictionary((), loss.dictionary_size, 0), loss.dictionary_texts)
        self.samples = [
            draw_sample(entry, self.config, sampler, np.random.default_rng([0, number])) for number in range(batch)
        ]
        self.encoder: TextEncoder = load_text_encoder("minilm")
        self.model = new_model(self.config)
        self.plain_model = copy.deepcopy(self.model)
        self.adam, self.plain_adam = (prepare(m, self.config, ALONE) for m in (self.model, self.plain_model))
        table = TextTable(self.encoder)
        table.learn(self.texts())
        contrast = Contrast(self.model, table, self.model.get_buffer("text_mean"), loss)
        self.task = TimedTask(self.model, CropFeatures(self.model), contrast, loss)
        self.task.seconds = {}

    def texts(self) -> Iterator[str]:
        """The texts of the step."""
        for sample in self.samples:
            yield from (*sample.texts.anatomy, *sample.texts.diagnosis, *sample.texts.extra)

    def ways(self) -> dict[str, Callable[[], object]]:
        """The steps by name."""
        return {"plain": self.plain, "ours": self.ours}

    def losses(self) -> dict[str, Callable[[], Losses]]:
        """What is minimised, without a step."""
        return {"plain": lambda: plain_losses(self.plain_model, self.encoder, self.samples), "ours": self._ours}

    def ours(self) -> None:
        """One step as `loop` takes it."""
        self.adam.zero_grad(set_to_none=True)
        total = self.task.total(self._ours())
        with self.task.clock("backward"):
            total.backward()
        with self.task.clock("update"):
            update(self.adam, LR, self.config.optim.clip_norm, ALONE)

    def plain(self) -> None:
        """One plain step."""
        self._plain_step(self.plain_model, self.plain_adam)

    def _ours(self) -> Losses:
        part = [Crop(sample, torch.Generator().manual_seed(n)) for n, sample in enumerate(self.samples)]
        return self.task.grounded(part, Counts.of(self.samples))

    def _plain_step(self, model: GroundedEncoder, adam: torch.optim.Adam) -> None:
        adam.zero_grad(set_to_none=True)
        losses = plain_losses(model, self.encoder, self.samples)
        torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), self.config.optim.clip_norm)
        adam.step()


def plain_losses(model: GroundedEncoder, encoder: TextEncoder, samples: Sequence[Sample]) -> Losses:
    """Mean losses of the crops, all plainly."""
    features = model.features(torch.stack([sample.image for sample in samples]))
    known = model.config.segmentation_organs
    sums = {name: torch.zeros(()) for name in WEIGHTS}
    for sample, own in zip(samples, features, strict=True):
        masks = [(sample.layers == number + 1).any(dim=0) for number in range(len(sample.organs))]
        organs = model.project(torch.stack([own[:, mask].mean(dim=1) for mask in masks]))
        said, tau = sample.texts, model.temperature.detach()
        names, told, extra = (
            torch.from_numpy(encoder.encode(texts)) for texts in (said.anatomy, said.diagnosis, said.extra)
        )
        same = same_texts(said.diagnosis)
        diagnosis = grounded_contrastive_loss(organs[list(said.told)], told, tau, extra, same)
        classes = torch.tensor([0, *(known.index(name) + 1 if name in known else 0 for name in sample.names)])
        sums["anatomy_loss"] = sums["anatomy_loss"] + grounded_contrastive_loss(organs, names, tau)
        sums["diagnosis_loss"] = sums["diagnosis_loss"] + diagnosis
        logits = model.segmentation_head(own.movedim(0, -1))
        sums["segmentation_loss"] = sums["segmentation_loss"] + _cross_entropy_and_dice(logits, classes[sample.labels])
    return {name: value / len(samples) for name, value in sums.items()}


def _cross_entropy_and_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Over all voxels and classes; logits (i, j, k, class)."""
    rows, truth = logits.flatten(0, 2), labels.flatten()
    probability = rows.softmax(dim=1)
    both = torch.zeros(rows.shape[1]).index_add(0, truth, probability.gather(1, truth[:, None])[:, 0])
    sizes = probability.sum(dim=0) + truth.bincount(minlength=rows.shape[1])
    return functional.cross_entropy(rows, truth) + 1 - (2 * both / sizes.clamp_min(1e-6)).mean()


if __name__ == "__main__":
    main()
