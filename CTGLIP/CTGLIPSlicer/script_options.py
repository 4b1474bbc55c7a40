"""How scripts ask: the options of `logic`'s calls, and organs by the TotalSegmentator extension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import slicer
from slicer.i18n import tr as _

from CTGLIPLib import errors

OrgansFinder = Literal["totalsegmentator", "totalsegmentator-extension", "own"]
ORGANS_FINDERS = ("totalsegmentator", "totalsegmentator-extension", "own")
Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ScriptOptions:
    """How a script asks.

    Attributes:
        model: a model's name, or its folder.
        device: "auto", "cpu", "cuda", ...
        organsSource: who finds the organs where no segmentation is given: TotalSegmentator's package in the child,
            the TotalSegmentator extension (which blocks Slicer meanwhile), or the model's own head.
        textEncoderFolder: where the text encoder's files lie.
        progress: told what is being done, how many steps are done and how many there are; None logs each new step.

    Raises:
        InputError: for another organsSource.
    """

    model: str = "default"
    device: str = "auto"
    organsSource: OrgansFinder = "totalsegmentator"
    textEncoderFolder: str | None = None
    progress: Told | None = None

    def __post_init__(self) -> None:
        if self.organsSource not in ORGANS_FINDERS:
            msg = f"organsSource must be one of {', '.join(ORGANS_FINDERS)}, got {self.organsSource!r}."
            raise errors.InputError(msg)

    @classmethod
    def of(cls, given: dict[str, object]) -> ScriptOptions:
        """The options of a call's keywords.

        Raises:
            InputError: for an unknown keyword, or a value that it cannot have.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            msg = f"Unknown options: {', '.join(unknown)}. There are: {', '.join(known)}."
            raise errors.InputError(msg)
        return cls(**given)


def organsByExtension(volumeNode: slicer.vtkMRMLScalarVolumeNode, device: str) -> slicer.vtkMRMLSegmentationNode:
    """The organs that the TotalSegmentator extension finds; Slicer stands still meanwhile.

    Raises:
        DependencyError: if the extension is not installed.
    """
    try:
        logic = slicer.util.getModuleLogic("TotalSegmentator")
    except (RuntimeError, AttributeError) as error:
        msg = "The TotalSegmentator extension is not installed. Install it, or choose organsSource totalsegmentator."
        raise errors.DependencyError(msg) from error
    name = _("Organs of {name}").format(name=volumeNode.GetName())
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    try:
        logic.process(volumeNode, segmentationNode, cpu=device == "cpu", task="total", interactive=False)
    except Exception as error:
        slicer.mrmlScene.RemoveNode(segmentationNode)
        msg = f"The TotalSegmentator extension failed: {error}. Look into the Python console for its log."
        raise errors.DependencyError(msg) from error
    return segmentationNode
