"""An answer shown on the organs: colours and opacity by score, the rest of the body dimmed.

The looks that organs had before the first answer are kept in the display node until `restoreColours`, through any
number of answers, `.mrb` files, added and removed segments. They are not kept in segment tags, which would travel with
a segment copied into another segmentation, where nothing was recoloured.
Guarded by Testing/Slicer/test_display.py and test_display_restore.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import slicer
from slicer.i18n import tr as _

from CTGLIPSlicer.colour_scale import ColourScale
from CTGLIPSlicer.organ_segments import segmentIdsOf
from CTGLIPSlicer.segment_look import Look, applyLook, keepLooks, keptLooks, lookOf

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryAnswer

ORIGINALS = "CTGLIP.originalLooks"
HIGHLIGHTED = "CTGLIP.highlighted"
FORMER_FILL = "CTGLIP.formerFill"
GREY = (0.7, 0.7, 0.7)
UNSCORED = Look(GREY, opacity3D=0.35, fill=0.3, outline=0.8)
DIMMED = Look(GREY, opacity3D=0.04, fill=0.0, outline=0.15)
FAINTEST = Look(None, opacity3D=0.3, fill=0.25, outline=0.5)
"""Opacities of an organ that does not match at all; one that matches is fully opaque."""
NARROWEST_RANGE = 0.1
"""Values that differ by less are not spread over the whole colour scale."""
QUESTION_LETTERS = 60


@dataclass(frozen=True)
class DisplayOptions:
    """How an answer is shown.

    Attributes:
        colourBy: the calibrated score, or the bare similarity.
        colourRange: "fixed", so that answers compare (scores 0..1, similarities -1..1), or "fitted" to this answer.
        dimOthers: whether organs that were not asked fade to faint grey outlines; else they keep their own look.
        ghosts: whether dimmed organs stay in 3D as faint ghosts. Translucent surfaces of a hundred organs cost seconds
            a picture without a graphics card, so by default they are left out there.

    Raises:
        ValueError: if a value is none of these.
    """

    colourBy: Literal["score", "similarity"] = "score"
    colourRange: Literal["fixed", "fitted"] = "fixed"
    dimOthers: bool = True
    ghosts: bool = False

    def __post_init__(self) -> None:
        if self.colourBy not in {"score", "similarity"} or self.colourRange not in {"fixed", "fitted"}:
            msg = f"Colours go by score or similarity, over a fixed or fitted range, got {self}."
            raise ValueError(msg)


def showAnswer(
    segmentationNode: slicer.vtkMRMLSegmentationNode, answer: QueryAnswer, options: DisplayOptions | None = None
) -> ColourScale | None:
    """Colour the organs by their answers; what their colours mean, or None where no organ was scored.

    Organs that were asked but not scored are grey, organs that were not asked are dimmed or as they were.
    """
    options = options or DisplayOptions()
    display = _displayOf(segmentationNode)
    segments = segmentIdsOf(segmentationNode)
    values, scale = _valuesAndScale(answer, options)
    strengths = _strengths(answer)
    looks = {segmentId: DIMMED for segmentId in segmentationNode.GetSegmentation().GetSegmentIDs()}
    for organ in answer.organs:
        if organ.organ in segments:
            value = values.get(organ.organ)
            scored = scale is not None and value is not None
            look = _scored(scale.rgb(value), strengths[organ.organ]) if scored else UNSCORED
            looks[segments[organ.organ]] = look
    with _heldBack(display):
        _unhighlight(display)
        kept = keptLooks(display, ORIGINALS)
        originals = {segmentId: kept.get(segmentId) or lookOf(display, segmentId) for segmentId in looks}
        keepLooks(display, ORIGINALS, originals)
        for segmentId, look in looks.items():
            _show(display, segmentId, look, originals[segmentId], options)
    return scale


def restoreColours(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Give every organ the look that it had before the first answer; nothing where none was shown."""
    display = segmentationNode.GetDisplayNode()
    if display is None:
        return
    present = set(segmentationNode.GetSegmentation().GetSegmentIDs())
    with _heldBack(display):
        _unhighlight(display)
        for segmentId, look in keptLooks(display, ORIGINALS).items():
            if segmentId in present:
                applyLook(display, segmentId, look)
        keepLooks(display, ORIGINALS, {})


