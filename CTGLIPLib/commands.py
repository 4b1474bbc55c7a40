"""What each `ctglip` command does: call the library, write files, print."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from CTGLIPLib.checkpoint import TUMOR, folder_kind
from CTGLIPLib.errors import CTGLIPError, InputError
from CTGLIPLib.inputs import InputOptions, StudyInput, load_input
from CTGLIPLib.model_list import DEFAULT_MODEL, add_model, describe_model, find_model, list_models
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.query import answer_questions, recognise_organs, require_questions
from CTGLIPLib.result_files import to_json, to_table, write_csv, write_json
from CTGLIPLib.results import NOTICE, ModelInfo, OrgansResult, QueryResult
from CTGLIPLib.study import StudyEmbedding, is_study_file, load_study, require_model, save_study
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.text_bank import CachedEncoder, open_text_encoder

if TYPE_CHECKING:
    from CTGLIPLib.predict import Predictor, Study
    from CTGLIPLib.segmentation_names import Vocabulary

DEMO_QUESTIONS = (
    "pulmonary nodule",
    "pleural effusion",
    "emphysema",
    "fatty liver",
    "aortic calcification",
    "left kidney",
    "urinary bladder",
)
ALL_ROWS = 200
CT_OPTIONS = ("segmentation", "names", "label_map_version", "series", "heatmaps", "save_segmentation")
"""Options that mean nothing for a study file."""


def demo(options: argparse.Namespace) -> None:
    """Answer a handful of questions about the sample CT and draw the answers."""
    from CTGLIPLib.outputs import OutputOptions, require_writable, write_outputs
    from CTGLIPLib.sample_data import chest_sample

    require_writable(options.out / "findings.json")
    predictor = _predictor(options)  # a model that is not there is told before anything is downloaded
    sample = chest_sample(_progress)
    _say(f"Sample: {sample.credit} ({sample.licence})")
    given = load_input(sample.ct, sample.segmentation, InputOptions(names=sample.names))
    study = predictor.encode_input(given, cache=StudyCache(), progress=_progress)
    result = predictor.query(study, DEMO_QUESTIONS)
    files = write_outputs(predictor, study, result, options.out, OutputOptions(heatmaps=True), _progress)
    _print(result, as_json=options.json)
    _say(f"Wrote {len(files)} files to {options.out}")


def query(options: argparse.Namespace) -> None:
    """Answer questions about a CT or a study file."""
    if is_study_file(options.study):
        result = _query_study_file(options)
    else:
        result = _query_ct(options)
    _print(result, as_json=options.json)


def batch(options: argparse.Namespace) -> None:
    """Ask every study of a folder; an error that counts them if any failed."""
    from CTGLIPLib.batch import BatchOptions, run_batch

    version = options.label_map_version
    wanted = BatchOptions(
        model=options.model or DEFAULT_MODEL,
        device=options.device,
        segmenter=options.segmenter,
        text_encoder_folder=options.text_encoder_folder,
        vocabulary=_vocabulary(version),
        pictures=options.pictures,
        heatmaps=options.heatmaps,
        report=options.report,
        retry_failed=not options.no_retry,
        cache=None if options.no_cache else StudyCache(),
        at_once=options.at_once,
    )
    texts = [*(options.text or ()), *(read_questions(options.questions) if options.questions else ())]
    summary = run_batch(options.folder, texts, options.out, wanted, _study_progress())
    if summary.passed_over:
        _say(f"No study, passed over: {', '.join(summary.passed_over)}")
    counts = {"done": summary.done, "skipped": summary.skipped, "failed": summary.failed}
    if options.json:
        facts = {"notice": NOTICE, "out": str(summary.out), **counts, "passed_over": summary.passed_over}
        sys.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    else:
        told = f"{summary.done} answered, {summary.skipped} answered before, {summary.failed} failed"
        sys.stdout.write(f"{summary.total} stud{'y' if summary.total == 1 else 'ies'}: {told}.\n")
        sys.stdout.write(f"Answers are in {summary.out / 'summary.csv'}. {NOTICE.capitalize()}.\n")
    if summary.failed:
        msg = f"{summary.failed} of {summary.total} studies failed; {summary.out / 'failures.csv'} tells why."
        raise CTGLIPError(msg)


def organs(options: argparse.Namespace) -> None:
    """Zero-shot organ recognition."""
    if is_study_file(options.study):
        study = _study_file(options)
        result = recognise_organs(study, _text_encoder(study, options))
    else:
        predictor = _predictor(options)
        result = predictor.organs(_encode(predictor, _input(options), options))
    if options.out:
        write_json(result, options.out / "organs.json")
        write_csv(result, options.out / "organs.csv")
    _print(result, as_json=options.json)


def encode(options: argparse.Namespace) -> None:
    """Write a study file."""
    if not is_study_file(options.out):
        msg = (
            f"A study file's name must end in .ctglip, got {options.out.name}. Write {options.out.stem}.ctglip instead."
        )
        raise InputError(msg)
    started = time.monotonic()
    study = _encode(_predictor(options), _input(options), options)
    save_study(study.embedding, options.out)
    _say(f"Encoded {len(study.embedding.organs)} organs in {time.monotonic() - started:.1f} s: {options.out}")


def model_list(_options: argparse.Namespace) -> None:
    """Print the models there are."""
    for entry in list_models():
        sys.stdout.write(f"{entry.name:24} {entry.where:8} {entry.sha256[:12]}  {entry.folder}\n")


def segment_tumor(options: argparse.Namespace) -> None:
    """Find tumours."""
    from CTGLIPLib.tumor_command import segment_tumor as run

    run(options, _progress)


def model_show(options: argparse.Namespace) -> None:
    """Print what a model is."""
    if folder_kind(Path(options.name)) == TUMOR:
        from CTGLIPLib.tumor_checkpoint import open_tumor_model
        from CTGLIPLib.tumor_files import describe_tumor_model

        sys.stdout.write(describe_tumor_model(open_tumor_model(Path(options.name))) + "\n")
        return
    sys.stdout.write(describe_model(find_model(options.name)) + "\n")


def model_add(options: argparse.Namespace) -> None:
    """Copy a checked model folder to the user's models."""
    entry = add_model(options.folder, options.name)
    _say(f"Added {entry.name}: use it with --model {entry.name}")


