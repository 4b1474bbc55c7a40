"""The worker as a process: events and nothing else on standard output, cancelling, errors, its end."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from patient import CONFIG, make_model
from test_segment import happens, is_running
from worker_process import WorkerProcess

import CTGLIPLib
from CTGLIPLib import worker as worker_module
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.io import read_array, read_volume
from CTGLIPLib.result_reader import result_from_dict
from CTGLIPLib.segmentation_io import read_segmentation

NOISE = """
import os, sys
from importlib.abc import MetaPathFinder

class Noisy(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("scipy", "torch"):
            print("printed by a library", flush=True)
            os.write(1, b"written by a library\\n")
            os.system("echo said by a program; head -c 1 | wc -c")

sys.meta_path.insert(0, Noisy())
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One worker for the module, in which importing scipy and torch prints in every way there is."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(NOISE)
    process = WorkerProcess(folder, folder / "site")
    assert process.next()["event"] == "ready"
    yield process
    process.close()


@pytest.fixture
def start(tmp_path):
    """Starts workers of the test's own in its folder, and ends them."""
    started = []

    def start_worker(*python_path: Path, **options: str) -> WorkerProcess:
        started.append(WorkerProcess(tmp_path, *python_path, **options))
        return started[-1]

    yield start_worker
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def study(patient: Path, tiny_model: Path) -> dict[str, object]:
    return {
        "ct": str(patient / "ct.nii.gz"),
        "segmentation": str(patient / "organs.nii.gz"),
        "names": None,
        "segmenter": "own",
        "model": str(tiny_model),
        "device": "cpu",
        "text_encoder_folder": None,
        "name": None,
        "organs_path": None,
    }


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that encodes the patient in many small windows."""
    config = dataclasses.replace(CONFIG, preprocess=PreprocessConfig(spacing_mm=3.0, patch_voxels=32))
    return make_model(tmp_path_factory.mktemp("models") / "slow", config).folder


def test_it_is_ready_at_once_and_ends_with_its_input(start):
    worker = start()
    ready = worker.next()
    waited = time.monotonic() - worker.started
    assert ready == {
        "event": "ready",
        "protocol": 1,
        "version": CTGLIPLib.__version__,
        "pid": worker.process.pid,
    }
    worker.process.stdin.close()
    assert worker.next(5) is None
    assert worker.process.wait(5) == 0
    assert worker.log.read_text() == ""
    assert waited < 5  # 0.1 s on an idle machine


def test_a_question_is_answered_and_a_second_one_at_once(worker, study):
    first = worker.answer("ask", study=study, texts=["fatty liver", "left kidney"])
    result = first["result"]
    findings = result_from_dict(result["findings"])
    assert [(answer.text, answer.answer) for answer in findings.queries][1] == ("left kidney", "found")
    assert (result["organs"], findings.study.name) == (None, "ct.nii.gz")
    assert result["warnings"] == list(findings.study.warnings)
    second = worker.answer(
        "ask", study=study | {"name": "A / B", "segmentation_name": "C"}, texts=["fatty liver", "spleen"]
    )["result"]
    assert second["seconds"] < max(0.2, result["seconds"] / 4)
    assert second["findings"]["study"]["name"] == "A _ B"
    assert second["findings"]["segmentation"]["source"] == "segmentation C"
    assert second["findings"]["queries"][0] == result["findings"]["queries"][0]


def test_nothing_but_events_reaches_standard_output_whatever_a_library_prints(worker, study):
    worker.answer("ask", study=study, texts=["fatty liver"])
    assert all(isinstance(json.loads(line)["event"], str) for line in worker.lines)
    log = worker.log.read_text()
    for noise in ("printed by a library", "written by a library", "said by a program"):
        assert log.count(noise) == 2  # scipy and torch
    assert "\n0\n" in log  # bytes that the program could read of the requests


def test_a_heat_map_is_written_on_the_cts_grid_with_its_range_and_hottest_place(worker, study, tmp_path):
    path = tmp_path / "heat.nii"
    result = worker.answer("heatmap", study=study, text="fatty liver", path=str(path))["result"]
    heat, grid, _ = read_array(path)
    ct = read_volume(Path(study["ct"])).volume
    liver = read_segmentation(Path(study["segmentation"])).segmentation.mask("liver")
    assert same_grid(grid, ct.grid)
    assert heat.dtype == np.float32
    assert (heat[~liver] == -1).all()
    assert (heat[liver] > -1).all()
    assert [result["low"], result["high"]] == pytest.approx(np.percentile(heat[liver], [1, 99]), abs=1e-6)
    assert {key: result[key] for key in ("path", "outside", "organs")} == {
        "path": str(path),
        "outside": -1.0,
        "organs": ["liver"],
    }
    index = np.unravel_index(heat.argmax(), heat.shape)
    assert result["hottest_ras_mm"] == {"liver": pytest.approx(grid.to_ras(np.array(index)), abs=1e-3)}


def test_a_heat_map_of_an_organ_that_is_not_there_is_refused(worker, study, tmp_path):
    refused = worker.answer("heatmap", study=study, text="stomach", path=str(tmp_path / "heat.nii"))
    assert refused["kind"] == "InputError"
    assert "asks about stomach, which this scan does not show" in refused["message"]
    assert list(tmp_path.iterdir()) == []


def test_an_encoding_is_cancelled_within_two_seconds_and_the_next_question_works(worker, study, slow_model):
    job = worker.send("ask", study=study | {"model": str(slow_model)}, texts=["fatty liver"])
    while (event := worker.until("progress"))["what"] != "encoding windows":
        pass
    assert (event["id"], event["done"]) == (job, 0)
    assert event["total"] > 10
    worker.write(json.dumps({"command": "cancel", "id": job}))
    started = time.monotonic()
    assert worker.until("cancelled", "done", "error") == {"id": job, "event": "cancelled"}
    assert time.monotonic() - started < 2
    assert worker.answer("ask", study=study, texts=["fatty liver"])["event"] == "done"


def test_a_waiting_request_is_cancelled_at_once_and_others_are_left_alone(worker, study, slow_model, tmp_path):
    slow = worker.send("ask", study=study | {"model": str(slow_model)}, texts=["fatty liver"])
    waiting = worker.send("heatmap", study=study, text="fatty liver", path=str(tmp_path / "heat.nii"))
    worker.until("progress")
    worker.write(json.dumps({"command": "cancel", "id": 4711}))  # unknown: nothing happens
    worker.write(json.dumps({"command": "cancel", "id": waiting}))
    assert worker.until("cancelled", "done") == {"id": waiting, "event": "cancelled"}
    worker.write(json.dumps({"command": "cancel", "id": slow}))
    assert worker.until("cancelled", "done") == {"id": slow, "event": "cancelled"}
    assert list(tmp_path.iterdir()) == []


def test_lines_that_are_no_requests_are_refused_and_the_next_request_works(worker, study):
    worker.write("{not json")
    refused = worker.until("error")
    assert "id" not in refused
    assert refused["kind"] == "InputError"
    worker.write("")
    unknown = worker.answer("sing")
    assert "one of describe, ask, heatmap, report, segment_tumor, batch, cancel, quit, got 'sing'" in unknown["message"]
    missing = worker.answer("ask", study=study | {"colour": 1}, texts=["fatty liver"])
    assert "colour unknown" in missing["message"]
    gone = worker.answer("ask", study=study | {"ct": "/nowhere/ct.nii.gz"}, texts=["fatty liver"])
    assert (gone["kind"], gone["details"]) == ("InputError", None)
    assert "There is no file" in gone["message"]
    homeless = worker.answer("ask", study=study | {"ct": "~nobody_of_this_name/ct.nii"}, texts=["fatty liver"])
    assert "the folder of a user of this machine" in homeless["message"]
    too_long = worker.answer("ask", study=study | {"ct": "/" + "a" * 5000}, texts=["fatty liver"])
    assert too_long["kind"] == "InputError"
    assert worker.answer("ask", study=study, texts=["fatty liver"])["event"] == "done"


def test_a_line_that_breaks_the_reader_does_not_end_the_listening(monkeypatch, tmp_path):
    def broken(_line: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr(worker_module, "parse_line", broken)
    ended = threading.Event()
    monkeypatch.setattr(worker_module.os, "_exit", lambda _code: ended.set())
    monkeypatch.setattr(worker_module, "END_GRACE_S", 0.0)
    (tmp_path / "requests").write_bytes(b"{}\n{}\n")
    with (tmp_path / "requests").open("rb") as requests, (tmp_path / "events").open("wb") as events:
        worker_module.Worker(requests, events).run()
        assert ended.wait(10)  # else it would end this process
    lines = (tmp_path / "events").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["ready", "error", "error"]


def test_the_machine_is_described(worker, tiny_model):
    described = worker.answer("describe", models=["default", str(tiny_model)])["result"]
    assert described["python"] == ".".join(map(str, sys.version_info[:3]))
    assert described["devices"][:2] == ["auto", "cpu"]
    assert [model["name"] for model in described["models"]] == ["default", "tiny"]


def test_a_study_that_was_encoded_before_is_asked_without_torch(worker, study, start, tmp_path):
    worker.answer("ask", study=study, texts=["fatty liver"])
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text("raise ImportError('no torch here')")
    other = start(tmp_path / "site", CTGLIP_CACHE=str(worker.log.parent / "cache"))
    answer = other.answer("ask", study=study, texts=["fatty liver", "left kidney"])
    described = other.answer("describe")
    other.write(json.dumps({"command": "quit"}))
    assert other.process.wait(10) == 0
    assert answer["event"] == "done"
    assert (described["result"]["torch"], described["result"]["text_encoder"]) == (None, False)


def test_the_end_of_its_input_stops_what_runs(study, slow_model, start, tmp_path):
    worker = start()
    worker.send("ask", study=study | {"model": str(slow_model)}, texts=["fatty liver"])
    while worker.until("progress")["what"] != "encoding windows":
        pass
    worker.process.stdin.close()
    started = time.monotonic()
    assert worker.process.wait(10) == 0
    assert time.monotonic() - started < 2.5
    assert not list((tmp_path / "cache").rglob("*.ctglip"))


FAULTY = """
from CTGLIPLib import worker, worker_commands

faults = [KeyError("/patients/Doe_John/ct.nii"), MemoryError("Doe")]

def sometimes_describe(self, request, progress):
    if faults:
        self.studies._kept["big"] = object()
        raise faults.pop(0)
    return {"kept": len(self.studies._kept)}

worker_commands.HANDLERS[worker_commands.Describe] = sometimes_describe
worker.main()
"""


def test_a_fault_of_ours_and_too_little_memory_are_told_without_the_patient_and_survived(start):
    worker = start(code=FAULTY)
    fault, memory = worker.answer("describe"), worker.answer("describe")
    assert (fault["kind"], memory["kind"]) == ("InternalError", "OutOfMemory")
    assert fault["details"].endswith("in sometimes_describe\nKeyError")
    assert worker.answer("describe")["result"] == {"kept": 0}
    assert "Doe" not in worker.log.read_text() + str(fault) + str(memory)


def test_an_id_that_is_in_use_is_refused_without_touching_the_other_request(worker, study, slow_model):
    job = worker.send("ask", study=study | {"model": str(slow_model)}, texts=["fatty liver"])
    worker.write(json.dumps({"id": job, "command": "describe"}))
    refused = worker.until("error", "done")
    assert "id" not in refused
    assert f"{job} is in use" in refused["message"]
    worker.write(json.dumps({"command": "cancel", "id": job}))
    assert worker.until("cancelled", "done")["id"] == job


FAKE_SEGMENTATOR = """
import os, subprocess, time
from pathlib import Path

def totalsegmentator(*args, **options):
    started = subprocess.Popen(["sleep", "60"])
    Path(os.environ["FAKE_RECORD"]).write_text(f"{os.getpid()} {started.pid}")
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_worker_takes_total_segmentator_along(study, start, tmp_path):
    package = tmp_path / "site" / "totalsegmentator"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "map_to_binary.py").write_text("class_map = {}")
    (package / "python_api.py").write_text(FAKE_SEGMENTATOR)
    record = tmp_path / "pids"
    worker = start(tmp_path / "site", FAKE_RECORD=str(record))
    worker.send("ask", study=study | {"segmentation": None, "segmenter": "totalsegmentator"}, texts=["fatty liver"])
    assert happens(lambda: record.is_file() and len(record.read_text().split()) == 2, 60)
    os.kill(worker.process.pid, 9)
    worker.process.wait()
    pids = [int(pid) for pid in record.read_text().split()]
    assert happens(lambda: not any(map(is_running, pids)), 2)
