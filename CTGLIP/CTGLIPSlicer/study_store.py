"""The files of the studies that were asked, in one temporary folder; a study that did not change is written once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import slicer

from CTGLIPSlicer.session_types import StudyInputs
from CTGLIPSlicer.temporary_folders import newFolder

MOST_STUDIES = 4
"""Studies whose files are kept; the one not asked for longest goes first."""

Key = tuple[str, str]


class StudyFilesLike(Protocol):
    """Where an exported study lies; see `nodes.StudyFiles`."""

    ct: Path
    segmentation: Path | None
    names: Path | None
    warnings: tuple[str, ...]


Writing = Generator[None, None, StudyFilesLike]
"""Files being written: it yields wherever the window may be drawn, and returns the files."""


class Exporter(Protocol):
    """Writes CT and organs into a folder, at once or in steps; see `nodes.exportStudy` and `nodes.exportSteps`."""

    def __call__(self, volumeNode: object, segmentationNode: object | None, folder: Path) -> StudyFilesLike | Writing:
        """The files written, or the steps of writing them."""


class ContentKey(Protocol):
    """Tells whether voxels changed; see `nodes.contentKey`."""

    def __call__(self, volumeNode: object, segmentationNode: object | None) -> str:
        """Another text after every change."""


@dataclass(eq=False)
class StudyRecord:
    """A study's files.

    Attributes:
        folder: a folder of its own.
        nodeIds: the nodes that it came from; without them it is of no use.
        organs: where the child writes the organs that it finds; None where organs were given. Once written, they are
            given with every request, so that a restarted child need not find them again.
        organsNodeId: the segmentation node that was made of them; None where there is none.
    """

    folder: Path
    files: StudyFilesLike
    nodeIds: tuple[str, ...]
    organs: Path | None = None
    organsNodeId: str | None = None
    pictures: int = 0

    @property
    def hasOrgans(self) -> bool:
        """Whether the child found organs."""
        return self.organs is not None and self.organs.is_file()

    def request(self, inputs: StudyInputs) -> dict:
        """The STUDY of a request (docs/worker_protocol.md)."""
        segmentation, names = (self.organs, None) if self.hasOrgans else (self.files.segmentation, self.files.names)
        return {
            "ct": str(self.files.ct),
            "segmentation": None if segmentation is None else str(segmentation),
            "names": None if names is None else str(names),
            "segmenter": inputs.segmenter,
            "model": inputs.model,
            "device": inputs.device,
            "text_encoder_folder": inputs.textEncoderFolder or None,
            "name": studyName(inputs.volumeNode),
            "segmentation_name": inputs.segmentationNode.GetName() if segmentation and not self.hasOrgans else None,
            "organs_path": str(self.organs) if segmentation is None else None,
        }

    def inWords(self, message: str, inputs: StudyInputs) -> str:
        """The message with the nodes' names where it has names of the files, which the user never saw."""
        nodes = {self.files.ct: inputs.volumeNode, self.files.segmentation: inputs.segmentationNode}
        for path, node in nodes.items():
            if path is not None and node is not None:
                message = message.replace(str(path), node.GetName() or path.name)
        return message

    def newPicturePath(self) -> Path:
        """Where the next heat map may be written."""
        self.pictures += 1
        return self.folder / f"heat-{self.pictures}.nii"


@dataclass(frozen=True, eq=False)
class OrgansOfRecord:
    """The organs that the child found for a study, as `session_types.FoundOrgans`."""

    record: StudyRecord
    findNode: Callable[[str], object | None]

    @property
    def node(self) -> object | None:
        """The node in the scene that was made of them; None where there is none."""
        return self.findNode(self.record.organsNodeId) if self.record.organsNodeId else None

    @property
    def path(self) -> Path | None:
        """Their file; None where there is none any more."""
        return self.record.organs if self.record.hasOrgans else None


