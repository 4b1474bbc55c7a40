"""`slicer.app` and everything that Slicer publishes when it starts: scene, logics, modules, Qt, fakes.

`start()` once per process, `clear()` between tests. Real are the scene, the application logic, all module logics and
the IO; `Application` stands for qSlicerApplication. Guarded by Testing/Slicer/test_harness_application.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import slicer
import vtk

from harness import pythonqt, temporary
from harness.dialogs import Dialogs, dialogs
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
        from harness.io_manager import IOManager

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


def start(views: bool = False) -> Application:
    """The one application of this process, published on `slicer` and in `sys.modules`.

    Args:
        views: whether it has a layout manager with three slice views and a 3D view; they stay until `closeViews`.
    """
    if not isinstance(getattr(slicer, "app", None), Application):
        _publish()
    if views and slicer.app.layoutManager() is None:
        from harness.layout_manager import LayoutManager

        slicer.app._layoutManager = LayoutManager()
    return slicer.app


def closeViews() -> None:
    """Remove the views, their nodes and the layout manager."""
    manager = slicer.app.layoutManager()
    if manager is not None:
        slicer.app._layoutManager = None
        manager.close()


def clear() -> None:
    """The state of the start, but for views: empty scene, no windows, settings, dialogs or problems."""
    from harness import packaging_fake, sample_data_fake

    app, scene = slicer.app, slicer.mrmlScene
    app._qt.QApplication.closeAllWindows()
    while app._qt.QApplication.overrideCursor() is not None:
        app.restoreOverrideCursor()
    scene.Clear(0)
    _removeLeftNodes(scene)
    app._qt.QCoreApplication.sendPostedEvents(None, app._qt.QEvent.DeferredDelete)
    app.processEvents()
    app.settings().clear()
    app.setTesting(True)
    app._connections.clear()
    app.restarts = app.renderPauses = 0
    app.majorVersion, app.minorVersion = Application.majorVersion, Application.minorVersion
    packaging_fake.restore()
    sample_data_fake.restore()
    dialogs.clear()
    problems.clear()


def _publish() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    qt = pythonqt.install()
    from harness import ctk_widgets, mrml_widgets, packaging_fake, sample_data_fake, scripted_module, ui_loader

    slicer.qtApplication = qt.QApplication.instance() or qt.QApplication(["Slicer"])  # kept alive here
    _settingsInTemporaryFolder(qt)
    problems.watch()
    dialogs.install(qt)
    ctk_widgets.install()
    mrml_widgets.install()
    ui_loader.install(qt)
    scene, logic = _sceneAndLogics()
    slicer.app = Application(scene, logic, qt)
    scripted_module.install()
    packaging_fake.install()
    sample_data_fake.install()
    slicer.app._baseline = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    problems.clear()


def _sceneAndLogics() -> tuple[slicer.vtkMRMLScene, slicer.vtkSlicerApplicationLogic]:
    """Scene and application logic as qSlicerCoreApplication joins them, published as slicer.mrmlScene and .modules."""
    from harness.module_registry import createModules
    from harness.share_files import writeShare
    from harness.subject_hierarchy import SubjectHierarchyPlugin

    share = temporary.folder("share")
    writeShare(share)
    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    slicer.mrmlScene = scene
    _addSingletons(scene)
    logic.SetHomeDirectory(str(share))
    logic.SetShareDirectory(".")  # relative to the home directory
    logic.SetTemporaryPath(str(temporary.folder("temporary")))
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    slicer.modules = createModules(logic, share)
    _addRemoteIO(scene, logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(logic)
    logic.subjectHierarchyPlugin = SubjectHierarchyPlugin(scene)
    return scene, logic


def _addSingletons(scene: slicer.vtkMRMLScene) -> None:
    """The nodes that the application always has."""
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    for node in (crosshair, slicer.vtkMRMLSelectionNode(), slicer.vtkMRMLInteractionNode(), slicer.vtkMRMLLayoutNode()):
        scene.AddNode(node)


def _addRemoteIO(scene: slicer.vtkMRMLScene, logic: slicer.vtkSlicerApplicationLogic) -> None:
    """The logics without which an .mrb scene cannot be read."""
    remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    for each in (remote, data):
        each.SetMRMLApplicationLogic(logic)
        each.SetMRMLScene(scene)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(temporary.folder("cache")))
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    logic.remoteIO = (remote, data)  # kept alive with the application logic


def _removeLeftNodes(scene: slicer.vtkMRMLScene) -> None:
    """Remove singletons that a test added: `Clear(0)` only resets them, as closing the scene does."""
    manager = slicer.app.layoutManager()
    keep = slicer.app._baseline | (manager.nodeIds() if manager else set())
    left = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    for node in left:
        if node.GetID() not in keep and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            scene.RemoveNode(node)


def _settingsInTemporaryFolder(qt: object) -> None:
    qt.QCoreApplication.setOrganizationName("CTGLIPHarness")
    qt.QCoreApplication.setApplicationName("Slicer")
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
        qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(temporary.folder("settings")))


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


def repositoryRoot() -> Path:
    """The folder that has CTGLIP/ and CTGLIPLib/."""
    return Path(__file__).resolve().parents[3]
