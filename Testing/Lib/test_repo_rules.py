"""Rules of the repository that no linter checks: sizes, imports, the torch-free core, no test without an assertion."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = sorted((REPOSITORY / "CTGLIPLib").rglob("*.py"))
TRAINING = sorted((REPOSITORY / "training" / "ctglip_training").rglob("*.py"))
SLICER = sorted((REPOSITORY / "CTGLIP").rglob("*.py"))
HARNESS = sorted(path for path in (REPOSITORY / "Testing" / "Slicer").rglob("*.py") if path.name[:5] != "test_")
TESTS = sorted(path for name in ("Testing", "training") for path in (REPOSITORY / name).rglob("test_*.py"))
LONGEST_MODULE = 400
FOR_SLICERS_START = {"slicer", "qt", "ctk", "vtk", "numpy", "CTGLIPSlicer", "CTGLIPLib.errors"}
"""What the Slicer module may import at file scope beside the standard library: Slicer imports it when it starts."""
WITH_QT = ("_widget", "_section", "widget")
"""Endings of the names of modules that may use Qt; all others work without a window."""
CORE = (
    "CTGLIPLib",
    "CTGLIPLib.abnormalities",
    "CTGLIPLib.checks",
    "CTGLIPLib.cli",
    "CTGLIPLib.geometry",
    "CTGLIPLib.io",
    "CTGLIPLib.model_list",
    "CTGLIPLib.organs",
    "CTGLIPLib.phrases",
    "CTGLIPLib.query",
    "CTGLIPLib.questions",
    "CTGLIPLib.result_files",
    "CTGLIPLib.result_reader",
    "CTGLIPLib.results",
    "CTGLIPLib.segmentation_io",
    "CTGLIPLib.slicer_segments",
    "CTGLIPLib.study",
    "CTGLIPLib.text_bank",
    "CTGLIPLib.volume",
    "CTGLIPLib.wording",
    "CTGLIPLib.worker",
    "CTGLIPLib.worker_commands",
    "CTGLIPLib.worker_machine",
)
HEAVY = ("torch", "transformers", "matplotlib", "totalsegmentator", "monai")
SLICER_HAS = ("numpy", "scipy", "SimpleITK")
LIGHT = (
    "CTGLIPLib.errors",
    "CTGLIPLib.organs",
    "CTGLIPLib.questions",
    "CTGLIPLib.results",
    "CTGLIPLib.slicer_segments",
    "CTGLIPLib.wording",
    "CTGLIPLib.worker",
)
"""What must load at once: in 3D Slicer's window, or before the worker says that it is ready."""
SLOW = ("scipy", "SimpleITK")
NOT_FOR_THE_LIBRARY = {"slicer", "qt", "ctk", "vtk", "ctglip_training"}


