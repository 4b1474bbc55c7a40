"""A batch: every study is answered, one that fails stops nobody, and a second run goes on where the first one ended."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from patient import make_model, make_patient

import CTGLIPLib.segment
from CTGLIPLib import batch_study
from CTGLIPLib.batch import BatchOptions, BatchSummary, run_batch
from CTGLIPLib.errors import Cancelled, CheckpointError, ConfigError, InputError, LabelError, OutputError
from CTGLIPLib.predict import Predictor
from CTGLIPLib.study import save_study
from CTGLIPLib.study_cache import StudyCache

SCHEMA = json.loads((Path(CTGLIPLib.__file__).parent / "data" / "findings.schema.json").read_text())
QUESTIONS = ("fatty liver", "left kidney")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> StudyCache:
    """Encoded studies: the patient is the same in every test."""
    return StudyCache(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def options(tiny_model: Path, kept: StudyCache) -> BatchOptions:
    return BatchOptions(model=str(tiny_model), device="cpu", cache=kept)


@pytest.fixture
def folder(patient: Path, tmp_path: Path) -> Path:
    """Two studies, "a" and "b", and one that fails, "broken"."""
    root = tmp_path / "studies"
    for name in ("a", "b"):
        shutil.copytree(patient, root / name)
    (root / "broken").mkdir()
    (root / "broken" / "ct.nii.gz").write_bytes(b"no image")
    return root


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the studies that went through the network, as they do."""
    names, embed = [], Predictor._embed

    def counted(self, given, *rest):
        names.append(given.name)
        return embed(self, given, *rest)

    monkeypatch.setattr(Predictor, "_embed", counted)
    return names


