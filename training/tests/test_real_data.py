"""From a data set in CT-RATE's layout to a pretrained model, command by command; a stopped run resumes to the bit."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data_sets import CENTRES, GRID, make_ct_rate, organ
from training_phantom import CONFIGS, FakeEncoder

from ctglip_training import loop
from ctglip_training.cli import main
from ctglip_training.data.manifest import read_manifest, write_manifest
from ctglip_training.store import list_pool
from CTGLIPLib import text_bank
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume

FINDINGS = "There is a cyst in the liver. The spleen is normal. No stone in the left kidney."
STEPS = {"segmentation_steps = 3": 1, "contrast_steps = 3": 2, "head_steps = 4": 0}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of a small CT-RATE with masks and reports, with manifest, pairs and dictionary beside it."""
    root = make_ct_rate(tmp_path / "data")
    for table in root.glob("dataset/radiology_text_reports/*.csv"):
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines(keepends=True)))
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "Findings_EN": FINDINGS} for row in rows)
    manifest = tmp_path / "ct-rate.csv"
    run("manifest", "--root", root, "--out", manifest)
    known = read_manifest(manifest)
    for study in known.studies:
        grid = _grid_of(known, study)
        for name in CENTRES:
            write_volume(organ(name), grid, root / "masks" / study.id / f"{name}.nii.gz")
    masked = [replace(study, masks=f"masks/{study.id}", mask_names="files") for study in known.studies]
    write_manifest(replace(known, studies=tuple(masked)), manifest)
    run("pairs", "--reports", manifest, "--out", tmp_path / "pairs.jsonl")
    run("dictionary", "--pairs", tmp_path / "pairs.jsonl", "--only-train", "--out", tmp_path / "dictionary.json")
    run(
        "prepare",
        "--manifest",
        manifest,
        "--pairs",
        tmp_path / "pairs.jsonl",
        "--spacing",
        "8",
        "--out",
        tmp_path / "s",
    )
    return tmp_path / "s"


def _grid_of(manifest, study) -> Grid:
    from ctglip_training.data.volumes import read_study_grid

    return read_study_grid(manifest, study) or GRID


def run(*arguments: object, code: int = 0) -> None:
    assert main([str(one) for one in arguments]) == code


def pretrain(store: Path, out: Path, code: int = 0) -> None:
    short = store.parent / "short.toml"
    text = (CONFIGS / "smoke.toml").read_text(encoding="utf-8").replace("save_every = 2", "save_every = 1")
    for line, steps in STEPS.items():
        assert line in text
        text = text.replace(line, f"{line.split()[0]} = {steps}")
    short.write_text(text, encoding="utf-8")
    dictionary = store.parent / "dictionary.json"
    run("pretrain", "--config", short, "--pool", store, "--dictionary", dictionary, "--out", out, code=code)


def test_a_downloaded_data_set_becomes_a_model_and_a_stopped_run_resumes_to_the_bit(store, tmp_path, monkeypatch):
    monkeypatch.setattr(text_bank, "open_text_encoder", lambda *_args, **_kwargs: FakeEncoder())
    splits = {entry.study.origin.study: entry.study.origin.split for entry in list_pool(store)}
    assert splits == {"train_1_a_1": "train", "train_2_a_1": "train", "valid_1_a_1": "val"}
    said = list_pool(store)[0].study.said
    assert ("liver", "hepatic_cyst", False) in {(s.organ, s.finding, s.normal) for s in said.statements}
    assert ("kidney_left", "kidney_stone", True) in {(s.organ, s.finding, s.normal) for s in said.statements}
    pretrain(store, tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["diagnosis_loss"] > 0 for line in lines[1:])
    step = loop._Run.step

    def interrupted(self, number, lr):
        if number == 2:
            raise KeyboardInterrupt
        return step(self, number, lr)

    with monkeypatch.context() as patched:
        patched.setattr(loop._Run, "step", interrupted)
        pretrain(store, tmp_path / "stopped", code=130)
    pretrain(store, tmp_path / "stopped")
    whole, stopped = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "stopped")
    )
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())
    assert (tmp_path / "stopped" / "model" / "model.safetensors").is_file()
