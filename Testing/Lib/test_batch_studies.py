"""Which files of a folder are studies: by their names alone, and what is ambiguous is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from CTGLIPLib.batch_studies import BatchStudy, find_studies
from CTGLIPLib.errors import InputError


def make(folder: Path, *names: str) -> Path:
    """Empty files, and DICOM slices where the ending says so."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(128) + b"DICM" if name.endswith(".dcm") else b"")
    return folder


def only(folder: Path) -> BatchStudy:
    (study,) = find_studies(folder).studies
    return study


def files_of(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """Source and organs of each study, relative to the folder."""

    def relative(path: Path | None) -> str | None:
        return None if path is None else path.relative_to(folder).as_posix()

    return {
        study.name: (relative(study.source), relative(study.segmentation)) for study in find_studies(folder).studies
    }


def test_links_in_circles_disturb_nobody(tmp_path):
    folder = make(tmp_path, "a/ct.nii.gz", "b/ct.nii.gz")
    (folder / "a" / "self").symlink_to("self")
    (folder / "self").symlink_to("self")
    (folder / "b" / "up").symlink_to(folder)
    assert files_of(folder) == {"a": ("a/ct.nii.gz", None), "b": ("b/ct.nii.gz", None)}


def test_a_folder_that_may_not_be_opened_is_a_failure_of_its_own(tmp_path, monkeypatch):
    folder = make(tmp_path, "a/ct.nii.gz", "b/ct.nii.gz")
    opened = Path.iterdir

    def closed(path: Path):
        if path.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    shut, other = find_studies(folder).studies
    assert (shut.name, shut.source) == ("a", None)
    assert shut.problem == (
        "Expected a folder that can be read, got: Permission denied. Check that you may open its files."
    )
    assert other == BatchStudy("b", folder / "b" / "ct.nii.gz")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_no_utf8_are_spelled_out_and_pairs_stay_pairs(tmp_path):
    folder = make(tmp_path, *(os.fsdecode(name) for name in (b"a\xff/ct.nii.gz", b"b\xff.nii.gz", b"b\xff_seg.nii.gz")))
    studies = find_studies(folder).studies
    assert [study.name for study in studies] == ["a_udcff", "b_udcff"]
    assert studies[1].segmentation is not None


@pytest.mark.parametrize(
    ("names", "source", "organs"),
    [
        (["ct.nii.gz", "organs.nii.gz", "organs.json"], "ct.nii.gz", "organs.nii.gz"),
        (["CT.NRRD", "Segmentation.seg.nrrd"], "CT.NRRD", "Segmentation.seg.nrrd"),
        (
            ["ct.nii.gz", "seg_totalseg_v2.nii.gz", "lidc_nodule_consensus50.nii.gz"],
            "ct.nii.gz",
            "seg_totalseg_v2.nii.gz",
        ),
        (["ct.nii.gz", "ct_small.nii.gz", "totalseg.nii"], "ct.nii.gz", "totalseg.nii"),
        (["ct.nii.gz", "segmentations/liver.nii.gz"], "ct.nii.gz", "segmentations"),
        (["scan.mha", "scan_seg.mha"], "scan.mha", "scan_seg.mha"),
        (["anything.nii.gz"], "anything.nii.gz", None),
        (["CT_image.nii.gz", "CT_mask.nii.gz"], "CT_image.nii.gz", None),
        (["ct_cropped.nii.gz", "aorta.nii.gz", "heart.nii.gz"], "ct_cropped.nii.gz", None),
        (["dicom/1.dcm", "dicom/2.dcm", "seg_v2_117.nii.gz"], ".", "seg_v2_117.nii.gz"),
        (["1.dcm", "2.dcm"], ".", None),
        (["scan.ctglip"], "scan.ctglip", None),
        (["ct.nii.gz", "scan.ctglip"], "ct.nii.gz", None),
    ],
)
def test_a_folder_of_its_own_is_one_study(tmp_path, names, source, organs):
    make(tmp_path / "patient", *names)
    study = only(tmp_path)
    assert (study.name, study.problem) == ("patient", "")
    assert study.source == tmp_path / "patient" / source
    assert study.segmentation == (None if organs is None else tmp_path / "patient" / organs)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["ct.nii.gz", "ct.nrrd"], "Expected one CT, got 2: ct.nii.gz, ct.nrrd. Name the CT ct"),
        (["a.nii.gz", "b.nii.gz"], "Expected one CT, got 2: a.nii.gz, b.nii.gz."),
        (["ct.nii.gz", "organs.nii.gz", "seg.nrrd"], "Expected one segmentation, got 2: organs.nii.gz, seg.nrrd."),
        (["ct.nii.gz", "organs.nii.gz", "masks/liver.nii.gz"], "got 2: masks/, organs.nii.gz. Move all but one away."),
        (["a.ctglip", "b.ctglip"], "Expected one study file, got 2: a.ctglip, b.ctglip. Move all but one away."),
        (["organs.nii.gz"], "Expected a CT, got organs.nii.gz only. Add it as ct.nii.gz"),
        ([f"{letter}.nii" for letter in "abcdefg"], "got 7: a.nii, b.nii, c.nii, d.nii, e.nii and 2 more."),
    ],
)
def test_what_is_ambiguous_is_told_and_not_guessed(tmp_path, names, told):
    make(tmp_path / "patient", *names)
    study = only(tmp_path)
    assert study.source is None
    assert told in study.problem