class StudyStore:
    """The studies' files, in Slicer's temporary folder; removed by `close` or when Slicer ends."""

    def __init__(
        self, exporter: Exporter, contentKey: ContentKey, findNode: Callable[[str], object | None] | None = None
    ) -> None:
        self._exporter = exporter
        self._contentKey = contentKey
        self._findNode = findNode or (lambda nodeId: slicer.mrmlScene.GetNodeByID(nodeId))
        self._records: dict[Key, StudyRecord] = {}
        self._folder: Path | None = None
        self._removeFolder: weakref.finalize | None = None

    @property
    def folder(self) -> Path | None:
        """The temporary folder; None where nothing was written."""
        return self._folder

    def find(self, inputs: StudyInputs) -> StudyRecord | None:
        """The study's files; None where it is new or changed since."""
        key = self._key(inputs)
        record = self._records.pop(key, None)
        if record is not None:
            self._records[key] = record  # the last one used is the last one dropped
        return record

    def write(self, inputs: StudyInputs) -> Generator[None, None, StudyRecord]:
        """Writes the study's files step by step and returns them; nothing is left where it is closed before its end.

        Raises:
            CTGLIPError: if the nodes cannot be used; see `nodes.exportStudy`.
            OSError: if the temporary folder cannot be written.
        """
        key = self._key(inputs)  # of the beginning: what changes meanwhile is another study
        if self._folder is None:
            self._folder = newFolder(Path(slicer.app.temporaryPath))
            self._removeFolder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="study-", dir=self._folder))
        try:
            files = self._exporter(inputs.volumeNode, inputs.segmentationNode, folder)
            if isinstance(files, Generator):
                files = yield from files
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        nodes = [node for node in (inputs.volumeNode, inputs.segmentationNode) if node is not None]
        organs = folder / "organs.seg.nrrd" if inputs.segmentationNode is None else None
        record = StudyRecord(folder, files, tuple(node.GetID() for node in nodes), organs)
        self._records[key] = record
        while len(set(map(id, self._records.values()))) > MOST_STUDIES:
            self.drop(next(iter(self._records.values())))
        return record

    def adopt(self, inputs: StudyInputs, segmentationNode: object) -> None:
        """Take a segmentation made of the organs that the child found for the same study, until it is edited."""
        record = self.find(inputs)
        if record is not None:
            record.organsNodeId = segmentationNode.GetID()
            self._records[self._contentKey(inputs.volumeNode, segmentationNode), ""] = record

    def found(self, record: StudyRecord) -> OrgansOfRecord:
        """The organs that the child found for a study."""
        return OrgansOfRecord(record, self._findNode)

    def drop(self, record: StudyRecord) -> None:
        """Remove a study's files."""
        self._records = {key: other for key, other in self._records.items() if other is not record}
        shutil.rmtree(record.folder, ignore_errors=True)

    def dropGone(self) -> None:
        """Remove the files of studies whose nodes are no longer in the scene."""
        for record in list(self._records.values()):
            if any(self._findNode(nodeId) is None for nodeId in record.nodeIds):
                self.drop(record)

    def holds(self, inputs: StudyInputs) -> bool:
        """Whether the study's nodes are still those of the scene."""
        nodes = [node for node in (inputs.volumeNode, inputs.segmentationNode) if node is not None]
        return all(node.GetID() is not None and self._findNode(node.GetID()) is node for node in nodes)

    def clear(self) -> None:
        """Remove the files of all studies."""
        for record in list(self._records.values()):
            self.drop(record)

    def close(self) -> None:
        """Remove all files and the folder."""
        self._records.clear()
        if self._removeFolder is not None:
            self._removeFolder()
        self._folder = self._removeFolder = None

    def _key(self, inputs: StudyInputs) -> Key:
        finder = "" if inputs.segmentationNode is not None else inputs.segmenter
        if finder == "own":
            finder += f" {inputs.model}"
        return self._contentKey(inputs.volumeNode, inputs.segmentationNode), finder


def studyName(volumeNode: object) -> str:
    """The volume's name as results may show it: without anything that looks like a folder."""
    return (volumeNode.GetName() or "volume").replace("/", "_").replace("\\", "_")
