"""The child process as the module sees it: nothing waits, nothing raises, everything is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from waiting import waitFor

pytest.importorskip("slicer")

CHILD = """
import json, os, subprocess, sys, time
def tell(**event):
    print(json.dumps(event), flush=True)
tell(event="ready", protocol=1, version="0", pid=os.getpid())
time.sleep(float(os.environ.get("CHILD_DEAF_S", "0")))
for line in sys.stdin:
    request = json.loads(line)
    command, number = request["command"], request.get("id")
    if command == "size":
        tell(id=number, event="done", result={"size": len(request["text"]), "text": request["text"][:20]})
    elif command == "large":
        tell(id=number, event="done", result={"text": "x" * request["length"]})
    elif command == "halves":
        text = json.dumps({"id": number, "event": "done", "result": "ä" * 10}, ensure_ascii=False).encode() + b"\\n"
        sys.stdout.buffer.write(text[:40]); sys.stdout.flush(); time.sleep(0.3)
        sys.stdout.buffer.write(text[40:]); sys.stdout.flush()
    elif command == "noise":
        print("this is no event", flush=True); print("[1, 2]", flush=True); tell(id=number, event="done")
    elif command == "fail":
        raise RuntimeError("the cause in words")
    elif command == "exit":
        os._exit(request["code"])
    elif command == "environment":
        tell(id=number, event="done", result=dict(os.environ))
    elif command == "cancel":
        tell(id=number, event="cancelled")
    elif command == "children":
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
        tell(id=number, event="done", result=[child.pid for child in children])
    elif command == "temporary":
        import tempfile
        folder = tempfile.mkdtemp(); open(folder + "/ct.nii", "w").close()
        tell(id=number, event="done", result=folder)
        if request["dies"]:
            os._exit(3)
    elif command == "flood":
        while True:
            os.write(1, request["text"].encode() * 1000)
    elif command == "deaf":
        os.close(1); time.sleep(60)
"""

LAUNCHER = """
import subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[1:]])
if code < 0:
    print(f"error: [{sys.executable}] exit abnormally - Report the problem.", file=sys.stderr, flush=True)
