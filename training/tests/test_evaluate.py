"""Evaluation: an oracle gets everything right, held-out subjects alone are tested, no hold-out is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
import torch
from training_phantom import BIG, CYST, FAT, FINDINGS, NAMES, FakeEncoder, phantom, smoke_config

from ctglip_training import evaluate, hold_out
from ctglip_training.cases import CASES, read_cases
from ctglip_training.evaluate import Evaluator, FindingCase, summarise_findings
from ctglip_training.evaluation.classification import auc
from ctglip_training.hold_out import Asking, evaluate_run, trained_organs
from ctglip_training.loop import new_model
from ctglip_training.state import CHECKPOINT
from ctglip_training.subjects import Subject
from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.organs import readable_name
from CTGLIPLib.prompts import finding_prompts, normal_prompt, organ_prompt

ASKED = tuple(name for name in NAMES if name != "heart")  # the 104 names hold the heart's parts, not the heart
PATIENTS = [phantom(1, (CYST,)), phantom(2), phantom(3, (FAT, BIG)), phantom(4, FINDINGS)]
ALPHA, BETA = (Subject(name, "ct.nii.gz", "seg.nii.gz", "none", "nobody") for name in ("alpha", "beta"))


def oracle_embeddings(patient) -> np.ndarray:
    """What a perfect model gives: the name, and the finding's phrasings or the normal one."""
    encoder, rows = FakeEncoder(), []
    for organ in patient.segmentation.names:
        said = [
            text
            for f in patient.findings
            if f.organ == organ
            for text in finding_prompts(abnormality_named(f.abnormality), organ).positive
        ]
        truth = encoder.encode(said or [normal_prompt(readable_name(organ))]).sum(axis=0)
        rows.append(2 * encoder.encode([organ_prompt(readable_name(organ))])[0] + truth / np.linalg.norm(truth))
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.fixture
def oracle(tmp_path, monkeypatch) -> Evaluator:
    config = smoke_config(tmp_path)
    model = new_model(config).eval()
    known = {id(p.segmentation): oracle_embeddings(p) for p in PATIENTS}
    monkeypatch.setattr(evaluate, "encode_organs", lambda _model, prepared, _config: known[id(prepared.segmentation)])
    return Evaluator(model, config.preprocess, FakeEncoder())


def test_an_oracle_recognises_every_organ(oracle):
    report = oracle.organs(PATIENTS[0], NAMES)
    assert (report.top1, report.top5, len(report.rows)) == (1.0, 1.0, len(ASKED))
    assert all(best[0] == name for name, best in report.rows)


def test_organs_that_training_never_saw_do_not_count(oracle):
    assert [name for name, _ in oracle.organs(PATIENTS[0], ("liver", "brain")).rows] == ["liver"]
    assert {case.organ for case in oracle.findings(PATIENTS, ("spleen",))} == {"spleen"}
    assert math.isnan(oracle.organs(PATIENTS[0], ()).top1)


def test_an_oracle_finds_every_finding(oracle):
    summary = summarise_findings(oracle.findings(PATIENTS, NAMES))
    for finding in FINDINGS:
        assert summary.findings[finding.abnormality]["auc"] == 1.0
    assert summary.mean_auc == 1.0
    assert summary.interval == (1.0, 1.0)


def test_every_finding_is_asked_of_every_organ_it_can_live_in(oracle):
    cases = oracle.findings(PATIENTS, NAMES)
    cysts = [case for case in cases if case.abnormality == "renal_cyst"]
    assert {(c.patient, c.organ) for c in cysts} == {(p, k) for p in range(4) for k in ("kidney_left", "kidney_right")}
    assert {(c.patient, c.organ) for c in cysts if c.truth} == {(0, "kidney_left"), (3, "kidney_left")}


def test_vanilla_clip_gives_all_organs_of_a_patient_the_same_score(tmp_path):
    config = smoke_config(tmp_path)
    evaluator = Evaluator(new_model(config).eval(), config.preprocess, FakeEncoder(), whole_image=True)
    prompts = finding_prompts(abnormality_named("fatty_liver"), "liver")
    [case] = [c for c in evaluator.findings(PATIENTS[:1], ("liver",)) if c.abnormality == "fatty_liver"]
    assert math.isfinite(case.margin)
    cases = evaluator.findings(PATIENTS[:1], NAMES)
    same = [c.margin for c in cases if c.abnormality == "fatty_liver"]
    assert same == pytest.approx([case.margin])
    assert len(prompts.positive) > 0


