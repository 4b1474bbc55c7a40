from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_sets import GRID, SIZE
from finetune_data import HEALTHY, ball, small_config, write_tumor_set

from ctglip_training.evaluation.segmentation import MaskFigures
from ctglip_training.finetune.cases import CaseSet, open_cases
from ctglip_training.finetune.measure import TumorFigures, measure_cases, read_figures, write_figures
from ctglip_training.finetune.results import CASES_CSV, CURVES, RESULTS_JSON, SUMMARY, Results, markdown, write_results
from ctglip_training.finetune.table import MEAN, make_table
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.volume import Segmentation, Volume


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> CaseSet:
    return open_cases(write_tumor_set(tmp_path_factory.mktemp("raw") / "Dataset007_Lung"))


def _bright(volume: Volume) -> Segmentation:
    """A segmenter that finds every tumour: whatever is as bright as they are."""
    return Segmentation((volume.array > 300)[None].astype(np.uint16) * 2, volume.grid, ("lung", "cancer"))


def test_a_perfect_segmenter_has_dice_one_and_invents_nothing(cases: CaseSet) -> None:
    found = measure_cases(cases, cases.studies, _bright, ("ct-glip", "fold_0"))
    by_case = {row.case: row.figures for row in found}
    assert by_case["lung_0"].dice == by_case["lung_0"].nsd == 1
    assert by_case["lung_0"].true_mm3 == ball("lung_0").sum() * 125
    assert math.isnan(by_case[HEALTHY].dice)
    assert by_case[HEALTHY].predicted_mm3 == 0
    assert {(row.start, row.fold, row.tumor) for row in found} == {("ct-glip", "fold_0", "cancer")}


def test_a_prediction_on_another_grid_is_brought_to_the_truths(cases: CaseSet) -> None:
    def at_half_the_spacing(volume: Volume) -> Segmentation:
        affine = volume.grid.affine.copy()
        affine[:3, :3] /= 2
        affine[:3, 3] -= affine[:3, :3].sum(axis=1) / 2
        return _bright(resample_volume(volume, Grid((2 * SIZE,) * 3, affine)))

    found = measure_cases(cases, cases.studies[:1], at_half_the_spacing, ("a", "b"))
    assert found[0].figures.dice > 0.85  # blurred twice


def test_a_segmenter_without_the_class_finds_nothing(cases: CaseSet) -> None:
    nothing = Segmentation(np.zeros((1, SIZE, SIZE, SIZE), np.uint16), GRID, ())
    found = measure_cases(cases, cases.studies[:1], lambda _: nothing, ("a", "b"))
    assert (found[0].figures.dice, found[0].figures.predicted_mm3) == (0, 0)


def test_kept_figures_come_back_and_those_of_other_weights_do_not(cases: CaseSet, tmp_path: Path) -> None:
    nothing = Segmentation(np.zeros((1, SIZE, SIZE, SIZE), np.uint16), GRID, ())
    found = measure_cases(cases, cases.studies, lambda _: nothing, ("a", "b"))
    found += measure_cases(cases, cases.studies, _bright, ("a", "c"))
    write_figures(found, tmp_path / "f.json", "me")
    again = read_figures(tmp_path / "f.json", "me")
    assert repr(again) == repr(found)  # NaN equals nothing
    assert math.isinf(again[0].figures.hd95_mm)  # type: ignore[index]
    assert read_figures(tmp_path / "f.json", "other") is None
    assert read_figures(tmp_path / "none.json", "me") is None
    (tmp_path / "f.json").write_text("{}")
    assert read_figures(tmp_path / "f.json", "me") is None


def _row(start: str, case: str, dice: float, volumes: tuple[float, float], tumor: str = "cancer") -> TumorFigures:
    hd95 = math.inf if 0 in volumes else 3.0
    figures = MaskFigures(dice, hd95, dice, *volumes)
    return TumorFigures(start, "fold_0", case, case.split("-")[0], tumor, figures)


def _two_starts() -> list[TumorFigures]:
    """Three patients with the tumour and two without, each with one case; b is .2 better in every case."""
    rows = []
    for start, more in (("a", 0.0), ("b", 0.2)):
        rows += [_row(start, f"p{n}", 0.1 * n + more, (10.0 + n, 20.0)) for n in range(3)]
        rows += [_row(start, "p3", 0.0, (30.0 - 100 * more, 0.0)), _row(start, "p4", math.nan, (0.0, 0.0))]
    return rows


