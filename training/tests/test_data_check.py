"""The check: each thing that is wrong is found, told with its study and its reason, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from data_sets import CENTRES, GRID, SIZE, ct, make_ct_rate, organ, write_ct, write_label_map, write_masks

from ctglip_training.cli import main
from ctglip_training.data import check as check_module
from ctglip_training.data.check import check_manifest, write_check
from ctglip_training.data.check_study import examine, misplaced
from ctglip_training.data.layouts import read_layout
from ctglip_training.data.manifest import Manifest, write_manifest
from ctglip_training.data.splits import assign_splits
from ctglip_training.data.study import Corrections, Study
from CTGLIPLib.errors import Cancelled
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume

REPORT = "The liver is normal. " * 12


def study(name: str, **facts: object) -> Study:
    known = {
        "patient": f"secret-{name}",
        "volume": f"{name}.nii.gz",
        "layout": "x",
        "split": "train",
        "report": "Normal.",
    }
    return Study(id=name, **{**known, **facts})  # type: ignore[arg-type]


@pytest.fixture
def good(tmp_path):
    """Three good studies with masks; a manifest to change."""
    studies = []
    for seed, name in enumerate("abc"):
        write_ct(tmp_path / f"{name}.nii.gz", seed)
        write_masks(tmp_path / name, tuple(CENTRES))
        studies.append(study(name, masks=name, mask_names="files"))
    return Manifest(tmp_path, tuple(studies))


def run(manifest, **options):
    return check_manifest(manifest, manifest.root / "journal.jsonl", **options)


def changed(manifest, **facts):
    return Manifest(manifest.root, (replace(manifest.studies[0], **facts), *manifest.studies[1:]))


def kinds(result):
    return [(problem.study, problem.kind, problem.severity) for problem in result.problems]


def test_good_studies_have_no_problem(good):
    result = run(good)
    assert result.problems == ()
    assert result.checked == 3
    assert result.splits == {"train": (3, 3)}


def test_a_missing_volume_is_found(good):
    result = run(changed(good, volume="absent.nii.gz"))
    assert kinds(result) == [("a", "file", "error")]
    assert "There is no" in result.problems[0].message


def test_a_truncated_volume_is_found_when_voxels_are_read(good):
    path = good.root / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])
    assert run(good, header_only=True).problems == ()
    assert kinds(run(good)) == [("a", "file", "error")]


@pytest.mark.parametrize(
    ("spacing", "message"),
    [((0.1, 5, 5), "no CT's"), ((5, 5, 1), "which no body does"), ((5, 5, 20), "no CT's"), ((60, 5, 5), "no CT's")],
)
def test_a_spacing_that_no_body_has_is_found(good, spacing, message):
    write_volume(ct(0), Grid(GRID.shape_ijk, np.diag([*spacing, 1.0])), good.root / "a.nii.gz")
    found = [p for p in run(changed(good, masks=""), header_only=True).problems if p.severity == "error"]
    assert [(problem.study, problem.kind) for problem in found][0] == ("a", "spacing")
    assert message in found[0].message


def test_a_spacing_other_than_the_tables_is_found(good):
    result = run(changed(good, expected_spacing_mm=(5.0, 5.0, 4.0)))
    assert kinds(result) == [("a", "spacing", "error")]
    assert "5 x 5 x 5 mm, but the data set's table says 5 x 5 x 4 mm" in result.problems[0].message


def test_a_header_that_was_never_filled_in_is_found(tmp_path):
    write_volume(np.zeros((512, 512, 60), np.uint8), Grid((512, 512, 60), np.eye(4)), tmp_path / "a.nii.gz")
    found = examine(Manifest(tmp_path, ()), study("a"), header_only=True).problems
    assert "was the header ever filled in?" in found[0].message


def test_values_that_are_not_hu_are_found_and_corrections_mend_them(good):
    write_volume((ct(0).astype(np.int32) + 8192).astype(np.int16), GRID, good.root / "a.nii.gz")
    result = run(good)
    assert kinds(result) == [("a", "hu", "error")]
    assert "rescale slope and intercept" in result.problems[0].message
    assert run(changed(good, corrections=Corrections(intercept=-8192.0))).problems == ()


@pytest.mark.parametrize(
    ("axis", "direction"), [(0, "Left and right seem swapped"), (1, "Front and back"), (2, "Head and feet")]
)
def test_a_mirrored_volume_is_found_by_its_organs(good, axis, direction):
    affine = GRID.affine.copy()
    affine[axis, axis] *= -1
    affine[axis, 3] = 5.0 * (SIZE - 1)
    wrong = Grid(GRID.shape_ijk, affine)
    write_volume(ct(0), wrong, good.root / "a.nii.gz")
    write_masks(good.root / "a", (*CENTRES, "sacrum"), wrong)
    write_volume(np.roll(organ("urinary_bladder"), -6, 1), wrong, good.root / "a" / "sacrum.nii.gz")
    result = run(good)
    assert ("a", "orientation", "error") in kinds(result)
    assert result.problems[0].message.startswith(direction)


def test_one_odd_pair_of_organs_does_not_make_an_orientation_wrong():
    centres = {
        "liver": np.zeros(3),
        "spleen": np.full(3, 5.0),
        "kidney_right": np.full(3, 9.0),
        "kidney_left": -np.ones(3),
    }
    assert misplaced(centres) == []


def test_a_header_without_a_position_is_found(good):
    path = good.root / "a.nii"
    write_volume(ct(0), GRID, path)
    raw = bytearray(path.read_bytes())
    raw[252:256] = bytes(4)
    path.write_bytes(raw)
    result = run(changed(good, volume="a.nii"))
    assert kinds(result) == [("a", "orientation", "error")]
    assert "left and right cannot be known" in result.problems[0].message


def test_a_copy_under_another_name_format_and_header_is_found_with_its_leak(good):
    write_volume(ct(0), Grid(GRID.shape_ijk, np.diag([5.0, 5.0, 4.9, 1.0])), good.root / "copy.nrrd")
    copy = study("copy", volume="copy.nrrd", split="test", masks="b", mask_names="files")
    result = run(Manifest(good.root, (*good.studies, copy)))
    assert ("a", "duplicate", "error") in kinds(result)
    assert "The same voxels as copy, and they are in test and train" in result.problems[0].message


def test_two_rows_of_one_file_are_found(good):
    twin = replace(good.studies[0], id="twin")
    assert ("a", "duplicate", "error") in kinds(run(Manifest(good.root, (*good.studies, twin)), header_only=True))


def test_one_report_of_two_patients_in_two_splits_is_a_warning(good):
    first, second, third = (replace(item, report=REPORT) for item in good.studies)
    result = run(Manifest(good.root, (first, replace(second, split="test"), third)), header_only=True)
    assert kinds(result) == [("a", "duplicate", "warning")]


def test_a_patient_in_two_splits_is_found(good):
    first, second, third = good.studies
    leaking = Manifest(good.root, (first, replace(second, patient=first.patient, split="val"), third))
    result = run(leaking, header_only=True)
    assert kinds(result) == [("a", "split", "error")]
    assert "One patient is in 2 splits (train: a; val: b)" in result.problems[0].message


def test_patients_are_not_named(good):
    first, second, third = good.studies
    leaking = Manifest(good.root, (first, replace(second, patient=first.patient, split="val"), third))
    result = run(leaking)
    assert "secret" not in result.to_table() + result.to_json()
    assert "secret" not in (good.root / "journal.jsonl").read_text("utf-8")


@pytest.mark.parametrize(("fact", "kind"), [("masks", "masks"), ("report", "report")])
def test_a_study_without_what_the_others_have_is_an_error(good, fact, kind):
    result = run(changed(good, **{fact: ""}), header_only=True)
    assert kinds(result) == [("a", kind, "error")]


def test_what_no_study_has_is_one_warning(good):
    bare = Manifest(good.root, tuple(replace(item, masks="", report="") for item in good.studies))
    assert kinds(run(bare, header_only=True)) == [("", "masks", "warning"), ("", "report", "warning")]


def test_masks_and_reports_that_are_not_on_disk_are_found(good):
    result = run(changed(good, masks="absent", report_file="absent.txt"), header_only=True)
    assert kinds(result) == [("a", "masks", "error"), ("a", "report", "error")]


def test_masks_of_another_place_are_found(good):
    far = GRID.affine.copy()
    far[:3, 3] = 900
    write_masks(good.root / "far", ("liver",), Grid(GRID.shape_ijk, far))
    result = run(changed(good, masks="far"))
    assert kinds(result) == [("a", "masks", "error")]
    assert "CT and masks hardly overlap" in result.problems[0].message


@pytest.mark.parametrize(
    ("names", "severity", "message"),
    [
        ({"1": "liver", "2": "flux"}, "warning", "Labels that match no organ: flux"),
        ({"1": "flux", "2": "blob"}, "error", "No label matches an organ: flux, blob"),
    ],
)
def test_labels_that_match_no_organ_are_found(good, names, severity, message):
    write_label_map(good.root / "map.nii.gz")
    result = run(changed(good, masks="map.nii.gz", mask_names=json.dumps(names)))
    assert kinds(result) == [("a", "mask names", severity)]
    assert message in result.problems[0].message


@pytest.mark.parametrize("names", [{"1": "liver", "2": "liver cancer"}, {"1": "cancer"}, {"1": "lung_left"}])
def test_findings_and_groups_are_no_unknown_labels(good, names):
    write_label_map(good.root / "map.nii.gz", ("liver",))
    assert run(changed(good, masks="map.nii.gz", mask_names=json.dumps(names))).problems == ()


def test_a_label_map_without_names_is_found(good):
    write_label_map(good.root / "map.nii.gz")
    assert kinds(run(changed(good, masks="map.nii.gz", mask_names="header"))) == [("a", "mask names", "error")]


def test_excluded_studies_are_counted_but_not_looked_at(good):
    result = run(changed(good, volume="absent.nii.gz", exclude="no chest"))
    assert (result.checked, result.excluded, result.problems) == (2, 1, ())


def test_a_stopped_check_goes_on(good, monkeypatch):
    looked_at = []
    real = check_module.examine
    monkeypatch.setattr(check_module, "examine", lambda m, s, h: looked_at.append(s.id) or real(m, s, h))
    with pytest.raises(Cancelled):
        run(good, progress=lambda _what, done, _total: done < 1)
    first = list(looked_at)
    with (good.root / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "broken off')
    result = run(good)
    assert first[0] == "a"
    assert sorted(looked_at) == ["a", "b", "c"]
    assert result.problems == ()


def test_only_what_has_changed_is_read_again(good, monkeypatch):
    run(good)
    looked_at = []
    real = check_module.examine
    monkeypatch.setattr(check_module, "examine", lambda m, s, h: looked_at.append(s.id) or real(m, s, h))
    write_ct(good.root / "b.nii.gz", 77)
    assert run(good).problems == ()
    assert looked_at == ["b"]


def test_threads_find_the_same(good):
    wrong = changed(good, volume="absent.nii.gz")
    one = check_manifest(wrong, good.root / "one.jsonl", threads=1)
    assert check_manifest(wrong, good.root / "two.jsonl", threads=2) == one


def test_the_result_is_a_table_and_json(good):
    result = run(changed(good, volume="absent.nii.gz"))
    write_check(result, good.root / "check.json")
    facts = json.loads((good.root / "check.json").read_text("utf-8"))
    assert facts["errors"] == 1
    assert facts["problems"][0]["study"] == "a"
    lines = result.to_table().splitlines()
    assert lines[0].split()[:3] == ["error", "a", "file"]
    assert lines[-1] == "3 studies checked: train 3 (3 patients). 1 errors, 0 warnings."


def test_the_commands_list_check_and_fail_where_something_is_wrong(tmp_path, capsys):
    make_ct_rate(tmp_path / "data")
    manifest = tmp_path / "manifest.csv"
    assert main(["manifest", "--root", str(tmp_path / "data"), "--out", str(manifest)]) == 0
    told = capsys.readouterr().out
    assert "CT-RATE (ct-rate): 4 studies" in told
    assert "splits: train 3 (2 patients), val 1 (1 patients)" in told
    assert "with corrections: 3" in told
    assert main(["check", str(manifest)]) == 0
    assert "3 studies checked, 1 excluded by the data set's makers" in capsys.readouterr().out
    assert main(["check", str(manifest), "--strict"]) == 1
    for path in list((tmp_path / "data").rglob("train_2_a_1.nii.gz")):
        path.unlink()
    capsys.readouterr()
    assert main(["check", str(manifest), "--json"]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["errors"] == 1
    assert "Expected studies without fault, got 1 problems" in output.err


def test_splits_that_are_no_numbers_are_wrong_usage(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["manifest", "--root", str(tmp_path), "--out", "m.csv", "--splits", "a,b"])
    assert "expected three numbers" in capsys.readouterr().err


def test_the_check_of_a_real_ct_with_its_masks_finds_nothing_wrong(data_folder):
    abdomen = study(
        "abdomen", volume="abdomen_example/ct.nii.gz", masks="abdomen_example/seg_v1_104.nii.gz",
        mask_names="totalsegmentator_v1",
    )  # fmt: skip
    assert examine(Manifest(data_folder, ()), abdomen).problems == ()


def test_a_data_set_goes_from_folder_to_check(tmp_path):
    make_ct_rate(tmp_path)
    studies = assign_splits(read_layout(tmp_path)[1].studies)
    write_manifest(Manifest(tmp_path, studies), tmp_path / "manifest.csv")
    assert run(Manifest(tmp_path, studies)).errors == 0
