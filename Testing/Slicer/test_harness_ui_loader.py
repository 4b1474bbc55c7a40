"""A .ui file is loaded, and refused where it has something unknown (harness/ui_loader.py)."""

from __future__ import annotations

import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
 <widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="all">
  <item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
   <layout class="QVBoxLayout" name="rows">
    <item><widget class="qMRMLNodeComboBox" name="volume">
     <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
     <property name="{noneEnabled}"><bool>true</bool></property></widget></item>
    <item><widget class="QCheckBox" name="more"/></item>
    <item><widget class="QLabel" name="details">
     <property name="buddy"><cstring>{buddy}</cstring></property></widget></item>
   </layout></widget></item>
 </layout></widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>h</header><container>1</container></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>h</header><container>1</container></customwidget>
  <customwidget><class>{combo}</class><extends>QWidget</extends><header>h</header></customwidget>
 </customwidgets>
 <connections>
  <connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>volume</receiver><slot>{slot}</slot></connection>
  <connection><sender>more</sender><signal>{signal}</signal><receiver>details</receiver><slot>setVisible(bool)</slot></connection>
 </connections>
</ui>"""  # noqa: E501


@pytest.fixture
def load(scene, tmp_path):
    import slicer

    def loadWith(**changes):
        parts = {
            "noneEnabled": "noneEnabled",
            "combo": "qMRMLNodeComboBox",
            "slot": "setMRMLScene(vtkMRMLScene*)",
            "signal": "toggled(bool)",
            "buddy": "volume",
        }
        path = tmp_path / "Panel.ui"
        path.write_text(UI.format(**parts | changes))
        widget = slicer.util.loadUI(str(path))
        return widget, slicer.util.childWidgetVariables(widget)

    return loadWith


def test_widgets_have_their_classes_names_and_properties(load):
    import slicer

    widget, ui = load()
    assert isinstance(widget, slicer.qMRMLWidget)
    assert (ui.inputs.text, ui.volume.nodeTypes, ui.volume.noneEnabled) == ("Inputs", ["vtkMRMLScalarVolumeNode"], True)
    assert ui.details.buddy() is ui.volume


def test_the_scene_reaches_the_combo_box_through_the_files_connection(load, scene):
    widget, ui = load()
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    widget.setMRMLScene(scene)
    assert ui.volume.nodeCount() == 1


def test_connections_between_qt_widgets_work(load):
    widget, ui = load()
    widget.show()
    ui.more.checked = True
    ui.more.checked = False
    assert not ui.details.visible
    ui.more.click()
    assert ui.details.visible


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"combo": "qMRMLMagicComboBox"}, "no widget 'qMRMLMagicComboBox'"),
        ({"combo": "ctkSliderWidget"}, "qMRMLNodeComboBox .* not declared"),
        ({"noneEnabled": "noneEnable"}, "has no property noneEnable"),
        ({"slot": "setScene(vtkMRMLScene*)"}, "has no slot"),
        ({"signal": "toggled(int)"}, "has no signal"),
        ({"buddy": "volumes"}, "no object 'volumes'"),
    ],
)
def test_something_unknown_is_refused(load, change, message):
    with pytest.raises(RuntimeError, match=message):
        load(**change)


def test_a_missing_file_is_refused_by_slicer_itself(scene):
    import slicer

    with pytest.raises(RuntimeError, match="file not found"):
        slicer.util.loadUI("/no/such/file.ui")
