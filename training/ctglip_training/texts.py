"""What is said of each organ: true sentences, false ones about the same organ, and the abnormality dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctglip_training.simulate.patient import Patient
from CTGLIPLib.abnormalities import ABNORMALITIES, Abnormality
from CTGLIPLib.organs import readable_name
from CTGLIPLib.prompts import finding_prompts, normal_prompt, organ_prompt
from CTGLIPLib.text import TextEncoder

TEMPLATE_SHARE = 0.6
"""Share of normal organs that get the paper's template; the others get another normal phrasing."""
REPORT_SHARE = 0.6
"""Share of abnormal organs that get the report's sentence; the others get a phrasing of the catalogue."""


class TextTable:
    """Embeddings of texts, computed once each by the frozen encoder."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._rows: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit-norm embeddings, float32, shape (text, dim)."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if missing:
            self._rows.update(zip(missing, self._encoder.encode(missing), strict=True))
        return torch.from_numpy(np.stack([self._rows[text] for text in texts]))


@dataclass(frozen=True)
class DictionaryEntry:
    """An abnormal text about one organ."""

    organ: str
    abnormality: str
    text: str


def build_dictionary(
    patients_sentences: Sequence[DictionaryEntry], size: int, seed: int
) -> tuple[DictionaryEntry, ...]:
    """The abnormality dictionary: at most `size` texts, spread evenly over the (organ, abnormality) pairs.

    Source: Lin et al. 2024, section 4.2: abnormal descriptions by organ, 512 entries. Ours are the training reports'
    sentences (never the test subjects') and the catalogue's phrasings.
    """
    catalogue = [
        DictionaryEntry(organ, abnormality.id, text)
        for abnormality in ABNORMALITIES
        for organ in abnormality.organs
        for text in finding_prompts(abnormality, organ).positive
    ]
    groups: dict[tuple[str, str], list[DictionaryEntry]] = {}
    for entry in dict.fromkeys([*patients_sentences, *catalogue]):
        groups.setdefault((entry.organ, entry.abnormality), []).append(entry)
    rng = np.random.default_rng(seed)
    queues = [[group[i] for i in rng.permutation(len(group))] for group in groups.values()]
    chosen: list[DictionaryEntry] = []
    while queues and len(chosen) < size:
        for index in rng.permutation(len(queues)):
            if queues[index] and len(chosen) < size:
                chosen.append(queues[index].pop())
        queues = [queue for queue in queues if queue]
    return tuple(chosen)


@dataclass(frozen=True)
class OrganTexts:
    """Texts of the organs of one crop, in their order.

    Attributes:
        anatomy: the name template of each organ.
        diagnosis: one true sentence of each organ.
        extra: Eq. 3's dictionary texts, true of no organ of the patient.
        own_negatives: for each organ, the same number of false texts about it, or none where no text is known.
        report: the whole patient's report.
    """

    anatomy: tuple[str, ...]
    diagnosis: tuple[str, ...]
    extra: tuple[str, ...]
    own_negatives: tuple[tuple[str, ...], ...]
    report: str


class OrganTextSampler:
    """Draws the texts of a crop's organs."""

    def __init__(self, dictionary: Sequence[DictionaryEntry], texts_per_organ: int) -> None:
        self._count = texts_per_organ
        self._by_organ: dict[str, list[DictionaryEntry]] = {}
        for entry in dictionary:
            self._by_organ.setdefault(entry.organ, []).append(entry)
        self._living: dict[str, list[Abnormality]] = {}
        for abnormality in ABNORMALITIES:
            for organ in abnormality.organs:
                self._living.setdefault(organ, []).append(abnormality)

    def __call__(self, patient: Patient, organs: Sequence[str], rng: np.random.Generator) -> OrganTexts:
        """Texts for `organs` of a patient."""
        found = {finding.organ: finding for finding in patient.findings}
        true = self._true_texts(patient)
        anatomy, diagnosis, extra, negatives = [], [], [], []
        for organ in organs:
            anatomy.append(organ_prompt(readable_name(organ)))
            finding = found.get(organ)
            here = {f.abnormality for f in patient.findings if f.organ == organ}
            false = self._false_texts(organ, here, rng)
            if finding:
                diagnosis.append(self._abnormal_text(finding.abnormality, organ, finding.sentence, rng))
                negatives.append((normal_prompt(readable_name(organ)), *false[: self._count - 1]))
            else:
                diagnosis.append(self._normal_text(organ, rng))
                extra.extend(text for text in false if text not in true)
                negatives.append(tuple(false))
        sentences = [finding.sentence for finding in patient.findings]
        report = " ".join(sentences) if sentences else "No evident abnormality in the CT scan."
        padded = tuple(_repeat_to(texts, self._count) for texts in negatives)
        return OrganTexts(tuple(anatomy), tuple(diagnosis), tuple(extra), padded, report)

    def _true_texts(self, patient: Patient) -> set[str]:
        """Every text that says one of the patient's findings; "Renal cyst." is said of either kidney."""
        texts = {finding.sentence for finding in patient.findings}
        for finding in patient.findings:
            for known in self._living.get(finding.organ, []):
                if known.id == finding.abnormality:
                    texts.update(finding_prompts(known, finding.organ).positive)
        return texts

    def _false_texts(self, organ: str, true_abnormalities: set[str], rng: np.random.Generator) -> list[str]:
        entries = [e for e in self._by_organ.get(organ, []) if e.abnormality not in true_abnormalities]
        chosen = rng.permutation(len(entries))[: self._count]
        return [entries[i].text for i in chosen]

    def _abnormal_text(self, abnormality: str, organ: str, sentence: str, rng: np.random.Generator) -> str:
        known = next((a for a in self._living.get(organ, []) if a.id == abnormality), None)
        if known is None or rng.random() < REPORT_SHARE:
            return sentence
        return str(rng.choice(finding_prompts(known, organ).positive))

    def _normal_text(self, organ: str, rng: np.random.Generator) -> str:
        living = self._living.get(organ, [])
        if not living or rng.random() < TEMPLATE_SHARE:
            return normal_prompt(readable_name(organ))
        abnormality = living[int(rng.integers(len(living)))]
        return str(rng.choice(finding_prompts(abnormality, organ).negative))


def _repeat_to(texts: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Exactly `count` texts, or none where there is none."""
    return tuple(texts[i % len(texts)] for i in range(count)) if texts else ()
