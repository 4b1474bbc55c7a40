"""A split of a store of real studies: truths from reports, thresholds from validation, no patient seen before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from training_phantom import FakeEncoder, phantom

from ctglip_training import hold_out, store_split
from ctglip_training.cases import read_cases
from ctglip_training.cli import main
from ctglip_training.simulate.patient import Origin
from ctglip_training.statements import Statement, StudyText
from ctglip_training.store import write_patient
from ctglip_training.store_split import open_model, split_entries
from CTGLIPLib.errors import ConfigError

CYST = Statement("kidney_left", "A cyst.", finding="renal_cyst")
NO_CYST = Statement("kidney_left", "No cyst.", normal=True, finding="renal_cyst")
FAT = Statement("liver", "Steatosis.", finding="fatty_liver")
NOTHING = StudyText((), "Normal.")
STUDIES = {
    ("p1", "a"): ("test", StudyText((CYST,), "A cyst.")),
    ("p1", "b"): ("test", StudyText((NO_CYST,), "No cyst.")),
    ("p2", "a"): ("test", StudyText((FAT, NO_CYST), "Steatosis.")),
    ("p3", "a"): ("val", StudyText((CYST,), "A cyst.")),
    ("p4", "a"): ("val", NOTHING),
    ("p5", "a"): ("train", NOTHING),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    for number, ((patient, study), (split, text)) in enumerate(STUDIES.items()):
        real = replace(phantom(number), text=text, origin=Origin(split=split))
        write_patient(real, folder / patient / study)
    return folder


@pytest.fixture(autouse=True)
def _fake_encoder(monkeypatch):
    for module in (hold_out, store_split):
        monkeypatch.setattr(module, "open_text_encoder", lambda *_args, **_named: FakeEncoder())


def test_a_split_is_evaluated_against_its_reports(smoke_run, store, tmp_path, capsys):
    arguments = ["evaluate", "--run", str(smoke_run), "--store", str(store), "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "mean AUC" in capsys.readouterr().out
    cases = read_cases(tmp_path / "cases.csv")["test"]
    cysts = [(c.patient, c.organ, c.truth) for c in cases if c.abnormality == "renal_cyst" and c.organ == "kidney_left"]
    assert cysts == [(0, "kidney_left", True), (0, "kidney_left", False), (1, "kidney_left", False)]
    assert {c.abnormality for c in cases} == {"renal_cyst", "fatty_liver"}
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert scores["patients"] == 2
    assert "best-f1, separate set" in scores["rules"]
    words = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "3 studies of 2 patients of the split test" in words
    assert "does not mention counts as absent" in words


def test_what_is_not_mentioned_can_be_left_out(smoke_run, store, tmp_path):
    arguments = ["evaluate", "--run", str(smoke_run), "--store", str(store), "--out", str(tmp_path)]
    assert main([*arguments, "--unmentioned", "unknown"]) == 0
    cases = read_cases(tmp_path / "cases.csv")["test"]
    assert {(c.organ, c.abnormality, c.truth) for c in cases} == {
        ("kidney_left", "renal_cyst", True), ("kidney_left", "renal_cyst", False), ("liver", "fatty_liver", True)
    }  # fmt: skip


def test_a_patient_that_the_run_was_trained_on_is_refused(smoke_run, store, tmp_path, capsys):
    write_patient(replace(phantom(1), text=NOTHING, origin=Origin(split="test")), tmp_path / "alpha" / "x")
    arguments = ["evaluate", "--run", str(smoke_run), "--store", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "was trained on 1 of the 1 patients of the split test, so nothing tests it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_learned_from_the_validation_split_chooses_no_thresholds_on_it(smoke_run, tmp_path):
    texts = [StudyText((CYST,), "A cyst."), StudyText((NO_CYST,), "No cyst.")]
    for number, text in enumerate(texts * 2):
        split, patient = ("test", f"p{number}") if number < 2 else ("val", "alpha")
        write_patient(
            replace(phantom(number), text=text, origin=Origin(split=split)), tmp_path / "store" / patient / str(number)
        )
    opened = hold_out.open_run(smoke_run)
    store_split.evaluate_split(opened, store_split.SplitQuestion(tmp_path / "store"), hold_out.Asking(), tmp_path)
    rules = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["rules"]
    assert "equal" in rules
    assert "best-f1, separate set" not in rules
    assert "never calibrated" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_a_patient_of_two_splits_is_refused(tmp_path):
    for study, split in (("a", "train"), ("b", "test")):
        write_patient(replace(phantom(1), text=NOTHING, origin=Origin(split=split)), tmp_path / "p" / study)
    with pytest.raises(ConfigError, match="1 patients are in the split test and in others too"):
        split_entries(tmp_path, "test")


def test_a_split_without_studies_names_those_that_there_are(store):
    with pytest.raises(ConfigError, match=r"the split dev in .*, got none; it has test \(3\), train \(1\), val \(2\)"):
        split_entries(store, "dev")


def test_a_model_folder_is_asked_of_every_organ(smoke_run, store, tmp_path):
    opened = open_model(smoke_run / "model", tmp_path)
    seen = opened.embed(split_entries(store, "test")[0])
    assert len(opened.evaluator.name_organs(seen, opened.trained).rows) == 5
    assert list(tmp_path.rglob("*.npz"))
