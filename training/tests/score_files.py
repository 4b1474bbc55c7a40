"""Files in the published layouts, with invented patients, scores and labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ctglip_training.evaluation.protocols import CT_RATE_FINDINGS


def write_csv(path: Path, header: Sequence[object], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        table.writerows(rows)
    return path


def invented(volumes: int, findings: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Scores in 0..1 and truth, shape (volume, finding), both classes in every finding."""
    rng = np.random.default_rng(seed)
    truth = rng.random((volumes, findings)) < 0.35
    truth[0], truth[1] = True, False
    return np.round(np.clip(rng.normal(0.4, 0.2, truth.shape) + 0.2 * truth, 0, 1), 3), truth


def ct_rate_names(volumes: int) -> list[str]:
    """Two reconstructions a patient, as CT-RATE names them."""
    return [f"valid_{1 + n // 2}_a_{1 + n % 2}.nii.gz" for n in range(volumes)]


def ct_rate_files(folder: Path, volumes: int = 60, findings: Sequence[str] = CT_RATE_FINDINGS) -> tuple[Path, Path]:
    """Predictions and labels in CT-RATE's layout."""
    scores, truth = invented(volumes, len(findings))
    names = ct_rate_names(volumes)
    header = ["VolumeName", *findings]
    predictions = write_csv(folder / "scores.csv", header, ([n, *row] for n, row in zip(names, scores, strict=True)))
    labels = write_csv(
        folder / "labels.csv", header, ([n, *row.astype(int)] for n, row in zip(names, truth, strict=True))
    )
    return predictions, labels
