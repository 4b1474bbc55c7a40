"""Making and looking at a pool: seeded patient by patient, what exists is kept, pictures of the first few."""

from __future__ import annotations

import json

import numpy as np
from training_phantom import CYST, phantom, write_pool

from ctglip_training.pool import make_pool, preview_pool
from ctglip_training.simulate.patient import Patient
from ctglip_training.store import read_patient
from CTGLIPLib.geometry import Grid
from CTGLIPLib.volume import Segmentation, Volume

SPACING_MM = 5.0


def base() -> Patient:
    patient = phantom(1)
    grid = Grid(patient.volume.grid.shape_ijk, np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]))
    layers = patient.segmentation.layers.max(axis=0, keepdims=True)
    return Patient(Volume(patient.volume.array, grid), Segmentation(layers, grid, patient.segmentation.names))


def test_a_patient_of_the_pool_depends_on_its_seed_and_number_alone(tmp_path):
    make_pool({"a": base()}, tmp_path / "one", SPACING_MM, 3, range(2))
    make_pool({"a": base()}, tmp_path / "two", SPACING_MM, 3, [1])
    one, two = (read_patient(tmp_path / name / "a" / "00001") for name in ("one", "two"))
    assert np.array_equal(one.volume.array, two.volume.array)
    assert np.array_equal(one.segmentation.layers, two.segmentation.layers)
    assert one.findings == two.findings
    other = read_patient(tmp_path / "one" / "a" / "00000")
    assert other.volume.array.shape != one.volume.array.shape or not np.array_equal(
        other.volume.array, one.volume.array
    )


def test_patients_that_exist_are_kept_and_progress_is_told(tmp_path):
    path = tmp_path / "a" / "00000"
    path.mkdir(parents=True)
    (path / "study.json").write_bytes(b"kept")
    told = []
    make_pool({"a": base()}, tmp_path, SPACING_MM, 3, range(2), lambda *what: told.append(what))
    assert [(file.name, file.read_bytes()) for file in path.iterdir()] == [("study.json", b"kept")]
    assert told == [("simulating patients", 1, 2), ("simulating patients", 2, 2)]


def test_the_first_patients_of_each_subject_are_drawn_with_their_sentences(tmp_path):
    pool = write_pool(tmp_path, 3)
    preview_pool(pool, 2)
    folders = sorted(str(path.relative_to(pool / "preview")) for path in (pool / "preview").glob("*/*"))
    assert folders == ["alpha/00000", "alpha/00001", "beta/00000", "beta/00001"]
    sick = pool / "preview" / "alpha" / "00001"
    assert sorted(path.name for path in sick.glob("*.png")) == [
        "01_renal_cyst_kidney_left.png",
        "02_fatty_liver_liver.png",
    ]
    findings = json.loads((sick / "findings.json").read_text(encoding="utf-8"))
    assert findings[0]["sentence"] == CYST.sentence
    mask = read_patient(pool / "alpha" / "00001").segmentation
    middle = mask.grid.to_ras(np.argwhere(mask.mask("kidney_left")).mean(axis=0))
    assert np.allclose([findings[0]["details"][f"centre_{a}_mm"] for a in "ras"], middle)


def test_no_preview_is_written_where_none_is_asked_for(tmp_path):
    assert preview_pool(tmp_path, 0) == []
    assert list(tmp_path.iterdir()) == []
