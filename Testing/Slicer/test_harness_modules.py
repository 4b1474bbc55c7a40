"""A scripted module is loaded, shown and unloaded as in Slicer (harness/module_loader.py, scripted_module.py)."""

from __future__ import annotations

import sys

import pytest

MODULE = """
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *


class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Sample module")


class SampleWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SampleLogic()
        self.events = []
        self.button = qt.QPushButton(_("Apply"))
        self.layout.addWidget(self.button)

    def enter(self):
        self.events.append("enter")

    def exit(self):
        self.events.append("exit")

    def cleanup(self):
        self.events.append("cleanup")


class SampleLogic(ScriptedLoadableModuleLogic):
    pass


class SampleTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("running")
        self.assertIsNotNone(SampleLogic().getParameterNode())
"""


@pytest.fixture
def sample(scene, tmp_path):
    from harness.module_loader import loadModule, unloadModule

    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "Sample.py").write_text(MODULE)
    yield loadModule(tmp_path / "Sample.py")
    unloadModule("Sample")


def test_a_loaded_module_is_found_by_its_names(sample, tmp_path):
    import slicer

    assert slicer.modules.sample.title == "Sample module"
    assert slicer.util.getModule("Sample") is slicer.modules.sample
    assert slicer.util.modulePath("Sample") == str(tmp_path.resolve() / "Sample.py")
    assert sample[1].resourcePath("UI/x.ui") == str(tmp_path.resolve() / "Resources" / "UI" / "x.ui")


def test_the_panel_is_made_once_entered_and_cleaned_up(sample):
    import slicer
    from harness.module_loader import showWidget, unloadModule

    widget, panel = showWidget(sample[0], "Sample")
    assert slicer.util.getModuleWidget("Sample") is widget
    assert panel.mrmlScene() is slicer.mrmlScene
    panel.exit()
    unloadModule("Sample")
    assert widget.events == ["enter", "exit", "cleanup"]


def test_the_logic_is_that_of_the_widget_as_in_slicer(sample):
    import slicer

    logic = slicer.util.getModuleLogic("Sample")
    assert logic is slicer.modules.SampleWidget.logic


def test_the_parameter_node_is_one_and_survives_closing_the_scene(sample):
    import slicer

    logic = slicer.util.getModuleLogic("Sample")
    node = logic.getParameterNode()
    assert logic.getParameterNode() is node
    slicer.mrmlScene.Clear(0)
    assert logic.getParameterNode().GetAttribute("ModuleName") == "Sample"
    assert len(logic.getAllParameterNodes()) == 1


def test_the_module_runs_its_own_test(sample, dialogs):
    sample[1].runTest()
    assert dialogs.texts == ["running"]


def test_reloading_makes_the_panel_anew_from_the_file(sample, tmp_path):
    import slicer

    before = slicer.util.getModuleWidget("Sample")
    (tmp_path / "Sample.py").write_text(MODULE.replace('_("Apply")', '_("Changed")'))
    slicer.util.reloadScriptedModule("Sample")
    after = slicer.util.getModuleWidget("Sample")
    assert (before.events, after.button.text) == (["cleanup"], "Changed")


def test_an_unloaded_module_is_gone(sample):
    import slicer
    from harness.module_loader import unloadModule

    unloadModule("Sample")
    assert not hasattr(slicer.modules, "sample")
    assert "Sample" not in sys.modules


def test_only_text_can_be_translated(scene):
    from slicer.i18n import tr

    assert tr("Ask") == "Ask"
    with pytest.raises(TypeError, match="expected a text"):
        tr(5)
