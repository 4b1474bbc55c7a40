"""How well a model recognises organs and findings in subjects it never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ctglip_training.evaluation.classification import auc
from ctglip_training.evaluation.intervals import bootstrap_interval
from ctglip_training.simulate.patient import Patient
from ctglip_training.truths import Truths, known_truths
from ctglip_training.whole_image import whole_body
from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import encode_organs
from CTGLIPLib.errors import InputError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.organs import PAPER_ORGANS, readable_name
from CTGLIPLib.preprocess import prepare_on_grid
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
class OrganCase:
    """One organ of one patient that the model was to name.

    Attributes:
        patient: number within its subject.
        organ: its true name.
        best: the five likeliest of the 104 names, the likeliest first.
    """

    patient: int
    organ: str
    best: tuple[str, ...]


@dataclass(frozen=True)
class FindingCase:
    """One organ of one patient asked for one finding."""

    patient: int
    abnormality: str
    organ: str
    margin: float
    truth: bool


@dataclass(frozen=True, eq=False)
class PatientEmbeddings:
    """All that evaluation needs of a patient's voxels once the network has seen them.

    Attributes:
        organs: names of the organs that are large enough.
        rows: their embeddings, float32, shape (organ, dim).
        body: embedding of the whole body, shape (1, dim), by which vanilla CLIP is asked; else (0, dim).
    """

    organs: tuple[str, ...]
    rows: np.ndarray
    body: np.ndarray


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

    def embed(self, patient: Patient) -> PatientEmbeddings:
        """What the network makes of a patient: the slow part, the same whatever is asked then."""
        prepared = prepare_on_grid(patient.volume, patient.segmentation, self._preprocess)
        kept = np.flatnonzero(prepared.geometry.voxels >= self._preprocess.min_organ_voxels)
        rows = encode_organs(self._model, prepared, self._preprocess)[kept]
        body = rows[:0]
        if self._whole:
            body = encode_organs(self._model, whole_body(patient, prepared), self._preprocess)
        return PatientEmbeddings(tuple(prepared.segmentation.names[index] for index in kept), rows, body)

    def organs(self, patient: Patient, trained: Iterable[str]) -> OrganReport:
        """Recognition over the 104 names of the patient's organs that the training subjects contain."""
        return self.name_organs(self.embed(patient), trained)

    def name_organs(self, seen: PatientEmbeddings, trained: Iterable[str]) -> OrganReport:
        """As `organs`, of a patient that was embedded already."""
        names = [organ.name for organ in PAPER_ORGANS]
        asked = set(trained) & set(names)
        similarity = seen.rows @ self._embed([organ_prompt(readable_name(n)) for n in names]).T
        return OrganReport(
            tuple(
                (organ, tuple(names[i] for i in np.argsort(-own, kind="stable")[:5]))
                for organ, own in zip(seen.organs, similarity, strict=True)
                if organ in asked
            )
        )

    def findings(self, patients: Sequence[Patient], trained: Iterable[str]) -> list[FindingCase]:
        """Every simulated finding asked of every organ that it can live in and that training contained."""
        trained = set(trained)
        cases = []
        for number, patient in enumerate(patients):
            seen = self.embed(patient)
            truths = known_truths(patient.said, [organ for organ in seen.organs if organ in trained])
            cases += self.ask_findings(seen, number, truths)
        return cases

    def ask_findings(self, seen: PatientEmbeddings, number: int, truths: Truths) -> list[FindingCase]:
        """Every finding whose truth is known, asked of a patient that was embedded already.

        Args:
            seen: the patient.
            number: its number.
            truths: of its organs.

        Raises:
            InputError: as `margin`.
        """
        return [
            FindingCase(number, finding, organ, self.margin(seen, finding, organ), truth)
            for (finding, organ), truth in truths.items()
        ]

    def margin(self, seen: PatientEmbeddings, finding: str, organ: str) -> float:
        """How much more similar an organ of the patient is to the finding's prompts than to the normal organ's.

        Raises:
            InputError: if it is no number, as of weights that are none.
        """
        embedding = seen.body[0] if self._whole else seen.rows[seen.organs.index(organ)]
        margin = self._margin(embedding, finding, organ)
        if not np.isfinite(margin):
            msg = (
                f"Expected a similarity of {organ} with {finding}, got {margin}. The model's weights are broken: train "
                "it again at a lower learning rate."
            )
            raise InputError(msg)
        return margin

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
