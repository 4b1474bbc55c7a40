"""Writes what is made from other files: the two lists of shipped files, the terminology file and the icon.

Run it after a file was added to CTGLIP/ or CTGLIPLib/: `python Testing/CMake/make_extension_files.py`. Slicer ships
only what its CMake lists name; Testing/Slicer/test_extension_files.py fails when they are out of step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE, LIBRARY = REPOSITORY / "CTGLIP", REPOSITORY / "CTGLIPLib"
ICON = MODULE / "Resources" / "Icons" / "CTGLIP.png"
NEVER_SHIPPED = ("__pycache__", "CMakeLists.txt", ".pyc", ".DS_Store")

TEMPLATE = """\
# The lists are written by Testing/CMake/make_extension_files.py.
set(MODULE_NAME {name})

set(MODULE_PYTHON_SCRIPTS
{scripts}
  )

set(MODULE_PYTHON_RESOURCES
{resources}
  )

slicerMacroBuildScriptedModule(
  NAME ${{MODULE_NAME}}
  SCRIPTS ${{MODULE_PYTHON_SCRIPTS}}
  RESOURCES ${{MODULE_PYTHON_RESOURCES}}
  {option}
  )
{end}"""
TESTED = """
if(BUILD_TESTING)
  slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)
endif()
"""


def shipped_files(folder: Path) -> tuple[list[str], list[str]]:
    """The scripts and the other files of a folder, as paths inside it, sorted."""
    files = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    scripts = [name for name in files if name.endswith(".py")]
    return scripts, [name for name in files if name not in scripts]


def cmake_text(folder: Path) -> str:
    """The CMakeLists.txt of CTGLIP/, or of CTGLIPLib/, which lies beside it as a package of its own."""
    scripts, resources = shipped_files(folder)
    module = folder == MODULE
    return TEMPLATE.format(
        name=folder.name,
        scripts="\n".join(f"  {name}" for name in scripts),
        resources="\n".join(f"  {name}" for name in resources),
        option="WITH_GENERIC_TESTS" if module else "WITH_SUBDIR",
        end=TESTED if module else "",
    )


def main() -> None:
    """Write all of them."""
    sys.path[:0] = [str(REPOSITORY), str(MODULE), str(Path(__file__).parent)]
    from draw_icon import draw_icon

    from CTGLIPSlicer import terminology

    terminology.TERMINOLOGY_FILE.write_text(terminology.terminologyJson(), encoding="utf-8")
    draw_icon().save(ICON)
    for folder in (MODULE, LIBRARY):
        (folder / "CMakeLists.txt").write_text(cmake_text(folder), encoding="utf-8")


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(path.name.endswith(end) or end in path.parts for end in NEVER_SHIPPED):
            yield path


if __name__ == "__main__":
    main()