sys.exit(1 if code < 0 else code)
"""
"""Ends as PythonSlicer does, which starts Python and waits for it."""


@pytest.fixture
def makeWorker(slicerApp):
    from CTGLIPSlicer.worker_client import WorkerProcess

    made = []

    def make(command=(sys.executable, "-c", CHILD), **environment):
        made.append(WorkerProcess(command, environment))
        made[-1].start()
        return made[-1]

    yield make
    for worker in made:
        worker.kill()


@pytest.fixture
def worker(makeWorker):
    child = makeWorker()
    nextEvent(child)
    return child


def nextEvent(worker):
    return waitFor(lambda: worker.poll(), 20)[0]


def isAlive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_child_says_first_that_it_is_ready(makeWorker):
    child = makeWorker()
    assert nextEvent(child) == {"event": "ready", "protocol": 1, "version": "0", "pid": child.pid}


def test_a_request_gets_a_number_and_its_answer_has_it(worker):
    numbers = [worker.send({"command": "size", "text": "fatty liver"}) for _ in range(2)]
    first = nextEvent(worker)
    assert numbers == [1, 2]
    assert first == {"id": 1, "event": "done", "result": {"size": 11, "text": "fatty liver"}}


def test_text_of_any_language_comes_through(worker):
    worker.send({"command": "size", "text": "Fettleber größer 脂肪肝"})
    assert nextEvent(worker)["result"]["text"] == "Fettleber größer 脂肪肝"


def test_a_line_that_comes_in_two_halves_is_one_event(worker):
    worker.send({"command": "halves"})
    assert nextEvent(worker) == {"id": 1, "event": "done", "result": "ä" * 10}


def test_a_request_larger_than_the_pipe_does_not_wait_for_a_child_that_does_not_read(makeWorker):
    child = makeWorker(CHILD_DEAF_S="0.6")
    nextEvent(child)
    started = time.monotonic()
    child.send({"command": "size", "text": "x" * 3_000_000})
    child.poll()
    assert time.monotonic() - started < 0.3
    assert nextEvent(child)["result"]["size"] == 3_000_000


def test_an_answer_larger_than_the_pipe_is_read_whole(worker):
    worker.send({"command": "large", "length": 3_000_000})
    assert len(nextEvent(worker)["result"]["text"]) == 3_000_000


def test_polling_a_silent_child_does_not_wait(worker):
    started = time.monotonic()
    events = [worker.poll() for _ in range(100)]
    assert events == [[]] * 100
    assert time.monotonic() - started < 1.0


def test_lines_that_are_no_events_are_passed_over_and_logged(worker, caplog):
    worker.send({"command": "noise"})
    assert nextEvent(worker) == {"id": 1, "event": "done"}
    assert caplog.text.count("a line that is no event") == 2


def test_cancel_names_the_request(worker):
    worker.cancel(7)
    assert nextEvent(worker) == {"id": 7, "event": "cancelled"}


def test_a_write_to_a_dead_child_is_reported_as_its_death(worker):
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.2)
    worker.send({"command": "size", "text": "x" * 200_000})
    worker.cancel(1)
    event = nextEvent(worker)
    assert event["event"] == "died"
    assert event["failure"].kind == "died"
    assert "signal 9" in event["failure"].message
    assert "ran out of memory" in event["failure"].message
    assert "crop the volume" in event["failure"].remedy
    assert not worker.isRunning()
    assert worker.poll() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize(("number", "told"), [(signal.SIGKILL, "ran out of memory"), (signal.SIGSEGV, "SIGSEGV")])
def test_a_python_that_is_killed_below_slicers_launcher_is_told_as_that(makeWorker, number, told):
    child = makeWorker([sys.executable, "-c", LAUNCHER, "-c", CHILD])
    python = nextEvent(child)["pid"]
    assert python != child.pid
    os.kill(python, number)
    failure = nextEvent(child)["failure"]
    assert told in failure.message
    assert "Report the problem" not in failure.details


def test_kill_ends_the_python_below_slicers_launcher(makeWorker):
    child = makeWorker([sys.executable, "-c", LAUNCHER, "-c", CHILD])
    python = nextEvent(child)["pid"]
    child.kill()
    waitFor(lambda: not isAlive(python), 5)
    assert not isAlive(python)


def test_the_death_tells_the_last_real_lines_and_the_exit_code(worker):
    worker.send({"command": "fail"})
    failure = nextEvent(worker)["failure"]
    assert "exit code 1" in failure.message
    assert failure.details == "RuntimeError: the cause in words"
    assert worker.lastErrorLines() == failure.details


def test_what_a_child_wrote_before_its_end_is_told_before_its_death(worker):
    worker.send({"command": "size", "text": "last"})
    worker.send({"command": "exit", "code": 3})
    kinds = []
    waitFor(lambda: kinds.extend(event["event"] for event in worker.poll()) or "died" in kinds, 20)
    assert kinds == ["done", "died"]


def test_a_child_that_closes_its_output_is_ended(worker):
    worker.send({"command": "deaf"})
    pid = worker.pid
    assert nextEvent(worker)["event"] == "died"
    assert not isAlive(pid)


def test_a_child_ended_by_us_gives_no_event_and_starts_again(worker):
    first = worker.pid
    worker.send({"command": "exit", "code": 1})
    worker.kill()
    assert worker.poll() == []
    assert worker.send({"command": "size", "text": ""}) == 2
    worker.start()
    assert nextEvent(worker)["event"] == "ready"
    assert worker.pid != first


@pytest.mark.skipif(sys.platform == "win32", reason="looks into /proc")
def test_kill_ends_all_that_the_child_started_within_a_second(worker):
    worker.send({"command": "children"})
    pids = [worker.pid, *nextEvent(worker)["result"]]
    started = time.monotonic()
    worker.kill()
    assert time.monotonic() - started < 1.0
    waitFor(lambda: not any(map(isAlive, pids)), 5)
    assert not any(map(isAlive, pids))


def test_a_program_that_is_not_there_is_a_death(makeWorker):
    child = makeWorker(["/no/such/PythonSlicer", "-c", ""])
    number = child.send({"command": "size", "text": ""})
    failure = child.poll()[0]["failure"]
    assert number == 1
    assert "/no/such/PythonSlicer" in failure.message
    assert not child.isRunning()


@pytest.mark.parametrize("dies", [False, True])
def test_what_a_child_left_in_its_temporary_folder_goes_with_it(worker, dies):
    worker.send({"command": "temporary", "dies": dies})
    folder = Path(nextEvent(worker)["result"])
    assert (folder / "ct.nii").is_file() or dies
    if dies:
        waitFor(lambda: [worker.poll()] and not worker.isRunning(), 20)
        assert not folder.exists()
    worker.kill()
    assert not folder.parent.parent.exists()


def test_a_child_that_writes_without_end_holds_up_nobody_and_is_ended(worker, monkeypatch, caplog):
    from CTGLIPSlicer import worker_client

    monkeypatch.setattr(worker_client, "LONGEST_EVENT_BYTES", 10_000_000)
    worker.send({"command": "flood", "text": "no event "})
    started = time.monotonic()
    worker.poll()
    assert time.monotonic() - started < 0.5
    assert "without end" in nextEvent(worker)["failure"].message
    assert not worker.isRunning()


def test_without_a_temporary_folder_no_child_starts_and_the_reason_is_told(makeWorker, monkeypatch):
    from CTGLIPSlicer import worker_client

    def full(**_options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_client.tempfile, "mkdtemp", full)
    child = makeWorker()
    (event,) = child.poll()
    assert "none could be made: No space left on device." in event["failure"].message
    assert not child.isRunning()


def test_half_a_character_is_sent_as_json_spells_it(worker):
    worker.send({"command": "size", "text": "a\udcff"})
    assert nextEvent(worker)["result"] == {"size": 2, "text": "a\udcff"}


def test_events_too_deep_or_with_an_odd_id_are_passed_over():
    from CTGLIPSlicer.worker_client import _event

    assert _event(b"[" * 100_000) is None
    assert _event(b'{"id": [1], "event": "done"}') is None
    assert _event(b'{"event": "ready"}') == {"event": "ready"}


def test_the_child_has_our_environment_and_finds_the_library(makeWorker, monkeypatch):
    from CTGLIPSlicer.worker_client import libraryFolder

    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    child = makeWorker(CT_TEST="yes")
    nextEvent(child)
    child.send({"command": "environment"})
    environment = nextEvent(child)["result"]
    assert environment["PYTHONPATH"] == os.pathsep.join([str(libraryFolder()), "/elsewhere"])
    assert (libraryFolder() / "CTGLIPLib" / "worker.py").is_file()
    assert (environment["CT_TEST"], environment["PYTHONUTF8"]) == ("yes", "1")
    assert environment["PATH"] == os.environ["PATH"]


def test_the_log_is_removed_with_the_child(worker, monkeypatch):
    log = worker._log
    assert log.is_file()
    worker.kill()
    assert not log.exists()


def test_slicers_python_runs_the_child_where_there_is_one(slicerApp, monkeypatch, tmp_path):
    from CTGLIPSlicer.worker_client import pythonProgram

    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythonProgram() == sys.executable
    program = tmp_path / "PythonSlicer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert pythonProgram() == str(program)
