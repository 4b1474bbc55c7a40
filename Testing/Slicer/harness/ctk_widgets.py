"""The module `ctk`: the CTK widgets that are used, as PySide6 widgets with the same properties and signals."""

from __future__ import annotations

import sys
import types

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from harness.pythonqt import playsNative
from harness.qt_properties import forwarded, stored

_NO_LIMIT = 16777215  # QWIDGETSIZE_MAX


def _row(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


@playsNative
class ctkCollapsibleButton(QtWidgets.QWidget):  # noqa: N801
    """A titled section that folds."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)

    def __init__(self, title: str | QtWidgets.QWidget | None = None, parent: QtWidgets.QWidget | None = None):
        if not isinstance(title, str):
            title, parent = "", title or parent
        super().__init__(parent)
        self._title = QtWidgets.QToolButton(self)
        self._title.setToolButtonStyle(Qt.ToolButtonTextBesideIcon)
        self._title.setAutoRaise(True)
        self._title.setText(title)
        self._title.clicked.connect(self.click)
        self._collapsed = False
        self._hidden: list[QtWidgets.QWidget] = []
        self._look()
        self.setContentsMargins(0, self._title.sizeHint.height() + 2, 0, 0)

    def click(self) -> None:
        """What a press on the title does."""
        self.setCollapsed(not self._collapsed)
        self.clicked.emit(not self._collapsed)

    def setCollapsed(self, collapsed: bool) -> None:
        """Fold or unfold."""
        if collapsed == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        self._look()
        if collapsed:
            parts = [
                part for part in self.children() if isinstance(part, QtWidgets.QWidget) and part is not self._title
            ]
            self._hidden = [part for part in parts if not part.isHidden()]
        for part in self._hidden:
            part.setVisible(not collapsed)
        self.setMaximumHeight(self.contentsMargins().top() if collapsed else _NO_LIMIT)
        self.contentsCollapsed.emit(self._collapsed)
        self.toggled.emit(not self._collapsed)

    def setChecked(self, checked: bool) -> None:
        """Unfold or fold."""
        self.setCollapsed(not checked)

    def setText(self, text: str) -> None:
        """Set the title."""
        self._title.setText(text)
        self._look()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """The title is as wide as the section."""
        self._title.setFixedWidth(event.size().width())
        super().resizeEvent(event)

    def _look(self) -> None:
        self._title.setArrowType(Qt.RightArrow if self._collapsed else Qt.DownArrow)
        self._title.adjustSize()

    text = Property(str, lambda self: QtCore.QObject.property(self._title, "text"), setText)
    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)
    checked = Property(bool, lambda self: not self._collapsed, setChecked)
    flat = stored(bool, "flat", False)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    contentsLineWidth = stored(int, "contentsLineWidth", 1)
    buttonTextAlignment = stored(int, "buttonTextAlignment", 0x84)


@playsNative
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):  # noqa: N801
    """A group box that folds with its check mark."""

    def __init__(self, title: str | QtWidgets.QWidget | None = None, parent: QtWidgets.QWidget | None = None):
        if not isinstance(title, str):
            title, parent = "", title or parent
        super().__init__(title, parent)
        self.setCheckable(True)
        self.toggled.connect(self._fold)

    def _fold(self, unfolded: bool) -> None:
        for part in self.children():
            if isinstance(part, QtWidgets.QWidget):
                part.setVisible(unfolded)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))


@playsNative
class ctkPathLineEdit(QtWidgets.QWidget):  # noqa: N801
    """A path to type or to browse for."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives = 0x001, 0x002, 0x004
    NoSymLinks, Readable, Writable, Executable, Hidden = 0x008, 0x010, 0x020, 0x040, 0x100

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._edit = QtWidgets.QComboBox()
        self._edit.setEditable(True)
        self._browse = QtWidgets.QToolButton()
        self._browse.setText("...")
        _row(self, self._edit, self._browse)
        self._edit.editTextChanged.connect(self.currentPathChanged)
        self._browse.clicked.connect(self.browse)

    def browse(self) -> None:
        """Ask for a path in a file dialog."""
        isFolder = self.filters & self.Dirs and not self.filters & self.Files
        function = "getExistingDirectory" if isFolder else "getOpenFileName"
        path = getattr(QtWidgets.QFileDialog, function)(self, "", self.currentPath)
        if path:
            self.setCurrentPath(path)

    def setCurrentPath(self, path: str) -> None:
        """Show that path."""
        self._edit.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        """Remember the path as a choice."""
        self._edit.addItem(self.currentPath)

    currentPath = Property(str, lambda self: QtCore.QObject.property(self._edit, "currentText"), setCurrentPath)
    filters = stored(int, "filters", 0x002 | 0x008 | 0x010 | 0x020 | 0x040)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")
    label = stored(str, "label", "")
    showBrowseButton = stored(bool, "showBrowseButton", True)
    showHistoryButton = stored(bool, "showHistoryButton", True)


@playsNative
class ctkDirectoryButton(QtWidgets.QPushButton):  # noqa: N801
    """A button that shows and asks for a folder."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.clicked.connect(self.browse)

    def browse(self) -> None:
        """Ask for a folder in a file dialog."""
        folder = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self.directory)
        if folder:
            self.directory = folder
            self.directorySelected.emit(folder)

    directory = stored(str, "directory", "", lambda self: self.directoryChanged.emit(self.directory))
    caption = stored(str, "caption", "")
    acceptMode = stored(int, "acceptMode", 0)


@playsNative
class ctkSliderWidget(QtWidgets.QWidget):  # noqa: N801
    """A slider with a spin box."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    _STEPS = 1000

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Horizontal)
        self._slider.setRange(0, self._STEPS)
        self._box = QtWidgets.QDoubleSpinBox()
        self._box.setRange(0.0, 99.0)
        _row(self, self._slider, self._box)
        self._box.valueChanged.connect(self._onValue)
        self._slider.sliderMoved.connect(self._onMoved)

    def setValue(self, value: float) -> None:
        """Set the value, limited to the range."""
        self._box.setValue(value)

    def setRange(self, low: float, high: float) -> None:
        """Set the range."""
        self._box.setRange(low, high)
        self._follow()

    def _limits(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    def _follow(self) -> None:
        low, high = self._limits()
        self._slider.setValue(round(self._STEPS * (self.value - low) / ((high - low) or 1.0)))

    def _onValue(self, value: float) -> None:
        self._follow()
        self.valueChanged.emit(value)

    def _onMoved(self, position: int) -> None:
        low, high = self._limits()
        self._box.setValue(low + (high - low) * position / self._STEPS)

    value = forwarded(float, "_box", "value")
    minimum = Property(float, lambda self: QtCore.QObject.property(self._box, "minimum"),
                       lambda self, low: self.setRange(low, self.maximum))  # fmt: skip
    maximum = Property(float, lambda self: QtCore.QObject.property(self._box, "maximum"),
                       lambda self, high: self.setRange(self.minimum, high))  # fmt: skip
    decimals = forwarded(int, "_box", "decimals")
    singleStep = forwarded(float, "_box", "singleStep")
    suffix = forwarded(str, "_box", "suffix")
    prefix = forwarded(str, "_box", "prefix")
    pageStep = stored(float, "pageStep", 10.0)
    tracking = stored(bool, "tracking", True)


@playsNative
class ctkSearchBox(QtWidgets.QLineEdit):  # noqa: N801
    """A line edit with a clear button."""

    showSearchIcon = stored(bool, "showSearchIcon", False)
    alwaysShowClearIcon = stored(bool, "alwaysShowClearIcon", False)


@playsNative
class ctkComboBox(QtWidgets.QComboBox):  # noqa: N801
    """A combo box with a default text."""

    defaultText = stored(str, "defaultText", "")
    forceDefault = stored(bool, "forceDefault", False)
    elideMode = stored(int, "elideMode", 3)


@playsNative
class ctkMessageBox(QtWidgets.QMessageBox):  # noqa: N801
    """A message box that need not be shown again."""

    dontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")


@playsNative
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):  # noqa: N801
    """A spin box."""


@playsNative
class ctkCheckBox(QtWidgets.QCheckBox):  # noqa: N801
    """A check box."""


@playsNative
class ctkCheckablePushButton(QtWidgets.QPushButton):  # noqa: N801
    """A push button with a check box."""

    checkBoxToggled = Signal(bool)


@playsNative
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):  # noqa: N801
    """A text as high as its content."""

    collapsed = stored(bool, "collapsed", True)
    collapsibleText = stored(str, "collapsibleText", "")


WIDGETS = tuple(cls for name, cls in list(globals().items()) if name.startswith("ctk") and isinstance(cls, type))


def install() -> None:
    """Publish the module `ctk`."""
    ctk = types.ModuleType("ctk", "The CTK widgets that the harness knows.")
    vars(ctk).update({cls.__name__: cls for cls in WIDGETS})
    sys.modules["ctk"] = ctk
