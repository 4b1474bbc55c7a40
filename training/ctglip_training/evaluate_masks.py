"""A folder of predicted masks against a folder of true ones: overlap, surface distance, detection by volume.

Files are paired by their names without endings, on the grid of the truth. Guard: test_evaluate_masks.py.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctglip_training.evaluation.detection import DetectionFigures, detection_figures
from ctglip_training.evaluation.intervals import REPEATS, Estimate
from ctglip_training.evaluation.results_folder import plain
from ctglip_training.evaluation.segmentation import (
    TOLERANCE_MM,
    MaskFigures,
    MaskSummary,
    mask_figures,
    summarise_masks,
)
from CTGLIPLib.errors import ConfigError, GeometryError, InputError
from CTGLIPLib.files import whole_file, write_whole_text
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.io import read_array
from CTGLIPLib.label_names import IMAGE_ENDINGS, image_stem
from CTGLIPLib.progress import ProgressCallback, report


@dataclass(frozen=True)
class MaskRules:
    """How masks are compared.

    Attributes:
        label: value of the label maps that is compared; None = every value but 0.
        tolerance_mm: of the surface Dice.
        patient: pattern whose first group is the patient in a file's name; None takes each file for a patient.
        repeats: resamplings of the intervals.
    """

    label: int | None = None
    tolerance_mm: float = TOLERANCE_MM
    patient: str | None = None
    repeats: int = REPEATS


def evaluate_masks(
    predictions: Path, truth: Path, out: Path, rules: MaskRules, progress: ProgressCallback | None = None
) -> str:
    """Write masks.csv, masks.json and summary.md into `out` and return the summary.

    Raises:
        InputError: if a folder has no masks, a true mask has no prediction, or a file is broken.
        GeometryError: if a prediction lies on another grid than its truth.
        ConfigError: if the pattern is none, or has no group.
    """
    pairs = _pairs(predictions, truth)
    patients = [_patient(name, rules.patient) for name in pairs]
    figures: list[MaskFigures] = []
    for done, (predicted, true) in enumerate(pairs.values()):
        report(progress, "comparing masks", done, len(pairs))
        figures.append(_compare(predicted, true, rules))
    report(progress, "comparing masks", len(pairs), len(pairs))
    summary = summarise_masks(figures, patients, rules.repeats)
    detected = _detection(figures, patients, rules.repeats)
    words = _markdown(summary, detected, rules.tolerance_mm)
    _write_csv(out / "masks.csv", dict(zip(pairs, zip(patients, figures, strict=True), strict=True)))
    facts = {"masks": summary, "detection": detected, "tolerance_mm": rules.tolerance_mm, "resamplings": rules.repeats}
    write_whole_text(out / "masks.json", json.dumps(plain(facts), indent=1, allow_nan=False))
    write_whole_text(out / "summary.md", words)
    return words


def _pairs(predictions: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    predicted, true = _masks_in(predictions), _masks_in(truth)
    missing = sorted(true.keys() - predicted.keys())
    if missing:
        msg = (
            f"Expected a prediction in {predictions} for each of the {len(true)} masks in {truth}, got none for "
            f"{len(missing)} of them. Name the files alike."
        )
        raise InputError(msg)
    return {name: (predicted[name], path) for name, path in true.items()}


def _masks_in(folder: Path) -> dict[str, Path]:
    found = {image_stem(path): path for path in sorted(folder.glob("*")) if path.name.lower().endswith(IMAGE_ENDINGS)}
    if not found:
        msg = f"Expected masks ({', '.join(IMAGE_ENDINGS)}) in {folder}, got none. Give their folder."
        raise InputError(msg)
    return found


def _patient(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    try:
        found = re.match(pattern, name)
        return found.group(1) if found else name
    except (re.error, IndexError) as error:
        msg = f"Expected a pattern with one group, such as '(patient_[0-9]+)_', got {pattern!r}: {error}."
        raise ConfigError(msg) from error


def _compare(predicted: Path, true: Path, rules: MaskRules) -> MaskFigures:
    (found, own, _), (outlined, grid, _) = read_array(predicted), read_array(true)
    if not same_grid(own, grid):
        msg = (
            f"Expected {predicted} on the grid of its truth, {grid.shape_ijk}, got {own.shape_ijk} or another place. "
            "Resample the prediction."
        )
        raise GeometryError(msg)
    masks = [array != 0 if rules.label is None else array == rules.label for array in (found, outlined)]
    return mask_figures(masks[0], masks[1], grid.spacing_mm, rules.tolerance_mm)


def _detection(figures: Sequence[MaskFigures], patients: Sequence[str], repeats: int) -> DetectionFigures:
    """By the volume that was found in all of a patient's masks together."""
    found: dict[str, float] = {}
    true: dict[str, float] = {}
    for patient, figure in zip(patients, figures, strict=True):
        found[patient] = found.get(patient, 0.0) + figure.predicted_mm3
        true[patient] = true.get(patient, 0.0) + figure.true_mm3
    volumes, truth = np.array(list(found.values())), np.array(list(true.values())) > 0
    return detection_figures(volumes, truth, repeats=repeats)


def _markdown(summary: MaskSummary, detected: DetectionFigures, tolerance_mm: float) -> str:
    def words(found: Estimate, digits: int = 3) -> str:
        if np.isnan(found.value):
            return "-"
        return f"{found.value:.{digits}f} ({found.low:.{digits}f}-{found.high:.{digits}f})"

    return (
        f"# Masks\n\n{summary.masks} masks of {detected.patients} patients, 95 % intervals over patients. Research "
        "only, not for diagnosis.\n\n| Dice | HD95 mm | surface Dice at "
        f"{tolerance_mm:g} mm | missed | invented |\n|---|---|---|---|---|\n"
        f"| {words(summary.dice)} | {words(summary.hd95_mm, 1)} | {words(summary.nsd)} | {summary.missed} | "
        f"{summary.invented} |\n\n| detection AUC | sensitivity | specificity | patients with | without |\n"
        f"|---|---|---|---|---|\n| {words(detected.auc)} | {words(detected.sensitivity)} | "
        f"{words(detected.specificity)} | {detected.with_tumour} | {detected.patients - detected.with_tumour} |\n\n"
        "Dice and surface Dice leave out masks that are empty on both sides, HD95 those empty on one side. The volume "
        "found is the score of the AUC, which needs patients with and without.\n"
    )


def _write_csv(path: Path, rows: Mapping[str, tuple[str, MaskFigures]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["mask", "patient", "dice", "hd95_mm", "nsd", "predicted_mm3", "true_mm3"])
        for name, (patient, own) in rows.items():
            values = (own.dice, own.hd95_mm, own.nsd, own.predicted_mm3, own.true_mm3)
            table.writerow([name, patient, *("" if np.isnan(value) else value for value in values)])
