"""The process in which TotalSegmentator runs: `python -m CTGLIPLib.segment_total_process FOLDER`.

It reads FOLDER/ct.nii and writes FOLDER/organs.nii, then FOLDER/answer.json with the class names and the version, or
with what is missing. Any other failure ends it with a traceback and without an answer.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from pathlib import Path

CT, ORGANS, ANSWER = "ct.nii", "organs.nii", "answer.json"
TASK = "total"


def main() -> None:
    """Run TotalSegmentator on a folder's CT."""
    parser = argparse.ArgumentParser(prog="CTGLIPLib.segment_total_process")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    try:
        answer = segment(arguments.folder, arguments.device, arguments.fast)
    except ImportError as error:
        answer = {"not_installed": (str(error) or repr(error)).splitlines()[0]}
    (arguments.folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


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
