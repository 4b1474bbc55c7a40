"""What Slicer publishes when it starts: Qt, scene, logics, modules, base classes, and our recorders."""

from __future__ import annotations

import os
import sys

import slicer
import vtk

from harness import pythonqt, temporary
from harness.dialogs import dialogs
from harness.module_registry import createModules
from harness.problems import problems
from harness.share_files import writeShare
from harness.slicer_app import Application
from harness.subject_hierarchy import SubjectHierarchyPlugin


def publish() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    qt = pythonqt.install()
    from harness import (
        ctk_widgets,
        module_loader,
        mrml_widgets,
        packaging_fake,
        sample_data_fake,
        scripted_module,
        ui_loader,
    )

    slicer.qtApplication = qt.QApplication.instance() or qt.QApplication(["Slicer"])  # kept alive here
    _settingsInTemporaryFolder(qt)
    problems.watch()
    dialogs.install(qt)
    ctk_widgets.install()
    mrml_widgets.install()
    ui_loader.install(qt)
    module_loader.install()
    scene, logic = _sceneAndLogics()
    slicer.app = Application(scene, logic, qt)
    scripted_module.install()
    packaging_fake.install()
    sample_data_fake.install()
    slicer.app._baseline = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    problems.clear()


def _sceneAndLogics() -> tuple[slicer.vtkMRMLScene, slicer.vtkSlicerApplicationLogic]:
    """Scene and application logic as qSlicerCoreApplication joins them, published as slicer.mrmlScene and .modules."""
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
    layout = slicer.vtkMRMLLayoutNode()
    layout.SetSingletonTag("vtkMRMLLayoutNode")
    for node in (crosshair, slicer.vtkMRMLSelectionNode(), slicer.vtkMRMLInteractionNode(), layout):
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


def _settingsInTemporaryFolder(qt: object) -> None:
    qt.QCoreApplication.setOrganizationName("CTGLIPHarness")
    qt.QCoreApplication.setApplicationName("Slicer")
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
        qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(temporary.folder("settings")))
