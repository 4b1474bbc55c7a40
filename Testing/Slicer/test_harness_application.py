"""The application, its modules and its scene are Slicer's (harness/application.py, slicer_app.py, startup.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", ["layoutManger", "mainWindow", "xyz"])
def test_an_attribute_that_the_application_does_not_have_raises(slicerApp, name):
    with pytest.raises(AttributeError, match=name):
        getattr(slicerApp, name)


def test_an_unknown_signal_of_the_application_is_refused(slicerApp):
    with pytest.raises(ValueError, match="has no signal"):
        slicerApp.connect("startupDone()", print)


def test_startup_completed_reaches_who_asked(scene, slicerApp):
    calls = []
    slicerApp.connect("startupCompleted()", lambda: calls.append(1))
    slicerApp.emit("startupCompleted()")
    assert calls == [1]


def test_an_unknown_module_raises(scene):
    import slicer

    with pytest.raises(AttributeError, match="no 'totalsegmentator'"):
        _ = slicer.modules.totalsegmentator
    with pytest.raises(RuntimeError, match="Could not find module"):
        slicer.util.getModule("colors")  # the exact name is Colors


def test_module_logics_are_the_real_ones_joined_to_the_scene(scene):
    import slicer

    logic = slicer.util.getModuleLogic("Segmentations")
    assert isinstance(logic, slicer.vtkSlicerSegmentationsModuleLogic)
    assert logic.GetMRMLScene() is slicer.mrmlScene
    assert slicer.app.applicationLogic().GetModuleLogic("Colors") is slicer.modules.colors.logic()


def test_there_is_no_layout_manager_without_views(scene, slicerApp):
    assert slicerApp.layoutManager() is None


def test_the_scene_has_the_nodes_that_slicer_always_has(scene):
    counts = {
        name: scene.GetNumberOfNodesByClass(f"vtkMRML{name}Node")
        for name in ("Selection", "Interaction", "Crosshair", "Layout")
    }
    assert counts == {"Selection": 1, "Interaction": 1, "Crosshair": 1, "Layout": 1}


def test_clear_removes_nodes_singletons_settings_and_answers(scene, slicerApp):
    import qt
    import slicer
    from harness import application

    scene.AddNewNodeByClass("vtkMRMLTextNode", "left over")
    singleton = slicer.vtkMRMLScriptedModuleNode()
    singleton.SetSingletonTag("Mine")
    scene.AddNode(singleton)
    qt.QSettings().setValue("key", 1)
    slicerApp.dialogs.answer("messageBox", 3)
    slicerApp.setTesting(False)
    application.clear()
    assert scene.GetFirstNodeByName("left over") is None
    assert scene.GetSingletonNode("Mine", "vtkMRMLScriptedModuleNode") is None
    assert not qt.QSettings().contains("key")
    assert slicerApp.testingEnabled()


def test_a_data_node_gets_a_subject_hierarchy_item_and_loses_it(scene):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemName(item) == "organs"
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    scene.RemoveNode(node)
    assert hierarchy.GetNumberOfItems() == 0


def test_nodes_that_belong_to_other_nodes_get_no_item(scene):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")
    assert hierarchy.GetNumberOfItems() == 1


def test_the_terminology_logic_knows_a_few_organs_under_slicers_names(scene):
    import slicer

    logic = slicer.modules.terminologies.logic()
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.IsTerminologyContextLoaded("Segmentation category and type - 3D Slicer General Anatomy list")
    category, kind = "SCT^123037004^Anatomical Structure", "SCT^10200004^Liver"
    text = f"Segmentation category and type - DICOM master list~{category}~{kind}~^^~~^^~^^"
    assert logic.DeserializeTerminologyEntry(text, entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Liver"


def test_an_exception_in_an_observer_is_kept(scene, slicerApp):
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: 1 / 0)
    node.Modified()
    found, slicerApp.problems.exceptions[:] = list(slicerApp.problems.exceptions), []
    assert len(found) == 1
    assert "ZeroDivisionError" in found[0]


def test_an_exception_in_a_slot_is_kept(scene, slicerApp):
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    found, slicerApp.problems.exceptions[:] = list(slicerApp.problems.exceptions), []
    assert len(found) == 1
    assert "ZeroDivisionError" in found[0]


def test_an_error_of_vtk_is_kept(scene, slicerApp):
    import slicer

    scene.AddNewNodeByClass("vtkMRMLNoSuchNode")
    slicer.vtkMRMLTextStorageNode().ReadData(None)
    found, slicerApp.problems.vtkErrors[:] = list(slicerApp.problems.vtkErrors), []
    assert found
    assert "ERROR" in found[0]


def test_a_console_process_is_launched_for_real(scene):
    import slicer

    process = slicer.util.launchConsoleProcess([sys.executable, "-c", "print('from the child')"])
    output, _ = process.communicate()
    assert output == "from the child\n"


def test_starting_and_ending_prints_nothing_and_leaves_no_folder(tmp_path):
    code = (
        "from harness import application, temporary; application.start(views=True);"
        "print(temporary.folder('x').parent); application.closeViews()"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    folder, *more = ended.stdout.splitlines()
    assert (more, ended.stderr) == ([], "")
    assert not Path(folder).exists()
