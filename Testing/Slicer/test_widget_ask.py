"""The section Ask: typing, presets, history, Ask and Cancel, progress, errors in the panel instead of pop-ups."""

from __future__ import annotations

import pytest
from panel_rig import made_up_result, wait_until

from CTGLIPSlicer.ask_section import AskSection


@pytest.fixture
def result(rig):
    return made_up_result(rig.study, {"fatty liver": {"liver": 0.8}, "big spleen": {"spleen": 0.2}})


def test_nothing_is_asked_without_a_question_and_the_panel_says_why(rig):
    assert not rig.ui.askButton.enabled
    assert rig.ui.askStatusLabel.text == "Write a question, or choose a preset."
    rig.panel.ask.edit.plainText = "liver"
    assert rig.ui.askButton.enabled
    rig.ui.volumeSelector.setCurrentNode(None)
    assert not rig.ui.askButton.enabled
    assert rig.ui.askButton.toolTip == "No CT is chosen. Load a CT and choose it under Inputs."


def test_typed_questions_are_kept_in_the_parameter_node_and_shown_from_it(rig):
    from PySide6.QtTest import QTest

    QTest.keyClicks(rig.panel.ask.edit, "gallstone")
    assert rig.parameters.questions == "gallstone"
    rig.parameters.questions = "spleen\nliver"
    assert rig.panel.ask.edit.plainText == "spleen\nliver"


def test_control_enter_sends_one_request_with_one_question_a_line(rig):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    edit = rig.panel.ask.edit
    edit.plainText = "fatty liver\n\n  big spleen "
    rig.window.activateWindow()
    edit.setFocus()
    assert QTest.qWaitForWindowActive(rig.window)
    QTest.keyClick(edit, Qt.Key_Return, Qt.ControlModifier)
    wait_until(lambda: rig.worker.of("ask"))
    request = rig.worker.of("ask")[0]
    assert request["texts"] == ["fatty liver", "big spleen"]
    assert request["study"]["model"] == "default"
    assert request["study"]["name"] == rig.study.volume.GetName()


def test_ask_becomes_cancel_with_progress_and_ask_again(rig, result):
    assert rig.ui.askButton.text == "Ask"
    assert not rig.ui.progressBar.visible
    rig.start("fatty liver", "big spleen")
    assert rig.ui.askButton.text == "Cancel"
    assert rig.ui.askButton.enabled
    assert rig.ui.progressBar.visible
    rig.worker.progress("encoding windows", 5, 20)
    wait_until(lambda: rig.ui.progressBar.value == 250)
    assert rig.ui.progressBar.maximum == 1000
    assert rig.ui.askStatusLabel.text == "Encoding windows (5/20)"
    rig.worker.progress("reading the CT", 0, 0)
    wait_until(lambda: rig.ui.progressBar.maximum == 0)
    rig.worker.answer(result)
    rig.rest()
    assert rig.ui.askButton.text == "Ask"
    assert not rig.ui.progressBar.visible
    assert rig.ui.askStatusLabel.text.startswith("2 answers about patient in 0.3 s.")
    assert "Not in the organ vocabulary, asked as open vocabulary: livertumor1." in rig.ui.askStatusLabel.text


def test_a_double_click_asks_and_does_not_cancel(rig, result):
    from PySide6 import QtCore
    from PySide6.QtTest import QTest

    rig.panel.ask.doubleClickS = AskSection.doubleClickS
    rig.panel.ask.edit.plainText = "fatty liver"
    for _ in range(2):
        QTest.mouseClick(rig.ui.askButton, QtCore.Qt.LeftButton)
    wait_until(lambda: rig.worker.of("ask"))
    assert rig.worker.cancelled == []
    rig.worker.answer(result)
    assert wait_until(lambda: not rig.session.isBusy)


def test_cancel_stops_the_request_and_a_new_one_can_be_asked(rig, result):
    request = rig.start("fatty liver")
    rig.click(rig.ui.askButton)
    assert rig.ui.askButton.text == "Cancelling..."
    assert not rig.ui.askButton.enabled
    rig.rest()
    assert rig.worker.cancelled == [request["id"]]
    assert rig.ui.askButton.text == "Ask"
    assert rig.ui.askStatusLabel.text == "Cancelled."
    assert rig.panel.results.result is None
    rig.ask(result)
    assert len(rig.panel.results.result.queries) == 2


def test_a_child_that_does_not_stop_is_ended_within_two_seconds(rig):
    import time

    rig.worker.stopsWhenAsked = False
    rig.start("fatty liver")
    start = time.monotonic()
    rig.click(rig.ui.askButton)
    rig.rest()
    assert time.monotonic() - start < 2.0
    assert rig.worker.kills == 1
    assert rig.ui.askButton.text == "Ask"


