from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_sets import GRID, SIZE, write_ct, write_masks
from finetune_data import CASES, HEALTHY, ball, write_tumor_set

from ctglip_training.data.manifest import Manifest, write_manifest
from ctglip_training.data.study import Study
from ctglip_training.finetune.cases import open_cases
from ctglip_training.finetune.folds import deal_folds, fold_without, official_fold
from CTGLIPLib.errors import ConfigError, GeometryError, InputError, LabelError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume


@pytest.fixture(scope="module")
def tumor_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tumor_set(tmp_path_factory.mktemp("raw") / "Dataset007_Lung")


def test_an_nnunet_folder_is_read_as_it_is_and_its_cancer_is_the_tumour(tumor_set: Path) -> None:
    cases = open_cases(tumor_set)
    assert cases.name == "Dataset007_Lung"
    assert (cases.classes, cases.tumors) == (("lung", "cancer"), ("cancer",))
    assert [study.id for study in cases.studies] == list(CASES)


def test_an_msd_folder_is_read_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "Task06_Lung"
    write_ct(root / "imagesTr" / "lung_001.nii.gz")
    write_volume(ball("lung_1").astype(np.uint8), GRID, root / "labelsTr" / "lung_001.nii.gz")
    listed = [{"image": "./imagesTr/lung_001.nii.gz", "label": "./labelsTr/lung_001.nii.gz"}]
    facts = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "cancer"}, "training": listed, "test": []}
    (root / "dataset.json").write_text(json.dumps(facts))
    cases = open_cases(root)
    assert (cases.classes, cases.tumors) == (("cancer",), ("cancer",))
    assert np.array_equal(cases.class_map(cases.studies[0]).array, ball("lung_1"))


def test_labels_of_a_case_are_the_classes_and_a_healthy_patient_has_no_tumour(tumor_set: Path) -> None:
    cases = open_cases(tumor_set)
    maps = {study.id: cases.class_map(study).array for study in cases.studies}
    assert np.array_equal(maps["lung_1"] == 2, ball("lung_1"))
    assert set(np.unique(maps[HEALTHY])) == {0, 1}


def test_ids_of_two_data_sets_in_one_manifest_mean_what_each_set_says(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 5)):
        write_ct(tmp_path / f"{name}.nii.gz")
        write_volume((ball("lung_0") * number).astype(np.uint8), GRID, tmp_path / f"{name}_mask.nii.gz")
    studies = tuple(
        Study(name, name, f"{name}.nii.gz", "", masks=f"{name}_mask.nii.gz", mask_names=names)
        for name, names in (("a", '{"1": "liver tumor"}'), ("b", '{"1": "liver", "5": "liver tumor"}'))
    )
    write_manifest(Manifest(tmp_path, studies), tmp_path / "manifest.csv")
    cases = open_cases(tmp_path / "manifest.csv")
    assert cases.classes == ("liver tumor", "liver")
    assert all(np.array_equal(cases.class_map(study).array == 1, ball("lung_0")) for study in cases.studies)


