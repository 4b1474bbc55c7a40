"""Requests that wait for the worker."""

from __future__ import annotations

import threading

import pytest

from CTGLIPLib.errors import InputError
from CTGLIPLib.worker_inbox import Inbox
from CTGLIPLib.worker_requests import Describe, Job


def inbox_with(*ids: int) -> Inbox:
    inbox = Inbox()
    for number in ids:
        inbox.put(Job(number, Describe()))
    return inbox


def test_requests_are_served_in_order():
    inbox = inbox_with(3, 1, 2)
    assert [inbox.take().id for _ in range(3)] == [3, 1, 2]


def test_a_waiting_request_is_taken_away_and_a_running_one_is_told_to_stop():
    inbox = inbox_with(1, 2, 3)
    inbox.take()
    assert inbox.cancel(2)
    assert not inbox.must_stop
    assert not inbox.cancel(1)
    assert inbox.must_stop
    assert inbox.take().id == 3
    assert not inbox.must_stop


def test_cancelling_what_is_over_or_unknown_changes_nothing():
    inbox = inbox_with(1, 2)
    inbox.take()
    inbox.take()
    assert not inbox.cancel(1)
    assert not inbox.cancel(9)
    assert not inbox.must_stop


def test_an_id_is_used_once_at_a_time():
    inbox = inbox_with(1)
    with pytest.raises(InputError, match="1 is in use"):
        inbox.put(Job(1, Describe()))
    inbox.take()
    with pytest.raises(InputError, match="1 is in use"):
        inbox.put(Job(1, Describe()))
    inbox.put(Job(2, Describe()))
    inbox.take()
    inbox.put(Job(1, Describe()))
    assert inbox.take().id == 1


def test_the_end_stops_what_runs_and_drops_what_waits():
    inbox = inbox_with(1, 2)
    inbox.take()
    inbox.end()
    assert inbox.must_stop
    assert inbox.take() is None


def test_taking_waits_for_a_request_of_another_thread():
    inbox = Inbox()
    timer = threading.Timer(0.05, lambda: inbox.put(Job(8, Describe())))
    timer.start()
    assert inbox.take().id == 8
    timer.join()