def test_dice_is_over_patients_with_the_tumour_and_the_auc_over_all() -> None:
    table = make_table(_two_starts())
    first, second = table.rows
    assert (table.cases, table.patients, table.with_tumor) == (5, 5, {"cancer": 3})
    assert first.figures["dice"]["cancer"].value == pytest.approx(0.1)
    assert second.figures["dice"][MEAN].value == pytest.approx(0.3)
    assert first.figures["auc"]["cancer"].value == pytest.approx(0.5)  # 30 mm3 in p3 above all, 0 in p4 below
    assert second.figures["auc"]["cancer"].value == pytest.approx(5.5 / 6)  # p3 has 10 mm3, as much as p0: a tie
    assert (first.invented, first.missed) == (1, 0)
    low, high = first.figures["dice"]["cancer"].low, first.figures["dice"]["cancer"].high
    assert 0 <= low < 0.1 < high <= 0.2


def test_initialisations_are_compared_case_by_case() -> None:
    ahead = make_table(_two_starts()).ahead
    (pair,) = ahead
    assert pair == ("b", "a")
    by = ahead[pair]["cancer"]
    assert (by.value, by.low, by.high) == pytest.approx((0.2, 0.2, 0.2))  # the same everywhere: no spread


def test_a_missed_tumour_counts_as_zero_dice_and_has_no_distance() -> None:
    rows = [_row("a", "p0", 0.8, (10, 10)), _row("a", "p1", 0.0, (0, 10))]
    (row,) = make_table(rows).rows
    assert row.figures["dice"]["cancer"].value == pytest.approx(0.4)
    assert row.figures["hd95_mm"]["cancer"].value == 3
    assert row.missed == 1
    assert math.isnan(row.figures["auc"]["cancer"].value)


def test_the_mean_is_over_tumours_not_over_cases() -> None:
    rows = [_row("a", f"p{n}", 0.9, (9, 9), "lung") for n in range(9)] + [_row("a", "p9", math.nan, (0, 0), "lung")]
    rows += [_row("a", f"p{n}", math.nan, (0, 0), "liver") for n in range(9)] + [_row("a", "p9", 0.1, (9, 9), "liver")]
    (row,) = make_table(rows).rows
    assert row.figures["dice"]["lung"].value == pytest.approx(0.9)
    assert row.figures["dice"][MEAN].value == pytest.approx(0.5)
    assert row.figures["auc"]["liver"].value == 1


def test_cases_of_one_patient_are_drawn_together() -> None:
    one_patient = [_row("a", f"p-{n}", 0.1 * n, (9, 9)) for n in range(6)]
    by = make_table(one_patient).rows[0].figures["dice"]["cancer"]
    assert by.low == by.high == pytest.approx(by.value)


def test_initialisations_on_different_cases_are_no_comparison() -> None:
    with pytest.raises(InputError, match="measured on the same cases"):
        make_table(_two_starts()[:-1])
    with pytest.raises(InputError, match="measured on the same cases"):
        make_table([])


def _results(runs: dict[str, list[Path]]) -> Results:
    found = _two_starts()
    config = small_config()
    return Results(config, {"a": "scratch", "b": "b (run, weights 0)"}, 2, found, make_table(found), runs)


def test_the_summary_has_our_table_the_difference_and_the_papers() -> None:
    text = markdown(_results({}))
    assert "| a | 10.0 (0.0 to 20.0) |" in text
    assert "- b over a: 20.0 (20.0 to 20.0) points of DSC, ahead" in text
    assert "| nnUNet CT-GLIP | 52.42 | 20.59 | 23.13 | 26.16 | 48.89 | 53.25 | 18.44 | 34.70 |" in text
    assert "private non-contrast CTs" in text
    assert "5 patients are few" in text
    assert "b started from b (run, weights 0)" in text


def test_the_folder_has_every_figure_the_cases_and_the_curves(tmp_path: Path) -> None:
    run = tmp_path / "a" / "fold_0"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1 / (n + 1)}) + "\n" for n in range(30)))
    write_results(_results({"a": [run], "b": [tmp_path / "nothing"]}), tmp_path)
    kept = json.loads((tmp_path / RESULTS_JSON).read_text())
    assert kept["rows"][1]["figures"]["dice"]["cancer"]["value"] == pytest.approx(0.3)
    assert kept["ahead_in_dice"][0]["of"] == "b"
    assert len([f for f in kept["published_percent"] if f["metric"] == "dsc"]) == 6 * 8
    with (tmp_path / CASES_CSV).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert (rows[3]["hd95_mm"], rows[0]["dice"], rows[7]["dice"]) == ("", "0.0", "0.4")
    assert (tmp_path / CURVES).read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / SUMMARY).read_text() == markdown(_results({}))


def test_a_fine_tuning_of_one_class_has_no_column_of_means() -> None:
    results = _results({})
    header = next(line for line in markdown(results).splitlines() if line.startswith("| initialisation"))
    assert header == "| initialisation | cancer |"
    assert "batch 2, crops of 32 voxels at 5 mm" in markdown(replace(results, folds=4))