def test_in_a_folder_of_masks_the_tumour_lies_upon_its_organ(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct.nii.gz")
    write_masks(tmp_path / "masks", ("liver", "lesion"))  # the same place twice
    write_manifest(
        Manifest(tmp_path, (Study("a", "a", "ct.nii.gz", "", masks="masks", mask_names="files"),)), tmp_path / "m.csv"
    )
    cases = open_cases(tmp_path / "m.csv")
    labels = cases.class_map(cases.studies[0]).array
    assert cases.tumors == ("lesion",)
    assert set(np.unique(labels)) == {0, cases.classes.index("lesion") + 1}


def test_masks_of_one_case_on_two_grids_are_refused(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct.nii.gz")
    write_masks(tmp_path / "masks", ("liver",))
    moved = GRID.affine.copy()
    moved[0, 3] += 7
    write_volume(np.ones((SIZE,) * 3, np.uint8), Grid((SIZE,) * 3, moved), tmp_path / "masks" / "lesion.nii.gz")
    study = Study("a", "a", "ct.nii.gz", "", masks="masks", mask_names="files")
    write_manifest(Manifest(tmp_path, (study,)), tmp_path / "m.csv")
    cases = open_cases(tmp_path / "m.csv")
    with pytest.raises(GeometryError, match="must share one grid"):
        cases.class_map(cases.studies[0])


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "Dataset001_A", ["lung_0"])
    facts = json.loads((root / "dataset.json").read_text())
    del facts["labels"]["lung"]
    (root / "dataset.json").write_text(json.dumps(facts))
    cases = open_cases(root)
    with pytest.raises(LabelError, match="voxels with id 1, which the data set does not name"):
        cases.class_map(cases.studies[0])


def test_classes_that_are_known_for_no_tumour_have_to_be_named(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "Dataset001_A", ["lung_0"])
    facts = json.loads((root / "dataset.json").read_text())
    facts["labels"] = {"background": 0, "lung": 1, "thing": 2}
    (root / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(LabelError, match="Name those that are with --tumors"):
        open_cases(root)
    assert open_cases(root, ["thing"]).tumors == ("thing",)
    with pytest.raises(ConfigError, match="The closest is 'thing'"):
        open_cases(root, ["things"])


def test_a_data_set_without_masks_is_refused(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "Dataset001_A", ["lung_0"])
    (root / "labelsTr" / "lung_0.nii.gz").unlink()
    with pytest.raises(InputError, match="none of them with masks"):
        open_cases(root)


def _studies(*patients: str, split: str = "") -> tuple[Study, ...]:
    return tuple(Study(f"{p}-{n}", p, "ct", "", split=split) for n, p in enumerate(patients))  # type: ignore[arg-type]


def test_every_case_is_left_out_once_and_no_patient_is_on_both_sides() -> None:
    studies = _studies(*"abcdefgabc")
    folds = deal_folds(studies, 3)
    assert sorted(s.id for fold in folds for s in fold.test) == sorted(s.id for s in studies)
    for fold in folds:
        assert not {s.patient for s in fold.train} & {s.patient for s in fold.test}
        assert len(fold.train) + len(fold.test) == len(studies)


def test_folds_differ_by_one_patient_at_most_and_do_not_depend_on_the_order() -> None:
    studies = _studies(*"abcdefghij")
    folds = deal_folds(studies, 4)
    sizes = [len({s.patient for s in fold.test}) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    again = deal_folds(studies[::-1], 4)
    assert [{s.id for s in f.test} for f in folds] == [{s.id for s in f.test} for f in again]


def test_the_official_test_cases_are_measured_and_their_patients_not_trained_on() -> None:
    studies = _studies("a", "b") + _studies("b", "c", split="test")
    fold = official_fold(studies)
    assert {s.patient for s in fold.train} == {"a"}
    with pytest.raises(InputError, match="no test or validation cases"):
        official_fold(_studies("a", "b"))


def test_leaving_out_a_case_leaves_out_its_patient() -> None:
    studies = (Study("a-1", "a", "ct", ""), Study("a-2", "a", "ct", ""), Study("b-1", "b", "ct", ""))
    fold = fold_without(studies, ["a-1"])
    assert ([s.id for s in fold.train], [s.id for s in fold.test]) == (["b-1"], ["a-1", "a-2"])
    with pytest.raises(InputError, match="has no c-9"):
        fold_without(studies, ["c-9"])
    with pytest.raises(InputError, match="nothing is left to learn from"):
        fold_without(studies, ["a-1", "b-1"])


@pytest.mark.parametrize("count", [1, 4])
def test_folds_need_a_patient_each(count: int) -> None:
    with pytest.raises(ConfigError, match=f"Expected 2 to 3 folds.*got {count}"):
        deal_folds(_studies(*"abc"), count)


def test_the_sarcoma_manifest_of_the_documentation_is_read(data_folder: Path, tmp_path: Path) -> None:
    if not (data_folder / "sarcoma").is_dir():
        pytest.skip("no sarcoma data")
    root = Path(os.path.relpath(data_folder / "sarcoma", tmp_path)).as_posix()
    case = 'STS_003,STS_003,STS_003/CT_image.nii.gz,STS_003/CT_mask.nii.gz,"{""1"": ""sarcoma""}"'
    text = f"study,patient,volume,masks,mask_names,root\n{case},{root}\n"
    (tmp_path / "manifest.csv").write_text(text)
    cases = open_cases(tmp_path / "manifest.csv")
    assert cases.tumors == ("sarcoma",)
    assert cases.class_map(cases.studies[0]).array.sum() > 1000


def test_a_case_to_learn_from_without_its_label_map_is_refused_by_name(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "Dataset001_A")
    (root / "labelsTr" / "lung_1.nii.gz").unlink()
    with pytest.raises(InputError, match="1 of 4 cases have no label map, the first one lung_1"):
        open_cases(root)


def test_a_label_map_whose_ct_is_missing_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_tumor_set(tmp_path / "Dataset001_A")
    (root / "imagesTr" / "lung_1_0000.nii.gz").unlink()
    assert [study.id for study in open_cases(root).studies] == ["lung_0", "lung_2", "lung_3"]
    assert "1 cases have no volume on disk" in caplog.text


@pytest.mark.parametrize("ending", ["_0000.nii.gz", ".nii.gz"])
def test_a_folder_of_images_without_a_list_is_told_what_it_lacks(tmp_path: Path, ending: str) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / f"lung_0{ending}").touch()
    with pytest.raises(InputError, match=r"not complete(.|\n)*missing: dataset\.json"):
        open_cases(tmp_path)
