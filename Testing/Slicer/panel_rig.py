"""What tests of the panel share: stand-ins for the child process and the installer, made-up answers, and waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from CTGLIPLib.result_files import to_dict
from CTGLIPLib.results import ModelInfo, OrganScore, QueryAnswer, QueryResult, SegmentationInfo, StudyInfo

MODEL = {
    "name": "default", "folder": "/m", "sha256": "0" * 64, "licence": "Apache-2.0", "data": "simulated CTs",
    "knows": "79 findings in 124 organs", "threshold": 0.5,
}  # fmt: skip
DESCRIPTION = {
    "python": "3.12", "torch": "2.13", "device": "cpu", "devices": ["auto", "cpu"], "gpu": None,
    "memory_free_mb": 6000, "totalsegmentator": None, "totalsegmentator_weights": False, "text_encoder": True,
    "matplotlib": True, "models": [MODEL],
}  # fmt: skip


class FakeWorker:
    """Stands for the child process: keeps the requests and says what the test tells it to say."""

    def __init__(self):
        self.requests: list[dict] = []
        self.cancelled: list[int] = []
        self.kills = 0
        self._events: list[dict] = []
        self._running = False
        self.stopsWhenAsked = True

    def start(self) -> None:
        if not self._running:
            self._running = True
            self._events.append({"event": "ready", "protocol": 1, "version": "test", "pid": 1})

    def send(self, request: dict) -> int:
        number = len(self.requests) + 1
        self.requests.append({"id": number, **request})
        if request["command"] == "describe":
            self._events.append({"id": number, "event": "done", "result": DESCRIPTION})
        return number

    def poll(self) -> list[dict]:
        events, self._events = self._events, []
        return events

    def cancel(self, requestId: int) -> None:
        self.cancelled.append(requestId)
        if self.stopsWhenAsked:
            self._events.append({"id": requestId, "event": "cancelled"})

    def kill(self) -> None:
        self.kills += 1
        self._running = False
        self._events.clear()

    def isRunning(self) -> bool:
        return self._running

    def lastErrorLines(self) -> str:
        return ""

    def of(self, command: str) -> list[dict]:
        """The requests of that command."""
        return [request for request in self.requests if request["command"] == command]

    def progress(self, what: str, done: int, total: int) -> None:
        """Say how far the last request is."""
        self._say("progress", what=what, done=done, total=total)

    def answer(self, result: QueryResult | dict, **more: object) -> None:
        """Answer the last request."""
        if isinstance(result, QueryResult):
            result = {"findings": to_dict(result), "organs": None, "warnings": [], "seconds": 0.3, **more}
        self._say("done", result=result)

    def fail(self, kind: str, message: str, details: str | None = None) -> None:
        """Let the last request fail."""
        self._say("error", kind=kind, message=message, details=details)

    def _say(self, event: str, **fields: object) -> None:
        self._events.append({"id": self.requests[-1]["id"], "event": event, **fields})


class FakeInstaller:
    """Stands for the installer: `lack` is what is missing; everything can be installed."""

    def __init__(self, lack: Sequence[str] = ()):
        self.lack = list(lack)
        self.installed: list[list[str]] = []

    def status(self, description: dict | None = None) -> list:
        from CTGLIPSlicer.install_status import StatusLine

        lines = [StatusLine(name, "missing" if name in self.lack else "ok", "2.13") for name in ("PyTorch", "Model")]
        memory = "not known yet" if description is None else f"cpu, {description['memory_free_mb'] / 1000:.1f} GB free"
        return [*lines, StatusLine("Computer", "ok", memory)]

    def missing(self) -> list[str]:
        return list(self.lack)

    def install(self, names: Sequence[str]) -> object:
        from CTGLIPSlicer.installer import InstallOutcome

        self.installed.append(list(names))
        self.lack.clear()
        return InstallOutcome(installed=tuple(names))


def made_up_result(study: object, scores: dict[str, dict[str, float]], threshold: float = 0.5) -> QueryResult:
    """Answers about a study's nodes: for each question its organs with their scores, the others are left out.

    Args:
        study: `StudyNodes` of the harness.
        scores: question -> organ -> score; an organ that the study lacks becomes absent.
        threshold: from which on an organ is found.
    """
    answers = [_answer(study, text, organs, threshold) for text, organs in scores.items()]
    info = StudyInfo.of(study.volume.GetName(), study.arrays.grid)
    return QueryResult(info, ModelInfo("default", "0" * 64), SegmentationInfo("test", "test"), tuple(answers))


def _answer(study: object, text: str, organs: dict[str, float], threshold: float) -> QueryAnswer:
    rows = []
    for organ, score in organs.items():
        if organ not in study.organs:
            rows.append(OrganScore(organ, organ.replace("_", " "), "absent"))
            continue
        place = tuple(study.centreRas(organ))
        rows.append(
            OrganScore(organ, organ.replace("_", " "), "present", 0.5 * score, score, 10.0 * len(rows) + 5.0, place)
        )
    scored = [row.score for row in rows if row.score is not None]
    code = "unanswerable" if not scored else "found" if max(scored) >= threshold else "not_found"
    return QueryAnswer(text, "finding", None, False, tuple(organs), code, threshold, ("p",), ("n",), tuple(rows), text)


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> object:
    """Let Qt work until the condition holds; its value."""
    from PySide6.QtTest import QTest

    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "what was waited for did not happen"
        QTest.qWait(10)
    return value


class PanelRig:
    """The panel in a window, with a stand-in for the child process and for the installer."""

    def __init__(self, lack: Sequence[str] = ()):
        import qt
        import slicer

        from CTGLIPSlicer.session import Session
        from CTGLIPSlicer.widget import CTGLIPPanel

        self.worker, self.installer = FakeWorker(), FakeInstaller(lack)
        self.session = Session(worker=self.worker)
        self.window = slicer.qMRMLWidget()
        self.window.setLayout(qt.QVBoxLayout())
        self.panel = CTGLIPPanel(self.window, session=self.session, installer=self.installer)
        self.panel.ask.doubleClickS = 0.0  # tests click faster than people
        self.ui = self.panel.ui
        self.window.setFixedWidth(400)
        self.window.resize(400, 1400)
        self.window.show()

    @property
    def parameters(self) -> object:
        """Those of the scene, as a script reads them."""
        from CTGLIPSlicer.parameters import Parameters

        return Parameters.ofScene()

    def enter(self) -> None:
        """Open the module and wait for what the child says of the machine."""
        self.panel.enter()
        self.rest()

    def rest(self) -> None:
        """Wait until nothing is on its way."""
        wait_until(lambda: not self.session.isBusy)
        wait_until(lambda: not self.panel._timer.active)

    def click(self, widget: object) -> None:
        """Press a button or a check box with the mouse."""
        from PySide6.QtCore import QPoint, Qt
        from PySide6.QtTest import QTest

        QTest.mouseClick(widget, Qt.LeftButton, Qt.NoModifier, QPoint(8, widget.height // 2))

    def click_row(self, place: int) -> None:
        """Press a row of the findings table with the mouse."""
        from PySide6.QtCore import Qt
        from PySide6.QtTest import QTest

        view = self.ui.findingsTable
        index = view.model().index(place, 1)
        view.scrollTo(index)
        QTest.mouseClick(view.viewport(), Qt.LeftButton, Qt.NoModifier, view.visualRect(index).center())

    def start(self, *questions: str) -> dict:
        """Type these questions, press Ask, and wait until the child has the request."""
        self.panel.ask.edit.plainText = "\n".join(questions)
        before = len(self.worker.of("ask"))
        self.click(self.ui.askButton)
        wait_until(lambda: len(self.worker.of("ask")) > before)
        return self.worker.of("ask")[-1]

    def ask(self, result: QueryResult, **more: object) -> None:
        """Ask the result's questions and get that result."""
        self.start(*dict.fromkeys(answer.text for answer in result.queries))
        self.worker.answer(result, **more)
        self.rest()

    def close(self) -> None:
        """End the panel."""
        self.panel.cleanup()
        self.session.close()
        self.window.close()
