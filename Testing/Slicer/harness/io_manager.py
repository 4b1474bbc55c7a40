"""`slicer.app.coreIOManager()`: loads and saves through the logics and storage nodes that Slicer's readers use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import slicer
import vtk

FILE_TYPES = {
    ".nii": "VolumeFile",
    ".nii.gz": "VolumeFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".mha": "VolumeFile",
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".mrb": "SceneFile",
    ".mrml": "SceneFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".txt": "TextFile",
    ".json": "TextFile",
    ".mrk.json": "MarkupsFile",
    ".vtk": "ModelFile",
    ".vtp": "ModelFile",
    ".stl": "ModelFile",
    ".ctbl": "ColorTableFile",
}
_LONGEST_FIRST = sorted(FILE_TYPES, key=len, reverse=True)


class IOManager:
    """Stands for qSlicerCoreIOManager."""

    def __init__(self, scene: slicer.vtkMRMLScene, applicationLogic: slicer.vtkSlicerApplicationLogic):
        self._scene = scene
        self._applicationLogic = applicationLogic

    def fileType(self, fileName: str) -> str:
        """The reader's file type by extension, "NoFile" for an unknown one."""
        extension = _extension(str(fileName))
        return FILE_TYPES[extension] if extension else "NoFile"

    def loadNodes(
        self,
        fileType: str,
        properties: Mapping[str, object],
        collection: vtk.vtkCollection | None = None,
        messages: slicer.vtkMRMLMessageCollection | None = None,
    ) -> bool:
        """Whether the file was loaded; the nodes are appended to `collection`."""
        fileName = properties["fileName"]
        _requireText(fileName)
        if not Path(fileName).is_file():
            return False
        if fileType == "SceneFile":
            return self._loadScene(fileName, bool(properties.get("clear", False)), messages)
        name = str(properties.get("name") or _stem(fileName))
        loaders = {
            "VolumeFile": lambda: _logic("Volumes").AddArchetypeVolume(fileName, name, _volumeOptions(properties)),
            "SegmentationFile": lambda: self._loadSegmentation(fileName, name, properties, messages),
            "MarkupsFile": lambda: self._byId(_logic("Markups").LoadMarkups(fileName, name, messages)),
            "ModelFile": lambda: _logic("Models").AddModel(fileName),
            "TableFile": lambda: _logic("Tables").AddTable(fileName, name),
            "ColorTableFile": lambda: _logic("Colors").LoadColorFile(fileName, name),
            "TextFile": lambda: self._loadText(fileName, name),
        }
        if fileType not in loaders:
            msg = f"the harness loads {sorted(loaders)}, not {fileType!r} ({fileName})"
            raise NotImplementedError(msg)
        node = loaders[fileType]()
        if node is not None and collection is not None:
            collection.AddItem(node)
        return node is not None

    def loadScene(self, fileName: str, clear: bool = True) -> bool:
        """Whether the .mrb or .mrml scene was loaded, by default in place of the present one."""
        _requireText(fileName)
        return self._loadScene(fileName, clear, None)

    def fileWriterFileType(self, node: slicer.vtkMRMLNode) -> str:
        """The writer's file type: here the node's class."""
        return node.GetClassName()

    def saveNodes(
        self,
        fileType: str,
        properties: Mapping[str, object],
        messages: slicer.vtkMRMLMessageCollection | None = None,
    ) -> bool:
        """Whether the node (or the scene, for "SceneFile") was written."""
        fileName = properties["fileName"]
        _requireText(fileName)
        if fileType == "SceneFile":
            return self._saveScene(fileName, messages)
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(fileName)
        storage = node.GetStorageNode()
        storage.SetFileName(fileName)
        if "useCompression" in properties:
            storage.SetUseCompression(int(bool(properties["useCompression"])))
        return bool(storage.WriteData(node))

    def _byId(self, nodeId: str | None) -> slicer.vtkMRMLNode | None:
        return self._scene.GetNodeByID(nodeId) if nodeId else None

    def _loadSegmentation(
        self,
        fileName: str,
        name: str,
        properties: Mapping[str, object],
        messages: slicer.vtkMRMLMessageCollection | None,
    ) -> slicer.vtkMRMLSegmentationNode | None:
        colours = self._byId(properties.get("colorNodeID"))
        opacities = bool(properties.get("autoOpacities", True))
        return _logic("Segmentations").LoadSegmentationFromFile(fileName, opacities, name, colours, messages)

    def _loadText(self, fileName: str, name: str) -> slicer.vtkMRMLTextNode | None:
        node = self._scene.AddNewNodeByClass("vtkMRMLTextNode", self._scene.GenerateUniqueName(name))
        storage = self._scene.AddNewNodeByClass("vtkMRMLTextStorageNode")
        storage.SetFileName(fileName)
        node.SetAndObserveStorageNodeID(storage.GetID())
        if storage.ReadData(node):
            return node
        self._scene.RemoveNode(node)
        self._scene.RemoveNode(storage)
        return None

    def _loadScene(self, fileName: str, clear: bool, messages: slicer.vtkMRMLMessageCollection | None) -> bool:
        if fileName.endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(fileName, clear, messages))
        self._scene.SetURL(fileName)
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def _saveScene(self, fileName: str, messages: slicer.vtkMRMLMessageCollection | None) -> bool:
        if fileName.endswith(".mrb"):
            return bool(self._scene.WriteToMRB(fileName, None, messages))
        if fileName.endswith(".mrml"):
            self._scene.SetURL(fileName)
            self._scene.SetRootDirectory(str(Path(fileName).resolve().parent))
            return bool(self._scene.Commit(None, messages))
        return bool(self._applicationLogic.SaveSceneToSlicerDataBundleDirectory(fileName))


def _logic(module: str) -> slicer.vtkMRMLAbstractLogic:
    return slicer.modules.byName(module).logic()


def _extension(fileName: str) -> str | None:
    name = Path(fileName).name.lower()
    return next((extension for extension in _LONGEST_FIRST if name.endswith(extension)), None)


def _stem(fileName: str) -> str:
    name = Path(fileName).name
    extension = _extension(fileName)
    return name[: -len(extension)] if extension else Path(fileName).stem


def _requireText(fileName: object) -> None:
    """Qt takes no pathlib.Path where a file name is text."""
    if not isinstance(fileName, str):
        msg = f"expected a file name as str, as Qt wants it; got {type(fileName).__name__} {fileName!r}"
        raise TypeError(msg)


def _volumeOptions(properties: Mapping[str, object]) -> int:
    """vtkSlicerVolumesLogic's bits."""
    unknown = set(properties) - {"fileName", "name", "labelmap", "center", "singleFile", "autoWindowLevel", "show",
                                 "discardOrientation", "colorNodeID"}  # fmt: skip
    if unknown:
        logging.getLogger(__name__).warning("volume reader ignores %s", sorted(unknown))
    bits = (("labelmap", 1, False), ("center", 2, False), ("singleFile", 4, False), ("autoWindowLevel", 8, True))
    return sum(bit for name, bit, default in bits if properties.get(name, default)) + (
        16 if properties.get("discardOrientation") else 0
    )
