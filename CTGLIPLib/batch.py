"""Many studies, the same questions: every study of a folder is answered, and one that fails does not stop the rest.

Conventions:
- several studies at once (`BatchOptions.at_once`), each from its files to its record in one thread with its share of
  torch's threads: while one is read or written, the other is in the network;
- resumable: a study whose record says that it answers the same questions about the same files by the same model is not
  answered again (test_batch: `a second run answers nothing anew`);
- stopped at any moment, by `progress`, Ctrl+C or a killed process, what is done stays done, and no thread goes on.

docs/batch.md tells how folders are laid out and what is written. Research software, not a medical device.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from CTGLIPLib import __version__
from CTGLIPLib.batch_files import (
    FoundOrgans,
    StudyRecord,
    clear,
    failed_rows,
    inputs_sha256,
    is_whole,
    read_record,
    sizes_of,
    write_record,
    write_tables,
)
from CTGLIPLib.batch_studies import BatchStudy, find_studies
from CTGLIPLib.batch_study import BatchOptions, StudyWork
from CTGLIPLib.batch_threads import BatchProgress, for_each, study_threads
from CTGLIPLib.errors import Cancelled, CTGLIPError, InputError, OutputError
from CTGLIPLib.organs import readable_name
from CTGLIPLib.outputs import require_writable
from CTGLIPLib.predict import Predictor
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.prompts import organ_prompt
from CTGLIPLib.query import prompts_for
from CTGLIPLib.questions import Question, parse_question
from CTGLIPLib.study import ENCODING_VERSION, is_study_file

__all__ = ["BatchOptions", "BatchSummary", "run_batch"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchSummary:
    """How a batch went.

    Attributes:
        out: the folder of results.
        done: number of studies answered now.
        failed: number of studies that failed, now or before.
        skipped: number of studies that an earlier run had answered.
        passed_over: names of files and folders that are no study.
    """

    out: Path
    done: int
    failed: int
    skipped: int
    passed_over: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of studies."""
        return self.done + self.failed + self.skipped


def run_batch(
    folder: Path,
    texts: Sequence[str],
    out: Path,
    options: BatchOptions | None = None,
    progress: ProgressCallback | None = None,
) -> BatchSummary:
    """Answer the same questions about every study of a folder.

    Args:
        folder: the studies; docs/batch.md tells how they may be laid out.
        texts: the questions.
        out: where OUT/STUDY/..., summary.csv and failures.csv are written.
        options: None is the default of each.
        progress: told each study's name as it is begun, how many were begun before it, and what is done inside it, from
            several threads, but one call at a time; answers False to cancel.

    Raises:
        CTGLIPError: before any study is read, if model, questions, device, folder or `out` cannot be used.
        OutputError: if the tables cannot be written.
        Cancelled: if `progress` asks to stop; what is done is kept.
    """
    options = options or BatchOptions()
    work = _open(texts, options)
    require_writable(out / "summary.csv")
    found = find_studies(folder, out)
    _require_apart(folder, out, found.studies)
    known: dict[str, StudyRecord] = {}
    for study in found.studies:
        if record := _kept(work, study, out):
            known[study.name] = record
    skipped = sum(record.state == "done" for record in known.values())
    waiting = [study for study in found.studies if study.name not in known]
    total = len(found.studies)
    told = BatchProgress(progress, len(known), total)
    if needs_network := any(study.source and not is_study_file(study.source) for study in waiting):
        _ = work.predictor.network  # loaded once, before there are threads; a device that is not there is told now

    def answer(study: BatchStudy) -> None:
        told.begin(study.name)
        known[study.name] = _attempt(work, study, out, told.inside(study.name))

    try:
        with study_threads(min(options.at_once, len(waiting)), needs_network) as pool:
            for_each(pool, answer, waiting, told, lambda: _write_tables(found.studies, known, out))
    except Cancelled as error:
        msg = f"Cancelled with {len(known)} of {total} studies done, which are kept. Run the same again to go on."
        raise Cancelled(msg) from error
    finally:
        _write_tables(found.studies, known, out)
    if progress is not None:
        progress("batch", total, total)
    failed = sum(record.state == "failed" for record in known.values())
    return BatchSummary(out, total - skipped - failed, failed, skipped, found.passed_over)


def _open(texts: Sequence[str], options: BatchOptions) -> StudyWork:
    """The model, once it is clear that it can be asked these questions.

    Raises:
        CTGLIPError: if there is no such model, no question, one that asks nothing, or no text encoder for its words.
    """
    predictor = Predictor.from_pretrained(options.model, options.device, options.text_encoder_folder)
    if options.extras:
        import_module("CTGLIPLib.pictures")  # without matplotlib this fails now, not in every study after its encoding
    if not texts:
        msg = "Expected at least one question, got none. Give --text QUESTION, or --questions FILE with one a line."
        raise InputError(msg)
    questions = [question for text in texts for question in parse_question(text, ())]
    predictor.text_encoder.encode([sentence for question in questions for sentence in _sentences(question)])
    return StudyWork(predictor, tuple(texts), options)


