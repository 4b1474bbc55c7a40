"""Sessions: a study's files are written in steps; studies that cannot be written or go."""

from __future__ import annotations

import pytest
from session_rig import FINDINGS


def test_files_are_written_a_step_for_each_poll_so_that_the_window_can_be_drawn(played):
    played.scene.steps = 2
    played.session.ask(played.study, ["liver"])
    sent = []
    for _ in range(3):
        played.session.poll()
        sent.append(len(played.worker.sent))
    assert (sent, played.worker.starts) == ([0, 0, 1], 1)
    assert [change.progress.what for change in played.of("progress")].count("writing the study's files") == 1


def test_short_steps_of_writing_are_taken_together(played):
    played.scene.steps, played.stepS = 25, 0.01
    played.session.ask(played.study, ["liver"])
    polls = 0
    while not played.worker.sent:
        played.session.poll()
        polls += 1
    assert polls == 3


def test_cancel_between_two_steps_of_writing_is_immediate_and_leaves_no_files(played):
    played.scene.steps = 2
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    played.session.cancel()
    assert (played.state, list(played.session.folder.iterdir())) == ("IDLE", [])
    played.session.poll()
    assert (played.worker.sent, played.scene.exports) == ([], [])


def test_a_volume_removed_between_two_steps_of_writing_cancels(played):
    played.scene.steps = 2
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    played.scene.remove(played.study.volumeNode)
    played.session.poll()
    assert (played.state, list(played.session.folder.iterdir())) == ("IDLE", [])


def test_a_study_that_cannot_be_written_fails_with_its_reason(played):
    from CTGLIPLib.errors import GeometryError

    played.scene.problem = GeometryError("CT is under a transform. Harden it.")
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert played.states == ["PREPARING", "FAILED"]
    assert played.session.failure.text == "CT is under a transform. Harden it."
    assert played.worker.sent == []


def test_a_full_disk_fails_with_its_reason(played):
    played.scene.problem = OSError(28, "No space left on device")
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert "No space left" in played.session.failure.message


def test_a_mistake_while_writing_fails_once_and_is_raised(played):
    played.scene.problem = KeyError("mistake")
    played.session.ask(played.study, ["liver"])
    with pytest.raises(KeyError):
        played.session.poll()
    played.session.poll()
    assert (played.state, len(played.of("failed"))) == ("FAILED", 1)


def test_a_volume_removed_while_encoding_cancels_and_leaves_no_files(played):
    played.encoding()
    played.scene.remove(played.study.volumeNode)
    played.session.poll()
    assert (played.state, list(played.session.folder.iterdir())) == ("CANCELLING", [])
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert (played.state, played.of("answered")) == ("IDLE", [])
    assert "removed from the scene" in played.of("cancelled")[0].message


def test_a_scene_closed_and_opened_again_between_two_polls_is_another_study(played):
    played.encoding()
    played.scene.add("v1")
    played.session.poll()
    assert played.state == "CANCELLING"


def test_a_closed_scene_forgets_the_studies(played):
    played.ready()
    played.session.reset()
    assert (played.state, list(played.session.folder.iterdir())) == ("IDLE", [])


def test_a_scene_closed_while_encoding_ends_idle_even_after_an_answer(played):
    played.ready()
    played.session.ask(played.study, ["spleen"])
    played.session.reset("The scene was closed.")
    played.worker.say("cancelled")
    played.session.poll()
    assert (played.state, played.of("cancelled")[0].message) == ("IDLE", "The scene was closed.")