def isRecoloured(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether an answer is shown, so that there are colours to restore."""
    display = segmentationNode.GetDisplayNode()
    return display is not None and bool(display.GetAttribute(ORIGINALS))


def highlight(segmentationNode: slicer.vtkMRMLSegmentationNode, organ: str | None) -> None:
    """Make one organ opaque until the next highlight or answer, its colour unchanged.

    Args:
        segmentationNode: the organs.
        organ: the organ's name, as in the answer; None, or an organ without segment, highlights none.
    """
    display = _displayOf(segmentationNode)
    segmentId = segmentIdsOf(segmentationNode).get(organ) if organ else None
    with _heldBack(display):
        _unhighlight(display)
        if segmentId is not None:
            look = lookOf(display, segmentId)
            keepLooks(display, HIGHLIGHTED, {segmentId: look})
            applyLook(
                display,
                segmentId,
                replace(look, opacity3D=1.0, fill=max(look.fill, 0.8), outline=1.0, visible=True, visible3D=True),
            )


def fillOrgans(segmentationNode: slicer.vtkMRMLSegmentationNode, filled: bool) -> None:
    """Fill the organs in slices, or leave their outlines alone so that the colours of a heat map show."""
    display = _displayOf(segmentationNode)
    former = display.GetAttribute(FORMER_FILL)
    if not filled and former is None:
        display.SetAttribute(FORMER_FILL, str(int(display.GetVisibility2DFill())))
        display.SetVisibility2DFill(False)
    elif filled and former is not None:
        display.SetVisibility2DFill(bool(int(former)))
        display.SetAttribute(FORMER_FILL, None)


def _unhighlight(display: slicer.vtkMRMLSegmentationDisplayNode) -> None:
    for segmentId, look in keptLooks(display, HIGHLIGHTED).items():
        if display.GetDisplayableNode().GetSegmentation().GetSegment(segmentId) is not None:
            applyLook(display, segmentId, look)
    keepLooks(display, HIGHLIGHTED, {})


def _displayOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentationDisplayNode:
    segmentationNode.CreateDefaultDisplayNodes()
    return segmentationNode.GetDisplayNode()


def _heldBack(display: slicer.vtkMRMLSegmentationDisplayNode) -> AbstractContextManager[object]:
    """Hold the node's events back, so that views redraw once."""
    return slicer.util.NodeModify(display)


def _show(
    display: slicer.vtkMRMLSegmentationDisplayNode, segmentId: str, look: Look, original: Look, options: DisplayOptions
) -> None:
    """Show a segment: hidden organs come out only where they were asked."""
    if look is DIMMED:
        dimmed = replace(DIMMED, visible=original.visible, visible3D=original.visible3D and options.ghosts)
        look = dimmed if options.dimOthers else original
    applyLook(display, segmentId, look)


def _valuesAndScale(answer: QueryAnswer, options: DisplayOptions) -> tuple[dict[str, float], ColourScale | None]:
    """The value of each scored organ, and its colours: similarities where wanted, or where there are no scores."""
    scores = {organ.organ: organ.score for organ in answer.organs if organ.score is not None}
    if options.colourBy == "score" and scores:
        return scores, _scale(scores, _scoreLabel(answer), options, 0.0)
    similarities = {organ.organ: organ.similarity for organ in answer.organs if organ.similarity is not None}
    label = _("CT-GLIP similarity: {question}").format(question=_question(answer))
    return similarities, _scale(similarities, label, options, -1.0)


def _scoreLabel(answer: QueryAnswer) -> str:
    label = _("CT-GLIP score: {question}").format(question=_question(answer))
    if answer.threshold is None:
        return label
    return label + "\n" + _("found from {threshold:.2f}").format(threshold=answer.threshold)


def _question(answer: QueryAnswer) -> str:
    """What the scores speak of, worded positively and short enough for a legend."""
    from CTGLIPLib.wording import shortened

    return shortened(answer.phrase or answer.text, QUESTION_LETTERS)


def _scale(values: Mapping[str, float], label: str, options: DisplayOptions, lowest: float) -> ColourScale | None:
    """The colour scale of values that lie in lowest..1; None without values."""
    if not values:
        return None
    if options.colourRange == "fixed":
        return ColourScale(label, lowest, 1.0)
    low, high = min(values.values()), max(values.values())
    if high - low < NARROWEST_RANGE:
        low = min(max((low + high - NARROWEST_RANGE) / 2, lowest), 1.0 - NARROWEST_RANGE)
        high = low + NARROWEST_RANGE
    return ColourScale(label, low, high)


def _strengths(answer: QueryAnswer) -> dict[str, float]:
    """How strongly each scored organ stands out, 0 to 1.

    By score the best is 1 if it reaches the threshold, less if it does not; similarities, which have no threshold,
    spread over the range of the answer's organs.
    """
    scores = {organ.organ: organ.score for organ in answer.organs if organ.score is not None}
    if scores:
        full = max(*scores.values(), answer.threshold or 0.0, 1e-6)
        return {name: score / full for name, score in scores.items()}
    similarities = {organ.organ: organ.similarity for organ in answer.organs if organ.similarity is not None}
    if not similarities:
        return {}
    low, high = min(similarities.values()), max(similarities.values())
    return {name: 1.0 if high == low else (value - low) / (high - low) for name, value in similarities.items()}


def _scored(colour: tuple[float, float, float], strength: float) -> Look:
    def opacity(faintest: float) -> float:
        return faintest + (1.0 - faintest) * strength

    return Look(colour, opacity(FAINTEST.opacity3D), opacity(FAINTEST.fill), opacity(FAINTEST.outline))
