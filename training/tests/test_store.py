"""Patients on disk come back as they went; broken files, wrong splits and wrong spacings are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_phantom import CYST, FAT, phantom, smoke_config

from ctglip_training.simulate.patient import Patient
from ctglip_training.store import list_pool, read_patient, training_entries, write_patient
from CTGLIPLib.errors import ConfigError, InputError
from CTGLIPLib.volume import Segmentation


def test_a_patient_comes_back_as_it_was_written(tmp_path):
    patient = phantom(5, (CYST, FAT))
    write_patient(patient, tmp_path / "a" / "00000.npz")
    back = read_patient(tmp_path / "a" / "00000.npz")
    assert np.array_equal(back.volume.array, patient.volume.array)
    assert np.array_equal(back.segmentation.layers, patient.segmentation.layers)
    assert np.array_equal(back.volume.grid.affine, patient.volume.grid.affine)
    assert (back.segmentation.names, back.segmentation.source) == (patient.segmentation.names, "phantom")
    assert back.segmentation.vocabulary == patient.segmentation.vocabulary
    assert back.findings == (CYST, FAT)


def test_more_than_255_organs_keep_their_numbers(tmp_path):
    patient = phantom(5)
    layers = np.zeros_like(patient.segmentation.layers)
    layers[0, 0, 0, 0], layers[0, 1, 0, 0] = 300, 44
    names = tuple(f"organ_{n}" for n in range(300))
    write_patient(Patient(patient.volume, Segmentation(layers, patient.volume.grid, names)), tmp_path / "0.npz")
    assert np.array_equal(read_patient(tmp_path / "0.npz").segmentation.layers, layers)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "altered", "foreign"])
def test_a_broken_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "00001.npz"
    write_patient(phantom(1), path)
    content = path.read_bytes()
    broken = {"missing": None, "empty": b"", "cut": content[: len(content) // 2], "foreign": b"no zip at all"}
    broken["altered"] = content[:200] + bytes(64) + content[264:]
    path.unlink()
    if broken[damage] is not None:
        path.write_bytes(broken[damage])
    with pytest.raises(InputError, match=r"00001.npz.*ctglip-train simulate"):
        read_patient(path)


def test_a_pool_is_listed_in_order_and_nothing_else_in_it_counts(pool, tmp_path):
    assert [(e.subject, e.path.name) for e in list_pool(pool)][::3] == [("alpha", "00000.npz"), ("beta", "00000.npz")]
    with pytest.raises(InputError, match="found none"):
        list_pool(tmp_path)


def test_held_out_subjects_are_never_trained_on(pool):
    entries = training_entries(smoke_config(pool, hold_out=("beta",)))
    assert {entry.subject for entry in entries} == {"alpha"}


def test_a_held_out_subject_that_is_not_there_is_refused(pool):
    with pytest.raises(ConfigError, match=r"no subject betta to hold out; it has alpha, beta"):
        training_entries(smoke_config(pool, hold_out=("betta",)))
    with pytest.raises(ConfigError, match="All subjects"):
        training_entries(smoke_config(pool, hold_out=("alpha", "beta")))


def test_a_pool_of_another_spacing_is_refused(pool):
    config = smoke_config(pool)
    with pytest.raises(ConfigError, match="8, 8, 8 mm, but the configuration says 4 mm"):
        training_entries(replace(config, preprocess=replace(config.preprocess, spacing_mm=4.0)))
