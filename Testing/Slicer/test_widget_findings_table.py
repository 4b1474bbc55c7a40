"""The table of findings: order, sorting by number, filters, clicks."""

from __future__ import annotations

import pytest

QUESTION, ORGAN, SIDE, SCORE, STATE, ANSWER, VOLUME = range(7)


def row(question, organ, score, code="not_found", volume=10.0, state="present"):
    from CTGLIPSlicer.findings import FindingRow, answerWords, stateWords

    side = next((side for side in ("left", "right") if side in organ), "")
    return FindingRow(
        question, organ, side, score, score, stateWords(state), answerWords(code), volume, 0, organ.replace(" ", "_"),
        (1.0, 2.0, 3.0), code, state,
    )  # fmt: skip


@pytest.fixture
def rows(slicerApp):
    return [
        row("fatty liver", "liver", 0.9, "found", 1502.4),
        row("kidney stone", "right kidney", 0.1, volume=200.0),
        row("kidney stone", "left kidney", 0.05, volume=99.5),
        row("kidney stone", "spleen", None, "unanswerable", None, "absent"),
        row("gallstone", "gallbladder", 0.6, "found", 30.0, "cut"),
    ]


@pytest.fixture
def clicked():
    return []


@pytest.fixture
def table(scene, rows, clicked):
    import qt

    from CTGLIPSlicer.findings_table_widget import FindingsTable

    window = qt.QWidget()
    layout = qt.QVBoxLayout(window)
    view, edit, comboBox, label = qt.QTableView(), qt.QLineEdit(), qt.QComboBox(), qt.QLabel()
    view.sortingEnabled = True
    view.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    for widget in (edit, comboBox, view, label):
        layout.addWidget(widget)
    table = FindingsTable(view, edit, comboBox, label, clicked.append)
    table.parts = view, edit, comboBox, label
    table.window = window
    window.resize(600, 400)
    window.show()
    table.setRows(rows)
    yield table
    window.close()


def organs(table):
    return [shown.organ for shown in table.shownRows()]


def click_header(table, column):
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    header = table.parts[0].horizontalHeader()
    place = QPoint(header.sectionViewportPosition(column) + 10, 8)
    QTest.mouseClick(header.viewport(), Qt.LeftButton, Qt.NoModifier, place)


def text(table, place, column):
    return table.parts[0].model().index(place, column).data()


def test_rows_come_in_the_given_order_with_numbers_in_words(table):
    assert organs(table) == ["liver", "right kidney", "left kidney", "spleen", "gallbladder"]
    assert [text(table, 0, column) for column in range(7)] == [
        "fatty liver", "liver", "", "0.90", "present", "found", "1502.4",
    ]  # fmt: skip
    assert [text(table, 3, column) for column in (SCORE, STATE, ANSWER, VOLUME)] == [
        "-", "not in the segmentation", "cannot be answered", "-",
    ]  # fmt: skip
    assert [text(table, 1, SIDE), text(table, 2, SIDE)] == ["right", "left"]


def test_asked_but_not_found_and_cut_off_organs_have_rows_of_their_own(table):
    assert text(table, 1, ANSWER) == "asked, not found"
    assert text(table, 4, STATE) == "cut off by the scan's edge"


def test_a_click_on_a_title_sorts_by_number_not_by_text(table):
    click_header(table, VOLUME)
    assert [shown.volumeMl for shown in table.shownRows()] == [None, 30.0, 99.5, 200.0, 1502.4]
    click_header(table, VOLUME)
    assert [shown.volumeMl for shown in table.shownRows()] == [1502.4, 200.0, 99.5, 30.0, None]
    click_header(table, SCORE)
    assert [shown.score for shown in table.shownRows()] == [None, 0.05, 0.1, 0.6, 0.9]
    click_header(table, ORGAN)
    assert organs(table) == ["gallbladder", "left kidney", "liver", "right kidney", "spleen"]


def test_typing_filters_by_any_column(table):
    from PySide6.QtTest import QTest

    _, edit, _, label = table.parts
    QTest.keyClicks(edit, "KIDNEY")
    assert organs(table) == ["right kidney", "left kidney", "spleen"]
    assert label.text == "3 of 5 rows"
    QTest.keyClicks(edit, " (")
    assert organs(table) == []
    edit.text = "cut off"
    assert organs(table) == ["gallbladder"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("All answers", ["liver", "right kidney", "left kidney", "spleen", "gallbladder"]),
        ("Found", ["liver", "gallbladder"]),
        ("Not found", ["right kidney", "left kidney"]),
        ("Could not be answered", ["spleen"]),
    ],
)
def test_a_choice_of_answer_filters(table, choice, expected):
    comboBox = table.parts[2]
    comboBox.currentIndex = comboBox.findText(choice)
    assert organs(table) == expected


def test_both_filters_work_together_and_are_cleared_together(table):
    _, edit, comboBox, label = table.parts
    comboBox.currentIndex = comboBox.findText("Found")
    edit.text = "gall"
    assert organs(table) == ["gallbladder"]
    table.clearFilters()
    assert len(organs(table)) == 5
    assert label.text == "5 rows"


def test_a_click_tells_the_row_also_when_sorted_and_filtered(table, clicked):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    view, edit, _, _ = table.parts
    click_header(table, SCORE)
    edit.text = "kidney"
    index = view.model().index(1, ORGAN)
    QTest.mouseClick(view.viewport(), Qt.LeftButton, Qt.NoModifier, view.visualRect(index).center())
    assert [shown.organ for shown in clicked] == ["left kidney"]
    assert table.selectedRow().organ == "left kidney"


def test_enter_on_a_marked_row_tells_it_too(table, clicked):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    view = table.parts[0]
    view.setFocus()
    view.selectRow(4)
    QTest.keyClick(view, Qt.Key_Return)
    assert [shown.organ for shown in clicked] == ["gallbladder"]


def test_new_rows_take_the_place_of_the_old_and_their_order_counts(table, rows):
    click_header(table, SCORE)
    table.setRows(rows[:2])
    assert organs(table) == ["liver", "right kidney"]
    table.setRows([])
    assert organs(table) == []
    assert table.selectedRow() is None
    assert table.parts[3].text == "Nothing was asked of this CT yet."


def test_five_hundred_rows_are_shown_in_less_than_half_a_second(table, rows):
    import time

    start = time.perf_counter()
    table.setRows(rows * 100)
    assert time.perf_counter() - start < 0.5
    assert len(table.shownRows()) == 500
