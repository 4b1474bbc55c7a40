"""A fine-tuned network on the cases that it never saw: overlap, surface distance and volume of every tumour.

Measured on the grid of the true masks, at their own resolution. Guard: test_finetune_table.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_volume
from ctglip_training.evaluation.results_folder import plain
from ctglip_training.evaluation.segmentation import MaskFigures, mask_figures
from ctglip_training.finetune.cases import CaseSet
from CTGLIPLib.files import write_whole_text
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.segmentation_io import resample_segmentation
from CTGLIPLib.volume import Segmentation, Volume

Segmenter = Callable[[Volume], Segmentation]


@dataclass(frozen=True)
class TumorFigures:
    """One tumour class in one left-out case.

    Attributes:
        start: name of the initialisation.
        fold: name of the fold.
        case: the case.
        patient: whose it is.
        tumor: the class.
        figures: prediction against truth; a case without this tumour has a true volume of 0.
    """

    start: str
    fold: str
    case: str
    patient: str
    tumor: str
    figures: MaskFigures


def measure_cases(
    cases: CaseSet,
    studies: Sequence[Study],
    segment: Segmenter,
    what: tuple[str, str],
    progress: ProgressCallback | None = None,
) -> list[TumorFigures]:
    """The figures of every tumour class of every case.

    Args:
        cases: the data set.
        studies: the cases to measure.
        segment: the fine-tuned model: a CT to named, exclusive classes on its grid.
        what: names of the initialisation and the fold.
        progress: told how far; may stop.

    Raises:
        InputError: if a CT or its masks cannot be read.
        GeometryError: if a grid cannot be used.
        Cancelled: if `progress` says so.
    """
    found = []
    for done, study in enumerate(studies):
        report(progress, f"segmenting left-out cases, {' '.join(what)}", done, len(studies))
        truth = cases.class_map(study)
        predicted = segment(read_study_volume(cases.manifest, study))
        if not same_grid(predicted.grid, truth.grid):
            predicted = resample_segmentation(predicted, truth.grid)
        for tumor in cases.tumors:
            true = truth.array == cases.classes.index(tumor) + 1
            mask = predicted.mask(tumor) if tumor in predicted.names else np.zeros_like(true)
            figures = mask_figures(mask, true, truth.grid.spacing_mm)
            found.append(TumorFigures(*what, study.id, study.patient, tumor, figures))
    report(progress, f"segmenting left-out cases, {' '.join(what)}", len(studies), len(studies))
    return found


def write_figures(found: Sequence[TumorFigures], path: Path, identity: str) -> None:
    """Keep the figures of a fold beside its weights."""
    rows = [plain(asdict(row)) for row in found]
    write_whole_text(path, json.dumps({"identity": identity, "figures": rows}, indent=1) + "\n")


def read_figures(path: Path, identity: str) -> list[TumorFigures] | None:
    """The figures that were kept; None where there are none, or they are those of other weights."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["identity"] != identity:
            return None
        return [_restored(row) for row in kept["figures"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _restored(row: dict[str, object]) -> TumorFigures:
    """JSON has neither NaN nor infinity: a distance that is none is infinite where one mask alone is empty."""
    stored = row.pop("figures")
    assert isinstance(stored, dict)
    known = {name: math.nan if value is None else float(value) for name, value in stored.items()}
    if math.isnan(known["hd95_mm"]) and (known["predicted_mm3"] > 0) != (known["true_mm3"] > 0):
        known["hd95_mm"] = math.inf
    texts = {name: str(value) for name, value in row.items()}
    return TumorFigures(**texts, figures=MaskFigures(**known))
