"""The section Inputs: which CT, whose organs, which model, what device."""

from __future__ import annotations

import numpy as np
import pytest
from panel_rig import MODEL, PanelRig


@pytest.fixture
def rig(scene):
    rig = PanelRig()
    yield rig
    rig.close()


def chosen(comboBox):
    return comboBox.itemData(comboBox.currentIndex)


def volume(name, low=-1000, high=1500, kind="vtkMRMLScalarVolumeNode"):
    import slicer

    values = np.random.default_rng(0).integers(low, high, (30, 31, 32)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(values, name=name, nodeClassName=kind)
    node.CreateDefaultDisplayNodes()
    return node


def test_the_first_ct_and_its_segmentation_are_chosen_when_the_module_is_opened(rig, patientScene):
    rig.enter()
    assert rig.ui.volumeSelector.currentNode() is patientScene.volume
    assert rig.ui.segmentationSelector.currentNode() is patientScene.segmentation
    assert rig.parameters.inputVolume is patientScene.volume


def test_no_room_is_left_for_a_warning_before_a_ct_is_chosen(rig):
    assert not rig.ui.volumeWarningLabel.visible


def test_label_maps_are_offered_as_organs_and_not_as_ct(rig):
    labels = volume("labels", 0, 3, "vtkMRMLLabelMapVolumeNode")
    ct = volume("ct")
    offered = [rig.ui.volumeSelector.nodeFromIndex(i) for i in range(rig.ui.volumeSelector.nodeCount())]
    assert offered == [ct]
    assert rig.ui.segmentationSelector.nodeFromIndex(0) is labels


def test_choosing_in_the_panel_is_kept_in_the_parameter_node_and_the_other_way_round(rig):
    rig.enter()
    first, second = volume("first"), volume("second")
    rig.ui.volumeSelector.setCurrentNode(second)
    assert rig.parameters.inputVolume is second
    rig.parameters.inputVolume = first
    assert rig.ui.volumeSelector.currentNode() is first
    rig.ui.organsSourceComboBox.currentIndex = 2
    assert rig.parameters.organsSource == "own"
    rig.parameters.organsSource = "totalsegmentator"
    assert chosen(rig.ui.organsSourceComboBox) == "totalsegmentator"
    rig.ui.deviceComboBox.currentIndex = rig.ui.deviceComboBox.findText("cpu")
    assert rig.parameters.device == "cpu"


def test_a_volume_that_is_no_ct_is_warned_of_with_the_reason(rig):
    rig.enter()
    ct, mr = volume("ct"), volume("mr", 0, 900)
    rig.ui.volumeSelector.setCurrentNode(mr)
    assert rig.ui.volumeWarningLabel.visible
    assert "Expected a CT in HU" in rig.ui.volumeWarningLabel.text
    rig.ui.volumeSelector.setCurrentNode(ct)
    assert "Expected a CT in HU" not in rig.ui.volumeWarningLabel.text
    rig.ui.volumeSelector.setCurrentNode(None)
    assert not rig.ui.volumeWarningLabel.visible


def test_voxels_are_looked_at_again_only_after_they_changed(rig):
    import slicer

    rig.enter()
    looked = []
    original = rig.panel.inputs._warningsOf
    rig.panel.inputs._warningsOf = lambda node: looked.append(node.GetName()) or original(node)
    ct = volume("ct")
    rig.ui.volumeSelector.setCurrentNode(ct)
    rig.panel.ask.edit.plainText = "liver"
    rig.panel.update()
    assert looked == ["ct"]
    slicer.util.arrayFromVolume(ct)[:] = 0
    slicer.util.arrayFromVolumeModified(ct)
    rig.panel.update()
    assert looked == ["ct", "ct"]
    assert "all its voxels have the value 0" in rig.ui.volumeWarningLabel.text


def test_only_what_matters_for_the_source_of_organs_is_shown(rig, patientScene):
    labels = volume("labels", 0, 3, "vtkMRMLLabelMapVolumeNode")
    rig.enter()
    assert rig.ui.segmentationSelector.visible
    assert not rig.ui.labelmapNamesComboBox.visible
    rig.ui.segmentationSelector.setCurrentNode(labels)
    assert rig.ui.labelmapNamesComboBox.visible
    rig.ui.labelmapNamesComboBox.currentIndex = 2
    assert rig.parameters.labelmapNames == "totalsegmentator_v2"
    rig.ui.organsSourceComboBox.currentIndex = 1
    assert not rig.ui.segmentationSelector.visible
    assert not rig.ui.labelmapNamesComboBox.visible


def test_a_label_map_becomes_a_segmentation_when_it_is_asked(rig, patientScene):
    import slicer

    labels = volume("labels", -2, 3, "vtkMRMLLabelMapVolumeNode")
    values = slicer.util.arrayFromVolume(labels)
    values[:] = np.maximum(values, 0)
    rig.enter()
    rig.ui.segmentationSelector.setCurrentNode(labels)
    rig.panel.ask.edit.plainText = "spleen"
    rig.click(rig.ui.askButton)
    assert "labels has 2 labels but no organ names" in rig.ui.errorLabel.text
    assert rig.worker.of("ask") == []
    rig.ui.labelmapNamesComboBox.currentIndex = 1
    rig.panel.onAsk()
    node = rig.parameters.segmentation
    assert node.IsA("vtkMRMLSegmentationNode")
    assert node.GetSegmentation().GetSegmentIDs() == ("spleen", "kidney_right")
    assert rig.ui.segmentationSelector.currentNode() is node


def test_the_model_says_what_it_knows_its_licence_and_its_data(rig):
    rig.enter()
    assert rig.ui.modelInfoLabel.text == (
        "Knows: 79 findings in 124 organs<br>Licence: Apache-2.0<br>Trained on: simulated CTs"
    )
    assert rig.ui.modelComboBox.itemData(0, 3).startswith("Knows: 79 findings")  # 3 is Qt.ToolTipRole


def test_models_and_devices_are_those_that_the_child_found(rig):
    rig.enter()
    other = {**MODEL, "name": "other", "knows": "lungs"}
    rig.panel.inputs.setDescription({"models": [MODEL, other], "devices": ["auto", "cpu", "cuda:0"]})
    assert [rig.ui.modelComboBox.itemText(i) for i in range(rig.ui.modelComboBox.count)] == ["default", "other"]
    rig.ui.modelComboBox.currentIndex = 1
    assert rig.parameters.model == "other"
    assert "Knows: lungs" in rig.ui.modelInfoLabel.text
    rig.ui.deviceComboBox.currentIndex = 2
    assert rig.parameters.device == "cuda:0"


def test_a_scene_from_another_computer_keeps_its_model_and_device(rig):
    rig.enter()
    rig.parameters.model, rig.parameters.device = "theirs", "cuda:3"
    assert chosen(rig.ui.modelComboBox) == "theirs"
    assert chosen(rig.ui.deviceComboBox) == "cuda:3"
    assert rig.parameters.model == "theirs"


def test_another_ct_brings_its_own_segmentation(rig, patientScene):
    import slicer

    rig.enter()
    other = volume("other")
    organs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other organs")
    organs.SetReferenceImageGeometryParameterFromVolumeNode(other)
    rig.ui.volumeSelector.setCurrentNode(other)
    assert rig.parameters.segmentation is organs
    rig.ui.volumeSelector.setCurrentNode(patientScene.volume)
    assert rig.parameters.segmentation is patientScene.segmentation
    third = volume("third")
    rig.ui.volumeSelector.setCurrentNode(third)
    assert rig.parameters.segmentation is None
    assert "No segmentation of the organs is chosen" in rig.ui.askStatusLabel.text


def test_heat_maps_are_not_taken_for_the_ct(rig):
    from CTGLIPSlicer.heat_overlay import CT_ROLE

    heat, ct = volume("heat"), volume("ct")
    heat.SetNodeReferenceID(CT_ROLE, ct.GetID())
    rig.enter()
    assert rig.parameters.inputVolume is ct
