"""How one segment looks, read from a display node and written to it.

Colours are Slicer's override colours: they belong to the view, so a segment's own colour, which goes into exported
files, is never touched. Guarded by Testing/Slicer/test_display.py.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import astuple, dataclass

import slicer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """The look of one segment.

    Attributes:
        colour: override colour, red, green and blue, 0 to 1; None shows the segment's own.
        opacity3D: of its surface, 0 to 1.
        fill: opacity of its area in slices, 0 to 1.
        outline: opacity of its contour in slices, 0 to 1.
        visible: whether it is shown at all.
        visible3D: whether its surface is shown.
    """

    colour: tuple[float, float, float] | None
    opacity3D: float
    fill: float
    outline: float
    visible: bool = True
    visible3D: bool = True


def lookOf(display: slicer.vtkMRMLSegmentationDisplayNode, segmentId: str) -> Look:
    """The present look of a segment."""
    colour = tuple(display.GetSegmentOverrideColor(segmentId))
    return Look(
        None if min(colour) < 0 else colour,
        display.GetSegmentOpacity3D(segmentId),
        display.GetSegmentOpacity2DFill(segmentId),
        display.GetSegmentOpacity2DOutline(segmentId),
        bool(display.GetSegmentVisibility(segmentId)),
        bool(display.GetSegmentVisibility3D(segmentId)),
    )


def applyLook(display: slicer.vtkMRMLSegmentationDisplayNode, segmentId: str, look: Look) -> None:
    """Give a segment a look; views redraw once if the node's events are held back meanwhile."""
    if look.colour is None:
        display.UnsetSegmentOverrideColor(segmentId)
    else:
        display.SetSegmentOverrideColor(segmentId, *look.colour)
    display.SetSegmentOpacity3D(segmentId, look.opacity3D)
    display.SetSegmentOpacity2DFill(segmentId, look.fill)
    display.SetSegmentOpacity2DOutline(segmentId, look.outline)
    display.SetSegmentVisibility(segmentId, look.visible)
    display.SetSegmentVisibility3D(segmentId, look.visible3D)


def keptLooks(display: slicer.vtkMRMLSegmentationDisplayNode, key: str) -> dict[str, Look]:
    """The looks kept under a key of the display node, by segment id; empty where none are, or they cannot be read."""
    text = display.GetAttribute(key)
    if not text:
        return {}
    try:
        looks = json.loads(text)
        return {segmentId: _look(*values) for segmentId, values in looks.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("The looks of %s in the scene cannot be read (%s).", display.GetID(), type(error).__name__)
        return {}


def _look(colour: list[float] | None, *rest: float) -> Look:
    """The look of stored values; ValueError or TypeError where they are none."""
    numbers = tuple(float(value) for value in (*(colour or ()), *rest))
    if colour is not None and len(colour) != 3 or not all(map(math.isfinite, numbers)):
        msg = "expected three finite numbers of a colour, or none"
        raise ValueError(msg)
    return Look(None if colour is None else numbers[:3], *rest)


def keepLooks(display: slicer.vtkMRMLSegmentationDisplayNode, key: str, looks: dict[str, Look]) -> None:
    """Keep looks in the display node, where they survive saving the scene; none removes the key."""
    text = json.dumps({segmentId: astuple(look) for segmentId, look in looks.items()})
    display.SetAttribute(key, text if looks else None)
