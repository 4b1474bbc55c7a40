"""The section Inputs: which CT, whose organs, which model, on what device; all of it kept in the parameter node."""

from __future__ import annotations

import html
from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from CTGLIPSlicer.heat_overlay import CT_ROLE
from CTGLIPSlicer.parameters import Parameters
from CTGLIPSlicer.tumors import isTumors

REFERENCE_ROLE = "referenceImageGeometryRef"
"""What a segmentation node calls the volume that it was made on (vtkMRMLSegmentationNode)."""
DEVICES = ("auto", "cpu")
MODELS = ({"name": "default"},)


class InputsSection:
    """Shows and changes the parameters that say what is asked.

    Args:
        ui: the panel's widgets by name.
        warningsOf: what is odd about a volume as a CT, a line each.
    """

    def __init__(self, ui: SimpleNamespace, warningsOf: Callable[[object], list[str]]) -> None:
        self._ui = ui
        self._warningsOf = warningsOf
        self._parameters: Parameters | None = None
        self._checked: tuple[str, int] | None = None
        self._models: dict[str, dict] = {}
        self._updating = False
        _fill(ui.organsSourceComboBox, organsSources())
        _fill(ui.labelmapNamesComboBox, labelmapNames())
        self._fillModels(MODELS)
        _fill(ui.deviceComboBox, [(name, name) for name in DEVICES])
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolume)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)
        for name, comboBox in self._choices().items():
            comboBox.connect("currentIndexChanged(int)", lambda _index, name=name: self._onChoice(name))

    def update(self, parameters: Parameters) -> None:
        """Show these parameters; what the user changes is written to them."""
        self._parameters = parameters
        self._updating = True
        try:
            self._ui.volumeSelector.setCurrentNode(parameters.inputVolume)
            self._ui.segmentationSelector.setCurrentNode(parameters.segmentation)
            for name, comboBox in self._choices().items():
                _choose(comboBox, getattr(parameters, name))
        finally:
            self._updating = False
        self._showWhatMatters()
        self._showWarnings()
        self._showModel()

    def forget(self) -> None:
        """Write to no parameters any more."""
        self._parameters = None

    def setDescription(self, description: dict) -> None:
        """Offer the models and devices that the child process found."""
        self._updating = True
        try:
            self._fillModels(description.get("models") or MODELS)
            _fill(self._ui.deviceComboBox, [(name, name) for name in description.get("devices") or DEVICES])
        finally:
            self._updating = False
        if self._parameters is not None:
            self.update(self._parameters)

    def chooseDefaults(self, parameters: Parameters) -> None:
        """Where no CT is chosen, choose the scene's first one and its segmentation."""
        if parameters.inputVolume is None:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            parameters.inputVolume = next((node for node in volumes if _mayBeCt(node)), None)
        if parameters.inputVolume is not None and parameters.segmentation is None:
            parameters.segmentation = segmentationOf(parameters.inputVolume)

    def _choices(self) -> dict[str, qt.QComboBox]:
        """Parameters' names and the combo boxes that choose them."""
        ui = self._ui
        return {
            "organsSource": ui.organsSourceComboBox,
            "labelmapNames": ui.labelmapNamesComboBox,
            "model": ui.modelComboBox,
            "device": ui.deviceComboBox,
        }

    def _onVolume(self, node: object) -> None:
        """Take another CT, and with it a segmentation that belongs to it."""
        if self._updating or self._parameters is None:
            return
        parameters = self._parameters
        with slicer.util.NodeModify(parameters.node):
            parameters.inputVolume = node
            chosen = parameters.segmentation
            if node is not None and (chosen is None or _volumeOf(chosen) not in (None, node)):
                parameters.segmentation = segmentationOf(node)

    def _onSegmentation(self, node: object) -> None:
        if not self._updating and self._parameters is not None:
            self._parameters.segmentation = node

    def _onChoice(self, name: str) -> None:
        comboBox = self._choices()[name]
        value = comboBox.itemData(comboBox.currentIndex)
        if not self._updating and self._parameters is not None and value is not None:
            setattr(self._parameters, name, value)

    def _showWhatMatters(self) -> None:
        """Hide what does not count for the chosen source of organs."""
        parameters, ui = self._parameters, self._ui
        fromScene = parameters.organsSource == "scene"
        node = parameters.segmentation
        isLabelmap = fromScene and node is not None and node.IsA("vtkMRMLLabelMapVolumeNode")
        for widget in (ui.segmentationLabel, ui.segmentationSelector):
            widget.visible = fromScene
        for widget in (ui.labelmapNamesLabel, ui.labelmapNamesComboBox):
            widget.visible = isLabelmap

    def _showWarnings(self) -> None:
        """Say why the volume does not look like a CT; its voxels are looked at once after every change."""
        node = self._parameters.inputVolume
        checked = None if node is None else (node.GetID(), _voxelsTime(node))
        if checked == self._checked:
            return
        self._checked = checked
        lines = [] if node is None else self._warningsOf(node)
        self._ui.volumeWarningLabel.text = "<br>".join(f"\u26a0 {html.escape(line)}" for line in lines)
        self._ui.volumeWarningLabel.visible = bool(lines)

    def _fillModels(self, models: list[dict] | tuple[dict, ...]) -> None:
        self._models = {model["name"]: model for model in models}
        comboBox = self._ui.modelComboBox
        _fill(comboBox, [(name, name) for name in self._models])
        for index, model in enumerate(self._models.values()):
            comboBox.setItemData(index, "\n".join(modelLines(model)), qt.Qt.ToolTipRole)

    def _showModel(self) -> None:
        """Say what the chosen model knows, under which licence it comes and what it was trained on."""
        folder, ui = self._parameters.modelFolder, self._ui
        ui.modelComboBox.enabled = not folder
        if folder:
            ui.modelInfoLabel.text = html.escape(_("Used instead: the model in {folder}").format(folder=folder))
        else:
            lines = modelLines(self._models.get(self._parameters.model, {}))
            ui.modelInfoLabel.text = "<br>".join(html.escape(line) for line in lines)
        ui.modelInfoLabel.visible = bool(ui.modelInfoLabel.text)


