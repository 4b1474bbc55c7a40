"""What the user chose: typed, with defaults, and back after saving and loading the scene."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer")

DEFAULTS = {
    "organsSource": "scene",
    "labelmapNames": "",
    "model": "default",
    "modelFolder": "",
    "textEncoderFolder": "",
    "device": "auto",
    "questions": "",
    "colourBy": "score",
    "colourRange": "fixed",
    "dimOthers": True,
    "shownQuestion": 0,
    "history": [],
}
OTHERS = {
    "organsSource": "own",
    "labelmapNames": "totalsegmentator_v1",
    "model": "mine",
    "modelFolder": "/models/ä b",
    "textEncoderFolder": "/texts",
    "device": "cuda:1",
    "questions": "fatty liver\nleft kidney; größer?\n",
    "colourBy": "similarity",
    "colourRange": "fitted",
    "dimOthers": False,
    "shownQuestion": 3,
    "history": ["a;b", 'c "d"', "ü"],
}


@pytest.fixture
def parameters(scene):
    from CTGLIPSlicer.parameters import Parameters

    return Parameters.ofScene()


def values(parameters):
    return {name: getattr(parameters, name) for name in DEFAULTS}


def test_a_new_scene_has_the_defaults(parameters):
    assert values(parameters) == DEFAULTS
    assert (parameters.inputVolume, parameters.segmentation) == (None, None)


def test_what_is_set_is_read_again_by_another_object(parameters):
    from CTGLIPSlicer.parameters import Parameters

    for name, value in OTHERS.items():
        setattr(parameters, name, value)
    assert values(Parameters.ofScene()) == OTHERS
    assert Parameters.ofScene().node is parameters.node


def test_the_node_is_the_one_that_slicers_logic_uses(parameters):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class CTGLIPLogic(ScriptedLoadableModuleLogic):
        pass

    assert CTGLIPLogic().getParameterNode() is parameters.node


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_a_scene_reopened_shows_what_was_asked(parameters, patientScene, tmp_path, ending):
    from CTGLIPSlicer.parameters import Parameters

    for name, value in OTHERS.items():
        setattr(parameters, name, value)
    parameters.inputVolume, parameters.segmentation = patientScene.volume, patientScene.segmentation
    path = str(tmp_path / f"scene.{ending}")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    again = Parameters.ofScene()
    assert values(again) == OTHERS
    assert (again.inputVolume.GetName(), again.segmentation.GetName()) == (
        patientScene.volume.GetName(),
        patientScene.segmentation.GetName(),
    )


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("organsSource", "moon"),
        ("colourBy", "taste"),
        ("colourRange", "wide"),
        ("labelmapNames", "v7"),
        ("dimOthers", "perhaps"),
        ("shownQuestion", "-1"),
        ("shownQuestion", "many"),
        ("history", "not json"),
        ("history", "[1, 2]"),
        ("history", "[" * 100_000),
    ],
)
def test_an_unusable_stored_value_gives_the_default_and_a_warning(parameters, caplog, name, stored):
    parameters.node.SetParameter(name, stored)
    assert getattr(parameters, name) == DEFAULTS[name]
    assert name in caplog.text
    assert stored[:80] in caplog.text


def test_an_unusable_value_cannot_be_set(parameters):
    with pytest.raises(ValueError, match="expected one of"):
        parameters.colourBy = "taste"
    assert parameters.colourBy == "score"


def test_setting_the_same_value_again_does_not_change_the_node(parameters, patientScene):
    parameters.questions, parameters.inputVolume = "liver", patientScene.volume
    before = parameters.node.GetMTime()
    parameters.questions, parameters.inputVolume = "liver", patientScene.volume
    assert parameters.node.GetMTime() == before


def test_questions_are_the_lines_that_say_something(parameters):
    parameters.questions = "  fatty liver \n\n left kidney\n"
    assert parameters.questionList == ["fatty liver", "left kidney"]


def test_inputs_are_those_chosen(parameters, patientScene):
    parameters.inputVolume, parameters.segmentation = patientScene.volume, patientScene.segmentation
    parameters.device, parameters.model = "cpu", "mine"
    inputs = parameters.studyInputs()
    assert (inputs.volumeNode, inputs.segmentationNode) == (patientScene.volume, patientScene.segmentation)
    assert (inputs.model, inputs.device, inputs.textEncoderFolder) == ("mine", "cpu", None)
    parameters.modelFolder = "/models/x"
    parameters.organsSource = "own"
    inputs = parameters.studyInputs()
    assert (inputs.model, inputs.segmentationNode, inputs.segmenter) == ("/models/x", None, "own")


def test_missing_inputs_are_told(parameters, patientScene):
    from CTGLIPLib.errors import InputError

    with pytest.raises(InputError, match="No CT is chosen"):
        parameters.studyInputs()
    parameters.inputVolume = patientScene.volume
    with pytest.raises(InputError, match="No segmentation of the organs is chosen"):
        parameters.studyInputs()
    parameters.organsSource = "totalsegmentator"
    assert parameters.studyInputs().segmenter == "totalsegmentator"


def test_display_options_are_those_chosen(parameters):
    parameters.colourBy, parameters.dimOthers = "similarity", False
    options = parameters.displayOptions()
    assert (options.colourBy, options.colourRange, options.dimOthers) == ("similarity", "fixed", False)


def test_a_closed_scene_has_the_defaults_again(parameters, patientScene):
    from CTGLIPSlicer.parameters import Parameters

    parameters.inputVolume, parameters.questions = patientScene.volume, "liver"
    slicer.mrmlScene.Clear(0)
    again = Parameters.ofScene()
    assert (again.inputVolume, again.questions) == (None, "")
    assert again.node.GetAttribute("ModuleName") == "CTGLIP"
