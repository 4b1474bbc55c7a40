"""Sessions: errors and death of the child."""

from __future__ import annotations

from session_rig import FINDINGS, died


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
