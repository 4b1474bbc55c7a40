"""Ask a CT in free text: the entry of the CT-GLIP module. What it does is in CTGLIPSlicer; see docs/slicer.md."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

HOMEPAGE = "https://github.com/CT-GLIP/SlicerCTGLIP"


def findPackages(here: Path) -> None:
    """Let Python find CTGLIPSlicer (beside this file) and CTGLIPLib (beside it when installed, else one level up)."""
    library = next((folder for folder in (here, here.parent) if (folder / "CTGLIPLib" / "__init__.py").is_file()), here)
    for folder in {str(library), str(here)} - set(sys.path):
        sys.path.insert(0, folder)  # before a CTGLIPLib of another version


findPackages(Path(__file__).resolve().parent)


class CTGLIP(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: object) -> None:
        super().__init__(parent)
        parent.title = "CT-GLIP"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []  # a missing one would keep the module from loading; Set up looks for them
        parent.contributors = ["CT-GLIP contributors"]
        parent.helpText = _(
            "Ask a CT in plain words and see the organs that show it, with a score for each. "
            "Research software, not a medical device: do not use it for diagnosis or treatment. "
            'See the <a href="{url}">documentation</a>.'
        ).format(url=HOMEPAGE)
        parent.acknowledgementText = _(
            "The method is that of Lin et al., CT-GLIP, 2024 (arXiv:2404.15272). "
            "Organs may be found by TotalSegmentator (Wasserthal et al., Radiology: Artificial Intelligence, 2023)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the tutorial's CTs in the Sample Data module; nothing is downloaded."""
    from CTGLIPSlicer import sample_data

    sample_data.registerSampleData()


class CTGLIPWidget(ScriptedLoadableModuleWidget):
    """The module's panel; CTGLIPSlicer.widget has all of it."""

    def __init__(self, parent: object = None) -> None:
        self.logic = CTGLIPLogic()  # before the base class, which may call setup
        self.panel = None
        super().__init__(parent)

    def setup(self) -> None:
        """Make the panel."""
        super().setup()
        from CTGLIPSlicer.widget import CTGLIPPanel

        self.panel = CTGLIPPanel(self.parent, session=self.logic.session)

    def enter(self) -> None:
        """The user opens the module."""
        from CTGLIPSlicer.terminology import loadTerminology

        loadTerminology()
        if self.panel is not None:
            self.panel.enter()

    def exit(self) -> None:
        """The user leaves the module."""
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self) -> None:
        """Slicer ends, or the module is loaded anew."""
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None
        self.logic.close()

    def onReload(self) -> None:
        """Load all of the module anew, not only this file."""
        self.cleanup()
        reloadHelpers()
        super().onReload()


def reloadHelpers() -> None:
    """Load what was imported of CTGLIPSlicer anew, imported modules before those that import them."""
    ours = {name: module for name, module in sys.modules.items() if name.startswith("CTGLIPSlicer.")}
    waiting = dict(ours)
    while waiting:
        needed = {name: _importsOf(module) & set(waiting) - {name} for name, module in waiting.items()}
        ready = [name for name, others in needed.items() if not others] or list(waiting)[:1]
        for name in ready:
            importlib.reload(waiting.pop(name))


def _importsOf(module: object) -> set[str]:
    """Names of the modules that a module's own names come from."""
    return {value.__name__ for value in vars(module).values() if type(value) is type(sys)} | {
        getattr(value, "__module__", None) or "" for value in vars(module).values()
    }


class CTGLIPLogic(ScriptedLoadableModuleLogic):
    """For scripts: `slicer.util.getModuleLogic("CTGLIP")` has the methods of CTGLIPSlicer.logic.ScriptLogic."""

    def __init__(self, session: object = None) -> None:
        super().__init__()
        from CTGLIPSlicer.logic import ScriptLogic

        self._scripts = scripts = ScriptLogic(session)
        self.query, self.heatmap, self.batch = scripts.query, scripts.heatmap, scripts.batch
        self.exportResults, self.describe, self.close = scripts.exportResults, scripts.describe, scripts.close

    @property
    def session(self) -> object:
        """The one conversation with the child process."""
        return self._scripts.session


class CTGLIPTest(ScriptedLoadableModuleTest):
    """Runs in Slicer's self tests; CTGLIPSlicer.self_test has the tests."""

    def runTest(self) -> None:
        """Ask a small scene made of numbers."""
        from CTGLIPSlicer import self_test

        for test in self_test.TESTS:
            slicer.mrmlScene.Clear()
            self.delayDisplay(test.__doc__)
            test(self)
        self.delayDisplay(_("All tests of CT-GLIP passed."))
