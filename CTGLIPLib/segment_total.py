"""Organs found by TotalSegmentator v2, which runs in a process of its own.

In a process of its own it can be stopped at once, gives all its memory back, starts nnU-Net's workers from no program
of the user's, and reads a configuration that we made for this one run: usage statistics off, the user's own
configuration untouched (Testing/Lib/test_segment.py). Weights are looked for, and downloaded to, where TotalSegmentator
always keeps them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from CTGLIPLib.errors import ConfigError, DependencyError, LabelError, UnfinishedError
from CTGLIPLib.files import home_folder
from CTGLIPLib.io import write_volume
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.segment_total_process import ANSWER, CT, ORGANS, end_tree
from CTGLIPLib.segmentation_io import read_segmentation
from CTGLIPLib.volume import Segmentation, Volume

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
DOING = "running TotalSegmentator"
POLL_S = 0.5
LOG, HOME = "log.txt", "home"
WAYS_ROUND = (
    "Or give a label map with --segmentation FILE, or use the model's own, coarser segmentation with --segmenter own."
)
PRIVATE_CONFIG = {
    "totalseg_id": "ctglip",
    "send_usage_stats": False,
    "prediction_counter": 0,
    "statistics_disclaimer_shown": True,
}


@dataclass(frozen=True)
class TotalSegmentatorSegmenter:
    """TotalSegmentator's task "total" (117 classes); needs `pip install ctglip[totalsegmentator]`.

    Attributes:
        device: "cpu", "mps", "cuda" or "cuda:1"; "auto" takes CUDA, else MPS, else the CPU.
        fast: whether to work at 3 mm (about a minute on a CPU) instead of 1.5 mm.
        ways_round: what messages propose to do without TotalSegmentator.

    Raises:
        ConfigError: for another device.
    """

    device: str = "auto"
    fast: bool = True
    ways_round: str = WAYS_ROUND

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            msg = f"TotalSegmentator runs on auto, cpu, mps, cuda or cuda:N, got {self.device!r}. Choose one of these."
            raise ConfigError(msg)

    def __call__(self, volume: Volume, progress: ProgressCallback | None = None) -> Segmentation:
        """The organs on the CT's grid.

        Raises:
            DependencyError: if TotalSegmentator or its weights are missing.
            UnfinishedError: if it did not finish.
            LabelError: if it found no organ.
            OutputError: if the temporary folder is full.
            Cancelled: if `progress` asks to stop.
        """
        report(progress, DOING, 0, 1)
        with tempfile.TemporaryDirectory(prefix="ctglip-") as name:
            folder = Path(name)
            write_volume(volume.array, volume.grid, folder / CT)
            exit_code = self._run(folder, progress)
            answer = _answer(folder, exit_code, self.ways_round)
            try:
                found = read_segmentation(folder / ORGANS, answer.names).segmentation
            except LabelError as error:
                seen = volume.grid.describe()
                msg = f"TotalSegmentator found no organ in this CT ({seen}). Check that it is a CT of the body."
                raise LabelError(msg) from error
        report(progress, DOING, 1, 1)
        source = f"TotalSegmentator {answer.version} total{' fast' if self.fast else ''}"
        return replace(found, source=source, vocabulary="totalsegmentator_v2")

    def _run(self, folder: Path, progress: ProgressCallback | None) -> int:
        """Run the process to its end; it is ended with all its workers when we are stopped. Its exit code."""
        module = "CTGLIPLib.segment_total_process"
        command = [
            sys.executable,
            "-m",
            module,
            str(folder),
            "--device",
            self.device,
            "--guarded",
            *(["--fast"] if self.fast else []),
        ]
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                command,
                env=_environment(folder),
                stdin=subprocess.PIPE,  # never written: it ends with this process, and so does the other one
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while process.poll() is None:
                    report(progress, DOING, 0, 1)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(POLL_S)
                return process.returncode
            finally:
                _end(process)


def _environment(folder: Path) -> dict[str, str]:
    """The process's environment: its own TotalSegmentator configuration, the user's weights, this package first."""
    home = folder / HOME
    home.mkdir()
    (home / "config.json").write_text(json.dumps(PRIVATE_CONFIG), encoding="utf-8")
    package_root = str(Path(__file__).resolve().parents[1])
    python_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "TOTALSEG_HOME_DIR": str(home),
        "TOTALSEG_WEIGHTS_PATH": str(weights_folder()),
        "PYTHONPATH": python_path,
    }


def weights_folder() -> Path:
    """Where TotalSegmentator keeps its weights on this machine."""
    if given := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(given)
    if home := os.environ.get("TOTALSEG_HOME_DIR"):
        return Path(home) / "nnunet" / "results"
    home_of_user = home_folder("TotalSegmentator's weights", "TOTALSEG_WEIGHTS_PATH")
    user = Path("/tmp") if str(home_of_user) == "/" else home_of_user  # noqa: S108 - TotalSegmentator's own rule in docker
    return user / ".totalsegmentator" / "nnunet" / "results"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with its workers; they may live on where it ended by itself, as in a crash."""
    if process.poll() is None or sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            end_tree(process.pid)
    process.wait()
    if process.stdin:
        process.stdin.close()


def _cause(folder: Path, exit_code: int) -> str:
    """Why the process ended without an answer: a signal, after which the log's last line is no cause, or that line."""
    if exit_code < 0:
        return f"it was ended by signal {-exit_code}, which often means that memory ran out"
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a message, which often means that memory ran out"


@dataclass(frozen=True)
class _Answer:
    """What the process answered: names of TotalSegmentator's ids, and its version."""

    names: dict[int, str]
    version: str


def _answer(folder: Path, exit_code: int, ways_round: str) -> _Answer:
    """What the process answered.

    Raises:
        DependencyError: if it answered with what is missing.
        UnfinishedError: if it did not answer.
    """
    path = folder / ANSWER
    if not path.is_file():
        cause = _cause(folder, exit_code)
        msg = f"TotalSegmentator did not finish: {cause}. Free memory and disk space and try again. {ways_round}"
        raise UnfinishedError(msg)
    answer = json.loads(path.read_text(encoding="utf-8"))
    if "not_installed" in answer:
        msg = (
            f"TotalSegmentator could not be loaded: {answer['not_installed']}. "
            f"Install it with `pip install ctglip[totalsegmentator]`. {ways_round}"
        )
        raise DependencyError(msg)
    if "no_weights" in answer:
        msg = (
            f"TotalSegmentator's weights are not in {weights_folder()} and could not be downloaded "
            f"({answer['no_weights']}). Connect to the internet once, or set TOTALSEG_WEIGHTS_PATH to a folder that "
            f"has them. {ways_round}"
        )
        raise DependencyError(msg)
    return _Answer({int(number): name for number, name in answer["names"].items()}, str(answer["version"]))
