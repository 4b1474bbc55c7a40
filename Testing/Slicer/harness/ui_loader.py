"""`qt.QUiLoader` that knows the CTK and qMRML widgets of the harness and refuses everything that it does not know."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PySide6 import QtCore, QtUiTools, QtWidgets

from harness import ctk_widgets, mrml_widgets
from harness.pythonqt import connect

CUSTOM_WIDGETS = {cls.__name__: cls for cls in (*ctk_widgets.WIDGETS, *mrml_widgets.WIDGETS)}
_NOT_WIDGETS = {"Line"}  # Designer's name of a QFrame
_DESIGNERS_OWN = {"buddy"}  # no property of QLabel: the loader calls setBuddy


class UiError(RuntimeError):
    """The .ui file uses a widget, property or connection that the harness does not know."""


class UiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file as Slicer does, but strictly."""

    def __init__(self, parent: QtCore.QObject | None = None):
        super().__init__(parent)
        for cls in CUSTOM_WIDGETS.values():
            self.registerCustomWidget(cls)

    def load(self, source: QtCore.QIODevice | str, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """The widget of the file.

        Raises:
            UiError: if the file has an unknown custom widget, property, signal or slot.
        """
        text = bytes(source.readAll()) if isinstance(source, QtCore.QIODevice) else Path(source).read_bytes()
        root = ElementTree.fromstring(text)
        _requireKnownWidgets(root)
        connections = [connection for group in root.findall("connections") for connection in group]
        for group in root.findall("connections"):
            root.remove(group)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise UiError(self.errorString())
        _requireKnownProperties(root, widget)
        for connection in connections:
            _join(widget, *(connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")))
        return widget


def install(qt: object) -> None:
    """Take the place of `qt.QUiLoader`."""
    qt.QUiLoader = UiLoader


def _requireKnownWidgets(root: ElementTree.Element) -> None:
    for custom in root.iter("customwidget"):
        name = custom.findtext("class")
        if name not in CUSTOM_WIDGETS:
            msg = f"the harness has no widget {name!r}; it has {', '.join(sorted(CUSTOM_WIDGETS))}"
            raise UiError(msg)
    declared = {custom.findtext("class") for custom in root.iter("customwidget")}
    for element in root.iter("widget"):
        name = element.get("class")
        if name.startswith(("ctk", "qMRML", "qSlicer")) and name not in declared:
            msg = f"{name} ({element.get('name')}) is used but not declared as a custom widget"
            raise UiError(msg)


def _requireKnownProperties(root: ElementTree.Element, widget: QtWidgets.QWidget) -> None:
    """Qt makes a dynamic property of a name that it does not know; a misspelt one would pass."""
    for element in root.iter("widget"):
        if element.get("class") in _NOT_WIDGETS:
            continue
        target = _find(widget, element.get("name"))
        for buddy in element.findall("property[@name='buddy']"):
            _find(widget, buddy.findtext("cstring"))
        names = {each.get("name") for each in element.findall("property") if each.get("stdset") != "0"}
        unknown = sorted(name for name in names - _DESIGNERS_OWN if target.metaObject().indexOfProperty(name) < 0)
        if unknown:
            msg = f"{element.get('class')} ({element.get('name')}) has no property {', '.join(unknown)}"
            raise UiError(msg)


def _find(widget: QtWidgets.QWidget, name: str) -> QtCore.QObject:
    found = widget if widget.objectName == name else widget.findChild(QtCore.QObject, name)
    if found is None:
        msg = f"the .ui file has no object {name!r}"
        raise UiError(msg)
    return found


def _join(widget: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    try:
        connect(_find(widget, sender), signal, _find(widget, receiver), slot)
    except ValueError as error:
        msg = f"connection of {sender} with {receiver}: {error}"
        raise UiError(msg) from error
