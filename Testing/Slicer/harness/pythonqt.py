"""PySide6 with the conventions of PythonQt, the Qt binding inside Slicer: the module `qt`.

- Properties are attributes: `button.text`, `button.enabled = False`; the getter of the same name is gone.
- An attribute that a Qt class does not have cannot be set (`button.tooltip = ...` raises).
- `sender.connect("clicked(bool)", function)`, also with receiver and slot; an unknown signature raises.
- Arguments beyond those that a function takes are left out of its call.
PySide6's own classes are changed, once, for the process. Guarded by Testing/Slicer/test_harness_pythonqt.py.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Callable

import shiboken6
from PySide6 import QtCore, QtGui, QtPrintSupport, QtUiTools, QtWidgets
from PySide6.QtCore import QObject

SOURCES = (QtCore, QtGui, QtWidgets, QtUiTools, QtPrintSupport)
_nativeGet, _nativeSet = QObject.property, QObject.setProperty
_native: dict[tuple[type, str], object] = {}  # (class, property) -> PySide's own method
_reading: set[tuple[int, str]] = set()  # properties whose getter runs
_CONNECTIONS = "_pythonQtConnections"


class _PropertyAttribute:
    """On an object the property's value, on the class what PySide has there (`QTimer.singleShot`)."""

    def __init__(self, name: str, original: object):
        self.name = name
        self.original = original

    def __get__(self, instance: QObject | None, owner: type | None = None) -> object:
        if instance is None:
            return self.original
        reading = (id(instance), self.name)
        if reading in _reading:  # Qt looks whether Python overrides the virtual getter (sizeHint): it does not
            return self.original.__get__(instance)
        _reading.add(reading)
        try:
            return _nativeGet(instance, self.name)
        finally:
            _reading.discard(reading)

    def __set__(self, instance: QObject, value: object) -> None:
        if _nativeSet(instance, self.name, value):
            return
        setter = getattr(instance, f"set{self.name[0].upper()}{self.name[1:]}", None)
        if setter is None:
            msg = f"{className(instance)}.{self.name} cannot be set to {value!r}"
            raise AttributeError(msg)
        setter(value)


def className(instance: QObject) -> str:
    """The Qt class of an object, for Python subclasses their own name."""
    return instance.metaObject().className()


def native(instance: QObject, name: str) -> Callable[..., object]:
    """PySide's own method of an object where a property of that name hides it (`native(widget, "width")()`)."""
    for cls in type(instance).__mro__:
        if (cls, name) in _native:
            return _native[cls, name].__get__(instance)
    return getattr(instance, name)


def connect(sender: QObject, signature: str, receiver: object, slot: str | None = None) -> bool:
    """Connect `signature` of the sender to a callable, or to the slot of a receiving object.

    Raises:
        ValueError: if the sender has no such signal or the receiver no such slot.
    """
    signal, arguments = _signal(sender, signature)
    function = receiver if slot is None else _slot(receiver, slot)
    take = min(arguments, _positional(function, arguments) if slot is None else _slotArguments(slot))

    def call(*values: object) -> object:
        return function(*values[:take])

    signal.connect(call)
    sender.__dict__.setdefault(_CONNECTIONS, []).append((_normal(signature), receiver, slot, signal, call))
    return True


def disconnect(sender: QObject, signature: str | None = None, receiver: object = None, slot: str | None = None) -> bool:
    """Undo what `connect` did with the same arguments; those left out match everything. False if nothing did."""
    kept, matched = [], 0
    for entry in sender.__dict__.get(_CONNECTIONS, []):
        known, target, targetSlot, signal, call = entry
        wanted = (
            (signature is None or known == _normal(signature))
            and (receiver is None or target == receiver)
            and (slot is None or slot == targetSlot)
        )
        if wanted:
            signal.disconnect(call)
            matched += 1
        else:
            kept.append(entry)
    sender.__dict__[_CONNECTIONS] = kept
    return matched > 0


