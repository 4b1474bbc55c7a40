from __future__ import annotations

import csv
import json

import pytest

from ctglip_training.pairs.findings import CT_RATE_LABELS
from ctglip_training.pairs.measure import (
    Counts,
    as_json,
    bootstrap_interval,
    labels_of,
    measure_files,
    measure_report,
    measure_routing,
    part_of,
    summary,
)
from ctglip_training.pairs.rules import RuleEngine
from CTGLIPLib.errors import InputError

NONE = dict.fromkeys(CT_RATE_LABELS, "0")


def write_reports(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, ["AccessionNo", "report_text", *CT_RATE_LABELS])
        table.writeheader()
        table.writerows({**NONE, **row} for row in rows)
    return path


def test_a_report_gets_the_labels_of_what_it_does_not_deny():
    report = "Possible emphysema. No consolidation. Pericardial effusion."
    assert labels_of(report, RuleEngine()) == {"Emphysema", "Pericardial effusion"}


def test_counts_add_up_to_f1():
    counts = Counts(3, 1, 0) + Counts(1, 0, 2)
    assert counts == Counts(4, 1, 2)
    assert counts.f1 == pytest.approx(8 / 11)
    assert Counts().f1 == 1.0


def test_labels_are_counted_by_label():
    rows = [
        {**NONE, "report_text": "Emphysema. Hiatal hernia.", "Emphysema": "1", "Atelectasis": "1.0"},
        {**NONE, "report_text": "No emphysema."},
    ]
    first, second = (measure_report(row, RuleEngine()) for row in rows)
    assert first["Emphysema"] == Counts(1, 0, 0)
    assert first["Hiatal hernia"] == Counts(0, 1, 0)
    assert first["Atelectasis"] == Counts(0, 0, 1)
    assert set(second.values()) == {Counts()}


def test_the_interval_holds_the_f1_and_narrows_with_more_reports():
    reports = [Counts(2, 1, 0), Counts(3, 0, 1), Counts(0, 1, 1)]
    few, many = bootstrap_interval(reports * 5), bootstrap_interval(reports * 100)
    f1 = sum(reports, Counts()).f1
    assert few[0] < many[0] < f1 < many[1] < few[1]
    assert bootstrap_interval([]) == (0.0, 1.0)


def test_routing_counts_what_came_to_its_organ_and_to_others():
    study = {
        "lung": "Consolidation on the left. Clear pancreas.",
        "heart": "No pleural or pericardial effusion.",
        "esophagus": "esophagus shows no particular abnormalities.",
        "aorta": "Wide aorta.",
    }
    routing = measure_routing([study], RuleEngine())
    assert (routing.sentences, routing.reached, routing.exact, routing.elsewhere) == (4, 3, 2, 1)
    assert routing.accuracy == 0.75


def test_all_studies_of_a_patient_are_in_one_part():
    names = [f"train_{number}" for number in range(1000)]
    assert [part_of(name) for name in names] == [part_of(f"{name}_b") for name in names]
    assert 0.3 < sum(part_of(name) == "development" for name in names) / len(names) < 0.5


def test_only_the_asked_part_of_the_files_is_measured(tmp_path):
    names = [f"p_{number}" for number in range(40)]
    rows = [{"AccessionNo": name, "report_text": "Emphysema.", "Emphysema": "1"} for name in names]
    reports = write_reports(tmp_path / "reports.csv", rows)
    reference = tmp_path / "organs.json"
    texts = {"lung": "Emphysema.", "heart": "Cardiomegaly.", "esophagus": "", "aorta": ""}
    reference.write_text(json.dumps(dict.fromkeys(names, texts)), encoding="utf-8")
    parts = [measure_files(reports, reference, part, RuleEngine()) for part in ("development", "test")]
    assert sum(part.reports for part in parts) == 40
    assert parts[1].reports == sum(part_of(name) == "test" for name in names)
    assert parts[1].micro_f1 == 1.0
    assert parts[1].routing is not None
    assert parts[1].routing.sentences == 2 * parts[1].reports
    assert "| Emphysema |" in summary(parts[1])
    assert json.loads(as_json(parts[1]))["micro_f1"] == 1.0


def test_the_summary_holds_no_sentence(tmp_path):
    reports = write_reports(tmp_path / "reports.csv", [{"AccessionNo": "p_1", "report_text": "Unheard-of hernia."}])
    measured = measure_files(reports, None, part_of("p_1"), RuleEngine())
    assert "Unheard-of" not in summary(measured) + as_json(measured)


def test_files_that_are_not_what_they_should_be_are_refused(tmp_path):
    with pytest.raises(InputError, match="Could not read"):
        measure_files(tmp_path / "none.csv", None, "test", RuleEngine())
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="18 labels"):
        measure_files(tmp_path / "other.csv", None, "test", RuleEngine())
    reports = write_reports(tmp_path / "reports.csv", [])
    (tmp_path / "organs.json").write_text('{"p_1": {"lung": "x"}}', encoding="utf-8")
    with pytest.raises(InputError, match="Expected JSON"):
        measure_files(reports, tmp_path / "organs.json", "test", RuleEngine())
