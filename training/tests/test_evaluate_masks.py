"""Two folders of masks: pairing, figures by hand, detection by volume, what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from ctglip_training.cli import main
from ctglip_training.evaluate_masks import MaskRules, evaluate_masks
from CTGLIPLib.errors import ConfigError, GeometryError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.io import write_volume

GRID = Grid((12, 10, 8), np.diag([2.0, 2.0, 2.0, 1.0]))


def write(folder, name: str, *boxes: tuple[int, int], grid: Grid = GRID) -> None:
    """A label map whose box number n holds the voxels [start, stop) along i, 4 by 4 voxels across."""
    array = np.zeros(grid.shape_ijk, dtype=np.float32)
    for number, (start, stop) in enumerate(boxes, start=1):
        array[start:stop, 2:6, 2:6] = number
    folder.mkdir(exist_ok=True)
    write_volume(array, grid, folder / f"{name}.nii.gz")


@pytest.fixture
def folders(tmp_path):
    predicted, true = tmp_path / "predicted", tmp_path / "true"
    for name, found, outlined in (("p1_a", [(2, 6)], [(4, 8)]), ("p1_b", [(1, 4)], [(1, 4)]), ("p2_a", [], [])):
        write(predicted, name, *found)
        write(true, name, *outlined)
    return predicted, true


def test_the_figures_are_those_computed_by_hand(folders, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["evaluate-masks", "--predictions", str(folders[0]), "--truth", str(folders[1]), "--out", str(out)]
    assert main([*arguments, "--patient", "(p[0-9])_"]) == 0
    facts = json.loads((out / "masks.json").read_text(encoding="utf-8"))
    assert facts["masks"]["dice"]["value"] == pytest.approx((0.5 + 1.0) / 2)
    assert (facts["masks"]["masks"], facts["masks"]["missed"]) == (3, 0)
    assert (facts["detection"]["patients"], facts["detection"]["with_tumour"]) == (2, 1)
    assert facts["detection"]["auc"]["value"] == 1.0
    with (out / "masks.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["mask"], row["patient"]) for row in rows] == [("p1_a", "p1"), ("p1_b", "p1"), ("p2_a", "p2")]
    assert (float(rows[0]["hd95_mm"]), float(rows[0]["true_mm3"]), rows[2]["dice"]) == (4.0, 4 * 16 * 8.0, "")
    assert capsys.readouterr().out == (out / "summary.md").read_text(encoding="utf-8")


def test_one_label_alone_can_be_compared(tmp_path):
    for folder, second in (("p", (6, 8)), ("t", (6, 10))):
        write(tmp_path / folder, "x", (1, 4), second)
    shown = evaluate_masks(tmp_path / "p", tmp_path / "t", tmp_path / "o", MaskRules(label=2, repeats=5))
    assert "| 0.667 (0.667-0.667) |" in shown
    assert "| - |" in shown  # one patient alone: no AUC


def test_a_truth_without_a_prediction_or_on_another_grid_is_refused(folders, tmp_path, capsys):
    (folders[0] / "p2_a.nii.gz").unlink()
    arguments = ["evaluate-masks", "--predictions", str(folders[0]), "--truth", str(folders[1])]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 1
    assert "each of the 3 masks" in capsys.readouterr().err
    write(folders[0], "p2_a", grid=Grid((12, 10, 9), GRID.affine))
    with pytest.raises(GeometryError, match="on the grid of its truth"):
        evaluate_masks(*folders, tmp_path / "o", MaskRules())
    assert not (tmp_path / "o").exists()


def test_an_empty_folder_and_a_pattern_without_a_group_are_refused(folders, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    arguments = ["evaluate-masks", "--predictions", str(tmp_path / "none"), "--truth", str(folders[1])]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 1
    assert "Expected masks (" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="pattern with one group"):
        evaluate_masks(*folders, tmp_path / "o", MaskRules(patient="p"))
