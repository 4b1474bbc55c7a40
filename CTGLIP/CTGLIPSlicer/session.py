"""One conversation with the child process: a request at a time, with progress, Cancel and what became of it.

`poll` moves everything: the widget calls it every 50 ms, a script in a loop. Nothing here waits, except for the
writing of a study's files and at most a second for a child that is ended.

Conventions:
- every request carries its whole study, so a child that ended is simply started again by the next request;
- a new request takes the place of the one before, whose answer is then ignored
  (test_session_cancel: `the answer to an older request is ignored`);
- a child that does not stop within `CANCEL_S` is ended, so that Cancel takes less than two seconds
  (test_session_cancel: `a child that does not stop is ended after one second`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from slicer.i18n import tr as _

from CTGLIPLib.errors import CTGLIPError, InputError
from CTGLIPSlicer.descriptions import ENDS, Described, Descriptions
from CTGLIPSlicer.session_types import Change, Outcome, Progress, StudyInputs, Task
from CTGLIPSlicer.states import State, requireStep
from CTGLIPSlicer.study_store import ContentKey, Exporter, StudyStore
from CTGLIPSlicer.worker_client import Worker, WorkerProcess
from CTGLIPSlicer.worker_failure import Failure, failureOfError, failureOfFiles

CANCEL_S = 1.0
"""How long the child may take to stop before it is ended."""
WRITING_S = 0.1
"""How long a study's files are written at a stretch before the window may be drawn; single steps may take longer."""
PROTOCOL = 1
BEFORE_ENCODING = ("reading the scan", "finding organs", "running TotalSegmentator", "segmenting windows")
"""What the child does before it encodes; see CTGLIPLib.worker_studies, predict, segment_total and segment_own."""

Observer = Callable[[Change], None]


