"""What the Slicer tests share: the application on slicer-core and PySide6, clean scenes, views, real studies.

The tests are skipped, with the reason, where slicer-core or PySide6 is missing.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NEEDED = {"slicer": "slicer-core", "PySide6": "PySide6-Essentials"}
MISSING = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
CHEST_STEPS = (4, 4, 2)

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["CTGLIP_OPENVINO"] = "off"  # but where it is tested: converting a network takes seconds
# `harness`; `patient` for the tiny model; `CTGLIPSlicer` without CTGLIP.py, which puts itself on the path
for folder in (HERE, HERE.parent / "Lib", REPOSITORY, REPOSITORY / "CTGLIP"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


class _SkippedModule(pytest.Module):
    """A test module whose packages are missing."""

    def collect(self):
        pytest.skip(f"needs {' and '.join(MISSING)} (pip install '.[dev]')", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Start the application before test modules are imported: they may import `qt` and `slicer.i18n`. Or skip them."""
    if HERE not in module_path.parents:
        return None
    if MISSING:
        return _SkippedModule.from_parent(parent, path=module_path)
    from harness import application

    application.start()
    return None


@pytest.fixture(autouse=True)
def _noNetwork(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        msg = "tests must not use the network"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def slicerApp():
    """`slicer.app` of the harness, started once."""
    from harness import application

    return application.start()


@pytest.fixture
def scene(slicerApp) -> Iterator[object]:
    """The empty MRML scene. Exceptions in slots and observers, and VTK errors, fail the test."""
    import slicer
    from harness import application

    application.clear()
    yield slicer.mrmlScene
    exceptions, errors = list(slicerApp.problems.exceptions), list(slicerApp.problems.vtkErrors)
    application.clear()
    assert not exceptions, "an exception in a slot or observer:\n" + "\n".join(exceptions)
    assert not errors, "VTK errors:\n" + "\n".join(errors)


@pytest.fixture
def views(scene, slicerApp) -> Iterator[object]:
    """The layout manager with the slice views Red, Green and Yellow and the 3D view; closed after the test."""
    from harness import application

    application.start(views=True)
    yield slicerApp.layoutManager()
    application.closeViews()


@pytest.fixture
def dialogs(slicerApp):
    """Recorder of pop-ups: what was shown, and answers to give."""
    return slicerApp.dialogs


@pytest.fixture
def packaging(scene):
    """Recorder of what was asked of pip (harness/packaging_fake.py)."""
    from harness import packaging_fake

    return packaging_fake.record


@pytest.fixture(scope="session")
def dataFolder() -> Path:
    """The folder of real CTs, `$CTGLIP_DATA` or `../shared/data`; the test is skipped where there is none."""
    folder = Path(os.environ.get("CTGLIP_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "abdomen_example" / "ct.nii.gz").is_file():
        pytest.skip(f"no real CT data at {folder}; set CTGLIP_DATA to run this test")
    return folder


@pytest.fixture
def chestScene(scene, dataFolder):
    """The chest CT with its organs as nodes, thinned to 128 x 128 x 67 voxels of 2.8 x 2.8 x 5 mm (StudyNodes)."""
    from harness import study_nodes

    return study_nodes.addStudy(study_nodes.chestArrays(dataFolder, CHEST_STEPS), "chest")


@pytest.fixture
def fullChestScene(scene, dataFolder):
    """The chest CT with its organs at full resolution (512 x 512 x 133)."""
    from harness import study_nodes

    return study_nodes.addStudy(study_nodes.chestArrays(dataFolder), "chest")


@pytest.fixture
def abdomenScene(scene, dataFolder):
    """The abdomen CT with its TotalSegmentator v1 organs as nodes (122 x 101 x 112 voxels of 3 mm)."""
    from harness import study_nodes

    return study_nodes.addStudy(study_nodes.abdomenArrays(dataFolder), "abdomen")


@pytest.fixture
def patientScene(scene):
    """The patient of blobs (Testing/Lib/patient.py, 40 x 34 x 28 voxels) as nodes: needs no data."""
    import numpy as np
    from harness import study_nodes
    from patient import make_patient

    volume, organs = make_patient()
    names = dict(enumerate(organs.names, start=1))
    arrays = study_nodes.StudyArrays(volume.array, organs.layers[0].astype(np.uint8), volume.grid, names)
    return study_nodes.addStudy(arrays, "patient")


@pytest.fixture
def played(slicerApp) -> Iterator[object]:
    """A session of fakes, and what it told (session_rig.Played)."""
    from session_rig import Played

    made = Played()
    yield made
    made.session.close()


@pytest.fixture
def rig(patientScene):
    """The panel with the patient of blobs, a stand-in for the child process and one for the installer."""
    from panel_rig import PanelRig

    rig = PanelRig()
    rig.study = patientScene
    rig.enter()
    yield rig
    rig.close()


@pytest.fixture(scope="session")
def tinyModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights (Testing/Lib/patient.py); not to be changed."""
    from patient import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny").folder
