"""What the tests of sessions share: a session of fakes, and what it told."""

from __future__ import annotations

from fake_worker import FakeClock, FakeScene, FakeWorker

FINDINGS = {"findings": {"schema_version": "1.0"}, "organs": None, "warnings": ["thick slices"], "seconds": 1.0}


class Played:
    """A session of fakes, and what it told."""

    def __init__(self) -> None:
        from CTGLIPSlicer.session import Session
        from CTGLIPSlicer.session_types import StudyInputs

        self.worker, self.clock, self.scene = FakeWorker(), FakeClock(), FakeScene()
        self.session = Session(self.worker, self.scene.export, self.scene.contentKey, self.clock, self.scene.find)
        self.changes: list = []
        self.session.addObserver(self.changes.append)
        self.scene.onStep = lambda: self.clock.pass_(self.stepS)
        self.stepS = 1.0
        self.study = StudyInputs(self.scene.add("v1"), self.scene.add("s1"))

    @property
    def state(self) -> str:
        return self.session.state.name

    @property
    def states(self) -> list[str]:
        return [change.state.name for change in self.changes if change.kind == "state"]

    def of(self, kind: str) -> list:
        return [change for change in self.changes if change.kind == kind]

    def encoding(self) -> None:
        """A first question on its way in the child."""
        self.session.ask(self.study, ["fatty liver"])
        self.session.poll()
        self.worker.progress("encoding windows", 1, 4)
        self.session.poll()

    def ready(self) -> None:
        """A first question answered."""
        self.encoding()
        self.worker.say("done", result=FINDINGS)
        self.session.poll()


def died(message: str = "The helper process ended."):
    from CTGLIPSlicer.worker_failure import Failure

    return Failure("died", message, "Ask again.", "last line")
