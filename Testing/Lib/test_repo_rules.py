"""Rules of the repository that no linter checks: sizes, imports, the torch-free core, no test without an assertion."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = sorted((REPOSITORY / "CTGLIPLib").rglob("*.py"))
TRAINING = sorted((REPOSITORY / "training" / "ctglip_training").rglob("*.py"))
TESTS = sorted([*(REPOSITORY / "Testing" / "Lib").glob("test_*.py"), *(REPOSITORY / "training").rglob("test_*.py")])
LONGEST_MODULE = 400
CORE = (
    "CTGLIPLib",
    "CTGLIPLib.query",
    "CTGLIPLib.study",
    "CTGLIPLib.io",
    "CTGLIPLib.segmentation_io",
    "CTGLIPLib.questions",
    "CTGLIPLib.result_files",
    "CTGLIPLib.cli",
)
HEAVY = ("torch", "transformers", "matplotlib", "totalsegmentator", "monai")
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


@pytest.mark.parametrize("path", [*LIBRARY, *TRAINING], ids=short)
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


@pytest.mark.parametrize("path", [*LIBRARY, *TRAINING], ids=short)
def test_no_module_prints(path):
    assert [node.lineno for node in ast.walk(parsed(path)) if called(node) == "print"] == []


def test_the_core_imports_no_heavy_package():
    load = f"import sys\nfor name in {CORE!r}: __import__(name)\n"
    code = f"{load}sys.exit(', '.join(set({HEAVY!r}) & set(sys.modules)) or 0)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")


def test_a_test_without_an_assertion_would_be_found():
    empty, full = ast.parse("def test_a(): f()"), ast.parse("def test_b():\n with pytest.raises(E): f()")
    assert not asserts(empty)
    assert asserts(full)


def test_the_shipped_models_card_is_the_documented_one():
    shipped = REPOSITORY / "CTGLIPLib" / "models" / "default" / "README.md"
    assert shipped.read_text(encoding="utf-8") == (REPOSITORY / "docs" / "model_card.md").read_text(encoding="utf-8")
