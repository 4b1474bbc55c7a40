"""The panel that a radiologist uses: wires sections, session, installer and scene to each other.

The parameter node is the one truth: sections write to it, and whatever changes in it is shown. Nothing slow happens
here but the writing of a study's files; the child process computes, and a timer that runs only while something is on
its way polls the session.
"""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from CTGLIPLib.errors import CTGLIPError, InputError
from CTGLIPSlicer.answers import receive
from CTGLIPSlicer.ask_section import AskSection
from CTGLIPSlicer.inputs_section import InputsSection
from CTGLIPSlicer.installer import Installer, SlicerInstaller
from CTGLIPSlicer.parameters import Parameters
from CTGLIPSlicer.results_panel import ResultsPanel
from CTGLIPSlicer.session import Session
from CTGLIPSlicer.session_types import Change, Outcome, StudyInputs
from CTGLIPSlicer.setup_section import SetupSection
from CTGLIPSlicer.tumor_section import TumorSection
from CTGLIPSlicer.tumors import receiveTumors
from CTGLIPSlicer.worker_failure import Failure

UI_FILE = Path(__file__).resolve().parents[1] / "Resources" / "UI" / "CTGLIP.ui"
POLL_MS = 50


class CTGLIPPanel(slicer.util.VTKObservationMixin):
    """The module's window.

    Args:
        parentWidget: the module's place in Slicer's window; its layout takes the panel.
        session: asks the child process; None makes one of its own.
        installer: knows what is installed; None installs into Slicer's Python.
    """

    def __init__(
        self, parentWidget: qt.QWidget, session: Session | None = None, installer: Installer | None = None
    ) -> None:
        slicer.util.VTKObservationMixin.__init__(self)
        self.widget = slicer.util.loadUI(str(UI_FILE))
        parentWidget.layout().addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._ownsSession = session is None
        self.session = session or Session()
        self._parameters: Parameters | None = None
        self._isSceneChanging = self._isUpdating = False
        self.setup = SetupSection(self.ui, installer or SlicerInstaller(), self._onInstalled)
        self.inputs = InputsSection(self.ui, _ctWarnings)
        self.ask = AskSection(self.ui, self.onAsk, self.onCancel)
        self.results = ResultsPanel(self.ui, self, self.ask.setStatus, lambda step: qt.QTimer.singleShot(0, step))
        self.tumor = TumorSection(self.ui, self.onTumor, self.onCancel, lambda: self.setup.lack)
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self._onTimer)
        self.session.addObserver(self._onChange)
        self.widget.setMRMLScene(slicer.mrmlScene)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneChanged)
        self.addObserver(scene, scene.StartImportEvent, self._onStartImport)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneChanged)
        self._bind()

    def enter(self) -> None:
        """The user opened the module: look at what is installed, and choose the CT where there is no choice yet."""
        self.setup.refresh()
        self.inputs.chooseDefaults(self._parameters)
        self.update()
        self._describe()

    def exit(self) -> None:
        """The user went to another module; a request goes on."""

    def cleanup(self) -> None:
        """Slicer is closing, or the module is loaded anew; then this panel stays behind, hidden."""
        self._timer.stop()
        self.removeObservers()
        self.inputs.forget()
        self.widget.setMRMLScene(None)
        self.session.removeObserver(self._onChange)
        if self._ownsSession:
            self.session.close()

    def update(self) -> None:
        """Show the parameters as they are now."""
        if self._isUpdating or self._isSceneChanging:
            return
        self._isUpdating = True
        try:
            self.setup.update(self._parameters)
            self.results.update(self._parameters)
            self.inputs.update(self._parameters)
            self.ask.update(self._parameters)
            self.tumor.update(self._parameters)
            self.ask.setReason(self._whyNot())
        finally:
            self._isUpdating = False

    def onAsk(self) -> None:
        """Ask the questions in the box."""
        texts = self._parameters.questionList
        self.ask.remember(texts)
        self._request(lambda inputs: self.session.ask(inputs, texts))

    def onCancel(self) -> None:
        """Stop what is on its way."""
        self.session.cancel()

    def onTumor(self) -> None:
        """Seek tumours in the chosen CT."""
        try:
            self.session.segmentTumor(self._parameters.tumorInputs(), self._parameters.tumorModelFolder)
        except CTGLIPError as error:
            self.tumor.tellError(str(error))
            return
        self.tumor.begin()
        self._timer.start()

    def heatmap(self, text: str) -> bool:
        """Ask for the heat map of a question; False where that could not be asked."""
        return self._request(lambda inputs: self.session.heatmap(inputs, text))

    def report(self, texts: list[str], path: Path) -> bool:
        """Ask for a report; False where that could not be asked."""
        return self._request(lambda inputs: self.session.report(inputs, texts, path))

    def _request(self, send: object) -> bool:
        """Send a request about the chosen study; what the user has to mend is shown."""
        try:
            send(self._studyInputs())
        except CTGLIPError as error:
            self.ask.showFailure(Failure(type(error).__name__, str(error)))
            return False
        self._timer.start()
        return True

    def _studyInputs(self) -> StudyInputs:
        """What is asked; a label map first becomes a segmentation, which takes its place."""
        parameters = self._parameters
        node = parameters.segmentation
        if parameters.organsSource == "scene" and node is not None and node.IsA("vtkMRMLLabelMapVolumeNode"):
            from CTGLIPSlicer.nodes import segmentationFromLabelmap

            parameters.segmentation = segmentationFromLabelmap(node, parameters.labelmapNames or None)
        return parameters.studyInputs()

    def _whyNot(self) -> str:
        """Why nothing can be asked now, in words; empty where something can."""
        if self.setup.lack:
            return self.setup.lack
        try:
            self._parameters.studyInputs()
        except InputError as error:
            return str(error)
        return "" if self._parameters.questionList else _("Write a question, or choose a preset.")

    def _describe(self) -> None:
        """Ask the child process what this machine can do; not while it works, nor where it cannot run."""
        if self.setup.isReady and not self.session.isBusy:
            self.session.describe(self._onDescribed)
            self._timer.start()

    def _onDescribed(self, description: dict | None, failure: Failure | None) -> None:
        if description is not None:
            self.setup.setDescription(description)
            self.inputs.setDescription(description)
        elif failure is not None and failure.kind != "Cancelled":
            self.ask.showFailure(failure)

    def _onInstalled(self) -> None:
        self.update()
        self._describe()

    def _onTimer(self) -> None:
        self.session.poll()
        if not self.session.isBusy:
            self._timer.stop()

    def _onChange(self, change: Change) -> None:
        """Something happened in the session."""
        if not self._timer.active:  # a request may come from a script
            self._timer.start()
        if change.kind == "state":
            self.ask.setState(change.state)
            self.results.setBusy(change.state.isBusy)
            self.tumor.setBusy(change.state.isBusy)
        elif change.kind == "progress":
            self.ask.setProgress(change.progress)
            self.tumor.tell(change.progress.what)
        elif change.kind == "answered":
            self._onAnswered(change.outcome)
        elif change.kind == "failed":
            self.ask.setStatus("")
            self.ask.showFailure(change.failure)
            self.results.receiveNothing(change.failure.text)
            self.tumor.end(change.failure.text)
        elif change.kind == "cancelled":
            self.ask.setStatus(change.message or _("Cancelled."))
            self.results.receiveNothing()
            self.tumor.end(_("Cancelled."), isError=False)

    def _onAnswered(self, outcome: Outcome) -> None:
        """Take what the child process sent; what cannot be used is shown as a failure."""
        try:
            if outcome.command == "ask":
                self._takeAnswers(outcome)
            elif outcome.command == "heatmap":
                self.results.receiveHeat(outcome)
                self.ask.setStatus(_("Heat map of: {text}").format(text=outcome.texts[0]))
            elif outcome.command == "report":
                self.results.receiveReport(outcome)
                self.ask.setStatus(_("The report was written."))
            elif outcome.command == "segment_tumor":
                self._takeTumors(outcome)
        except CTGLIPError as error:
            self.ask.showFailure(Failure(type(error).__name__, str(error)))
            self.results.showViews()
            self.tumor.end(str(error))

    def _takeAnswers(self, outcome: Outcome) -> None:
        """Keep answers in the scene; show them, if they are about the chosen CT."""
        received = receive(self.session, outcome)
        volume, parameters = outcome.inputs.volumeNode, self._parameters
        if volume is parameters.inputVolume:
            if received.segmentationNode is not None:
                parameters.organsSource, parameters.segmentation = "scene", received.segmentationNode
            self.results.receive(received)
        told = _("{count} answers about {name} in {seconds:.1f} s.").format(
            count=len(received.result.queries), name=volume.GetName(), seconds=outcome.result.get("seconds") or 0.0
        )
        known = received.result.study.warnings
        self.ask.setStatus(" ".join([told, *(line for line in outcome.warnings if line not in known)]))

    def _takeTumors(self, outcome: Outcome) -> None:
        """Keep tumours in the scene; show them, if they are of the chosen CT."""
        tumors = receiveTumors(outcome)
        self.ask.setStatus(" ".join(outcome.warnings))
        if outcome.inputs.volumeNode is self._parameters.inputVolume:
            self.tumor.receive(tumors)
        else:
            self.tumor.end()

    def _bind(self) -> None:
        """Take the scene's parameter node, which may be another one now."""
        if self._parameters is not None:
            self.removeObserver(self._parameters.node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameters = Parameters.ofScene(slicer.mrmlScene)
        self.addObserver(self._parameters.node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self.update()

    def _onParameters(self, *_ignored: object) -> None:
        self.update()

    def _onStartClose(self, *_ignored: object) -> None:
        self._isSceneChanging = True
        self.session.reset(_("The scene was closed."))
        self.results.forget()

    def _onStartImport(self, *_ignored: object) -> None:
        self._isSceneChanging = True

    def _onSceneChanged(self, *_ignored: object) -> None:
        """A scene was closed or came in: its parameters and results are shown."""
        self._isSceneChanging = False
        self.results.forget()
        self.ask.setStatus("")
        self._bind()


def _ctWarnings(volumeNode: object) -> list[str]:
    from CTGLIPSlicer.nodes import ctWarnings

    return ctWarnings(volumeNode)
