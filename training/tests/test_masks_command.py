"""`ctglip-train masks`: every study gets whole masks once, whatever fails or stops."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_sets import GRID, ct, ct_rate_metadata, make_ct_rate, write_csv, write_ct

from ctglip_training.cli import main
from ctglip_training.data.claims import Shard
from ctglip_training.data.layouts import read_layout
from ctglip_training.data.make_masks import MOST_UNFINISHED, MaskOptions, make_masks
from ctglip_training.data.manifest import Manifest, read_manifest, write_manifest
from ctglip_training.data.mask_files import MaskFolder, file_name, with_masks
from ctglip_training.data.masks import names_of_masks, read_study_masks
from ctglip_training.data.splits import assign_splits
from ctglip_training.data.study import Study
from CTGLIPLib.errors import Cancelled, DependencyError, OutputError, UnfinishedError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.progress import report
from CTGLIPLib.volume import Segmentation

PACKAGE = """
import json, os, time
from pathlib import Path
import numpy as np
import SimpleITK as sitk

def totalsegmentator(input, output, **options):
    record = Path(os.environ["FAKE_RECORD"])
    with record.open("a") as file:
        file.write(json.dumps(options) + "\\n")
    BODY
    image = sitk.ReadImage(str(input))
    out = sitk.GetImageFromArray((sitk.GetArrayFromImage(image) > -200).astype(np.uint8) * 5)
    out.CopyInformation(image)
    sitk.WriteImage(out, str(output))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts a stand-in package `totalsegmentator` before the real one; sets what it does on a run."""
    site = tmp_path / "site" / "totalsegmentator"
    site.mkdir(parents=True)
    (site / "__init__.py").touch()
    (site / "map_to_binary.py").write_text('class_map = {"total": {5: "liver"}}')
    (site.parent / "requests.py").write_text("class RequestException(OSError): ...\n")
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "record.jsonl"))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))

    def install(body: str = "pass") -> Path:
        (site / "python_api.py").write_text(PACKAGE.replace("BODY", body))
        return tmp_path / "record.jsonl"

    return install


@pytest.fixture
def handler():
    """Restores what the command does on SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Finder:
    """Stands for TotalSegmentator: all above -200 HU is liver."""

    def __init__(self, **fails: Exception) -> None:
        self.seen: list[float] = []
        self.fails = list(fails.values())

    def __call__(self, volume, progress=None):
        self.seen.append(float(volume.array.max()))
        report(progress, "running", 0, 1)
        if len(self.seen) <= len(self.fails):
            raise self.fails[len(self.seen) - 1]
        return Segmentation((volume.array > -200).astype(np.uint16)[None], volume.grid, ("liver",))


@pytest.fixture
def manifest(tmp_path):
    """Four studies of four patients without masks."""
    studies = []
    for seed, name in enumerate("abcd"):
        write_ct(tmp_path / "data" / f"{name}.nii.gz", seed)
        studies.append(Study(name, f"p{name}", f"{name}.nii.gz", "x", split="train"))
    return Manifest(tmp_path / "data", tuple(studies))


@pytest.fixture
def masks(tmp_path):
    """An empty folder of masks."""
    return MaskFolder(tmp_path / "masks")


def failures(masks):
    with (masks.folder / "failures.csv").open(encoding="utf-8") as file:
        return {row["study"]: row["message"] for row in csv.DictReader(file)}


def test_every_study_gets_named_masks_that_the_new_manifest_reads(manifest, masks):
    finder = Finder()
    assert make_masks(manifest, masks, finder) == {"made": 4}
    new = with_masks(manifest, masks)
    for study in new.studies:
        found = read_study_masks(new, study).segmentation
        assert found.names == names_of_masks(new, study) == ("liver",)
        assert study.masks == f"../masks/{study.id}.nii.gz"
    np.testing.assert_array_equal(found.mask("liver"), ct(3) > -200)


def test_the_corrected_ct_is_segmented_and_its_masks_lie_on_the_corrected_grid(tmp_path, masks):
    _, reading = read_layout(make_ct_rate(tmp_path / "data"), "ct-rate", None)
    manifest, finder = Manifest(tmp_path / "data", assign_splits(reading.studies)), Finder()
    make_masks(manifest, masks, finder)
    assert max(finder.seen) < 200  # stored values are 8,192 higher
    new = with_masks(manifest, masks)
    study = next(study for study in new.usable if study.corrections.changes_grid)
    np.testing.assert_allclose(read_study_masks(new, study).segmentation.grid.spacing_mm, GRID.spacing_mm)
    assert [study.masks for study in new.studies if study.exclude] == [""]


