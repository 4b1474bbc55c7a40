"""What becomes of an answer in the scene: the organs that were found for it, and the findings that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from CTGLIPSlicer.keep import keepResult

if TYPE_CHECKING:
    import slicer

    from CTGLIPLib.results import QueryResult
    from CTGLIPSlicer.session import Session
    from CTGLIPSlicer.session_types import Outcome


@dataclass(frozen=True, eq=False)
class Received:
    """An answer in the scene.

    Attributes:
        result: what was asked now.
        history: all that is kept about the study, with `result` at its end.
        segmentationNode: its organs.
    """

    result: QueryResult
    history: QueryResult
    segmentationNode: slicer.vtkMRMLSegmentationNode | None


def receive(session: Session, outcome: Outcome) -> Received:
    """Put the answer to questions into the scene; done twice, it changes nothing more."""
    result = outcome.queryResult()
    segmentationNode = organsOf(session, outcome)
    history = keepResult(result, outcome.inputs.volumeNode, segmentationNode)
    return Received(result, history, segmentationNode)


def organsOf(session: Session, outcome: Outcome) -> slicer.vtkMRMLSegmentationNode | None:
    """The organs' node of an outcome; organs that the child found are imported, once."""
    if outcome.organsPath is not None:
        from CTGLIPSlicer.nodes import importOrgans

        volumeNode = outcome.inputs.volumeNode
        name = _("Organs of {name}").format(name=volumeNode.GetName())
        session.adoptOrgans(outcome, importOrgans(outcome.organsPath, volumeNode, name))
    return outcome.segmentationNode