def _normal(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()


def _signal(sender: QObject, signature: str) -> tuple[QtCore.SignalInstance, int]:
    normal = _normal(signature)
    found = re.fullmatch(r"(\w+)\((.*)\)", normal)
    meta = sender.metaObject()
    signals = [meta.method(i) for i in range(meta.methodCount())]
    known = {bytes(m.methodSignature()).decode() for m in signals if m.methodType() == QtCore.QMetaMethod.Signal}
    asPython = re.sub(r"\bvtk\w+\*", "PyObject", normal)  # what our own qMRML widgets carry for VTK pointers
    if found is None or asPython not in known:
        like = sorted(s for s in known if found and s.startswith(f"{found[1]}("))
        msg = f"{className(sender)} has no signal {signature!r}; of that name it has {like}"
        raise ValueError(msg)
    arguments = [a for a in asPython[len(found[1]) + 1 : -1].split(",") if a]
    signal = getattr(sender, found[1])
    overloads = {s for s in known if s.startswith(f"{found[1]}(") and s.count(",") + 1 == len(arguments)}
    if len(overloads) > 1 and arguments:
        signal = signal[tuple(arguments) if len(arguments) > 1 else arguments[0]]
    return signal, len(arguments)


def _slot(receiver: object, slot: str) -> Callable[..., object]:
    name = re.match(r"\w+", slot)
    function = getattr(receiver, name[0], None) if name else None
    if not callable(function):
        msg = f"{type(receiver).__name__} has no slot {slot!r}"
        raise ValueError(msg)  # noqa: TRY004  a wrong name, not a wrong type
    return function


def _slotArguments(slot: str) -> int:
    inner = slot[slot.index("(") + 1 : slot.rindex(")")] if "(" in slot else ""
    return len([a for a in inner.split(",") if a.strip()])


def _positional(function: Callable[..., object], most: int) -> int:
    """How many positional arguments a function takes, at most `most`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return most
    return min(most, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))


def playsNative(cls: type) -> type:
    """Mark a Python class that stands for a C++ class of Slicer: unknown public attributes cannot be set on it."""
    cls.playsNative = True
    return cls


def _isNative(cls: type) -> bool:
    return cls.__module__.startswith("PySide6") or "playsNative" in cls.__dict__


def _setattr(instance: QObject, name: str, value: object) -> None:
    found = next((cls.__dict__[name] for cls in type(instance).__mro__ if name in cls.__dict__), None)
    if isinstance(found, QtCore.Property):
        _PropertyAttribute(name, None).__set__(instance, value)
    elif hasattr(type(found), "__set__"):
        type(found).__set__(found, instance, value)
    elif found is None and not name.startswith("_") and _isNative(type(instance)):
        msg = f"{type(instance).__name__} has no attribute {name!r} to set"
        raise AttributeError(msg)
    else:
        instance.__dict__[name] = value


def _qtClasses() -> list[type]:
    found: dict[type, None] = {}
    for module in SOURCES:
        for name in dir(module):  # PySide fills its modules lazily: dir() first
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, QObject):
                found[cls] = None
    return sorted(found, key=lambda cls: len(cls.__mro__))


def _propertiesBecomeAttributes() -> None:
    for cls in _qtClasses():
        meta = cls.staticMetaObject
        for index in range(meta.propertyCount()):
            name = meta.property(index).name()
            inherited = index < meta.propertyOffset()
            if inherited and name not in cls.__dict__:
                continue
            original = cls.__dict__.get(name, getattr(cls, name, None))
            _native[cls, name] = original
            setattr(cls, name, _PropertyAttribute(name, original))


def _adopt() -> None:
    """Change PySide6's classes."""
    _propertiesBecomeAttributes()
    QObject.name = _PropertyAttribute("objectName", None)
    QObject.className = className
    QObject.delete = lambda self: shiboken6.delete(self)
    methods = {"connect": connect, "disconnect": disconnect}
    nativeGetattribute = QObject.__getattribute__

    def getattribute(self: QObject, name: str) -> object:  # PySide finds connect before any class attribute
        if name not in methods:
            return nativeGetattribute(self, name)

        def call(*arguments: object) -> object:
            if arguments and not isinstance(arguments[0], str):  # PySide itself, from within QTimer.singleShot
                return nativeGetattribute(self, name)(*arguments)
            return methods[name](self, *arguments)

        return call

    QObject.__getattribute__ = getattribute
    for cls in (c for c in _qtClasses() if "__setattr__" in c.__dict__):
        cls.__setattr__ = _setattr
    for cls in (QtWidgets.QApplication, QtWidgets.QMenu, QtCore.QEventLoop):
        cls.exec_ = cls.exec


def install() -> types.ModuleType:
    """The module `qt`, published as such; the second call returns the same one."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    _adopt()
    qt = types.ModuleType("qt", "The flat namespace of PythonQt on PySide6.")
    for source in SOURCES:
        vars(qt).update({name: getattr(source, name) for name in dir(source) if not name.startswith("_")})
    sys.modules["qt"] = qt
    return qt
