"""The answers about the chosen CT: in the table, in the views, in files; the sections See and Keep meet the views here.

The scene is the truth: whatever CT is chosen, what is kept of it (`keep`) is shown, also in a scene opened again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol

from slicer.i18n import tr as _

from CTGLIPLib.errors import CTGLIPError
from CTGLIPSlicer import export, jump, keep
from CTGLIPSlicer.answer_view import AnswerView
from CTGLIPSlicer.findings import FindingRow, rowsOf
from CTGLIPSlicer.keep_section import KeepSection
from CTGLIPSlicer.parameters import Parameters
from CTGLIPSlicer.see_section import SeeActions, SeeSection
from CTGLIPSlicer.surfaces import Later

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryResult
    from CTGLIPSlicer.answers import Received
    from CTGLIPSlicer.session_types import Outcome


class Requests(Protocol):
    """What only the child process can do; a failure is shown by whoever is asked."""

    def heatmap(self, text: str) -> bool:
        """Ask for the heat map of a question; False where that could not be asked."""

    def report(self, texts: list[str], path: Path) -> bool:
        """Ask for a report; False where that could not be asked."""


class ResultsPanel:
    """Shows what was answered.

    Args:
        ui: the panel's widgets by name.
        requests: who asks the child process.
        tell: shows a line to the user.
        later: calls a function when the window has nothing else to do.
    """

    def __init__(self, ui: SimpleNamespace, requests: Requests, tell: Callable[[str], None], later: Later) -> None:
        self._requests, self._tell = requests, tell
        self._parameters: Parameters | None = None
        self._shown: object = None
        self._isWriting = False
        self.view = AnswerView(later, self._onSurface)
        actions = SeeActions(self._onOriginal, self._onShow3D, self._onHeatmap, self.onRow)
        self.see = SeeSection(ui, actions)
        self.keep = KeepSection(ui, self.exportTo, self.clear)

    @property
    def result(self) -> QueryResult | None:
        """All that is kept of the chosen CT."""
        return self.view.result

    def update(self, parameters: Parameters) -> None:
        """Show the parameters' CT, question and colours; what did not change is left alone."""
        self._parameters = parameters
        if parameters.inputVolume is not self.view.volumeNode:
            self._openStudy()
        self.see.update(parameters)
        self._show()

    def receive(self, received: Received) -> None:
        """Show new answers about the chosen CT, the first of them coloured."""
        self.view.setStudy(self._parameters.inputVolume, received.segmentationNode, received.history)
        first = len(received.history.queries) - len(received.result.queries)
        self._showResult()
        jump.showVolume(self._parameters.inputVolume)
        self._parameters.shownQuestion = first
        self.update(self._parameters)
        self.see.table.scrollToQuestion(first)

    def receiveHeat(self, outcome: Outcome) -> None:
        """Show a heat map, if it is of the chosen CT.

        Raises:
            CTGLIPError: if its file cannot be read.
        """
        if outcome.inputs.volumeNode is self.view.volumeNode:
            self.view.addHeat(outcome.texts[0], outcome.result)
        self.showViews()

    def receiveReport(self, outcome: Outcome) -> None:
        """Say that a report was written."""
        self._isWriting = False
        self.keep.tell(_("Saved {path}.").format(path=outcome.result.get("path", "")))

    def receiveNothing(self, why: str = "") -> None:
        """Say that a request failed, or was cancelled where there is no reason; a report is awaited no more."""
        if self._isWriting:
            self._isWriting = False
            self.keep.tellError(why) if why else self.keep.tell(_("No report was written."))
        self.showViews()

    def setBusy(self, busy: bool) -> None:
        """Offer nothing that would take the place of a request on its way."""
        self.see.setBusy(busy)
        self.keep.setBusy(busy)

    def forget(self) -> None:
        """Drop everything, for the scene is closing or another one comes in."""
        self.view.forget()
        self._showResult()

    def clear(self) -> None:
        """Remove the chosen CT's results from the scene; its organs get their colours back."""
        volume = self.view.volumeNode
        if volume is None:
            return
        segmentation = self.view.segmentationNode
        self.view.leave()
        keep.removeResult(volume)
        self.view.setStudy(volume, segmentation, None)
        self._showResult()
        self.showViews()

    def exportTo(self, path: str) -> None:
        """Write the results; a report is written by the child process."""
        if self.result is None:
            return
        if export.isReport(path):
            texts = list(dict.fromkeys(answer.text for answer in self.result.queries))
            if self._requests.report(texts, Path(path)):
                self._isWriting = True
                self.keep.tell(_("Writing {path} ...").format(path=path))
            return
        try:
            export.exportResult(self.result, path)
        except CTGLIPError as error:
            self.keep.tellError(str(error))
        else:
            self.keep.tell(_("Saved {path}.").format(path=path))

    def onRow(self, row: FindingRow) -> None:
        """Show a row's question, and bring the views to its organ."""
        self._parameters.shownQuestion = row.questionIndex
        there, nowhere = _("The views are at: {organ}."), _("{organ}: {state}; there is no place to jump to.")
        told = there if self.view.jump(row) else nowhere
        self._tell(told.format(organ=row.organ or row.question, state=row.state))

    def showViews(self) -> None:
        """Let the buttons say what the views show."""
        self.see.setViews(self.view.isOriginal, self.view.shows3D, self.view.showsHeat)

    def _openStudy(self) -> None:
        """Show what is kept of the chosen CT, and choose the organs that it belongs to."""
        parameters, volume = self._parameters, self._parameters.inputVolume
        entries = keep.kept(volume) if volume is not None else []
        switched, left = self.view.volumeNode is not None, self.view.segmentationNode
        organs = entries[-1].segmentation if entries else None
        chosen = organs or _segmentationOf(parameters)
        self.view.setStudy(volume, chosen, entries[-1].result if entries else None)
        self._showResult()
        if switched:
            parameters.shownQuestion = 0
        if switched and volume is not None:
            jump.showVolume(volume)
            jump.showOrgansInstead(chosen, left if left is not None and left.GetScene() is not None else None)
        if organs is not None and parameters.organsSource == "scene":
            parameters.segmentation = organs

    def _showResult(self) -> None:
        """Fill list, table and section Keep from the result."""
        result, self._shown = self.result, None
        self.see.setAnswers(_titles(result), rowsOf(result) if result else [])
        entries = keep.kept(self.view.volumeNode) if result else []
        table = entries[-1].table if entries else None
        self.keep.setResults(table.GetName() if table is not None else "", result is not None)

    def _show(self) -> None:
        """Colour the organs by the shown question, if that or the colours' meaning changed."""
        parameters, result = self._parameters, self.result
        if result is None or not result.queries:
            return
        index = min(parameters.shownQuestion, len(result.queries) - 1)
        options = parameters.displayOptions()
        if self._shown == (index, options):
            return
        self._shown = index, options
        self.view.show(index, options)
        self.see.setNotes(_notes(result, index))
        self.showViews()

    def _onOriginal(self, wanted: bool) -> None:
        if wanted:
            self.view.originalColours()
        else:
            self._shown = None
            self._show()
        self.showViews()

    def _onShow3D(self, wanted: bool) -> None:
        self.view.show3D(wanted)
        self.showViews()

    def _onSurface(self, made: int, every: int) -> None:
        done = made == every
        self._tell(
            _("The organs are shown in 3D.")
            if done
            else _("Making surfaces ({made}/{every})").format(made=made, every=every)
        )
        self.showViews()

    def _onHeatmap(self, wanted: bool) -> None:
        answer = self.view.answer
        if not wanted or answer is None:
            self.view.hideHeat()
        elif not self.view.hasHeat:
            self._requests.heatmap(answer.text)
        else:
            try:
                self.view.showHeat(answer.text)
            except CTGLIPError as error:
                self._tell(str(error))
        self.showViews()


def _segmentationOf(parameters: Parameters) -> object | None:
    node = parameters.segmentation
    return node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None


def _titles(result: QueryResult | None) -> list[str]:
    """Each question with its answer."""
    from CTGLIPLib.wording import verdict_words

    return [f"{answer.text}: {verdict_words(answer)}" for answer in result.queries] if result else []


def _notes(result: QueryResult, index: int) -> list[str]:
    """The shown answer with its numbers, and what the reader should know about the question and the scan."""
    from CTGLIPLib.wording import answer_words

    answer = result.queries[index]
    lines = [f"{answer.text}: {answer_words(answer)}"]
    if answer.kind == "finding" and answer.finding is None:
        told = _(
            "\u201c{words}\u201d is not in the list of findings: compared as free English text. Check the spelling."
        )
        lines.append(told.format(words=answer.phrase or answer.text))
    return [*lines, *result.study.warnings]
