"""What ctest calls: a script of the staged extension on Testing/Slicer/harness, as Slicer would run it.

`run_in_harness.py unittest SCRIPT STAGED` runs the module's own test, or the script's unittest cases.
`run_in_harness.py generic SCRIPT STAGED` loads the module, opens, leaves and closes its panel, and closes the scene.
CTGLIPLib must come from the staged tree, not from an installed copy or the checkout.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import unittest
from pathlib import Path

HARNESS = Path(__file__).resolve().parents[1] / "Slicer"


def main() -> None:
    """Run what the command line says; a failure ends with another exit code than 0."""
    kind, script, staged = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path[:0] = [str(staged), str(HARNESS)]
    from harness import application

    application.start()
    library = Path(importlib.import_module("CTGLIPLib").__file__)
    if staged.resolve() not in library.resolve().parents:
        sys.exit(f"CTGLIPLib comes from {library}, expected it from {staged}")
    try:
        if kind == "generic":
            count = run_generic(script)
        elif staged.resolve() in script.resolve().parents:
            count = run_module_test(script)
        else:
            count = run_unittest(script)
    except Exception:  # noqa: BLE001 - the harness takes uncaught exceptions away from the interpreter
        sys.exit(traceback.format_exc())
    print(f"{count} passed, 0 failed")  # noqa: T201 - what ctest shows
    sys.stdout.flush()
    os._exit(0)  # VTK and Qt may crash while Python tears them down; the tests are over


def run_module_test(script: Path) -> int:
    """The test that the module brings, `NAMETest.runTest`."""
    from harness.module_loader import loadModule

    module, _instance = loadModule(script)
    getattr(module, f"{script.stem}Test")().runTest()
    return 1


def run_unittest(script: Path) -> int:
    """The unittest cases of a script; its number of tests."""
    sys.path.insert(0, str(script.parent))
    suite = unittest.defaultTestLoader.loadTestsFromName(script.stem)
    result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    return result.testsRun


def run_generic(script: Path) -> int:
    """The module's panel is made, entered, left; the scene is closed under it."""
    import slicer
    from harness import application
    from harness.module_loader import loadModule, showWidget

    module, _instance = loadModule(script)
    widget, panel = showWidget(module, script.stem)
    slicer.mrmlScene.Clear()
    panel.exit()
    widget.cleanup()
    problems = slicer.app.problems
    if problems.exceptions or problems.vtkErrors:
        sys.exit("\n".join([*problems.exceptions, *problems.vtkErrors]))
    application.clear()
    return 1


if __name__ == "__main__":
    main()
