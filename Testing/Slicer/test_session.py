"""Sessions: requests, progress, Cancel, death of the child, studies that go; with fakes, then with the real child."""

from __future__ import annotations

import pytest
from fake_worker import FakeClock, FakeScene, FakeWorker

pytest.importorskip("slicer")

FINDINGS = {"findings": {"schema_version": "1.0"}, "organs": None, "warnings": ["thick slices"], "seconds": 1.0}


class Played:
    """A session of fakes, and what it told."""

    def __init__(self) -> None:
        from CTGLIPSlicer.session import Session
        from CTGLIPSlicer.session_types import StudyInputs

        self.worker, self.clock, self.scene = FakeWorker(), FakeClock(), FakeScene()
        self.session = Session(self.worker, self.scene.export, self.scene.contentKey, self.clock, self.scene.find)
        self.changes: list = []
        self.session.addObserver(self.changes.append)
        self.scene.onStep = lambda: self.clock.pass_(self.stepS)
        self.stepS = 1.0
        self.study = StudyInputs(self.scene.add("v1"), self.scene.add("s1"))

    @property
    def state(self) -> str:
        return self.session.state.name

    @property
    def states(self) -> list[str]:
        return [change.state.name for change in self.changes if change.kind == "state"]

    def of(self, kind: str) -> list:
        return [change for change in self.changes if change.kind == kind]

    def encoding(self) -> None:
        """A first question on its way in the child."""
        self.session.ask(self.study, ["fatty liver"])
        self.session.poll()
        self.worker.progress("encoding windows", 1, 4)
        self.session.poll()

    def ready(self) -> None:
        """A first question answered."""
        self.encoding()
        self.worker.say("done", result=FINDINGS)
        self.session.poll()


@pytest.fixture
def played(slicerApp):
    made = Played()
    yield made
    made.session.close()


def died(message: str = "The helper process ended."):
    from CTGLIPSlicer.worker_failure import Failure

    return Failure("died", message, "Ask again.", "last line")


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


def test_cancel_before_anything_was_sent_is_immediate(played):
    played.session.ask(played.study, ["liver"])
    played.session.cancel()
    played.session.poll()
    assert played.states == ["PREPARING", "CANCELLING", "IDLE"]
    assert (played.worker.sent, played.scene.exports, len(played.of("cancelled"))) == ([], [], 1)


def test_cancel_while_encoding_waits_for_the_child_to_stop(played):
    played.encoding()
    played.session.cancel()
    played.session.poll()
    assert (played.state, played.worker.cancelled) == ("CANCELLING", [1])
    played.worker.say("cancelled")
    played.session.poll()
    assert (played.state, played.worker.kills, len(played.of("cancelled"))) == ("IDLE", 0, 1)


def test_a_child_that_does_not_stop_is_ended_after_one_second(played):
    played.encoding()
    played.session.cancel()
    played.clock.now += 0.99
    played.session.poll()
    assert played.state == "CANCELLING"
    played.clock.now += 0.01
    played.session.poll()
    assert (played.state, played.worker.kills) == ("IDLE", 1)
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert (played.worker.starts, len(played.scene.exports)) == (2, 1)


def test_cancel_of_a_further_question_goes_back_to_ready(played):
    played.ready()
    played.session.ask(played.study, ["spleen"])
    played.session.cancel()
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert played.state == "READY"
    assert len(played.of("answered")) == 1


def test_cancel_when_nothing_is_asked_does_nothing(played):
    played.session.cancel()
    played.ready()
    played.session.cancel()
    assert (played.state, played.of("cancelled")) == ("READY", [])


def test_the_answer_to_a_cancelled_request_is_ignored(played):
    played.encoding()
    played.session.cancel()
    played.worker.say("progress", what="encoding windows", done=4, total=4)
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert (played.state, played.of("answered")) == ("IDLE", [])


