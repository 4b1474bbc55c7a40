"""Qt properties of the harness's own widgets."""

from __future__ import annotations

from collections.abc import Callable

from PySide6 import QtCore
from PySide6.QtCore import Property


def stored(kind: type | str, name: str, default: object, changed: Callable[[object], None] | None = None) -> Property:
    """A Qt property kept in the object; `changed(self)` runs after a new value was set."""
    key = f"_stored_{name}"

    def getter(self: QtCore.QObject) -> object:
        return self.__dict__.get(key, default)

    def setter(self: QtCore.QObject, value: object) -> None:
        if value != getter(self):
            self.__dict__[key] = value
            if changed is not None:
                changed(self)

    return Property(kind, getter, setter)


def forwarded(kind: type | str, part: str, name: str) -> Property:
    """A Qt property that is the property `name` of the widget's `part`."""
    return Property(
        kind,
        lambda self: QtCore.QObject.property(getattr(self, part), name),
        lambda self, value: QtCore.QObject.setProperty(getattr(self, part), name, value) and None,
    )
