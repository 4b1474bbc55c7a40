"""Stand-ins for the child process, the clock, nodes and the writing of files: whole sessions in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

READY = {"event": "ready", "protocol": 1, "version": "0", "pid": 1}


class FakeWorker:
    """A worker that the test answers for."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.cancelled: list[int] = []
        self.starts = self.kills = 0
        self.running = False
        self._events: list[dict] = []

    def start(self) -> None:
        if not self.running:
            self.starts += 1
            self.running = True
            self._events.append(READY)

    def send(self, request: dict) -> int:
        self.sent.append({"id": len(self.sent) + 1, **request})
        return len(self.sent)

    def poll(self) -> list[dict]:
        events, self._events = self._events, []
        return events

    def cancel(self, requestId: int) -> None:
        self.cancelled.append(requestId)

    def kill(self) -> None:
        self.kills += 1
        self.running = False
        self._events.clear()

    def isRunning(self) -> bool:
        return self.running

    def lastErrorLines(self) -> str:
        return ""

    @property
    def last(self) -> dict:
        """The last request."""
        return self.sent[-1]

    def say(self, event: str, requestId: int | None = None, **fields: object) -> None:
        """Tell an event of a request, by default the last one."""
        self._events.append({"id": requestId or len(self.sent), "event": event, **fields})

    def progress(self, what: str, done: int = 0, total: int = 1) -> None:
        self.say("progress", what=what, done=done, total=total)

    def die(self, failure: object) -> None:
        self.running = False
        self._events.append({"event": "died", "failure": failure})


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass(eq=False)
class FakeNode:
    """A node with an ID, a name, and content that changes when the test says so."""

    id: str
    name: str = "CT"
    content: int = 0

    def GetID(self) -> str:
        return self.id

    def GetName(self) -> str:
        return self.name


@dataclass(frozen=True)
class FakeFiles:
    """What `FakeScene.export` wrote."""

    ct: Path
    segmentation: Path | None = None
    names: Path | None = None
    warnings: tuple[str, ...] = ()


class FakeScene:
    """Nodes by ID, what they contain, and how their files are written."""

    def __init__(self) -> None:
        self.nodes: dict[str, FakeNode] = {}
        self.exports: list[Path] = []
        self.problem: Exception | None = None
        self.steps = 0
        self.onStep: Callable[[], None] = lambda: None

    def add(self, nodeId: str, name: str = "CT") -> FakeNode:
        self.nodes[nodeId] = FakeNode(nodeId, name)
        return self.nodes[nodeId]

    def remove(self, node: FakeNode) -> None:
        del self.nodes[node.id]

    def find(self, nodeId: str) -> FakeNode | None:
        return self.nodes.get(nodeId)

    def contentKey(self, volumeNode: FakeNode, segmentationNode: FakeNode | None) -> str:
        return repr([None if node is None else (node.id, node.content) for node in (volumeNode, segmentationNode)])

    def export(self, volumeNode: FakeNode, segmentationNode: FakeNode | None, folder: Path) -> object:
        files = (volumeNode, segmentationNode, folder)
        return self._inSteps(*files) if self.steps else self._write(*files)

    def _inSteps(self, *files: object) -> Generator[None, None, FakeFiles]:
        for _ in range(self.steps):
            self.onStep()
            yield
        return self._write(*files)

    def _write(self, volumeNode: FakeNode, segmentationNode: FakeNode | None, folder: Path) -> FakeFiles:
        if self.problem is not None:
            raise self.problem
        self.exports.append(folder)
        (folder / "ct.nii").write_text(volumeNode.name)
        if segmentationNode is None:
            return FakeFiles(folder / "ct.nii")
        (folder / "organs.nii").write_text(segmentationNode.name)
        (folder / "organs.json").write_text("{}")
        return FakeFiles(folder / "ct.nii", folder / "organs.nii", folder / "organs.json", ("odd segment",))
