"""Several studies of a batch at once: answered as one after the other, stopped together, told in one voice."""

# ruff: noqa: F811 - fixtures of test_batch are imported, and asked for by their names

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from patient import make_patient
from test_batch import QUESTIONS, encodings, folder, kept, leave_only, options, rows, stop_after  # noqa: F401

import CTGLIPLib.pictures
import CTGLIPLib.segment
from CTGLIPLib.batch import run_batch
from CTGLIPLib.errors import Cancelled, ConfigError
from CTGLIPLib.predict import Predictor

pytestmark = pytest.mark.usefixtures("own_cache")


class Meeting:
    """A stage that waits, a few seconds at most, until two studies are in it together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.both_came, self._real, self._barrier = False, getattr(owner, name), threading.Barrier(2)
        monkeypatch.setattr(owner, name, lambda *arguments: self._meet(*arguments))

    def _meet(self, *arguments):
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(5)
            self.both_came = True
        return self._real(*arguments)


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a batch."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_studies_that_are_answered_at_once_are_answered_as_one_after_the_other(folder, options, tmp_path, monkeypatch):
    options = replace(options, cache=None, pictures=True)
    one = run_batch(folder, QUESTIONS, tmp_path / "one", replace(options, at_once=1))
    meetings = [Meeting(monkeypatch, Predictor, "_embed"), Meeting(monkeypatch, CTGLIPLib.pictures, "draw_query")]
    two = run_batch(folder, QUESTIONS, tmp_path / "two", options)
    assert all(meeting.both_came for meeting in meetings)
    assert replace(two, out=one.out) == one
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_one_study_at_once_means_one(folder, options, tmp_path, monkeypatch):
    shutil.rmtree(folder / "broken")
    running, most, query = [], [], Predictor.query

    def counted(self, study, texts):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return query(self, study, texts)

    monkeypatch.setattr(Predictor, "query", counted)
    run_batch(folder, QUESTIONS, tmp_path / "out", replace(options, at_once=1))
    assert most == [1, 1]


def test_what_is_told_of_several_studies_comes_one_at_a_time_with_counts_that_never_fall(folder, options, tmp_path):
    told, busy = [], threading.Lock()

    def progress(what: str, done: int, total: int) -> None:
        assert busy.acquire(blocking=False), "called while another call ran"
        told.append((what, done, total))
        time.sleep(0.001)
        busy.release()

    run_batch(folder, QUESTIONS, tmp_path / "out", replace(options, cache=None), progress)
    counts = [done for _, done, _ in told]
    assert counts == sorted(counts)
    assert {total for *_, total in told} == {3}
    assert [step for step in told if ":" not in step[0]] == [
        ("a", 0, 3), ("b", 1, 3), ("broken", 2, 3), ("batch", 3, 3),
    ]  # fmt: skip
    assert {what.split(":")[0] for what, *_ in told} == {"a", "b", "broken", "batch"}


@pytest.mark.parametrize("step", [0, 5, 11, 17, 24])
def test_no_thread_goes_on_when_a_batch_was_stopped_and_nothing_is_half_written(step, folder, options, tmp_path):
    shutil.copytree(folder / "a", folder / "c")
    out, options = tmp_path / "out", replace(options, cache=None, pictures=True)
    before = set(threading.enumerate())
    progress, told = stop_after(step)
    with pytest.raises(Cancelled, match=r"Cancelled with \d of 4 studies done"):
        run_batch(folder, ["left kidney"], out, options, progress)
    assert set(threading.enumerate()) == before
    assert len(told) == step + 1, "asked again after it had said no"
    left = contents(out)
    assert not [name for name in left if Path(name).name.startswith(".")]
    records = {Path(name).parts[0] for name in left if name.endswith("batch.json")}
    assert {row["study"] for row in rows(out / "summary.csv")} == records
    summary = run_batch(folder, ["left kidney"], out, options)
    assert (summary.done + summary.skipped, summary.failed) == (3, 1)
    assert summary.skipped == len(records - {"broken"})


def test_ctrl_c_ends_the_studies_under_way_and_keeps_those_done(folder, options, tmp_path, monkeypatch, encodings):
    leave_only(folder, "b")
    for name in ("a", "c", "d"):
        shutil.copytree(folder / "b", folder / name)
    tables, before = [], set(threading.enumerate())

    def pressed(*_arguments) -> None:
        tables.append(1)
        if len(tables) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("CTGLIPLib.batch._write_tables", pressed)
        with pytest.raises(KeyboardInterrupt):
            run_batch(folder, QUESTIONS, tmp_path / "out", replace(options, cache=None))
    assert set(threading.enumerate()) == before
    assert len(encodings) < 4
    kept = len(list((tmp_path / "out").glob("*/batch.json")))
    assert kept >= 1
    assert run_batch(folder, QUESTIONS, tmp_path / "out", options).skipped == kept


def test_torchs_threads_are_shared_out_and_given_back(folder, options, tmp_path, monkeypatch):
    seen, embed, before = [], Predictor._embed, torch.get_num_threads()

    def seeing(self, *arguments):
        seen.append(torch.get_num_threads())
        return embed(self, *arguments)

    monkeypatch.setattr(Predictor, "_embed", seeing)
    torch.set_num_threads(4)
    try:
        run_batch(folder, QUESTIONS, tmp_path / "out", replace(options, cache=None))
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (seen, after) == ([2, 2], 4)


def test_totalsegmentator_runs_for_one_study_at_a_time(patient, options, tmp_path, monkeypatch):
    running, most = [], []

    def find(volume, progress=None):
        running.append(1)
        most.append(len(running))
        time.sleep(0.1)
        running.pop()
        return make_patient()[1]

    monkeypatch.setitem(CTGLIPLib.segment.SEGMENTERS, "totalsegmentator", lambda _options: find)
    for name in ("a", "b"):
        (tmp_path / "studies" / name).mkdir(parents=True)
        shutil.copyfile(patient / "ct.nii.gz", tmp_path / "studies" / name / "ct.nii.gz")
    assert run_batch(tmp_path / "studies", QUESTIONS, tmp_path / "out", options).done == 2
    assert most == [1, 1]


def test_no_study_at_once_is_refused(options):
    with pytest.raises(ConfigError, match="Expected 1 study or more at once, got 0"):
        replace(options, at_once=0)
