"""What the views show of one CT's answers: organs' colours, legend, heat map, surfaces, and the place looked at.

Conventions:
- one study is shown at a time; leaving it gives its organs their original colours back;
- a heat map belongs to its question: another question hides it until it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer

from CTGLIPSlicer import display, heat_overlay, jump, legend
from CTGLIPSlicer.surfaces import Later, SurfaceMaker

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryAnswer, QueryResult
    from CTGLIPSlicer.findings import FindingRow


class AnswerView:
    """Shows the answers about one study in slice and 3D views; nothing before `setStudy`.

    Args:
        later: calls a function when the window has nothing else to do.
        tellSurfaces: told how many surfaces of how many are made.
    """

    def __init__(self, later: Later, tellSurfaces: Callable[[int, int], None]) -> None:
        self._surfaces = SurfaceMaker(later, self._onSurface)
        self._tellSurfaces = tellSurfaces
        self.volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self.segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self.result: QueryResult | None = None
        self.isOriginal = False
        self._index = 0
        self._heat: dict[str, dict] = {}

    @property
    def answer(self) -> QueryAnswer | None:
        """The answer that is shown; None where there is none."""
        answers = self.result.queries if self.result else ()
        return answers[self._index] if self._index < len(answers) else None

    @property
    def hasHeat(self) -> bool:
        """Whether there is a heat map of the shown question."""
        return self.answer is not None and self.answer.text in self._heat

    @property
    def showsHeat(self) -> bool:
        """Whether a heat map lies over the CT."""
        return _isInScene(self.volumeNode) and heat_overlay.isShown(self.volumeNode)

    @property
    def _shownHeat(self) -> str:
        """The question whose heat map lies over the CT; kept in the scene, as the map is."""
        return heat_overlay.shownQuestion(self.volumeNode) if _isInScene(self.volumeNode) else ""

    @property
    def shows3D(self) -> bool:
        """Whether the organs' surfaces are shown, or are being made for that."""
        node = self._organs()
        if self._surfaces.isWorking:
            return True
        shown = node.GetDisplayNode() if node is not None else None
        return bool(
            shown and shown.GetVisibility3D() and node.GetSegmentation().ContainsRepresentation("Closed surface")
        )

    def setStudy(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        result: QueryResult | None,
    ) -> None:
        """Take another study or other answers; nothing is coloured before `show`."""
        if volumeNode is not self.volumeNode or segmentationNode is not self.segmentationNode:
            self.leave()
        self.volumeNode, self.segmentationNode, self.result = volumeNode, segmentationNode, result

    def leave(self) -> None:
        """Give the views back as they were: original colours, no legend, no heat map."""
        self._surfaces.stop()
        self.originalColours()
        self.hideHeat()
        self._heat.clear()
        self.volumeNode = self.segmentationNode = self.result = None

    def forget(self) -> None:
        """Drop everything without touching a node, for a scene that is closing."""
        self._surfaces.stop()
        self._heat.clear()
        self.volumeNode = self.segmentationNode = self.result = None

    def show(self, index: int, options: display.DisplayOptions) -> None:
        """Colour the organs by the answer of that number."""
        self._index = index
        answer, node = self.answer, self._organs()
        if answer is None or answer.text != self._shownHeat:
            self.hideHeat()
        if answer is None or node is None:
            return
        self.isOriginal = False
        scale = display.showAnswer(node, answer, options)
        if scale is None:
            legend.hideLegend(node)
        else:
            legend.showLegend(node, scale)

    def originalColours(self) -> None:
        """Give the organs the colours back that they had before they were coloured."""
        self.isOriginal = True
        node = self._organs()
        if node is not None:
            legend.hideLegend(node)
            display.restoreColours(node)

    def show3D(self, shown: bool) -> None:
        """Show or hide the organs' surfaces; the first time they are made, one after the other."""
        node = self._organs()
        if node is None:
            return
        if shown:
            self._surfaces.make(node)
            return
        self._surfaces.stop()
        node.GetDisplayNode().SetVisibility3D(False)

    def addHeat(self, text: str, result: dict) -> None:
        """Keep the heat map of a question and show it.

        Raises:
            CTGLIPError: if its file cannot be read.
        """
        self._heat[text] = result
        self.showHeat(text)

    def showHeat(self, text: str) -> None:
        """Lay the question's heat map over the CT.

        Raises:
            CTGLIPError: if its file cannot be read any more.
        """
        if self.volumeNode is not None and text in self._heat:
            heat_overlay.showHeatmap(self._heat[text], self.volumeNode, text)
            if (node := self._organs()) is not None:
                display.fillOrgans(node, filled=False)

    def hideHeat(self) -> None:
        """Take the heat map off the views."""
        if _isInScene(self.volumeNode):
            heat_overlay.hideHeatmap(self.volumeNode)
            if (node := self._organs()) is not None:
                display.fillOrgans(node, filled=True)

    def placeOf(self, row: FindingRow) -> tuple[float, float, float] | None:
        """Where a row is to be looked at, RAS mm: its heat map's hottest spot, else the organ's centroid."""
        spots = self._heat.get(row.question, {}).get("hottest_ras_mm") or {}
        spot = spots.get(row.organName) or row.centroidRas
        return None if spot is None else (float(spot[0]), float(spot[1]), float(spot[2]))

    def jump(self, row: FindingRow) -> bool:
        """Bring all views to a row's organ and make it stand out; False where it is not in the scan."""
        place, node = self.placeOf(row), self._organs()
        if node is not None and not self.isOriginal:
            display.highlight(node, row.organName or None)
        if place is not None:
            jump.jumpTo(place, node)
        return place is not None

    def _onSurface(self, made: int, every: int) -> None:
        node = self._organs()
        if made == every and node is not None:
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetVisibility3D(True)
        self._tellSurfaces(made, every)

    def _organs(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self.segmentationNode if _isInScene(self.segmentationNode) else None


def _isInScene(node: slicer.vtkMRMLNode | None) -> bool:
    return node is not None and node.GetScene() is not None
