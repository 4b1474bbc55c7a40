"""`ctglip-train score`, from two files to a results folder, and its errors in one line."""

from __future__ import annotations

import json

import pytest
from score_files import ct_rate_files, ct_rate_names, invented, write_csv

from ctglip_training.cli import main
from ctglip_training.evaluation.protocols import CT_RATE_FINDINGS


def arguments(predictions, labels, out, *more) -> list[str]:
    paths = ["--predictions", str(predictions), "--labels", str(labels), "--out", str(out)]
    return ["score", *paths, "--resamplings", "20", *more]


def test_the_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score", "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "with 95 % intervals over patients" in shown
    assert "{ct-rate,rad-chestct,merlin,plain}" in shown


def test_two_files_become_a_results_folder(tmp_path, capsys):
    predictions, labels = ct_rate_files(tmp_path)
    assert main(arguments(predictions, labels, tmp_path / "out", "--protocol", "ct-rate")) == 0
    shown = capsys.readouterr()
    written = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    auc = written["averages"]["macro"]["auc"]["value"]
    assert shown.out.startswith(f"mean AUC {auc:.3f} (")
    assert "over 18 findings, 60 volumes of 30 patients (ct-rate)" in shown.out
    assert "resampling patients: 21 of 21" in shown.err
    assert written["resamplings"] == 20


def test_thresholds_can_come_from_other_patients(tmp_path):
    predictions, labels = ct_rate_files(tmp_path)
    scores, truth = invented(40, 18, seed=9)
    names = [name.replace("valid", "train") for name in ct_rate_names(40)]
    header = ["VolumeName", *CT_RATE_FINDINGS]
    others = write_csv(tmp_path / "ts.csv", header, ([n, *row] for n, row in zip(names, scores, strict=True)))
    known = write_csv(tmp_path / "tl.csv", header, ([n, *row.astype(int)] for n, row in zip(names, truth, strict=True)))
    more = ["--protocol", "ct-rate", "--threshold-predictions", str(others), "--threshold-labels", str(known)]
    assert main(arguments(predictions, labels, tmp_path / "out", *more)) == 0
    written = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert written["rules"]["best-f1, separate set"] == "a separate set"
    assert set(written["inputs"]) == {"predictions", "labels", "threshold_predictions", "threshold_labels"}


def test_unknown_labels_are_left_out_when_allowed(tmp_path, capsys):
    scores = write_csv(tmp_path / "s.csv", ["VolumeName", "x"], [("a", 0.1), ("b", 0.9), ("c", 0.4)])
    labels = write_csv(tmp_path / "l.csv", ["VolumeName", "x"], [("a", 0), ("b", 1), ("c", -1)])
    assert main(arguments(scores, labels, tmp_path / "out", "--protocol", "plain")) == 1
    assert "give --missing-labels" in capsys.readouterr().err
    assert main(arguments(scores, labels, tmp_path / "out", "--protocol", "plain", "--missing-labels")) == 0
    written = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert written["findings"][0]["unlabelled"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--threshold-labels", "x.csv"], "Expected both --threshold-predictions and --threshold-labels"),
        (["--resamplings", "-1"], "Expected 0 or more resamplings, got -1"),
        (["--patient-column", "who"], "Expected a column of patients 'who'"),
        (["--labels", "none.csv"], "Expected a CSV table at none.csv"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_written(tmp_path, capsys, more, message):
    predictions, labels = ct_rate_files(tmp_path)
    assert main(arguments(predictions, labels, tmp_path / "out", "--protocol", "ct-rate", *more)) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_protocol_is_wrong_usage(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments("p", "l", tmp_path, "--protocol", "ctrate"))
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
