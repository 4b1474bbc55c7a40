"""`ctglip segment-tumor`: its files, its words, and that a failure leaves nothing."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from tumor_rig import BALL_RAS_MM, ball_ct, ball_grid, in_ball, save_bright_model

from CTGLIPLib import tumor_picture
from CTGLIPLib.cli import main
from CTGLIPLib.errors import Cancelled, OutputError
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.inputs import StudyInput
from CTGLIPLib.io import write_volume
from CTGLIPLib.segmentation_io import read_segmentation, write_segmentation
from CTGLIPLib.slicer_files import nrrd_header
from CTGLIPLib.tumor import TumorModel, find_tumors
from CTGLIPLib.tumor_files import write_tumor_files
from CTGLIPLib.volume import Segmentation, Volume

FILES = {"segmentation.json", "segmentation.nii.gz", "segmentation.seg.nrrd", "tumors.csv", "tumors.json", "tumors.png"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A folder with ct.nii.gz, organs.nii.gz and the model `balls`."""
    folder = tmp_path_factory.mktemp("scan")
    ct = ball_ct(ball_grid())
    write_volume(ct.array.astype(np.int16), ct.grid, folder / "ct.nii.gz")
    labels = np.where(in_ball(ct.grid), 1, 2)[None].astype(np.uint16)
    write_segmentation(Segmentation(labels, ct.grid, ("spleen", "liver")), folder / "organs.nii.gz")
    save_bright_model(folder / "balls")
    return folder


def run(scan, out, *more) -> int:
    return main(["segment-tumor", str(scan / "ct.nii.gz"), "-o", str(out), "--device", "cpu", *map(str, more)])


def test_the_command_writes_results_segmentations_and_a_picture(scan, tmp_path, capsys):
    assert run(scan, tmp_path / "out", "--model", scan / "balls", "--organs", scan / "organs.nii.gz") == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    told = capsys.readouterr().out
    assert told.startswith("ct.nii.gz: ball detected (14.2 ml)\n")
    assert told.endswith("Research software, not a medical device.\n")
    result = json.loads((out / "tumors.json").read_text())
    (ball,) = result["tumors"]
    assert result["notice"] == "research software, not a medical device"
    assert (result["detected"], ball["organ"], ball["components"]) == (True, "spleen", 1)
    assert ball["centre_ras_mm"] == pytest.approx(BALL_RAS_MM, abs=3)
    row = next(csv.DictReader((out / "tumors.csv").read_text().splitlines()))
    assert (row["tumor"], row["detected"], row["organ"]) == ("ball", "true", "spleen")
    assert float(row["volume_ml"]) == pytest.approx(ball["volume_ml"])


def test_both_segmentations_name_and_colour_the_tumour_on_the_cts_grid(scan, tmp_path):
    run(scan, tmp_path, "--model", scan / "balls")
    label_map = read_segmentation(tmp_path / "segmentation.nii.gz").segmentation
    slicer = read_segmentation(tmp_path / "segmentation.seg.nrrd").segmentation
    assert same_grid(label_map.grid, ball_grid())
    assert label_map.names == slicer.names == ("ball",)
    np.testing.assert_array_equal(label_map.mask("ball"), slicer.mask("ball"))
    header = nrrd_header(tmp_path / "segmentation.seg.nrrd")
    assert (header["Segment1_Name"], header["Segment1_LabelValue"]) == ("ball", "2")
    assert "SCT^4147007^Mass" in header["Segment1_Tags"]
    assert header["Segment1_Color"] == "1.000000 0.250980 0.125490"
    assert json.loads((tmp_path / "segmentation.json").read_text())["labels"]["2"]["colour"] == [255, 64, 32]


def test_the_picture_outlines_the_tumour_on_the_left_of_the_patient_which_is_the_right_of_the_picture(scan, tmp_path):
    run(scan, tmp_path, "--model", scan / "balls")
    pixels = np.asarray(Image.open(tmp_path / "tumors.png")).astype(int)
    coloured = np.argwhere(np.abs(pixels - (255, 64, 32)).sum(axis=-1) < 60)
    axial = coloured[coloured[:, 1] < pixels.shape[1] // 3]
    assert len(axial) > 50
    assert axial[:, 1].mean() > 0.18 * pixels.shape[1]


def test_no_tumour_is_told_and_drawn(tmp_path, scan):
    grid = ball_grid()
    hu = np.full(grid.shape_ijk, -1000, np.int16)
    hu[: grid.shape_ijk[0] // 2] = 0
    air_and_water = Volume(hu, grid)
    found = find_tumors(StudyInput("ct", air_and_water, None), TumorModel.from_pretrained(scan / "balls", "cpu"))
    assert not found.result.detected
    write_tumor_files(air_and_water, found, tmp_path)
    assert json.loads((tmp_path / "tumors.json").read_text())["tumors"][0]["centre_ras_mm"] is None


def test_the_model_is_shown_with_its_classes_and_card(scan, capsys):
    assert main(["model", "show", str(scan / "balls")]) == 0
    told = capsys.readouterr().out
    assert "tumours         ball" in told
    assert "fine-tuned on   a ball" in told
    assert "Finds bright balls." in told


def test_json_alone_is_printed(scan, tmp_path, capsys):
    run(scan, tmp_path, "--model", scan / "balls", "--json")
    assert json.loads(capsys.readouterr().out)["detected"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected a tumour model with --model DIR, got none"),
        (["--model", "nowhere"], "Expected a model folder with config.json"),
        (["--model", "{scan}/balls", "--organs", "{scan}/nothing.nii.gz"], "nothing.nii.gz"),
        (["--model", "{scan}/balls", "--device", "cuda:9"], "cuda:9"),
    ],
)
def test_a_bad_input_ends_with_one_message_and_leaves_nothing(arguments, message, scan, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(scan, out, *(text.format(scan=scan) for text in arguments)) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_ct_answering_model_is_refused(scan, tmp_path, tiny_model, capsys):
    assert run(scan, tmp_path / "out", "--model", tiny_model) == 1
    assert "expected a tumour model" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_refused(scan, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run(scan, tmp_path / "out", "--model", scan / "balls") == 1
    assert "got the file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_cancelled_or_failed_writing_leaves_nothing(scan, tmp_path, monkeypatch):
    ct = ball_ct(ball_grid())
    found = find_tumors(StudyInput("ct", ct, None), TumorModel.from_pretrained(scan / "balls", "cpu"))
    with pytest.raises(Cancelled):
        write_tumor_files(ct, found, tmp_path / "a", lambda _what, done, _total: done == 0)

    def full(*_arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tumor_picture, "draw_tumors", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_tumor_files(ct, found, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