def test_cts_side_by_side_take_the_organs_of_their_name(tmp_path):
    make(
        tmp_path, "a.nii.gz", "a_seg.nii.gz", "b.nrrd", "b.seg.nrrd", "c.nii.gz", "masks/c.nii.gz", "d.mha",
        "masks/d/liver.nii.gz", "e.nii.gz", "f.ctglip", "g/1.dcm", "g_seg.nii.gz",
    )  # fmt: skip
    assert files_of(tmp_path) == {
        "a": ("a.nii.gz", "a_seg.nii.gz"),
        "b": ("b.nrrd", "b.seg.nrrd"),
        "c": ("c.nii.gz", "masks/c.nii.gz"),
        "d": ("d.mha", "masks/d"),
        "e": ("e.nii.gz", None),
        "f": ("f.ctglip", None),
        "g": ("g", "g_seg.nii.gz"),
    }


def test_the_name_of_a_ct_may_end_in_ct_where_its_organs_do_not(tmp_path):
    make(tmp_path, "p1_ct.nii.gz", "p1_seg.nii.gz", "p2_ct.nii.gz", "segmentations/p2.nii.gz", "p2_lesion.nii.gz")
    assert files_of(tmp_path) == {
        "p1_ct": ("p1_ct.nii.gz", "p1_seg.nii.gz"),
        "p2_ct": ("p2_ct.nii.gz", "segmentations/p2.nii.gz"),
    }
    assert find_studies(tmp_path).passed_over == ("p2_lesion.nii.gz",)


def test_two_segmentations_of_one_name_are_that_studys_problem_alone(tmp_path):
    make(tmp_path, "a.nii.gz", "a_seg.nii.gz", "masks/a.nii.gz", "b.nii.gz")
    a, b = find_studies(tmp_path).studies
    assert "Expected one segmentation, got 2: a_seg.nii.gz, a.nii.gz." in a.problem
    assert (a.source, b.source, b.problem) == (None, tmp_path / "b.nii.gz", "")


def test_the_folder_may_itself_be_the_study(tmp_path):
    for number, names in enumerate([["ct.nii.gz", "organs.nii.gz"], ["1.dcm"], ["dicom/1.dcm", "seg_v2.nii.gz"]]):
        folder = make(tmp_path / f"study{number}", *names)
        assert only(folder).name == f"study{number}"
        assert (only(folder).segmentation is None) == (number == 1)