def test_the_whole_image_score_depends_on_the_body_and_not_on_the_hu_window(tmp_path):
    from ctglip_training.whole_image import whole_body
    from CTGLIPLib.preprocess import prepare_on_grid

    config = smoke_config(tmp_path).preprocess
    patient = PATIENTS[0]
    narrow = replace(config, window_hu=(-160.0, 240.0))
    masks = [
        whole_body(patient, prepare_on_grid(patient.volume, patient.segmentation, c)).segmentation.mask("body")
        for c in (config, narrow)
    ]
    assert np.array_equal(masks[0], patient.volume.array > -300)
    assert np.array_equal(masks[0], masks[1])


def test_the_summary_has_each_findings_auc_and_leaves_out_what_it_cannot_measure(rng):
    cases = [FindingCase(i % 20, "a", "liver", float(rng.normal() + i % 2), bool(i % 2)) for i in range(60)]
    cases += [FindingCase(i, "b", "liver", 0.0, False) for i in range(20)]
    summary = summarise_findings(cases)
    own = [c for c in cases if c.abnormality == "a"]
    expected = auc(np.array([c.margin for c in own]), np.array([c.truth for c in own]))
    assert summary.findings["a"] == {"auc": expected, "positives": 30, "negatives": 30}
    assert math.isnan(summary.findings["b"]["auc"])
    assert summary.mean_auc == pytest.approx(expected)
    assert summary.interval[0] < expected < summary.interval[1]


def test_a_run_is_tested_on_its_held_out_subject_alone(smoke_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    copytree(smoke_run, run)
    monkeypatch.setattr(hold_out, "load_subject", lambda subject, _data: phantom(7) if subject == BETA else None)
    monkeypatch.setattr(hold_out, "open_text_encoder", lambda *_args, **_named: FakeEncoder())
    line = evaluate_run(run, (ALPHA, BETA), tmp_path, Asking(2))
    written = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert set(written) == {"beta"}
    assert (written["beta"]["patients"], written["beta"]["organs"]) == (2, len(ASKED))
    assert 0 <= written["beta"]["organ_top1"] <= written["beta"]["organ_top5"] <= 1
    assert line.startswith("ct-glip without beta: organ top-1")
    cases = read_cases(run / CASES)
    assert set(cases) == {"beta"}
    assert {case.patient for case in cases["beta"]} == {0, 1}
    assert all(-2 <= case.margin <= 2 for case in cases["beta"])
    results = {path.name for path in (run / "results").iterdir()}
    assert {"summary.md", "scores.json", "findings.csv", "organs.csv", "confusion.png", "reliability.png"} <= results


def test_the_evaluation_holds_null_and_never_nan(smoke_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    copytree(smoke_run, run)
    monkeypatch.setattr(hold_out, "load_subject", lambda *_: phantom(7))
    monkeypatch.setattr(hold_out, "open_text_encoder", lambda *_args, **_named: FakeEncoder())
    evaluate_run(run, (BETA,), tmp_path, Asking(1))  # without a finding: nothing to tell apart
    text = (run / "evaluation.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    written = json.loads(text)["beta"]
    assert written["mean_auc"] is None
    assert written["interval"] == [None, None]
    assert {finding["auc"] for finding in written["findings"].values()} == {None}


def test_a_held_out_subject_without_patients_is_named(smoke_run, tmp_path, monkeypatch):
    monkeypatch.setattr(hold_out, "open_text_encoder", lambda *_args, **_named: FakeEncoder())
    with pytest.raises(ConfigError, match="Expected 1 patient or more of beta to evaluate, got 0 of the 3"):
        evaluate_run(smoke_run, (BETA,), tmp_path, Asking(0))
    monkeypatch.setattr(hold_out, "list_pool", lambda _pool: [])
    with pytest.raises(ConfigError, match="got 2 of the 0 in .* make patients"):
        evaluate_run(smoke_run, (BETA,), tmp_path, Asking(2))


def test_a_run_without_hold_out_is_never_tested(smoke_run, tmp_path):
    state = torch.load(smoke_run / CHECKPOINT, weights_only=True)
    state["config"]["data"]["hold_out"] = []
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(ConfigError, match="held no subject out"):
        evaluate_run(tmp_path, (ALPHA, BETA), tmp_path, Asking(2))


def test_a_held_out_subject_that_is_not_listed_is_named(smoke_run, tmp_path):
    with pytest.raises(ConfigError, match="lacks beta"):
        evaluate_run(smoke_run, (ALPHA,), tmp_path, Asking(2))


def test_trained_organs_are_those_of_the_training_subjects(pool):
    assert trained_organs(smoke_config(pool, ("beta",))) == set(NAMES)
