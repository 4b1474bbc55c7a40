"""The one application of this process: `start` it, `clear` it between tests.

Real are the scene, the application logic, all module logics and the IO; `slicer_app.Application` stands for
qSlicerApplication. Guarded by Testing/Slicer/test_harness_application.py.
"""

from __future__ import annotations

import slicer

from harness import packaging_fake, sample_data_fake, startup
from harness.dialogs import dialogs
from harness.layout_manager import LayoutManager
from harness.problems import problems
from harness.slicer_app import Application


def start(views: bool = False) -> Application:
    """The one application of this process, published on `slicer` and in `sys.modules`.

    Args:
        views: whether it has a layout manager with three slice views and a 3D view; they stay until `closeViews`.
    """
    if not isinstance(getattr(slicer, "app", None), Application):
        startup.publish()
    if views and slicer.app.layoutManager() is None:
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


def _removeLeftNodes(scene: slicer.vtkMRMLScene) -> None:
    """Remove singletons that a test added: `Clear(0)` only resets them, as closing the scene does."""
    manager = slicer.app.layoutManager()
    keep = slicer.app._baseline | (manager.nodeIds() if manager else set())
    left = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    for node in left:
        if node.GetID() not in keep and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            scene.RemoveNode(node)
