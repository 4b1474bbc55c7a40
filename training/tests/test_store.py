"""Patients on disk come back as they went; broken files, wrong splits and wrong spacings are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from training_phantom import CYST, FAT, phantom, stored

from ctglip_training import packed
from ctglip_training.simulate.patient import Origin, Patient
from ctglip_training.statements import Statement, StudyText
from ctglip_training.store import list_pool, read_crop, read_patient, write_patient
from ctglip_training.study_file import read_study
from CTGLIPLib.errors import InputError, OutputError
from CTGLIPLib.organ_geometry import body_centre_ras_mm, measure_organs
from CTGLIPLib.volume import Segmentation, Volume


def test_a_patient_comes_back_as_it_was_written(tmp_path):
    patient = replace(phantom(5, (CYST, FAT)), origin=Origin("s", "p", "train", "here", "CC0", "Someone", ("a note",)))
    write_patient(patient, tmp_path / "a" / "00000")
    back = read_patient(tmp_path / "a" / "00000")
    assert np.array_equal(back.volume.array, patient.volume.array)
    assert np.array_equal(back.segmentation.layers, patient.segmentation.layers)
    assert np.array_equal(back.volume.grid.affine, patient.volume.grid.affine)
    assert (back.segmentation.names, back.segmentation.source) == (patient.segmentation.names, "phantom")
    assert back.segmentation.vocabulary == patient.segmentation.vocabulary
    assert (back.findings, back.text, back.origin) == ((CYST, FAT), None, patient.origin)


def test_what_a_report_says_comes_back_too(tmp_path):
    text = StudyText((Statement("liver", "No cyst.", normal=True, finding="hepatic_cyst"),), "No cyst.")
    write_patient(replace(phantom(5), text=text), tmp_path / "a" / "0")
    assert read_patient(tmp_path / "a" / "0").said == read_study(tmp_path / "a" / "0").said == text


def test_measures_that_are_read_equal_measures_that_are_taken(tmp_path):
    patient = phantom(5, (CYST,))
    layers = patient.segmentation.layers.copy()
    layers[layers == 2] = 0  # the spleen is gone
    layers[1, 0, :3, -1] = 1  # the liver reaches two borders
    patient = replace(patient, segmentation=replace(patient.segmentation, layers=layers))
    study = stored(patient, tmp_path / "a" / "0").study
    taken = measure_organs(patient.segmentation)
    for name in ("voxels", "volume_ml", "centroid_ras_mm", "extent_ras_mm", "touches"):
        assert np.array_equal(getattr(study.geometry, name), getattr(taken, name), equal_nan=name == "centroid_ras_mm")
    assert study.geometry.voxels[1] == 0
    assert study.geometry.touches[0].tolist() == [True, False, True, False, False, True]
    assert np.array_equal(study.body_centre_ras_mm, body_centre_ras_mm(patient.volume))
    assert study.body.voxels[0] == (patient.volume.array > -300).sum()


def test_a_crop_is_the_box_of_the_whole(tmp_path):
    patient = phantom(5, size=70)  # more than one chunk
    entry = stored(patient, tmp_path / "a" / "0")
    box = (slice(3, 68), slice(60, 70), slice(0, 33))
    hu, layers = read_crop(entry.path, entry.study, box)
    assert np.array_equal(hu, patient.volume.array[box])
    assert np.array_equal(layers, patient.segmentation.layers[(slice(None), *box)])


def test_more_than_255_organs_keep_their_numbers(tmp_path):
    patient = phantom(5)
    layers = np.zeros_like(patient.segmentation.layers)
    layers[0, 0, 0, 0], layers[0, 1, 0, 0] = 300, 44
    names = tuple(f"organ_{n}" for n in range(300))
    write_patient(Patient(patient.volume, Segmentation(layers, patient.volume.grid, names)), tmp_path / "0")
    assert np.array_equal(read_patient(tmp_path / "0").segmentation.layers, layers)


def test_intensities_beyond_16_bits_are_cut_off_at_their_ends(tmp_path):
    patient = phantom(5)
    array = patient.volume.array.copy()
    array[0, 0, :2] = 40_000.4, -40_000.0
    write_patient(replace(patient, volume=Volume(array, patient.volume.grid)), tmp_path / "0")
    assert read_patient(tmp_path / "0").volume.array[0, 0, :3].tolist() == [32767, -32768, array[0, 0, 2]]


@pytest.mark.parametrize("file", ["study.json", "ct.b2nd", "organs.b2nd"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign"])
def test_a_broken_study_is_refused_by_name(tmp_path, file, damage):
    path = tmp_path / "a" / "00001"
    write_patient(phantom(1), path)
    content = (path / file).read_bytes()
    broken = {"missing": None, "empty": b"", "cut": content[: len(content) // 2], "foreign": b"no such file" * 20}
    (path / file).unlink()
    if broken[damage] is not None:
        (path / file).write_bytes(broken[damage])
    with pytest.raises(InputError, match=r"a/00001: .*ctglip-train simulate"):
        read_patient(path)


def test_arrays_of_another_study_are_refused(tmp_path):
    write_patient(phantom(1), tmp_path / "a" / "0")
    write_patient(phantom(1, size=24), tmp_path / "a" / "1")
    shutil.copy(tmp_path / "a" / "1" / "organs.b2nd", tmp_path / "a" / "0" / "organs.b2nd")
    with pytest.raises(InputError, match=r"\(2, 24, 24, 24\), not \(32, 32, 32\)"):
        read_patient(tmp_path / "a" / "0")


def test_a_study_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(packed.blosc2, "asarray", full)
    with pytest.raises(OutputError, match=r"Could not write .*a/0: no space left.*Free space"):
        write_patient(phantom(1), tmp_path / "a" / "0")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_study_is_written_again_over_an_older_one(tmp_path):
    for patient in (phantom(1, (CYST,)), phantom(2)):
        write_patient(patient, tmp_path / "a" / "0")
    assert read_patient(tmp_path / "a" / "0").findings == ()
    assert sorted(file.name for file in (tmp_path / "a" / "0").iterdir()) == ["ct.b2nd", "organs.b2nd", "study.json"]
    assert [folder.name for folder in (tmp_path / "a").iterdir()] == ["0"]


def test_a_pool_is_listed_in_order_and_nothing_else_in_it_counts(pool, tmp_path):
    assert [(e.subject, e.path.name) for e in list_pool(pool)][::3] == [("alpha", "00000"), ("beta", "00000")]
    write_patient(phantom(1), tmp_path / "a" / ".0-killed")
    with pytest.raises(InputError, match="found none"):
        list_pool(tmp_path)


def test_patients_of_the_older_version_are_to_be_made_again(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "00000.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"older version \(\.npz\), which must be made again.*ctglip-train simulate"):
        list_pool(tmp_path)
