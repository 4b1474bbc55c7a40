"""What every benchmark measures with: time in turns, peak memory, and the facts that the figures stand on.

A benchmark prints one JSON object with `facts`, its figures, and `rows`: the targets that it decides (`row`).
`python Testing/Benchmarks/run.py` runs them all.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

MIB = 1024.0**2


@dataclass(frozen=True)
class Row:
    """One target of the table in docs/benchmarks.md.

    Attributes:
        what: what is measured against what.
        target: in words.
        measured: the figure.
        unit: of the figure: "x" for a ratio.
        met: whether it is.
    """

    what: str
    target: str
    measured: float
    unit: str
    met: bool


def at_least(what: str, measured: float, target: float, unit: str = "x") -> dict[str, object]:
    """A target that the figure must reach."""
    return asdict(Row(what, f">= {target:g}", round(measured, 4), unit, measured >= target))


def at_most(what: str, measured: float, target: float, unit: str = "x") -> dict[str, object]:
    """A target that the figure must not exceed."""
    return asdict(Row(what, f"<= {target:g}", round(measured, 4), unit, measured <= target))


def data_folder() -> Path:
    """$CTGLIP_DATA, or the folder `shared/data` beside the project."""
    return Path(os.environ.get("CTGLIP_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def facts(*packages: str) -> dict[str, object]:
    """Machine, threads and versions; torch's threads where it is loaded."""
    torch = sys.modules.get("torch")
    return {
        "device": "cpu",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("ctglip", "numpy", "torch", *packages)},
    }


def in_turns(ways: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, dict[str, float]]:
    """Median and 90th percentile in seconds of each way; they take turns, so that all meet the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {
            "median_s": round(float(np.median(values)), 5),
            "p90_s": round(float(np.percentile(values, 90)), 5),
            "repeats": repeats,
            "warm_up": warm_up,
        }
        for name, values in seconds.items()
    }


def ratio(timed: Mapping[str, Mapping[str, float]], slow: str, fast: str) -> float:
    """How many times as long the slow way takes, by the medians."""
    return timed[slow]["median_s"] / timed[fast]["median_s"]


class PeakMemory:
    """Within it, resident memory is watched every 2 ms; `mib` is the highest above what there was at its start.

    Freed memory that the allocator keeps counts as used, so measure each way in a process of its own.
    """

    mib = 0.0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        self._start = self._highest = _resident()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watch.join()
        self.mib = round((max(self._highest, _resident()) - self._start) / MIB, 1)

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            self._highest = max(self._highest, _resident())


def show(report: Mapping[str, object]) -> None:
    """Print a report as JSON."""
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def _resident() -> int:
    """Bytes of this process in memory (Linux)."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
