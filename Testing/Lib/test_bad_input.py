"""Every kind of bad input ends with exit code 1, one clear message, and nothing written."""

from __future__ import annotations

import errno
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from patient import CONFIG, SPACING_MM, make_patient
from test_dicom import Scan, write_scan

from CTGLIPLib.checkpoint import write_config
from CTGLIPLib.cli import main

pytestmark = pytest.mark.usefixtures("own_cache")
AFFINE = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])


class Bench:
    """A copy of the patient and the model in a folder of their own, and what the command says about them."""

    def __init__(self, folder: Path, patient: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.out, self.capsys = folder, folder / "out", capsys
        self.data, self.model = folder / "data", folder / "model"
        shutil.copytree(patient, self.data)
        shutil.copytree(model, self.model)
        self.ct, self.organs = self.data / "ct.nii.gz", self.data / "organs.nii.gz"
        self.volume, self.segmentation = make_patient()

    def query(self, *more: str, ct: Path | None = None, organs: Path | None = None, text: str = "fatty liver") -> str:
        """The message of `ctglip query`; everything else about a refusal is asserted here."""
        given = ["-s", str(organs or self.organs)] if organs != Path() else []
        where = [] if {"-o", "--out"} & set(more) else ["-o", str(self.out)]
        return self.refused("query", str(ct or self.ct), *given, "--model", str(self.model), "-q", text, *where, *more)

    def refused(self, *arguments: str) -> str:
        before = set(self.folder.rglob("*"))
        assert main(list(arguments)) == 1
        printed = self.capsys.readouterr()
        said = [line for line in printed.err.splitlines() if not line.startswith("Note: ")]
        message = "\n".join(said)
        assert printed.out == ""
        assert message.startswith("ctglip: ")
        assert sum(line.startswith("ctglip: ") for line in said) == 1
        assert "Traceback" not in message
        new = {path for path in set(self.folder.rglob("*")) - before if "cache" not in path.parts}
        assert new == set()
        return message

    def save(self, array: np.ndarray, name: str = "bad.nii.gz", affine: np.ndarray = AFFINE) -> Path:
        image = nib.Nifti1Image(array, affine)
        image.set_sform(affine, code=1)
        nib.save(image, self.data / name)
        return self.data / name


@pytest.fixture
def bench(tmp_path: Path, patient: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, patient, tiny_model, capsys)


def raw(name: str, content: bytes) -> Callable[[Bench], Path]:
    def make(bench: Bench) -> Path:
        (bench.data / name).write_bytes(content)
        return bench.data / name

    return make


def truncated(bench: Bench) -> Path:
    path = bench.data / "cut.nii.gz"
    path.write_bytes(bench.ct.read_bytes()[: bench.ct.stat().st_size // 2])
    return path


def two_series(bench: Bench) -> Path:
    write_scan(bench.data / "dicom" / "a", Scan())
    write_scan(bench.data / "dicom" / "b", Scan(uid="1.2.3.4", count=6))
    return bench.data / "dicom"


def voxels_far_behind_the_end(bench: Bench) -> Path:
    header = bytearray(gzip.decompress(bench.ct.read_bytes()))
    header[108:112] = np.float32(1e38).tobytes()
    return raw("far.nii", bytes(header))(bench)


def more_voxels_than_can_be_counted(bench: Bench) -> Path:
    header = nib.Nifti2Image(np.zeros((2, 2, 2), np.int16), AFFINE).header
    header["dim"][1:4] = (2**31, 2**31, 4)
    header.set_sform(AFFINE, code=1)
    header["vox_offset"] = 544
    return raw("countless.nii", header.binaryblock + bytes(4))(bench)


def empty_folder(bench: Bench) -> Path:
    (bench.data / "empty").mkdir()
    return bench.data / "empty"


def colours(bench: Bench) -> Path:
    path = bench.data / "rgb.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(path))
    return path


def like_mr(bench: Bench) -> Path:
    return bench.save(np.random.default_rng(0).integers(0, 1500, (20, 20, 20)).astype(np.int16))


def not_a_number(bench: Bench) -> Path:
    hu = bench.volume.array.astype(np.float32)
    hu[3, 4, 5] = np.nan
    return bench.save(hu)


def holey_series(bench: Bench) -> Path:
    write_scan(bench.data / "holey", Scan(), numbers=[0, 1, 2, 4, 5, 6, 7])
    return bench.data / "holey"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda bench: bench.data / "nowhere.nii.gz", ["There is no file or folder", "Check the name"]),
        (raw("empty.nii.gz", b""), ["is empty (0 bytes)", "Copy or export it again"]),
        (truncated, ["cut.nii.gz", "truncated"]),
        (raw("text.nii.gz", b"dear colleague"), ["text.nii.gz is not a NIfTI file", "Give a .nii"]),
        (
            raw("zipped.nii.gz", gzip.compress(b"dear colleague" * 100)),
            ["zipped.nii.gz is not a NIfTI file", "Give a .nii"],
        ),
        (voxels_far_behind_the_end, ["far.nii has a corrupt header", "Copy or export"]),
        (more_voxels_than_can_be_counted, ["countless.nii is truncated", "Copy or save"]),
        (raw("ct.doc", b"dear colleague"), ["must be a DICOM folder or a file ending in", "got '.doc'"]),
        (empty_folder, ["empty", "DICOM"]),
        (two_series, ["Expected one CT series", "has 2", "1.2.3.4", "Choose one: --series"]),
        (holey_series, ["slice", "holey"]),
        (lambda bench: bench.save(np.zeros((9, 9), np.int16)), ["must be a 3-D volume", "got 2-D"]),
        (lambda bench: bench.save(np.zeros((9, 9, 9, 3), np.int16)), ["must be a 3-D volume", "got 4-D", "Save one"]),
        (colours, ["one number per voxel", "got 3 (colours or vectors)"]),
        (like_mr, ["Expected a CT in HU", "got values 0 to", "MR"]),
        (lambda bench: bench.save(np.full((9, 9, 9), 40, np.int16)), ["all its voxels have the value 40", "Check"]),
        (not_a_number, ["must hold finite numbers", "got 1 of", "Replace them"]),
    ],
)
def test_a_ct_that_cannot_be_used_is_refused(make, words, bench):
    message = bench.query(ct=make(bench))
    assert not [word for word in words if word not in message], message