def short(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Top packages imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def at_file_scope(tree: ast.Module) -> Iterator[str]:
    """Modules that are imported with a module; not those for type checkers, nor those imported in functions."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_for_slicers_start(name: str) -> bool:
    """Whether a name imported at file scope is light enough."""
    return name.split(".")[0] in sys.stdlib_module_names or any(
        name == allowed or name.startswith(f"{allowed}.") for allowed in FOR_SLICERS_START
    )


def called(node: ast.AST) -> str:
    """The last name of what is called: `pytest.raises` gives "raises"; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def asserts(function: ast.AST) -> bool:
    """Whether a function asserts: assert, pytest.raises or warns, or a call to assert_...."""
    return any(
        isinstance(node, ast.Assert) or called(node) in {"raises", "warns"} or called(node).startswith("assert_")
        for node in ast.walk(function)
    )


@pytest.mark.parametrize("path", [*LIBRARY, *TRAINING, *SLICER, *HARNESS, *TESTS], ids=short)
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", TESTS, ids=short)
def test_every_test_asserts_something(path):
    tests = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"]
    assert tests
    assert [test.name for test in tests if not asserts(test)] == []


@pytest.mark.parametrize("path", LIBRARY, ids=short)
def test_the_library_imports_neither_slicer_nor_the_training(path):
    assert NOT_FOR_THE_LIBRARY.isdisjoint(imported(parsed(path)))


@pytest.mark.parametrize("path", TRAINING, ids=short)
def test_the_training_does_not_import_slicer(path):
    assert {"slicer", "qt", "ctk", "vtk", "CTGLIP"}.isdisjoint(imported(parsed(path)))


@pytest.mark.parametrize("path", SLICER, ids=short)
def test_the_slicer_module_imports_only_what_is_light_when_slicer_starts(path):
    assert [name for name in at_file_scope(parsed(path)) if not is_for_slicers_start(name)] == []


@pytest.mark.parametrize("path", [path for path in SLICER if not path.stem.endswith(WITH_QT)], ids=short)
def test_the_slicer_module_uses_qt_in_its_widgets_only(path):
    assert {"qt", "ctk"}.isdisjoint(imported(parsed(path)))


@pytest.mark.parametrize("path", SLICER, ids=short)
def test_no_child_process_of_the_slicer_module_opens_a_console_window(path):
    starts = [node for node in ast.walk(parsed(path)) if called(node) == "Popen"]
    assert [node.lineno for node in starts if "creationflags" not in {word.arg for word in node.keywords}] == []


def test_the_map_of_the_slicer_module_names_every_module_and_no_other():
    folder = REPOSITORY / "CTGLIP" / "CTGLIPSlicer"
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)`", text)) == {path.stem for path in folder.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", [*LIBRARY, *SLICER, *(REPOSITORY / "docs").glob("*.md")], ids=short)
def test_the_tests_that_a_module_names_exist(path):
    named = re.findall(r"Testing/\w+/[\w/]+\.py", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("path", [*LIBRARY, *TRAINING, *SLICER], ids=short)
def test_no_module_prints(path):
    assert [node.lineno for node in ast.walk(parsed(path)) if called(node) == "print"] == []


def run_python(code: str) -> tuple[int, str]:
    """Exit code and standard error of a fresh interpreter."""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    return found.returncode, found.stderr.strip()


@pytest.mark.parametrize(("modules", "unwanted"), [(CORE, HEAVY), (LIGHT, SLOW)])
def test_the_core_imports_no_heavy_package(modules, unwanted):
    load = f"import sys\nfor name in {modules!r}: __import__(name)\n"
    assert run_python(f"{load}sys.exit(', '.join(set({unwanted!r}) & set(sys.modules)) or 0)") == (0, "")


ONLY_WHAT_SLICER_HAS = f"""
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        is_pythons_own = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if not is_pythons_own and top not in {("CTGLIPLib", *SLICER_HAS)!r}:
            raise ModuleNotFoundError(f"3D Slicer has no {{name}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def test_the_core_imports_with_the_packages_that_slicer_has():
    load = f"{ONLY_WHAT_SLICER_HAS}for name in {CORE!r}: __import__(name)\n"
    assert run_python(load) == (0, "")
    assert "3D Slicer has no torch" in run_python(f"{load}import CTGLIPLib.encode")[1]


def test_a_scan_is_written_and_results_are_read_with_the_packages_that_slicer_has(tmp_path):
    use = """
import numpy as np
from pathlib import Path
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import read_volume, write_volume
from CTGLIPLib.segmentation_io import read_segmentation, write_segmentation
from CTGLIPLib.slicer_segments import segment_header
from CTGLIPLib.volume import Segmentation
labels = np.zeros((1, 8, 8, 8), np.uint16); labels[0, 2:5, 2:5, 2:5] = 1
grid = Grid((8, 8, 8), np.diag([20.0, 20, 20, 1]))
write_volume((labels[0] * 1000 - 1000).astype(np.int16), grid, folder / "ct.nii")
write_segmentation(Segmentation(labels, grid, ("liver",)), folder / "organs.seg.nrrd", compress=False)
assert read_volume(folder / "ct.nii").volume.array.max() == 0
assert read_segmentation(folder / "organs.seg.nrrd").segmentation.names == ("liver",)
"""
    code = f"{ONLY_WHAT_SLICER_HAS}from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n{use}"
    assert run_python(code) == (0, "")


def test_a_test_without_an_assertion_would_be_found():
    empty, full = ast.parse("def test_a(): f()"), ast.parse("def test_b():\n with pytest.raises(E): f()")
    assert not asserts(empty)
    assert asserts(full)


def test_what_is_heavy_when_slicer_starts_would_be_found():
    tree = ast.parse("import torch\nfrom CTGLIPLib import errors\nfrom CTGLIPLib.io import f\ndef g(): import scipy")
    assert [name for name in at_file_scope(tree) if not is_for_slicers_start(name)] == ["torch", "CTGLIPLib.io.f"]


def test_the_shipped_models_card_is_the_documented_one():
    shipped = REPOSITORY / "CTGLIPLib" / "models" / "default" / "README.md"
    assert shipped.read_text(encoding="utf-8") == (REPOSITORY / "docs" / "model_card.md").read_text(encoding="utf-8")
