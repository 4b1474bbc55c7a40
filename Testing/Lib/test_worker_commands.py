"""What the worker does for each request, in this process; test_worker.py asks a real one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from patient import make_patient
from tumor_rig import ball_ct, ball_grid, save_bright_model

from CTGLIPLib.errors import CheckpointError, InputError
from CTGLIPLib.io import write_volume
from CTGLIPLib.predict import Predictor
from CTGLIPLib.segmentation_io import read_segmentation
from CTGLIPLib.worker_commands import HANDLERS, Commands
from CTGLIPLib.worker_requests import COMMANDS, Ask, Batch, Heatmap, Report, SegmentTumor, StudyRequest

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def scan(patient: Path, tiny_model: Path) -> StudyRequest:
    return StudyRequest(patient / "ct.nii.gz", patient / "organs.nii.gz", model=str(tiny_model), device="cpu")


def go_on(_what: str, _done: int, _total: int) -> bool:
    return True


def test_every_command_has_a_handler():
    assert set(HANDLERS) == set(COMMANDS.values())


def test_organs_found_by_the_worker_are_named_in_the_answer(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "_segmenter", lambda _self, _name: lambda _volume, _progress: make_patient()[1])
    path = tmp_path / "o.seg.nrrd"
    asked = StudyRequest(scan.ct, None, None, "own", scan.model, "cpu", organs_path=path)
    result = Commands().serve(Ask(asked, ("liver",)), go_on)
    assert result["organs"] == str(path)
    assert path.is_file()


def test_a_heat_map_of_a_finding_without_any_organ_is_refused(scan, tmp_path):
    with pytest.raises(InputError, match="does not show"):
        Commands().serve(Heatmap(scan, "brain haemorrhage", tmp_path / "h.nii"), go_on)
    assert not (tmp_path / "h.nii").exists()


def test_kidneys_show_the_heat_of_their_cysts_too(scan, tmp_path):
    result = Commands().serve(Heatmap(scan, "left kidney", tmp_path / "h.nii"), go_on)
    assert result["organs"] == ["kidney_left"]
    assert len(result["hottest_ras_mm"]["kidney_left"]) == 3


def test_a_report_is_written_by_the_report_module(scan, tmp_path, monkeypatch):
    seen = {}

    def write_report(_predictor, study, result, path, progress):
        seen.update(scan=study.embedding.study.name, texts=[answer.text for answer in result.queries], told=progress)
        return path

    monkeypatch.setitem(sys.modules, "CTGLIPLib.report", SimpleNamespace(write_report=write_report))
    result = Commands().serve(Report(scan, ("liver", "fatty liver"), tmp_path / "r.html"), go_on)
    assert result == {"path": str(tmp_path / "r.html")}
    assert seen == {"scan": "ct.nii.gz", "texts": ["liver", "fatty liver"], "told": go_on}


def test_a_batch_answers_every_scan_and_tells_how_many(patient, tiny_model, tmp_path):
    told = []
    request = Batch(patient, ("fatty liver",), tmp_path / "out", str(tiny_model), "cpu", "own")

    def progress(what: str, done: int, total: int) -> bool:
        told.append((what, done, total))
        return True

    result = Commands().serve(request, progress)
    assert result == {"out": str(tmp_path / "out"), "done": 1, "failed": 0, "skipped": 0}
    assert (tmp_path / "out" / "summary.csv").is_file()
    assert told
    again = Commands().serve(request, progress)
    assert (again["done"], again["skipped"]) == (0, 1)


def test_tumours_are_written_as_segments_and_told_with_their_measures(tmp_path):
    ct = ball_ct(ball_grid())
    write_volume(ct.array.astype("int16"), ct.grid, tmp_path / "ct.nii")
    save_bright_model(tmp_path / "balls")
    study = StudyRequest(tmp_path / "ct.nii", device="cpu", name="a/b")
    told = []
    result = Commands().serve(
        SegmentTumor(study, tmp_path / "balls", tmp_path / "t.seg.nrrd"),
        lambda what, _done, _total: told.append(what) or True,
    )
    (ball,) = result["tumors"]["tumors"]
    assert result["tumors"]["study"]["name"] == "a_b"
    assert ball["detected"] is True
    assert read_segmentation(Path(result["path"])).segmentation.names == ("ball",)
    assert list(dict.fromkeys(told)) == ["reading the scan", "preparing the scan", "searching for tumours"]


def test_a_model_that_answers_questions_is_refused_for_tumours_and_nothing_is_written(scan, tiny_model, tmp_path):
    with pytest.raises(CheckpointError, match="expected a tumour model"):
        Commands().serve(SegmentTumor(scan, tiny_model, tmp_path / "t.seg.nrrd"), go_on)
    assert list(tmp_path.iterdir()) == []
