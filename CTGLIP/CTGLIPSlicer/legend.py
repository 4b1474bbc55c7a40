"""The colour legend of an answer, in slices and in 3D.

It is Slicer's own colour legend, which takes palette and range from the display node of what it explains. What the
display node had before is kept there until the legend is hidden. Guarded by Testing/Slicer/test_legend.py.
"""

from __future__ import annotations

import json
from textwrap import wrap

import slicer

from CTGLIPSlicer.colour_scale import ColourScale, colourNode

FORMER = "CTGLIP.formerScale"
LABELS = 5
LABEL_FORMAT = "%.2f"
SIZE = (0.1, 0.45)
"""Width and height as shares of the view; Slicer 5.12 fits all texts to the width that is left for the labels."""
FONT_PIXELS = 14
LINE_LETTERS = 28
"""So long a line of the title takes less than half of a view's width."""
RIGHT, LEFT = (0.97, 0.5), (0.03, 0.5)
"""Where the legend's free play goes: 0 left or bottom, 1 right or top."""


def showLegend(segmentationNode: slicer.vtkMRMLSegmentationNode, scale: ColourScale) -> None:
    """Show what an answer's colours mean, at the right border of all views."""
    segmentationNode.CreateDefaultDisplayNodes()
    display = segmentationNode.GetDisplayNode()
    with slicer.util.NodeModify(display):
        if not display.GetAttribute(FORMER):
            former = [display.GetColorNodeID(), *display.GetScalarRange(), display.GetScalarRangeFlag()]
            display.SetAttribute(FORMER, json.dumps(former))
        display.SetAndObserveColorNodeID(colourNode(slicer.mrmlScene, scale).GetID())
        display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
        display.SetScalarRange(scale.low, scale.high)
    addLegend(display, scale.label, RIGHT)


def hideLegend(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove the legend; nothing where there is none."""
    display = segmentationNode.GetDisplayNode()
    if display is None:
        return
    removeLegend(display)
    former = display.GetAttribute(FORMER)
    if former:
        colourNodeId, low, high, flag = json.loads(former)
        with slicer.util.NodeModify(display):
            display.SetAndObserveColorNodeID(colourNodeId or "")
            display.SetScalarRange(low, high)
            display.SetScalarRangeFlag(flag)
            display.SetAttribute(FORMER, None)


def addLegend(
    display: slicer.vtkMRMLDisplayNode, title: str, position: tuple[float, float]
) -> slicer.vtkMRMLColorLegendDisplayNode:
    """The legend of a display node, made where there is none, visible in slices and in 3D.

    Args:
        display: what it explains; palette and range are this node's.
        title: what the colours mean; long lines are wrapped.
        position: RIGHT or LEFT.
    """
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(display)
    with slicer.util.NodeModify(legend):
        legend.SetTitleText("\n".join(line for part in title.splitlines() for line in wrap(part, LINE_LETTERS)))
        legend.SetLabelFormat(LABEL_FORMAT)
        legend.SetNumberOfLabels(LABELS)
        legend.SetSize(*SIZE)
        legend.SetPosition(*position)
        for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
            text.SetFontSize(FONT_PIXELS)
        legend.SetVisibility(True)
        legend.SetVisibility2D(True)
        legend.SetVisibility3D(True)
    return legend


def removeLegend(display: slicer.vtkMRMLDisplayNode) -> None:
    """Remove the legend of a display node; nothing where there is none."""
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(display)
    if legend is not None:
        slicer.mrmlScene.RemoveNode(legend)
