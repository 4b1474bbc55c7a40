"""CT-RATE and RadGenome-ChestCT: read as they are published, headers and values mended."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from data_sets import GRID, ct, ct_rate_metadata, make_ct_rate, make_rad_genome, unfixed, write_csv

from ctglip_training.data.ct_rate import corrections_of
from ctglip_training.data.layouts import detect_layout, read_layout
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.masks import names_of_masks
from ctglip_training.data.volumes import read_study_grid, read_study_volume
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume


@pytest.fixture
def studies(tmp_path):
    layout, reading = read_layout(make_ct_rate(tmp_path))
    assert layout.name == "ct-rate"
    return Manifest(tmp_path, reading.studies), {study.id: study for study in reading.studies}, reading.notes


def test_each_volume_is_a_row_with_its_patient_report_labels_and_split(studies):
    _, by_id, notes = studies
    assert sorted(by_id) == ["train_1_a_1", "train_1_a_2", "train_2_a_1", "valid_1_a_1"]
    first = by_id["train_1_a_1"]
    assert (first.patient, first.split) == ("train_1", "train")
    assert first.volume == "dataset/train/train_1/train_1_a/train_1_a_1.nii.gz"
    assert first.report == "Findings: Clear lungs in train_1_a_1.nii.gz.\nNo effusion."
    assert first.labels == {"Medical material": 0, "Cardiomegaly": 1, "Pleural effusion": 0}
    assert (by_id["valid_1_a_1"].patient, by_id["valid_1_a_1"].split) == ("valid_1", "val")
    assert notes == ("2 volumes of the tables have no volume on disk and were left out.",)


def test_volumes_without_a_chest_and_known_bad_ones_are_excluded_with_the_reason(tmp_path):
    make_ct_rate(tmp_path)
    bad = "train_1267_a_4.nii.gz"
    write_volume(ct(), GRID, tmp_path / "dataset" / "train_fixed" / "train_1267" / "train_1267_a" / bad)
    by_id = {study.id: study for study in read_layout(tmp_path)[1].studies}
    assert by_id["train_1_a_2"].exclude == "shows no chest (the data set's list)"
    assert by_id["train_1267_a_4"].exclude == "known to be broken"
    assert by_id["train_1_a_1"].exclude == ""


def test_an_unfixed_volume_becomes_the_fixed_one(studies):
    manifest, by_id, _ = studies
    volume = read_study_volume(manifest, by_id["train_1_a_1"])
    assert np.array_equal(volume.array, ct(0))
    expected = np.array([[-5.0, 0, 0, 10], [0, -5.0, 0, 20], [0, 0, 5.0, 30], [0, 0, 0, 1]])
    assert np.allclose(volume.grid.affine, expected)
    assert np.allclose(read_study_grid(manifest, by_id["train_1_a_1"]).affine, expected)


def test_an_unfixed_volume_without_any_position_in_its_header_is_mended_too(studies):
    manifest, by_id, _ = studies
    path = manifest.path(by_id["train_1_a_1"].volume)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[252:256] = bytes(4)
    path.write_bytes(gzip.compress(raw))
    volume = read_study_volume(manifest, by_id["train_1_a_1"])
    assert np.array_equal(volume.array, ct(0))
    assert volume.grid.orientation == "LPS"
    path.write_bytes(gzip.compress(raw)[:-300])
    with pytest.raises(InputError, match="It is truncated or corrupt"):
        read_study_volume(manifest, by_id["train_1_a_1"])


def test_a_fixed_volume_is_taken_as_it_is_and_knows_its_expected_spacing(studies):
    manifest, by_id, _ = studies
    study = by_id["train_2_a_1"]
    assert "train_fixed" in study.volume
    assert study.corrections.to_json() == ""
    assert study.expected_spacing_mm == (5.0, 5.0, 5.0)
    assert np.array_equal(read_study_volume(manifest, study).array, ct(2))


def test_the_columns_of_the_direction_are_the_rows_and_columns_of_the_patient():
    row = ct_rate_metadata("x", ImageOrientationPatient="[0.0, 1.0, 0.0, 0.0, 0.0, -1.0]", XYSpacing="[2, 3]")
    corrections = corrections_of({key: str(value) for key, value in row.items()}, "x")
    affine = corrections.grid((4, 4, 4), None).affine
    assert np.allclose(affine[:3, 0], [0, -2, 0])  # i runs along +P = -A
    assert np.allclose(affine[:3, 1], [0, 0, -3])  # j runs along -S
    assert np.allclose(affine[:3, 2], [5, 0, 0])  # k: the cross product, -L = +R


def test_an_unfixed_volume_without_metadata_is_refused(tmp_path):
    make_ct_rate(tmp_path)
    write_csv(tmp_path / "dataset" / "metadata" / "train_metadata.csv", [ct_rate_metadata("train_5_a_1.nii.gz")])
    with pytest.raises(InputError, match=r"train_1_a_1.nii.gz is not in a _fixed folder, so it needs XYSpacing"):
        read_layout(tmp_path)


def test_label_maps_beside_the_volumes_are_the_masks(tmp_path):
    make_ct_rate(tmp_path)
    name = "train_2/train_2_a/train_2_a_1.nii.gz"
    write_volume(np.ones((24, 24, 24), np.uint8), GRID, tmp_path / "dataset" / "train_mask" / name)
    study = next(study for study in read_layout(tmp_path)[1].studies if study.id == "train_2_a_1")
    assert (study.masks, study.mask_names) == (f"dataset/train_mask/{name}", "totalsegmentator_v2")


def test_a_download_without_reports_says_what_is_missing(tmp_path):
    write_volume(
        unfixed(0), Grid(GRID.shape_ijk, np.eye(4)), tmp_path / "train" / "train_1" / "train_1_a" / "train_1_a_1.nii.gz"
    )
    with pytest.raises(InputError, match=r"ct-rate .*missing: radiology_text_reports.*, metadata"):
        detect_layout(tmp_path)


def test_rad_genome_has_masks_regions_and_presence(tmp_path):
    layout, reading = read_layout(make_rad_genome(tmp_path))
    study = reading.studies[0]
    assert (layout.name, study.id, study.patient) == ("rad-genome", "train_1_a_1", "train_1")
    assert study.regions == {"heart": "The heart is large. No pericardial effusion.", "whole": "Motion artefacts."}
    assert study.report == "The heart is large. No pericardial effusion. Motion artefacts."
    assert study.labels == {"heart: cardiomegaly": 1, "lung: nodule": 0}
    assert names_of_masks(Manifest(tmp_path, ()), study) == ("esophagus", "heart", "lung")
    assert study.corrections.to_json() == ""


def test_rad_genome_around_ct_rate_takes_its_reports_too(tmp_path):
    make_ct_rate(tmp_path)
    make_rad_genome(tmp_path)
    layout, reading = read_layout(tmp_path)
    by_id = {study.id: study for study in reading.studies}
    assert layout.name == "rad-genome"
    assert by_id["train_1_a_1"].report.startswith("Findings: Clear lungs")
    assert by_id["train_1_a_1"].labels["Cardiomegaly"] == 1
    assert by_id["train_2_a_1"].masks == ""


def test_rad_genome_without_volumes_says_so(tmp_path):
    make_rad_genome(tmp_path)
    next(tmp_path.rglob("train_1_a_1.nii.gz")).unlink()
    with pytest.raises(InputError, match="rad-genome .*missing: CT-RATE's volumes"):
        detect_layout(tmp_path)