def _sentences(question: Question) -> list[str]:
    """Sentences that tell whether the question's words can be embedded; its first organ stands for all."""
    if question.kind == "organ":
        return [organ_prompt(readable_name(organ)) for organ in question.organs[:1]]
    prompts = [prompts_for(question.finding, question.phrase, organ) for organ in question.organs[:1]]
    return [sentence for prompt in prompts for sentence in (*prompt.positive, *prompt.negative)]


def _require_apart(folder: Path, out: Path, studies: Sequence[BatchStudy]) -> None:
    """Raise OutputError if a study's results would be written among the studies' own files."""
    places = {os.path.realpath(path) for path in (out, *(out / study.name for study in studies))}
    own = {os.path.realpath(path) for path in (folder, *(study.source for study in studies if study.source))}
    if taken := own & places:
        msg = f"Results would be written into {taken.pop()}, which holds studies. Choose another folder with --out."
        raise OutputError(msg)


def _asked(work: StudyWork, study: BatchStudy, out: Path) -> dict[str, object]:
    """All that a study's results depend on."""
    options, encoder = work.options, work.options.text_encoder_folder
    finds_organs = study.segmentation is None and not (study.source and is_study_file(study.source))
    return {
        "questions": list(work.texts),
        "model_sha256": work.predictor.model.sha256,
        "inputs_sha256": inputs_sha256(study, out),
        "segmenter": options.segmenter if finds_organs else None,
        "vocabulary": options.vocabulary if study.segmentation else None,
        "text_encoder_folder": encoder.name if encoder else None,
        "version": f"{__version__}, encoding {ENCODING_VERSION}",
    }


def _kept(work: StudyWork, study: BatchStudy, out: Path) -> StudyRecord | None:
    """The record of a study that needs no work."""
    folder = out / study.name
    record = read_record(folder)
    if record is None or record.asked != _asked(work, study, out) or not is_whole(record, folder):
        return None
    if record.state == "done":
        return record if set(work.options.extras) <= set(record.extras) else None
    return record if record.state == "failed" and not work.options.retry_failed else None


def _attempt(work: StudyWork, study: BatchStudy, out: Path, progress: ProgressCallback) -> StudyRecord:
    """The record of a study that was answered now, or failed.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    folder, asked = out / study.name, _asked(work, study, out)
    started = StudyRecord("started", asked, organs=_organs_kept(folder, asked))
    try:
        return work.answer(study, folder, started, progress)
    except Cancelled:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one study, the others are answered
        return _failed(work, study, folder, asked, error)


def _organs_kept(folder: Path, asked: Mapping[str, object]) -> FoundOrgans | None:
    """The organs that an earlier run found for the same files, if they are still there."""
    record = read_record(folder)
    if record is None or record.organs is None or not is_whole(record, folder):
        return None
    same = all(record.asked.get(name) == asked[name] for name in ("inputs_sha256", "segmenter", "version"))
    return record.organs if same else None


def _failed(
    work: StudyWork, study: BatchStudy, folder: Path, asked: Mapping[str, object], error: Exception
) -> StudyRecord:
    """The record of a failure; what an earlier run answered is removed, the organs that it found are kept."""
    kind, message = type(error).__name__, _in_one_line(error)
    logger.warning("Study %s failed: %s", study.name, message)
    if not isinstance(error, CTGLIPError):
        logger.info("Where study %s failed:", study.name, exc_info=error)
    organs = _organs_kept(folder, asked)
    files = sizes_of([folder / organs.file]) if organs else {}
    rows = failed_rows(work.texts, message)
    record = StudyRecord("failed", asked, files=files, rows=rows, error=kind, message=message, organs=organs)
    try:
        clear(folder, list(files))
        write_record(record, folder)
    except OutputError as unwritten:
        logger.warning("The failure of study %s could not be noted in its folder: %s", study.name, unwritten)
    return record


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, CTGLIPError):
        return text
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"Not enough memory ({text or 'no details'}). Close other programs, or crop the scan to what is asked."
    return f"Unexpected {type(error).__name__}: {text or 'no details'}. Ask this study alone with `ctglip query`."


def _write_tables(studies: Sequence[BatchStudy], known: Mapping[str, StudyRecord], out: Path) -> None:
    write_tables({study.name: known[study.name] for study in studies if study.name in known}, out)
