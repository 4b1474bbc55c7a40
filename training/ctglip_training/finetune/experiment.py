"""Every initialisation on every fold: train, export, segment the left-out cases, tell who is ahead.

The same command goes on where it was stopped: finished trainings and measured folds are kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctglip_training.finetune.cache import CachedCase, prepare_cases
from ctglip_training.finetune.cases import CaseSet
from ctglip_training.finetune.config import FinetuneConfig
from ctglip_training.finetune.folds import Fold
from ctglip_training.finetune.measure import TumorFigures, measure_cases, read_figures, write_figures
from ctglip_training.finetune.results import Results, write_results
from ctglip_training.finetune.start import Start
from ctglip_training.finetune.table import make_table
from ctglip_training.finetune.train import Job, finetune
from CTGLIPLib.errors import InputError
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.tumor import segment_tumor
from CTGLIPLib.tumor_checkpoint import save_tumor_model
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter
from CTGLIPLib.volume import Segmentation, Volume

logger = logging.getLogger(__name__)
CACHE, MODEL, FIGURES = "cache", "model", "figures.json"


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is compared on what.

    Attributes:
        cases: the data set.
        folds: the trainings of each initialisation.
        starts: the initialisations.
        config: the fine-tuning, with nothing left open (`start.resolved`).
        out: folder of everything that is written.
        device: where networks run.
        workers: processes that draw crops.
    """

    cases: CaseSet
    folds: Sequence[Fold]
    starts: Sequence[Start]
    config: FinetuneConfig
    out: Path
    device: str = "cpu"
    workers: int = 0

    def run_folder(self, start: Start, fold: Fold) -> Path:
        """Where a training lies."""
        return self.out / start.name / fold.name


def run_experiment(experiment: Experiment, progress: ProgressCallback | None = None) -> Results | None:
    """Train and measure everything; None where no case was left out, so that there is nothing to measure.

    Raises:
        InputError: if no case that a fold learns from has a tumour.
        CTGLIPError: as `prepare_cases`, `finetune` and `measure_cases`; what was finished before is kept.
    """
    needed = {study.id: study for fold in experiment.folds for study in fold.train}
    spacing_mm = experiment.config.patch.spacing_mm
    ready = prepare_cases(
        experiment.cases, tuple(needed.values()), spacing_mm, experiment.out / CACHE, progress
    )  # fmt: skip
    _require_tumors(experiment, ready)
    found: list[TumorFigures] = []
    for fold in experiment.folds:
        for start in experiment.starts:
            logger.info("%s, %s: %d cases to learn from", start.name, fold.name, len(fold.train))
            found += _one(experiment, start, fold, ready, progress)
    if not found:
        return None
    results = Results(
        experiment.config,
        {start.name: start.words for start in experiment.starts},
        len(experiment.folds),
        found,
        make_table(found),
        {start.name: [experiment.run_folder(start, fold) for fold in experiment.folds] for start in experiment.starts},
    )
    write_results(results, experiment.out)
    return results


def _require_tumors(experiment: Experiment, ready: Mapping[str, CachedCase]) -> None:
    """Raise InputError where a fold would learn from cases without any tumour."""
    cases = experiment.cases
    wanted = {cases.classes.index(name) + 1 for name in cases.tumors}
    for fold in experiment.folds:
        if not any(wanted & set(ready[study.id].places) for study in fold.train):
            spacing_mm = experiment.config.patch.spacing_mm
            msg = (
                f"Expected voxels of {' or '.join(cases.tumors)} at {spacing_mm:g} mm in the cases to learn from, but "
                f"none of the {len(fold.train)} of {fold.name} has any. Check the label maps, --tumors and --folds."
            )
            raise InputError(msg)


def make_job(experiment: Experiment, start: Start, fold: Fold, ready: Mapping[str, CachedCase]) -> Job:
    """The training of one initialisation on one fold.

    Args:
        experiment: the whole.
        start: the initialisation.
        fold: the fold.
        ready: prepared cases by id.
    """
    config, cases = experiment.config, experiment.cases
    tumor = TumorConfig(
        name=config.name,
        classes=cases.classes,
        tumors=cases.tumors,
        preprocess=config.preprocess,
        backbone=config.backbone,
        coordinates=config.coordinates,
        detection_ml=config.detection_ml,
        trained_on=f"{len(fold.train)} cases of {cases.name} ({fold.name}, {len(fold.test)} left out)",
        initialised_from=start.words,
    )
    learnt = [ready[study.id] for study in fold.train]
    out = experiment.run_folder(start, fold)
    return Job(config, tumor, start, learnt, out, experiment.device, experiment.workers)


def _one(
    experiment: Experiment,
    start: Start,
    fold: Fold,
    ready: Mapping[str, CachedCase],
    progress: ProgressCallback | None,
) -> list[TumorFigures]:
    job = make_job(experiment, start, fold, ready)
    identity = hashlib.sha256(json.dumps(job.identity, sort_keys=True).encode()).hexdigest()
    network = finetune(job)
    save_tumor_model(job.out / MODEL, job.tumor, network, _card(job, experiment))
    kept = read_figures(job.out / FIGURES, identity)
    if kept is None:
        kept = _measured(experiment, job, network, fold, progress)
        write_figures(kept, job.out / FIGURES, identity)
    return kept


def _measured(
    experiment: Experiment, job: Job, network: TumorSegmenter, fold: Fold, progress: ProgressCallback | None
) -> list[TumorFigures]:
    def segment(volume: Volume) -> Segmentation:
        return segment_tumor(volume, network)

    return measure_cases(experiment.cases, fold.test, segment, (job.start.name, fold.name), progress)


def _card(job: Job, experiment: Experiment) -> str:
    schedule = job.config.schedule
    return (
        "---\nlicense: as its training data and initialisation allow\n"
        f"data: {job.tumor.trained_on}\n---\n# {job.tumor.name}\n\nResearch software, not a medical device. Fine-tuned "
        f"by `ctglip-train finetune` from {job.tumor.initialised_from}: {schedule.steps} steps of "
        f"{job.config.patch.batch} crops. Classes: {', '.join(job.tumor.classes)}; tumours: "
        f"{', '.join(experiment.cases.tumors)}.\n"
    )
