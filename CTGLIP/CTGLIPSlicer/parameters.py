"""What the user chose, kept in the scene: typed access to the module's parameter node.

A scene that is opened again shows what was asked. A stored value that cannot be used (of another version, edited by
hand) gives the default and one warning in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import slicer
from slicer.i18n import tr as _

from CTGLIPLib.errors import InputError
from CTGLIPSlicer.session_types import StudyInputs

if TYPE_CHECKING:
    from CTGLIPSlicer.display import DisplayOptions

logger = logging.getLogger(__name__)

MODULE = "CTGLIP"
Value = TypeVar("Value")
ORGANS_SOURCES = ("scene", "totalsegmentator", "own")
LABELMAP_NAMES = ("", "totalsegmentator_v1", "totalsegmentator_v2")
COLOUR_BY = ("score", "similarity")
COLOUR_RANGES = ("fixed", "fitted")


@dataclass(frozen=True)
class _Stored:
    """How a value is stored: its default, and how text becomes it again (ValueError where it cannot)."""

    default: object
    read: Callable[[str], object]
    write: Callable[[object], str] = str


def _oneOf(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            msg = f"expected one of {choices}"
            raise ValueError(msg)
        return text

    return read


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        msg = "expected 0 or more"
        raise ValueError(msg)
    return number


def _texts(text: str) -> list[str]:
    try:
        values = json.loads(text)
    except RecursionError as error:
        msg = "nested too deep"
        raise ValueError(msg) from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        msg = "expected a list of texts"
        raise ValueError(msg)
    return values


_STORED: dict[str, _Stored] = {
    "organsSource": _Stored("scene", _oneOf(*ORGANS_SOURCES)),
    "labelmapNames": _Stored("", _oneOf(*LABELMAP_NAMES)),
    "model": _Stored("default", str),
    "modelFolder": _Stored("", str),
    "textEncoderFolder": _Stored("", str),
    "tumorModelFolder": _Stored("", str),
    "device": _Stored("auto", str),
    "questions": _Stored("", str),
    "colourBy": _Stored("score", _oneOf(*COLOUR_BY)),
    "colourRange": _Stored("fixed", _oneOf(*COLOUR_RANGES)),
    "dimOthers": _Stored(True, lambda text: _oneOf("true", "false")(text) == "true", lambda value: str(value).lower()),
    "shownQuestion": _Stored(0, _number),
    "history": _Stored((), _texts, lambda values: json.dumps(list(values), ensure_ascii=False)),
}


def _stored(name: str, doc: str) -> property:
    """A property that lives in the node's parameter of that name.

    Raises:
        ValueError: when it is set to a value that could not be read again.
    """
    stored = _STORED[name]

    def get(self: Parameters) -> object:
        text = self.node.GetParameter(name)
        if not text:
            return list(stored.default) if stored.default == () else stored.default
        try:
            return stored.read(text)
        except ValueError as error:
            logger.warning("The scene's %s is %r (%s); %r is used.", name, text[:80], error, stored.default)
            return list(stored.default) if stored.default == () else stored.default

    def set_(self: Parameters, value: object) -> None:
        text = stored.write(value)
        if text:
            stored.read(text)
        if text != self.node.GetParameter(name):
            self.node.SetParameter(name, text)

    return property(get, set_, doc=doc)


class Parameters:
    """The parameter node's values; two objects for one node show the same."""

    organsSource = _stored("organsSource", "Where organs come from: the scene, TotalSegmentator, or the model's head.")
    labelmapNames = _stored("labelmapNames", "How a label map's values are named; empty: by its colour table.")
    model = _stored("model", "The model's name in the list.")
    modelFolder = _stored("modelFolder", "A model's folder, used instead of the name; empty: by name.")
    textEncoderFolder = _stored("textEncoderFolder", "Where the text encoder's files lie; empty: found by itself.")
    tumorModelFolder = _stored("tumorModelFolder", "The folder of the tumour model; empty: none is chosen.")
    device = _stored("device", "What the model runs on, such as auto, cpu or cuda.")
    questions = _stored("questions", "The text of the question box, one question a line.")
    colourBy = _stored("colourBy", "What organs are coloured by: score or similarity.")
    colourRange = _stored("colourRange", "Whether colours span a fixed range or the values that there are.")
    dimOthers = _stored("dimOthers", "Whether organs that were not asked are dimmed.")
    shownQuestion = _stored("shownQuestion", "Number of the answer that the views show, from 0.")
    history = _stored("history", "Sets of questions asked before, newest first.")

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.node = node

    @classmethod
    def ofScene(cls, scene: slicer.vtkMRMLScene | None = None) -> Parameters:
        """Those of the scene's parameter node, which is made where there is none."""
        scene = scene or slicer.mrmlScene
        node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(MODULE)
            node.SetName(MODULE)
            node = scene.AddNode(node)
        node.SetAttribute("ModuleName", MODULE)  # closing a scene removes it
        node.SetModuleName(MODULE)
        return cls(node)

    @property
    def inputVolume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The CT."""
        return self.node.GetNodeReference("inputVolume")

    @inputVolume.setter
    def inputVolume(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self._refer("inputVolume", node)

    @property
    def segmentation(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The organs."""
        return self.node.GetNodeReference("segmentation")

    @segmentation.setter
    def segmentation(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._refer("segmentation", node)

    @property
    def questionList(self) -> list[str]:
        """The question box's lines that hold a question."""
        return [line.strip() for line in self.questions.splitlines() if line.strip()]

    def studyInputs(self) -> StudyInputs:
        """What the chosen study is asked with.

        Raises:
            InputError: if the volume or its organs are not chosen.
        """
        volume = self.inputVolume
        if volume is None:
            msg = _("No CT is chosen. Load a CT and choose it under Inputs.")
            raise InputError(msg)
        fromScene = self.organsSource == "scene"
        segmentation = self.segmentation if fromScene else None
        if fromScene and segmentation is None:
            msg = _(
                "No segmentation of the organs is chosen. Choose one under Inputs, or let TotalSegmentator find them."
            )
            raise InputError(msg)
        return StudyInputs(
            volumeNode=volume,
            segmentationNode=segmentation,
            segmenter="own" if self.organsSource == "own" else "totalsegmentator",
            model=self.modelFolder or self.model,
            device=self.device,
            textEncoderFolder=self.textEncoderFolder or None,
        )

    def tumorInputs(self) -> StudyInputs:
        """What tumours are sought in; organs of the scene name where they lie.

        Raises:
            InputError: if the volume or the tumour model is not chosen.
        """
        volume, organs = self.inputVolume, self.segmentation
        if volume is None:
            raise InputError(_("No CT is chosen. Load a CT and choose it under Inputs."))
        if not self.tumorModelFolder:
            msg = _(
                "No tumour model is chosen, and none comes with CT-GLIP. Choose the folder of one that you fine-tuned."
            )
            raise InputError(msg)
        isGiven = self.organsSource == "scene" and organs is not None and organs.IsA("vtkMRMLSegmentationNode")
        return StudyInputs(volume, organs if isGiven else None, device=self.device)

    def displayOptions(self) -> DisplayOptions:
        """How an answer is coloured."""
        from CTGLIPSlicer.display import DisplayOptions

        return DisplayOptions(self.colourBy, self.colourRange, self.dimOthers)

    def _refer(self, role: str, node: slicer.vtkMRMLNode | None) -> None:
        nodeId = node.GetID() if node is not None else None
        if nodeId != self.node.GetNodeReferenceID(role):
            self.node.SetNodeReferenceID(role, nodeId)
