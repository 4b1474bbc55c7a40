"""What goes into a session and what it tells its observers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from CTGLIPSlicer.states import State
from CTGLIPSlicer.worker_failure import Failure

if TYPE_CHECKING:
    import slicer

    from CTGLIPLib.results import QueryResult
    from CTGLIPSlicer.study_store import StudyRecord

Command = Literal["ask", "heatmap", "report", "segment_tumor", "batch", "describe"]
SegmenterName = Literal["totalsegmentator", "own"]


@dataclass(frozen=True, eq=False)
class StudyInputs:
    """What a study is asked with.

    Attributes:
        volumeNode: the CT.
        segmentationNode: its organs; None lets the child find them with `segmenter`.
        segmenter: who finds organs where none are given: TotalSegmentator, or the model's own head.
        model: a model's name, or its folder.
        device: "auto", "cpu", "cuda", ...
        textEncoderFolder: where the text encoder's files lie; None for the shipped phrases and the hub.
    """

    volumeNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    segmenter: SegmenterName = "totalsegmentator"
    model: str = "default"
    device: str = "auto"
    textEncoderFolder: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a request is.

    Attributes:
        what: what is being done, as the child words it.
        total: the number of steps; 0 where it is not known.
    """

    what: str
    done: int = 0
    total: int = 0

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1; None where it is not known."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else None


class FoundOrgans(Protocol):
    """Organs that the child found for a study."""

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The node in the scene that was made of them; None where there is none."""

    @property
    def path(self) -> Path | None:
        """Their file; None where there is none any more."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The answer to one request.

    Attributes:
        command: what was asked for.
        inputs: the study; None for a batch and a description.
        texts: the questions; one for a heat map.
        result: what the child sent (docs/worker_protocol.md).
        found: the organs that the child found; None where they were given, and for batches and descriptions.
        fileWarnings: what was odd when the study's files were written.
    """

    command: Command
    inputs: StudyInputs | None
    texts: tuple[str, ...]
    result: dict = field(default_factory=dict)
    found: FoundOrgans | None = None
    fileWarnings: tuple[str, ...] = ()

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The organs' node: the one given, or the one made of the organs that the child found."""
        given = self.inputs.segmentationNode if self.inputs else None
        return given or (self.found.node if self.found else None)

    @property
    def organsPath(self) -> Path | None:
        """Organs that the child found and that no node has yet: import them and tell `Session.adoptOrgans`."""
        return self.found.path if self.found and self.segmentationNode is None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the results should know."""
        return (*self.fileWarnings, *(self.result.get("warnings") or ()))

    def queryResult(self) -> QueryResult:
        """The answers to the questions; for command "ask" only.

        Raises:
            InputError: if the child sent what is no result.
        """
        from CTGLIPLib.result_reader import result_from_dict

        return result_from_dict(self.result["findings"])


ChangeKind = Literal["state", "progress", "answered", "cancelled", "failed"]


@dataclass(frozen=True, eq=False)
class Change:
    """What happened in a session.

    Attributes:
        kind: "state" where the session went on; "progress"; and how a request ended: "answered" (once, with its
            outcome), "cancelled" or "failed".
        state: the session's state now.
        outcome: of a request that was answered.
        failure: of one that failed.
        message: why it was cancelled, where that was not the user.
    """

    kind: ChangeKind
    state: State
    progress: Progress | None = None
    outcome: Outcome | None = None
    failure: Failure | None = None
    message: str = ""


@dataclass(eq=False)
class Task:
    """A request on its way.

    Attributes:
        fields: those of the request beside its study.
        id: its number; None until it was sent.
        record: the study's files; None until they are written.
        writing: the steps of writing them; None where that has not begun.
    """

    command: Command
    inputs: StudyInputs | None
    texts: tuple[str, ...]
    fields: dict = field(default_factory=dict)
    id: int | None = None
    record: StudyRecord | None = None
    writing: Generator[None, None, StudyRecord] | None = None
