"""The process in which TotalSegmentator runs: `python -m CTGLIPLib.segment_total_process FOLDER`.

It reads FOLDER/ct.nii and writes FOLDER/organs.nii, then FOLDER/answer.json with the class names and the version, or
with what is missing. Any other failure ends it with a traceback and without an answer.

With --guarded its standard input is a pipe that its parent holds open: when the parent is gone, however it died, the
process ends with all its workers and takes FOLDER, which holds the patient's CT, away (test_segment: `a killed parent
takes the process and its workers along`).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

CT, ORGANS, ANSWER = "ct.nii", "organs.nii", "answer.json"
TASK = "total"


def main() -> None:
    """Run TotalSegmentator on a folder's CT."""
    parser = argparse.ArgumentParser(prog="CTGLIPLib.segment_total_process")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--guarded", action="store_true")
    arguments = parser.parse_args()
    if arguments.guarded:
        watch_parent(arguments.folder)
    try:
        answer = segment(arguments.folder, arguments.device, arguments.fast)
    except ImportError as error:
        answer = {"not_installed": (str(error) or repr(error)).splitlines()[0]}
    (arguments.folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def watch_parent(folder: Path) -> None:
    """End this process, its workers and `folder` once standard input ends, which from here on is empty for others."""
    pipe = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        end_tree(os.getpid())

    threading.Thread(target=watch, daemon=True).start()


def end_tree(pid: int) -> None:
    """Kill a process that leads a group (start_new_session), and all that it started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], check=False, capture_output=True)  # noqa: S607
    else:
        os.killpg(pid, signal.SIGKILL)


def segment(folder: Path, device: str, fast: bool) -> dict[str, object]:
    """Write the organs of the folder's CT; the class names and the version, or what kept the weights away.

    Raises:
        ImportError: if TotalSegmentator or what it needs is missing.
    """
    from totalsegmentator.map_to_binary import class_map  # pyright: ignore[reportMissingImports] - optional
    from totalsegmentator.python_api import totalsegmentator  # pyright: ignore[reportMissingImports] - optional

    try:
        totalsegmentator(
            folder / CT, folder / ORGANS, ml=True, fast=fast, task=TASK, device=_total_device(device), quiet=True
        )
    except OSError as error:
        if not _is_of_the_network(error):
            raise
        return {"no_weights": type(error).__name__}
    return {"names": class_map[TASK], "version": _version()}


def _is_of_the_network(error: OSError) -> bool:
    """Whether a download failed: only the weights come over the network, by requests, which TotalSegmentator needs."""
    from requests import RequestException  # pyright: ignore[reportMissingModuleSource] - not a dependency of ours

    return isinstance(error, RequestException)


def _total_device(name: str) -> str:
    """TotalSegmentator's name of a device."""
    if name == "auto":
        from CTGLIPLib.encode import choose_device

        name = choose_device().type
    return name.replace("cuda", "gpu")


def _version() -> str:
    try:
        return importlib.metadata.version("TotalSegmentator")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    main()
