"""Sessions: Cancel, and requests that take the place of others."""

from __future__ import annotations

from session_rig import FINDINGS


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
