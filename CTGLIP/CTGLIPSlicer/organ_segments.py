"""Which organ each segment is: by its name, else by its id, else by its SNOMED CT code.

Names decide first, because users rename segments; an id or a code counts only where the name says no organ, and a
warning says so. Segments outside the vocabulary keep their own names. Guarded by Testing/Slicer/test_nodes_names.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import slicer
import vtk

UNUSABLE_NAMES = ("", "(none)", "background")


@dataclass(frozen=True)
class NamedSegment:
    """A segment and the organ that it is.

    Attributes:
        segmentId: of the segment.
        text: the name that users see.
        organ: the vocabulary's name, or the segment's own where the vocabulary has none.
        evidence: what gave the organ: "name", "id", "terminology" or "own name".
    """

    segmentId: str
    text: str
    organ: str
    evidence: str

    @property
    def warning(self) -> str | None:
        """What to tell the user where the organ does not follow from the segment's name."""
        if self.evidence in {"name", "own name"}:
            return None
        return f"Segment {self.text!r} is taken as {self.organ} after its {self.evidence}. Rename it if that is wrong."


def segmentIdsOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, str]:
    """The segment id of each organ, without a look at voxels: empty segments are among them.

    Where two segments are the same organ the first counts; `nodes.organsFromNode` refuses them.
    """
    found: dict[str, str] = {}
    for segment in namedSegments(segmentationNode):
        found.setdefault(segment.organ, segment.segmentId)
    return found


def namedSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> tuple[NamedSegment, ...]:
    """Every segment with its organ, in the segmentation's order.

    An organ that a segment's name says is not given to another one by id or code.
    """
    segments = tuple(_named(segmentationNode.GetSegmentation()))
    said = {segment.organ for segment in segments if segment.evidence == "name"}
    return tuple(
        replace(segment, organ=segment.text, evidence="own name")
        if segment.warning and segment.organ in said
        else segment
        for segment in segments
    )


def _named(segmentation: slicer.vtkSegmentation) -> Iterator[NamedSegment]:
    from CTGLIPLib.organs import ORGANS, find_organ

    byCode = {(organ.snomed, organ.side): organ.name for organ in ORGANS}
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        text = " ".join((segment.GetName() or "").split())
        if text.lower() in UNUSABLE_NAMES:
            text = segmentId
        organ, fromId = find_organ(text), find_organ(segmentId)
        fromCode = byCode.get(_code(segment))
        if organ is not None:
            yield NamedSegment(segmentId, text, organ.name, "name")
        elif fromId is not None and fromCode in {None, fromId.name}:
            yield NamedSegment(segmentId, text, fromId.name, "id")
        elif fromId is None and fromCode is not None:
            yield NamedSegment(segmentId, text, fromCode, "terminology")
        else:
            yield NamedSegment(segmentId, text, text, "own name")


def _code(segment: slicer.vtkSegment) -> tuple[str, str | None]:
    """The SNOMED CT code of the segment's type, and its side: "left", "right" or None."""
    value = vtk.reference("")
    if not segment.GetTag(segment.GetTerminologyEntryTagName(), value):
        return "", None
    parts = [triple.split("^") for triple in str(value).split("~")]
    if len(parts) < 4 or any(len(triple) != 3 for triple in parts[2:4]):
        return "", None
    side = parts[3][2].strip().lower()
    return parts[2][1], side if side in {"left", "right"} else None
