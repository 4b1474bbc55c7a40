"""`ctglip batch` and `ctglip query --report`: what is printed, written and returned."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from CTGLIPLib.cli import main

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def folder(patient: Path, tmp_path: Path) -> Path:
    root = tmp_path / "studies"
    for name in ("a", "b"):
        shutil.copytree(patient, root / name)
    (root / "notes").mkdir()
    return root


@pytest.fixture
def batch(folder: Path, tiny_model: Path, tmp_path: Path) -> list[str]:
    """Arguments of a batch of two studies."""
    return ["batch", str(folder), "--model", str(tiny_model), "-o", str(tmp_path / "out"), "-q", "left kidney"]


def test_a_batch_tells_each_study_as_it_comes_and_counts_them(batch, tmp_path, capsys):
    assert main(batch) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "2 studies: 2 answered, 0 answered before, 0 failed.",
        f"Answers are in {tmp_path / 'out' / 'summary.csv'}. Research software, not a medical device.",
    ]
    assert printed.err.splitlines() == ["[1/2] a", "[2/2] b", "No study, passed over: notes"]
    assert main(batch) == 0
    assert "0 answered, 2 answered before, 0 failed" in capsys.readouterr().out


def test_a_failed_study_makes_the_exit_code_1_with_the_count(batch, folder, tmp_path, capsys, caplog):
    (folder / "b" / "ct.nii.gz").write_bytes(b"")
    assert main([*batch, "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "notice": "research software, not a medical device",
        "out": str(tmp_path / "out"),
        "done": 1,
        "skipped": 0,
        "failed": 1,
        "passed_over": ["notes"],
    }
    assert "Study b failed: " in caplog.text
    assert printed.err.splitlines()[-1].startswith("ctglip: 1 of 2 studies failed; ")
    assert "failures.csv tells why." in printed.err
    caplog.clear()
    assert main([*batch, "--no-retry"]) == 1
    assert "Study b failed" not in caplog.text


def test_questions_come_from_a_file_too(batch, tmp_path, capsys):
    listed = tmp_path / "questions.txt"
    listed.write_text("\ufeff# chest\nfatty liver\n\n  spleen  \n", encoding="utf-8")
    assert main([*batch, "--questions", str(listed)]) == 0
    findings = json.loads((tmp_path / "out" / "a" / "findings.json").read_text())
    assert [query["text"] for query in findings["queries"]] == ["left kidney", "fatty liver", "spleen"]
    capsys.readouterr()
    listed.write_text("# nothing\n")
    assert main([*batch, "--questions", str(listed)]) == 1
    assert "Expected questions in" in capsys.readouterr().err
    listed.write_bytes(b"\xff\xfe\x00")
    assert main([*batch, "--questions", str(listed)]) == 1
    assert "it is not UTF-8 text" in capsys.readouterr().err
    assert main([*batch, "--questions", str(tmp_path / "missing.txt")]) == 1
    assert "could not be read: No such file" in capsys.readouterr().err


def test_a_batch_without_questions_or_model_ends_before_any_work(batch, tmp_path, capsys):
    assert main(batch[:-2]) == 1
    assert "Expected at least one question, got none. Give --text" in capsys.readouterr().err
    assert main([*batch, "--model", "no-such-model"]) == 1
    assert "There is no model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_terminal_sees_what_is_done_inside_a_study(batch, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main([*batch, "--no-cache"]) == 0
    assert "a: encoding windows 1 of" in capsys.readouterr().err


def test_ctrl_c_in_a_batch_keeps_what_is_done(batch, tmp_path, capsys, monkeypatch):
    from CTGLIPLib.predict import Predictor

    query = Predictor.query

    def interrupted(self, study, texts):
        if study.embedding.study.name == "b":
            raise KeyboardInterrupt
        return query(self, study, texts)

    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "query", interrupted)
        assert main([*batch, "--at-once", "1"]) == 130
    assert (tmp_path / "out" / "a" / "findings.json").is_file()
    capsys.readouterr()
    assert main(batch) == 0
    assert "1 answered, 1 answered before, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["report.html", "report.pdf"])
def test_a_query_writes_a_report(name, patient, tiny_model, tmp_path, capsys):
    ct = [str(patient / "ct.nii.gz"), "-s", str(patient / "organs.nii.gz"), "--model", str(tiny_model)]
    report = tmp_path / "deep" / name
    assert main(["query", *ct, "-q", "left kidney", "--report", str(report)]) == 0
    assert f"Wrote {report}" in capsys.readouterr().err
    assert report.read_bytes().startswith(b"%PDF" if name.endswith("pdf") else b"<!DOCTYPE html>")


def test_a_study_file_has_a_report_without_pictures(patient, tiny_model, tmp_path, capsys):
    ct = [str(patient / "ct.nii.gz"), "-s", str(patient / "organs.nii.gz"), "--model", str(tiny_model)]
    study, report = tmp_path / "scan.ctglip", tmp_path / "report.html"
    assert main(["encode", *ct, "-o", str(study)]) == 0
    assert main(["query", str(study), "-q", "left kidney", "--report", str(report)]) == 0
    assert f"Wrote {report}, without pictures" in capsys.readouterr().err
    assert "<img" not in report.read_text()


def test_a_report_with_another_ending_is_refused_before_any_work(tmp_path, capsys):
    assert main(["query", "missing.nii.gz", "-q", "liver", "--report", str(tmp_path / "report.doc")]) == 1
    assert "must end in .html or .pdf, got report.doc. Write report.html instead." in capsys.readouterr().err
    assert main(["query", "missing.ctglip", "-q", "liver", "--report", str(tmp_path / "report")]) == 1
    assert "must end in .html or .pdf" in capsys.readouterr().err


def test_no_study_at_once_is_refused_on_the_command_line(batch, tmp_path, capsys):
    assert main([*batch, "--at-once", "0"]) == 1
    assert "Expected 1 study or more at once, got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