def test_a_second_run_makes_nothing_and_a_new_study_alone(manifest, masks):
    few = Manifest(manifest.root, manifest.studies[:3])
    make_masks(few, masks, Finder())
    before = {path: path.stat().st_mtime_ns for path in masks.folder.glob("[a-d].*")}
    finder = Finder()
    assert make_masks(manifest, masks, finder) == {"kept": 3, "made": 1}
    assert len(finder.seen) == 1
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())


@pytest.mark.parametrize("ending", ["nii.gz", "json"])
def test_a_study_that_was_interrupted_is_made_again(manifest, masks, ending):
    make_masks(manifest, masks, Finder())
    (masks.folder / f"b.{ending}").unlink()
    assert [study.masks for study in with_masks(manifest, masks).studies][1] == ""
    assert make_masks(manifest, masks, Finder()) == {"kept": 3, "made": 1}


def test_masks_of_the_data_set_are_kept_unless_asked(manifest, masks, tmp_path):
    make_masks(manifest, MaskFolder(tmp_path / "own"), Finder())
    own = with_masks(manifest, MaskFolder(tmp_path / "own"))
    gone = replace(own.studies[0], masks="not/there.nii.gz")
    own = Manifest(own.root, (gone, *own.studies[1:]))
    assert make_masks(own, masks, Finder()) == {"made": 1, "given": 3}
    assert [Path(study.masks).parent.name for study in with_masks(own, masks).studies] == ["masks", "own", "own", "own"]
    assert make_masks(own, masks, Finder(), MaskOptions(instead_of_own=True)) == {"made": 3, "kept": 1}
    assert {Path(study.masks).parent.name for study in with_masks(own, masks, instead_of_own=True).studies} == {"masks"}


def test_what_fails_is_listed_with_its_reason_and_the_others_are_made(manifest, masks, caplog):
    (manifest.root / "a.nii.gz").unlink()
    (manifest.root / "b.nii.gz").write_bytes((manifest.root / "b.nii.gz").read_bytes()[:2000])
    write_ct(manifest.root / "c.nii.gz", 3)
    finder = Finder(first=UnfinishedError("It crashed."))
    assert make_masks(manifest, masks, finder) == {"failed": 3, "made": 1}
    assert list(failures(masks)) == ["a", "b", "c"]
    assert "There is no" in failures(masks)["a"]
    assert failures(masks)["c"] == "It crashed."
    assert "Study a failed: There is no" in caplog.text


def test_a_failed_study_waits_until_asked_or_its_ct_has_changed(manifest, masks):
    whole = (manifest.root / "a.nii.gz").read_bytes()
    (manifest.root / "a.nii.gz").write_bytes(whole[:2000])
    make_masks(manifest, masks, Finder(first=UnfinishedError("It crashed.")))
    assert make_masks(manifest, masks, Finder()) == {"failed": 2, "kept": 2}
    (manifest.root / "a.nii.gz").write_bytes(whole)
    assert make_masks(manifest, masks, Finder()) == {"failed": 1, "kept": 2, "made": 1}
    assert list(failures(masks)) == ["b"]
    assert make_masks(manifest, masks, Finder(), MaskOptions(retry_failed=True)) == {"kept": 3, "made": 1}
    assert not (masks.folder / "failures.csv").exists()


def test_masks_on_another_grid_are_a_failure(manifest, masks):
    def shifted(volume, progress=None):
        affine = volume.grid.affine.copy()
        affine[0, 3] += 5
        return Segmentation(np.ones((1, *volume.array.shape), np.uint16), Grid(volume.array.shape, affine), ("liver",))

    assert make_masks(manifest, masks, shifted) == {"failed": 4}
    assert "another grid than the CT" in failures(masks)["a"]
    assert not list(masks.folder.glob("*.nii.gz"))


