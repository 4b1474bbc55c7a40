"""The studies that the worker holds: the last ones in memory, encoded ones on disk.

A study is known again by its files' paths, sizes and times and by its model, so that a further question neither reads
nor encodes anything. Guarded by Testing/Lib/test_worker_studies.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from CTGLIPLib.checkpoint import CONFIG, WEIGHTS
from CTGLIPLib.inputs import InputOptions, StudyInput, load_input
from CTGLIPLib.label_names import lists_beside
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.query import require_questions
from CTGLIPLib.segmentation_io import write_segmentation
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.worker_requests import StudyRequest

KEPT = 2
READING = "reading the scan"
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """An encoded scan with the model that answers.

    Attributes:
        organs_path: the file of the organs that the worker found; None where they were given or are not kept.
    """

    predictor: Predictor
    study: Study
    organs_path: Path | None


@dataclass(eq=False)
class _Kept:
    """A study in memory, the name of its scan's file, and the files to which its organs were written."""

    study: Study
    file_name: str
    organs: dict[Path, Stamp] = field(default_factory=dict)


class Studies:
    """Opens studies; the last `KEPT` stay in memory.

    Args:
        cache: where encoded studies are kept on disk.
    """

    def __init__(self, cache: StudyCache) -> None:
        self.cache = cache
        self._kept: dict[tuple[object, ...], _Kept] = {}
        self._predictor: tuple[object, Predictor] | None = None

    def open(
        self, request: StudyRequest, texts: tuple[str, ...], progress: ProgressCallback | None = None
    ) -> OpenStudy:
        """The encoded study; texts that cannot be asked are refused before anything is encoded.

        Raises:
            CTGLIPError: as `Predictor.encode`.
        """
        predictor = self.predictor(request)
        key = _key(request, predictor)
        kept = self._kept.pop(key, None) or self._encode(predictor, request, texts, progress)
        self._kept[key] = kept
        organs_path = self._write_organs(kept, request, predictor) if request.segmentation is None else None
        while len({id(other) for other in self._kept.values()}) > KEPT:
            del self._kept[next(iter(self._kept))]
        return OpenStudy(predictor, _named(kept, request), organs_path)

    def predictor(self, request: StudyRequest) -> Predictor:
        """The model that is asked for; the last one stays loaded until its files change.

        Raises:
            CheckpointError: if there is no such model or it is damaged.
        """
        asked = (request.model, request.device, request.text_encoder_folder)
        if self._predictor is not None:
            known, predictor = self._predictor
            if known == (asked, _model_stamp(predictor)):
                return predictor
        predictor = Predictor.from_pretrained(request.model, request.device, request.text_encoder_folder)
        self._predictor = ((asked, _model_stamp(predictor)), predictor)
        return predictor

    def clear(self) -> None:
        """Forget all that takes memory."""
        self._kept.clear()
        self._predictor = None

    def _encode(
        self, predictor: Predictor, request: StudyRequest, texts: tuple[str, ...], progress: ProgressCallback | None
    ) -> _Kept:
        given = _read(request, progress)
        require_questions(texts, given.segmentation.names if given.segmentation else ())
        study = predictor.encode_input(given, request.segmenter, self.cache, progress)
        return _Kept(study, given.name)

    def _write_organs(self, kept: _Kept, request: StudyRequest, predictor: Predictor) -> Path | None:
        """Write the organs that were found, once; the study is then known by that file too."""
        path = request.organs_path
        if path is None:
            return None
        if kept.organs.get(path) != _stamp(path):
            write_segmentation(kept.study.segmentation, path, compress=False)
            kept.organs[path] = _stamp(path)
        self._kept[_key(replace(request, segmentation=path, names=None), predictor)] = kept
        return path


def read_input(request: StudyRequest, progress: ProgressCallback | None = None) -> StudyInput:
    """The scan and its organs under the names that results shall show; None where no organs are given.

    Raises:
        CTGLIPError: as `inputs.load_input`.
    """
    given = _read(request, progress)
    given = replace(given, name=_shown_name(request, given.name))
    if given.segmentation is not None and request.segmentation_name:
        source = f"segmentation {request.segmentation_name}"
        given = replace(given, segmentation=replace(given.segmentation, source=source))
    return given


def _read(request: StudyRequest, progress: ProgressCallback | None) -> StudyInput:
    report(progress, READING, 0, 1)
    given = load_input(request.ct, request.segmentation, InputOptions(names=request.names))
    report(progress, READING, 1, 1)
    return given


def _shown_name(request: StudyRequest, file_name: str) -> str:
    return (request.name or file_name).replace("/", "_").replace("\\", "_")


def _key(request: StudyRequest, predictor: Predictor) -> tuple[object, ...]:
    """What an encoded study depends on."""
    if request.segmentation is None:
        organs: object = request.segmenter
    else:
        files = [request.segmentation, *lists_beside(request.segmentation)]
        organs = tuple(_stamp(path) for path in (*files, *([request.names] if request.names else [])))
    return (_stamp(request.ct), organs, predictor.model.sha256)


def _stamp(path: Path) -> Stamp:
    """Names, sizes and times of a file, or of a folder's files; empty where there is none."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stamps = []
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            continue
        stamps.append((str(file.absolute()), facts.st_size, facts.st_mtime_ns))
    return tuple(stamps)


def _model_stamp(predictor: Predictor) -> tuple[Stamp, Stamp]:
    folder = predictor.folder.folder
    return _stamp(folder / WEIGHTS), _stamp(folder / CONFIG)


def _named(kept: _Kept, request: StudyRequest) -> Study:
    """The study under the names that its results shall show."""
    shown = _shown_name(request, kept.file_name)
    embedding = kept.study.embedding
    embedding = replace(embedding, study=replace(embedding.study, name=shown))
    if request.segmentation is not None and request.segmentation_name:
        source = f"segmentation {request.segmentation_name}"
        embedding = replace(embedding, segmentation=replace(embedding.segmentation, source=source))
    return replace(kept.study, embedding=embedding)