@pytest.fixture
def total_segmentator(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A TotalSegmentator that knows the patient's organs; the list grows with each call."""
    calls = []

    def find(volume, progress=None):
        calls.append(1)
        return replace(make_patient()[1], source="TotalSegmentator 2.x (fast)", vocabulary="totalsegmentator_v2")

    monkeypatch.setitem(CTGLIPLib.segment.SEGMENTERS, "totalsegmentator", lambda _options: find)
    return calls


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def leave_only(folder: Path, name: str) -> None:
    for path in folder.iterdir():
        if path.name != name:
            shutil.rmtree(path)


def stop_after(count: int):
    """A progress callback that asks to stop at its call number `count`, and what it was told."""
    told: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> bool:
        told.append((what, done, total))
        return len(told) <= count

    return progress, told


def test_every_study_is_answered_and_one_that_fails_stops_nobody(folder, options, tmp_path, caplog):
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        summary = run_batch(folder, QUESTIONS, out, options)
    assert summary == BatchSummary(out, done=2, failed=1, skipped=0)
    assert summary.total == 3
    assert "Study broken failed" in caplog.text
    table = rows(out / "summary.csv")
    assert [(row["study"], row["state"], row["question"]) for row in table] == [
        (name, "failed" if name == "broken" else "done", question)
        for name in ("a", "b", "broken")
        for question in QUESTIONS
    ]
    told = [table[1][name] for name in ("answer", "best_organ", "threshold", "error")]
    assert told == ["found", "kidney_left", "", ""]
    assert 0 <= float(table[1]["score"]) <= 1
    assert table[1]["notice"] == "research software, not a medical device"
    assert "broken" in table[4]["error"]
    (failure,) = rows(out / "failures.csv")
    assert (failure["study"], failure["error"]) == ("broken", "InputError")
    findings = json.loads((out / "a" / "findings.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(findings)
    assert findings["study"]["name"] == "a"
    assert sorted(path.name for path in (out / "a").iterdir()) == ["batch.json", "findings.csv", "findings.json"]
    assert sorted(path.name for path in (out / "broken").iterdir()) == ["batch.json"]


def test_a_second_run_answers_nothing_anew(folder, options, tmp_path, encodings):
    shutil.rmtree(folder / "broken")
    out = tmp_path / "out"
    run_batch(folder, QUESTIONS, out, replace(options, cache=None))
    before = {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()}
    table = (out / "summary.csv").read_text()
    (out / "summary.csv").unlink()
    assert run_batch(folder, QUESTIONS, out, replace(options, cache=None)) == BatchSummary(out, 0, 0, 2)
    assert sorted(encodings) == ["a", "b"]
    assert {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()} == before
    assert (out / "summary.csv").read_text() == table


@pytest.mark.parametrize("changed", ["questions", "model", "ct", "organs", "names", "findings", "record", "extras"])
def test_a_study_is_answered_anew_when_anything_changed(changed, folder, options, tmp_path):
    out, questions = tmp_path / "out", QUESTIONS
    run_batch(folder, questions, out, options)
    if changed == "questions":
        questions = ("fatty liver", "spleen")
    elif changed == "model":
        options = replace(options, model=str(make_model(tmp_path / "other", seed=5).folder))
    elif changed in {"ct", "organs", "names"}:
        name = {"ct": "ct.nii.gz", "organs": "organs.nii.gz", "names": "organs.json"}[changed]
        os.utime(folder / "a" / name, (1, 1))
    elif changed == "findings":
        (out / "a" / "findings.csv").unlink()
    elif changed == "record":
        (out / "a" / "batch.json").write_text("{")
    else:
        leave_only(folder, "a")
        options = replace(options, pictures=True)
        assert run_batch(folder, questions, out, options) == BatchSummary(out, 1, 0, 0)
        assert run_batch(folder, questions, out, replace(options, pictures=False)) == BatchSummary(out, 0, 0, 1)
        return
    done = 2 if changed in {"questions", "model"} else 1
    assert run_batch(folder, questions, out, options) == BatchSummary(out, done, 1, 2 - done)
    asked = [query["text"] for query in json.loads((out / "a" / "findings.json").read_text())["queries"]]
    assert asked == list(questions)


def test_what_an_earlier_run_drew_does_not_stay(folder, options, tmp_path):
    out = tmp_path / "out"
    leave_only(folder, "a")
    run_batch(folder, ["left kidney"], out, replace(options, pictures=True, heatmaps=True, report=True))
    assert sorted(path.name for path in (out / "a").iterdir()) == [
        "01_left_kidney.png", "01_left_kidney_heatmap.nii.gz", "01_left_kidney_heatmap.png", "batch.json",
        "findings.csv", "findings.json", "report.html",
    ]  # fmt: skip
    (out / "a" / "my notes.txt").write_text("mine")
    run_batch(folder, ["fatty liver"], out, options)
    left = sorted(path.name for path in (out / "a").iterdir())
    assert left == ["batch.json", "findings.csv", "findings.json", "my notes.txt"]


def test_a_failed_study_is_tried_again_unless_told_not_to(folder, options, tmp_path, patient):
    out = tmp_path / "out"
    run_batch(folder, QUESTIONS, out, options)
    assert run_batch(folder, QUESTIONS, out, replace(options, retry_failed=False)) == BatchSummary(out, 0, 1, 2)
    assert len(rows(out / "failures.csv")) == 1
    shutil.copyfile(patient / "ct.nii.gz", folder / "broken" / "ct.nii.gz")
    for name in ("organs.nii.gz", "organs.json"):
        shutil.copyfile(patient / name, folder / "broken" / name)
    assert run_batch(folder, QUESTIONS, out, replace(options, retry_failed=False)) == BatchSummary(out, 1, 0, 2)
    assert rows(out / "failures.csv") == []


@pytest.mark.parametrize("error", [MemoryError(), ValueError("a bug"), RuntimeError("torch\nsaid no")])
def test_unexpected_errors_stop_only_their_study(error, folder, options, tmp_path, monkeypatch):
    query = Predictor.query

    def failing(self, study, texts):
        if study.embedding.study.name == "a":
            raise error
        return query(self, study, texts)

    monkeypatch.setattr(Predictor, "query", failing)
    assert run_batch(folder, QUESTIONS, tmp_path / "out", options) == BatchSummary(tmp_path / "out", 1, 2, 0)
    failure = rows(tmp_path / "out" / "failures.csv")[0]
    assert (failure["study"], failure["error"]) == ("a", type(error).__name__)
    assert "\n" not in failure["message"]
    assert ("Not enough memory" if isinstance(error, MemoryError) else "Unexpected") in failure["message"]


def test_cancelling_keeps_what_is_done_and_the_next_run_goes_on(folder, options, tmp_path, encodings):
    out = tmp_path / "out"
    options = replace(options, cache=None, at_once=1)
    progress, told = stop_after(10**6)
    run_batch(folder, QUESTIONS, tmp_path / "whole", options, progress)
    assert [(what, done, total) for what, done, total in told if ":" not in what] == [
        ("a", 0, 3), ("b", 1, 3), ("broken", 2, 3), ("batch", 3, 3),
    ]  # fmt: skip
    first_of_b = [what for what, _, _ in told].index("b")
    assert told[first_of_b + 1][0].startswith("b: ")
    encodings.clear()
    progress, _ = stop_after(first_of_b + 1)
    with pytest.raises(Cancelled, match="Cancelled with 1 of 3 studies done, which are kept"):
        run_batch(folder, QUESTIONS, out, options, progress)
    assert [row["study"] for row in rows(out / "summary.csv")] == ["a", "a"]
    assert not (out / "b").exists()
    assert run_batch(folder, QUESTIONS, out, options) == BatchSummary(out, 1, 1, 1)
    assert encodings.count("a") == 1


@pytest.mark.parametrize("target", ["write_json", "write_csv"])
def test_a_study_that_was_interrupted_at_any_file_is_answered_anew(target, folder, options, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_batch(folder, ["spleen"], out, options)

    def interrupt(*_arguments) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"CTGLIPLib.outputs.{target}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_batch(folder, QUESTIONS, out, replace(options, at_once=1))
    assert not (out / "a" / "batch.json").exists()
    assert run_batch(folder, QUESTIONS, out, options) == BatchSummary(out, 2, 1, 0)


def test_organs_are_found_once_and_kept_for_further_questions(patient, options, tmp_path, encodings, total_segmentator):
    options = replace(options, cache=StudyCache(tmp_path / "own"))
    folder, out = tmp_path / "studies", tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    shutil.copyfile(patient / "ct.nii.gz", folder / "a" / "ct.nii.gz")
    assert run_batch(folder, QUESTIONS, out, options).done == 1
    assert (out / "a" / "organs.seg.nrrd").is_file()
    first = json.loads((out / "a" / "findings.json").read_text())
    assert first["segmentation"]["source"] == "TotalSegmentator 2.x (fast)"
    assert run_batch(folder, ("spleen", *QUESTIONS), out, options).done == 1
    second = json.loads((out / "a" / "findings.json").read_text())
    assert second["queries"][1:] == first["queries"]
    assert second["segmentation"] == first["segmentation"]
    assert (len(total_segmentator), encodings) == (1, ["a"])
    os.utime(folder / "a" / "ct.nii.gz", (1, 1))
    run_batch(folder, QUESTIONS, out, options)
    assert len(total_segmentator) == 2


def test_organs_survive_a_failure_after_they_were_found(patient, options, tmp_path, total_segmentator, monkeypatch):
    options = replace(options, cache=None)
    folder, out = tmp_path / "studies", tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    shutil.copyfile(patient / "ct.nii.gz", folder / "a" / "ct.nii.gz")
    embed = Predictor._embed
    for error in (MemoryError, KeyboardInterrupt):

        def stopped(*_arguments, error=error):
            raise error

        monkeypatch.setattr(Predictor, "_embed", stopped)
        if error is MemoryError:
            assert run_batch(folder, QUESTIONS, out, options).failed == 1
        else:
            with pytest.raises(KeyboardInterrupt):
                run_batch(folder, QUESTIONS, out, options)
    monkeypatch.setattr(Predictor, "_embed", embed)
    assert run_batch(folder, QUESTIONS, out, options).done == 1
    assert len(total_segmentator) == 1


def test_the_models_own_head_finds_organs_and_they_are_written(patient, options, tmp_path, monkeypatch):
    monkeypatch.setitem(CTGLIPLib.segment.SEGMENTERS, "own", lambda _options: lambda *_: make_patient()[1])
    (tmp_path / "studies").mkdir()
    shutil.copyfile(patient / "ct.nii.gz", tmp_path / "studies" / "scan.nii.gz")
    run_batch(tmp_path / "studies", QUESTIONS, tmp_path / "out", replace(options, segmenter="own"))
    assert (tmp_path / "out" / "scan" / "organs.seg.nrrd").is_file()


def test_a_study_file_is_answered_as_its_ct_is(folder, options, tmp_path, tiny_model, caplog):
    leave_only(folder, "a")
    predictor = Predictor.from_pretrained(str(tiny_model), "cpu")
    study = predictor.encode(folder / "a" / "ct.nii.gz", folder / "a" / "organs.nii.gz")
    save_study(study.embedding, folder / "encoded.ctglip")
    other = Predictor(make_model(tmp_path / "other", seed=5), "cpu")
    foreign = other.encode(folder / "a" / "ct.nii.gz", folder / "a" / "organs.nii.gz")
    save_study(foreign.embedding, folder / "foreign.ctglip")
    out = tmp_path / "out"
    summary = run_batch(folder, ["left kidney"], out, replace(options, pictures=True, report=True))
    assert summary == BatchSummary(out, 2, 1, 0)
    findings = {name: json.loads((out / name / "findings.json").read_text()) for name in ("a", "encoded")}
    assert findings["encoded"]["queries"] == findings["a"]["queries"]
    assert findings["encoded"]["study"]["name"] == "encoded"
    assert not list((out / "encoded").glob("*.png"))
    assert (out / "encoded" / "report.html").is_file()
    assert rows(out / "failures.csv")[0]["error"] == "CheckpointError"


def test_a_label_map_takes_the_list_of_names_in_its_folder(folder, options, tmp_path, patient):
    shutil.rmtree(folder / "broken")
    for name, lists in {"a": ("structures.json",), "b": ("structures.json", "labels.json")}.items():
        (folder / name / "organs.json").unlink()
        for file in lists:
            shutil.copyfile(patient / "organs.json", folder / name / file)
    out = tmp_path / "out"
    assert run_batch(folder, QUESTIONS, out, options) == BatchSummary(out, 1, 1, 0)
    assert rows(out / "summary.csv")[1]["best_organ"] == "kidney_left"
    assert "Expected one list of organ names for organs.nii.gz" in rows(out / "failures.csv")[0]["message"]


def test_a_label_map_without_names_needs_its_version(folder, options, tmp_path):
    for name in ("a", "b"):
        (folder / name / "organs.json").unlink()
    out = tmp_path / "out"
    assert run_batch(folder, QUESTIONS, out, options).failed == 3
    assert rows(out / "failures.csv")[0]["error"] == LabelError.__name__
    assert run_batch(folder, QUESTIONS, out, replace(options, vocabulary="totalsegmentator_v2")).done == 2


def test_images_that_are_not_recognised_as_organs_are_named(patient, options, tmp_path, total_segmentator):
    folder = tmp_path / "studies" / "a"
    folder.mkdir(parents=True)
    shutil.copyfile(patient / "ct.nii.gz", folder / "ct.nii.gz")
    for number in range(7):
        (folder / f"thing{number}.nii.gz").write_bytes(b"")
    run_batch(folder.parent, QUESTIONS, tmp_path / "out", options)
    warnings = json.loads((tmp_path / "out" / "a" / "findings.json").read_text())["study"]["warnings"]
    assert "not used: thing0.nii.gz" in warnings[-1]
    assert warnings[-1].endswith("thing4.nii.gz and 2 more.")


def test_what_cannot_work_is_told_before_any_study_is_read(folder, options, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_study, "load_input", None)  # calling it would be a TypeError
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="There is no model"):
        run_batch(tmp_path / "missing", [], out, replace(options, model="no-such-model"))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "CTGLIPLib.pictures", None)
        with pytest.raises(ImportError):
            run_batch(folder, QUESTIONS, out, replace(options, report=True))
    with pytest.raises(InputError, match="Expected at least one question"):
        run_batch(folder, [], out, options)
    with pytest.raises(InputError, match="Expected a question"):
        run_batch(folder, ["fatty liver", "?!"], out, options)
    with pytest.raises(ConfigError, match="Expected a device"):
        run_batch(folder, QUESTIONS, out, replace(options, device="cuda:99"))
    with pytest.raises(ConfigError, match="Unknown segmenter 'other'; expected one of totalsegmentator, own"):
        replace(options, segmenter="other")
    with pytest.raises(OutputError, match="Could not write"):
        run_batch(folder, QUESTIONS, folder / "a" / "ct.nii.gz", options)
    assert not out.exists()


@pytest.mark.parametrize("place", ["a", "."])
def test_results_are_not_written_among_the_studies(place, folder, options):
    with pytest.raises(OutputError, match="Results would be written into .*, which holds studies"):
        run_batch(folder / "a", QUESTIONS, folder / place, options)
    assert sorted(path.name for path in (folder / "a").iterdir()) == ["ct.nii.gz", "organs.json", "organs.nii.gz"]


def test_results_may_lie_inside_the_folder_and_are_no_study(folder, options):
    out = folder / "results"
    run_batch(folder, QUESTIONS, out, options)
    assert run_batch(folder, QUESTIONS, out, options) == BatchSummary(out, 0, 1, 2)
    inside = folder / "a" / "results"
    assert run_batch(folder / "a", QUESTIONS, inside, options).done == 1
    assert run_batch(folder / "a", QUESTIONS, inside, options) == BatchSummary(inside, 0, 0, 1)


def test_a_failure_that_cannot_be_noted_stops_nobody(folder, options, tmp_path, monkeypatch, caplog):
    def full(*_arguments):
        msg = "Could not write: no space left"
        raise OutputError(msg)

    monkeypatch.setattr("CTGLIPLib.batch.write_record", full)
    summary = run_batch(folder, QUESTIONS, tmp_path / "out", options)
    assert (summary.done, summary.failed) == (2, 1)
    assert "The failure of study broken could not be noted" in caplog.text


def test_no_path_of_the_machine_is_in_the_record(folder, options, tmp_path):
    leave_only(folder, "a")
    run_batch(folder, ["spleen"], tmp_path / "out", replace(options, report=True))
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or str(tmp_path) not in path.read_text(encoding="utf-8"), path.name
