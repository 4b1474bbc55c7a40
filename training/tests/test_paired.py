"""Scores and labels brought together by each protocol's rules, and everything that is refused."""

from __future__ import annotations

import numpy as np
import pytest
from score_files import ct_rate_files, ct_rate_names, invented, write_csv

from ctglip_training.evaluation.paired import PairRules, read_pair
from ctglip_training.evaluation.protocols import (
    BOTH_CALCIFICATIONS,
    CT_RATE_FINDINGS,
    MERLIN_FINDINGS,
    PROTOCOLS,
    RAD_CHESTCT_MAPPINGS,
)
from CTGLIPLib.errors import ConfigError, InputError

PLAIN = PROTOCOLS["plain"]


def plain_pair(tmp_path, scores, labels, protocol=PLAIN, **rules):
    """A pair of tables of the findings x and y, rows given."""
    header = ["VolumeName", "x", "y"]
    predictions = write_csv(tmp_path / "s.csv", header, scores)
    return read_pair(predictions, write_csv(tmp_path / "l.csv", header, labels), protocol, PairRules(**rules))


GOOD_SCORES = [("a", 0.1, 0.2), ("b", 0.3, 0.4), ("c", 0.5, 0.6)]
GOOD_LABELS = [("a", 0, 1), ("b", 1, 0), ("c", 0, 0)]


def test_ct_rates_tables_are_read_in_the_protocols_order(tmp_path):
    cases = read_pair(*ct_rate_files(tmp_path), PROTOCOLS["ct-rate"], PairRules())
    scores, truth = invented(60, 18)
    assert cases.findings == CT_RATE_FINDINGS
    assert np.array_equal(cases.scores, scores)
    assert np.array_equal(cases.truth, truth)
    assert cases.known.all()
    assert len(set(cases.patients.tolist())) == 30


def test_rows_are_matched_by_name_and_not_by_place(tmp_path):
    cases = plain_pair(tmp_path, GOOD_SCORES, GOOD_LABELS[::-1])
    assert cases.truth[:, 0].tolist() == [False, True, False]
    assert cases.patients.tolist() == ["a", "b", "c"]


def test_volumes_of_one_side_are_listed_and_not_scored(tmp_path):
    cases = plain_pair(tmp_path, [*GOOD_SCORES, ("p", 0.5, 0.5)], [("l", 1, 1), *GOOD_LABELS])
    assert (cases.only_predicted, cases.only_labelled) == (("p",), ("l",))
    assert cases.volumes == ("a", "b", "c")


def test_tables_of_other_volumes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"Expected volumes that both tables have, got none: 3 in .*, 1 in"):
        plain_pair(tmp_path, GOOD_SCORES, [("z", 1, 0)])


def test_the_patients_can_be_a_column_of_the_labels(tmp_path):
    scores = write_csv(tmp_path / "s.csv", ["VolumeName", "x"], [("a", 0.1), ("b", 0.2)])
    labels = write_csv(tmp_path / "l.csv", ["VolumeName", "x", "who"], [("b", 1, "p"), ("a", 0, "p")])
    cases = read_pair(scores, labels, PLAIN, PairRules(patient_column="who"))
    assert cases.findings == ("x",)
    assert cases.patients.tolist() == ["p", "p"]
    with pytest.raises(InputError, match=r"Expected a column of patients 'whom' in .*, got x, who"):
        read_pair(scores, labels, PLAIN, PairRules(patient_column="whom", allow_missing=True))


@pytest.mark.parametrize("bad", [2, -1, 0.5, ""])
def test_a_label_that_is_not_0_or_1_is_refused_with_its_place(tmp_path, bad):
    shown = "nothing" if bad == "" else str(bad)
    with pytest.raises(InputError, match=rf"Expected the label 0 or 1 for y in row 3 of .*, got {shown} \(1 such"):
        plain_pair(tmp_path, GOOD_SCORES, [("a", 0, 1), ("b", 1, bad), ("c", 0, 0)])


@pytest.mark.parametrize("bad", [1.5, -0.1])
def test_a_score_outside_0_to_1_is_no_probability_but_may_be_a_margin(tmp_path, bad):
    scores = [("a", 0.1, 0.2), ("b", 0.3, bad), ("c", 0.5, 0.6)]
    with pytest.raises(InputError, match=rf"a probability of 0 to 1 for y in row 3 of .*, got {bad} .*margin"):
        plain_pair(tmp_path, scores, GOOD_LABELS)
    assert plain_pair(tmp_path, scores, GOOD_LABELS, kind="margin").scores[1, 1] == bad