def test_an_error_is_a_red_line_with_its_details_below_and_no_pop_up(rig, result, dialogs):
    rig.start("fatty liver")
    rig.worker.fail("InputError", "Expected a CT <in HU>, got an MR. Choose a CT.", "Traceback: line 7")
    rig.rest()
    assert "color:#d32f2f" in rig.ui.errorLabel.text
    assert "Expected a CT &lt;in HU&gt;, got an MR. Choose a CT." in rig.ui.errorLabel.text
    assert rig.ui.detailsButton.visible
    assert not rig.ui.detailsText.visible
    rig.click(rig.ui.detailsButton)
    assert rig.ui.detailsText.visible
    assert rig.ui.detailsText.plainText == "Traceback: line 7"
    assert len(dialogs) == 0
    rig.ask(result)
    assert not rig.ui.errorLabel.visible
    assert not rig.ui.detailsButton.visible
    assert not rig.ui.detailsText.visible


def test_an_error_names_the_ct_and_not_the_temporary_file(rig):
    study = rig.start("fatty liver")["study"]
    rig.worker.fail("InputError", f"{study['ct']}: Expected a CT in HU. {study['segmentation']} is no better.")
    rig.rest()
    volume, organs = rig.study.volume.GetName(), rig.study.segmentation.GetName()
    assert rig.ui.errorLabel.text.endswith(f"{volume}: Expected a CT in HU. {organs} is no better.</span>")


def test_a_dead_child_is_told_with_cause_and_remedy_and_the_next_question_starts_another(rig, result):
    from CTGLIPSlicer.worker_failure import failureOfExit

    rig.start("fatty liver")
    rig.worker.progress("encoding windows", 1, 20)
    wait_until(lambda: rig.ui.progressBar.value == 50)
    rig.worker._running = False
    rig.worker._events.append({"event": "died", "failure": failureOfExit(-9, "loading\nOut of luck")})
    rig.rest()
    assert "probably the computer ran out of memory" in rig.ui.errorLabel.text
    assert "Crop Volume" in rig.ui.errorLabel.text
    assert "Out of luck" in rig.ui.detailsText.plainText
    rig.ask(result)
    assert rig.worker.isRunning()
    assert len(rig.panel.results.result.queries) == 2


def test_a_study_that_cannot_be_exported_is_told_too(rig):
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    rig.study.volume.SetAndObserveTransformNodeID(transform.GetID())
    rig.panel.ask.edit.plainText = "liver"
    rig.click(rig.ui.askButton)
    wait_until(lambda: rig.ui.errorLabel.visible)
    assert "transform" in rig.ui.errorLabel.text
    assert rig.ui.askButton.text == "Ask"


def test_a_preset_fills_the_box_and_undo_brings_back_what_was_there(rig):
    rig.panel.ask.edit.plainText = "my own"
    comboBox = rig.ui.presetComboBox
    assert [comboBox.itemText(i) for i in range(comboBox.count)] == [
        "Presets", "Chest screening", "Abdomen screening", "All organs",
    ]  # fmt: skip
    comboBox.currentIndex = 1
    comboBox.activated.emit(1)
    assert rig.parameters.questionList[0] == "pulmonary nodule"
    assert comboBox.currentIndex == 0
    rig.panel.ask.edit.undo()
    assert rig.parameters.questions == "my own"


def test_presets_are_chosen_with_the_keyboard(rig):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    comboBox = rig.ui.presetComboBox
    comboBox.setFocus()
    QTest.keyClick(comboBox, Qt.Key_Down)
    assert rig.parameters.questionList[0] == "pulmonary nodule"


def test_the_history_has_the_last_twenty_sets_each_once_and_newest_first(rig):
    for number in range(22):
        rig.start(f"question {number}", "liver")
        rig.session.cancel()
        rig.rest()
    rig.start("question 5", "liver")
    history = rig.parameters.history
    assert len(history) == 20
    assert history[:2] == ["question 5\nliver", "question 21\nliver"]
    comboBox = rig.ui.historyComboBox
    assert comboBox.count == 21
    assert comboBox.itemText(1) == "question 5; liver"
    comboBox.activated.emit(2)
    assert rig.panel.ask.edit.plainText == "question 21\nliver"


def test_the_timer_runs_only_while_something_is_on_its_way(rig, result):
    assert not rig.panel._timer.active
    rig.start("fatty liver")
    assert rig.panel._timer.active
    assert rig.panel._timer.interval == 50
    rig.worker.answer(result)
    rig.rest()
    assert not rig.panel._timer.active


def test_a_request_from_a_script_is_shown_in_the_panel(rig, result):
    rig.session.ask(rig.parameters.studyInputs(), ["fatty liver"])
    wait_until(lambda: rig.worker.of("ask"))
    assert rig.ui.askButton.text == "Cancel"
    rig.worker.answer(result)
    rig.rest()
    assert rig.ui.findingsTable.model().rowCount() == 2


def test_asking_takes_less_than_a_tenth_of_a_second_of_the_window(rig):
    import time

    rig.panel.ask.edit.plainText = "liver"
    start = time.perf_counter()
    rig.panel.onAsk()
    assert time.perf_counter() - start < 0.1
