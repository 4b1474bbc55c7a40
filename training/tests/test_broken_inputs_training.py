"""Broken inputs of every `ctglip-train` command: one clear message, exit code 1, nothing half written."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from data_sets import (
    CENTRES,
    GRID,
    make_ct_rate,
    make_merlin,
    make_msd,
    make_totalsegmentator,
    write_csv,
    write_ct,
    write_masks,
)

from ctglip_training.cli import main
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume

NOT_UTF8 = "study,patient,volume,report\nGr\xf6\xdfe,p,a.nii.gz,x\n".encode("latin-1")
STUDY = {
    "study": "a", "patient": "p", "split": "train", "volume": "a.nii.gz", "masks": "organs", "mask_names": "files",
    "report": "The liver is normal.",
}  # fmt: skip
PAIR = {
    "study": "a", "split": "train", "patient": "p", "engine": "rules", "group": "liver", "organs": ["liver"],
    "sentence": "Fatty liver.", "normal": False, "finding": "fatty_liver", "uncertain": False, "side": None,
}  # fmt: skip
SCORES = "VolumeName,x\n" + "".join(f"v{number},{number / 10}\n" for number in range(8))

READERS: dict[str, Callable[[Path, Path], list[str]]] = {
    "check": lambda file, out: ["check", str(file.rename(file.with_suffix(".csv")))],
    "masks": lambda file, out: ["masks", "--manifest", str(file.rename(file.with_suffix(".csv"))), "--out", str(out)],
    "pairs": lambda file, out: ["pairs", "--reports", str(file.rename(file.with_suffix(".csv"))), "--out", str(out)],
    "pairs-measure": lambda file, out: ["pairs-measure", "--reports", str(file)],
    "dictionary": lambda file, out: ["dictionary", "--pairs", str(file), "--out", str(out)],
    "simulate": lambda file, out: ["simulate", "--subjects", str(file), "--data", str(out.parent), "--out", str(out)],
    "score": lambda file, out: [
        "score", "--predictions", str(file), "--labels", str(file), "--protocol", "plain", "--out", str(out),
    ],
    "pretrain": lambda file, out: ["pretrain", "--config", str(file), "--out", str(out), "--pool", str(out)],
    "ladder": lambda file, out: ["ladder", "--config", str(file), "--out", str(out)],
    "finetune": lambda file, out: [
        "finetune", "--config", str(file), "--out", str(out), "--data", str(out), "--init", "scratch",
    ],
}  # fmt: skip
"""What each command reads, and its own output."""
EMPTY_MEANS = {
    "pretrain": "Expected prepared studies",  # a configuration of defaults
    "finetune": "must set backbone",
    "dictionary": "Expected abnormal sentences",
}


def refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> str:
    """The message of a command that must fail with one, and with nothing else after it."""
    assert main([str(argument) for argument in arguments]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.count("ctglip-train: ") == 1
    return told.partition("ctglip-train: ")[2]


@pytest.fixture
def studies(tmp_path: Path):
    """Writes a manifest of one good study whose row is changed; its path."""
    write_ct(tmp_path / "a.nii.gz")
    write_masks(tmp_path / "organs", tuple(CENTRES))

    def write(*changes: dict[str, str]) -> Path:
        write_csv(tmp_path / "studies.csv", [{**STUDY, **change} for change in changes])
        return tmp_path / "studies.csv"

    return write


@pytest.mark.parametrize("kind", ["not UTF-8", "empty", "a folder", "noise"])
@pytest.mark.parametrize("command", READERS)
def test_a_file_that_is_not_what_a_command_reads_is_refused_by_its_name(command, kind, tmp_path, capsys):
    file, out = tmp_path / "given.txt", tmp_path / "out"
    if kind == "a folder":
        file.mkdir()
    else:
        noise = np.random.default_rng(1).bytes(2000)
        file.write_bytes({"not UTF-8": NOT_UTF8, "empty": b"", "noise": noise}[kind])
    arguments = READERS[command](file, out)
    named = EMPTY_MEANS.get(command, "given") if kind == "empty" else "given"
    assert named in refused(capsys, arguments)
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": "gone.nii.gz"}, "1 problems"),
        ({"volume": "nan.nii.gz"}, "1 problems"),
        ({"volume": "half.nii.gz"}, "1 problems"),
        ({"volume": "folder.nii.gz"}, "1 problems"),
        ({"masks": "gone"}, "1 problems"),
        ({"masks": "strangers"}, "1 problems"),
        ({"masks": "broken"}, "1 problems"),
        ({"mask_names": "{broken"}, "1 problems"),
        ({"mask_names": '{"1": "liver"}'}, "1 problems"),
        ({"split": "holdout"}, "A split must be one of train, val, test, got 'holdout'"),
        ({"labels": "[1]"}, "Row 2 of studies.csv"),
        ({"corrections": '{"slope": 0}'}, "a slope other than 0"),
        ({"patient": ""}, "it needs patient"),
    ],
)
def test_check_names_what_is_wrong_with_a_study(change, message, studies, tmp_path, capsys):
    write_volume(np.full(GRID.shape_ijk, np.nan, np.float32), GRID, tmp_path / "nan.nii.gz")
    (tmp_path / "half.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:900])
    (tmp_path / "folder.nii.gz").mkdir()
    write_masks(tmp_path / "strangers", ("flurb", "quux"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "liver.nii.gz").write_bytes(b"no image")
    assert message in refused(capsys, ["check", studies(change)])


def test_check_warns_of_masks_without_a_voxel_and_refuses_them_when_strict(studies, tmp_path, capsys):
    write_volume(np.zeros(GRID.shape_ijk, np.uint8), GRID, tmp_path / "none" / "liver.nii.gz")
    listed = studies({"masks": "none"})
    assert main(["check", str(listed)]) == 0
    assert "no organ has a voxel" in capsys.readouterr().out
    assert "got 1 problems" in refused(capsys, ["check", listed, "--strict"])


def test_a_patient_in_two_splits_is_an_error_of_the_check_and_of_the_dictionary(studies, tmp_path, capsys):
    write_ct(tmp_path / "b.nii.gz", 1)
    listed = studies({}, {"study": "b", "volume": "b.nii.gz", "split": "test"})
    assert main(["check", str(listed), "--headers"]) == 1
    assert "One patient is in 2 splits" in capsys.readouterr().out
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(json.dumps(PAIR | change) for change in ({}, {"study": "b", "split": "test"})))
    message = refused(capsys, ["dictionary", "--pairs", pairs, "--out", tmp_path / "d.json", "--only-train"])
    assert "patients of one split only" in message
    assert not (tmp_path / "d.json").exists()


@pytest.mark.parametrize(
    ("make", "table", "content", "message"),
    [
        (make_ct_rate, "dataset/metadata/no_chest_train.txt", NOT_UTF8, "The list"),
        (make_ct_rate, "dataset/metadata/train_metadata.csv", b"", "is empty"),
        (make_ct_rate, "dataset/radiology_text_reports/train_reports.csv", b"a,b\n1,2\n", "VolumeName, Findings_EN"),
        (make_merlin, "zero_shot_findings_disease_cls.csv", b"", "is empty"),
        (make_merlin, "reports_final.xlsx", b"PK\3\4", "cannot be read"),
        (make_totalsegmentator, "meta.csv", NOT_UTF8, "cannot be read"),
        (make_msd, "dataset.json", b"[]", "must be a JSON object"),
        (make_msd, "dataset.json", b'{"labels": 3}', "training"),
    ],
)
def test_a_broken_table_of_a_data_set_is_named_and_leaves_no_manifest(make, table, content, message, tmp_path, capsys):
    root, out = make(tmp_path / "data"), tmp_path / "manifest.csv"
    out.write_text("an earlier one")
    (root / table).write_bytes(content)
    assert message in refused(capsys, ["manifest", "--root", root, "--out", out])
    assert out.read_text() == "an earlier one"


@pytest.mark.parametrize("shares", ["nan,0.5,0.5", "0.5,0.1,0.1", "-1,1,1"])
def test_shares_that_are_no_whole_are_refused(shares, tmp_path, capsys):
    root = make_totalsegmentator(tmp_path / "data")
    arguments = ["manifest", "--root", root, "--out", tmp_path / "m.csv", f"--splits={shares}"]
    assert "add up to 1" in refused(capsys, arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("study,report\n", "0 rows and no text"),
        ("study,report\na,\nb,not given\n", "2 rows and no text"),
        ("study,findings\na,x\n", "Expected the columns ['report']"),
        ("study,report\na,x\na,y\n", "study 'a' twice"),
        ("study,report,report_file\na,,gone.txt\n", "Was the data moved?"),
    ],
)
def test_reports_that_say_nothing_leave_no_table_of_pairs(table, message, tmp_path, capsys):
    reports, out = tmp_path / "reports.csv", tmp_path / "pairs.jsonl"
    reports.write_text(table)
    out.write_text("an earlier one")
    assert message in refused(capsys, ["pairs", "--reports", reports, "--out", out])
    assert out.read_text() == "an earlier one"


@pytest.mark.parametrize("change", [{"sentence": 3}, {"normal": "no"}, {"organs": "liver"}, {"mood": "bad"}])
def test_a_table_of_pairs_with_wrong_cells_is_refused(change, tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(PAIR | change))
    message = refused(capsys, ["dictionary", "--pairs", pairs, "--out", tmp_path / "d.json"])
    assert "Expected a table of pairs" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "Unknown keys in run.toml: colour"),
        ("[optim]\nbtach = 4", "Unknown keys in run.toml.optim: btach"),
        ("optim = 3", "run.toml.optim must be a table"),
        ('[optim]\nbatch = "four"', "run.toml.optim.batch must be a whole number, got 'four'"),
        ("[optim]\nbatch = true", "run.toml.optim.batch must be a whole number, got True"),
        ("[optim]\nlr = nan", "run.toml.optim.lr must be a number, got nan"),
        ("[optim]\nbatch = 0", "batch, head_batch and lr must be above 0"),
        ("[optim]\ncontrast_steps = -1", "must be 0 or more"),
        ("[data]\ncrop_voxels = 72.5", "run.toml.data.crop_voxels must be a whole number"),
        ("[loss]\nlearn_temperature = 1", "run.toml.loss.learn_temperature must be true or false"),
        ("save_every = 0", "save_every must be 1 or more"),
        ("name = 3", "run.toml.name must be a text"),
        ('method = "magic"', "magic"),
    ],
)
def test_a_configuration_with_wrong_keys_or_values_is_refused(text, message, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(text)
    told = refused(capsys, ["pretrain", "--config", config, "--out", tmp_path / "run", "--pool", tmp_path])
    assert message in told
    assert "Expected prepared studies" not in told
    assert not (tmp_path / "run").exists()


OUTPUTS: dict[str, Callable[[Path, Path], list[object]]] = {
    "manifest": lambda data, out: ["manifest", "--root", make_totalsegmentator(data / "set"), "--out", out / "m.csv"],
    "masks": lambda data, out: ["masks", "--manifest", data / "studies.csv", "--out", out, "--device", "cpu"],
    "pairs": lambda data, out: ["pairs", "--reports", data / "studies.csv", "--out", out / "p.jsonl"],
    "dictionary": lambda data, out: ["dictionary", "--pairs", data / "pairs.jsonl", "--out", out / "d.json"],
    "score": lambda data, out: [
        "score", "--predictions", data / "scores.csv", "--labels", data / "labels.csv", "--protocol", "plain",
        "--resamplings", "2", "--out", out,
    ],
}  # fmt: skip


@pytest.fixture
def inputs(studies, tmp_path: Path) -> Path:
    """A folder of good inputs."""
    studies({})
    (tmp_path / "pairs.jsonl").write_text(json.dumps(PAIR))
    (tmp_path / "scores.csv").write_text(SCORES)
    (tmp_path / "labels.csv").write_text("VolumeName,x\n" + "".join(f"v{number},{number % 2}\n" for number in range(8)))
    return tmp_path


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_place_that_is_a_file_is_no_folder_to_write_to(command, inputs, capsys):
    place = inputs / "taken"
    place.write_text("mine")
    assert "taken" in refused(capsys, OUTPUTS[command](inputs, place))
    assert place.read_text() == "mine"


@pytest.mark.parametrize("command", [name for name in OUTPUTS if name != "masks"])  # test_masks_command has its own
def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(command, inputs, capsys, monkeypatch):
    arguments = OUTPUTS[command](inputs, inputs / "results")
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if "results" in Path(target).parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left on device" in refused(capsys, arguments)
    assert [path for path in (inputs / "results").rglob("*") if path.is_file()] == []


def test_masks_of_a_volume_without_one_number_fail_with_the_reason(studies, tmp_path, capsys):
    write_volume(np.full(GRID.shape_ijk, np.nan, np.float32), GRID, tmp_path / "nan.nii.gz")
    listed, out = studies({"volume": "nan.nii.gz", "masks": ""}), tmp_path / "masks"
    assert "1 failed" in refused(capsys, ["masks", "--manifest", listed, "--out", out, "--device", "cpu"])
    assert "NaN or infinite" in (out / "failures.csv").read_text()
    assert not list(out.glob("*.nii.gz"))


def test_masks_far_from_their_ct_are_an_error_of_the_check(studies, tmp_path, capsys):
    affine = GRID.affine.copy()
    affine[:3, 3] = 900
    write_masks(tmp_path / "far", tuple(CENTRES), Grid(GRID.shape_ijk, affine))
    assert "1 problems" in refused(capsys, ["check", studies({"masks": "far"})])


def test_a_run_that_is_not_there_is_told_of_before_the_cts_are_looked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CTGLIP_DATA", raising=False)
    assert "gone" in refused(capsys, ["evaluate", "--run", tmp_path / "gone"])
