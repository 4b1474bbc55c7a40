"""What this machine can do: Python and torch, devices, memory, optional packages, models.

Anything may be missing, torch too. Guarded by Testing/Lib/test_worker_machine.py.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from CTGLIPLib.model_list import find_model, list_models, model_facts
from CTGLIPLib.segment_total import weights_folder
from CTGLIPLib.text_source import encoder_source

MEMORY_FILE = Path("/proc/meminfo")
FAST_WEIGHTS = "Dataset297_*"
"""TotalSegmentator's folder of the task "total" at 3 mm, the one that we run."""

logger = logging.getLogger(__name__)


def describe(models: Sequence[str] | None = None) -> dict[str, object]:
    """Everything that a setup page shows, as JSON-ready values.

    Args:
        models: names or folders; None takes every model of the list.

    Raises:
        CheckpointError: if one of `models` is none.
    """
    torch = _torch()
    folders = [entry.folder for entry in list_models()] if models is None else [find_model(m).folder for m in models]
    encoders = [find_model(str(folder)).config.text.encoder for folder in folders]
    return {
        "python": platform.python_version(),
        "torch": None if torch is None else str(torch.__version__),
        **_devices(torch),
        "memory_free_mb": free_memory_mb(),
        "totalsegmentator": _version("TotalSegmentator"),
        "totalsegmentator_weights": any(weights_folder().glob(FAST_WEIGHTS)),
        "text_encoder": torch is not None and any(can_encode_any_text(encoder) for encoder in encoders[:1]),
        "matplotlib": _is_installed("matplotlib"),
        "models": [_model(folder) for folder in folders],
    }


def free_memory_mb() -> int | None:
    """Memory that a program could still take, in MB; None where this system does not tell."""
    if sys.platform == "win32":
        return _windows_free_mb()
    try:
        lines = MEMORY_FILE.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) // 1024 if found else None


def can_encode_any_text(encoder: str) -> bool:
    """Whether phrases beyond the shipped bank can be embedded by the encoder of that name, given a torch that works."""
    if not _is_installed("transformers"):
        return False
    source = encoder_source(encoder)
    return _is_installed(source.package) if source.package else bool(source.hub or source.folder)


def _torch() -> ModuleType | None:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a half-installed torch on Windows
        logger.info("torch cannot be used: %s", type(error).__name__)
        return None
    return torch


def _devices(torch: ModuleType | None) -> dict[str, object]:
    """The device that "auto" takes, those that can be chosen, the graphics card's name and its memory."""
    count = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    has_mps = torch is not None and torch.backends.mps.is_available()
    names = ["cuda"] * bool(count) + [f"cuda:{n}" for n in range(1, count)] + ["mps"] * has_mps
    gpu = torch.cuda.get_device_properties(0) if torch is not None and count else None
    return {
        "device": (names or ["cpu"])[0],
        "devices": ["auto", "cpu", *names],
        "gpu": str(gpu.name) if gpu else "Apple MPS" if has_mps else None,
        "gpu_memory_mb": int(gpu.total_memory) >> 20 if gpu else None,
    }


def _model(folder: Path) -> dict[str, object]:
    model = find_model(str(folder))
    facts = model_facts(model)
    return {
        "name": folder.name,
        "folder": str(folder),
        "sha256": model.sha256,
        "licence": facts.licence,
        "data": facts.data,
        "knows": facts.knows,
        "threshold": model.config.score.threshold,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class _MemoryStatus(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("total", "free", "page_total", "page_free", "own", "own_free", "_")),
    )


def _windows_free_mb() -> int | None:
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll", None)
    if kernel is None or not kernel.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free) >> 20
