"""Sessions: requests, progress, answers, descriptions and observers, with fakes."""

from __future__ import annotations

import pytest
from session_rig import FINDINGS, died


def test_the_first_question_goes_through_all_states_and_is_answered_once(played):
    played.ready()
    played.session.poll()
    assert played.states == ["PREPARING", "ENCODING", "READY"]
    assert [change.outcome.result for change in played.of("answered")] == [FINDINGS]
    assert played.worker.last["texts"] == ["fatty liver"]
    assert played.worker.last["study"]["ct"].endswith("ct.nii")


def test_nothing_is_started_before_the_first_request(played):
    played.session.poll()
    assert (played.state, played.worker.starts, played.session.folder) == ("IDLE", 0, None)


def test_the_window_can_show_preparing_before_files_are_written(played):
    played.session.ask(played.study, ["liver"])
    assert (played.state, played.scene.exports) == ("PREPARING", [])
    assert played.session.progress.what == "preparing"


def test_progress_tells_what_is_done_and_its_share(played):
    played.encoding()
    told = [change.progress.what for change in played.of("progress")]
    assert told == ["writing the study's files", "starting the helper process", "encoding windows"]
    assert (played.session.progress.done, played.session.progress.fraction) == (1, 0.25)
    assert played.session.isBusy


def test_a_further_question_is_sent_at_once_with_the_same_files(played):
    played.ready()
    played.session.ask(played.study, ["left kidney"])
    assert (played.worker.last["texts"], played.state) == (["left kidney"], "ENCODING")
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert (played.state, len(played.scene.exports), played.worker.starts) == ("READY", 1, 1)


def test_an_edited_study_is_written_again(played):
    played.ready()
    played.study.segmentationNode.content += 1
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert len(played.scene.exports) == 2


def test_two_volumes_asked_in_turn_are_each_written_once(played):
    from CTGLIPSlicer.session_types import StudyInputs

    other = StudyInputs(played.scene.add("v2", "other"), played.scene.add("s2"))
    for study in (played.study, other, played.study, other):
        played.session.ask(study, ["liver"])
        played.session.poll()
        played.worker.say("done", result=FINDINGS)
        played.session.poll()
    cts = [request["study"]["ct"] for request in played.worker.sent]
    assert len(played.scene.exports) == 2
    assert cts[:2] == cts[2:]
    assert cts[0] != cts[1]


def test_while_organs_are_looked_for_the_study_is_being_prepared(played):
    from CTGLIPSlicer.session_types import StudyInputs

    played.session.ask(StudyInputs(played.study.volumeNode), ["liver"])
    for what in ("reading the scan", "finding organs", "running TotalSegmentator"):
        played.session.poll()
        played.worker.progress(what)
        assert played.state == "PREPARING"
    played.worker.progress("encoding windows")
    played.session.poll()
    assert played.state == "ENCODING"


def test_found_organs_are_offered_until_they_are_adopted(played):
    from pathlib import Path

    from CTGLIPSlicer.session_types import StudyInputs

    study = StudyInputs(played.study.volumeNode)
    played.session.ask(study, ["liver"])
    played.session.poll()
    Path(played.worker.last["study"]["organs_path"]).write_text("organs")
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    outcome = played.of("answered")[0].outcome
    assert outcome.organsPath == Path(played.worker.last["study"]["organs_path"])
    organs = played.scene.add("s9")
    played.session.adoptOrgans(outcome, organs)
    assert (outcome.organsPath, outcome.segmentationNode) == (None, organs)
    for again in (study, StudyInputs(played.study.volumeNode, organs)):
        played.session.ask(again, ["spleen"])
        assert played.worker.last["study"]["segmentation"] == str(Path(played.worker.sent[0]["study"]["organs_path"]))
        played.worker.say("done", result=FINDINGS)
        played.session.poll()
    assert len(played.scene.exports) == 1


