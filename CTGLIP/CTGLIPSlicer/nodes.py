"""Scene nodes as the library's values and back: what the rest of the module uses of the `nodes_*` modules."""

from __future__ import annotations

from CTGLIPSlicer.nodes_export import StudyFiles, exportSteps, exportStudy
from CTGLIPSlicer.nodes_import import importOrgans
from CTGLIPSlicer.nodes_labelmap import segmentationFromLabelmap
from CTGLIPSlicer.nodes_read import OrganSegments, contentKey, ctWarnings, organsFromNode, volumeFromNode
from CTGLIPSlicer.organ_segments import segmentIdsOf

__all__ = [
    "OrganSegments",
    "StudyFiles",
    "contentKey",
    "ctWarnings",
    "exportSteps",
    "exportStudy",
    "importOrgans",
    "organsFromNode",
    "segmentIdsOf",
    "segmentationFromLabelmap",
    "volumeFromNode",
]
