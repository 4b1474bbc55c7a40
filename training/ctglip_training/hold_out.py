"""Leave-one-subject-out figures of a run: organs on the real scan, findings on simulated patients made from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ctglip_training.config import TrainConfig
from ctglip_training.evaluate import Evaluator, FindingSummary, OrganReport, summarise_findings
from ctglip_training.export import load_run_model
from ctglip_training.simulate.patient import Patient
from ctglip_training.state import read_run_config
from ctglip_training.store import list_pool, read_patient
from ctglip_training.subjects import Subject, load_subject
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import resample_segmentation
from CTGLIPLib.text_bank import open_text_encoder


def evaluate_run(
    run: Path, subjects: Sequence[Subject], data: Path, patients: int, text_folder: Path | None = None
) -> str:
    """Write `evaluation.json` into the run's folder and return a short table.

    Raises:
        ConfigError: if the run held no subject out: data that a model was trained on is never its test; or if a
            held-out subject is not listed.
    """
    config = read_run_config(run)
    held_out = _held_out(config, subjects)
    folder, network = load_run_model(run)
    encoder = open_text_encoder(config.text.encoder, text_folder, revision=config.text.revision)
    whole = config.method == "vanilla-clip"
    evaluator = Evaluator(network, folder.config.preprocess, encoder, whole_image=whole)
    trained = trained_organs(config)
    lines, results = [], {}
    for subject in held_out:
        real = at_model_spacing(load_subject(subject, data), folder.config.preprocess.spacing_mm)
        organs = evaluator.organs(real, trained)
        pool = [e for e in list_pool(Path(config.data.pool)) if e.subject == subject.id][:patients]
        findings = summarise_findings(evaluator.findings([read_patient(e.path) for e in pool], trained))
        results[subject.id] = {
            "organ_top1": organs.top1,
            "organ_top5": organs.top5,
            "organs": len(organs.rows),
            "patients": len(pool),
            "recognised": dict(organs.rows),
            **asdict(findings),
        }
        lines.append(f"{config.method} without {subject.id}: {_line(organs, findings, len(pool))}")
    with whole_file(run / "evaluation.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return "\n".join(lines)


def _held_out(config: TrainConfig, subjects: Sequence[Subject]) -> list[Subject]:
    if not config.data.hold_out:
        msg = f"The run {config.name} held no subject out, so nothing tests it. Train with --hold-out SUBJECT."
        raise ConfigError(msg)
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
    names: set[str] = set()
    for entry in list_pool(Path(config.data.pool)):
        if entry.subject not in config.data.hold_out:
            segmentation = read_patient(entry.path).segmentation
            counts = segmentation.voxel_counts()
            names.update(np.array(segmentation.names)[counts > 0].tolist())
    return names


def at_model_spacing(patient: Patient, spacing_mm: float) -> Patient:
    """The patient on the model's isotropic grid."""
    grid = grid_at_spacing(canonical_grid(patient.volume.grid), spacing_mm)
    volume = resample_volume(patient.volume, grid)
    return Patient(volume, resample_segmentation(patient.segmentation, grid), patient.findings)
