from __future__ import annotations

import csv
import json

import pytest
from chat_stub import Answer, allow_this_machine_only, chat_server

from ctglip_training.cli import main
from ctglip_training.data.manifest import Manifest, write_manifest
from ctglip_training.data.study import Study
from ctglip_training.pairs.findings import CT_RATE_LABELS
from ctglip_training.pairs.table import read_pairs


@pytest.fixture
def reports(tmp_path):
    path = tmp_path / "reports.csv"
    rows = [("a", "A cyst in the liver.", "train"), ("b", "A stone in the left kidney. Normal liver.", "train")]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("study_id", "report", "split"), *rows])
    return path


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """In place of the fixture of all tests."""
    allow_this_machine_only(monkeypatch)


def test_reports_become_pairs_a_sheet_and_a_dictionary(reports, tmp_path, capsys):
    out, sheet = tmp_path / "pairs.jsonl", tmp_path / "sheet.csv"
    assert main(["pairs", "--reports", str(reports), "--out", str(out), "--spot-check", str(sheet)]) == 0
    assert "2 reports, 3 pairs, 2 of them abnormal" in capsys.readouterr().out
    assert sheet.is_file()
    assert main(["dictionary", "--pairs", str(out), "--out", str(tmp_path / "dictionary.json")]) == 0
    assert "2 texts about 2 pairs of organ and finding" in capsys.readouterr().out


def test_a_dictionary_of_test_reports_is_refused_in_one_line(reports, tmp_path, capsys):
    text = reports.read_text(encoding="utf-8")
    reports.write_text(text.replace("liver.,train", "liver.,test"), encoding="utf-8")
    out = tmp_path / "pairs.jsonl"
    main(["pairs", "--reports", str(reports), "--out", str(out)])
    capsys.readouterr()
    assert main(["dictionary", "--pairs", str(out), "--out", str(tmp_path / "dictionary.json")]) == 1
    assert "Expected training reports only" in capsys.readouterr().err
    assert not (tmp_path / "dictionary.json").exists()


def said(request):
    sentence = request["messages"][1]["content"].split(".")[0]
    if "stone" in sentence:
        return Answer("I would rather not.")
    statement = {"sentence": sentence, "organ": "liver", "normal": False, "finding": "hepatic_cyst"}
    return Answer(json.dumps({"statements": [statement]}))


def test_a_language_model_reads_what_it_can_and_its_cost_is_told(reports, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    out = tmp_path / "pairs.jsonl"
    with chat_server(said) as stub:
        command = ["pairs", "--reports", str(reports), "--out", str(out), "--engine", "llm", "--model", "stub"]
        command += ["--endpoint", stub.url, "--key-variable", "MY_KEY", "--price", "1000", "10000"]
        assert main(command) == 0
        first = capsys.readouterr().out
        assert main(command) == 0
    assert "4 questions (2 repairs), 0 answers from the cache, 400 + 40 tokens, cost 0.80" in first
    assert "1 reports could not be read and are left out" in first
    assert "b,The model gave 3 answers" in (tmp_path / "pairs-failed.csv").read_text(encoding="utf-8")
    assert "0 questions (2 repairs), 4 answers from the cache, 0 + 0 tokens, cost 0.00" in capsys.readouterr().out
    assert set(stub.keys) == {"Bearer secret"}
    assert len(stub.requests) == 4
    assert [json.loads(line)["study"] for line in out.read_text(encoding="utf-8").splitlines()] == ["a"]


def test_an_endpoint_that_refuses_stops_the_run_in_one_line(reports, tmp_path, capsys):
    with chat_server([Answer(status=401)]) as stub:
        command = ["pairs", "--reports", str(reports), "--out", str(tmp_path / "pairs.jsonl"), "--engine", "llm"]
        assert main([*command, "--model", "stub", "--endpoint", stub.url]) == 1
    assert "refused with HTTP 401" in capsys.readouterr().err
    assert not (tmp_path / "pairs.jsonl").exists()


def test_a_model_must_be_named(reports, tmp_path, capsys):
    command = ["pairs", "--reports", str(reports), "--out", str(tmp_path / "pairs.jsonl"), "--engine", "llm"]
    assert main(command) == 1
    assert "Expected a model" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "expected"), [([], "| all (micro) |"), (["--json"], '"micro_f1"')])
def test_the_rules_are_measured(tmp_path, capsys, options, expected):
    path = tmp_path / "labelled.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, ["AccessionNo", "report_text", *CT_RATE_LABELS])
        table.writeheader()
        table.writerow({**dict.fromkeys(CT_RATE_LABELS, "0"), "AccessionNo": "a", "report_text": "Emphysema."})
    assert main(["pairs-measure", "--reports", str(path), "--part", "test", *options]) == 0
    assert expected in capsys.readouterr().out


def test_a_parquet_manifest_is_read_like_a_csv_one(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    study = Study("s1", "p1", "s1.nii.gz", "test", report="There is a cyst in the liver.", split="train")
    for ending in ("csv", "parquet"):
        write_manifest(Manifest(tmp_path, (study,)), tmp_path / f"m.{ending}")
        arguments = ["pairs", "--reports", str(tmp_path / f"m.{ending}"), "--out", str(tmp_path / f"{ending}.jsonl")]
        assert main(arguments) == 0
    rows = read_pairs(tmp_path / "parquet.jsonl")
    assert rows == read_pairs(tmp_path / "csv.jsonl")
    assert [(row.study, row.patient, row.split, row.said.finding) for row in rows] == [
        ("s1", "p1", "train", "hepatic_cyst")
    ]