def test_masks_of_another_data_set_in_the_folder_are_neither_used_nor_overwritten(manifest, masks):
    make_masks(manifest, masks, Finder())
    before = (masks.folder / "a.nii.gz").read_bytes()
    write_ct(manifest.root / "a.nii.gz", 0, Grid(GRID.shape_ijk, GRID.affine * np.array([2, 2, 2, 1])))
    assert make_masks(manifest, masks, Finder()) == {"failed": 1, "kept": 3}
    assert "holds masks of another CT" in failures(masks)["a"]
    assert (masks.folder / "a.nii.gz").read_bytes() == before
    assert with_masks(manifest, masks).studies[0].masks == ""


def test_a_missing_package_stops_the_run_at_once(manifest, masks):
    finder = Finder(first=DependencyError("Not installed."))
    with pytest.raises(DependencyError, match="Not installed"):
        make_masks(manifest, masks, finder)
    assert len(finder.seen) == 1
    assert not (masks.folder / "failures.csv").exists()


def test_a_full_disk_stops_the_run_and_keeps_what_was_made(manifest, masks, monkeypatch):
    make_masks(Manifest(manifest.root, manifest.studies[:1]), masks, Finder())
    before = sorted(path.name for path in masks.folder.rglob("*"))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("CTGLIPLib.io.write_nifti", full)
    with pytest.raises(OutputError, match="No space left on device"):
        make_masks(manifest, masks, Finder())
    assert sorted(path.name for path in masks.folder.rglob("*")) == before


def test_failing_again_and_again_is_the_machines_fault_and_counts_for_no_study(tmp_path, masks):
    write_ct(tmp_path / "ct.nii.gz")
    studies = tuple(Study(f"s{n}", f"p{n}", "ct.nii.gz", "x") for n in range(MOST_UNFINISHED + 3))
    crash = {f"n{n}": UnfinishedError("Out of memory.") for n in range(MOST_UNFINISHED)}
    manifest = Manifest(tmp_path, studies)
    with pytest.raises(DependencyError, match=r"5 studies in a row.*The last said: Out of memory"):
        make_masks(manifest, masks, Finder(**crash))
    assert make_masks(manifest, masks, Finder()) == {"made": len(studies)}


def test_stopping_keeps_what_was_made_and_the_next_run_makes_the_rest(manifest, masks):
    with pytest.raises(Cancelled):
        make_masks(manifest, masks, Finder(), progress=lambda what, done, total: what[0] == "l" or done < 2)
    assert 2 <= len(list(masks.folder.glob("*.nii.gz"))) <= 3
    assert not list((masks.folder / ".claims").iterdir())
    ends = make_masks(manifest, masks, Finder())
    assert ends["kept"] + ends["made"] == 4


def test_shards_together_make_every_study_once(manifest, masks):
    ends = [make_masks(manifest, masks, Finder(), MaskOptions(Shard(n, 3))) for n in (1, 2, 3)]
    assert sum(end["made"] for end in ends) == 4
    assert sum(end.total() for end in ends) == 4


def test_a_study_that_another_machine_works_on_is_left_to_it(manifest, masks):
    (masks.folder / ".claims").mkdir(parents=True)
    (masks.folder / ".claims" / "b.0.claim").write_text("another-machine 17 abc")
    assert make_masks(manifest, masks, Finder()) == {"made": 3, "elsewhere": 1}
    assert not masks.has(manifest.studies[1])


def test_several_workers_make_the_same_masks(manifest, masks, tmp_path):
    make_masks(manifest, masks, Finder())
    make_masks(manifest, MaskFolder(tmp_path / "more"), Finder(), MaskOptions(workers=3))
    for study in manifest.studies:
        a, b = masks.label_map(study), MaskFolder(tmp_path / "more").label_map(study)
        assert a.read_bytes() == b.read_bytes()


