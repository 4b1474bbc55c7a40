"""One study of a batch, from its files to its results. Guarded by Testing/Lib/test_batch.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import cast, get_args

from CTGLIPLib.batch_files import FoundOrgans, StudyRecord, clear, sizes_of, summary_rows, write_record
from CTGLIPLib.batch_studies import BatchStudy
from CTGLIPLib.errors import ConfigError, InputError, LabelError
from CTGLIPLib.inputs import InputOptions, StudyInput, load_input
from CTGLIPLib.label_names import names_beside, read_names
from CTGLIPLib.model_list import DEFAULT_MODEL
from CTGLIPLib.nifti_names import names_in_nifti
from CTGLIPLib.outputs import OutputOptions, write_outputs, write_results
from CTGLIPLib.predict import Predictor, SegmenterName, Study
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.results import QueryResult
from CTGLIPLib.segmentation_io import read_segmentation, write_segmentation
from CTGLIPLib.segmentation_names import Vocabulary
from CTGLIPLib.slicer_files import nrrd_header
from CTGLIPLib.slicer_segments import segments_in
from CTGLIPLib.study import StudyEmbedding, is_study_file, load_study, require_model
from CTGLIPLib.study_cache import StudyCache

REPORT, ORGANS = "report.html", "organs.seg.nrrd"
NOT_USED_SHOWN = 5
"""So many unused images of a study's folder are named in its warnings."""