def read_questions(path: Path) -> list[str]:
    """The questions of a file: one a line, blank lines and those that begin with # left out.

    Raises:
        InputError: if it cannot be read, is no UTF-8 text, or asks nothing.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        msg = f"The questions in {path} could not be read: {reason}. Give a text file with one question a line."
        raise InputError(msg) from error
    questions = [line for line in lines if line and not line.startswith("#")]
    if not questions:
        msg = f"Expected questions in {path}, one a line, got none. Add some, such as: fatty liver"
        raise InputError(msg)
    return questions


def _query_study_file(options: argparse.Namespace) -> QueryResult:
    _require_report(options)
    study = _study_file(options)
    result = answer_questions(study, options.text, _text_encoder(study, options))
    if options.out:
        from CTGLIPLib.outputs import write_results

        write_results(result, options.out)
        _say(f"Wrote findings.json and findings.csv to {options.out}; pictures need the CT.")
    if options.report:
        from CTGLIPLib.report import write_report

        _say(f"Wrote {write_report(None, study, result, options.report)}, without pictures: these need the CT.")
    return result


def _query_ct(options: argparse.Namespace) -> QueryResult:
    if not options.out and (options.heatmaps or options.save_segmentation):
        msg = "Heat maps and segmentation are files: expected --out DIR with them, got none. Add --out DIR."
        raise InputError(msg)
    _require_report(options)
    predictor = _predictor(options)
    given = _input(options)
    require_questions(options.text, given.segmentation.names if given.segmentation else ())
    study = _encode(predictor, given, options)
    result = predictor.query(study, options.text)
    if options.out:
        from CTGLIPLib.outputs import OutputOptions, write_outputs

        wanted = OutputOptions(not options.no_pictures, options.heatmaps, options.save_segmentation)
        files = write_outputs(predictor, study, result, options.out, wanted, _progress)
        _say(f"Wrote {len(files)} files to {options.out}")
    if options.report:
        from CTGLIPLib.report import write_report

        _say(f"Wrote {write_report(predictor, study, result, options.report, _progress)}")
    return result


def _require_report(options: argparse.Namespace) -> None:
    """Fail before any work is done where the report could not be written."""
    if options.report:
        from CTGLIPLib.outputs import require_writable
        from CTGLIPLib.report import require_report_ending

        require_report_ending(options.report)
        require_writable(options.report)


def _study_file(options: argparse.Namespace) -> StudyEmbedding:
    given = [name for name in CT_OPTIONS if getattr(options, name, None)]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        msg = (
            f"{options.study.name} is a study file without voxels, whose organs were fixed when it was encoded, but "
            f"{names} needs the CT. Leave it out, or give the CT instead."
        )
        raise InputError(msg)
    study = load_study(options.study)
    if options.model:
        folder = find_model(options.model)
        require_model(study, ModelInfo(folder.config.name, folder.sha256))
    return study


def _text_encoder(study: StudyEmbedding, options: argparse.Namespace) -> CachedEncoder:
    return open_text_encoder(study.text.encoder, options.text_encoder_folder, revision=study.text.revision)


def _predictor(options: argparse.Namespace) -> Predictor:
    from CTGLIPLib.predict import Predictor

    return Predictor.from_pretrained(options.model or DEFAULT_MODEL, options.device, options.text_encoder_folder)


def _input(options: argparse.Namespace) -> StudyInput:
    """The CT and its organs; fails before any work is done where the results could not be written."""
    from CTGLIPLib.outputs import require_writable

    if options.out:
        require_writable(options.out if is_study_file(options.out) else options.out / "findings.json")
    reading = InputOptions(options.series, options.names, _vocabulary(options.label_map_version))
    given = load_input(options.study, options.segmentation, reading)
    for warning in given.warnings:
        _say(f"Note: {warning}")
    return given


def _vocabulary(version: str | None) -> Vocabulary | None:
    return cast("Vocabulary", f"totalsegmentator_{version}") if version else None


def _encode(predictor: Predictor, given: StudyInput, options: argparse.Namespace) -> Study:
    cache = None if options.no_cache else StudyCache()
    return predictor.encode_input(given, options.segmenter, cache, _progress)


def _print(result: QueryResult | OrgansResult, *, as_json: bool) -> None:
    rows = ALL_ROWS if isinstance(result, OrgansResult) else 10
    sys.stdout.write(to_json(result) if as_json else to_table(result, max_rows=rows))


def _say(text: str) -> None:
    """One line for the person at the terminal; standard output is for results."""
    sys.stderr.write(text + "\n")


def _progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {done} of {total}   " + ("\n" if done == total else ""))
        sys.stderr.flush()


def _study_progress() -> ProgressCallback:
    """A line for each study of a batch; on a terminal also what is being done inside it."""
    told: set[int] = set()

    def tell(what: str, done: int, total: int) -> None:
        if done == total:
            return
        if done not in told:
            told.add(done)
            sys.stderr.write(f"[{done + 1}/{total}] {what}\n")
        elif sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K  {what}\r")
        sys.stderr.flush()

    return tell
