"""`slicer.packaging` (Slicer 5.12) and `slicer.util.pip_install` that record instead of installing.

`remove()` plays Slicer 5.10, which has no `slicer.packaging`. As the real one, `pip_ensure` installs nothing in testing
mode unless `skip_in_testing=False`, asks first, and raises RuntimeError when the user declines.
Signatures are those of Slicer 5.12 (facts read in Base/Python/slicer/packaging.py).
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import slicer
import slicer.util
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.scripted_module import publish


@dataclass
class Record:
    """What was asked of pip."""

    ensured: list[dict[str, object]] = field(default_factory=list)
    installed: list[dict[str, object]] = field(default_factory=list)
    uninstalled: list[str] = field(default_factory=list)
    present: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    failure: Exception | None = None

    def failWith(self, error: Exception | None = None) -> None:
        """Let the next installations fail, by default as pip does."""
        self.failure = error or subprocess.CalledProcessError(1, "pip install")

    def setPresent(self, name: str, version: str = "1.0") -> None:
        """Pretend that a distribution is installed."""
        self.present[canonicalize_name(name)] = version
        self.missing.discard(canonicalize_name(name))

    def setMissing(self, name: str) -> None:
        """Pretend that a distribution is not installed."""
        self.missing.add(canonicalize_name(name))
        self.present.pop(canonicalize_name(name), None)


record = Record()


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a file, without comments and options."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def pip_check(req: str | Requirement | list[str | Requirement]) -> bool:
    """Whether all requirements are met; extras are not looked at."""
    return all(_isMet(each) for each in _requirements(req))


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing."""
    wanted = _requirements(requirements)
    missing = [str(each) for each in wanted if not _isMet(each)]
    record.ensured.append({"requirements": [str(each) for each in wanted], "missing": missing,
                           "constraints": constraints, "skip_packages": skip_packages, "requester": requester,
                           "prompt_install": prompt_install, "prompt_restart": prompt_restart})  # fmt: skip
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    if prompt_install and not slicer.util.confirmOkCancelDisplay(
        f"{len(missing)} Python packages need to be installed.",
        f"{requester} - Install Python Packages",
        detailedText="\n".join(missing),
    ):
        msg = "User declined package installation"
        raise RuntimeError(msg)
    return pip_install(missing, constraints=constraints, skip_packages=skip_packages, requester=requester)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: object = None,
    logCallback: object = None,
    completedCallback: object = None,
) -> list[str] | None:
    """Record an installation; what was named counts as installed from now on."""
    if skip_packages is not None and (no_deps_requirements is not None or not blocking):
        msg = "skip_packages goes neither with no_deps_requirements nor with blocking=False"
        raise ValueError(msg)
    _install(requirements, {"constraints": constraints, "skip_packages": skip_packages, "requester": requester})
    return None if skip_packages is None else list(skip_packages)


def pip_uninstall(requirements: str | list[str], blocking: bool = True) -> None:
    """Record a removal."""
    for name in [requirements] if isinstance(requirements, str) else requirements:
        record.uninstalled.append(name)
        record.setMissing(name)


def utilPipInstall(requirements: str | list[str]) -> None:
    """`slicer.util.pip_install` as all versions have it."""
    _install(requirements, {})


def install() -> None:
    """Publish the fake."""
    functions = (load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall)
    publish("packaging", **{function.__name__: function for function in functions})
    slicer.util.pip_install = utilPipInstall
    slicer.util.pip_uninstall = pip_uninstall


def remove() -> None:
    """Play Slicer 5.10: no `slicer.packaging`, until the end of the test."""
    sys.modules.pop("slicer.packaging", None)
    vars(slicer).pop("packaging", None)
    slicer.app.minorVersion = 10


def restore() -> None:
    """Forget what was asked, and undo `remove`."""
    record.__init__()
    install()


def _install(requirements: str | list[str], options: dict[str, object]) -> None:
    words = requirements.split() if isinstance(requirements, str) else list(requirements)
    record.installed.append({"requirements": words, **options})
    if record.failure is not None:
        raise record.failure
    for word in words:
        try:
            record.setPresent(Requirement(word).name)
        except InvalidRequirement:
            continue  # an option of pip, a path or an address


def _requirements(given: str | Requirement | list[str | Requirement]) -> list[Requirement]:
    if isinstance(given, Requirement):
        return [given]
    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(word) for word in given.split()]
    if isinstance(given, list):
        return [each if isinstance(each, Requirement) else Requirement(each) for each in given]
    msg = f"Expected str, Requirement, or list, got {type(given).__name__}"
    raise TypeError(msg)


def _isMet(requirement: Requirement) -> bool:
    name = canonicalize_name(requirement.name)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if name in record.missing:
        return False
    if name in record.present:
        return True
    try:
        return requirement.specifier.contains(importlib.metadata.version(name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False
