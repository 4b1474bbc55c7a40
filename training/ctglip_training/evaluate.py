"""How well a model recognises organs and findings in subjects it never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluation.classification import auc
from ctglip_training.evaluation.intervals import bootstrap_interval
from ctglip_training.simulate.catalogue import FINDINGS
from ctglip_training.simulate.patient import Patient
from ctglip_training.whole_image import whole_body
from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.organs import PAPER_ORGANS, readable_name
from CTGLIPLib.preprocess import Prepared, prepare_on_grid
from CTGLIPLib.prompts import finding_prompts, organ_prompt
from CTGLIPLib.similarity import embed_texts
from CTGLIPLib.text import TextEncoder


@dataclass(frozen=True)
class OrganReport:
    """Organ recognition on one study: (true name, five best names) of every organ that counted."""

    rows: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def top1(self) -> float:
        """Share of organs whose own name came first."""
        return float(np.mean([best[0] == name for name, best in self.rows])) if self.rows else float("nan")

    @property
    def top5(self) -> float:
        """Share of organs whose own name was among the first five."""
        return float(np.mean([name in best for name, best in self.rows])) if self.rows else float("nan")


@dataclass(frozen=True)
class FindingCase:
    """One organ of one patient asked for one finding."""

    patient: int
    abnormality: str
    organ: str
    margin: float
    truth: bool


class Evaluator:
    """Asks one model.

    Args:
        model: the network, in eval mode.
        preprocess: its preprocessing.
        encoder: its text encoder.
        whole_image: score findings by the whole image's embedding, as vanilla CLIP does.
    """

    def __init__(
        self, model: GroundedEncoder, preprocess: PreprocessConfig, encoder: TextEncoder, *, whole_image: bool = False
    ) -> None:
        self._model, self._preprocess, self._encoder, self._whole = model, preprocess, encoder, whole_image
        self._texts: dict[str, np.ndarray] = {}

    def organs(self, patient: Patient, trained: Iterable[str]) -> OrganReport:
        """Recognition over the 104 names of the patient's organs that the training subjects contain."""
        prepared = prepare_on_grid(patient.volume, patient.segmentation, self._preprocess)
        embeddings = encode_organs(self._model, prepared, self._preprocess)
        names = [organ.name for organ in PAPER_ORGANS]
        similarity = embeddings @ self._embed([organ_prompt(readable_name(n)) for n in names]).T
        trained = set(trained)
        rows = []
        for index, name in enumerate(prepared.segmentation.names):
            if (
                name in names
                and name in trained
                and prepared.geometry.voxels[index] >= self._preprocess.min_organ_voxels
            ):
                rows.append((name, tuple(names[i] for i in np.argsort(-similarity[index])[:5])))
        return OrganReport(tuple(rows))

    def findings(self, patients: Sequence[Patient], trained: Iterable[str]) -> list[FindingCase]:
        """Every simulated finding asked of every organ that it can live in and that training contained."""
        trained = set(trained)
        cases = []
        for number, patient in enumerate(patients):
            prepared = prepare_on_grid(patient.volume, patient.segmentation, self._preprocess)
            embeddings = self._embeddings(patient, prepared)
            true = {(finding.abnormality, finding.organ) for finding in patient.findings}
            for index, organ in enumerate(prepared.segmentation.names):
                if prepared.geometry.voxels[index] < self._preprocess.min_organ_voxels or organ not in trained:
                    continue
                for finding in FINDINGS.values():
                    if organ in finding.organs:
                        margin = self._margin(embeddings[index], finding.id, organ)
                        cases.append(FindingCase(number, finding.id, organ, margin, (finding.id, organ) in true))
        return cases

    def _embeddings(self, patient: Patient, prepared: Prepared) -> np.ndarray:
        if not self._whole:
            return encode_organs(self._model, prepared, self._preprocess)
        embedding = encode_organs(self._model, whole_body(patient, prepared), self._preprocess)
        return np.repeat(embedding, len(prepared.segmentation.names), axis=0)

    def _margin(self, embedding: np.ndarray, abnormality: str, organ: str) -> float:
        prompts = finding_prompts(abnormality_named(abnormality), organ)
        positive = self._embed(prompts.positive) @ embedding
        negative = self._embed(prompts.negative) @ embedding
        return float(positive.mean() - negative.mean())

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        missing = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if missing:
            rows = embed_texts(self._encoder, missing, self._model.get_buffer("text_mean").cpu().numpy())
            self._texts.update(zip(missing, rows, strict=True))
        return np.stack([self._texts[text] for text in texts])


@dataclass(frozen=True)
class FindingSummary:
    """AUC over patients.

    Attributes:
        mean_auc: mean over the findings.
        interval: 95 % bootstrap interval of the mean, over patients.
        findings: AUC, positives, negatives of each finding.
    """

    mean_auc: float
    interval: tuple[float, float]
    findings: dict[str, dict[str, float]]


def summarise_findings(cases: Sequence[FindingCase]) -> FindingSummary:
    """AUC of every finding, their mean, and the mean's interval over patients."""
    names = np.array([case.abnormality for case in cases])
    margins = np.array([case.margin for case in cases])
    truth = np.array([case.truth for case in cases])
    patients = np.array([case.patient for case in cases])

    def mean_auc(index: np.ndarray) -> float:
        by_name = [index[names[index] == name] for name in np.unique(names)]
        values = [auc(margins[rows], truth[rows]) for rows in by_name]
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

    findings = {
        str(name): {
            "auc": auc(margins[names == name], truth[names == name]),
            "positives": int(truth[names == name].sum()),
            "negatives": int((~truth[names == name]).sum()),
        }
        for name in np.unique(names)
    }
    return FindingSummary(mean_auc(np.arange(len(cases))), bootstrap_interval(patients, mean_auc), findings)