def test_organs_without_a_name_make_the_folder_one_study(tmp_path):
    make(tmp_path / "one", "scan.nii.gz", "organs.nii.gz", "old/ct.nii.gz")
    assert files_of(tmp_path / "one") == {"one": ("scan.nii.gz", "organs.nii.gz")}
    assert find_studies(tmp_path / "one").passed_over == ("old",)
    make(tmp_path / "slicer", "scan.nrrd", "Segmentation.seg.nrrd")
    assert files_of(tmp_path / "slicer") == {"slicer": ("scan.nrrd", "Segmentation.seg.nrrd")}
    make(tmp_path / "two", "a.nii.gz", "b.nii.gz", "segmentation.nii.gz")
    assert "Expected one CT, got 2" in only(tmp_path / "two").problem
    make(tmp_path / "many", "a/ct.nii.gz", "b/ct.nii.gz", "organs_atlas.nii.gz")
    assert list(files_of(tmp_path / "many")) == ["a", "b"]
    assert find_studies(tmp_path / "many").passed_over == ("organs_atlas.nii.gz",)


def test_what_is_no_study_is_named_and_hidden_files_and_results_are_not_looked_at(tmp_path):
    make(tmp_path, "a/ct.nii.gz", "notes/readme.txt", "x_seg.nii.gz", ".hidden/ct.nii.gz", "__MACOSX/ct.nii.gz")
    out = make(tmp_path / "results", "a/organs.seg.nrrd", "ct.nii.gz")
    found = find_studies(tmp_path, out)
    assert [study.name for study in found.studies] == ["a"]
    assert found.passed_over == ("notes", "x_seg.nii.gz")


def test_the_list_of_names_and_the_unused_images_of_a_study_are_kept(tmp_path):
    make(tmp_path / "p", "ct.nii.gz", "seg.nii.gz", "structures.csv", "statistics.json", "nodule.nii.gz")
    study = only(tmp_path)
    assert [path.name for path in study.lists] == ["structures.csv"]
    assert study.unused == ("nodule.nii.gz",)


@pytest.mark.parametrize("names", [["a.nii.gz", "a.ctglip"], ["A.nii.gz", "a/ct.nii.gz"], ["a.nii.gz", "a.nrrd"]])
def test_two_studies_of_one_name_are_refused(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(InputError, match="Every study needs a name of its own, but two are named"):
        find_studies(tmp_path)


def test_a_link_keeps_its_own_name(tmp_path):
    make(tmp_path / "archive" / "doe_jane", "ct.nii.gz")
    folder = tmp_path / "batch"
    folder.mkdir()
    (folder / "case1").symlink_to(tmp_path / "archive" / "doe_jane")
    assert only(folder).name == "case1"


def test_a_folder_without_studies_is_refused(tmp_path):
    make(tmp_path, "empty/readme.txt")
    with pytest.raises(InputError, match="Expected studies in .*, found none"):
        find_studies(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_studies(tmp_path / "missing")
    with pytest.raises(InputError, match="is a file"):
        find_studies(tmp_path / "empty" / "readme.txt")


def test_the_real_folders_are_told_apart_as_they_are(data_folder):
    found = {study.name: study for study in find_studies(data_folder).studies}
    chest, dicom, abdomen = (found[name] for name in ("chest_lidc_0001", "dicom_example", "abdomen_example"))
    assert chest.source == data_folder / "chest_lidc_0001" / "ct.nii.gz"
    assert chest.segmentation == data_folder / "chest_lidc_0001" / "seg_totalseg_v2.nii.gz"
    assert [path.name for path in chest.lists] == ["structures.csv"]
    assert (dicom.source, dicom.segmentation) == (
        data_folder / "dicom_example",
        data_folder / "dicom_example" / "seg_v2_117.nii.gz",
    )
    assert "Expected one segmentation, got 3" in abdomen.problem
    sarcoma = find_studies(data_folder / "sarcoma").studies
    assert {study.source.name for study in sarcoma if study.source} == {"CT_image.nii.gz"}