@dataclass(frozen=True)
class BatchOptions:
    """How the studies of a batch are answered.

    Attributes:
        model: name of `ctglip model list`, or a folder.
        device: "auto", or a torch device.
        segmenter: who finds the organs of a study without any: "totalsegmentator" or "own".
        text_encoder_folder: where the text encoder's files lie, instead of the hub.
        vocabulary: TotalSegmentator version of the label maps that come without names.
        pictures: one PNG for each question.
        heatmaps: one NIfTI for each question.
        report: a one-page report.html for each study.
        retry_failed: whether a study that failed before, and did not change, is tried again.
        cache: where encoded studies are kept; None keeps nothing.
        at_once: so many studies are worked on at the same time: 2 keep the cores busy while one is read or written
            (bench_batch.py), 1 needs the memory of one.

    Raises:
        ConfigError: if there is no such segmenter, or no study is to be worked on.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    segmenter: str = "totalsegmentator"
    text_encoder_folder: Path | None = None
    vocabulary: Vocabulary | None = None
    pictures: bool = False
    heatmaps: bool = False
    report: bool = False
    retry_failed: bool = True
    cache: StudyCache | None = None
    at_once: int = 2

    def __post_init__(self) -> None:
        known = get_args(SegmenterName)
        if self.segmenter not in known:
            msg = f"Unknown segmenter {self.segmenter!r}; expected one of {', '.join(known)}."
            raise ConfigError(msg)
        if self.at_once < 1:
            msg = f"Expected 1 study or more at once, got {self.at_once}."
            raise ConfigError(msg)

    @property
    def extras(self) -> tuple[str, ...]:
        """What is written beside the findings."""
        return tuple(name for name in ("pictures", "heatmaps", "report") if getattr(self, name))


@dataclass(frozen=True, eq=False)
class StudyWork:
    """What every study of a batch shares: the model, the questions and the options; `answer` runs in several threads.

    Attributes:
        finding: held while TotalSegmentator runs, which needs all cores and gigabytes for one study.
        asking: held while questions are answered: a text encoder serves one thread at a time.
    """

    predictor: Predictor
    texts: tuple[str, ...]
    options: BatchOptions
    finding: Lock = field(default_factory=Lock)
    asking: Lock = field(default_factory=Lock)

    def answer(self, study: BatchStudy, folder: Path, started: StudyRecord, progress: ProgressCallback) -> StudyRecord:
        """Answer the questions about a study and write its files, the record last.

        Args:
            study: the study.
            folder: for its files; what an earlier run wrote there is removed before anything is written.
            started: what the results depend on, and the organs that an earlier run found.
            progress: told how far it is; answers False to cancel.

        Raises:
            CTGLIPError: if the study cannot be read, encoded, asked or written, or Cancelled.
        """
        if study.source is None:
            raise InputError(study.problem)
        if is_study_file(study.source):
            encoded, organs = self._load(study, study.source), None
        else:
            given = self._input(study, study.source, folder, started.organs)
            if given.segmentation is None and self.options.segmenter == "totalsegmentator":
                given, started = self._with_organs(given, folder, started, progress)
            organs = started.organs
            segmenter = cast("SegmenterName", self.options.segmenter)
            encoded = self.predictor.encode_input(given, segmenter, self.options.cache, progress)
        with self.asking:
            result = self.predictor.query(encoded, self.texts)
        clear(folder, [organs.file] if organs else [])
        files = self._write(encoded, result, folder, progress)
        if organs:
            files.append(folder / organs.file)
        elif isinstance(encoded, Study) and study.segmentation is None:
            files += write_segmentation(encoded.segmentation, folder / ORGANS)
        done = replace(
            started, state="done", extras=self.options.extras, files=sizes_of(files), rows=summary_rows(result)
        )
        write_record(done, folder)
        return done

    def _with_organs(
        self, given: StudyInput, folder: Path, started: StudyRecord, progress: ProgressCallback
    ) -> tuple[StudyInput, StudyRecord]:
        """The input with the organs that TotalSegmentator finds, which takes minutes: they are noted at once."""
        from CTGLIPLib.segment import SegmenterOptions, build_segmenter  # imports torch, which kept studies do without

        segmenter = build_segmenter("totalsegmentator", SegmenterOptions(self.options.device))
        with self.finding:
            segmentation = segmenter(given.volume, progress)
        clear(folder)
        files = sizes_of(write_segmentation(segmentation, folder / ORGANS))
        organs = FoundOrgans(ORGANS, segmentation.source, segmentation.vocabulary)
        started = replace(started, files=files, organs=organs)
        write_record(started, folder)
        return replace(given, segmentation=segmentation), started

    def _load(self, study: BatchStudy, path: Path) -> StudyEmbedding:
        loaded = load_study(path)
        require_model(loaded, self.predictor.model)
        return replace(loaded, study=replace(loaded.study, name=study.name))

    def _input(self, study: BatchStudy, source: Path, folder: Path, organs: FoundOrgans | None) -> StudyInput:
        """The CT and its organs: those given, else those that TotalSegmentator found in an earlier run, else none."""
        given = load_input(source, study.segmentation, naming(study, self.options.vocabulary))
        warnings = given.warnings
        if study.segmentation is None and study.unused:
            warnings += (_not_used(study.unused),)
        segmentation = given.segmentation
        if segmentation is None and organs is not None:
            found = read_segmentation(folder / organs.file).segmentation
            segmentation = replace(found, source=organs.source, vocabulary=organs.vocabulary)
        return StudyInput(study.name, given.volume, segmentation, warnings)

    def _write(
        self, encoded: Study | StudyEmbedding, result: QueryResult, folder: Path, progress: ProgressCallback
    ) -> list[Path]:
        if isinstance(encoded, Study):
            wanted = OutputOptions(self.options.pictures, self.options.heatmaps)
            files = write_outputs(self.predictor, encoded, result, folder, wanted, progress)
        else:
            files = write_results(result, folder)
        if self.options.report:
            from CTGLIPLib.report import write_report

            files.append(write_report(self.predictor, encoded, result, folder / REPORT, progress))
        return files


def naming(study: BatchStudy, vocabulary: Vocabulary | None) -> InputOptions:
    """How the label map of a study gets its names: its own, else the list in its folder, else the version given.

    Raises:
        LabelError: if there are two lists.
    """
    path = study.segmentation
    if path is None or path.is_dir() or _names_itself(path):
        return InputOptions()
    lists = [file for file in study.lists if _is_list(file)]
    if len(lists) > 1:
        names = ", ".join(file.name for file in lists)
        msg = f"Expected one list of organ names for {path.name}, got {names}. Move all but one away."
        raise LabelError(msg)
    return InputOptions(names=lists[0]) if lists else InputOptions(vocabulary=vocabulary)


def _names_itself(path: Path) -> bool:
    """Whether a label map has names in its header, or in a list beside it under its own name."""
    is_nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    header = segments_in(nrrd_header(path)) if is_nrrd else names_in_nifti(path)
    return bool(header) or names_beside(path) is not None


def _is_list(path: Path) -> bool:
    try:
        read_names(path)
    except (InputError, LabelError):
        return False
    return True


def _not_used(names: Sequence[str]) -> str:
    more = f" and {len(names) - NOT_USED_SHOWN} more" if len(names) > NOT_USED_SHOWN else ""
    return f"No organs beside the CT were recognised by name; not used: {', '.join(names[:NOT_USED_SHOWN])}{more}."
