from __future__ import annotations

import csv
import json

import pytest

from ctglip_training.pairs.engine import OrganSentence, ReportError
from ctglip_training.pairs.reports import Report, ReportColumns, read_reports
from ctglip_training.pairs.rules import RuleEngine
from ctglip_training.pairs.spot_check import COLUMNS, write_sheet
from ctglip_training.pairs.table import PairRow, read_pairs, write_pairs
from CTGLIPLib.errors import Cancelled, InputError

REPORTS = [Report(f"s{i}", f"A cyst of {i} mm in the liver.", "train", f"p{i}") for i in range(6)]


class Odd:
    """An engine that cannot read reports with an odd number."""

    name = "odd"

    def __call__(self, report):
        number = int(report.split()[3])
        if number % 2:
            raise ReportError(f"cannot read {number}")
        return [OrganSentence("liver", ("liver",), report, number == 0)]


def test_the_table_comes_back_as_it_was_written(tmp_path):
    outcome = write_pairs(REPORTS, RuleEngine(), tmp_path / "pairs.jsonl")
    rows = read_pairs(tmp_path / "pairs.jsonl")
    assert (outcome.studies, outcome.pairs, outcome.abnormal, outcome.failed) == (6, 6, 6, {})
    assert rows[2] == PairRow("s2", "train", "p2", "rules-1", RuleEngine()(REPORTS[2].text)[0])


@pytest.mark.parametrize("workers", [1, 3])
def test_a_report_that_cannot_be_read_does_not_stop_the_others(tmp_path, workers):
    outcome = write_pairs(REPORTS, Odd(), tmp_path / "pairs.jsonl", workers=workers)
    assert [row.study for row in read_pairs(tmp_path / "pairs.jsonl")] == ["s0", "s2", "s4"]
    assert outcome.failed == {"s1": "cannot read 1", "s3": "cannot read 3", "s5": "cannot read 5"}
    assert (outcome.studies, outcome.abnormal) == (3, 2)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cancelled_run_leaves_no_table(tmp_path, workers):
    told = []

    def stop(what, done, total):
        told.append((done, total))
        return done < 2

    with pytest.raises(Cancelled):
        write_pairs(REPORTS, RuleEngine(), tmp_path / "pairs.jsonl", stop, workers)
    assert told == [(1, 6), (2, 6)]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="table of pairs"):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"study": "a"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="table of pairs"):
        read_pairs(tmp_path / "other.jsonl")


def write_csv(path, header, *rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_reports_are_read_by_the_names_of_the_columns(tmp_path):
    header = ["VolumeName", "Findings_EN", "Impressions_EN", "split"]
    path = write_csv(tmp_path / "reports.csv", header, ["a", "A cyst.", "Cyst.", "train"], ["b", "", "Not given.", ""])
    columns = ReportColumns(report=("Findings_EN", "Impressions_EN"))
    assert read_reports(path, columns) == [Report("a", "A cyst.\nCyst.", "train", "")]


def test_json_lines_are_read_too(tmp_path):
    path = tmp_path / "reports.jsonl"
    path.write_text('{"study": 7, "report": "A cyst.", "patient": null}\n\n', encoding="utf-8")
    assert read_reports(path, ReportColumns()) == [Report("7", "A cyst.")]


def test_a_report_in_a_file_of_its_own_is_read(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("A cyst.\n", encoding="utf-8")
    header = ["study", "patient", "report", "report_file", "root"]
    path = write_csv(tmp_path / "manifest.csv", header, ["a", "p", "", "a.txt", "data"])
    assert read_reports(path, ReportColumns()) == [Report("a", "A cyst.", "", "p")]
    (tmp_path / "data" / "a.txt").unlink()
    with pytest.raises(InputError, match="Was the data moved"):
        read_reports(path, ReportColumns())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "study_id,text\na,b\n", "--report-column"),
        ("b.csv", "name,report\na,b\n", "--study-column"),
        ("c.csv", "study_id,report\na,b\na,c\n", "twice"),
        ("d.jsonl", "[1]\n", "JSON object"),
        ("e.jsonl", "half {\n", "line 1"),
    ],
)
def test_a_file_that_is_not_of_reports_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_reports(tmp_path / name, ReportColumns())


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="Could not read the reports"):
        read_reports(tmp_path / "none.csv", ReportColumns())


def rows_of(normal, abnormal):
    said = [OrganSentence("liver", (), f"Normal {i}", True) for i in range(normal)]
    said += [OrganSentence("liver", (), f"=Abnormal {i}", False) for i in range(abnormal)]
    return [PairRow("s", "train", "p", "rules-1", entry) for entry in said]


@pytest.mark.parametrize(("normal", "abnormal", "share"), [(20, 20, 5), (50, 2, 2), (3, 50, 7)])
def test_half_of_the_sheet_is_abnormal_where_there_are_enough(tmp_path, normal, abnormal, share):
    assert write_sheet(rows_of(normal, abnormal), tmp_path / "sheet.csv", 10) == 10
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert tuple(lines[0]) == COLUMNS
    assert sum(line["normal"] == "False" for line in lines) == share
    assert {line["comment"] for line in lines} == {""}


def test_the_same_seed_draws_the_same_sheet_and_no_sentence_is_a_formula(tmp_path):
    for name in ("one.csv", "two.csv"):
        write_sheet(rows_of(9, 9), tmp_path / name, 6, seed=3)
    text = (tmp_path / "one.csv").read_text(encoding="utf-8-sig")
    assert text == (tmp_path / "two.csv").read_text(encoding="utf-8-sig")
    assert "'=Abnormal" in text
    assert ",=Abnormal" not in text


def test_the_table_is_plain_json(tmp_path):
    write_pairs(REPORTS[:1], RuleEngine(), tmp_path / "pairs.jsonl")
    row = json.loads((tmp_path / "pairs.jsonl").read_text(encoding="utf-8"))
    assert (row["study"], row["group"], row["organs"], row["finding"]) == ("s0", "liver", ["liver"], "hepatic_cyst")
