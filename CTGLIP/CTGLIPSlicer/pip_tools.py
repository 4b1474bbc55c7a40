"""The ways in which Slicer offers pip: `slicer.packaging` from 5.12 on, `slicer.util.pip_install` before.

Conventions (guarded by Testing/Slicer/test_pip_tools.py):
- What Slicer brings is held at its version by a constraints file: a conflict is a message, never a broken Slicer.
- Nothing here asks: SlicerInstaller has asked once for everything.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Protocol

import slicer

REQUESTER = "CTGLIP"
HELD = ("numpy", "scipy", "SimpleITK", "pillow", "requests", "pydicom", "packaging", "torch", "torchvision", "vtk")
"""Packages of Slicer and of the PyTorch extension that an installation must leave as they are."""


class PipTools(Protocol):
    """Installs Python packages; what fails raises, and pip's lines are printed."""

    def install(self, requirements: Sequence[str]) -> None:
        """Install what is not there in a fitting version, with what it needs."""

    def installAlone(self, requirement: str) -> None:
        """Install one package without its dependencies."""


class PackagingTools:
    """Slicer 5.12 and later: a dialog shows the progress and Slicer keeps responding."""

    def __init__(self, packaging: ModuleType) -> None:
        self._packaging = packaging

    def install(self, requirements: Sequence[str]) -> None:
        """Install what is not there in a fitting version, with what it needs."""
        from packaging.requirements import Requirement

        with heldVersions() as constraints:
            self._packaging.pip_ensure(
                [Requirement(text) for text in requirements],  # its first versions take no texts
                constraints=constraints,
                prompt_install=False,
                prompt_restart=False,
                requester=REQUESTER,
            )

    def installAlone(self, requirement: str) -> None:
        """Install one package without its dependencies."""
        self._packaging.pip_install([requirement, "--no-deps"], requester=REQUESTER)


class UtilTools:
    """Slicer 5.10: Slicer waits until pip ends."""

    def install(self, requirements: Sequence[str]) -> None:
        """Install what is not there in a fitting version, with what it needs."""
        with heldVersions() as constraints:
            slicer.util.pip_install([*requirements, "-c", str(constraints)])

    def installAlone(self, requirement: str) -> None:
        """Install one package without its dependencies."""
        slicer.util.pip_install([requirement, "--no-deps"])


def slicerPipTools() -> PipTools:
    """The way that this version of Slicer offers."""
    # "pydeps" was the name in preview versions before 5.12.
    for name in ("slicer.packaging", "slicer.pydeps"):
        with suppress(ImportError):
            module = importlib.import_module(name)
            if hasattr(module, "pip_ensure"):
                return PackagingTools(module)
    return UtilTools()


def installSkipping(tools: PipTools, requirements: Sequence[str], skipped: Sequence[str]) -> None:
    """Install packages with their dependencies, but for some that must stay as they are or away.

    slicer.packaging's own skip_packages is not used: it goes on silently after a dependency that failed, prints none
    of pip's lines, and Slicer 5.10 does not have it.
    """
    for requirement in requirements:
        tools.installAlone(requirement)
    importlib.invalidate_caches()
    needed = [text for requirement in requirements for text in dependenciesOf(requirement, skipped)]
    ours = {_nameOf(requirement) for requirement in requirements}
    tools.install([text for text in dict.fromkeys(needed) if _nameOf(text) not in ours])


def dependenciesOf(requirement: str, skipped: Sequence[str]) -> list[str]:
    """The requirements of an installed package that hold here, without `skipped` and without its other extras."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    leftOut = {canonicalize_name(name) for name in skipped}
    found = [Requirement(text) for text in importlib.metadata.requires(Requirement(requirement).name) or []]
    kept = [
        needed
        for needed in found
        if canonicalize_name(needed.name) not in leftOut
        and (needed.marker is None or needed.marker.evaluate({"extra": ""}))
    ]
    return [f"{needed.name}{_extras(needed.extras)}{needed.specifier}" for needed in kept]


@contextmanager
def heldVersions() -> Iterator[Path]:
    """A constraints file for pip that holds what Slicer brings at its version; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ctglip-pip-") as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("".join(f"{line}\n" for line in _held()), encoding="utf-8")
        yield path


def _held() -> Iterator[str]:
    from packaging.version import InvalidVersion, Version

    for name in HELD:
        with suppress(importlib.metadata.PackageNotFoundError, InvalidVersion):
            version = importlib.metadata.version(name)
            Version(version)  # pip refuses a whole file for one version that it cannot read
            yield f"{name}=={version}"
    if not _isInstalled("vtk"):
        yield "vtk<0"  # Slicer's own VTK is unknown to pip; one from the index beside it would break Slicer


def _isInstalled(name: str) -> bool:
    with suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(name))
    return False


def _nameOf(requirement: str) -> str:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return canonicalize_name(Requirement(requirement).name)


def _extras(extras: set[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""
