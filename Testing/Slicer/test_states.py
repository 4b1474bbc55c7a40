"""The states of a session and the steps between them."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")


@pytest.fixture
def states(slicerApp):
    from CTGLIPSlicer import states

    return states


def test_every_state_has_its_steps_and_can_be_reached(states):
    everyState = set(states.State)
    assert set(states.TRANSITIONS) == everyState
    assert set().union(*states.TRANSITIONS.values()) == everyState


def test_exactly_these_steps_are_allowed(states):
    S = states.State
    allowed = {(old, new) for old in S for new in S if new in states.TRANSITIONS[old]}
    assert allowed == {
        (S.IDLE, S.PREPARING),
        (S.PREPARING, S.ENCODING),
        (S.PREPARING, S.CANCELLING),
        (S.PREPARING, S.FAILED),
        (S.ENCODING, S.READY),
        (S.ENCODING, S.PREPARING),
        (S.ENCODING, S.CANCELLING),
        (S.ENCODING, S.FAILED),
        (S.READY, S.PREPARING),
        (S.READY, S.IDLE),
        (S.CANCELLING, S.IDLE),
        (S.CANCELLING, S.READY),
        (S.CANCELLING, S.PREPARING),
        (S.FAILED, S.PREPARING),
        (S.FAILED, S.IDLE),
    }


def test_a_step_that_is_not_allowed_raises(states):
    with pytest.raises(RuntimeError, match="From IDLE a session goes to PREPARING, not to READY"):
        states.requireStep(states.State.IDLE, states.State.READY)


def test_busy_states_are_those_between_a_request_and_its_end(states):
    assert {state.name for state in states.State if state.isBusy} == {"PREPARING", "ENCODING", "CANCELLING"}
