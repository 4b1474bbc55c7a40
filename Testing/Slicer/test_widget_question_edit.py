"""Typing questions with real keys: completions, and Ctrl+Enter."""

from __future__ import annotations

import pytest

NAMES = ("fatty liver", "kidney stone", "liver", "left kidney", "right kidney", "lung mass")


@pytest.fixture
def asked():
    return []


@pytest.fixture
def edit(scene, asked):
    from PySide6.QtTest import QTest

    from CTGLIPSlicer.question_edit_widget import QuestionEdit

    edit = QuestionEdit(NAMES, lambda: asked.append(edit.plainText))
    edit.show()
    edit.activateWindow()
    edit.setFocus()
    assert QTest.qWaitForWindowActive(edit)
    yield edit
    edit.close()


def typed(edit, text):
    from PySide6.QtTest import QTest

    QTest.keyClicks(edit, text)


def press(widget, key, *modifiers):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    QTest.keyClick(widget, getattr(Qt, f"Key_{key}"), *(getattr(Qt, name) for name in modifiers))


def offered(edit):
    model = edit.completionPopup().model()
    return [model.index(row, 0).data() for row in range(model.rowCount())] if edit.isCompleting() else []


def test_two_letters_offer_names_that_begin_with_them_before_those_that_hold_them(edit):
    typed(edit, "l")
    assert offered(edit) == []
    typed(edit, "i")
    assert offered(edit) == ["liver", "fatty liver"]


def test_enter_takes_the_chosen_completion_and_breaks_no_line(edit):
    typed(edit, "kid")
    assert offered(edit) == ["kidney stone", "left kidney", "right kidney"]
    press(edit.completionPopup(), "Down")
    press(edit.completionPopup(), "Down")
    press(edit.completionPopup(), "Return")
    assert edit.plainText == "left kidney"
    assert not edit.isCompleting()


def test_tab_takes_a_completion_too(edit):
    typed(edit, "fat")
    press(edit.completionPopup(), "Down")
    press(edit.completionPopup(), "Tab")
    assert edit.plainText == "fatty liver"


def test_escape_closes_the_list_and_keeps_what_was_typed(edit):
    typed(edit, "kid")
    press(edit.completionPopup(), "Escape")
    assert not edit.isCompleting()
    assert edit.plainText == "kid"


def test_tab_takes_the_first_completion_where_none_is_chosen(edit):
    typed(edit, "kid")
    press(edit.completionPopup(), "Tab")
    assert edit.plainText == "kidney stone"


def test_enter_breaks_the_line_where_no_completion_is_chosen(edit):
    typed(edit, "kid")
    press(edit.completionPopup(), "Return")
    assert not edit.isCompleting()
    typed(edit, "x")
    assert edit.plainText == "kid\nx"


def test_a_choice_is_forgotten_when_more_is_typed(edit):
    typed(edit, "ki")
    press(edit.completionPopup(), "Down")
    typed(edit.completionPopup(), "d")
    press(edit.completionPopup(), "Return")
    assert edit.plainText == "kid\n"


def test_the_end_of_a_line_is_completed_after_other_words(edit):
    typed(edit, "stone in the left kid")
    assert offered(edit) == ["left kidney"]
    press(edit.completionPopup(), "Down")
    press(edit.completionPopup(), "Return")
    assert edit.plainText == "stone in the left kidney"


def test_each_line_is_completed_on_its_own(edit):
    edit.plainText = "fatty liver\n"
    edit.moveCursor(type(edit.textCursor()).End)
    typed(edit, "lu")
    press(edit.completionPopup(), "Down")
    press(edit.completionPopup(), "Return")
    assert edit.plainText == "fatty liver\nlung mass"


def test_the_list_closes_when_nothing_fits_any_more_or_the_name_is_complete(edit):
    typed(edit, "lung")
    assert offered(edit) == ["lung mass"]
    typed(edit, "q")
    assert offered(edit) == []
    press(edit, "Backspace")
    typed(edit, " mass")
    assert offered(edit) == []


def test_the_keyboard_goes_on_typing_into_the_editor_while_the_list_is_open(edit):
    typed(edit, "ki")
    typed(edit.completionPopup(), "d")
    assert edit.plainText == "kid"
    assert "kidney stone" in offered(edit)


@pytest.mark.parametrize(("key", "modifiers"), [("Return", ["ControlModifier"]), ("Enter", ["ControlModifier"])])
def test_control_enter_asks_and_breaks_no_line(edit, asked, key, modifiers):
    typed(edit, "spleen")
    press(edit, key, *modifiers)
    assert asked == ["spleen"]
    assert edit.plainText == "spleen"


def test_control_enter_asks_while_the_list_is_open_too(edit, asked):
    typed(edit, "kid")
    press(edit.completionPopup(), "Return", "ControlModifier")
    assert asked == ["kid"]
    assert edit.plainText == "kid"


def test_plain_enter_begins_the_next_question(edit, asked):
    typed(edit, "spleen")
    press(edit, "Return")
    typed(edit, "colon")
    assert edit.plainText == "spleen\ncolon"
    assert asked == []


def test_the_real_names_are_findings_and_organs_in_plain_words(slicerApp):
    from CTGLIPSlicer.question_edit_widget import completionNames, completionsOf

    names = completionNames()
    assert len(names) == len(set(names)) > 180
    assert {"fatty liver", "left kidney", "pulmonary nodule"} <= set(names)
    assert not any("_" in name for name in names)
    assert completionsOf("is there a gallst", names) == ("gallst", ["gallstone"])
    assert completionsOf("", names) == ("", [])
    assert completionsOf("splenomegaly", names)[1] == []
