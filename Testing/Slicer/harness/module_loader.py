"""Loads a scripted module's file and shows its panel, as qSlicerScriptedLoadableModule and its widget do."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import slicer
from PySide6 import QtWidgets

from harness import mrml_widgets


class ScriptedModule:
    """Stands for qSlicerScriptedLoadableModule, the `parent` of a ScriptedLoadableModule."""

    def __init__(self, name: str, path: Path):
        self.name = name
        self.path = str(path)
        self.hidden = False
        self.icon = None
        self.addsPath = False
        self._widget: ScriptedModuleWidget | None = None

    def logic(self) -> slicer.vtkSlicerScriptedLoadableModuleLogic:
        """The C++ logic, of no use to Python."""
        return slicer.vtkSlicerScriptedLoadableModuleLogic()

    def widgetRepresentation(self) -> ScriptedModuleWidget:
        """The module's panel, made on first use."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> ScriptedModuleWidget:
        """Another panel."""
        widget = ScriptedModuleWidget(self.name)
        widget.setMRMLScene(slicer.mrmlScene)
        widget.reload()
        return widget


class ScriptedModuleWidget(mrml_widgets.qSlicerWidget):
    """Stands for qSlicerScriptedLoadableModuleWidget, the `parent` of a ScriptedLoadableModuleWidget."""

    def __init__(self, moduleName: str):
        super().__init__()
        self._moduleName = moduleName
        self._python = None
        self.setLayout(QtWidgets.QVBoxLayout())

    def self(self) -> object:
        """The Python object."""
        return self._python

    def reload(self) -> None:
        """Make the Python object anew and set it up."""
        module = sys.modules[self._moduleName]
        self._python = getattr(module, f"{self._moduleName}Widget")(self)
        setattr(slicer.modules, f"{self._moduleName}Widget", self._python)
        self._python.setup()

    def enter(self) -> None:
        """The user opens the module."""
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        """The user leaves the module."""
        getattr(self._python, "exit", lambda: None)()


def install() -> None:
    """Publish the classes by which slicer.util tells scripted modules from others."""
    slicer.qSlicerScriptedLoadableModule = ScriptedModule
    slicer.qSlicerScriptedLoadableModuleWidget = ScriptedModuleWidget


def loadModule(path: Path | str) -> tuple[types.ModuleType, object]:
    """The Python module of the file and its instance, registered as slicer.modules.<lower-case name>.

    As in Slicer, the file's folder is put on `sys.path`.
    """
    path = Path(path).resolve()
    name = path.stem
    addsPath = str(path.parent) not in sys.path
    if addsPath:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = ScriptedModule(name, path)
    parent.addsPath = addsPath
    setattr(slicer.modules, name.lower(), parent)
    instance = getattr(module, name)(parent)
    setattr(slicer.modules, f"{name}Instance", instance)
    slicer.app.moduleManager().moduleLoaded.emit(name)
    return module, instance


def showWidget(module: types.ModuleType, name: str) -> tuple[object, ScriptedModuleWidget]:
    """The module's widget object and the panel around it, shown and entered."""
    parent = getattr(slicer.modules, name.lower())
    widget = parent.widgetRepresentation()
    assert sys.modules[name] is module
    widget.show()
    widget.enter()
    slicer.app.processEvents()
    return widget.self(), widget


def unloadModule(name: str) -> None:
    """Clean up the module's widget and forget the module; its helpers stay imported."""
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
    parent = vars(slicer.modules).pop(name.lower(), None)
    for suffix in ("Widget", "Instance"):
        vars(slicer.modules).pop(name + suffix, None)
    sys.modules.pop(name, None)
    if parent is not None:
        folder = str(Path(parent.path).parent)
        if parent.addsPath and folder in sys.path:
            sys.path.remove(folder)
        if parent._widget is not None:
            parent._widget.deleteLater()