def shifted(bench: Bench) -> Path:
    affine = bench.volume.grid.affine.copy()
    affine[2, 3] += 9000
    return bench.save(bench.segmentation.layers[0].astype(np.uint8), "organs.nii.gz", affine)


def label_map(name: str, value: int) -> Callable[[Bench], Path]:
    """A label map without names, whose organs all have the id `value`."""

    def make(bench: Bench) -> Path:
        labels = (bench.segmentation.layers[0] > 0) * value
        return bench.save(labels.astype(np.uint8), name, bench.volume.grid.affine)

    return make


def unnamed_id(bench: Bench) -> Path:
    (bench.data / "organs.json").write_text('{"1": "liver"}')
    return bench.organs


def empty_mask_folder(bench: Bench) -> Path:
    (bench.data / "masks").mkdir()
    for name in ("liver", "spleen"):
        bench.save(np.zeros((9, 9, 9), np.uint8), f"masks/{name}.nii.gz")
    return bench.data / "masks"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda bench: bench.data / "nowhere.nii.gz", ["There is no file or folder", "nowhere.nii.gz"]),
        (shifted, ["overlap by 0% only", "CT", "masks", "Give the masks of this CT"]),
        (label_map("empty.nii.gz", 0), ["empty.nii.gz is empty", "Check that it belongs to this CT"]),
        (empty_mask_folder, ["All 2 masks", "are empty", "Check that they belong"]),
        (label_map("bare.nii.gz", 5), ["no organ names", "--label-map-version v1|v2", "--names FILE", "bare.json"]),
        (label_map("odd.nii.gz", 200), ["ids 200", "fit no TotalSegmentator version", "--names FILE"]),
        (unnamed_id, ["organs.nii.gz has voxels with ids that organs.json does not name", "Add their names"]),
        (empty_folder, ["empty"]),
    ],
)
def test_organ_masks_that_cannot_be_used_are_refused(make, words, bench):
    message = bench.query(organs=make(bench))
    assert not [word for word in words if word not in message], message


def test_ids_that_a_version_does_not_have_are_refused(bench):
    message = bench.query("--label-map-version", "v1", organs=label_map("odd.nii.gz", 110)(bench))
    assert "ids that TotalSegmentator v1 does not name: 110" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["names.json does not exist", "Check the path"]),
        (b"", ["it is empty", "Give"]),
        (b"{1: liver", ["not JSON", "Mend it"]),
        (b'{"1": "liver", "2": "liver"}', ["ids 1 and 2 are both named 'liver'"]),
        (b"\xff\xfe\x00", ["is not UTF-8 text", "Save it as UTF-8"]),
    ],
)
def test_a_broken_list_of_names_is_refused(content, words, bench):
    names = bench.data / "names.json"
    if content is not None:
        names.write_bytes(content)
    message = bench.query("--names", str(names))
    assert not [word for word in words if word not in message], message


def altered(bench: Bench) -> None:
    path = bench.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def newer(bench: Bench) -> None:
    manifest = json.loads((bench.model / "config.json").read_text())
    (bench.model / "config.json").write_text(json.dumps(manifest | {"schema_version": 99}))


def pickled(bench: Bench) -> None:
    shutil.rmtree(bench.model)
    bench.model.mkdir()
    torch.save({}, bench.model / "checkpoint.pth")


