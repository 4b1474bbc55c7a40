"""Label maps turned into segmentations whose segments have organs' names.

Ids alone do not tell organs: TotalSegmentator's versions number them differently. Guarded by
Testing/Slicer/test_nodes_labelmap.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import slicer

from CTGLIPLib.errors import InputError, LabelError
from CTGLIPSlicer.nodes_arrays import scalarVolume
from CTGLIPSlicer.nodes_import import placeBeside, segmentationNodeFrom


def segmentationFromLabelmap(
    labelmapNode: slicer.vtkMRMLLabelMapVolumeNode | None, vocabulary: str | None = None
) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation node with the organs of a label map, beside it in the subject hierarchy.

    Names come from the label map's own colour table (not from one of Slicer's built-in ones, which say nothing about
    this map), or from the file that it was loaded from, or from the TotalSegmentator version that the user names.

    Args:
        labelmapNode: the label map.
        vocabulary: "totalsegmentator_v1", "totalsegmentator_v2", or None.

    Raises:
        InputError: if the node is none, holds no voxels, or is no label map.
        GeometryError: if it is under a transform.
        LabelError: if its ids have no names, contradictory ones, or two are the same organ.
    """
    from CTGLIPLib.label_layers import OrganLabel, assemble
    from CTGLIPLib.label_values import EMPTY_MAP, used_ids, whole_labels
    from CTGLIPLib.segmentation_names import vocabulary_of

    volume = scalarVolume(labelmapNode)
    name = labelmapNode.GetName()
    if not labelmapNode.IsA("vtkMRMLLabelMapVolumeNode"):
        msg = f"{name} is no label map. Convert it in Slicer's Volumes module, or choose another node."
        raise InputError(msg)
    labels = whole_labels(volume.array, name)
    used = used_ids(labels)
    if not used:
        raise LabelError(EMPTY_MAP.format(name))
    names = _namesOf(labelmapNode, used, vocabulary)
    organs = [OrganLabel(0, number, f"id {number}", names[number]) for number in used]
    known = vocabulary or vocabulary_of(names[number] for number in used)
    node = segmentationNodeFrom(assemble([labels], organs, volume.grid, "label map", known), f"{name} organs")
    node.SetReferenceImageGeometryParameterFromVolumeNode(labelmapNode)
    placeBeside(node, labelmapNode)
    return node


def _namesOf(
    labelmapNode: slicer.vtkMRMLLabelMapVolumeNode, used: Sequence[int], vocabulary: str | None
) -> Mapping[int, str]:
    """The name of each id in use, from the one source that names them, or from several that agree."""
    from CTGLIPLib.segmentation_names import READABLE_VERSIONS, VERSION_NAMES, vocabulary_name

    name = labelmapNode.GetName()
    if vocabulary and vocabulary not in VERSION_NAMES:
        msg = f"Label map names must be one of {', '.join(VERSION_NAMES)} or none, got {vocabulary!r}."
        raise LabelError(msg)
    sources = {READABLE_VERSIONS[vocabulary]: VERSION_NAMES[vocabulary]} if vocabulary else {}
    sources |= {**_colourTable(labelmapNode, used), **_file(labelmapNode)}
    if not sources:
        raise LabelError(_choices(name, used))
    (origin, names), *others = sources.items()
    unnamed = [number for number in used if number not in names]
    if unnamed:
        shown = ", ".join(map(str, unnamed[:8]))
        msg = f"{name} has voxels with ids that {origin} does not name: {shown}. Choose the names that belong to it."
        raise LabelError(msg)
    for otherOrigin, otherNames in others:
        for number in used:
            other = otherNames.get(number)
            if other is not None and vocabulary_name(other) != vocabulary_name(names[number]):
                msg = (
                    f"Id {number} of {name} is {names[number]} in {origin} but {other} in {otherOrigin}. "
                    "Choose the names that are right, or give the label map another colour table."
                )
                raise LabelError(msg)
    return names


def _colourTable(labelmapNode: slicer.vtkMRMLLabelMapVolumeNode, used: Sequence[int]) -> dict[str, dict[int, str]]:
    """The names in the colour table that the label map is shown with; empty for Slicer's built-in tables."""
    display = labelmapNode.GetDisplayNode()
    table = display.GetColorNode() if display is not None else None
    if table is None or table.GetSingletonTag():
        return {}
    given = {number: table.GetColorName(number) for number in used if number < table.GetNumberOfColors()}
    names = {
        number: text for number, text in given.items() if text and text != table.GetNoName() and not text.isdigit()
    }
    return {f"the colour table {table.GetName()}": names} if names else {}


def _file(labelmapNode: slicer.vtkMRMLLabelMapVolumeNode) -> dict[str, Mapping[int, str]]:
    """The names in the header of the file that the label map was loaded from, or in a list beside it."""
    from CTGLIPLib.label_names import names_beside, read_names
    from CTGLIPLib.nifti_names import names_in_nifti

    storage = labelmapNode.GetStorageNode()
    path = Path(storage.GetFullNameFromFileName() or "") if storage is not None else Path()
    if not path.is_file():
        return {}
    inHeader, beside = names_in_nifti(path), names_beside(path)
    return {
        **({f"the header of {path.name}": inHeader} if inHeader else {}),
        **({beside.name: read_names(beside)} if beside else {}),
    }


def _choices(name: str, used: Sequence[int]) -> str:
    """The message for a label map without names: which TotalSegmentator versions its ids fit, and what to do."""
    from CTGLIPLib.segmentation_names import READABLE_VERSIONS, VERSION_NAMES

    fits = [READABLE_VERSIONS[key] for key, names in VERSION_NAMES.items() if set(names).issuperset(used)]
    fit = " and ".join(fits) if fits else "no TotalSegmentator version"
    return (
        f"{name} has {len(used)} labels but no organ names, and ids alone do not tell organs: they fit {fit}. "
        "Say which version made it, give it a colour table with names (Colors module), or load it with its list of "
        "names beside it."
    )
