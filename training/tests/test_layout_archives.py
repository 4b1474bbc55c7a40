"""Merlin and Rad-ChestCT: volumes in one folder, facts in tables."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import ct, make_merlin, make_rad_chest_ct, write_csv, write_xlsx

from ctglip_training.data.layouts import detect_layout, read_layout
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.volumes import read_study_volume
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import canonical_array


def test_merlins_findings_splits_and_labels_are_read_and_unknown_labels_left_out(tmp_path):
    layout, reading = read_layout(make_merlin(tmp_path))
    first, second = reading.studies
    assert layout.name == "merlin"
    assert (first.id, first.volume, first.split) == ("AC1", "merlin_data/AC1.nii.gz", "train")
    assert first.report == "Liver & spleen.\nIMPRESSION: < 1 cm"
    assert first.labels == {"ascites": 0, "splenomegaly": 1}
    assert (second.volume, second.split) == ("merlin_data/AC2.nii", "test")
    assert second.labels == {"free_air": 0, "in 5 years: diabetes": 1}


def test_the_longer_of_two_reports_of_one_study_counts(tmp_path):
    studies = read_layout(make_merlin(tmp_path))[1].studies
    assert studies[1].report == "The longer, final text."


def test_merlin_says_what_is_not_on_disk_and_that_patients_are_unknown(tmp_path):
    notes = read_layout(make_merlin(tmp_path))[1].notes
    assert notes[0] == "1 studies of the reports have no volume on disk and were left out."
    assert "name no patients" in notes[1]


def test_merlins_patients_come_from_the_metadata_where_it_has_them(tmp_path):
    make_merlin(tmp_path)
    write_csv(tmp_path / "metadata.csv", [{"study id": name, "patient_id": "P7"} for name in ("AC1", "AC2")])
    reading = read_layout(tmp_path)[1]
    assert {study.patient for study in reading.studies} == {"P7"}
    assert len(reading.notes) == 1


def test_merlin_without_its_reports_says_so(tmp_path):
    make_merlin(tmp_path)
    (tmp_path / "reports_final.xlsx").unlink()
    with pytest.raises(InputError, match=r"merlin .*missing: reports_final.xlsx"):
        detect_layout(tmp_path)


def test_a_table_of_other_columns_is_refused(tmp_path):
    make_merlin(tmp_path)
    write_xlsx(tmp_path / "reports_final.xlsx", [{"study id": "AC1", "Text": "x"}])
    with pytest.raises(InputError, match="must have the columns Findings, Split, got study id, Text"):
        read_layout(tmp_path)


def test_a_broken_workbook_is_refused(tmp_path):
    make_merlin(tmp_path)
    (tmp_path / "reports_final.xlsx").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"reports_final.xlsx cannot be read"):
        read_layout(tmp_path)


def test_rad_chest_ct_keeps_abnormalities_and_the_places_of_those_present(tmp_path):
    layout, reading = read_layout(make_rad_chest_ct(tmp_path))
    by_id = {study.id: study for study in reading.studies}
    assert layout.name == "rad-chest-ct"
    assert by_id["trn00001"].labels == {"nodule": 1, "nodule*right_lung": 1, "mass": 0}
    assert [by_id[name].split for name in ("trn00001", "val00001", "tst00001")] == ["train", "val", "test"]
    assert by_id["trn00001"].patient == by_id["val00001"].patient == "M1"


def test_a_rad_chest_ct_volume_lies_as_the_patient_does(tmp_path):
    studies = read_layout(make_rad_chest_ct(tmp_path))[1].studies
    volume = read_study_volume(Manifest(tmp_path, studies), next(s for s in studies if s.id == "trn00001"))
    assert (volume.grid.orientation, volume.grid.spacing_mm) == ("IPL", (0.8, 0.8, 0.8))
    assert np.array_equal(canonical_array(volume.array, volume.grid)[1::3, 1::3, 1::3], ct(0))


def test_rad_chest_ct_without_identifiers_says_that_patients_are_unknown(tmp_path):
    notes = read_layout(make_rad_chest_ct(tmp_path, patients=False))[1].notes
    assert "every study counts as a patient" in notes[0]


def test_rad_chest_ct_without_labels_says_so(tmp_path):
    make_rad_chest_ct(tmp_path)
    for path in tmp_path.glob("img*.csv"):
        path.unlink()
    with pytest.raises(InputError, match=r"rad-chest-ct .*missing: imgtrain_Abnormality_and_Location_Labels.csv"):
        detect_layout(tmp_path)


def test_an_npz_without_the_volume_is_refused(tmp_path):
    make_rad_chest_ct(tmp_path)
    np.savez(tmp_path / "trn00001.npz", other=np.zeros(3))
    studies = read_layout(tmp_path)[1].studies
    with pytest.raises(InputError, match="Expected a volume named 'ct'"):
        read_study_volume(Manifest(tmp_path, studies), studies[0])