def test_a_softmax_that_rounds_beyond_one_is_one(tmp_path):
    cases = plain_pair(tmp_path, [("a", 1.0000002, -1e-8), ("b", 0.3, 0.5)], GOOD_LABELS)
    assert cases.scores[0].tolist() == [1.0, 0.0]


def test_an_infinite_score_is_refused_even_as_a_margin(tmp_path):
    with pytest.raises(InputError, match="Expected a finite number for y in row 3"):
        plain_pair(tmp_path, [("a", 0.1, 0.2), ("b", 0.3, "inf")], GOOD_LABELS, kind="margin")


def test_a_missing_score_is_refused_or_the_lowest_as_the_protocol_says(tmp_path):
    with pytest.raises(InputError, match=r"Expected a score for y in row 3 of .*, got nothing \(1 such cells\)"):
        plain_pair(tmp_path, [("a", 0.1, 0.2), ("b", 0.3, "nan")], GOOD_LABELS)
    predictions, labels = ct_rate_files(tmp_path, 6)
    lines = predictions.read_text().splitlines()
    cells = lines[3].split(",")
    cells[5] = ""
    lines[3] = ",".join(cells)
    predictions.write_text("\n".join(lines))
    cases = read_pair(predictions, labels, PROTOCOLS["ct-rate"], PairRules())
    assert cases.scores[2, 4] == 0.0
    assert cases.filled.tolist() == [0] * 4 + [1] + [0] * 13
    margins = read_pair(predictions, labels, PROTOCOLS["ct-rate"], PairRules(kind="margin"))
    assert margins.scores[2, 4] == np.delete(margins.scores[:, 4], 2).min()


def test_a_finding_without_any_score_is_refused(tmp_path):
    predictions, labels = ct_rate_files(tmp_path, 4)
    rows = [[*line.split(",")[:-1], ""] for line in predictions.read_text().splitlines()[1:]]
    write_csv(predictions, ["VolumeName", *CT_RATE_FINDINGS], rows)
    with pytest.raises(InputError, match=r"Expected scores for Interlobular septal thickening in .*, got none"):
        read_pair(predictions, labels, PROTOCOLS["ct-rate"], PairRules())


def test_missing_findings_are_refused_or_left_out_and_told(tmp_path):
    predictions, _ = ct_rate_files(tmp_path, 6, CT_RATE_FINDINGS[1:])
    (tmp_path / "all").mkdir()
    _, labels = ct_rate_files(tmp_path / "all", 6)
    with pytest.raises(InputError, match=r"18 findings in both tables, got 17: .*scores.csv lacks Medical material\. "):
        read_pair(predictions, labels, PROTOCOLS["ct-rate"], PairRules())
    cases = read_pair(predictions, labels, PROTOCOLS["ct-rate"], PairRules(allow_missing=True))
    assert cases.left_out == ("Medical material",)
    assert cases.findings == CT_RATE_FINDINGS[1:]


def test_columns_of_plain_labels_that_nobody_scored_need_allowing(tmp_path):
    scores = write_csv(tmp_path / "s.csv", ["VolumeName", "x"], [("a", 0.1), ("b", 0.2)])
    labels = write_csv(tmp_path / "l.csv", ["VolumeName", "x", "split"], [("b", 1, "test"), ("a", 0, "test")])
    assert read_pair(scores, labels, PLAIN, PairRules(allow_missing=True)).left_out == ("split",)
    with pytest.raises(InputError, match="Expected a number in column 'split'"):
        read_pair(scores, labels, PLAIN, PairRules())
    other = write_csv(tmp_path / "o.csv", ["VolumeName", "z"], [("a", 0.1)])
    with pytest.raises(InputError, match="Name columns as findings"):
        read_pair(other, labels, PLAIN, PairRules(allow_missing=True))


def test_fvlms_table_is_read_as_it_is_written(tmp_path):
    findings = PROTOCOLS["ct-rate"].subsets["16 of fVLM"]
    scores, _ = invented(6, 16)
    header = ["file_name", *(f"lung_{name}_Not {name}._{name}." for name in findings)]
    rows = [[name, *row] for name, row in zip(ct_rate_names(6), scores, strict=True)]
    (tmp_path / "all").mkdir()
    _, labels = ct_rate_files(tmp_path / "all", 6)
    table = write_csv(tmp_path / "epoch.csv", header, rows)
    cases = read_pair(table, labels, PROTOCOLS["ct-rate"], PairRules(allow_missing=True))
    assert cases.findings == findings
    assert np.array_equal(cases.scores, scores)


