"""Organ segmentations from and to files, and onto other grids.

Names decide which organ a label is, never bare ids: see `segmentation_names`. Guarded by
Testing/Lib/test_segmentation_io.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from CTGLIPLib.errors import GeometryError, LabelError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import Grid, overlap_fraction, same_grid
from CTGLIPLib.io import read_array, write_volume
from CTGLIPLib.label_layers import OrganLabel, assemble
from CTGLIPLib.label_names import image_stem
from CTGLIPLib.label_values import EMPTY_MAP, used_ids, whole_labels
from CTGLIPLib.mask_folder import read_mask_folder
from CTGLIPLib.nifti_names import names_in_nifti
from CTGLIPLib.organs import find_organ, readable_name
from CTGLIPLib.resample import parallel_axes
from CTGLIPLib.segmentation_names import (
    READABLE_VERSIONS,
    Vocabulary,
    names_of_label_map,
    open_vocabulary_warnings,
    vocabulary_of,
)
from CTGLIPLib.slicer_files import names_in_one_layer, nrrd_header, read_layers, write_slicer
from CTGLIPLib.slicer_segments import SIDE_CODES, segment_colour, segments_in
from CTGLIPLib.volume import Segmentation

SMALLEST_OVERLAP = 0.5
NAME_LIST_VERSION = 1


@dataclass(frozen=True, eq=False)
class LoadedSegmentation:
    """A segmentation as read, with what the user should know about it."""

    segmentation: Segmentation
    warnings: tuple[str, ...]


def read_segmentation(
    path: Path, names: Path | Mapping[int, str] | None = None, vocabulary: Vocabulary | None = None
) -> LoadedSegmentation:
    """The named organs of a label map, a Slicer segmentation, or a folder with one mask per organ.

    Organs without voxels are left out.

    Args:
        path: NIfTI, NRRD (.seg.nrrd too) or MetaImage file, or a folder of masks.
        names: a list of names for the ids of a label map; None takes them from its header or the list beside it.
        vocabulary: the TotalSegmentator version of a label map without names; masks in a folder need none.

    Raises:
        InputError: if a file is missing, broken or of another kind.
        GeometryError: if a file's place in the patient is unusable, or masks do not share a grid.
        LabelError: if organs have no names, ambiguous or unusable ones, or there are none.
    """
    if path.is_dir():
        if names is not None:
            msg = f"A folder of masks names organs by its files, so --names does not fit {path}. Leave it out."
            raise LabelError(msg)
        segmentation, notes = read_mask_folder(path), ()
    else:
        segmentation, notes = _read_file(path, names, vocabulary)
    return LoadedSegmentation(segmentation, (*notes, *open_vocabulary_warnings(segmentation.names)))


def require_overlap(ct_grid: Grid, segmentation_grid: Grid) -> None:
    """Raise GeometryError, showing both, unless the CT and the organs share at least half of the smaller one's box."""
    shared = max(overlap_fraction(ct_grid, segmentation_grid), overlap_fraction(segmentation_grid, ct_grid))
    if shared < SMALLEST_OVERLAP:
        msg = (
            f"The CT and the organ masks overlap by {shared:.0%} only, so they cannot belong together:\n"
            f"  CT    {ct_grid.describe()}\n  masks {segmentation_grid.describe()}\nGive the masks of this CT."
        )
        raise GeometryError(msg)


def resample_segmentation(segmentation: Segmentation, grid: Grid) -> Segmentation:
    """The organs on `grid`: each voxel takes the nearest one's organ in physical space, nothing outside.

    All names stay, also those of organs that lose their last voxel.
    """
    if same_grid(segmentation.grid, grid):
        return segmentation
    to_source = np.linalg.inv(segmentation.grid.affine) @ grid.affine
    along = parallel_axes(to_source, grid)
    layers = np.empty((len(segmentation.layers), *grid.shape_ijk), np.uint16)
    for source, target in zip(segmentation.layers, layers, strict=True):
        if along:
            _gather(source, to_source, target, along)
        else:
            ndimage.affine_transform(source, to_source, output=target, order=0, mode="grid-constant", cval=0)
    return replace(segmentation, layers=layers, grid=grid)


