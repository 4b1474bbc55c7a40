"""Data sets with masks: TotalSegmentator's, AbdomenAtlas, MSD, nnU-Net raw of both versions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_sets import (
    GRID,
    SIZE,
    make_abdomen_atlas,
    make_msd,
    make_nnunet,
    make_totalsegmentator,
    organ,
    write_ct,
    write_label_map,
)

from ctglip_training.data.layouts import detect_layout, read_layout
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.masks import read_study_masks
from ctglip_training.data.msd import names_of_ids
from CTGLIPLib.errors import InputError
from CTGLIPLib.io import write_volume


def by_id(root):
    layout, reading = read_layout(root)
    return layout.name, {study.id: study for study in reading.studies}, reading.notes


def test_totalsegmentators_subjects_have_masks_by_file_and_official_splits(tmp_path):
    name, studies, notes = by_id(make_totalsegmentator(tmp_path))
    assert name == "totalsegmentator"
    assert (studies["s0000"].split, studies["s0001"].split) == ("train", "test")
    assert (studies["s0000"].masks, studies["s0000"].mask_names) == ("s0000/segmentations", "files")
    assert notes == ("1 subjects have no volume on disk and were left out.",)
    masks = read_study_masks(Manifest(tmp_path, ()), studies["s0000"]).segmentation
    assert np.array_equal(masks.mask("liver"), organ("liver"))


def test_totalsegmentators_subjects_may_lie_a_folder_deeper(tmp_path):
    make_totalsegmentator(tmp_path / "Totalsegmentator_dataset_v201")
    name, studies, _ = by_id(tmp_path)
    assert name == "totalsegmentator"
    assert studies["s0001"].volume == "Totalsegmentator_dataset_v201/s0001/ct.nii.gz"
    assert studies["s0001"].split == "test"


def test_subjects_without_masks_are_told(tmp_path):
    write_ct(tmp_path / "s0001" / "ct.nii.gz")
    with pytest.raises(InputError, match=r"totalsegmentator .*missing: s0001/segmentations"):
        detect_layout(tmp_path)


def test_abdomen_atlas_takes_masks_or_else_the_label_map(tmp_path):
    name, studies, _ = by_id(make_abdomen_atlas(tmp_path))
    first, second = studies["BDMAP_00000001"], studies["BDMAP_00000002"]
    assert name == "abdomen-atlas"
    assert (first.masks, first.mask_names) == ("BDMAP_00000001/segmentations", "files")
    assert second.masks == "BDMAP_00000002/combined_labels.nii.gz"
    assert read_study_masks(Manifest(tmp_path, ()), second).segmentation.names == (
        "aorta",
        "gallbladder",
        "kidney_left",
    )


def test_an_atlas_without_organs_is_told(tmp_path):
    write_ct(tmp_path / "BDMAP_00000001" / "ct.nii.gz")
    with pytest.raises(InputError, match="abdomen-atlas .*missing: BDMAP_.*segmentations"):
        detect_layout(tmp_path)


def test_msd_lists_its_cases_and_names_its_labels(tmp_path):
    name, studies, notes = by_id(make_msd(tmp_path))
    assert name == "msd"
    assert sorted(studies) == ["liver_0", "liver_1", "liver_2"]
    assert json.loads(studies["liver_0"].mask_names) == {"1": "liver", "2": "cancer"}
    assert (studies["liver_2"].split, studies["liver_2"].masks) == ("test", "")
    assert notes == ("1 images of dataset.json have no volume on disk and were left out.",)


def test_several_msd_tasks_are_read_from_the_folder_above(tmp_path):
    make_msd(tmp_path / "Task03_Liver")
    make_msd(tmp_path / "Task07_Pancreas")
    _, studies, _ = by_id(tmp_path)
    assert studies["Task07_Pancreas/liver_0"].volume == "Task07_Pancreas/imagesTr/liver_0.nii.gz"
    assert len(studies) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": {"0": "MRI"}}, "must have a channel named CT, got MRI"),
        ({"labels": {}}, 'must have "labels" with a name for each id'),
        ({"training": [5]}, 'an entry of "training" must be a path'),
        ({"training": None}, 'missing: "training" in dataset.json'),
    ],
)
def test_a_wrong_dataset_json_of_msd_is_refused(tmp_path, changes, message):
    make_msd(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        read_layout(tmp_path)


def test_a_dataset_json_that_is_no_json_is_refused(tmp_path):
    make_msd(tmp_path)
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset.json cannot be read"):
        read_layout(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_nnunet_give_the_same_studies(tmp_path, version):
    name, studies, _ = by_id(make_nnunet(tmp_path, version))
    assert name == "nnunet"
    assert {study.id: study.split for study in studies.values()} == {"case_a": "", "case_b": "", "case_c": "test"}
    first = studies["case_a"]
    assert (first.volume, first.masks) == ("imagesTr/case_a_0000.nii.gz", "labelsTr/case_a.nii.gz")
    assert read_study_masks(Manifest(tmp_path, ()), first).segmentation.names == ("liver", "spleen")


def test_nnunet_files_may_be_nrrd(tmp_path):
    _, studies, _ = by_id(make_nnunet(tmp_path, ending=".nrrd"))
    assert studies["case_a"].volume == "imagesTr/case_a_0000.nrrd"
    assert read_study_masks(Manifest(tmp_path, ()), studies["case_a"]).segmentation.names == ("liver", "spleen")


def test_the_ct_among_several_channels_is_taken(tmp_path):
    make_nnunet(tmp_path, channel_names={"0": "PET", "1": "CT"})
    write_volume(np.zeros((SIZE, SIZE, SIZE), np.int16), GRID, tmp_path / "imagesTr" / "case_a_0001.nii.gz")
    assert list(by_id(tmp_path)[1].values())[0].volume == "imagesTr/case_a_0001.nii.gz"


def test_cases_that_nnunet_lists_may_lie_elsewhere(tmp_path):
    write_ct(tmp_path / "elsewhere" / "x.nii.gz")
    write_label_map(tmp_path / "elsewhere" / "y.nii.gz")
    listed = {"x": {"images": ["../elsewhere/x.nii.gz"], "label": "../elsewhere/y.nii.gz"}}
    make_nnunet(tmp_path / "Dataset001_Liver", dataset=listed)
    _, studies, _ = by_id(tmp_path)
    assert (studies["x"].volume, studies["x"].masks) == ("elsewhere/x.nii.gz", "elsewhere/y.nii.gz")


def test_a_region_names_an_id_where_it_is_the_smallest_that_holds_it(tmp_path):
    labels = {"background": 0, "whole tumour": [1, 2], "core": [2], "ignore": 3}
    assert names_of_ids({"labels": labels}, tmp_path) == {"1": "whole tumour", "2": "core"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": {"0": "T1"}}, "must have a channel named CT, got T1"),
        ({"channel_names": None}, 'missing: "channel_names"'),
        ({"file_ending": ".png"}, "images must end in"),
        ({"labels": {"liver": "one"}}, "must hold whole numbers and names"),
        ({"dataset": {"x": {"images": []}}}, "case 'x' of \"dataset\" must list 1"),
    ],
)
def test_a_wrong_dataset_json_of_nnunet_is_refused(tmp_path, changes, message):
    make_nnunet(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        read_layout(tmp_path)
