"""CTK and qMRML widgets follow the real scene (harness/ctk_widgets.py, mrml_widgets.py, node_combo_box.py, ...)."""

from __future__ import annotations

import numpy as np
import pytest


def combo(scene, **properties):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    for name, value in properties.items():
        setattr(box, name, value)
    box.setMRMLScene(scene)
    return box


def volume(scene, name="CT", nodeClass="vtkMRMLScalarVolumeNode"):
    return scene.AddNewNodeByClass(nodeClass, name)


def test_a_combo_box_follows_added_and_removed_nodes(scene):
    box, ids = combo(scene), []
    box.connect("currentNodeIDChanged(QString)", ids.append)
    first, second = volume(scene, "first"), volume(scene, "second")
    assert (box.nodeCount(), box.currentNode() is first) == (2, True)
    box.setCurrentNode(second)
    scene.RemoveNode(second)
    assert (box.nodeCount(), box.currentNodeID) == (1, first.GetID())
    assert ids == [first.GetID(), "vtkMRMLScalarVolumeNode2", first.GetID()]


def test_closing_the_scene_empties_a_combo_box(scene):
    box, nodes = combo(scene, noneEnabled=True), []
    volume(scene)
    box.setCurrentNodeIndex(0)
    box.connect("currentNodeChanged(vtkMRMLNode*)", nodes.append)
    scene.Clear(0)
    assert (box.currentNode(), box.nodeCount(), nodes) == (None, 0, [None])


def test_with_none_enabled_nothing_is_chosen_by_itself(scene):
    box = combo(scene, noneEnabled=True)
    node = volume(scene)
    assert box.currentNode() is None
    box.setCurrentNode(node)
    assert box.currentNode() is node
    box.setCurrentNode(None)
    assert box.currentNodeID == ""


def test_a_label_map_is_no_scalar_volume_where_child_types_are_off(scene):
    volume(scene, "labels", "vtkMRMLLabelMapVolumeNode")
    assert (combo(scene).nodeCount(), combo(scene, showChildNodeTypes=False).nodeCount()) == (1, 0)


def test_a_combo_box_offers_only_nodes_with_the_attribute(scene):
    box = combo(scene)
    box.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "CT")
    volume(scene, "other")
    node = volume(scene, "with")
    node.SetAttribute("Kind", "CT")
    box.setMRMLScene(scene)
    assert [box.nodeFromIndex(0), box.nodeFromIndex(1)] == [node, None]


def test_a_combo_box_can_add_a_node(scene):
    box = combo(scene, baseName="Heat map", noneEnabled=True)
    node = box.addNode()
    assert (node.GetName(), box.currentNode() is node) == ("Heat map", True)


def test_a_widget_of_slicer_takes_no_unknown_attribute(scene):
    with pytest.raises(AttributeError, match="nodeTypez"):
        combo(scene).nodeTypez = []


def test_an_unknown_signal_of_a_combo_box_is_refused(scene):
    with pytest.raises(ValueError, match="has no signal 'currentNodeChanged\\(int\\)'"):
        combo(scene).connect("currentNodeChanged(int)", print)


def test_nodes_can_be_checked(scene):
    import qt
    import slicer

    box = slicer.qMRMLCheckableNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(scene)
    first, second = volume(scene, "first"), volume(scene, "second")
    box.setCheckState(second, qt.Qt.Checked)
    assert (box.checkedNodes(), box.uncheckedNodes()) == ([second], [first])


def test_the_segments_table_follows_names_colours_and_selection(patientScene):
    import slicer

    view, changes = slicer.qMRMLSegmentsTableView(), []
    view.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: changes.append(1))
    view.setSegmentationNode(patientScene.segmentation)
    liver, spleen = patientScene.segmentId("liver"), patientScene.segmentId("spleen")
    view.setSelectedSegmentIDs([spleen, liver])
    assert view.selectedSegmentIDs() == [liver, spleen]
    patientScene.segmentation.GetSegmentation().GetSegment(liver).SetName("hepar")
    patientScene.segmentation.GetSegmentation().GetSegment(liver).SetColor(1.0, 0.0, 0.0)
    item = view._table.item(0, 3), view._table.item(0, 1)
    assert (item[0].text(), item[1].background().color().name()) == ("hepar", "#ff0000")
    assert (view.selectedSegmentIDs(), len(changes)) == ([liver, spleen], 1)


def test_a_click_on_the_eye_hides_the_segment(patientScene):
    import slicer

    view = slicer.qMRMLSegmentsTableView()
    view.setSegmentationNode(patientScene.segmentation)
    view._table.cellClicked.emit(1, 0)
    display = patientScene.segmentation.GetDisplayNode()
    shown = [display.GetSegmentVisibility(patientScene.segmentId(organ)) for organ in ("liver", "spleen")]
    assert (shown, view._table.item(1, 0).text()) == ([True, False], "\u25cb")


def test_the_table_view_shows_the_table_node(scene):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLTableNode", "scores")
    view = slicer.qMRMLTableView()
    view.setMRMLTableNode(node)
    slicer.util.updateTableFromArray(node, [np.array([0.5, 0.25]), np.array([1, 2])], ["score", "rank"])
    model = view.model()
    assert (model.rowCount(), model.columnCount()) == (2, 2)
    assert model.headerData(0, __import__("qt").Qt.Horizontal) == "score"
    assert model.index(1, 0).data() == "0.25"


def test_a_section_folds_and_hides_what_is_in_it(scene):
    import ctk
    import qt

    section, states = ctk.ctkCollapsibleButton("Inputs"), []
    layout = qt.QVBoxLayout(section)
    label = qt.QLabel("inside")
    layout.addWidget(label)
    section.show()
    section.connect("contentsCollapsed(bool)", states.append)
    section.collapsed = True
    assert (section.text, label.visible, states) == ("Inputs", False, [True])
    section.click()
    assert (section.checked, label.visible, states) == (True, True, [True, False])


def test_a_slider_stays_in_its_range(scene):
    import ctk

    slider, values = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", values.append)
    slider.minimum, slider.maximum, slider.decimals = 0.0, 1.0, 2
    slider.value = 0.25
    slider.value = 7.0
    assert (slider.value, values) == (1.0, [0.25, 1.0])


def test_a_path_edit_asks_for_a_folder(scene, dialogs):
    import ctk

    edit, paths = ctk.ctkPathLineEdit(), []
    edit.filters = ctk.ctkPathLineEdit.Dirs
    edit.connect("currentPathChanged(QString)", paths.append)
    dialogs.answer("getExistingDirectory", "/some/folder")
    edit.browse()
    assert (edit.currentPath, paths) == ("/some/folder", ["/some/folder"])


def test_a_ctk_widget_that_the_harness_does_not_have_raises(scene):
    import ctk

    with pytest.raises(AttributeError, match="ctkMagicWidget"):
        _ = ctk.ctkMagicWidget
