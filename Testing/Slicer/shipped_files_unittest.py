"""The installed extension is whole: run by Slicer's ctest, and without Slicer by Testing/CMake/run_in_harness.py."""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path


class ShippedFilesTest(unittest.TestCase):
    """What a file that is missing from the package would break."""

    def test_the_library_and_the_module_lie_side_by_side(self):
        library = Path(importlib.import_module("CTGLIPLib").__file__).parent
        module = Path(importlib.import_module("CTGLIPSlicer").__file__).parent
        assert library.parent in (module.parent, module.parent.parent)

    def test_every_module_of_the_library_can_be_imported_or_lacks_a_package_only(self):
        library = Path(importlib.import_module("CTGLIPLib").__file__).parent
        names = [path.stem for path in library.glob("*.py") if path.stem not in ("__init__", "__main__")]
        assert len(names) > 50
        lacking = []
        for name in names:
            try:
                importlib.import_module(f"CTGLIPLib.{name}")
            except ModuleNotFoundError as error:
                lacking.append(error.name or "")
        assert [name for name in lacking if name.startswith("CTGLIP")] == []

    def test_the_data_of_the_library_is_there(self):
        from CTGLIPLib.abnormalities import ABNORMALITIES
        from CTGLIPLib.organs import ORGANS
        from CTGLIPLib.text_bank import SHIPPED_BANK

        assert (len(ORGANS), len(ABNORMALITIES)) == (124, 69)
        assert SHIPPED_BANK.is_file()

    def test_the_shipped_model_is_there(self):
        from CTGLIPLib.model_list import SHIPPED

        files = {path.name for path in (SHIPPED / "default").iterdir()}
        assert {"model.safetensors", "config.json", "README.md"} <= files

    def test_the_modules_resources_are_there(self):
        resources = Path(importlib.import_module("CTGLIPSlicer").__file__).parents[1] / "Resources"
        for name in ("UI/CTGLIP.ui", "Icons/CTGLIP.png", "CTGLIP.term.json", "requirements.txt"):
            assert (resources / name).is_file(), name


if __name__ == "__main__":
    sys.exit(unittest.main())
