"""The lines of the set-up section: what is there, what is missing, and what that means.

They cost milliseconds: packages' metadata is read here, and what only an import can tell (devices, memory, models) is
the child process's answer to "describe". Guarded by Testing/Slicer/test_installer.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import slicer
from slicer.i18n import tr as _

from CTGLIPSlicer.needed_packages import FREE_TEXT, PACKAGES, PYTORCH, TOTALSEGMENTATOR, lacks, requirements, versionOf

MODEL, COMPUTER = "Model", "Computer"
LITTLE_MEMORY_MB = 4000
WEIGHTS = Path("models", "default", "model.safetensors")

State = Literal["ok", "missing", "warning"]


@dataclass(frozen=True)
class StatusLine:
    """One line of the set-up section.

    Attributes:
        name: what it is about.
        state: "missing" where nothing can be asked without it, "warning" where something is lost.
        text: how it is, in plain words.
    """

    name: str
    state: State
    text: str


def statusLines(description: Mapping[str, Any] | None) -> list[StatusLine]:
    """All lines; `description` is the child's answer to "describe", None where it did not answer yet."""
    return [
        _torchLine(),
        _packagesLine(),
        _modelLine(description),
        _totalSegmentatorLine(description),
        _freeTextLine(),
        _computerLine(description),
    ]


def hasPyTorchExtension() -> bool:
    """Whether Slicer has the PyTorch extension."""
    return importlib.util.find_spec("PyTorchUtils") is not None


def hasTotalSegmentatorExtension() -> bool:
    """Whether Slicer has the TotalSegmentator extension."""
    return getattr(slicer.modules, "totalsegmentator", None) is not None


def _torchLine() -> StatusLine:
    lacking = lacks(PYTORCH)
    if not lacking:
        return StatusLine(PYTORCH, "ok", _("{version} is installed.").format(version=versionOf("torch")))
    if hasPyTorchExtension():
        text = _("{lacking}. Install puts it in through the PyTorch extension.").format(lacking=lacking[0])
    else:
        text = _(
            "{lacking}, and neither is the PyTorch extension: install that from the Extensions Manager (View menu), "
            "restart Slicer, then press Install here."
        ).format(lacking=lacking[0])
    return StatusLine(PYTORCH, "missing", text)


def _packagesLine() -> StatusLine:
    lacking = lacks(PACKAGES)
    if lacking:
        return StatusLine(PACKAGES, "missing", _("{lacking}.").format(lacking=", ".join(lacking)))
    names = ", ".join(line.split(">=")[0] for line in requirements()[PACKAGES])
    return StatusLine(PACKAGES, "ok", _("{names} are installed.").format(names=names))


def _modelLine(description: Mapping[str, Any] | None) -> StatusLine:
    models = (description or {}).get("models")
    if models:
        names = ", ".join(f"{model['name']} ({model['licence']})" for model in models)
        return StatusLine(MODEL, "ok", _("{names}. Research software, not a medical device.").format(names=names))
    found = importlib.util.find_spec("CTGLIPLib")
    folders = found.submodule_search_locations if found else None
    if any((Path(folder) / WEIGHTS).is_file() for folder in folders or ()):
        return StatusLine(MODEL, "ok", _("The model that comes with the module is there."))
    text = _("The model that comes with the module is not there: install the CT-GLIP extension again.")
    return StatusLine(MODEL, "missing", text)


def _totalSegmentatorLine(description: Mapping[str, Any] | None) -> StatusLine:
    lacking = lacks(TOTALSEGMENTATOR)
    if lacking:
        text = _(
            "{lacking}. Without it organs come from a segmentation that you have or from the model's own, coarser head."
        ).format(lacking=lacking[0])
        return StatusLine(TOTALSEGMENTATOR, "warning", text)
    version = versionOf("TotalSegmentator")
    if description is not None and not description.get("totalsegmentator_weights"):
        text = _("{version} is installed; it downloads its weights when it first runs.").format(version=version)
        return StatusLine(TOTALSEGMENTATOR, "ok", text)
    return StatusLine(TOTALSEGMENTATOR, "ok", _("{version} is installed.").format(version=version))


def _freeTextLine() -> StatusLine:
    lacking = lacks(FREE_TEXT)
    if not lacking:
        return StatusLine(FREE_TEXT, "ok", _("Any words can be asked."))
    text = _("{lacking}. Without it only organs and findings of the catalogue can be asked.").format(lacking=lacking[0])
    return StatusLine(FREE_TEXT, "warning", text)


def _computerLine(description: Mapping[str, Any] | None) -> StatusLine:
    if description is None:
        return StatusLine(COMPUTER, "ok", _("Graphics card and memory are being looked up."))
    device = description.get("gpu") or _(
        "no graphics card that PyTorch can use; the processor is used, which is slower"
    )
    free = description.get("memory_free_mb")
    if free is None:
        return StatusLine(COMPUTER, "ok", _("{device}.").format(device=device))
    text = _("{device}; {free:.1f} GB of memory are free.").format(device=device, free=free / 1024)
    if free >= LITTLE_MEMORY_MB:
        return StatusLine(COMPUTER, "ok", text)
    return StatusLine(
        COMPUTER, "warning", _("{text} That is little: close other programs, or crop the volume.").format(text=text)
    )
