"""DICOM folders and the choice of a layout."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import ct, make_dicom, make_merlin, make_msd, write_ct, write_dicom

from ctglip_training.data.check_study import examine
from ctglip_training.data.layouts import LAYOUTS, detect_layout, layout_named, read_layout
from ctglip_training.data.manifest import Manifest, write_manifest
from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_grid, read_study_volume
from CTGLIPLib.errors import Cancelled, ConfigError, InputError
from CTGLIPLib.geometry import same_grid


def test_every_ct_series_is_a_study(tmp_path):
    layout, reading = read_layout(make_dicom(tmp_path))
    assert layout.name == "dicom"
    assert [study.id for study in reading.studies] == ["one_a_1", "one_a_2", "two_b"]
    assert reading.notes == ("1 series (no CT, or a single image) were left out.",)
    patients = [study.patient for study in reading.studies]
    assert patients[0] == patients[1] != patients[2]


def test_the_series_that_is_meant_is_read(tmp_path):
    studies = read_layout(make_dicom(tmp_path))[1].studies
    volume = read_study_volume(Manifest(tmp_path, studies), studies[1])
    assert np.array_equal(volume.array, ct(2))


def test_the_headers_of_a_series_give_the_grid_that_its_voxels_have(tmp_path):
    studies = read_layout(make_dicom(tmp_path))[1].studies
    manifest = Manifest(tmp_path, studies)
    for study in studies:
        assert same_grid(read_study_grid(manifest, study), read_study_volume(manifest, study).grid)


def test_a_series_that_lacks_a_slice_is_found_by_its_headers(tmp_path):
    study = read_layout(make_dicom(tmp_path))[1].studies[-1]
    (tmp_path / "two" / "b" / "4_010.dcm").unlink()
    problems = examine(Manifest(tmp_path, ()), study, header_only=True).problems
    assert "lacks 1 of its slices" in problems[0].message


def test_the_real_series_has_the_grid_of_its_headers(data_folder):
    series = Study(id="real", patient="p", volume="dicom_example/dicom", layout="dicom")
    manifest = Manifest(data_folder, ())
    assert same_grid(read_study_grid(manifest, series), read_study_volume(manifest, series).grid)


def test_the_manifest_does_not_hold_the_patients_number(tmp_path):
    root = make_dicom(tmp_path / "data")
    write_manifest(Manifest(root, read_layout(root)[1].studies), tmp_path / "manifest.csv")
    assert "SECRET" not in (tmp_path / "manifest.csv").read_text(encoding="utf-8")


def test_without_a_number_the_first_folder_is_the_patient(tmp_path):
    write_dicom(tmp_path / "alice" / "x")
    assert read_layout(tmp_path)[1].studies[0].patient == "alice"


def test_a_folder_without_ct_is_refused(tmp_path):
    write_dicom(tmp_path / "mr", modality="MR", count=3)
    with pytest.raises(InputError, match="was read as DICOM folders, but has no volume such as"):
        read_layout(tmp_path)


def test_reading_can_be_cancelled(tmp_path):
    with pytest.raises(Cancelled):
        read_layout(make_dicom(tmp_path), progress=lambda *_: False)


def test_a_folder_of_nothing_known_lists_the_layouts(tmp_path):
    write_ct(tmp_path / "somewhere" / "scan.nii.gz")
    with pytest.raises(InputError, match="no layout that is known here") as error:
        detect_layout(tmp_path)
    assert all(f"  {name}: " in str(error.value) for name in LAYOUTS)


def test_a_layout_that_is_named_but_not_there_says_what_is_missing(tmp_path):
    make_merlin(tmp_path)
    with pytest.raises(InputError, match=r"is not ct-rate \(CT-RATE\); missing: volumes such as dataset/train_fixed"):
        read_layout(tmp_path, "ct-rate")


def test_a_layout_that_is_named_and_there_is_read(tmp_path):
    assert read_layout(make_msd(tmp_path), "msd")[0].name == "msd"


def test_an_unknown_layout_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match="got 'ct_rate'. The closest is 'ct-rate'"):
        layout_named("ct_rate")


@pytest.mark.parametrize(("name", "what"), [("absent", "does not exist"), ("file", "is a file")])
def test_a_root_that_is_no_folder_is_refused(tmp_path, name, what):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=what):
        detect_layout(tmp_path / name)
