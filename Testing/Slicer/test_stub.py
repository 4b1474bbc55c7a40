"""CTGLIP.py: what Slicer sees, quick to load, and all else found from it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer")

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "CTGLIP" / "CTGLIP.py"
HEAVY = ("torch", "scipy", "SimpleITK", "matplotlib", "transformers")
LOAD = """
import json, sys, time
sys.path[:0] = [{tests!r}]
from harness import application
application.start()
from harness.module_loader import loadModule
before = set(sys.modules)
started = time.perf_counter()
module, instance = loadModule({path!r})
seconds = time.perf_counter() - started
import CTGLIPLib, CTGLIPSlicer
print(json.dumps({{"seconds": seconds, "heavy": [name for name in {heavy!r} if name in sys.modules],
                   "library": CTGLIPLib.__file__, "helpers": CTGLIPSlicer.__file__}}))
"""


def loadedInFreshInterpreter(path: Path) -> dict:
    code = LOAD.format(tests=str(REPOSITORY / "Testing" / "Slicer"), path=str(path), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def loaded(scene):
    from harness.module_loader import loadModule, unloadModule

    module, instance = loadModule(MODULE)
    yield module, instance
    unloadModule("CTGLIP")


def test_the_module_loads_fast_and_pulls_in_nothing_heavy():
    told = loadedInFreshInterpreter(MODULE)
    assert told["heavy"] == []
    assert told["seconds"] <= 0.2
    assert told["library"] == str(REPOSITORY / "CTGLIPLib" / "__init__.py")


def test_installed_the_library_lies_beside_the_module(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(REPOSITORY / "CTGLIP", tmp_path / "modules", ignore=ignore)
    shutil.copytree(REPOSITORY / "CTGLIPLib", tmp_path / "modules" / "CTGLIPLib", ignore=ignore)
    told = loadedInFreshInterpreter(tmp_path / "modules" / "CTGLIP.py")
    assert told["library"] == str(tmp_path / "modules" / "CTGLIPLib" / "__init__.py")
    assert told["helpers"] == str(tmp_path / "modules" / "CTGLIPSlicer" / "__init__.py")


def test_slicer_sees_title_category_help_and_thanks(loaded):
    parent = loaded[1].parent
    assert (parent.title, parent.categories, parent.dependencies) == ("CT-GLIP", ["Segmentation"], [])
    assert parent.contributors == ["CT-GLIP contributors"]
    assert "not a medical device" in parent.helpText
    assert "https://" in parent.helpText
    assert "2404.15272" in parent.acknowledgementText
    assert "TotalSegmentator" in parent.acknowledgementText


def test_sample_data_is_offered_once_slicer_has_started(loaded, slicerApp):
    import SampleData  # noqa: F401 - the harness's recorder

    def names():
        groups = getattr(slicer.modules, "sampleDataSources", {}).values()
        return {source.sampleName for group in groups for source in group}

    before = names()
    slicerApp.emit("startupCompleted()")
    assert names() - before == {"CTGLIPChest", "CTGLIPAbdomen"}


def test_scripts_get_the_logic_with_its_methods(loaded):
    logic = slicer.util.getModuleLogic("CTGLIP")
    assert type(logic).__name__ == "CTGLIPLogic"
    assert all(callable(getattr(logic, name)) for name in ("query", "heatmap", "batch", "exportResults", "describe"))
    assert logic.getParameterNode().GetSingletonTag() == "CTGLIP"


def test_panel_and_scripts_share_one_session(loaded):
    from harness.module_loader import showWidget

    widget, _panel = showWidget(loaded[0], "CTGLIP")
    assert widget.panel.session is slicer.util.getModuleLogic("CTGLIP").session


def test_reloading_gives_fresh_helpers_and_a_working_panel(loaded):
    from harness.module_loader import showWidget

    widget, _panel = showWidget(loaded[0], "CTGLIP")
    before = sys.modules["CTGLIPSlicer.session"].Session
    loaded[0].reloadHelpers()
    after = sys.modules["CTGLIPSlicer.session"].Session
    assert after is not before
    assert sys.modules["CTGLIPSlicer.logic"].State is sys.modules["CTGLIPSlicer.states"].State
    assert sys.modules["CTGLIPSlicer.session"].State is sys.modules["CTGLIPSlicer.states"].State
    widget.cleanup()
    assert widget.panel is None


def test_the_developers_reload_gives_a_new_panel_on_new_code(loaded):
    from harness.module_loader import showWidget

    widget, _panel = showWidget(loaded[0], "CTGLIP")
    oldPanel = widget.panel
    widget.onReload()
    again = slicer.modules.CTGLIPWidget
    assert again is not widget
    assert type(again.panel) is not type(oldPanel)
    assert again.panel.session is again.logic.session
    assert widget.panel is None


def test_cleaning_up_twice_does_no_harm(loaded):
    from harness.module_loader import showWidget

    widget, _panel = showWidget(loaded[0], "CTGLIP")
    session = widget.logic.session
    widget.cleanup()
    widget.cleanup()
    assert session.state.name == "IDLE"


def test_the_modules_own_test_passes(loaded):
    from CTGLIPSlicer.keep import kept

    loaded[1].runTest(msec=0)
    assert len(kept()) == 1


def test_the_entry_is_short():
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) < 150