def pickle_as_weights(bench: Bench) -> None:
    torch.save({}, bench.model / "model.safetensors")
    write_config(bench.model, CONFIG)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda bench: shutil.rmtree(bench.model), ["There is no model and no folder", "ctglip model add"]),
        (altered, ["model.safetensors was altered", "Copy the model folder anew"]),
        (newer, ["model schema 99", "reads up to 1", "Update CT-GLIP"]),
        (pickled, ["It holds checkpoint.pth", "never loaded"]),
        (pickle_as_weights, ["do not fit its config.json", "copy it anew"]),
        (lambda bench: (bench.model / "config.json").write_text("[]"), ["not a configuration of CT-GLIP"]),
        (lambda bench: (bench.model / "config.json").unlink(), ["Expected a model folder with config.json"]),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(spoil, words, bench, monkeypatch):
    monkeypatch.setattr("CTGLIPLib.model_list.SHIPPED", bench.folder / "none")
    spoil(bench)
    message = bench.query()
    assert not [word for word in words if word not in message], message


@pytest.mark.parametrize("text", ["", "  ", "?", "x" * 501])
def test_a_question_that_asks_nothing_is_refused_before_the_scan_is_encoded(text, bench, monkeypatch):
    monkeypatch.setattr("CTGLIPLib.predict.load_network", None)
    message = bench.query(text=text)
    assert "Expected a question" in message
    assert "got" in message


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_a_device_that_there_is_not_is_refused(name, bench):
    message = bench.query("--device", name)
    assert f"got '{name}'" in message
    assert "Try --device auto" in message
    assert "auto, cpu, mps, cuda" in bench.query("--device", "nonsense", organs=Path())


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_an_output_that_cannot_be_written_is_refused_before_the_scan_is_read(below, bench, monkeypatch):
    monkeypatch.setattr("CTGLIPLib.inputs.read_volume", None)
    (bench.folder / "taken").write_text("a file")
    message = bench.query("--out", str(bench.folder / "taken" / below))
    assert "Could not write" in message
    assert "taken is a file, not a folder" in message
    assert (bench.folder / "taken").read_text() == "a file"


def test_a_study_file_that_cannot_be_written_is_refused(bench):
    (bench.folder / "taken").write_text("a file")
    arguments = ["encode", str(bench.ct), "-s", str(bench.organs), "--model", str(bench.model)]
    assert "not a folder" in bench.refused(*arguments, "-o", str(bench.folder / "taken" / "scan.ctglip"))
    message = bench.refused(*arguments, "-o", str(bench.folder / "scan.npz"))
    assert "must end in .ctglip, got scan.npz" in message


def test_a_full_disk_leaves_no_file_behind(bench, monkeypatch):
    def full(*_arguments, **_options) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    bench.out.mkdir()
    message = bench.query()
    assert "Could not write" in message
    assert "No space left on device. Free space" in message


def test_heat_maps_without_a_folder_are_refused_before_the_scan_is_read(bench, monkeypatch):
    monkeypatch.setattr("CTGLIPLib.inputs.read_volume", None)
    message = bench.refused("query", str(bench.ct), "--model", str(bench.model), "-q", "liver", "--heatmaps")
    assert "expected --out DIR with them, got none" in message


def test_without_totalsegmentator_the_other_ways_are_offered(bench, monkeypatch):
    site = bench.folder / "site"
    for package in ("totalsegmentator", "requests"):
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise ImportError('No module named totalsegmentator')")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    message = bench.query(organs=Path())
    for word in ("TotalSegmentator could not be loaded", "pip install", "--segmenter own", "--segmentation FILE"):
        assert word in message


def test_a_model_without_a_head_of_its_own_says_what_to_do(bench):
    message = bench.query("--segmenter", "own", organs=Path())
    assert "trained without organs" in message
    assert "--segmentation FILE" in message


def study_file(bench: Bench) -> str:
    path = bench.folder / "scan.ctglip"
    assert main(["encode", str(bench.ct), "-s", str(bench.organs), "--model", str(bench.model), "-o", str(path)]) == 0
    bench.capsys.readouterr()
    return str(path)


def test_a_study_file_with_a_segmentation_or_heat_maps_is_refused(bench):
    scan = study_file(bench)
    out = ["-o", str(bench.out)]
    message = bench.refused("query", scan, "-s", str(bench.organs), "-q", "liver", *out)
    assert "whose organs were fixed" in message
    assert "Leave it out" in message
    message = bench.refused("query", scan, "-q", "liver", "--heatmaps", *out)
    assert "study file without voxels" in message
    assert "--heatmaps needs the CT" in message


@pytest.mark.parametrize("command", [["query", "-q", "liver"], ["organs"]])
def test_a_missing_or_broken_study_file_is_refused(command, bench):
    out = ["-o", str(bench.out)]
    message = bench.refused(*command, str(bench.folder / "nowhere.ctglip"), *out)
    assert "There is no study file" in message
    assert "ctglip encode" in message
    (bench.folder / "broken.ctglip").write_bytes(b"no study")
    message = bench.refused(*command, str(bench.folder / "broken.ctglip"), *out)
    assert "Expected a study file" in message
    assert "Encode the CT again" in message
