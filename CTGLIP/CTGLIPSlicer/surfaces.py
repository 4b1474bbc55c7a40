"""Organs' surfaces made one after the other, so that the window never stands still for long.

Slicer makes all surfaces of a segmentation in one call, which takes half a minute for the organs of a full chest CT.
Here each organ is converted alone, in a segmentation of its own that shares the organ's segment.

Conventions:
- Slicer takes two segments, the first in order and the first by id, for all of them: once these have surfaces, its 3D
  views make the missing ones at once. They come last (test_surfaces: `one step makes one surface`);
- a segmentation whose surfaces were not finished passes for one without any.
"""

from __future__ import annotations

from collections.abc import Callable

import slicer

SURFACE = "Closed surface"
Later = Callable[[Callable[[], None]], None]


class SurfaceMaker:
    """Makes the surfaces of one segmentation at a time.

    Args:
        later: calls a function when the window has nothing else to do.
        tell: told how many surfaces of how many are made; at the end both numbers are the same.
    """

    def __init__(self, later: Later, tell: Callable[[int, int], None]) -> None:
        self._later, self._tell = later, tell
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._waiting: list[str] = []
        self._isScheduled = False

    @property
    def isWorking(self) -> bool:
        """Whether surfaces are still to be made."""
        return bool(self._waiting)

    def make(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        """Make the surfaces that are missing, in place of those that an earlier call still waits for."""
        ids = list(segmentationNode.GetSegmentation().GetSegmentIDs())
        order = sorted(ids, key=lambda one: (one == min(ids), one == ids[0]))
        self._node = segmentationNode
        self._waiting = [one for one in order if not hasSurface(segmentationNode, one)]
        if not self._waiting:
            self._tell(len(ids), len(ids))
        self._schedule()

    def stop(self) -> None:
        """Make no more; what is made stays."""
        self._waiting.clear()
        self._node = None

    def _schedule(self) -> None:
        if self._waiting and not self._isScheduled:
            self._isScheduled = True
            self._later(self._step)

    def _step(self) -> None:
        self._isScheduled = False
        node = self._node
        if not self._waiting or node is None or node.GetScene() is None:
            self.stop()
            return
        segmentId = self._waiting.pop(0)
        if node.GetSegmentation().GetSegment(segmentId) is not None:
            makeSurface(node, segmentId)
        every = node.GetSegmentation().GetNumberOfSegments()
        self._tell(every - len(self._waiting), every)
        self._schedule()


def hasSurface(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> bool:
    """Whether that segment has a surface."""
    return segmentationNode.GetSegmentation().GetSegmentRepresentation(segmentId, SURFACE) is not None


def makeSurface(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> None:
    """Give one segment its surface."""
    segmentation = segmentationNode.GetSegmentation()
    alone = slicer.vtkSegmentation()
    alone.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    alone.AddSegment(segmentation.GetSegment(segmentId), segmentId)
    alone.CreateRepresentation(SURFACE)
