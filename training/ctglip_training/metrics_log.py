"""The record of a run: one line a step in metrics.jsonl, the same figures as TensorBoard curves, and pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from CTGLIPLib.errors import DependencyError, OutputError
from CTGLIPLib.files import whole_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, CURVES = "metrics.jsonl", "tensorboard"


class MetricsLog:
    """Appends to a run's record; what a stopped run wrote after its last checkpoint is dropped first.

    Args:
        out: the run's folder.
        step: the step that the run resumes after; lines of later steps are removed.

    Raises:
        DependencyError: if TensorBoard is not installed.
        OutputError: if the folder cannot be written.
    """

    def __init__(self, out: Path, step: int) -> None:
        self._path = out / METRICS
        _keep_until(self._path, step)
        self._curves = _open_curves(out / CURVES, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._curves.close()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the figures of a step.

        Raises:
            OutputError: if the disk is full.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                self._curves.add_scalar(name, value, step)
        except OSError as error:
            raise self._full(error) from error

    def add_picture(self, step: int, picture: np.ndarray | None) -> None:
        """Show a picture, uint8, shape (row, column, 3), after a step; None shows nothing.

        Raises:
            OutputError: if the disk is full.
        """
        if picture is None:
            return
        try:
            self._curves.add_image("example", picture, step, dataformats="HWC")
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutputError:
        msg = (
            f"Could not write {self._path} or the curves beside it: {error.strerror or error}. Free space, then start "
        )
        return OutputError(msg + "the same command again: it goes on after the last checkpoint, which is whole.")


class TimeLeft:
    """How fast a run is and how long it will take.

    Args:
        first: steps that were done before.
        steps: all steps.
        clock: seconds from any moment on.
    """

    def __init__(self, first: int, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._first, self._steps, self._clock = first, steps, clock
        self._started = self._last = clock()

    def after(self, patients: int) -> dict[str, float]:
        """Seconds since the start, and patients a second of the step that is just done and had so many."""
        now = self._clock()
        took, self._last = now - self._last, now
        return {"seconds": round(now - self._started, 2), "samples_per_s": round(patients / max(took, 1e-9), 4)}

    def left(self, step: int) -> str:
        """Hours and minutes left after `step` steps, as h:mm."""
        minutes = (self._last - self._started) / (step - self._first) * (self._steps - step) / 60
        return f"{int(minutes + 0.5) // 60}:{int(minutes + 0.5) % 60:02d}"


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines of steps after `step`, and a last line that was cut short."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if _step_of(line) <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _open_curves(folder: Path, step: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = f"Training writes TensorBoard curves, but {error}. Install the extra: pip install 'ctglip[training]'."
        raise DependencyError(msg) from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