def test_ids_become_file_names_that_stay_apart():
    assert file_name("train_1_a_1") == "train_1_a_1"
    odd = ["a/b", "a_b", "a:b", "../a", "", "é", ".hidden", "x" * 300, "x" * 301]
    names = [file_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    assert all("/" not in name and not name.startswith(".") and len(name) < 120 for name in names)


def test_a_root_that_is_a_link_does_not_lead_the_masks_astray(tmp_path, manifest, masks):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(manifest.root, target_is_directory=True)
    (tmp_path / "deep" / "er" / "masks").mkdir()
    linked, elsewhere = Manifest(link, manifest.studies), MaskFolder(tmp_path / "deep" / "er" / "masks")
    make_masks(linked, elsewhere, Finder())
    new = with_masks(linked, elsewhere)
    assert all(new.path(study.masks).is_file() for study in new.studies)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_command_runs_the_package_and_writes_a_manifest(package, handler, manifest, tmp_path, capsys, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    record, listed = package(), tmp_path / f"studies.{ending}"
    write_manifest(Manifest(manifest.root, manifest.studies[:1]), listed)
    out = tmp_path / "masks"
    command = ["masks", "--manifest", str(listed), "--out", str(out), "--fast", "--device", "cpu"]
    assert main(command) == 0
    assert "1 made now" in capsys.readouterr().out
    assert main(command) == 0
    assert "1 made before" in capsys.readouterr().out
    assert record.read_text().count("\n") == 1
    assert '"fast": true, "task": "total", "device": "cpu"' in record.read_text()
    new = read_manifest(tmp_path / f"studies-with-masks.{ending}")
    assert read_study_masks(new, new.studies[0]).segmentation.names == ("liver",)


def test_the_command_names_the_extra_of_a_missing_package_and_the_place_of_missing_weights(
    package, handler, manifest, tmp_path, capsys
):
    write_manifest(manifest, tmp_path / "m.csv")
    command = ["masks", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "masks"), "--device", "cpu"]
    package("import not_there_at_all")
    assert main(command) == 1
    assert "pip install ctglip[totalsegmentator]" in capsys.readouterr().err
    package("import requests; raise requests.RequestException('offline')")
    assert main(command) == 1
    told = capsys.readouterr().err
    assert str(tmp_path / "weights") in told
    assert "TOTALSEG_WEIGHTS_PATH" in told
    assert "--segmentation" not in told
    assert not (tmp_path / "m-with-masks.csv").exists()


def test_the_command_fails_when_a_study_did_and_still_writes_the_manifest(package, handler, manifest, tmp_path, capsys):
    package()
    (manifest.root / "a.nii.gz").write_text("no image")
    write_manifest(Manifest(manifest.root, manifest.studies[:2]), tmp_path / "m.csv")
    written = tmp_path / "new" / "full.csv"
    command = ["masks", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "masks"), "--device", "cpu"]
    assert main([*command, "--write-manifest", str(written)]) == 1
    told = capsys.readouterr()
    assert "1 failed" in told.err.splitlines()[-1]
    assert "failures.csv" in told.err.splitlines()[-1]
    assert [bool(study.masks) for study in read_manifest(written).studies] == [False, True]


def test_a_device_that_is_not_there_is_refused_before_any_study(manifest, tmp_path, capsys):
    write_manifest(manifest, tmp_path / "m.csv")
    command = ["masks", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "masks")]
    assert main([*command, "--device", "cuda:9"]) == 1
    assert "'cuda:9'" in capsys.readouterr().err
    assert main([*command, "--device", "tpu"]) == 1
    assert "got 'tpu'" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_no_claim_no_process_and_no_half_file(package, manifest, tmp_path, how):
    record = package("time.sleep(60)")
    write_manifest(manifest, tmp_path / "m.csv")
    command = [sys.executable, "-m", "ctglip_training.cli", "masks", "--device", "cpu", "--workers", "2"]
    training = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(training)])}
    running = subprocess.Popen(
        [*command, "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "masks")],
        env=environment, cwd=training.parent, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not record.is_file() and time.monotonic() < end:
            time.sleep(0.05)
        running.send_signal(how)
        told = running.communicate(timeout=20)[1].decode()
    finally:
        running.kill()
    assert running.returncode == 130
    assert "start the same command again" in told
    assert "Traceback" not in told
    assert [path for path in (tmp_path / "masks").rglob("*") if path.is_file()] == []


def test_metadata_that_no_correction_can_use_fail_one_study_only(tmp_path, masks):
    root = make_ct_rate(tmp_path / "data")
    name = "train_1_a_1.nii.gz"
    others = ("train_1_a_2.nii.gz", "train_2_a_1.nii.gz")
    rows = [ct_rate_metadata(name, RescaleIntercept=0), *map(ct_rate_metadata, others)]
    write_csv(root / "dataset" / "metadata" / "train_metadata.csv", rows)
    _, reading = read_layout(root, "ct-rate", None)
    ends = make_masks(Manifest(root, assign_splits(reading.studies)), masks, Finder())
    assert ends["failed"] >= 1
    assert "Expected a CT in HU" in failures(masks)["train_1_a_1"]
    assert ends["made"] >= 1
