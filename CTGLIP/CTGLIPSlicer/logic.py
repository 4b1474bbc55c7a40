"""Questions, heat maps, batches and files for scripts: every call waits for its answer.

    logic = slicer.util.getModuleLogic("CTGLIP")
    result = logic.query(volumeNode, segmentationNode, ["fatty liver", "left kidney"])

Works without a main window (docs/slicer_scripting.md). Research software, not a medical device.
"""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from CTGLIPLib import errors
from CTGLIPSlicer.export import exportResult, isReport
from CTGLIPSlicer.script_options import ScriptOptions, Told, organsByExtension
from CTGLIPSlicer.session_types import Change, Outcome, Progress, StudyInputs
from CTGLIPSlicer.states import State
from CTGLIPSlicer.worker_failure import Failure

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryResult
    from CTGLIPSlicer.session import Session
    from CTGLIPSlicer.tumors import Tumors

logger = logging.getLogger(__name__)

POLL_S = 0.02
FAILURES = "failures.csv"
"""What a batch writes about the studies that failed (docs/batch.md)."""


class ScriptLogic:
    """The module's functions for scripts; the widget shares its session."""

    def __init__(self, session: Session | None = None) -> None:
        """Nothing is started before the first call.

        Args:
            session: None makes one when it is needed.
        """
        self._session = session

    @property
    def session(self) -> Session:
        """The one conversation with the child process."""
        if self._session is None:
            from CTGLIPSlicer.session import Session

            self._session = Session()
        return self._session

    def query(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        questions: Sequence[str],
        **options: object,
    ) -> QueryResult:
        """The answers, which are kept in the scene too (see `keep`).

        Args:
            volumeNode: the CT in HU.
            segmentationNode: its organs; None lets `organsSource` find them, and adds them to the scene.
            questions: in plain words.
            options: see `ScriptOptions`.

        Raises:
            CTGLIPError: of the kind that fits, if they cannot be answered.
        """
        from CTGLIPSlicer.answers import receive

        chosen = ScriptOptions.of(options)
        inputs = self._inputs(volumeNode, segmentationNode, chosen)
        outcome = self._wait(lambda: self.session.ask(inputs, _several(questions)), chosen.progress)
        return receive(self.session, outcome).result

    def heatmap(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        question: str,
        **options: object,
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """A volume of where in its organs a question fits, shown over the CT; arguments as for `query`.

        Raises:
            CTGLIPError: of the kind that fits, if there is nothing to show.
        """
        from CTGLIPSlicer.answers import organsOf
        from CTGLIPSlicer.heat_overlay import showHeatmap

        chosen = ScriptOptions.of(options)
        inputs = self._inputs(volumeNode, segmentationNode, chosen)
        outcome = self._wait(lambda: self.session.heatmap(inputs, question), chosen.progress)
        organsOf(self.session, outcome)
        return showHeatmap(outcome.result, volumeNode, question)

    def segmentTumor(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        modelFolder: str | Path,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        **options: object,
    ) -> Tumors:
        """The tumours that a fine-tuned model finds: `segmentationNode`, shown over the CT, and `result`.

        Args:
            volumeNode: the CT in HU.
            modelFolder: the tumour model; none comes with CT-GLIP.
            segmentationNode: organs, to name the one in which each tumour lies; None names none.
            options: see `ScriptOptions`; only device and progress matter.

        Raises:
            CTGLIPError: of the kind that fits, if nothing could be sought.
        """
        from CTGLIPSlicer.tumors import receiveTumors

        chosen = ScriptOptions.of(options)
        inputs = self._inputs(volumeNode, segmentationNode, chosen)
        folder = str(Path(modelFolder).absolute())
        return receiveTumors(self._wait(lambda: self.session.segmentTumor(inputs, folder), chosen.progress))

    def batch(
        self, folder: str | Path, questions: Sequence[str], outputFolder: str | Path, **options: object
    ) -> dict[str, object]:
        """How it went: "out", numbers of studies "done", "failed" and "skipped", and "failures", a row for each.

        A study that fails does not stop the rest; the same call again goes on where it stopped (docs/batch.md).

        Args:
            folder: the studies.
            questions: about each of them.
            outputFolder: where results are written.
            options: see `ScriptOptions`; organsSource is for studies without a segmentation.

        Raises:
            CTGLIPError: of the kind that fits, if no study can be asked at all.
        """
        chosen = ScriptOptions.of(options)
        if chosen.organsSource == "totalsegmentator-extension":
            msg = "A batch finds organs in the child process: choose organsSource totalsegmentator or own."
            raise errors.InputError(msg)
        asked = {
            "folder": str(Path(folder).absolute()),
            "out": str(Path(outputFolder).absolute()),
            "model": chosen.model,
            "device": chosen.device,
            "segmenter": chosen.organsSource,
        }
        outcome = self._wait(lambda: self.session.batch(_several(questions), asked), chosen.progress)
        return {**outcome.result, "failures": _failures(Path(outputFolder) / FAILURES)}

    def exportResults(
        self,
        result: QueryResult,
        path: str | Path,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        **options: object,
    ) -> Path:
        """Write answers as .csv or .json, or as a report with pictures (.html, .pdf), and return the file.

        Args:
            result: what `query` returned.
            path: the file.
            volumeNode: the CT, for a report only.
            segmentationNode: the organs, for a report only; as they were given to `query`.
            options: see `ScriptOptions`; for a report only, as they were given to `query`.

        Raises:
            InputError: for another ending, or for a report without its CT.
            OutputError: if the file cannot be written.
        """
        if not isReport(path):
            return exportResult(result, path)
        if volumeNode is None:
            msg = "A report has pictures of the CT: give exportResults the volumeNode that was asked, too."
            raise errors.InputError(msg)
        chosen = ScriptOptions.of(options)
        inputs = self._inputs(volumeNode, segmentationNode, chosen)
        texts = list(dict.fromkeys(answer.text for answer in result.queries))
        outcome = self._wait(lambda: self.session.report(inputs, texts, Path(path).absolute()), chosen.progress)
        return Path(outcome.result["path"])

    def describe(self, *models: str) -> dict:
        """What this machine can do; see "describe" in docs/worker_protocol.md.

        Raises:
            CTGLIPError: if the child process does not tell.
        """
        told: list[tuple[dict | None, Failure | None]] = []
        self.session.describe(lambda description, failure: told.append((description, failure)), models)
        self._pollUntil(lambda: bool(told))
        description, failure = told[0]
        if failure is not None:
            raise _error(failure)
        return description

    def close(self) -> None:
        """End the child process and remove temporary files; the next call starts it again."""
        if self._session is not None:
            self._session.close()

    def _inputs(self, volumeNode: object, segmentationNode: object | None, options: ScriptOptions) -> StudyInputs:
        if volumeNode is None:
            msg = "Expected a volume node, got None. Load a CT first."
            raise errors.InputError(msg)
        if segmentationNode is None and options.organsSource == "totalsegmentator-extension":
            segmentationNode = organsByExtension(volumeNode, options.device)
        return StudyInputs(
            volumeNode=volumeNode,
            segmentationNode=segmentationNode,
            segmenter="own" if options.organsSource == "own" else "totalsegmentator",
            model=options.model,
            device=options.device,
            textEncoderFolder=options.textEncoderFolder,
        )

    def _wait(self, begin: Callable[[], None], progress: Told | None) -> Outcome:
        """The outcome of a request; an interrupt cancels it.

        Raises:
            CTGLIPError: of the kind that fits, if it failed or was cancelled.
        """
        ends: list[Change] = []
        tell = _telling(progress or _logged())

        def observe(change: Change) -> None:
            if change.kind == "progress" and change.progress is not None:
                tell(change.progress)
            elif change.kind in ("answered", "cancelled", "failed"):
                ends.append(change)

        self.session.addObserver(observe)
        try:
            begin()
            self._pollUntil(lambda: bool(ends))
        except BaseException:
            self.session.cancel()
            self._pollUntil(lambda: self.session.state is not State.CANCELLING)
            raise
        finally:
            self.session.removeObserver(observe)
        end = ends[0]
        if end.failure is not None:
            raise _error(end.failure)
        if end.outcome is None:
            raise errors.Cancelled(end.message or _("Cancelled."))
        return end.outcome

    def _pollUntil(self, isDone: Callable[[], bool]) -> None:
        while True:
            self.session.poll()
            if isDone():
                return
            slicer.app.processEvents()
            time.sleep(POLL_S)


def _several(questions: Sequence[str]) -> list[str]:
    """The questions; a single text is one question, not its letters."""
    return [questions] if isinstance(questions, str) else list(questions)


def _error(failure: Failure) -> errors.CTGLIPError:
    """The failure as the exception that CTGLIPLib raised in the child; CTGLIPError where the child itself failed."""
    kind = getattr(errors, failure.kind, errors.CTGLIPError)
    known = isinstance(kind, type) and issubclass(kind, errors.CTGLIPError)
    text = f"{failure.text}\n{failure.details}" if failure.details else failure.text
    return (kind if known else errors.CTGLIPError)(text)


def _telling(told: Told) -> Callable[[Progress], None]:
    return lambda progress: told(progress.what, progress.done, progress.total)


def _logged() -> Told:
    """Logs every new thing that is done, with its steps only where a batch counts studies."""
    last: list[str] = []

    def told(what: str, done: int, total: int) -> None:
        if last != [what]:
            last[:] = [what]
            logger.info("CT-GLIP: %s (%d of %d)", what, done, total)

    return told


def _failures(path: Path) -> list[dict[str, str]]:
    """The rows of a batch's failures; empty where it wrote none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
