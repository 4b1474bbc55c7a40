"""Organ descriptors of whole patients, computed once, for the stage in which only the projection learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import ALONE, Ranks
from ctglip_training.store import PoolEntry, read_patient
from ctglip_training.whole_image import whole_body
from CTGLIPLib.encode import organ_descriptors
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.preprocess import prepare_on_grid


@dataclass(frozen=True, eq=False)
class WholePatient:
    """A patient as the projection sees it.

    Attributes:
        organs: the organs large enough to count.
        descriptor: shape (organ, descriptor), of those organs.
        whole: shape (1, descriptor), of the whole body; for vanilla CLIP.
    """

    organs: tuple[str, ...]
    descriptor: Tensor
    whole: Tensor

    @property
    def pooled(self) -> Tensor:
        """The rows that the run's method projects, shape (row, descriptor); the other kind is empty."""
        return torch.cat([self.descriptor, self.whole])


def describe_patients(
    model: GroundedEncoder, config: TrainConfig, entries: Sequence[PoolEntry], ranks: Ranks = ALONE
) -> dict[Path, WholePatient]:
    """Descriptors of every patient by the network as it is now; each process computes its share for all."""
    was_training = model.training
    model.eval()
    own = {entry.path: _describe(model, config, entry) for entry in entries[ranks.rank :: ranks.count]}
    model.train(was_training)
    everyones = {path: patient for share in ranks.collect(own) for path, patient in share.items()}
    return {entry.path: _on(everyones[entry.path], ranks.device) for entry in entries}


def _describe(model: GroundedEncoder, config: TrainConfig, entry: PoolEntry) -> WholePatient:
    """The patient's descriptors, on the CPU, from where they can be sent."""
    patient = read_patient(entry.path)
    prepared = prepare_on_grid(patient.volume, patient.segmentation, config.preprocess)
    kept = np.flatnonzero(prepared.geometry.voxels >= config.preprocess.min_organ_voxels)
    organs = tuple(patient.segmentation.names[i] for i in kept)
    if config.method == "ct-glip":
        descriptor = organ_descriptors(model, prepared, config.preprocess).cpu().clone()[torch.from_numpy(kept)]
        return WholePatient(organs, descriptor, descriptor[:0])
    whole = organ_descriptors(model, whole_body(patient, prepared), config.preprocess).cpu().clone()
    return WholePatient(organs, whole[:0], whole)


def _on(patient: WholePatient, device: torch.device) -> WholePatient:
    return WholePatient(patient.organs, patient.descriptor.to(device), patient.whole.to(device))