def write_segmentation(segmentation: Segmentation, path: Path, compress: bool = True) -> tuple[Path, ...]:
    """The files written: `path` with organ names, colours and SNOMED CT codes, each file whole or not at all.

    .seg.nrrd is 3D Slicer's segmentation, overlapping organs included. .nii.gz, .nii, .nrrd and .mha are label maps
    with a JSON list of names beside them. `read_segmentation` reads both back without options.

    Args:
        segmentation: the organs.
        path: where; its ending says how.
        compress: whether NRRD and MetaImage files are compressed.

    Raises:
        InputError: if the ending is none of these.
        LabelError: if organs overlap and the format holds one organ per voxel.
        OutputError: if the folder cannot be written or the disk is full.
    """
    if path.name.lower().endswith(".seg.nrrd"):
        write_slicer(segmentation, path, compress)
        return (path,)
    dtype = np.uint8 if len(segmentation.names) < 256 else np.uint16
    labels = np.zeros(segmentation.grid.shape_ijk, dtype, order="F")
    for layer in segmentation.layers:
        if np.logical_and(labels, layer).any():
            msg = f"Organs overlap, and {path.name} holds one organ per voxel. Write a .seg.nrrd file instead."
            raise LabelError(msg)
        np.copyto(labels, layer, where=layer > 0, casting="unsafe")
    beside = path.with_name(f"{image_stem(path)}.json")
    name_list = json.dumps(_name_list(segmentation), indent=1, ensure_ascii=False)
    with whole_file(beside) as temporary:  # the names appear only with their map
        temporary.write_text(name_list, encoding="utf-8")
        write_volume(labels, segmentation.grid, path, compress)
    return beside, path


def _gather(source: np.ndarray, to_source: np.ndarray, target: np.ndarray, along: tuple[int, int, int]) -> None:
    """Fill `target` with the nearest voxels of `source`, axis by axis, 0 outside."""
    turned = source.transpose(along)
    indices, places = [], []
    for axis, source_axis in enumerate(along):
        position = to_source[source_axis, axis] * np.arange(target.shape[axis]) + to_source[source_axis, 3]
        nearest = np.floor(position + 0.5).astype(np.int64)
        inside = np.flatnonzero((nearest >= 0) & (nearest < turned.shape[axis]))
        indices.append(nearest[inside])
        places.append(slice(inside[0], inside[-1] + 1) if len(inside) else slice(0))
    target[...] = 0
    target[tuple(places)] = turned[np.ix_(*indices)]


def _read_file(
    path: Path, names: Path | Mapping[int, str] | None, vocabulary: Vocabulary | None
) -> tuple[Segmentation, tuple[str, ...]]:
    header = nrrd_header(path) if path.name.lower().endswith(".nrrd") else {}
    segments = segments_in(header)
    if any(segment.layer for segment in segments):
        if names is not None or vocabulary is not None:
            msg = (
                f"{path.name} has several layers and names its own segments. Leave --names and --label-map-version out."
            )
            raise LabelError(msg)
        return read_layers(path, header, segments), ()
    array, grid, notes = read_array(path)
    layer = whole_labels(array, path.name)
    used = used_ids(layer)
    if not used:
        raise LabelError(EMPTY_MAP.format(path.name))
    own_names = names_in_one_layer(path, segments) if segments else names_in_nifti(path)
    chosen = names_of_label_map(path, used, own_names, names, vocabulary)
    labels = [OrganLabel(0, number, f"id {number}", chosen.names[number]) for number in used]
    known = vocabulary or vocabulary_of(chosen.names.values())
    source = f"{READABLE_VERSIONS.get(known, '')} label map {path.name}".strip()
    return assemble([layer], labels, grid, source, known), notes


def _name_list(segmentation: Segmentation) -> dict[str, object]:
    return {
        "schema_version": NAME_LIST_VERSION,
        "labels": {str(n): _described(segmentation, name) for n, name in enumerate(segmentation.names, 1)},
    }


def _described(segmentation: Segmentation, name: str) -> dict[str, object]:
    colour = list(segment_colour(segmentation, name))
    described: dict[str, object] = {"name": name, "readable": readable_name(name), "colour": colour}
    organ = None if name in segmentation.tumors else find_organ(name)
    if organ:
        described["snomed"] = {"code": organ.snomed, "meaning": organ.snomed_meaning}
        if organ.side:
            described["snomed"] |= {"side_code": SIDE_CODES[organ.side].split("^")[1], "side": organ.side}
    return described
