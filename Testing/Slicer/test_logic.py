"""The logic for scripts: calls that wait, errors of the kind that fits, results in the scene."""

from __future__ import annotations

import logging
import types

import pytest
from fake_worker import FakeWorker

slicer = pytest.importorskip("slicer")
from made_results import answer, organ, result  # noqa: E402 - needs nothing of Slicer, but its tests do

FATTY = result(answer("fatty liver", organ("liver", 0.8)))


class AnsweringWorker(FakeWorker):
    """Answers each command with what the test put into `answers`: a result, or an error's kind and message."""

    def __init__(self) -> None:
        from CTGLIPLib.result_files import to_dict

        super().__init__()
        self.answers: dict[str, object] = {"ask": {"findings": to_dict(FATTY), "organs": None}}

    def send(self, request: dict) -> int:
        number = super().send(request)
        given = self.answers.get(request["command"])
        if isinstance(given, tuple):
            self.say("error", kind=given[0], message=given[1])
        elif given is not None:
            self.progress("encoding windows", 1, 2)
            self.progress("encoding windows", 2, 2)
            self.say("done", result=given)
        return number


@pytest.fixture
def worker(scene):
    return AnsweringWorker()


@pytest.fixture
def logic(worker):
    from CTGLIPSlicer.logic import ScriptLogic
    from CTGLIPSlicer.session import Session

    made = ScriptLogic(Session(worker))
    yield made
    made.close()


def test_a_query_gives_the_answers_and_keeps_them(logic, patientScene):
    from CTGLIPSlicer.keep import keptResult

    given = logic.query(patientScene.volume, patientScene.segmentation, ["fatty liver"])
    assert given == FATTY
    assert keptResult(patientScene.volume) == FATTY


def test_options_reach_the_child(logic, worker, patientScene):
    logic.query(
        patientScene.volume, patientScene.segmentation, ["x"], model="m", device="cpu", textEncoderFolder="/texts"
    )
    study = worker.last["study"]
    assert (study["model"], study["device"], study["text_encoder_folder"]) == ("m", "cpu", "/texts")


def test_one_text_is_one_question(logic, worker, patientScene):
    logic.query(patientScene.volume, patientScene.segmentation, "fatty liver")
    assert worker.last["texts"] == ["fatty liver"]


def test_an_unknown_option_and_an_unknown_source_are_refused(logic, patientScene):
    from CTGLIPLib.errors import InputError

    with pytest.raises(InputError, match="Unknown options: modell. There are: model, device"):
        logic.query(patientScene.volume, None, ["x"], modell="m")
    with pytest.raises(InputError, match="organsSource must be one of"):
        logic.query(patientScene.volume, None, ["x"], organsSource="moon")
    with pytest.raises(InputError, match="Expected a volume node"):
        logic.query(None, None, ["x"])


@pytest.mark.parametrize("kind", ["InputError", "LabelError", "CheckpointError", "DependencyError"])
def test_an_error_of_the_child_is_raised_as_its_kind(logic, worker, patientScene, kind):
    from CTGLIPLib import errors

    worker.answers["ask"] = (kind, "the child's words")
    with pytest.raises(getattr(errors, kind), match="the child's words"):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"])


def test_any_other_failure_is_raised_as_ours(logic, worker, patientScene):
    from CTGLIPLib.errors import CTGLIPError

    worker.answers["ask"] = ("InternalError", "a mistake")
    with pytest.raises(CTGLIPError, match="a mistake"):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"])


def test_a_volume_under_a_transform_is_refused_in_words(logic, patientScene):
    from CTGLIPLib.errors import GeometryError

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    patientScene.volume.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(GeometryError, match="transform"):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"])


def test_progress_goes_to_the_caller(logic, patientScene):
    told = []
    logic.query(patientScene.volume, patientScene.segmentation, ["x"], progress=lambda *step: told.append(step))
    assert told[-2:] == [("encoding windows", 1, 2), ("encoding windows", 2, 2)]


def test_without_a_callback_each_new_step_is_logged_once(logic, patientScene, caplog):
    with caplog.at_level(logging.INFO):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"])
    assert caplog.text.count("encoding windows") == 1


def test_an_interrupt_cancels_the_request(logic, worker, patientScene):
    def interrupt(what, _done, _total):
        if what == "encoding windows":
            worker.say("cancelled")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"], progress=interrupt)
    assert (worker.cancelled, logic.session.state.name) == ([1], "IDLE")
    assert logic.query(patientScene.volume, patientScene.segmentation, ["x"]) == FATTY


def test_a_volume_removed_meanwhile_is_told(logic, worker, patientScene):
    from CTGLIPLib.errors import Cancelled

    def remove(what, _done, _total):
        if what == "starting the helper process":
            slicer.mrmlScene.RemoveNode(patientScene.volume)

    worker.answers["ask"] = None
    worker.cancel = lambda requestId: worker.say("cancelled", requestId)
    with pytest.raises(Cancelled, match="removed from the scene"):
        logic.query(patientScene.volume, patientScene.segmentation, ["x"], progress=remove)


def test_a_batch_gives_numbers_and_the_failures(logic, worker, tmp_path):
    (tmp_path / "failures.csv").write_text("study,error,message\na,InputError,no CT\n")
    worker.answers["batch"] = {"out": str(tmp_path), "done": 2, "failed": 1, "skipped": 0}
    summary = logic.batch("studies", ["fatty liver"], tmp_path, device="cpu", organsSource="own")
    assert summary == {
        "out": str(tmp_path),
        "done": 2,
        "failed": 1,
        "skipped": 0,
        "failures": [{"study": "a", "error": "InputError", "message": "no CT"}],
    }
    assert worker.last["folder"].endswith("/studies")
    assert (worker.last["segmenter"], worker.last["device"], worker.last["model"]) == ("own", "cpu", "default")


