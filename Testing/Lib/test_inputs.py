"""What a user hands in: CT and organs, checked before any work is done."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from patient import ORGANS, make_patient
from test_dicom import Scan, write_scan

from CTGLIPLib.errors import GeometryError, InputError, LabelError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.volume import Segmentation


def test_files_are_read_as_nibabel_reads_them_and_named_without_their_path(patient):
    given = load_input(patient / "ct.nii.gz", str(patient / "organs.nii.gz"))
    np.testing.assert_array_equal(given.volume.array, np.asarray(nib.load(patient / "ct.nii.gz").dataobj))
    assert given.name == "ct.nii.gz"
    assert given.segmentation.names == tuple(ORGANS)
    assert any("livertumor1" in warning for warning in given.warnings)


def test_a_link_is_named_as_it_was_given_and_never_as_the_file_behind_it(patient, tmp_path):
    link = tmp_path / "case\\1.nii.gz"
    link.symlink_to(patient / "ct.nii.gz")
    assert load_input(link, None).name == "case_1.nii.gz"


def test_arrays_pass_through(patient):
    volume, organs = make_patient()
    given = load_input(volume, organs)
    assert given.volume is volume
    assert given.segmentation is organs
    assert (given.name, given.warnings) == ("volume", ())


def test_an_array_with_undefined_voxels_is_refused_as_a_file_is():
    volume, organs = make_patient()
    hu = volume.array.astype(np.float32)
    hu[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="The CT must hold finite numbers, got 1 of"):
        load_input(replace(volume, array=hu), organs)


def test_without_organs_there_is_none(patient):
    assert load_input(patient / "ct.nii.gz", None).segmentation is None


def test_names_and_version_decide_the_organs(patient, tmp_path):
    alone = Path(shutil.copyfile(patient / "organs.nii.gz", tmp_path / "map.nii.gz"))
    (tmp_path / "list.json").write_text(json.dumps({"1": "spleen"} | {str(n): f"thing {n}" for n in range(2, 9)}))
    by_file = load_input(patient / "ct.nii.gz", alone, InputOptions(names=tmp_path / "list.json"))
    assert by_file.segmentation.names[0] == "spleen"
    by_dict = load_input(patient / "ct.nii.gz", alone, InputOptions(names={n: f"part {n}" for n in range(1, 9)}))
    assert by_dict.segmentation.names[0] == "part 1"
    by_version = load_input(patient / "ct.nii.gz", alone, InputOptions(vocabulary="totalsegmentator_v2"))
    assert by_version.segmentation.names[:2] == ("spleen", "kidney_right")


def test_a_label_map_without_names_is_refused_with_the_choices(patient, tmp_path):
    alone = Path(shutil.copyfile(patient / "organs.nii.gz", tmp_path / "map.nii.gz"))
    with pytest.raises(LabelError, match=r"no organ names.*--label-map-version v1\|v2.*--names FILE"):
        load_input(patient / "ct.nii.gz", alone)


def test_organs_elsewhere_are_refused_showing_both_grids():
    volume, organs = make_patient()
    affine = organs.grid.affine.copy()
    affine[0, 3] += 5000
    far = Segmentation(organs.layers, Grid(organs.grid.shape_ijk, affine), organs.names)
    with pytest.raises(GeometryError, match=r"(?s)overlap by 0% only.*CT.*masks.*Give the masks of this CT"):
        load_input(volume, far)


def test_a_missing_ct_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file or folder"):
        load_input(tmp_path / "ct.nii.gz", None)


def test_one_of_two_dicom_series_is_taken_by_its_number(tmp_path):
    write_scan(tmp_path / "two", Scan())
    write_scan(tmp_path / "two" / "b", Scan(uid="1.2.3.4", count=9))
    with pytest.raises(InputError, match="--series"):
        load_input(tmp_path / "two", None)
    sizes = {load_input(tmp_path / "two", None, InputOptions(series=n)).volume.grid.shape_ijk[2] for n in ("1", "2")}
    assert sizes == {8, 9}
