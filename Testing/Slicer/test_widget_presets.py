"""Ready sets of questions: every one of them is understood."""

from __future__ import annotations

import pytest

from CTGLIPLib.organs import ORGANS, PAPER_ORGANS
from CTGLIPLib.questions import parse_question

VERSION_1 = tuple(organ.name for organ in PAPER_ORGANS)
VERSION_2 = tuple(organ.name for organ in ORGANS if organ.v2_id is not None)


@pytest.fixture
def presets(slicerApp):
    from CTGLIPSlicer.presets import presets

    return {preset.name: preset for preset in presets()}


def test_there_are_three_sets_with_a_question_on_each_line(presets):
    assert list(presets) == ["Chest screening", "Abdomen screening", "All organs"]
    for preset in presets.values():
        assert preset.text.splitlines() == list(preset.questions)
        assert len(set(preset.questions)) == len(preset.questions)


@pytest.mark.parametrize("known", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_every_screening_question_is_one_finding_of_the_catalogue(presets, known):
    for name in ("Chest screening", "Abdomen screening"):
        for text in presets[name].questions:
            questions = parse_question(text, known)
            assert [question.kind for question in questions] == ["finding"], text
            assert questions[0].finding is not None, text


def test_all_organs_asks_each_organ_of_the_paper_once(presets):
    asked = []
    for text in presets["All organs"].questions:
        for question in parse_question(text, VERSION_1):
            assert question.kind == "organ", text
            asked += question.organs
    assert sorted(asked) == sorted(VERSION_1)