def test_a_batch_does_not_use_the_extension(logic, tmp_path):
    from CTGLIPLib.errors import InputError

    with pytest.raises(InputError, match="in the child process"):
        logic.batch("studies", ["x"], tmp_path, organsSource="totalsegmentator-extension")


def test_results_are_written_by_their_ending(logic, worker, patientScene, tmp_path):
    from CTGLIPLib.result_reader import read_json

    assert read_json(logic.exportResults(FATTY, tmp_path / "r.json")) == FATTY
    assert "fatty liver" in logic.exportResults(FATTY, str(tmp_path / "r.csv")).read_text()
    worker.answers["report"] = {"path": str(tmp_path / "r.html")}
    written = logic.exportResults(FATTY, tmp_path / "r.html", patientScene.volume, patientScene.segmentation)
    assert written == tmp_path / "r.html"
    assert worker.last["texts"] == ["fatty liver"]


def test_a_report_without_its_ct_is_refused(logic, tmp_path):
    from CTGLIPLib.errors import InputError

    with pytest.raises(InputError, match="give exportResults the volumeNode"):
        logic.exportResults(FATTY, tmp_path / "r.pdf")


def test_a_description_is_waited_for(logic, worker):
    from CTGLIPLib.errors import CTGLIPError

    worker.answers["describe"] = {"torch": None}
    assert logic.describe("default") == {"torch": None}
    worker.answers["describe"] = ("CTGLIPError", "no description")
    with pytest.raises(CTGLIPError, match="no description"):
        logic.describe()


@pytest.fixture
def extension(scene, monkeypatch):
    """A TotalSegmentator extension that finds a liver; what it was called with."""
    calls = []

    def process(volumeNode, segmentationNode, **options):
        calls.append(options)
        segmentationNode.GetSegmentation().AddEmptySegment("liver", "liver")

    logic = types.SimpleNamespace(process=process)
    original = slicer.util.getModuleLogic
    monkeypatch.setattr(
        slicer.util, "getModuleLogic", lambda name: logic if name == "TotalSegmentator" else original(name)
    )
    return calls


def test_the_extension_finds_organs_where_it_is_asked_to(logic, extension, patientScene):
    from CTGLIPSlicer.script_options import organsByExtension

    node = organsByExtension(patientScene.volume, "cpu")
    assert extension == [{"cpu": True, "task": "total", "interactive": False}]
    assert node.GetSegmentation().GetSegment("liver") is not None


def test_a_missing_extension_is_told_with_the_way_round(logic, patientScene):
    from CTGLIPLib.errors import DependencyError

    with pytest.raises(DependencyError, match="Install it, or choose organsSource totalsegmentator"):
        logic.query(patientScene.volume, None, ["x"], organsSource="totalsegmentator-extension")


def test_an_extension_that_fails_leaves_no_node(logic, extension, patientScene, monkeypatch):
    from CTGLIPLib.errors import DependencyError
    from CTGLIPSlicer.script_options import organsByExtension

    def process(*_nodes, **_options):
        msg = "returned non-zero exit status 1"
        raise RuntimeError(msg)

    slicer.util.getModuleLogic("TotalSegmentator").process = process
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    with pytest.raises(DependencyError, match="non-zero exit status 1"):
        organsByExtension(patientScene.volume, "auto")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before


def test_the_same_logic_serves_a_real_child_without_a_main_window(patientScene, tinyModel, tmp_path):
    pytest.importorskip("torch")
    from CTGLIPSlicer.logic import ScriptLogic
    from CTGLIPSlicer.session import Session
    from CTGLIPSlicer.worker_client import WorkerProcess

    assert slicer.app.layoutManager() is None
    logic = ScriptLogic(Session(WorkerProcess(environment={"CTGLIP_CACHE": str(tmp_path / "cache")})))
    options = {"model": str(tinyModel), "device": "cpu"}
    try:
        given = logic.query(patientScene.volume, patientScene.segmentation, ["liver", "fatty liver"], **options)
        heat = logic.heatmap(patientScene.volume, patientScene.segmentation, "fatty liver", **options)
        report = logic.exportResults(
            given, tmp_path / "r.html", patientScene.volume, patientScene.segmentation, **options
        )
    finally:
        logic.close()
    assert [one.best.organ for one in given.queries] == ["liver", "liver"]
    assert heat.GetImageData().GetDimensions() == patientScene.volume.GetImageData().GetDimensions()
    assert "not a medical device" in report.read_text(encoding="utf-8")


def test_a_batch_of_the_real_child_goes_on_after_a_failing_study_and_can_be_run_again(scene, tinyModel, tmp_path):
    pytest.importorskip("torch")
    from patient import write_patient

    from CTGLIPSlicer.logic import ScriptLogic
    from CTGLIPSlicer.session import Session
    from CTGLIPSlicer.worker_client import WorkerProcess

    for name in ("a", "c"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write_patient(tmp_path / "in" / name)
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "ct.nii.gz").write_bytes(b"no image")
    logic = ScriptLogic(Session(WorkerProcess(environment={"CTGLIP_CACHE": str(tmp_path / "cache")})))
    try:
        first, second = (
            logic.batch(tmp_path / "in", ["liver"], tmp_path / "out", model=str(tinyModel), device="cpu")
            for _ in range(2)
        )
    finally:
        logic.close()
    assert {name: first[name] for name in ("done", "failed", "skipped")} == {"done": 2, "failed": 1, "skipped": 0}
    assert [row["study"] for row in first["failures"]] == ["b"]
    assert second["skipped"] == 2
    assert (tmp_path / "out" / "a" / "findings.json").is_file()
