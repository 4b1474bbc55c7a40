"""The files of a query: results, pictures, heat maps, segmentation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import OutputError
from CTGLIPLib.io import write_volume
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.result_files import write_csv, write_json
from CTGLIPLib.results import QueryAnswer, QueryResult
from CTGLIPLib.segmentation_io import write_segmentation

OUTSIDE = -1.0
"""Value of heat map files outside the organs that were asked; no cosine is smaller."""


@dataclass(frozen=True)
class OutputOptions:
    """What to write besides findings.json and findings.csv.

    Attributes:
        pictures: one PNG for each question.
        heatmaps: one NIfTI for each question, and with `pictures` a PNG of it.
        segmentation: the organs, as organs.nii.gz with organs.json beside it, or organs.seg.nrrd where organs overlap.
    """

    pictures: bool = True
    heatmaps: bool = False
    segmentation: bool = False


def require_writable(path: Path) -> None:
    """Nothing, if a file or folder can be made at `path`; nothing is made.

    Raises:
        OutputError: if the nearest folder above it cannot be written, or is a file.
    """
    parent = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    reason = ""
    if parent != path.absolute() and not parent.is_dir():
        reason = f"{parent} is a file, not a folder"
    elif not os.access(parent, os.W_OK):
        reason = f"{parent} is not writable"
    if reason:
        msg = f"Could not write {path}: {reason}. Choose a folder that you may write to."
        raise OutputError(msg)


def write_results(result: QueryResult, folder: Path) -> list[Path]:
    """Write findings.json and findings.csv.

    Raises:
        OutputError: if the folder cannot be written.
    """
    paths = [folder / "findings.json", folder / "findings.csv"]
    write_json(result, paths[0])
    write_csv(result, paths[1])
    return paths


def write_outputs(
    predictor: Predictor,
    study: Study,
    result: QueryResult,
    folder: Path,
    options: OutputOptions,
    progress: ProgressCallback | None = None,
) -> list[Path]:
    """Write everything about a query into a folder and return the files, results first.

    Raises:
        OutputError: if the folder cannot be written.
    """
    paths = write_results(result, folder)
    if options.segmentation:
        overlap = (study.segmentation.layers > 0).sum(axis=0).max() > 1
        paths += write_segmentation(study.segmentation, folder / ("organs.seg.nrrd" if overlap else "organs.nii.gz"))
    for number, answer in enumerate(result.queries, start=1):
        report(progress, "drawing answers", number - 1, len(result.queries))
        if answer.best is None:
            continue
        stem = f"{number:02d}_{_slug(answer)}"
        if options.heatmaps and asked_is_measured(answer):
            heat = predictor.heatmap_of(study, answer, progress)
            paths += _write_heatmap(study, answer, heat, folder / f"{stem}_heatmap.nii.gz", picture=options.pictures)
        if options.pictures:
            from CTGLIPLib.pictures import draw_query

            paths.append(folder / f"{stem}.png")
            draw_query(study.volume, study.segmentation, answer, paths[-1])
    report(progress, "drawing answers", len(result.queries), len(result.queries))
    return paths


def asked_is_measured(answer: QueryAnswer) -> bool:
    """Whether the heat map would show what was asked: a missing organ was only compared with every other mask."""
    return answer.kind == "finding" or any(row.is_scored for row in answer.organs if row.organ in answer.organs_asked)


def _write_heatmap(study: Study, answer: QueryAnswer, heat: np.ndarray, path: Path, *, picture: bool) -> list[Path]:
    """Write the NIfTI and, if wanted, a picture of the same name beside it; the files."""
    write_volume(np.where(np.isnan(heat), OUTSIDE, heat).astype(np.float32), study.volume.grid, path)
    if not picture:
        return [path]
    from CTGLIPLib.pictures import draw_heatmap

    drawn = path.with_name(path.name.removesuffix(".nii.gz") + ".png")
    organ = answer.best.organ if answer.best else None
    label = "similarity" if answer.kind == "organ" else "similarity margin"
    draw_heatmap(study.volume, heat, answer.text, drawn, organ=organ, label=label)
    return [path, drawn]


def _slug(answer: QueryAnswer) -> str:
    """A file name from the question's words."""
    return re.sub(r"[^a-z0-9]+", "_", (answer.finding or answer.text).lower()).strip("_")[:40] or "question"
