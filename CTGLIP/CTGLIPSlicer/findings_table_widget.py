"""The table of findings: one row for each question and organ, sorted by value, filtered, with a row that was clicked.

The model is filled through setData, so that every item belongs to Qt. Two proxies stand between it and the view: the
inner one keeps the answer that was chosen, the outer one the text that was typed, and sorts. Numbers are sorted as
numbers; what was not measured comes below every number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

from CTGLIPSlicer.findings import FindingRow

SORT_ROLE = int(qt.Qt.UserRole)
ROW_ROLE = SORT_ROLE + 1
ANSWER_ROLE = SORT_ROLE + 2
UNMEASURED = -1e9
ROW_HEIGHT = 34
"""Two lines of text, in pixels."""
RIGHT_ALIGNED = 0x0082
"""Qt.AlignRight and Qt.AlignVCenter, as the model stores them."""


@dataclass(frozen=True)
class Column:
    """A column: its title, its width in pixels, a row's text in it, and a row's number where it holds numbers."""

    title: str
    width: int
    text: Callable[[FindingRow], str]
    number: Callable[[FindingRow], float | None] | None = None


def columns() -> tuple[Column, ...]:
    """The columns in their order."""
    return (
        Column(_("Question"), 70, lambda row: row.question),
        Column(_("Organ"), 76, lambda row: row.organ),
        Column(_("Side"), 36, lambda row: row.side),
        Column(_("Score"), 40, lambda row: decimals(row.score, 2), lambda row: row.score),
        Column(_("State"), 54, lambda row: row.state),
        Column(_("Answer"), 68, lambda row: row.answer),
        Column(_("ml"), 46, lambda row: decimals(row.volumeMl or None, 1), lambda row: row.volumeMl or None),
    )


def answerFilters() -> tuple[tuple[str, str], ...]:
    """Name and code of each choice of the answers' filter; the empty code keeps all."""
    return (
        (_("All answers"), ""),
        (_("Found"), "found"),
        (_("Not found"), "not_found"),
        (_("Could not be answered"), "unanswerable"),
    )