def merlin_files(tmp_path):
    scores, truth = invented(5, 30)
    labels = truth.astype(int)
    labels[2, 3] = -1
    rows = [[f"AC{n}", *row] for n, row in enumerate(labels)]
    rows[3][5] = ""
    label_file = write_csv(tmp_path / "zero_shot_findings_disease_cls.csv", ["study id", *MERLIN_FINDINGS], rows)
    score_rows = [[f"AC{n}.nii.gz", *row] for n, row in enumerate(scores)]
    return write_csv(tmp_path / "s.csv", ["file_name", *MERLIN_FINDINGS], score_rows), label_file


def test_merlins_labels_of_minus_one_or_nothing_are_unknown(tmp_path):
    cases = read_pair(*merlin_files(tmp_path), PROTOCOLS["merlin"], PairRules())
    assert np.argwhere(~cases.known).tolist() == [[2, 3], [3, 4]]
    assert len(cases.findings) == 30


def rad_chestct_labels(tmp_path, header, row, name="imgtest_Abnormality_and_Location_Labels.csv"):
    """One scan with findings and one without, in the published layout."""
    rows = [("tst00001", *row), ("tst00002", *(0.0 for _ in row))]
    return write_csv(tmp_path / name, ["NoteAcc_DEID", *header], rows)


def rad_chestct_scores(tmp_path):
    rows = [("tst00001.npz", *np.arange(18) / 20), ("tst00002.npz", *np.full(18, 0.5))]
    return write_csv(tmp_path / "s.csv", ["VolumeName", *CT_RATE_FINDINGS], rows)


def test_rad_chestcts_published_labels_are_merged_over_locations_and_mapped(tmp_path):
    abnormalities = sorted({name for names in RAD_CHESTCT_MAPPINGS["standard"].values() for name in names})
    header = [f"{name}*{place}" for name in abnormalities for place in ("left_lung", "other_location")]
    present = {"calcification*other_location", "nodulegr1cm*left_lung", "stent*other_location"}
    labels = rad_chestct_labels(tmp_path, header, [float(name in present) for name in header])
    cases = read_pair(rad_chestct_scores(tmp_path), labels, PROTOCOLS["rad-chestct"], PairRules())
    found = {name for name, here in zip(cases.findings, cases.truth[0], strict=True) if here}
    assert found == {BOTH_CALCIFICATIONS, "Lung nodule", "Medical material"}
    assert len(cases.findings) == 16
    assert not cases.truth[1].any()


def test_the_higher_of_both_calcification_scores_counts(tmp_path):
    labels = rad_chestct_labels(tmp_path, ["calcification"], [1.0])
    rules = PairRules(allow_missing=True)
    cases = read_pair(rad_chestct_scores(tmp_path), labels, PROTOCOLS["rad-chestct"], rules)
    assert cases.findings == (BOTH_CALCIFICATIONS,)
    assert cases.scores[:, 0].tolist() == [0.2, 0.5]  # the coronary one, fifth of CT-RATE's columns


def test_labels_mapped_to_ct_rates_names_already_are_taken_as_they_are(tmp_path):
    findings = [name for name in CT_RATE_FINDINGS if name not in ("Medical material", "Lymphadenopathy")]
    labels = rad_chestct_labels(tmp_path, findings, [1.0, *(0.0 for _ in findings[1:])])
    cases = read_pair(rad_chestct_scores(tmp_path), labels, PROTOCOLS["rad-chestct"], PairRules(mapping="hlip"))
    assert len(cases.findings) == 14
    assert cases.truth[0, cases.findings.index(BOTH_CALCIFICATIONS)]
    assert cases.truth.sum() == 1


def test_an_unknown_mapping_is_refused(tmp_path):
    labels = rad_chestct_labels(tmp_path, ["calcification"], [1.0])
    with pytest.raises(ConfigError, match="Expected one of the mappings standard, extended, hlip"):
        read_pair(rad_chestct_scores(tmp_path), labels, PROTOCOLS["rad-chestct"], PairRules(mapping="other"))