def test_the_answer_to_an_older_request_is_ignored(played):
    played.encoding()
    played.session.ask(played.study, ["spleen"])
    played.worker.say("done", requestId=1, result={"findings": "old"})
    played.worker.say("done", requestId=2, result=FINDINGS)
    played.worker.say("done", requestId=2, result=FINDINGS)
    played.session.poll()
    assert [change.outcome.texts for change in played.of("answered")] == [("spleen",)]
    assert played.state == "READY"


def test_a_request_behind_a_child_that_does_not_stop_goes_to_its_successor(played):
    played.encoding()
    played.session.ask(played.study, ["spleen"])
    played.clock.now += 1.5
    played.session.poll()
    assert (played.worker.kills, played.state) == (1, "PREPARING")
    played.session.poll()
    assert (played.worker.starts, played.worker.last["texts"], played.state) == (2, ["spleen"], "ENCODING")


def test_asking_while_a_cancelled_request_still_stops_goes_on(played):
    played.encoding()
    played.session.cancel()
    played.session.ask(played.study, ["spleen"])
    played.worker.say("cancelled", requestId=1)
    played.worker.say("done", requestId=2, result=FINDINGS)
    played.session.poll()
    assert played.states == ["PREPARING", "ENCODING", "CANCELLING", "PREPARING", "ENCODING", "READY"]


def test_an_error_of_the_child_fails_the_request_and_the_next_one_works(played):
    played.encoding()
    played.worker.say("error", kind="LabelError", message="Names are ambiguous.", details="line")
    played.session.poll()
    failure = played.of("failed")[0].failure
    assert (played.state, failure.kind, failure.message) == ("FAILED", "LabelError", "Names are ambiguous.")
    assert played.session.failure is failure
    played.session.ask(played.study, ["liver"])
    assert (played.session.failure, played.state, played.worker.starts) == (None, "ENCODING", 1)


def test_a_death_while_encoding_fails_and_the_next_request_starts_the_child_again(played):
    played.encoding()
    played.worker.die(died())
    played.session.poll()
    assert (played.state, played.of("failed")[0].failure.details) == ("FAILED", "last line")
    played.session.ask(played.study, ["liver"])
    played.session.poll()
    assert (played.worker.starts, played.state, len(played.scene.exports)) == (2, "ENCODING", 1)


def test_a_child_that_ended_while_nothing_was_asked_is_replaced_without_a_word(played):
    played.ready()
    played.session.ask(played.study, ["spleen"])
    played.worker.die(died())
    played.session.poll()
    assert (played.state, played.of("failed")) == ("PREPARING", [])
    played.session.poll()
    assert (played.worker.starts, played.worker.last["texts"]) == (2, ["spleen"])
    played.worker.say("done", result=FINDINGS)
    played.session.poll()
    assert (played.state, len(played.scene.exports)) == ("READY", 1)


def test_a_child_that_ends_at_once_is_replaced_only_where_it_served_before(played):
    played.ready()
    played.session.ask(played.study, ["spleen"])
    for _ in range(2):
        played.worker.die(died())
        played.session.poll()
        played.session.poll()
    assert (played.state, len(played.of("failed")), played.worker.starts) == ("FAILED", 1, 2)


def test_a_death_while_idle_is_no_failure(played):
    played.ready()
    played.worker.die(died())
    played.session.poll()
    assert (played.state, played.of("failed")) == ("READY", [])


def test_a_death_while_cancelling_ends_the_cancelling(played):
    played.encoding()
    played.session.cancel()
    played.worker.die(died())
    played.session.poll()
    assert (played.state, played.of("failed"), len(played.of("cancelled"))) == ("IDLE", [], 1)


def test_another_protocol_is_refused_with_what_to_do(played):
    from fake_worker import READY

    played.session.ask(played.study, ["liver"])
    played.worker._events = [READY | {"protocol": 2}]
    played.worker.running = True
    played.session.poll()
    assert played.state == "FAILED"
    assert "version 2 of the protocol, this module version 1" in played.session.failure.message
    assert "Install the CT-GLIP extension again" in played.session.failure.remedy


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
