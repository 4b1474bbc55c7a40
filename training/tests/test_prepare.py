"""Studies as they were downloaded become a store: voxels, organs, reports, splits; what fails is listed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_sets import GRID, ct, organ, write_ct, write_masks

from ctglip_training import prepare
from ctglip_training.cli import main
from ctglip_training.data.manifest import Manifest, read_manifest, write_manifest
from ctglip_training.data.study import Study
from ctglip_training.simulate.patient import Patient
from ctglip_training.store import list_pool, read_patient
from CTGLIPLib.errors import CTGLIPError, InputError, OutputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume
from CTGLIPLib.volume import Segmentation, Volume


def study(name: str, split: str = "train", patient: str = "", masks: bool = True) -> Study:
    return Study(
        name, patient or f"patient {name}", f"{name}/ct.nii.gz", "test", masks=f"{name}/masks" if masks else "",
        mask_names="files" if masks else "", split=split,  # type: ignore[arg-type]
    )  # fmt: skip


def make(root: Path, *studies: Study) -> Path:
    for seed, one in enumerate(studies):
        write_ct(root / one.volume, seed)
        if one.masks:
            write_masks(root / one.masks)
    write_manifest(Manifest(root, studies), root / "manifest.csv")
    return root / "manifest.csv"


def run(manifest: Path, *more: str, out: str = "store", spacing: str = "5") -> int:
    arguments = ["prepare", "--manifest", str(manifest), "--out", str(manifest.parent / out), "--spacing", spacing]
    return main([*arguments, *more])


def write_pairs(path: Path, *rows: tuple[str, str, list[str], str, bool, str | None]) -> str:
    lines = [
        {"study": name, "split": "train", "patient": "", "engine": "rules", "group": group, "organs": organs,
         "sentence": sentence, "normal": normal, "finding": finding, "uncertain": False, "side": None}
        for name, group, organs, sentence, normal, finding in rows
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(path)


def test_a_study_lies_in_the_store_with_its_voxels_organs_split_and_source(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b", "val"))
    assert run(manifest, "--licence", "CC BY", "--credit", "Someone") == 0
    assert "2 of 2 studies" in capsys.readouterr().out
    entries = list_pool(tmp_path / "store")
    assert [(e.study.origin.study, e.study.origin.split) for e in entries] == [("a", "train"), ("b", "val")]
    assert entries[0].study.origin.patient == "patient a"
    assert (entries[0].study.origin.licence, entries[0].study.origin.credit) == ("CC BY", "Someone")
    assert all(set(entry.subject) <= set("patient_0123456789abcdef-") for entry in entries)
    back = read_patient(entries[0].path)
    index = np.rint(GRID.to_index(back.volume.grid.to_ras(np.zeros(3)))).astype(int)  # cropped to body and margin
    box = tuple(slice(i, i + n) for i, n in zip(index, back.volume.array.shape, strict=True))
    assert np.array_equal(back.volume.array, ct(0)[box])
    assert np.array_equal(back.segmentation.mask("liver"), organ("liver")[box])
    assert back.segmentation.mask("liver").sum() == organ("liver").sum()


def test_a_study_without_a_report_says_nothing_of_its_organs(tmp_path):
    run(make(tmp_path, study("a")))
    (entry,) = list_pool(tmp_path / "store")
    assert entry.study.said.report is None
    assert entry.study.said.statements == ()


def test_reports_come_with_the_pairs_and_may_come_later_without_new_voxels(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b"))
    assert run(manifest) == 0
    (entry, other) = list_pool(tmp_path / "store")
    before = (entry.path / "ct.b2nd").stat().st_mtime_ns
    said = ("a.nii.gz", "liver", ["liver"], "A cyst.", False, "hepatic_cyst")
    pairs = write_pairs(tmp_path / "p.jsonl", said)
    assert run(manifest, "--pairs", pairs) == 0
    assert "2 of 2 studies, 1 with a report" in capsys.readouterr().out
    assert (entry.path / "ct.b2nd").stat().st_mtime_ns == before
    assert [(s.organ, s.finding) for s in entry.study.said.statements] == [("liver", "hepatic_cyst")]
    assert entry.study.said.report == "A cyst."
    assert other.study.said.report is None
    assert run(manifest) == 0  # without the table what is known stays
    assert list_pool(tmp_path / "store")[0].study.said == entry.study.said


def test_a_new_split_of_the_manifest_reaches_studies_that_are_there(tmp_path):
    assert run(make(tmp_path, study("a"))) == 0
    write_manifest(Manifest(tmp_path, (study("a", "test"),)), tmp_path / "manifest.csv")
    assert run(tmp_path / "manifest.csv") == 0
    assert list_pool(tmp_path / "store")[0].study.origin.split == "test"


def test_studies_that_fail_are_listed_and_do_not_stop_the_others(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b"), study("c", masks=False), study("d"))
    (tmp_path / "b" / "ct.nii.gz").write_bytes(b"no picture")
    write_masks(tmp_path / "d" / "masks", grid=replace(GRID, affine=GRID.affine + np.eye(4, k=3) * 900))
    assert run(manifest) == 1
    assert "3 studies could not be prepared" in capsys.readouterr().err
    with (tmp_path / "store" / "failed.csv").open(encoding="utf-8") as file:
        reasons = {row["study"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"b", "c", "d"}
    assert "ctglip-train masks" in reasons["c"]
    assert "overlap" in reasons["d"]
    assert [entry.study.origin.study for entry in list_pool(tmp_path / "store")] == ["a"]
    write_ct(tmp_path / "b" / "ct.nii.gz")
    write_masks(tmp_path / "d" / "masks")
    write_masks(tmp_path / "c" / "masks")
    write_manifest(Manifest(tmp_path, tuple(study(name) for name in "abcd")), manifest)
    assert run(manifest) == 0
    assert not (tmp_path / "store" / "failed.csv").exists()
    assert len(list_pool(tmp_path / "store")) == 4


def test_several_processes_make_the_same_store(tmp_path):
    manifest = make(tmp_path, study("a"), study("b"), study("c", masks=False))
    assert run(manifest, out="one") == run(manifest, "--workers", "2", out="two") == 1
    one, two = (list_pool(tmp_path / name) for name in ("one", "two"))
    assert [e.path.name for e in one] == [e.path.name for e in two] == ["a", "b"]
    for first, second in zip(one, two, strict=True):
        for file in ("study.json", "ct.b2nd", "organs.b2nd"):
            assert (first.path / file).read_bytes() == (second.path / file).read_bytes()


def test_only_the_splits_asked_for_are_prepared(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b", "val"), study("c", "test"))
    assert run(manifest, "--split", "train", "val") == 0
    assert [entry.study.origin.study for entry in list_pool(tmp_path / "store")] == ["a", "b"]
    write_manifest(Manifest(tmp_path, (study("a"),)), manifest)
    assert run(manifest, "--split", "test") == 1
    assert "studies of the split test, the manifest has train" in capsys.readouterr().err


def test_a_manifest_without_masks_or_pairs_of_other_studies_is_refused_at_once(tmp_path, capsys):
    manifest = make(tmp_path, study("a", masks=False))
    assert run(manifest) == 1
    assert "None of the 1 studies has organ masks. Make them with `ctglip-train masks`" in capsys.readouterr().err
    make(tmp_path, study("a"))
    pairs = write_pairs(tmp_path / "p.jsonl", ("z", "liver", ["liver"], "A cyst.", False, None))
    assert run(manifest, "--pairs", pairs) == 1
    assert "p.jsonl has no row of any of the 1 studies" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_store_of_another_spacing_is_not_mixed(tmp_path, capsys):
    manifest = make(tmp_path, study("a"))
    assert run(manifest) == 0
    assert run(manifest, spacing="6") == 1
    assert "holds studies of 5 mm, not 6 mm. Choose another --out" in capsys.readouterr().err


def test_labels_of_findings_are_no_organs(tmp_path):
    manifest = make(tmp_path, study("a"))
    write_volume(organ("spleen"), GRID, tmp_path / "a" / "masks" / "liver_tumor.nii.gz")
    write_volume(organ("aorta"), GRID, tmp_path / "a" / "masks" / "celiac_trunk.nii.gz")
    assert run(manifest) == 0
    assert set(list_pool(tmp_path / "store")[0].study.names) == {"liver", "spleen", "kidney_left", "celiac_trunk"}
    only = Segmentation(organ("liver")[None].astype(np.uint16), GRID, ("liver tumor",))
    with pytest.raises(InputError, match=r"Expected organs among the masks, got liver tumor"):
        prepare._without_findings(only)


def test_air_around_the_body_is_cut_away_but_the_scans_ends_stay_its_ends():
    shape = (60, 40, 30)
    grid = Grid(shape, np.diag([5.0, 5.0, 5.0, 1.0]))
    array = np.full(shape, -1000.0, np.float32)
    array[30:50, 5:35, :] = 40.0
    array[2, 2, 2] = 3000.0  # noise
    layers = np.zeros((1, *shape), np.uint16)
    layers[0, 20:25, 10:20, 10:20] = 1  # an organ that reaches out of the body
    patient: Patient = prepare._cropped(Volume(array, grid), Segmentation(layers, grid, ("liver",)))
    assert patient.volume.array.shape == (52 - 18, 37 - 3, 30)
    assert np.array_equal(patient.volume.grid.to_ras(np.zeros(3)), [90, 15, 0])
    assert patient.segmentation.mask("liver").sum() == 500
    empty = prepare._cropped(Volume(array * 0 - 1000, grid), Segmentation(layers * 0, grid, ("liver",)))
    assert empty.volume.array.shape == shape


def test_an_odd_error_of_one_study_does_not_stop_the_others_but_a_full_disk_does(tmp_path, monkeypatch):
    manifest = read_manifest(make(tmp_path, study("a"), study("b")))
    jobs = [
        prepare.Job(manifest.root, one, None, prepare.study_folder(tmp_path / "store", one), 5.0)
        for one in manifest.studies
    ]
    whole = prepare.prepare_study

    def odd(job):
        if job.study.id == "a":
            raise ZeroDivisionError("odd")
        return whole(job)

    monkeypatch.setattr(prepare, "prepare_study", odd)
    told = []
    assert prepare.prepare_studies(jobs, 1, lambda *what: told.append(what)) == {"a": "ZeroDivisionError: odd"}
    assert told == [("preparing studies", done, 2) for done in (0, 1, 2)]

    def full(job):
        raise OutputError("no space left")

    monkeypatch.setattr(prepare, "prepare_study", full)
    with pytest.raises(OutputError, match="no space"):
        prepare.prepare_studies(jobs)


def test_a_broken_study_of_the_store_is_listed(tmp_path):
    manifest = read_manifest(make(tmp_path, study("a")))
    job = prepare.Job(manifest.root, study("a"), None, tmp_path / "store" / "a" / "a", 5.0)
    assert prepare.prepare_studies([job]) == {}
    (job.folder / "study.json").write_text("{}", encoding="utf-8")
    assert "Delete it" in prepare.prepare_studies([job])["a"]


def test_a_process_that_dies_is_told_of(tmp_path, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    class Dying:
        def __init__(self, *_args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_args):
            return False

        def submit(self, *_args):
            from concurrent.futures import Future

            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future

        def shutdown(self, **_how):
            pass

    monkeypatch.setattr(prepare, "ProcessPoolExecutor", Dying)
    job = prepare.Job(tmp_path, study("a"), None, tmp_path / "s" / "a" / "a", 5.0)
    with pytest.raises(CTGLIPError, match="fewer --workers"):
        prepare.prepare_studies([job], workers=2)


def test_a_patient_in_two_splits_is_refused_before_anything_is_written(tmp_path, capsys):
    manifest = make(tmp_path, study("a", patient="p"), study("b", "val", "p"), study("c"))
    assert run(manifest, "--split", "train") == 1
    message = capsys.readouterr().err
    assert "1 patients are in more than one split" in message
    assert "train: a; val: b" in message
    assert not (tmp_path / "store").exists()


def test_masks_whose_names_match_no_organ_are_no_masks(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b"))
    write_masks(tmp_path / "strange" / "masks", ("thing", "other thing"))
    (tmp_path / "b" / "masks").rename(tmp_path / "unused")
    (tmp_path / "strange" / "masks").rename(tmp_path / "b" / "masks")
    assert run(manifest) == 1
    told = capsys.readouterr()
    assert "1 of 2 studies" in told.out
    assert "the first one b: Expected organs among the masks, got other thing, thing, which match none" in told.err


def test_reports_of_studies_that_fail_are_not_counted(tmp_path, capsys):
    manifest = make(tmp_path, study("a"), study("b", masks=False))
    said = [(name, "liver", ["liver"], "A cyst.", False, "hepatic_cyst") for name in "ab"]
    assert run(manifest, "--pairs", write_pairs(tmp_path / "p.jsonl", *said)) == 1
    assert "1 of 2 studies, 1 with a report" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_no_process_is_no_number_of_workers(workers, tmp_path, capsys):
    manifest = make(tmp_path, study("a"))
    with pytest.raises(SystemExit) as stopped:
        run(manifest, "--workers", workers)
    assert stopped.value.code == 2
    assert "expected a whole number of 1 or more" in capsys.readouterr().err
