"""What the worker does for each request; results are JSON-ready values (docs/worker_protocol.md)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from CTGLIPLib.errors import InputError
from CTGLIPLib.io import write_volume
from CTGLIPLib.merge_organs import with_kidney_cysts
from CTGLIPLib.organs import readable_name
from CTGLIPLib.outputs import OUTSIDE, asked_is_measured
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.result_files import to_dict
from CTGLIPLib.results import QueryAnswer
from CTGLIPLib.segmentation_io import write_segmentation
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.worker_requests import Ask, Batch, Describe, Heatmap, Report, Request, SegmentTumor
from CTGLIPLib.worker_studies import Studies, read_input

DECIMALS_MM = 3
PERCENTILES = (1, 99)
Result = dict[str, object]


class Commands:
    """Serves requests, and holds the studies between them."""

    def __init__(self) -> None:
        self.studies = Studies(StudyCache())

    def serve(self, request: Request, progress: ProgressCallback) -> Result:
        """The result of a request.

        Raises:
            CTGLIPError: for broken or doubtful input (see errors.py), or Cancelled.
        """
        return HANDLERS[type(request)](self, request, progress)

    def describe(self, request: Describe, _progress: ProgressCallback) -> Result:
        """What this machine can do."""
        from CTGLIPLib.worker_machine import describe

        return describe(request.models)

    def ask(self, request: Ask, progress: ProgressCallback) -> Result:
        """The answers to questions."""
        started = time.monotonic()
        opened = self.studies.open(request.study, request.texts, progress)
        result = opened.predictor.query(opened.study, request.texts, progress)
        return {
            "findings": to_dict(result),
            "organs": None if opened.organs_path is None else str(opened.organs_path),
            "warnings": list(result.study.warnings),
            "seconds": round(time.monotonic() - started, 3),
        }

    def heatmap(self, request: Heatmap, progress: ProgressCallback) -> Result:
        """A file of the heat map, its range, and the hottest place of each organ."""
        opened = self.studies.open(request.study, (request.text,), progress)
        answer = opened.predictor.query(opened.study, [request.text], progress).queries[0]
        _require_measured(answer)
        heat = opened.predictor.heatmap_of(opened.study, answer, progress)
        from CTGLIPLib.heatmap import hottest_ras_mm  # here, for it loads torch, which may take seconds

        known = heat[~np.isnan(heat)]
        low, high = np.percentile(known, PERCENTILES) if len(known) else (0.0, 0.0)
        write_volume(
            np.where(np.isnan(heat), np.float32(OUTSIDE), heat), opened.study.volume.grid, request.path, compress=False
        )
        organs = [row.organ for row in answer.ranked if row.is_scored]
        hottest = hottest_ras_mm(heat, with_kidney_cysts(opened.study.segmentation), organs)
        return {
            "path": str(request.path),
            "low": float(low),
            "high": float(high),
            "outside": OUTSIDE,
            "hottest_ras_mm": {organ: [round(mm, DECIMALS_MM) for mm in place] for organ, place in hottest.items()},
            "organs": list(hottest),
        }

    def report(self, request: Report, progress: ProgressCallback) -> Result:
        """A report file."""
        from CTGLIPLib.report import write_report

        opened = self.studies.open(request.study, request.texts, progress)
        result = opened.predictor.query(opened.study, request.texts, progress)
        return {"path": str(write_report(opened.predictor, opened.study, result, request.path, progress))}

    def segment_tumor(self, request: SegmentTumor, progress: ProgressCallback) -> Result:
        """A file of the tumours' segments, and their measures."""
        from CTGLIPLib.tumor import TumorModel, find_tumors

        started, study = time.monotonic(), request.study
        model = TumorModel.from_pretrained(request.model, study.device)
        given = read_input(study, progress)
        found = find_tumors(given, model, given.segmentation, progress)
        write_segmentation(found.segmentation, request.path, compress=False)
        return {
            "path": str(request.path),
            "tumors": to_dict(found.result),
            "warnings": list(given.warnings),
            "seconds": round(time.monotonic() - started, 3),
        }

    def batch(self, request: Batch, progress: ProgressCallback) -> Result:
        """Results of every scan of a folder."""
        from CTGLIPLib.batch import BatchOptions, run_batch

        options = BatchOptions(
            model=request.model,
            device=request.device,
            segmenter=request.segmenter,
            text_encoder_folder=request.text_encoder_folder,
            pictures=request.pictures,
            heatmaps=request.heatmaps,
            report=request.report,
            cache=self.studies.cache,
        )
        summary = run_batch(request.folder, request.texts, request.out, options, progress)
        return {
            "out": str(request.out),
            "done": summary.done,
            "failed": summary.failed,
            "skipped": summary.skipped,
        }


HANDLERS: dict[type, Callable[[Commands, Any, ProgressCallback], Result]] = {
    Describe: Commands.describe,
    Ask: Commands.ask,
    Heatmap: Commands.heatmap,
    Report: Commands.report,
    SegmentTumor: Commands.segment_tumor,
    Batch: Commands.batch,
}


def _require_measured(answer: QueryAnswer) -> None:
    """Refuse a map of an organ that was only compared with every other organ's mask.

    Raises:
        InputError: naming it.
    """
    if not asked_is_measured(answer):
        asked = ", ".join(readable_name(organ) for organ in answer.organs_asked) or "no organ of the scan"
        msg = f"{answer.text!r} asks about {asked}, which this scan does not show. Ask about an organ of the scan."
        raise InputError(msg)
