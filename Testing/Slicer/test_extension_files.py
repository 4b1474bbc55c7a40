"""CMake lists, .s4ext, the ExtensionsIndex entry, icon and tree say the same."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE, LIBRARY = REPOSITORY / "CTGLIP", REPOSITORY / "CTGLIPLib"
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
SCHEMA_FIELDS = {
    "$schema",
    "category",
    "scm_url",
    "scm_revision",
    "scm_type",
    "build_dependencies",
    "build_subdirectory",
    "enabled",
    "tier",
}
ORDER = (
    "cmake_minimum_required(VERSION 3.16.3...3.28.0 FATAL_ERROR)",
    "project(CTGLIP)",
    "set(EXTENSION_HOMEPAGE ",
    "set(EXTENSION_CATEGORY ",
    "set(EXTENSION_CONTRIBUTORS ",
    "set(EXTENSION_DESCRIPTION ",
    "set(EXTENSION_ICONURL ",
    "set(EXTENSION_SCREENSHOTURLS ",
    "set(EXTENSION_DEPENDS ",
    "find_package(Slicer REQUIRED)",
    "include(${Slicer_USE_FILE})",
    "add_subdirectory(CTGLIPLib)",
    "add_subdirectory(CTGLIP)",
    "## NEXT_MODULE",
    "include(${Slicer_EXTENSION_GENERATE_CONFIG})",
    "include(${Slicer_EXTENSION_CPACK})",
)


@pytest.fixture(scope="module")
def maker():
    sys.path.insert(0, str(REPOSITORY / "Testing" / "CMake"))
    import make_extension_files

    yield make_extension_files
    sys.path.remove(str(REPOSITORY / "Testing" / "CMake"))


@pytest.fixture(scope="module")
def metadata():
    return dict(re.findall(r'set\(EXTENSION_(\w+) "([^"]*)"\)', CMAKE))


@pytest.fixture(scope="module")
def s4ext():
    lines = (REPOSITORY / "CTGLIP.s4ext").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def index():
    return json.loads((REPOSITORY / "CTGLIP.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", [MODULE, LIBRARY], ids=lambda folder: folder.name)
def test_the_cmake_lists_are_the_tree(maker, folder):
    hint = f"run python {Path(maker.__file__).relative_to(REPOSITORY)}"
    assert (folder / "CMakeLists.txt").read_text(encoding="utf-8") == maker.cmake_text(folder), hint


def test_the_lists_leave_out_what_python_and_cmake_make(maker, tmp_path):
    for name in ("a.py", "data/b.csv", "__pycache__/a.pyc", "CMakeLists.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert maker.shipped_files(tmp_path) == (["a.py"], ["data/b.csv"])


def test_the_top_file_has_slicers_order():
    places = [CMAKE.find(text) for text in ORDER]
    assert -1 not in places
    assert places == sorted(places)


def test_s4ext_says_what_cmake_says(s4ext, metadata):
    same = {"homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"}
    assert {key: s4ext[key] for key in same} == {key: metadata[key.upper()] for key in same}


def test_the_index_entry_says_what_cmake_and_s4ext_say(index, s4ext, metadata):
    assert index["build_dependencies"] == metadata["DEPENDS"].split()
    assert index["category"] == metadata["CATEGORY"]
    assert (index["scm_url"], index["scm_revision"]) == (s4ext["scmurl"], s4ext["scmrevision"])
    assert (index["build_subdirectory"], str(index["tier"])) == (s4ext["build_subdirectory"], s4ext["tier"])


def test_the_index_entry_has_the_schemas_fields_only(index):
    assert set(index) <= SCHEMA_FIELDS
    assert {"$schema", "category", "scm_url"} <= set(index)
    assert index["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert index["tier"] in (1, 3, 5)


def test_s4ext_has_every_keyword(s4ext):
    assert set(s4ext) == {
        *("scm", "scmurl", "scmrevision", "depends", "build_subdirectory", "homepage", "contributors", "category"),
        *("iconurl", "status", "tier", "description", "screenshoturls", "enabled"),
    }


def test_every_address_is_in_the_one_repository_and_names_a_file_of_it(metadata, index):
    home = metadata["HOMEPAGE"]
    raw = home.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    pictures = [metadata["ICONURL"], *metadata["SCREENSHOTURLS"].split()]
    assert index["scm_url"] == f"{home}.git"
    assert all(picture.startswith(raw) for picture in pictures)
    assert [name for name in pictures if not (REPOSITORY / name.removeprefix(raw)).is_file()] == []


def test_the_module_names_the_same_homepage(metadata):
    tree = ast.parse((MODULE / "CTGLIP.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert metadata["HOMEPAGE"] in texts


def test_no_other_script_lies_beside_the_module():
    assert [path.name for path in MODULE.glob("*.py")] == ["CTGLIP.py"]


def test_no_dependency_keeps_the_module_from_loading():
    assert re.search(r"^\s*(self\.)?parent\.dependencies = \[\]", (MODULE / "CTGLIP.py").read_text(), re.MULTILINE)


def test_the_icon_is_128_pixels_wide_and_high_and_drawn_by_our_code(maker):
    from draw_icon import draw_icon

    icon, drawn = Image.open(maker.ICON), draw_icon()
    assert (icon.size, icon.format, icon.mode) == ((128, 128), "PNG", "RGBA")
    assert icon.tobytes() == drawn.tobytes()
    assert drawn.getpixel((50, 80))[:3] == (253, 231, 37)  # the liver, on the viewer's left
    assert drawn.getpixel((0, 0))[3] == 0


def test_the_description_says_that_it_is_no_medical_device(metadata):
    assert metadata["DESCRIPTION"].endswith("Research software, not a medical device.")
