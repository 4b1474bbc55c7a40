"""The extension's CMake files: accepted as they are, shipped whole, run from the staged tree; wrong ones are refused.

cmake and ctest come from PyPI. The stand-in for Slicer is Testing/CMake/stand_in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = REPOSITORY / "Testing" / "CMake" / "stand_in"
MODULES = Path("lib", "Slicer-5.12", "qt-scripted-modules")
SCRIPTS = Path(sys.executable).parent

EXTENSION = """\
cmake_minimum_required(VERSION 3.16.3...3.28.0 FATAL_ERROR)
project(Small LANGUAGES NONE)
set(EXTENSION_HOMEPAGE "https://example.org/Small")
set(EXTENSION_CATEGORY "Segmentation")
set(EXTENSION_CONTRIBUTORS "A. Author")
set(EXTENSION_DESCRIPTION "Small")
set(EXTENSION_ICONURL "https://example.org/icon.png")
set(EXTENSION_SCREENSHOTURLS "https://example.org/a.png https://example.org/b.png")
set(EXTENSION_DEPENDS "NA")
find_package(Slicer REQUIRED)
include(${Slicer_USE_FILE})
add_subdirectory(Small)
include(${Slicer_EXTENSION_GENERATE_CONFIG})
include(${Slicer_EXTENSION_CPACK})
"""
MODULE = """\
slicerMacroBuildScriptedModule(
  NAME Small
  SCRIPTS Small.py Helpers/tool
  RESOURCES Resources/Small.txt
  WITH_GENERIC_TESTS
  )
slicer_add_python_unittest(SCRIPT Small.py)
"""


def tool(name: str) -> str:
    """The program beside this Python, else on the PATH; the test is skipped where there is none."""
    found = shutil.which(name, path=f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is missing: pip install cmake")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    python = f"-DSLICER_STAND_IN_PYTHON={sys.executable}"
    return run(tool("cmake"), "-S", source, "-B", build, f"-DSlicer_DIR={STAND_IN}", python)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The repository, configured as an extension; the staged files lie in it."""
    if shutil.which("cc") is None and shutil.which("c++") is None and sys.platform != "win32":
        pytest.skip("a C and a C++ compiler are missing, which project() of an extension looks for")
    folder = tmp_path_factory.mktemp("extension") / "build"
    done = configure(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_extension_asks_for_what_slicer_gives(build):
    assert (build / "extension.txt").read_text().splitlines() == [
        "name CTGLIP",
        "modules CTGLIPLib CTGLIP",
        "category Segmentation",
        "depends PyTorch TotalSegmentator",
    ]


def test_the_staged_tree_has_module_library_model_and_data_side_by_side(build):
    staged = tree(build / MODULES)
    assert {"CTGLIP.py", "CTGLIPSlicer/widget.py", "Resources/UI/CTGLIP.ui", "Resources/Icons/CTGLIP.png"} <= staged
    assert {"CTGLIPLib/__init__.py", "CTGLIPLib/data/__init__.py", "CTGLIPLib/data/organs.csv"} <= staged
    assert {"CTGLIPLib/models/__init__.py", "CTGLIPLib/models/default/model.safetensors"} <= staged
    assert {name.split("/")[0] for name in staged} == {"CTGLIP.py", "CTGLIPSlicer", "CTGLIPLib", "Resources"}


def test_the_package_has_the_same_files(build, tmp_path):
    done = run(tool("cmake"), "--install", build, "--prefix", tmp_path)
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / MODULES) == tree(build / MODULES)


def test_the_modules_own_tests_pass_from_the_staged_tree(build):
    listed = run(tool("ctest"), "--test-dir", build, "--show-only")
    names = ("nomainwindow_CTGLIP_generic", "py_CTGLIP", "py_shipped_files_unittest")
    assert all(name in listed.stdout for name in names)
    done = run(tool("ctest"), "--test-dir", build, "--output-on-failure", "--parallel", "2")
    assert done.returncode == 0, done.stdout
    assert "100% tests passed" in done.stdout


@pytest.fixture
def small(tmp_path):
    """A small extension that is accepted."""
    folder = tmp_path / "source"
    for name in ("Small/Small.py", "Small/Helpers/tool.py", "Small/Resources/Small.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (folder / "CMakeLists.txt").write_text(EXTENSION)
    (folder / "Small" / "CMakeLists.txt").write_text(MODULE)
    return folder


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_small_extension_is_accepted(small, tmp_path):
    done = configure(small, tmp_path / "build")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "build" / MODULES) == {"Small.py", "Helpers/tool.py", "Resources/Small.txt"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Small.py Helpers/tool", "Small.py Helpers/tool Other.py", "Small lists Other.py, which does not exist"),
        ("Small.py Helpers/tool", "Small.py", "Small does not list Helpers/tool.py: not in the package"),
        ("RESOURCES Resources/Small.txt", "", "Small does not list Resources/Small.txt: not in the package"),
        ("Resources/Small.txt", "../Small/Resources/Small.txt", "which would land outside the module's folder"),
        ("NAME Small", "WITH_TESTS NAME Small", "slicerMacroBuildScriptedModule has no argument WITH_TESTS"),
        ("NAME Small\n", "", "slicerMacroBuildScriptedModule needs NAME"),
        ("SCRIPTS Small.py Helpers/tool", "", "Small lists no SCRIPTS"),
        ("(SCRIPT Small.py)", "(SCRIPT Tests.py)", "slicer_add_python_unittest: there is no script 'Tests.py'"),
        ("(SCRIPT Small.py)", "(SCRIPT Helpers/tool.py)", "'Helpers/tool.py' would be looked for in the build"),
        ("(SCRIPT Small.py)", "(FILE Small.py)", "slicer_add_python_unittest has no argument FILE"),
    ],
    ids=[
        "missing file",
        "unlisted script",
        "unlisted resource",
        "outside",
        "argument",
        "name",
        "none",
        "test",
        "folder",
        "FILE",
    ],
)
def test_a_wrong_module_is_refused(small, tmp_path, old, new, message):
    change(small / "Small" / "CMakeLists.txt", old, new)
    done = configure(small, tmp_path / "build")
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('DESCRIPTION "Small"', 'DESCRIPTION ""', "EXTENSION_DESCRIPTION is empty"),
        ('set(EXTENSION_DEPENDS "NA")\n', "", "EXTENSION_DEPENDS is empty"),
        ("a.png https", "a.png;https", "EXTENSION_SCREENSHOTURLS is a list, expected one quoted text"),
        ("https://example.org/icon.png", "http://example.org/icon.png", "expected a raw https address"),
        ("https://example.org/icon.png", "https://example.org/blob/main/icon.png", "expected a raw https address"),
        ("add_subdirectory(Small)\n", "", "no module was added before the extension's configuration"),
        ("include(${Slicer_EXTENSION_GENERATE_CONFIG})\n", "", "the packaging comes once"),
    ],
    ids=["description", "depends", "list", "http", "blob", "no module", "order"],
)
def test_wrong_metadata_are_refused(small, tmp_path, old, new, message):
    change(small / "CMakeLists.txt", old, new)
    done = configure(small, tmp_path / "build")
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


def test_a_library_that_is_not_the_staged_one_is_noticed(tmp_path):
    runner = STAND_IN.parent / "run_in_harness.py"
    done = run(sys.executable, runner, "generic", tmp_path / "CTGLIP.py", tmp_path)
    assert done.returncode != 0
    assert "expected it from" in done.stderr or "No module named 'CTGLIPLib'" in done.stderr