class FindingsTable:
    """Fills and reads a QTableView.

    Args:
        view: the table.
        filterEdit: line editor whose text a row must hold.
        filterComboBox: choice of answers.
        countLabel: told how many rows are shown.
        onRow: called with the row that was clicked, or chosen by Enter.
    """

    def __init__(
        self,
        view: qt.QTableView,
        filterEdit: qt.QLineEdit,
        filterComboBox: qt.QComboBox,
        countLabel: qt.QLabel,
        onRow: Callable[[FindingRow], None],
    ) -> None:
        self._view, self._filterEdit, self._filterComboBox, self._countLabel = (
            view, filterEdit, filterComboBox, countLabel,
        )  # fmt: skip
        self._onRow = onRow
        self._columns = columns()
        self._rows: list[FindingRow] = []
        self._answers, self._sorted = qt.QSortFilterProxyModel(), qt.QSortFilterProxyModel()
        self._answers.setFilterRole(ANSWER_ROLE)
        self._answers.setFilterKeyColumn(0)
        self._sorted.setSourceModel(self._answers)
        self._sorted.setSortRole(SORT_ROLE)
        self._sorted.setSortCaseSensitivity(qt.Qt.CaseInsensitive)
        self._sorted.setFilterCaseSensitivity(qt.Qt.CaseInsensitive)
        self._sorted.setFilterKeyColumn(-1)
        self._model = self._emptyModel(0)
        self._answers.setSourceModel(self._model)
        view.setModel(self._sorted)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        view.wordWrap = True
        view.horizontalHeader().stretchLastSection = True
        view.horizontalHeader().highlightSections = False
        for number, column in enumerate(self._columns):
            view.setColumnWidth(number, column.width)
        for name, code in answerFilters():
            filterComboBox.addItem(name, code)
        filterEdit.connect("textChanged(QString)", self._onFilter)
        filterComboBox.connect("currentIndexChanged(int)", self._onFilter)
        view.connect("clicked(QModelIndex)", self._onIndex)
        view.connect("activated(QModelIndex)", self._onIndex)
        self._inGivenOrder()

    def setRows(self, rows: Sequence[FindingRow]) -> None:
        """Show these rows, in their order until a column's title is clicked; the filters stay."""
        self._rows = list(rows)
        model = self._emptyModel(len(self._rows))
        for place, row in enumerate(self._rows):
            self._fill(model, place, row)
        old, self._model = self._model, model
        self._answers.setSourceModel(model)
        del old
        self._inGivenOrder()
        self._tellCount()

    def clearFilters(self) -> None:
        """Show all rows."""
        self._filterEdit.text = ""
        self._filterComboBox.currentIndex = 0

    def shownRows(self) -> list[FindingRow]:
        """The rows as they stand in the view, filtered and sorted."""
        return [row for place in range(self._sorted.rowCount()) if (row := self._rowAt(self._sorted.index(place, 0)))]

    def selectedRow(self) -> FindingRow | None:
        """The row that is marked."""
        return self._rowAt(self._view.currentIndex())

    def selectRow(self, place: int) -> None:
        """Mark the row in that place of the view and tell the listener, as a click does."""
        self._view.selectRow(place)
        self._onIndex(self._sorted.index(place, 0))

    def scrollToQuestion(self, questionIndex: int) -> None:
        """Bring the first shown row of that answer to the table's top; none is marked."""
        places = (place for place, row in enumerate(self.shownRows()) if row.questionIndex == questionIndex)
        if (place := next(places, None)) is not None:
            self._view.doItemsLayout()  # new rows are known to the scroll bar only after it
            self._view.scrollTo(self._sorted.index(place, 0), qt.QAbstractItemView.PositionAtTop)

    def _emptyModel(self, count: int) -> qt.QStandardItemModel:
        model = qt.QStandardItemModel(count, len(self._columns))
        for number, column in enumerate(self._columns):
            model.setHeaderData(number, qt.Qt.Horizontal, column.title)
        return model

    def _fill(self, model: qt.QStandardItemModel, place: int, row: FindingRow) -> None:
        told = f"{row.question}: {row.organ}, {row.answer} ({row.state})"
        for number, column in enumerate(self._columns):
            index = model.index(place, number)
            text = column.text(row)
            model.setData(index, text, qt.Qt.DisplayRole)
            if column.number is None:
                model.setData(index, text, SORT_ROLE)
                model.setData(index, told, qt.Qt.ToolTipRole)
                continue
            value = column.number(row)
            model.setData(index, UNMEASURED if value is None else float(value), SORT_ROLE)
            model.setData(index, RIGHT_ALIGNED, qt.Qt.TextAlignmentRole)
        first = model.index(place, 0)
        model.setData(first, place, ROW_ROLE)
        model.setData(first, f"is:{row.answerCode}", ANSWER_ROLE)

    def _inGivenOrder(self) -> None:
        self._view.horizontalHeader().setSortIndicator(-1, qt.Qt.AscendingOrder)
        self._sorted.sort(-1)

    def _onFilter(self, *_ignored: object) -> None:
        code = self._filterComboBox.itemData(self._filterComboBox.currentIndex)
        self._answers.setFilterFixedString(f"is:{code}" if code else "")
        self._sorted.setFilterFixedString(self._filterEdit.text.strip())
        self._tellCount()

    def _tellCount(self) -> None:
        shown, every = self._sorted.rowCount(), len(self._rows)
        if not every:
            self._countLabel.text = _("Nothing was asked of this CT yet.")
        elif shown == every:
            self._countLabel.text = _("{count} rows").format(count=every)
        else:
            self._countLabel.text = _("{shown} of {count} rows").format(shown=shown, count=every)

    def _rowAt(self, index: qt.QModelIndex) -> FindingRow | None:
        place = index.sibling(index.row(), 0).data(ROW_ROLE) if index.isValid() else None
        return None if place is None else self._rows[int(place)]

    def _onIndex(self, index: qt.QModelIndex) -> None:
        row = self._rowAt(index)
        if row is not None:
            self._onRow(row)


def decimals(value: float | None, digits: int) -> str:
    """The number with that many decimals; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"