class Session:
    """Asks the child process and tells the observers; see the module's conventions."""

    def __init__(
        self,
        worker: Worker | None = None,
        exporter: Exporter | None = None,
        contentKey: ContentKey | None = None,
        clock: Callable[[], float] = time.monotonic,
        findNode: Callable[[str], object | None] | None = None,
    ) -> None:
        """Nothing is started or written before the first request.

        Args:
            worker: who computes; None is the child process.
            exporter: writes a study's files; None is `nodes.exportSteps`.
            contentKey: tells whether a study changed; None is `nodes.contentKey`.
            clock: seconds that only grow.
            findNode: the node of an ID, None for none; None looks into the scene.
        """
        if exporter is None or contentKey is None:
            from CTGLIPSlicer import nodes

            exporter, contentKey = exporter or nodes.exportSteps, contentKey or nodes.contentKey
        self._worker: Worker = worker or WorkerProcess()
        self._store = StudyStore(exporter, contentKey, findNode)
        self._clock = clock
        self._state = self._rest = State.IDLE
        self._progress: Progress | None = None
        self._failure: Failure | None = None
        self._task: Task | None = None
        self._stopping: dict[int, float] = {}  # requests asked to stop, and until when they may take
        self._descriptions = Descriptions(self._worker)
        self._heard: int | None = None  # the last request that this child told something about
        self._events: deque[dict] = deque()
        self._reason = ""
        self._polling = False
        self._observers: list[Observer] = []

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._state

    @property
    def progress(self) -> Progress | None:
        """How far the request is; None where none is on its way."""
        return self._progress

    @property
    def failure(self) -> Failure | None:
        """Why the last request failed; None in every state but FAILED."""
        return self._failure

    @property
    def isBusy(self) -> bool:
        """Whether `poll` has something to wait for."""
        return self._state.isBusy or self._descriptions.areAwaited or bool(self._stopping)

    @property
    def folder(self) -> Path | None:
        """The session's temporary folder; None where nothing was written."""
        return self._store.folder

    def addObserver(self, observer: Observer) -> None:
        """Call it with every change from now on."""
        self._observers.append(observer)

    def removeObserver(self, observer: Observer) -> None:
        """Call it no more."""
        if observer in self._observers:
            self._observers.remove(observer)

    def ask(self, inputs: StudyInputs, texts: Sequence[str]) -> None:
        """Ask questions; the outcome has the answers.

        Raises:
            InputError: if there is no question.
        """
        asked = tuple(text.strip() for text in texts if text.strip())
        if not asked:
            msg = _("There is no question to ask. Type one on each line, such as: fatty liver.")
            raise InputError(msg)
        self._begin(Task("ask", inputs, asked, {"texts": list(asked)}))

    def heatmap(self, inputs: StudyInputs, text: str) -> None:
        """Map one question; the outcome has the map's file, which lives as long as the session."""
        self._begin(Task("heatmap", inputs, (text,), {"text": text}))

    def report(self, inputs: StudyInputs, texts: Sequence[str], path: Path) -> None:
        """Write a report, HTML or PDF by the file's ending."""
        self._begin(Task("report", inputs, tuple(texts), {"texts": list(texts), "path": str(path)}))

    def segmentTumor(self, inputs: StudyInputs, modelFolder: str) -> None:
        """Find tumours; the outcome has the segments' file, which lives as long as the session, and their measures."""
        self._begin(Task("segment_tumor", inputs, (), {"model": modelFolder}))

    def batch(self, texts: Sequence[str], fields: dict) -> None:
        """Ask a folder of studies; `fields` are those of the protocol's batch beside the texts."""
        self._begin(Task("batch", None, tuple(texts), {"texts": list(texts), **fields}))

    def describe(self, done: Described, models: Sequence[str] = ()) -> None:
        """Ask what this machine can do; `done(description, failure)` has one of the two. The state stays as it is."""
        self._descriptions.ask(done, models)

    def adoptOrgans(self, outcome: Outcome, segmentationNode: object) -> None:
        """Take a segmentation imported from `outcome.organsPath` for the study that it was found in.

        Further questions with that node are then answered at once, until it is edited.
        """
        if outcome.inputs is not None:
            self._store.adopt(outcome.inputs, segmentationNode)

    def cancel(self, reason: str = "") -> None:
        """Stop the request on its way, if there is one.

        Args:
            reason: why, where it was not the user.
        """
        if self._task is None:
            return
        self._reason = reason
        self._retire()
        self._go(State.CANCELLING)
        self._settle()

    def reset(self, reason: str = "") -> None:
        """Forget all studies, for their scene is closed; a request on its way is cancelled."""
        self._rest = State.IDLE
        self.cancel(reason)
        self._store.clear()
        self._failure = None
        if self._state in (State.READY, State.FAILED):
            self._go(State.IDLE)

    def poll(self) -> None:
        """Move on: prepare, take the child's events, end what does not stop."""
        if self._polling:  # an observer let Qt run, and with it the timer that polls
            return
        self._polling = True
        try:
            self._step()
        finally:
            self._polling = False

    def close(self) -> None:
        """End the child and remove all files; the session may be used again."""
        self._retire()
        self._failure = None
        self._stopping.clear()
        self._descriptions.forget()
        self._events.clear()
        self._heard = None
        self._worker.kill()
        self._store.close()
        self._state = self._rest = State.IDLE

    def _step(self) -> None:
        self._store.dropGone()
        task = self._task
        if task is not None and task.inputs is not None and not self._store.holds(task.inputs):
            self.cancel(_("The study was removed from the scene."))
        if self._task is not None and self._task.id is None:
            self._prepare(self._task)
        self._events.extend(self._worker.poll())
        while self._events:  # an observer's exception leaves the rest for the next call
            self._take(self._events.popleft())
        if any(self._clock() >= until for until in self._stopping.values()):
            self._endChild()
        self._settle()

    def _begin(self, task: Task) -> None:
        """Take on a request, in place of one that is still on its way; send it at once where all is ready."""
        if self._task is not None:
            self._retire()
        self._task, self._failure = task, None
        self._progress = Progress(_("preparing"))
        if task.inputs is not None:
            task.record = self._store.find(task.inputs)
        isReady = self._worker.isRunning() and (task.inputs is None or task.record is not None)
        if self._state is not State.PREPARING:
            self._go(State.PREPARING)
        if isReady and self._task is task and task.id is None:  # an observer may have cancelled it, or polled
            self._send(task)

    def _prepare(self, task: Task) -> None:
        """Start the child, which loads its libraries while the study's files are written; then send."""
        self._worker.start()
        if task.inputs is not None and task.record is None:
            if not self._wrote(task):
                return
            self._tell(Progress(_("starting the helper process")))
        if self._task is task:  # an observer may have cancelled it
            self._send(task)

    def _wrote(self, task: Task) -> bool:
        """Whether the study's files are there, after `WRITING_S` more of writing them."""
        if task.writing is None:
            self._tell(Progress(_("writing the study's files")))
            task.writing = self._store.write(task.inputs)
        if self._task is not task:
            return False
        until = self._clock() + WRITING_S
        try:
            next(task.writing)
            while self._clock() < until:
                next(task.writing)
        except StopIteration as end:
            task.record = end.value
        except (CTGLIPError, OSError) as error:
            self._fail(failureOfFiles(error))
        except Exception as error:
            self._fail(failureOfFiles(error))
            raise
        return task.record is not None

    def _send(self, task: Task) -> None:
        fields = dict(task.fields)
        if task.inputs is not None and task.record is not None:
            fields["study"] = task.record.request(task.inputs)
            if task.command == "heatmap":
                fields["path"] = str(task.record.newPicturePath())
            elif task.command == "segment_tumor":
                fields["path"] = str(task.record.folder / "tumors.seg.nrrd")
        task.id = self._worker.send({"command": task.command, **fields})
        if task.record is None or fields["study"]["segmentation"] is not None:
            self._go(State.ENCODING)  # else organs are looked for first

    def _take(self, event: dict) -> None:
        """One event of the child."""
        kind, number = event.get("event"), event.get("id")
        self._heard = self._heard if number is None else number
        if kind == "died":
            self._childDied(event["failure"])
        elif kind == "ready" and event.get("protocol") != PROTOCOL:
            self._wrongProtocol(event.get("protocol"))
        elif self._descriptions.take(event):
            return
        elif number in self._stopping:
            if kind in ENDS:
                del self._stopping[number]
        elif self._task is not None and number is not None and number == self._task.id:
            self._takeOwn(kind, event)

    def _takeOwn(self, kind: object, event: dict) -> None:
        """One event of the request on its way."""
        if kind == "progress":
            progress = Progress(str(event.get("what", "")), int(event.get("done") or 0), int(event.get("total") or 0))
            if self._state is State.PREPARING and not progress.what.startswith(BEFORE_ENCODING):
                self._go(State.ENCODING)
            self._tell(progress)
        elif kind == "done":
            self._answered(event.get("result") or {})
        elif kind == "error":
            self._fail(failureOfError(self._inWords(event)))
        elif kind == "cancelled":  # by itself: nobody here asked it to
            self._task = self._progress = None
            self._go(State.CANCELLING)
            self._settle()

    def _inWords(self, event: dict) -> dict:
        """An event "error" of the request on its way, with the names of the nodes instead of the files."""
        task = self._task
        if task.inputs is None or task.record is None:
            return event
        return {**event, "message": task.record.inWords(str(event.get("message") or ""), task.inputs)}

    def _answered(self, result: dict) -> None:
        task = self._task
        self._task = self._progress = None
        if self._state is State.PREPARING:
            self._go(State.ENCODING)
        self._rest = State.READY
        self._go(State.READY)
        self._notify(Change("answered", self._state, outcome=self._outcome(task, result)))

    def _outcome(self, task: Task, result: dict) -> Outcome:
        if task.inputs is None or task.record is None:
            return Outcome(task.command, task.inputs, task.texts, result)
        found = self._store.found(task.record) if task.record.hasOrgans else None
        return Outcome(task.command, task.inputs, task.texts, result, found, tuple(task.record.files.warnings))

    def _fail(self, failure: Failure) -> None:
        self._task = self._progress = None
        self._failure = failure
        self._go(State.FAILED)
        self._notify(Change("failed", self._state, failure=failure))

    def _childDied(self, failure: Failure) -> None:
        """The child ended by itself: the request failed, unless it was to stop anyway, or never reached the child."""
        self._stopping.clear()
        isUnheard = self._task is not None and self._task.id not in (None, self._heard)
        if isUnheard and self._heard is not None:  # the child served before and ended while nothing was asked
            self._sendAnew()
        elif self._task is not None and self._task.id is not None:
            self._fail(failure)
        self._heard = None
        self._descriptions.fail(failure)

    def _wrongProtocol(self, version: object) -> None:
        message = _("The helper process speaks version {got} of the protocol, this module version {expected}.")
        remedy = _("Install the CT-GLIP extension again and restart Slicer.")
        self._worker.kill()
        self._childDied(Failure("died", message.format(got=version, expected=PROTOCOL), remedy))

    def _retire(self) -> None:
        """Ask the child to stop the request on its way; from now on its events are ignored."""
        task, self._task = self._task, None
        self._progress = None
        if task is not None and task.writing is not None:
            task.writing.close()
        if task is not None and task.id is not None:
            self._stopping[task.id] = self._clock() + CANCEL_S
            self._worker.cancel(task.id)

    def _endChild(self) -> None:
        """End a child that does not stop; a request that waits behind is sent to its successor."""
        self._worker.kill()
        self._stopping.clear()
        self._descriptions.fail(Failure("Cancelled", _("The helper process was ended before it answered.")))
        if self._task is not None and self._task.id is not None:
            self._sendAnew()

    def _sendAnew(self) -> None:
        """Let the next `poll` send the request to another child."""
        self._heard = self._task.id = None
        if self._state is State.ENCODING:
            self._go(State.PREPARING)

    def _settle(self) -> None:
        """Leave CANCELLING when nothing is left to stop."""
        if self._state is State.CANCELLING and not self._stopping:
            reason, self._reason = self._reason, ""
            self._go(self._rest)
            self._notify(Change("cancelled", self._state, message=reason))

    def _go(self, state: State) -> None:
        requireStep(self._state, state)
        self._state = state
        self._notify(Change("state", state, progress=self._progress))

    def _tell(self, progress: Progress) -> None:
        self._progress = progress
        self._notify(Change("progress", self._state, progress=progress))

    def _notify(self, change: Change) -> None:
        for observer in list(self._observers):
            observer(change)
