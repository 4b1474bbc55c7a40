"""`slicer.app`: what a scripted module asks of the application object (qSlicerApplication)."""

from __future__ import annotations

import os
from collections.abc import Callable

import slicer

from harness import pythonqt, temporary
from harness.dialogs import Dialogs, dialogs
from harness.io_manager import IOManager
from harness.problems import Problems, problems


class CommandOptions:
    """What Slicer's command line said."""

    noMainWindow = True
    runPythonAndExit = False
    isTestingEnabled = True


class ProcessEnvironment:
    """Stands for the QProcessEnvironment of the time before Slicer started."""

    def keys(self) -> list[str]:
        """Names of the variables."""
        return list(os.environ)

    def value(self, name: str) -> str:
        """The value of a variable."""
        return os.environ[name]


class Application:
    """Stands for qSlicerApplication; an attribute that is not here raises AttributeError."""

    applicationName = "Slicer"
    mainApplicationName = "Slicer"
    majorVersion = 5
    minorVersion = 12
    SIGNALS = ("startupCompleted()", "lastWindowClosed()", "aboutToQuit()", "mrmlSceneChanged(vtkMRMLScene*)")

    def __init__(self, scene: slicer.vtkMRMLScene, logic: slicer.vtkSlicerApplicationLogic, qt: object):
        self._scene = scene
        self._logic = logic
        self._qt = qt
        self._ioManager = IOManager(scene, logic)
        self._moduleManager = _moduleManager(qt)
        self._layoutManager = None
        self._testing = True
        self._connections: list[tuple[str, Callable[..., object]]] = []
        self.restarts = 0
        self.renderPauses = 0

    @property
    def dialogs(self) -> Dialogs:
        """What pop-ups were shown (harness only)."""
        return dialogs

    @property
    def problems(self) -> Problems:
        """Exceptions below signals and events, and VTK errors (harness only)."""
        return problems

    @property
    def temporaryPath(self) -> str:
        """Folder for temporary files."""
        return str(temporary.folder("temporary"))

    @property
    def slicerHome(self) -> str:
        """Folder of the installation."""
        return str(temporary.folder("home"))

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        """The scene."""
        return self._scene

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        """The real application logic."""
        return self._logic

    def coreIOManager(self) -> object:
        """Loads and saves nodes."""
        return self._ioManager

    ioManager = coreIOManager

    def layoutManager(self) -> object | None:
        """The views, None without a main window (unless a test asks for views)."""
        return self._layoutManager

    def moduleManager(self) -> object:
        """Finds modules by their exact name."""
        return self._moduleManager

    def commandOptions(self) -> CommandOptions:
        """The command line."""
        return CommandOptions()

    def testingEnabled(self) -> bool:
        """Whether Slicer runs with --testing."""
        return self._testing

    def setTesting(self, enabled: bool) -> None:
        """Choose what `testingEnabled` says (harness only)."""
        self._testing = enabled

    def settings(self) -> object:
        """The user's settings, empty at the start of a test."""
        return self._qt.QSettings()

    userSettings = settings
    revisionUserSettings = settings

    def startupEnvironment(self) -> ProcessEnvironment:
        """The environment without Slicer's own variables."""
        return ProcessEnvironment()

    def processEvents(self, *_flags: object) -> None:
        """Let Qt handle what waits."""
        self._qt.QApplication.processEvents()

    def pauseRender(self) -> None:
        """Views render no more until `resumeRender`; here counted only."""
        self.renderPauses += 1

    def resumeRender(self) -> None:
        """Undo one `pauseRender`."""
        self.renderPauses -= 1

    def setOverrideCursor(self, cursor: object) -> None:
        """Show that cursor everywhere."""
        self._qt.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        """Undo one `setOverrideCursor`."""
        self._qt.QApplication.restoreOverrideCursor()

    def topLevelWidgets(self) -> list[object]:
        """Windows."""
        return self._qt.QApplication.topLevelWidgets()

    def clipboard(self) -> object:
        """The clipboard."""
        return self._qt.QApplication.clipboard()

    def palette(self) -> object:
        """Colours of widgets."""
        return self._qt.QApplication.palette()

    def font(self) -> object:
        """The font of widgets."""
        return self._qt.QApplication.font()

    def style(self) -> object:
        """The style that draws widgets."""
        return self._qt.QApplication.style()

    def thread(self) -> object:
        """The main thread."""
        return self._qt.QApplication.instance().thread()

    def restart(self) -> None:
        """Restart Slicer; here counted only."""
        self.restarts += 1

    def connect(self, signature: str, function: Callable[..., object]) -> bool:
        """Connect one of the application's signals; `emit` plays it."""
        if signature not in self.SIGNALS:
            msg = f"slicer.app has no signal {signature!r} in the harness; it has {self.SIGNALS}"
            raise ValueError(msg)
        self._connections.append((signature, function))
        return True

    def disconnect(self, signature: str, function: Callable[..., object]) -> bool:
        """Undo a `connect`."""
        self._connections.remove((signature, function))
        return True

    def emit(self, signature: str) -> None:
        """Play a signal without arguments (harness only)."""
        for known, function in list(self._connections):
            if known == signature:
                function()


def _moduleManager(qt: object) -> object:
    @pythonqt.playsNative
    class ModuleManager(qt.QObject):
        """Stands for qSlicerModuleManager."""

        moduleLoaded = qt.Signal(str)
        moduleAboutToBeUnloaded = qt.Signal(str)

        def module(self, name: str) -> object | None:
            """The module of exactly that name, or None."""
            return slicer.modules.byName(name)

        def modulesNames(self) -> list[str]:
            """Names of all modules."""
            return sorted(module.name for module in vars(slicer.modules).values() if hasattr(module, "logic"))

    return ModuleManager()