def test_the_outcome_has_what_was_asked_and_all_warnings(played):
    played.ready()
    outcome = played.of("answered")[0].outcome
    assert (outcome.command, outcome.texts, outcome.inputs) == ("ask", ("fatty liver",), played.study)
    assert outcome.segmentationNode is played.study.segmentationNode
    assert outcome.warnings == ("odd segment", "thick slices")


def test_no_question_is_refused_before_anything_happens(played):
    from CTGLIPLib.errors import InputError

    with pytest.raises(InputError, match="no question"):
        played.session.ask(played.study, ["  ", ""])
    assert played.changes == []


def test_a_heat_map_gets_a_new_file_each_time(played):
    played.ready()
    paths = []
    for _ in range(2):
        played.session.heatmap(played.study, "fatty liver")
        paths.append(played.worker.last["path"])
        played.worker.say("done", result={"path": paths[-1]})
        played.session.poll()
    assert played.worker.last["text"] == "fatty liver"
    assert len(set(paths)) == 2
    assert played.of("answered")[-1].outcome.result == {"path": paths[-1]}


def test_a_report_and_a_batch_are_requests_too(played, tmp_path):
    played.ready()
    played.session.report(played.study, ["fatty liver"], tmp_path / "r.html")
    assert played.worker.last["path"] == str(tmp_path / "r.html")
    played.worker.say("done", result={"path": "r"})
    played.session.poll()
    played.session.batch(["liver"], {"folder": "in", "out": "out"})
    assert {key: played.worker.last[key] for key in ("command", "folder", "texts")} == {
        "command": "batch",
        "folder": "in",
        "texts": ["liver"],
    }
    assert "study" not in played.worker.last


def test_a_description_comes_without_a_change_of_state(played):
    told = []
    played.session.describe(lambda *both: told.append(both), ["default"])
    assert (played.worker.last["command"], played.worker.last["models"]) == ("describe", ["default"])
    assert (played.state, played.session.isBusy) == ("IDLE", True)
    played.worker.say("done", result={"torch": "2.6"})
    played.session.poll()
    assert (told, played.changes, played.session.isBusy) == ([({"torch": "2.6"}, None)], [], False)


def test_a_description_that_fails_or_dies_is_told(played):
    told = []
    for _ in range(2):
        played.session.describe(lambda *both: told.append(both))
    played.worker.say("error", requestId=1, kind="InputError", message="no")
    played.worker.die(died())
    played.session.poll()
    assert [(description, failure.kind) for description, failure in told] == [(None, "InputError"), (None, "died")]


def test_an_observer_that_asks_and_polls_again_does_no_harm(played):
    def askMore(change):
        played.session.poll()
        if change.kind == "answered" and change.outcome.texts == ("fatty liver",):
            played.session.ask(played.study, ["spleen"])

    played.session.addObserver(askMore)
    played.ready()
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert [change.outcome.texts for change in played.of("answered")] == [("fatty liver",), ("spleen",)]


def test_an_observer_that_cancels_while_preparing_is_heeded(played):
    played.session.addObserver(lambda change: change.kind == "progress" and played.session.cancel())
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert (played.state, played.worker.sent) == ("IDLE", [])


def test_an_observers_exception_does_not_lose_the_other_events(played):
    def break_(change):
        if change.kind == "progress":
            msg = "observer"
            raise ValueError(msg)

    played.encoding()
    played.session.addObserver(break_)
    played.worker.progress("encoding windows", 2, 4)
    played.worker.say("done", result=FINDINGS)
    with pytest.raises(ValueError, match="observer"):
        played.session.poll()
    played.session.poll()
    assert played.state == "READY"


def test_a_removed_observer_hears_no_more(played):
    played.session.ask(played.study, ["liver"])
    played.session.removeObserver(played.changes.append)
    played.session.poll()
    assert played.states == ["PREPARING"]


def test_closing_ends_the_child_and_removes_the_files_and_it_may_ask_again(played):
    played.encoding()
    folder = played.session.folder
    played.session.close()
    assert (played.state, played.worker.kills, folder.exists()) == ("IDLE", 1, False)
    played.ready()
    assert played.state == "READY"
