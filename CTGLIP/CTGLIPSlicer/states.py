"""The states of a session, with the only steps that lead from one to another."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a session is doing."""

    IDLE = "idle"
    """Nothing was answered yet."""
    PREPARING = "preparing"
    """Files are written, the child process starts, organs are looked for."""
    ENCODING = "encoding"
    """The child process computes."""
    READY = "ready"
    """The last request was answered; a further question about the study is answered at once."""
    CANCELLING = "cancelling"
    """The child was asked to stop and has not yet done so."""
    FAILED = "failed"
    """The last request failed; the next one starts afresh."""

    @property
    def isBusy(self) -> bool:
        """Whether a request is being worked at."""
        return self in BUSY


BUSY = frozenset({State.PREPARING, State.ENCODING, State.CANCELLING})
TRANSITIONS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.PREPARING}),
    State.PREPARING: frozenset({State.ENCODING, State.CANCELLING, State.FAILED}),
    State.ENCODING: frozenset({State.READY, State.PREPARING, State.CANCELLING, State.FAILED}),
    State.READY: frozenset({State.PREPARING, State.IDLE}),
    State.CANCELLING: frozenset({State.IDLE, State.READY, State.PREPARING}),
    State.FAILED: frozenset({State.PREPARING, State.IDLE}),
}
"""From each state, the states that may follow."""


def requireStep(old: State, new: State) -> None:
    """Nothing, if `new` may follow `old`.

    Raises:
        RuntimeError: if it may not.
    """
    if new not in TRANSITIONS[old]:
        allowed = ", ".join(sorted(state.name for state in TRANSITIONS[old]))
        msg = f"From {old.name} a session goes to {allowed}, not to {new.name}. This is a mistake in the module."
        raise RuntimeError(msg)
