"""Looks kept in the scene: what is damaged there counts as none."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
from display_rig import answerOf

from CTGLIPSlicer import display
from CTGLIPSlicer.segment_look import Look, keepLooks, keptLooks


@pytest.fixture
def displayNode(patientScene):
    patientScene.segmentation.CreateDefaultDisplayNodes()
    return patientScene.segmentation.GetDisplayNode()


def test_looks_are_read_as_they_were_kept(displayNode):
    looks = {"liver": Look((0.1, 0.2, 0.3), 1.0, 0.5, 0.25, False, True), "spleen": Look(None, 1.0, 1.0, 1.0)}
    keepLooks(displayNode, "looks", looks)
    assert keptLooks(displayNode, "looks") == looks


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "3",
        "[" * 100_000,
        '{"a": 1}',
        '{"a": []}',
        '{"a": ["red", 1, 1, 1]}',
        '{"a": [[1, 2], 1, 1, 1]}',
    ]
    + ['{"a": [null, NaN, 1, 1]}', '{"a": [null, 1, 1, "x"]}', '{"a": [null, 1]}'],
)
def test_damaged_looks_count_as_none_and_answers_are_shown_nevertheless(patientScene, displayNode, caplog, text):
    displayNode.SetAttribute(display.ORIGINALS, text)
    assert keptLooks(displayNode, display.ORIGINALS) == {}
    assert "cannot be read" in caplog.text
    display.showAnswer(patientScene.segmentation, answerOf(), display.DisplayOptions())
    display.restoreColours(patientScene.segmentation)
    assert not display.isRecoloured(patientScene.segmentation)
