"""The section Set up: status lines, one button, folders of weights."""

from __future__ import annotations

import pytest
from panel_rig import PanelRig


@pytest.fixture
def make_rig(scene):
    rigs = []

    def make(*lack):
        rigs.append(PanelRig(lack))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def test_nothing_is_installed_asked_or_started_when_the_panel_is_made(make_rig, dialogs):
    rig = make_rig("PyTorch")
    assert rig.installer.installed == []
    assert rig.worker.requests == []
    assert not rig.worker.isRunning()
    assert len(dialogs) == 0


def test_what_is_missing_is_said_and_nothing_can_be_asked(make_rig):
    rig = make_rig("PyTorch")
    rig.enter()
    assert "\u2717" in rig.ui.setupStatusLabel.text
    assert "<b>PyTorch</b>" in rig.ui.setupStatusLabel.text
    assert rig.ui.installButton.enabled
    assert not rig.ui.setupSection.collapsed
    assert not rig.ui.askButton.enabled
    assert rig.ui.askStatusLabel.text == "Missing: PyTorch. Install it under Set up."
    assert rig.ui.askButton.toolTip == rig.ui.askStatusLabel.text
    assert rig.worker.requests == []


def test_the_button_installs_what_is_missing_and_the_section_closes(make_rig):
    rig = make_rig("PyTorch", "Python packages")
    rig.enter()
    rig.click(rig.ui.installButton)
    rig.rest()
    assert rig.installer.installed == [["PyTorch", "Python packages"]]
    assert "Installed: PyTorch, Python packages." in rig.ui.setupStatusLabel.text
    assert not rig.ui.installButton.enabled
    assert rig.ui.setupSection.collapsed
    assert len(rig.worker.of("describe")) == 1


def test_a_ready_machine_is_described_by_the_child_and_the_section_closes_once(make_rig):
    rig = make_rig()
    rig.enter()
    assert "cpu, 6.0 GB free" in rig.ui.setupStatusLabel.text
    assert not rig.ui.installButton.enabled
    assert rig.ui.setupSection.collapsed
    rig.ui.setupSection.collapsed = False
    rig.enter()
    assert not rig.ui.setupSection.collapsed


def test_a_failed_description_is_told(make_rig):
    rig = make_rig()
    rig.panel.enter()
    rig.session.poll()
    rig.panel._describe()
    rig.worker._events.clear()
    rig.worker.fail("DependencyError", "torch cannot be loaded.", "ImportError: libtorch")
    rig.rest()
    assert "torch cannot be loaded." in rig.ui.errorLabel.text
    assert rig.ui.detailsButton.visible


def test_folders_of_weights_are_named_by_hand_and_kept_with_the_scene(make_rig, tmp_path):
    rig = make_rig()
    rig.enter()
    rig.ui.setupSection.collapsed = False
    assert not rig.ui.weightsPanel.visible
    rig.click(rig.ui.weightsButton)
    assert rig.ui.weightsPanel.visible
    rig.ui.modelFolderEdit.currentPath = str(tmp_path)
    rig.ui.textEncoderFolderEdit.currentPath = "/text"
    assert rig.parameters.modelFolder == str(tmp_path)
    assert rig.parameters.textEncoderFolder == "/text"
    assert not rig.ui.modelComboBox.enabled
    assert str(tmp_path) in rig.ui.modelInfoLabel.text
    rig.parameters.modelFolder = ""
    assert rig.ui.modelFolderEdit.currentPath == ""
    assert rig.ui.modelComboBox.enabled
