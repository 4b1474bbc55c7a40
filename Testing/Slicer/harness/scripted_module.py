"""Base classes of scripted modules and translation: the modules `slicer.ScriptedLoadableModule` and `slicer.i18n`.

Own, small classes with the documented behaviour of Slicer's. Differs from Slicer: no "Reload and Test" section.
"""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path

import slicer
import slicer.util
from PySide6 import QtGui, QtWidgets


class ScriptedLoadableModule:
    """A module's description; `parent` takes title, categories, dependencies and so on."""

    def __init__(self, parent: object):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""
        for extension in (".svg", ".png"):
            icon = Path(self.resourcePath(f"Icons/{self.moduleName}{extension}"))
            if icon.is_file():
                parent.icon = QtGui.QIcon(str(icon))
                break
        slicer.__dict__.setdefault("selfTests", {})[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """Path of a file in the module's Resources folder."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """A paragraph with a link to the module's page."""
        page = docPage or self.moduleName
        address = f"https://slicer.readthedocs.io/{page}"
        return f'<p>For more information see the <a href="{address}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **arguments: object) -> None:
        """Run the module's test case class."""
        testClass = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test", None)
        if testClass is None:
            msg = f"{self.moduleName}Test not found"
            raise AssertionError(msg)
        test = testClass()
        test.messageDelay = msec
        test.runTest(**arguments)


class ScriptedLoadableModuleWidget:
    """A module's panel in the widget `parent`, or in a window of its own."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue(
            "Developer/DeveloperMode", default=False, converter=slicer.util.toBool
        )
        self.parent = parent or slicer.qMRMLWidget()
        if parent is None:
            self.parent.setLayout(QtWidgets.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        """Path of a file in the module's Resources folder."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Make the widgets."""

    def cleanup(self) -> None:
        """Undo connections before the module is unloaded."""

    def onReload(self) -> None:
        """Reload the module's file and make its panel anew."""
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """A module's functions and its parameter node."""

    def __init__(self, parent: object = None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """The scene's parameter node of this module, made when missing."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None and node.GetAttribute("ModuleName") != self.moduleName:
                node.SetAttribute("ModuleName", self.moduleName)  # closing the scene removes it
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return node if node is not None else slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        """All of the scene's parameter nodes of this module."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """A parameter node that is not yet in the scene."""
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's self-test."""

    messageDelay = 50

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Show what the test does; here it is only recorded."""
        slicer.app.dialogs.show("delayDisplay", message, None, {"msec": msec or requestedDelay})

    def runTest(self) -> None:
        """To be overridden: which tests run."""


def _text(text: str) -> str:
    if not isinstance(text, str):
        msg = f"expected a text to translate, got {type(text).__name__}"
        raise TypeError(msg)
    return text


def tr(text: str) -> str:
    """The text, untranslated."""
    return _text(text)


def translate(_context: str, text: str) -> str:
    """The text, untranslated."""
    return _text(text)


def getContext(sourceFile: str) -> str:
    """The translation context of a source file."""
    return Path(sourceFile).stem


def publish(name: str, **content: object) -> types.ModuleType:
    """Make the module `slicer.<name>` with that content."""
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(content)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
    return module


def install() -> None:
    """Publish both modules."""
    bases = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    names = {base.__name__: base for base in bases}
    publish("ScriptedLoadableModule", __all__=list(names), **names)
    publish("i18n", tr=tr, translate=translate, getContext=getContext)
