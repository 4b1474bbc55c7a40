"""A CT and its organ masks as nodes of the scene."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import slicer
import slicer.util

from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import read_array


@dataclass(frozen=True)
class StudyArrays:
    """CT and label map (both i,j,k, same grid) with the organ name of each label."""

    hu: np.ndarray
    labels: np.ndarray
    grid: Grid
    names: Mapping[int, str]

    def strided(self, steps: tuple[int, int, int]) -> StudyArrays:
        """Every n-th voxel along i, j and k; the kept voxels stay where they are."""
        every = tuple(slice(None, None, step) for step in steps)
        affine = self.grid.affine.copy()
        affine[:3, :3] *= steps
        hu, labels = (np.ascontiguousarray(array[every]) for array in (self.hu, self.labels))
        return StudyArrays(hu, labels, Grid(hu.shape, affine), self.names)


@dataclass(frozen=True)
class StudyNodes:
    """The nodes of a study; organs are named in the project's vocabulary."""

    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    arrays: StudyArrays

    @property
    def organs(self) -> list[str]:
        """Names of the segments, in their order."""
        segmentation = self.segmentation.GetSegmentation()
        return [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())]

    def segmentId(self, organ: str) -> str:
        """Id of the organ's segment."""
        return self.segmentation.GetSegmentation().GetSegmentIdBySegmentName(organ)

    def centreRas(self, organ: str) -> np.ndarray:
        """Centre of mass of the organ, from the arrays (no code of the module)."""
        number = next(number for number, name in self.arrays.names.items() if name == organ)
        ijk = np.argwhere(self.arrays.labels == number).mean(axis=0)
        return (self.arrays.grid.affine @ [*ijk, 1.0])[:3]


@cache
def chestArrays(data: Path, steps: tuple[int, int, int] = (1, 1, 1)) -> StudyArrays:
    """The LIDC chest CT with its 89 TotalSegmentator organs, named by structures.csv."""
    if steps != (1, 1, 1):
        return chestArrays(data).strided(steps)
    folder = data / "chest_lidc_0001"
    with (folder / "structures.csv").open(newline="", encoding="utf-8") as file:
        names = {int(row["id"]): row["structure"] for row in csv.DictReader(file)}
    return _arrays(folder / "ct.nii.gz", folder / "seg_totalseg_v2.nii.gz", names)


@cache
def abdomenArrays(data: Path, steps: tuple[int, int, int] = (1, 1, 1)) -> StudyArrays:
    """The abdomen CT with its TotalSegmentator v1 organs."""
    if steps != (1, 1, 1):
        return abdomenArrays(data).strided(steps)
    folder = data / "abdomen_example"
    maps = json.loads((data / "totalsegmentator_class_maps.json").read_text())
    names = {int(number): name for number, name in maps["v1_104"].items()}
    return _arrays(folder / "ct.nii.gz", folder / "seg_v1_104.nii.gz", names)


def _arrays(ct: Path, labels: Path, names: Mapping[int, str]) -> StudyArrays:
    (hu, grid, _), (masks, _, _) = read_array(ct), read_array(labels)
    return StudyArrays(hu.astype(np.int16), masks.astype(np.uint8), grid, names)


def addStudy(arrays: StudyArrays, name: str) -> StudyNodes:
    """Nodes of the study in the scene."""
    volume = addVolume(arrays.hu, arrays.grid, name)
    return StudyNodes(volume, addSegmentation(arrays, volume, f"{name} organs"), arrays)


def addVolume(array: np.ndarray, grid: Grid, name: str, nodeClass: str = "vtkMRMLScalarVolumeNode") -> object:
    """A volume node of an (i,j,k) array."""
    matrix = slicer.util.vtkMatrixFromArray(grid.affine)
    kji = np.ascontiguousarray(array.transpose(2, 1, 0))
    node = slicer.util.addVolumeFromArray(kji, matrix, name, nodeClass)
    node.CreateDefaultDisplayNodes()
    return node


def addSegmentation(arrays: StudyArrays, volume: slicer.vtkMRMLVolumeNode, name: str) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation node with one segment per present organ, colours from hashes of the names."""
    scene = slicer.mrmlScene
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "organ colours")
    colours.SetTypeToUser()
    colours.SetNumberOfColors(max(arrays.names) + 1)
    colours.SetColor(0, "background", 0, 0, 0, 0)
    for number, organ in arrays.names.items():
        colours.SetColor(number, organ, *(0.3 + 0.6 * np.modf(number * np.array([0.37, 0.61, 0.83]))[0]), 1.0)
    labelmap = addVolume(arrays.labels, arrays.grid, "labels", "vtkMRMLLabelMapVolumeNode")
    labelmap.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
    for extra in (labelmap, colours):
        scene.RemoveNode(extra)
    return node
