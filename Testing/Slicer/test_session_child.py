"""Sessions with the real child process and a model of random weights: real times, real deaths."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import pytest
from waiting import waitFor

slicer = pytest.importorskip("slicer")
pytest.importorskip("torch")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Block())
"""
DEAF = """
import json, sys, time
print(json.dumps({"event": "ready", "protocol": 1, "version": "0", "pid": 1}), flush=True)
number = json.loads(sys.stdin.readline())["id"]
event = {"id": number, "event": "progress", "what": "encoding windows", "done": 1, "total": 9}
print(json.dumps(event), flush=True)
time.sleep(60)
"""


@pytest.fixture
def makeSession(scene, tmp_path):
    from CTGLIPSlicer.session import Session
    from CTGLIPSlicer.worker_client import WorkerProcess

    made = []

    def make(command=None, **environment):
        worker = WorkerProcess(command, {"CTGLIP_CACHE": str(tmp_path / "cache"), **environment})
        made.append(Session(worker))
        return made[-1]

    yield make
    for session in made:
        session.close()


@pytest.fixture
def study(patientScene, tinyModel):
    from CTGLIPSlicer.session_types import StudyInputs

    return StudyInputs(patientScene.volume, patientScene.segmentation, model=str(tinyModel), device="cpu")


def atEnd(session, begin):
    """The change that ends a request."""
    ends = []

    def observe(change):
        if change.kind in ("answered", "failed", "cancelled"):
            ends.append(change)

    session.addObserver(observe)
    begin()
    waitFor(lambda: session.poll() or ends, 120)
    session.removeObserver(observe)
    return ends[0]


def untilState(session, name):
    waitFor(lambda: session.poll() or session.state.name == name, 120)


def test_a_question_is_answered_and_a_further_one_at_once(makeSession, study, patientScene):
    session = makeSession()
    first = atEnd(session, lambda: session.ask(study, ["liver"]))
    result = first.outcome.queryResult()
    liver = result.queries[0].best
    assert (result.queries[0].answer, liver.organ) == ("found", "liver")
    assert liver.centroid_ras_mm == pytest.approx(patientScene.centreRas("liver"), abs=0.01)
    started = time.monotonic()
    second = atEnd(session, lambda: session.ask(study, ["fatty liver"]))
    assert time.monotonic() - started < 0.5
    assert second.outcome.queryResult().queries[0].best.organ == "liver"


def test_colouring_and_keeping_do_not_make_a_study_new(makeSession, study):
    from CTGLIPSlicer.answers import receive

    session = makeSession()
    outcome = atEnd(session, lambda: session.ask(study, ["liver"])).outcome
    receive(session, outcome)
    display = study.segmentationNode.GetDisplayNode()
    segmentation = study.segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        segmentation.GetNthSegment(index).SetColor(0.1, 0.2, 0.3)
        display.SetSegmentOpacity3D(segmentation.GetNthSegmentID(index), 0.5)
    session.ask(study, ["spleen"])
    assert session.state.name == "ENCODING"  # sent at once: nothing is written again


def test_cancel_while_encoding_ends_within_two_seconds(makeSession, study):
    session = makeSession([sys.executable, "-c", DEAF])
    session.ask(study, ["liver"])
    waitFor(lambda: session.poll() or (session.progress and session.progress.total == 9), 60)
    started = time.monotonic()
    session.cancel()
    untilState(session, "IDLE")
    assert 0.9 < time.monotonic() - started < 2.0


def test_a_child_killed_while_it_works_is_told_and_the_next_question_works(makeSession, study):
    session = makeSession()
    session.ask(study, ["liver"])
    waitFor(lambda: session.poll() or (session.progress and session.progress.what == "reading the scan"), 60, 0.001)
    os.kill(session._worker.pid, signal.SIGKILL)
    untilState(session, "FAILED")
    assert "signal 9" in session.failure.message
    assert "memory" in session.failure.text
    again = atEnd(session, lambda: session.ask(study, ["spleen"]))
    assert again.outcome.queryResult().queries[0].best.organ == "spleen"


def test_a_child_killed_between_questions_is_not_missed(makeSession, study):
    session = makeSession()
    atEnd(session, lambda: session.ask(study, ["liver"]))
    first = session._worker.pid
    os.kill(first, signal.SIGKILL)
    again = atEnd(session, lambda: session.ask(study, ["spleen"]))
    assert again.outcome.queryResult().queries[0].best.organ == "spleen"
    assert session._worker.pid != first


@pytest.mark.parametrize("module", ["torch", "scipy"])
def test_a_missing_package_is_told_with_cause_and_remedy(makeSession, study, tmp_path, module):
    folder = tmp_path / "blocked"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCK.format(module=module))
    session = makeSession(PYTHONPATH=str(folder))
    end = atEnd(session, lambda: session.ask(study, ["fatty liver"]))
    assert end.kind == "failed"
    assert module in end.failure.message
    assert "Set up" in end.failure.remedy


def test_a_model_that_is_not_there_is_told_in_the_childs_words(makeSession, study):
    session = makeSession()
    end = atEnd(session, lambda: session.ask(replace(study, model="/no/model"), ["liver"]))
    assert (end.failure.kind, "/no/model" in end.failure.message) == ("CheckpointError", True)


def test_organs_that_the_child_found_enter_the_scene_once_and_further_questions_are_immediate(
    makeSession, study, tmp_path
):
    from patient import CONFIG, make_model

    from CTGLIPSlicer.answers import receive

    organs = replace(CONFIG.model, segmentation_organs=("liver", "spleen"))
    model = make_model(tmp_path / "own", replace(CONFIG, model=organs)).folder
    session = makeSession()
    asked = replace(study, segmentationNode=None, segmenter="own", model=str(model))
    outcome = atEnd(session, lambda: session.ask(asked, ["fatty liver"])).outcome
    received = receive(session, outcome)
    assert receive(session, outcome).segmentationNode is received.segmentationNode
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
    session.ask(asked, ["liver"])
    assert session.state.name == "ENCODING"
    withNode = replace(asked, segmentationNode=received.segmentationNode)
    session.ask(withNode, ["liver"])
    assert session.state.name == "ENCODING"  # sent at once: the node is known as the child's own organs


def test_a_description_of_the_machine_comes(makeSession):
    session = makeSession()
    told = []
    session.describe(lambda *both: told.append(both))
    waitFor(lambda: session.poll() or told, 60)
    assert told[0][1] is None
    assert "cpu" in told[0][0]["devices"]
