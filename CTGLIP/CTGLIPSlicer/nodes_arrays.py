"""VTK images as arrays with their grids, and back: the one place that knows IJKToRAS and VTK's (k, j, i) order.

Everything outside has arrays in (i, j, k) and a Grid whose affine maps voxel centres to RAS mm. VTK stores i fastest,
so such an array is the transpose of the one in memory: views, no copies.
Guarded by Testing/Slicer/test_nodes_volumes.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from CTGLIPLib.errors import GeometryError, InputError

if TYPE_CHECKING:
    from CTGLIPLib.geometry import Grid
    from CTGLIPLib.volume import Volume


def scalarVolume(node: slicer.vtkMRMLScalarVolumeNode | None) -> Volume:
    """A view of the voxels of a volume node (label maps too), shape (i, j, k), and their grid.

    Raises:
        InputError: if the node is none, is no volume, holds no voxels, or several numbers a voxel.
        GeometryError: if it is under a transform.
    """
    from CTGLIPLib.volume import Volume

    requireUsable(node, "volume")
    name = node.GetName()
    image = node.GetImageData() if node.IsA("vtkMRMLScalarVolumeNode") else None
    if image is None or image.GetPointData() is None or image.GetPointData().GetScalars() is None:
        msg = f"{name} ({node.GetNodeTagName()}) holds no volume's voxels. Choose a loaded CT volume."
        raise InputError(msg)
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        msg = f"{name} holds {components} numbers a voxel (colours or vectors), expected one. Choose the CT itself."
        raise InputError(msg)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Volume(*arrayAndGrid(image, matrix))


def requireUsable(node: slicer.vtkMRMLTransformableNode | None, what: str) -> None:
    """Raise InputError unless there is a node, GeometryError if it is under a transform."""
    if node is None:
        msg = f"No {what} is chosen. Choose one, or load one first."
        raise InputError(msg)
    transform = node.GetParentTransformNode() if hasattr(node, "GetParentTransformNode") else None
    if transform is not None:
        msg = (
            f"{node.GetName()} is under the transform {transform.GetName()}, so its voxels do not lie where they are "
            "shown. Harden the transform (Data module, right click), or remove it."
        )
        raise GeometryError(msg)


def labelArray(image: slicer.vtkOrientedImageData | None) -> Volume | None:
    """A view of the voxels of a label map of a segmentation, and their grid; None where it has no voxels."""
    from CTGLIPLib.volume import Volume

    if image is None or min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return Volume(*arrayAndGrid(image, matrix))


def arrayAndGrid(image: vtk.vtkImageData, ijkToRas: vtk.vtkMatrix4x4) -> tuple[np.ndarray, Grid]:
    """A view of an image's scalars, shape (i, j, k), and their grid.

    Args:
        image: one number a voxel; its first voxel may have another index than 0, 0, 0.
        ijkToRas: from the image's own indices to RAS mm.
    """
    from CTGLIPLib.geometry import Grid

    first = np.array(image.GetExtent()[0::2])
    shape = image.GetDimensions()
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape[::-1]).transpose(2, 1, 0)
    affine = np.array([[ijkToRas.GetElement(row, column) for column in range(4)] for row in range(4)])
    affine[:3, 3] += affine[:3, :3] @ first
    return array, Grid(shape, affine)


def orientedImage(array: np.ndarray, grid: Grid) -> slicer.vtkOrientedImageData:
    """An image with a copy of an array, shape (i, j, k), on `grid`."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*array.shape)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.affine.ravel().tolist())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    voxels = np.ascontiguousarray(array.transpose(2, 1, 0))
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(voxels.ravel(), deep=True))
    return image


def fillVolumeNode(node: slicer.vtkMRMLScalarVolumeNode, array: np.ndarray, grid: Grid) -> None:
    """Give a volume node a copy of an array, shape (i, j, k), on `grid`."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.affine.ravel().tolist())
    with slicer.util.NodeModify(node):
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array.transpose(2, 1, 0)))
        node.SetIJKToRASMatrix(matrix)
