"""Scores of whole volumes by a published protocol: the highest of a finding's organs, judged against the label file."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from score_files import write_csv
from training_phantom import FakeEncoder, phantom

from ctglip_training import hold_out, store_split
from ctglip_training.cli import main
from ctglip_training.evaluate import PatientEmbeddings
from ctglip_training.evaluation.protocols import CT_RATE_FINDINGS, MERLIN_FINDINGS
from ctglip_training.simulate.patient import Origin
from ctglip_training.statements import StudyText
from ctglip_training.store import write_patient
from ctglip_training.store_split import open_model
from ctglip_training.volume_scores import volume_scores
from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.similarity import finding_score

NAMES = [f"valid_{n}_a_1.nii.gz" for n in (1, 2, 3, 4)]


@pytest.fixture(autouse=True)
def _fake_encoder(monkeypatch):
    for module in (hold_out, store_split):
        monkeypatch.setattr(module, "open_text_encoder", lambda *_args, **_named: FakeEncoder())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct-rate")
    for number, name in enumerate(NAMES):
        real = replace(phantom(number), text=StudyText((), "r"), origin=Origin(study=name, split="val"))
        write_patient(real, folder / f"valid_{number + 1}" / "a_1")
    return folder


@pytest.mark.parametrize("name", [*CT_RATE_FINDINGS, *MERLIN_FINDINGS])
def test_every_published_finding_is_one_of_the_catalogue_with_organs(name):
    assert abnormality_named(name.replace("_", " ")).organs


def test_a_volumes_score_is_the_highest_of_its_organs(smoke_run, tmp_path):
    run = open_model(smoke_run / "model", tmp_path)
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    seen = PatientEmbeddings(("kidney_left", "kidney_right", "liver"), rows, rows[:0])
    scores = volume_scores(run, seen, {name: abnormality_named(name) for name in ("renal_cyst", "pneumonia")})
    by_organ = [
        finding_score(run.evaluator.margin(seen, "renal_cyst", organ), run.score, "renal_cyst")
        for organ in ("kidney_left", "kidney_right")
    ]
    assert scores == {"renal_cyst": max(by_organ), "pneumonia": None}
    assert by_organ[0] != by_organ[1]


def test_a_model_folder_gives_the_row_of_ct_rate(smoke_run, store, tmp_path, capsys):
    truth = np.random.default_rng(1).integers(0, 2, (4, 18))
    truth[0], truth[1] = 1, 0
    labels = write_csv(tmp_path / "labels.csv", ["VolumeName", *CT_RATE_FINDINGS], [
        [name, *row] for name, row in zip(NAMES, truth, strict=True)])  # fmt: skip
    out = tmp_path / "out"
    arguments = ["evaluate", "--model", str(smoke_run / "model"), "--store", str(store), "--split", "val"]
    arguments += ["--published-protocol", "ct-rate", "--labels", str(labels), "--out", str(out)]
    assert main(arguments) == 0
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["VolumeName"] for row in rows] == NAMES
    assert all(0 <= float(row["Cardiomegaly"]) <= 1 for row in rows)
    assert "Emphysema" not in rows[0]  # no phantom has a lung
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert (scores["volumes"], scores["protocol"]) == (4, "ct-rate")
    assert "Emphysema" in scores["findings_left_out"]
    assert any("highest among its organs" in note for note in scores["warnings"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--run", "r", "--published-protocol", "merlin"],
            "Expected --store with --model and with --published-protocol",
        ),
        (["--model", "m"], "Expected --store with --model"),
        (["--model", "m", "--store", "s"], "Expected --out with --model"),
        (["--run", "r", "--store", "s", "--published-protocol", "merlin"], "--labels with --published-protocol"),
    ],
)
def test_questions_that_lack_a_part_are_refused(arguments, message, capsys):
    assert main(["evaluate", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_run_or_a_model_is_evaluated_and_not_both(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--run", "r", "--model", "m"])
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
