"""Descriptors and texts -> contrastive losses: organs against sentences, or whole images against reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ctglip_training.config import LossConfig
from ctglip_training.distributed import ALONE, Ranks
from ctglip_training.losses import (
    OrganRows,
    cross_patient_loss,
    global_contrastive_loss,
    grounded_contrastive_loss,
    own_negatives_loss,
)
from ctglip_training.texts import OrganTexts, TextTable
from ctglip_training.wording import same_but_for_side, same_texts, wording_numbers
from CTGLIPLib.model import GroundedEncoder, RunningStandardise
from CTGLIPLib.organs import ORGANS, readable_name
from CTGLIPLib.prompts import organ_prompt

Losses = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Described:
    """The organs of a patient, whole or cropped, before they are projected.

    Attributes:
        organs: their names.
        descriptor: shape (organ, descriptor).
        texts: what is said of them.
        generator: draws the noise that disturbs them.
    """

    organs: tuple[str, ...]
    descriptor: Tensor
    texts: OrganTexts
    generator: torch.Generator

    @property
    def is_named(self) -> bool:
        """Whether it has two organs, whose names can be told apart."""
        return len(self.organs) > 1

    @property
    def is_told(self) -> bool:
        """Whether it has two organs and something is said of one."""
        return self.is_named and bool(self.texts.told)


class Contrast:
    """Projects descriptors and compares them with texts.

    Args:
        model: the network, of which the projection and the temperature are used.
        table: embeddings of texts.
        text_mean: subtracted from every text embedding, shape (dim,).
        config: which losses.
        ranks: the processes whose patients are compared.
    """

    def __init__(
        self, model: GroundedEncoder, table: TextTable, text_mean: Tensor, config: LossConfig, ranks: Ranks = ALONE
    ) -> None:
        self._model, self._table, self._mean, self._config, self._ranks = model, table, text_mean, config, ranks
        self._names: Tensor | None = None

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Text embeddings as they are contrasted: centred, unit norm, shape (text, dim)."""
        return functional.normalize(self._table(texts).to(self._mean.device) - self._mean, dim=1)

    def project(self, descriptors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Embeddings of disturbed descriptors, (row, descriptor) each; all processes must call this together.

        The running statistics that standardise them follow the rows of all processes at once.
        """
        sizes = [len(rows) for rows in descriptors]
        rows = self._standardised(torch.cat(list(descriptors)))
        pairs = zip(rows.split(sizes), generators, strict=True)
        disturbed = torch.cat([self._disturbed(own, generator) for own, generator in pairs])
        return list(functional.normalize(self._model.projection(disturbed), dim=1).split(sizes))

    def of_patient(self, described: Described, organs: Tensor) -> Losses:
        """Eq. 2, Eq. 3 and our own-negatives loss of the organs (organ, dim) of one patient, as far as they apply.

        With them comes `organ_top1`, the share of organs whose own name is the nearest of the vocabulary's.
        """
        config, texts, losses = self._config, described.texts, Losses()
        if described.is_named:
            names = self.embed(texts.anatomy)
            losses["organ_top1"] = self._top1(organs.detach(), names)
            if config.anatomy:
                losses["anatomy_loss"] = grounded_contrastive_loss(organs, names, self.temperature)
        if described.is_told and config.diagnosis:
            told = organs[list(texts.told)]
            diagnosis = self.embed(texts.diagnosis)
            extra = self.embed(texts.extra) if texts.extra else None
            same = self._same(described).to(told.device)
            losses["diagnosis_loss"] = grounded_contrastive_loss(told, diagnosis, self.temperature, extra, same)
            if config.own_negatives:
                losses["own_negatives_loss"] = self._own_negatives(told, diagnosis, texts.own_negatives)
        return losses

    def across_patients(self, described: Sequence[Described], embedded: Sequence[Tensor]) -> Tensor:
        """Our loss between equal organs of the patients of all processes, who must call this together."""
        said = [(d.organs[n], text) for d in described for n, text in zip(d.texts.told, d.texts.diagnosis, strict=True)]
        normal = [flag for d in described for flag in d.texts.normal]
        organs = torch.cat([rows[list(d.texts.told)] for d, rows in zip(described, embedded, strict=True)])
        texts = self.embed([text for _, text in said]) if said else organs.new_zeros(0, organs.shape[1])
        columns = [
            wording_numbers([organ for organ, _ in said]),
            wording_numbers([text for _, text in said]),
            torch.tensor(normal, dtype=torch.int64),
        ]
        facts = self._ranks.gather(torch.stack(columns, dim=1).to(organs.device))
        rows = OrganRows(
            self._ranks.gather(organs), self._ranks.gather(texts), facts[:, 0], facts[:, 1], facts[:, 2] > 0
        )
        return cross_patient_loss(rows, self.temperature)

    def of_images(
        self, descriptors: Sequence[Tensor], reports: Sequence[str], generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Vanilla CLIP's loss between whole images, (1, descriptor) each, and reports, of all processes together.

        A patient without a report is left out.
        """
        known = [number for number, report in enumerate(reports) if report]
        images = torch.cat(self.project(descriptors, generators))[known]
        told = [reports[number] for number in known]
        texts = self.embed(told) if told else images.new_zeros(0, images.shape[1])
        images, texts = self._ranks.gather(images), self._ranks.gather(texts)
        same = None
        if self._config.same_reports:
            numbers = self._ranks.gather(wording_numbers(told).to(images.device))
            same = numbers[:, None] == numbers[None]
        if not len(images):
            return 0 * self.temperature
        return global_contrastive_loss(images, texts, self.temperature, same)

    @property
    def temperature(self) -> Tensor:
        """tau, with gradient where it is learned."""
        tau = self._model.temperature
        return tau if self._config.learn_temperature else tau.detach()

    def _standardised(self, rows: Tensor) -> Tensor:
        """Own rows, of which alone the gradient is asked: a process may have no organ that a loss compares."""
        standardise = self._model.standardise
        if self._ranks.count == 1 or not standardise.training or not isinstance(standardise, RunningStandardise):
            return standardise(rows)
        everyones, own = self._ranks.gather(rows.detach()), self._ranks.own(len(rows))
        return standardise(torch.cat([everyones[: own.start], rows, everyones[own.stop :]]))[own]

    def _disturbed(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Descriptors with noise of the whole scan and of each organ, and with dropout."""
        noise, dropout = self._config.descriptor_noise, self._config.descriptor_dropout
        if noise:
            scan = torch.randn(1, rows.shape[1], generator=generator)
            organ = torch.randn(rows.shape, generator=generator)
            rows = rows + noise * ((scan + organ) / 2).to(rows.device)
        if dropout:
            kept = (torch.rand(rows.shape, generator=generator) >= dropout).to(rows.device)
            rows = rows * kept / (1 - dropout)
        return rows

    def _same(self, described: Described) -> Tensor:
        """Which texts of a patient say the same, bool, shape (told, told)."""
        texts = described.texts
        if not self._config.symmetric_same:
            return same_texts(texts.diagnosis)
        return same_but_for_side(texts.diagnosis, [described.organs[number] for number in texts.told])

    def _own_negatives(self, organs: Tensor, diagnosis: Tensor, negatives: Sequence[tuple[str, ...]]) -> Tensor:
        """Our loss over the organs that false texts are known for."""
        asked = [i for i, group in enumerate(negatives) if group]
        if not asked:
            return organs.new_zeros(())
        flat = self.embed([text for i in asked for text in negatives[i]])
        grouped = flat.reshape(len(asked), -1, flat.shape[1])
        return own_negatives_loss(organs[asked], diagnosis[asked], grouped, self.temperature)

    def _top1(self, organs: Tensor, own_names: Tensor) -> Tensor:
        if self._names is None:
            self._names = self.embed([organ_prompt(readable_name(organ.name)) for organ in ORGANS])
        nearest = (organs @ self._names.T).amax(dim=1)
        return ((organs * own_names).sum(dim=1) >= nearest - 1e-6).float().mean()
