"""What is said of each organ: true sentences, false ones about the same organ, and the abnormality dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctglip_training.config import Suspected
from ctglip_training.statements import Statement, StudyText
from ctglip_training.text_files import EmbeddingFiles, text_key
from CTGLIPLib.abnormalities import ABNORMALITIES, Abnormality
from CTGLIPLib.organs import readable_name
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.prompts import finding_prompts, normal_prompt, organ_prompt
from CTGLIPLib.text import FingerprintedEncoder, TextEncoder

LEARNT_AT_ONCE = 2048
"""Texts embedded between two writes to disk."""
TEMPLATE_SHARE = 0.6
"""Share of normal organs that get the paper's template; the others get another normal phrasing."""
REPORT_SHARE = 0.6
"""Share of abnormal organs that get the report's sentence; the others get a phrasing of the catalogue."""


class TextTable:
    """Embeddings of texts, computed once each by the frozen encoder.

    Args:
        encoder: asked only for texts that are not known yet.
        folder: where embeddings are kept from run to run, if the encoder has a fingerprint; None keeps them in memory.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | None = None) -> None:
        self._encoder = encoder
        self._files = None
        if folder is not None and isinstance(encoder, FingerprintedEncoder):
            self._files = EmbeddingFiles(folder, encoder.fingerprint)
        self._rows: dict[bytes, np.ndarray] = {}
        self.refresh()

    @property
    def keeps(self) -> bool:
        """Whether embeddings are kept for other runs."""
        return self._files is not None

    def refresh(self) -> None:
        """Read what other processes have kept."""
        if self._files:
            self._rows.update(self._files.read())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit-norm embeddings, float32, shape (text, dim)."""
        self._learn(self._unknown(texts))
        return torch.from_numpy(np.stack([self._rows[text_key(text)] for text in texts]))

    def learn(self, texts: Iterable[str], progress: ProgressCallback | None = None) -> None:
        """Compute and keep the embeddings of texts that will be asked for; those done stay where this is stopped."""
        unknown = self._unknown(texts)
        for start in range(0, len(unknown), LEARNT_AT_ONCE):
            self._learn(unknown[start : start + LEARNT_AT_ONCE])
            report(progress, "embedding texts", min(start + LEARNT_AT_ONCE, len(unknown)), len(unknown))

    def _unknown(self, texts: Iterable[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if text_key(text) not in self._rows]

    def _learn(self, texts: Sequence[str]) -> None:
        if not texts:
            return
        made = dict(zip(map(text_key, texts), self._encoder.encode(texts), strict=True))
        self._rows.update(made)
        if self._files:
            self._files.add(made)


@dataclass(frozen=True)
class DictionaryEntry:
    """An abnormal text about one organ; `abnormality` is None where the catalogue has no such finding."""

    organ: str
    abnormality: str | None
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
    groups: dict[tuple[str, str | None], list[DictionaryEntry]] = {}
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
        told: which of the organs, by index, something certain is known of; `diagnosis`, `normal` and `own_negatives`
            are theirs.
        diagnosis: one true sentence of each organ told.
        normal: whether that sentence says that nothing is wrong there.
        extra: Eq. 3's dictionary texts, true of no organ of the patient.
        own_negatives: for each organ told, the same number of false texts about it, or none where no text is known.
        report: the whole patient's report; empty where there is none.
    """

    anatomy: tuple[str, ...]
    told: tuple[int, ...]
    diagnosis: tuple[str, ...]
    normal: tuple[bool, ...]
    extra: tuple[str, ...]
    own_negatives: tuple[tuple[str, ...], ...]
    report: str


class HasText(Protocol):
    """A patient, whole or not yet read, of whom something is said."""

    @property
    def said(self) -> StudyText:
        """What is said of the patient."""
        ...


class OrganTextSampler:
    """Draws the texts of a crop's organs.

    Of an organ with findings, one is drawn each time. One that the report calls normal gets the report's words or the
    paper's template, one that it does not mention the template. Of an organ that is only suspected of a finding nothing
    certain is known: it is left out, and what is suspected is never called false.

    Args:
        dictionary: abnormal texts by organ.
        texts_per_organ: false texts drawn for an organ.
        suspected: what an organ with suspected findings alone gets: "left-out" no text, "abnormal" the finding's.
    """

    def __init__(
        self, dictionary: Sequence[DictionaryEntry], texts_per_organ: int, suspected: Suspected = "left-out"
    ) -> None:
        self._count, self._suspected = texts_per_organ, suspected
        self._by_organ: dict[str, list[DictionaryEntry]] = {}
        for entry in dictionary:
            self._by_organ.setdefault(entry.organ, []).append(entry)
        self._living: dict[str, list[Abnormality]] = {}
        for abnormality in ABNORMALITIES:
            for organ in abnormality.organs:
                self._living.setdefault(organ, []).append(abnormality)

    def __call__(self, patient: HasText, organs: Sequence[str], rng: np.random.Generator) -> OrganTexts:
        """Texts for `organs` of a patient."""
        said = patient.said
        anatomy = tuple(organ_prompt(readable_name(organ)) for organ in organs)
        if said.report is None:
            return OrganTexts(anatomy, (), (), (), (), (), "")
        true, true_findings = self._true_texts(said), {s.finding for s in said.statements if not s.normal}
        told, diagnosis, normal, extra, negatives = [], [], [], [], []
        for number, organ in enumerate(organs):
            here = [statement for statement in said.statements if statement.organ == organ]
            abnormal = [s for s in here if not s.normal]
            certain = abnormal if self._suspected == "abnormal" else [s for s in abnormal if not s.uncertain]
            if abnormal and not certain:
                continue
            false = self._false_texts(organ, here, rng)
            told.append(number)
            normal.append(not certain)
            if certain:
                chosen = certain[int(rng.integers(len(certain)))] if len(certain) > 1 else certain[0]
                diagnosis.append(self._abnormal_text(chosen, rng))
                negatives.append((normal_prompt(readable_name(organ)), *(e.text for e in false[: self._count - 1])))
            else:
                diagnosis.append(self._normal_text(organ, here, said.exhaustive, rng))
                known = true_findings if not said.exhaustive else set()
                extra.extend(e.text for e in false if e.text not in true and e.abnormality not in known)
                negatives.append(tuple(entry.text for entry in false))
        padded = tuple(_repeat_to(texts, self._count) for texts in negatives)
        return OrganTexts(anatomy, tuple(told), tuple(diagnosis), tuple(normal), tuple(extra), padded, said.report)

    def possible(self, patient: HasText, organs: Sequence[str], whole: bool = False) -> Iterator[str]:
        """Every text that can be drawn for organs of a patient.

        Args:
            patient: of whom something is said.
            organs: all that it has.
            whole: the report alone, which is all that is drawn for whole images.
        """
        if whole:
            yield from filter(None, (patient.said.report,))
            return
        yield from (said.sentence for said in patient.said.statements)
        for organ in organs:
            yield from (organ_prompt(readable_name(organ)), normal_prompt(readable_name(organ)))
            yield from (entry.text for entry in self._by_organ.get(organ, []))
            for known in self._living.get(organ, []):
                prompts = finding_prompts(known, organ)
                yield from (*prompts.positive, *prompts.negative)

    def _true_texts(self, said: StudyText) -> set[str]:
        """Every text that says a finding of the patient, suspected ones too; "Renal cyst." is said of either kidney."""
        abnormal = [statement for statement in said.statements if not statement.normal]
        texts = {statement.sentence for statement in abnormal}
        for statement in abnormal:
            known = self._known(statement.organ, statement.finding)
            texts.update(finding_prompts(known, statement.organ).positive if known else ())
        return texts

    def _false_texts(self, organ: str, here: Sequence[Statement], rng: np.random.Generator) -> list[DictionaryEntry]:
        """Texts about the organ that are not true of it: of the dictionary, and of what the report denies."""
        abnormal = [statement for statement in here if not statement.normal]
        true = {statement.finding for statement in abnormal}  # None: one that the catalogue does not know
        own = {statement.sentence for statement in abnormal}
        denied = {s.finding for s in here if s.normal and s.finding} - true
        entries = [e for e in self._by_organ.get(organ, []) if e.abnormality not in true and e.text not in own]
        for known in [a for a in self._living.get(organ, []) if a.id in denied]:
            texts = finding_prompts(known, organ).positive
            entries += [e for e in (DictionaryEntry(organ, known.id, text) for text in texts) if e not in entries]
        chosen = rng.permutation(len(entries))[: self._count]
        return [entries[i] for i in chosen]

    def _abnormal_text(self, statement: Statement, rng: np.random.Generator) -> str:
        known = self._known(statement.organ, statement.finding)
        if known is None or rng.random() < REPORT_SHARE:
            return statement.sentence
        return str(rng.choice(finding_prompts(known, statement.organ).positive))

    def _normal_text(self, organ: str, here: Sequence[Statement], exhaustive: bool, rng: np.random.Generator) -> str:
        template, living = normal_prompt(readable_name(organ)), self._living.get(organ, [])
        if exhaustive:
            if not living or rng.random() < TEMPLATE_SHARE:
                return template
            abnormality = living[int(rng.integers(len(living)))]
            return str(rng.choice(finding_prompts(abnormality, organ).negative))
        if not here or rng.random() < TEMPLATE_SHARE:
            return template
        return here[int(rng.integers(len(here)))].sentence

    def _known(self, organ: str, finding: str | None) -> Abnormality | None:
        """The catalogue's finding of that id, where it lives in the organ."""
        return next((known for known in self._living.get(organ, []) if known.id == finding), None)


def _repeat_to(texts: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Exactly `count` texts, or none where there is none."""
    return tuple(texts[i % len(texts)] for i in range(count)) if texts else ()
