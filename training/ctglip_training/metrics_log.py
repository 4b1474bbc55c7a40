"""The record of a run: one line a step in metrics.jsonl, and the same figures as TensorBoard curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from CTGLIPLib.errors import DependencyError
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
        """Append the figures of a step."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._curves.add_scalar(name, value, step)


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
