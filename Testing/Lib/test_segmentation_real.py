"""Organ masks of real patients: names, grids and sides (needs the data folder)."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from CTGLIPLib.errors import GeometryError, LabelError
from CTGLIPLib.io import read_volume
from CTGLIPLib.segmentation_io import (
    read_segmentation,
    require_overlap,
    resample_segmentation,
)


def test_the_real_v1_map_equals_its_folder_of_masks_voxel_for_voxel(data_folder):
    folder = data_folder / "abdomen_example"
    as_map = read_segmentation(folder / "seg_v1_104.nii.gz", vocabulary="totalsegmentator_v1").segmentation
    loaded = read_segmentation(folder / "seg_v1_104_per_organ")
    as_folder = loaded.segmentation
    assert len(as_map.names) == 59
    assert set(as_folder.names) - set(as_map.names) == {"lung", "lung_trachea_bronchia", "lung_vessels"}
    assert [name for name in as_map.names if not np.array_equal(as_map.mask(name), as_folder.mask(name))] == []
    assert (as_folder.vocabulary, len(as_folder.layers)) == ("totalsegmentator_v1", 3)
    assert loaded.warnings == (
        "Not in the organ vocabulary, asked as open vocabulary: lung, lung_trachea_bronchia, lung_vessels.",
    )


def test_the_real_v2_map_names_itself_and_agrees_with_v1_about_the_liver(data_folder):
    folder = data_folder / "abdomen_example"
    v2 = read_segmentation(folder / "seg_v2_117_fast.nii.gz").segmentation
    v1 = read_segmentation(folder / "seg_v1_104.nii.gz", vocabulary="totalsegmentator_v1").segmentation
    assert (len(v2.names), v2.vocabulary) == (61, "totalsegmentator_v2")
    for name in ("liver", "spleen", "kidney_left"):
        both = np.logical_and(v1.mask(name), v2.mask(name)).sum()
        assert 2 * both / (v1.mask(name).sum() + v2.mask(name).sum()) > 0.9
    with pytest.raises(LabelError, match="Id 7 of .* is aorta in TotalSegmentator v1 but pancreas in the header"):
        read_segmentation(folder / "seg_v2_117_fast.nii.gz", vocabulary="totalsegmentator_v1")


def test_the_real_chest_map_is_named_by_its_csv_not_by_the_official_ids(data_folder):
    folder = data_folder / "chest_lidc_0001"
    with pytest.raises(LabelError, match="TotalSegmentator v2 does not name: 118"):
        read_segmentation(folder / "seg_totalseg_v2.nii.gz", vocabulary="totalsegmentator_v2")
    chest = read_segmentation(folder / "seg_totalseg_v2.nii.gz", folder / "structures.csv").segmentation
    assert len(chest.names) == 89
    assert chest.names[-1] == "costal_cartilages"
    left, right = (np.argwhere(chest.mask(f"lung_upper_lobe_{side}")).mean(axis=0) for side in ("left", "right"))
    assert chest.grid.to_ras(left)[0] < chest.grid.to_ras(right)[0]


def test_the_real_masks_of_a_dicom_series_lie_on_it_after_resampling(data_folder):
    folder = data_folder / "dicom_example"
    segmentation = read_segmentation(folder / "seg_v2_117.nii.gz").segmentation
    volume = read_volume(folder / "dicom").volume
    assert (volume.grid.orientation, segmentation.grid.orientation) == ("LPS", "LAS")
    require_overlap(volume.grid, segmentation.grid)
    moved = resample_segmentation(segmentation, volume.grid)
    assert np.array_equal(moved.voxel_counts(), segmentation.voxel_counts())
    assert len(moved.names) == 31
    means = {name: volume.array[moved.mask(name)].mean() for name in ("liver", "vertebrae_T12")}
    assert 40 < means["liver"] < 140 < means["vertebrae_T12"]


def test_the_real_vertebrae_need_names(data_folder):
    path = data_folder / "small" / "sub-ct_seg-vert_label-22_msk.nii.gz"
    with pytest.raises(
        LabelError, match=r"3 labels .ids 21, 22, 23.* --label-map-version v1\|v2; or name them with --names"
    ):
        read_segmentation(path)
    names = {21: "L2", 22: "vertebrae L3", 23: "vertebrae_L4"}
    assert read_segmentation(path, names).segmentation.names[1:] == ("vertebrae_L3", "vertebrae_L4")


def test_the_real_vessel_folders_are_read_once_what_is_no_mask_of_the_same_grid_is_moved_away(data_folder, tmp_path):
    with pytest.raises(LabelError, match="holds several values"):
        read_segmentation(data_folder / "cta_thorax")
    with pytest.raises(GeometryError, match="heart.nii.gz and pulmonary_artery.nii.gz differ"):
        read_segmentation(data_folder / "cta_thorax" / "pulmonary")
    for path in (data_folder / "cta_thorax").glob("*.nii.gz"):
        if not path.name.startswith(("T7", "ct_")):
            shutil.copy(path, tmp_path)
    names = read_segmentation(tmp_path).segmentation.names
    assert {"aorta", "brachiocephalic_trunk", "vertebrae_T12", "celiac_trunk", "aorta_false_lumen"} <= set(names)
    assert not {"renal_arteries", "iliac_artery_left"} & set(names)
