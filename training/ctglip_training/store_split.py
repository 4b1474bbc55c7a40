"""Evaluation of a run, or of a model folder, on a split of a store of real studies.

What is true of a study is what its report says (see `truths`); the validation split chooses thresholds and calibrates
scores. Guard: test_store_split.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ctglip_training.config import TrainConfig
from ctglip_training.embedding_cache import EmbeddingCache
from ctglip_training.evaluate import Evaluator, FindingCase, OrganCase
from ctglip_training.evaluation.zero_shot import Answers
from ctglip_training.evaluation.zero_shot_folder import Evaluation, write_evaluation
from ctglip_training.hold_out import EMBEDDINGS, Asking, OpenRun
from ctglip_training.separate import separate_score, threshold_cases
from ctglip_training.sources import training_entries
from ctglip_training.store import PoolEntry, list_pool
from ctglip_training.truths import Unmentioned, findings_of, known_truths
from CTGLIPLib.checkpoint import load_network, open_model_folder
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.text_bank import open_text_encoder

VALIDATION = "val"
UNMENTIONED_WORDS = {
    "negative": "A finding that the report does not mention counts as absent.",
    "unknown": "A finding that the report neither states nor denies is left out.",
}


@dataclass(frozen=True)
class SplitQuestion:
    """What is evaluated.

    Attributes:
        store: folder of `ctglip-train prepare`.
        split: the studies of this split.
        unmentioned: what a finding counts as that a report does not mention.
    """

    store: Path
    split: str = "test"
    unmentioned: Unmentioned = "negative"


def open_model(folder: Path, cache: Path, text_folder: Path | None = None) -> OpenRun:
    """A model folder ready to be asked of every organ; what it was trained on is not known.

    Raises:
        CheckpointError: if it is no model folder.
    """
    model = open_model_folder(folder)
    encoder = open_text_encoder(model.config.text.encoder, text_folder, revision=model.config.text.revision)
    evaluator = Evaluator(load_network(model), model.config.preprocess, encoder)
    config = TrainConfig(model.config.name, preprocess=model.config.preprocess, model=model.config.model)
    organs = frozenset(organ.name for organ in ORGANS)
    embeddings = EmbeddingCache(cache / EMBEDDINGS, model.sha256)
    spacing_mm = model.config.preprocess.spacing_mm
    return OpenRun(config, spacing_mm, evaluator, organs, embeddings, model.config.score, is_run=False)


def evaluate_split(opened: OpenRun, question: SplitQuestion, how: Asking, out: Path) -> str:
    """Write the results of a run or model on a split of a store into `out` and return the headline.

    Raises:
        ConfigError: if the split is empty, or the run was trained on one of its patients.
        InputError: if a study is broken, or threshold cases are of this split.
    """
    entries = split_entries(question.store, question.split)
    refuse_trained(opened, entries, question.split)
    separate = threshold_cases(how.threshold_cases, [question.split])
    if not separate and question.split != VALIDATION:
        separate = _validation(opened, question, how)
    answers = {question.split: split_answers(opened, entries, question, how.progress)}
    score, calibrated = separate_score(opened.score, separate)
    patients = len(answers[question.split].patients)
    notes = (
        f"{len(entries)} studies of {patients} patients of the split {question.split} of {question.store.name}; truths "
        f"are the reports'. Suspected findings are left out. {UNMENTIONED_WORDS[question.unmentioned]}",
        *(() if opened.is_run else ("What the model was trained on is not known here: these patients may be of it.",)),
        calibrated,
    )
    inputs = {
        "run" if opened.is_run else "model": opened.config.name,
        "store": question.store.name,
        "split": question.split,
    }
    title = f"{opened.config.name} on the split {question.split} of {question.store.name}"
    evaluation = Evaluation(title, answers, score, separate, notes, inputs)
    return write_evaluation(evaluation, out, progress=how.progress)


def split_entries(store: Path, split: str) -> list[PoolEntry]:
    """The studies of a split.

    Raises:
        InputError: if the store has no study, or one is broken.
        ConfigError: if the split has none, or one of its patients is in another split too.
    """
    everything = list_pool(store)
    entries = [entry for entry in everything if entry.study.origin.split == split]
    if not entries:
        counts = Counter(entry.study.origin.split or "none" for entry in everything)
        known = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        msg = f"Expected studies of the split {split} in {store}, got none; it has {known}. Give --split."
        raise ConfigError(msg)
    own = {entry.subject for entry in entries}
    shared = own & {entry.subject for entry in everything if entry.study.origin.split != split}
    if shared:
        msg = (
            f"{len(shared)} patients are in the split {split} and in others too. Split by patient again with "
            "`ctglip-train manifest`."
        )
        raise ConfigError(msg)
    return entries


def refuse_trained(opened: OpenRun, entries: Sequence[PoolEntry], split: str) -> None:
    """Refuse patients that a run was trained on; of a model folder that is not known.

    Raises:
        InputError: if the run's pools are not there.
        ConfigError: if it was trained on one of them.
    """
    shared = trained_patients(opened, entries)
    if shared:
        msg = (
            f"The run {opened.config.name} was trained on {len(shared)} of the {len({e.subject for e in entries})} "
            f"patients of the split {split}, so nothing tests it. Evaluate a split that it never saw."
        )
        raise ConfigError(msg)


def trained_patients(opened: OpenRun, entries: Sequence[PoolEntry]) -> set[str]:
    """The patients of these studies that a run was trained on; none of a model folder, of which that is not known.

    Raises:
        InputError: if the run's pools are not there.
    """
    trained = {entry.subject for entry in training_entries(opened.config)} if opened.is_run else set()
    return {entry.subject for entry in entries} & trained


def split_answers(
    run: OpenRun, entries: Sequence[PoolEntry], question: SplitQuestion, progress: ProgressCallback | None = None
) -> Answers:
    """Organs and findings asked of every study; the studies of a patient share its number.

    Raises:
        InputError: if a study is broken.
        Cancelled: if `progress` asks to stop; what was encoded is kept.
    """
    findings = findings_of([entry.study.said for entry in entries])
    numbers = {subject: number for number, subject in enumerate(sorted({entry.subject for entry in entries}))}
    organs: list[OrganCase] = []
    cases: list[FindingCase] = []
    for done, entry in enumerate(entries):
        report(progress, f"asking the split {question.split}", done, len(entries))
        seen, number = run.embed(entry), numbers[entry.subject]
        organs += [OrganCase(number, *row) for row in run.evaluator.name_organs(seen, run.trained).rows]
        asked = [organ for organ in seen.organs if organ in run.trained]
        truths = known_truths(entry.study.said, asked, findings, question.unmentioned)
        cases += run.evaluator.ask_findings(seen, number, truths)
    report(progress, f"asking the split {question.split}", len(entries), len(entries))
    return Answers(tuple(organs), tuple(cases))


def _validation(run: OpenRun, question: SplitQuestion, how: Asking) -> dict[str, list[FindingCase]]:
    """The validation split's cases, where the store has one that the run was not trained on."""
    entries = [entry for entry in list_pool(question.store) if entry.study.origin.split == VALIDATION]
    if not entries or trained_patients(run, entries):
        return {}
    own = split_answers(run, entries, replace(question, split=VALIDATION), how.progress)
    return {VALIDATION: list(own.findings)}