def organsSources() -> list[tuple[str, str]]:
    """Names of the sources of organs, each with its code."""
    return [
        (_("From the scene"), "scene"),
        (_("TotalSegmentator"), "totalsegmentator"),
        (_("Model's own (coarse)"), "own"),
    ]


def labelmapNames() -> list[tuple[str, str]]:
    """Whose numbers a label map may use, each with its code."""
    return [
        (_("Named by the label map's colours"), ""),
        (_("TotalSegmentator version 1"), "totalsegmentator_v1"),
        (_("TotalSegmentator version 2"), "totalsegmentator_v2"),
    ]


def modelLines(model: dict) -> list[str]:
    """What a model knows, its licence and its data, a line each; empty where nothing is known of it."""
    titles = {"knows": _("Knows: {value}"), "licence": _("Licence: {value}"), "data": _("Trained on: {value}")}
    return [title.format(value=model[key]) for key, title in titles.items() if model.get(key)]


def segmentationOf(volumeNode: object) -> object | None:
    """The first segmentation of the scene that was made on that volume; None where there is none."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next((node for node in nodes if _volumeOf(node) is volumeNode and not isTumors(node)), None)


def _volumeOf(segmentationNode: object) -> object | None:
    """The CT that a segmentation was made on; None where that is not known, as for one made of a label map."""
    node = segmentationNode.GetNodeReference(REFERENCE_ROLE)
    return None if node is None or node.IsA("vtkMRMLLabelMapVolumeNode") else node


def _mayBeCt(volumeNode: object) -> bool:
    """Whether a volume is neither hidden, nor a label map, nor one of our heat maps."""
    isScalar = volumeNode.GetClassName() == "vtkMRMLScalarVolumeNode"
    return isScalar and not volumeNode.GetHideFromEditors() and not volumeNode.GetNodeReferenceID(CT_ROLE)


def _voxelsTime(volumeNode: object) -> int:
    """A number that grows when the voxels or their place change."""
    image = volumeNode.GetImageData()
    return max(image.GetMTime() if image is not None else 0, volumeNode.GetMTime())


def _fill(comboBox: qt.QComboBox, items: list[tuple[str, str]]) -> None:
    comboBox.clear()
    for name, code in items:
        comboBox.addItem(name, code)


def _choose(comboBox: qt.QComboBox, code: str) -> None:
    """Choose the item of that code; one that is not in the list, as from another computer's scene, is added."""
    index = comboBox.findData(code)
    if index < 0:
        comboBox.addItem(code, code)
        index = comboBox.findData(code)
    comboBox.currentIndex = index
