"""Leave-one-subject-out figures of a run: organs on the real scan, findings on simulated patients made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ctglip_training.cases import CASES, write_cases
from ctglip_training.config import TrainConfig
from ctglip_training.embedding_cache import EmbeddingCache
from ctglip_training.evaluate import (
    Evaluator,
    FindingCase,
    FindingSummary,
    OrganCase,
    OrganReport,
    PatientEmbeddings,
    summarise_findings,
)
from ctglip_training.evaluation.results_folder import plain
from ctglip_training.evaluation.zero_shot import Answers
from ctglip_training.evaluation.zero_shot_folder import Evaluation, write_evaluation
from ctglip_training.export import load_run_model
from ctglip_training.separate import separate_score, threshold_cases
from ctglip_training.simulate.patient import Patient
from ctglip_training.sources import training_entries
from ctglip_training.state import read_run_config
from ctglip_training.store import PoolEntry, list_pool, read_patient
from ctglip_training.subjects import Subject, load_subject
from ctglip_training.truths import known_truths
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import resample_segmentation
from CTGLIPLib.text_bank import open_text_encoder

EMBEDDINGS = "embeddings"
"""Folder within a run's that its patients' embeddings are kept in."""
RESULTS = "results"
"""Folder within a run's that results go to."""


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A run that held subjects out, ready to be asked.

    Attributes:
        config: what it was trained with.
        spacing_mm: the model's voxel size.
        evaluator: asks its exported model.
        trained: names of the organs that its training patients contain.
        cache: embeddings of the patients that it was asked before.
        score: how the exported model makes probabilities.
        is_run: whether the configuration says what it was trained on; a model folder's does not.
    """

    config: TrainConfig
    spacing_mm: float
    evaluator: Evaluator
    trained: frozenset[str]
    cache: EmbeddingCache
    score: ScoreConfig
    is_run: bool = True

    def embed(self, entry: PoolEntry) -> PatientEmbeddings:
        """What the network makes of a patient, which is asked once.

        Raises:
            InputError: if the patient's files are broken.
        """
        return self.cache.get(entry.path, lambda: self.evaluator.embed(read_patient(entry.path)))


def open_run(
    run: Path, text_folder: Path | None = None, trained: frozenset[str] | None = None, *, needs_hold_out: bool = True
) -> OpenRun:
    """The run of that folder with its exported model.

    Args:
        run: its folder.
        text_folder: local folder of the text encoder.
        trained: `trained_organs` of a run with the same patients, where they are known already.
        needs_hold_out: refuse a run that held no subject out, since its own pools are what it is tested on.

    Raises:
        CheckpointError: if the folder holds no run or no exported model.
        ConfigError: if the run held no subject out: data that a model was trained on is never its test.
    """
    config = read_run_config(run)
    if needs_hold_out and not config.data.hold_out:
        msg = f"The run {config.name} held no subject out, so nothing tests it. Train with --hold-out SUBJECT."
        raise ConfigError(msg)
    folder, network = load_run_model(run)
    encoder = open_text_encoder(config.text.encoder, text_folder, revision=config.text.revision)
    preprocess = folder.config.preprocess
    evaluator = Evaluator(network, preprocess, encoder, whole_image=config.method == "vanilla-clip")
    known = frozenset(trained_organs(config)) if trained is None else trained
    cache = EmbeddingCache(run / EMBEDDINGS, folder.sha256)
    return OpenRun(config, preprocess.spacing_mm, evaluator, known, cache, folder.config.score)


def held_out_cases(run: OpenRun, patients: int) -> dict[str, list[FindingCase]]:
    """Every finding asked of the first `patients` simulated patients of each held-out subject.

    Raises:
        ConfigError: if there are no such patients.
    """
    return {subject: list(answers.findings) for subject, answers in held_out_answers(run, patients).items()}


def held_out_answers(run: OpenRun, patients: int, progress: ProgressCallback | None = None) -> dict[str, Answers]:
    """Organs and findings asked of the first `patients` simulated patients of each held-out subject.

    Raises:
        ConfigError: if there are no such patients.
        Cancelled: if `progress` asks to stop; what was encoded is kept.
    """
    data = run.config.data
    entries = [entry for pool in data.pools for entry in list_pool(pool)]
    answers = {}
    for subject in data.hold_out:
        own = [entry for entry in entries if entry.subject == subject]
        if patients < 1 or not own:
            msg = (
                f"Expected 1 patient or more of {subject} to evaluate, got {patients} of the {len(own)} in "
                f"{data.pool}. Give --patients, or make patients of that subject with `ctglip-train simulate`."
            )
            raise ConfigError(msg)
        answers[subject] = _ask(run, own[:patients], progress)
    return answers


def _ask(run: OpenRun, entries: Sequence[PoolEntry], progress: ProgressCallback | None) -> Answers:
    organs: list[OrganCase] = []
    findings: list[FindingCase] = []
    for number, entry in enumerate(entries):
        report(progress, f"asking about {entry.subject}", number, len(entries))
        seen = run.embed(entry)
        named = run.evaluator.name_organs(seen, run.trained)
        organs += [OrganCase(number, name, best) for name, best in named.rows]
        asked = [organ for organ in seen.organs if organ in run.trained]
        findings += run.evaluator.ask_findings(seen, number, known_truths(entry.study.said, asked))
    report(progress, f"asking about {entries[0].subject}", len(entries), len(entries))
    return Answers(tuple(organs), tuple(findings))


@dataclass(frozen=True)
class Asking:
    """How a run is evaluated.

    Attributes:
        patients: simulated patients of each held-out subject.
        text_folder: local folder of the text encoder.
        threshold_cases: `cases.csv` of other runs, whose subjects choose thresholds and calibrate scores.
        progress: told of every patient and resampling; may stop.
    """

    patients: int = 60
    text_folder: Path | None = None
    threshold_cases: tuple[Path, ...] = ()
    progress: ProgressCallback | None = None


def evaluate_run(run: Path, subjects: Sequence[Subject], data: Path, how: Asking, out: Path | None = None) -> str:
    """Write `evaluation.json` and `cases.csv` into the run's folder, results into `out`, and return a short table.

    Raises:
        ConfigError: if the run held no subject out, a held-out subject is not listed, or has no patients.
        InputError: if the threshold cases are of a subject that is evaluated.
    """
    opened = open_run(run, how.text_folder)
    listed = _listed(opened.config, subjects)
    separate = threshold_cases(how.threshold_cases, opened.config.data.hold_out)
    answers = held_out_answers(opened, how.patients, how.progress)
    lines, results = [], {}
    for subject in listed:
        real = at_model_spacing(load_subject(subject, data), opened.spacing_mm)
        organs = opened.evaluator.organs(real, opened.trained)
        findings = summarise_findings(answers[subject.id].findings)
        count = len(answers[subject.id].patients)
        results[subject.id] = {
            "organ_top1": organs.top1,
            "organ_top5": organs.top5,
            "organs": len(organs.rows),
            "patients": count,
            "recognised": dict(organs.rows),
            **asdict(findings),
        }
        lines.append(f"{opened.config.method} without {subject.id}: {_line(organs, findings, count)}")
    write_cases({subject: own.findings for subject, own in answers.items()}, run / CASES)
    write_whole_text(run / "evaluation.json", json.dumps(plain(results), indent=1, allow_nan=False))
    evaluation = _evaluation(opened, answers, separate, lines)
    return "\n".join([*lines, write_evaluation(evaluation, out or run / RESULTS, progress=how.progress)])


def _evaluation(
    run: OpenRun, answers: Mapping[str, Answers], separate: Mapping[str, Sequence[FindingCase]], lines: Sequence[str]
) -> Evaluation:
    score, calibrated = separate_score(run.score, separate)
    patients = sum(len(own.patients) for own in answers.values())
    made = "one real subject, so they share its anatomy and the intervals are not those of other people"
    several = f"{len(answers)} real subjects, so they share their anatomies"
    notes = (
        f"All {patients} patients were made from {made if len(answers) == 1 else several}: {', '.join(answers)}. "
        "Findings are simulated, and all that a patient has is known.",
        f"On the real scan itself: {'; '.join(lines)}.",
        calibrated,
    )
    inputs = {"run": run.config.name, "method": run.config.method, "pool": Path(run.config.data.pool).name}
    return Evaluation(f"{run.config.name} on {', '.join(answers)}", answers, score, separate, notes, inputs)


def _listed(config: TrainConfig, subjects: Sequence[Subject]) -> list[Subject]:
    known = {subject.id: subject for subject in subjects}
    unknown = [name for name in config.data.hold_out if name not in known]
    if unknown:
        msg = f"The list of subjects lacks {', '.join(unknown)}, which the run held out; it has {', '.join(known)}."
        raise ConfigError(msg)
    return [known[name] for name in config.data.hold_out]


def _line(organs: OrganReport, findings: FindingSummary, patients: int) -> str:
    low, high = findings.interval
    return (
        f"organ top-1 {organs.top1:.3f}, top-5 {organs.top5:.3f} of {len(organs.rows)} organs; "
        f"findings mean AUC {findings.mean_auc:.3f} ({low:.3f}-{high:.3f}) in {patients} patients"
    )


def trained_organs(config: TrainConfig) -> set[str]:
    """Names of the organs that the run's training patients contain."""
    return {
        name
        for entry in training_entries(config)
        for name, voxels in zip(entry.study.names, entry.study.geometry.voxels, strict=True)
        if voxels
    }


def at_model_spacing(patient: Patient, spacing_mm: float) -> Patient:
    """The patient on the model's isotropic grid."""
    grid = grid_at_spacing(canonical_grid(patient.volume.grid), spacing_mm)
    volume = resample_volume(patient.volume, grid)
    return Patient(volume, resample_segmentation(patient.segmentation, grid), patient.findings)
