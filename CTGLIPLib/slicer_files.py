"""Files of 3D Slicer's segmentations (.seg.nrrd), read with their layers and written.

Guarded by Testing/Lib/test_segmentation_io.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTGLIPLib.errors import GeometryError, InputError, LabelError, OutputError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import from_sitk, to_sitk
from CTGLIPLib.label_layers import OrganLabel, assemble
from CTGLIPLib.label_values import EMPTY_MAP, used_ids, whole_labels
from CTGLIPLib.segmentation_names import vocabulary_of
from CTGLIPLib.slicer_segments import Segment, segment_header
from CTGLIPLib.volume import Segmentation


def nrrd_header(path: Path) -> dict[str, str]:
    """The keys of a NRRD header; empty where it cannot be read, which reading the voxels then reports."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return {}
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def names_in_one_layer(path: Path, segments: Iterable[Segment]) -> dict[int, str]:
    """The name of each label value where all segments lie in one layer.

    Raises:
        LabelError: if two segments have the same value.
    """
    names: dict[int, str] = {}
    for segment in segments:
        if segment.value in names:
            msg = f"{path.name} has two segments with the label value {segment.value}. Save it from Slicer again."
            raise LabelError(msg)
        names[segment.value] = segment.name
    return names


def read_layers(path: Path, header: Mapping[str, str], segments: Sequence[Segment]) -> Segmentation:
    """The organs of a Slicer segmentation with several layers.

    Args:
        path: the file.
        header: its keys.
        segments: what they describe.

    Raises:
        InputError: if the file cannot be read to its end.
        GeometryError: if it does not say where it lies in the patient.
        LabelError: if voxels and segments do not agree, there are no voxels, or two segments are the same organ.
    """
    arrays, grid = _components(path, header)
    if max(segment.layer for segment in segments) >= len(arrays):
        msg = f"{path.name} describes segments in more layers than its {len(arrays)}. Save it from Slicer again."
        raise LabelError(msg)
    layers = [whole_labels(array, path.name) for array in arrays]
    used = [set(used_ids(layer)) for layer in layers]
    described = {(segment.layer, segment.value) for segment in segments}
    unnamed = sorted({(layer, value) for layer, ids in enumerate(used) for value in ids} - described)
    if not any(used):
        raise LabelError(EMPTY_MAP.format(path.name))
    if unnamed or len(described) < len(segments):
        what = f"voxels of no segment (layer, value): {unnamed}" if unnamed else "two segments with one layer and value"
        msg = f"{path.name} has {what}. Save it from Slicer again."
        raise LabelError(msg)
    labels = [OrganLabel(s.layer, s.value, f"segment {s.value}", s.name) for s in segments if s.value in used[s.layer]]
    vocabulary = vocabulary_of(segment.name for segment in segments)
    return assemble(layers, labels, grid, f"Slicer segmentation {path.name}", vocabulary)


def _components(path: Path, header: Mapping[str, str]) -> tuple[list[np.ndarray], Grid]:
    if "NRRD_space" not in header:
        msg = f"{path} names no space (left-posterior-superior), so left and right cannot be known. Save it again."
        raise GeometryError(msg)
    try:
        image = sitk.ReadImage(str(path), imageIO="NrrdImageIO")
    except RuntimeError as error:
        msg = f"{path} could not be read to its end. It is truncated or corrupt; copy or save it again."
        raise InputError(msg) from error
    count = image.GetNumberOfComponentsPerPixel()
    images = [sitk.VectorIndexSelectionCast(image, layer) for layer in range(count)] if count > 1 else [image]
    components = [from_sitk(component) for component in images]
    return [array for array, _ in components], components[0][1]


def write_slicer(segmentation: Segmentation, path: Path, compress: bool = True) -> None:
    """Write a segmentation as Slicer does; organs without voxels stay as empty segments.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    dtype = np.uint8 if len(segmentation.names) < 256 else np.uint16
    layers = [to_sitk(layer.astype(dtype), segmentation.grid) for layer in segmentation.layers]
    image = layers[0] if len(layers) == 1 else sitk.Compose(layers)
    for key, value in segment_header(segmentation).items():
        image.SetMetaData(key, value)
    with whole_file(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=compress)
        except RuntimeError as error:
            msg = f"Could not write {path}. Free space or choose a folder that you may write to."
            raise OutputError(msg) from error
        if len(layers) > 1:  # Slicer's format calls the axis of layers a list, ITK writes "vector"
            temporary.write_bytes(temporary.read_bytes().replace(b"\nkinds: vector ", b"\nkinds: list ", 1))
