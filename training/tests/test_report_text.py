"""Rows of a table of pairs become statements about the organs that a study has."""

from __future__ import annotations

from ctglip_training.pairs.engine import OrganSentence
from ctglip_training.pairs.table import PairRow
from ctglip_training.report_text import NO_REPORT, report_text
from ctglip_training.statements import Statement

LOBES = ("lung_upper_lobe_left", "lung_lower_lobe_left")


def row(sentence: str, organs: tuple[str, ...], normal: bool = False, **changes) -> PairRow:
    return PairRow("s", "train", "p", "rules", OrganSentence("lung", organs, sentence, normal, **changes))


def test_a_sentence_is_about_those_of_its_organs_that_the_study_has():
    rows = [row("A nodule.", LOBES, finding="pulmonary_nodule"), row("Perhaps.", LOBES[:1], uncertain=True)]
    said = report_text([*rows, rows[0]], ("liver", LOBES[0]))
    assert said.statements == (
        Statement(LOBES[0], "A nodule.", finding="pulmonary_nodule"),
        Statement(LOBES[0], "Perhaps.", uncertain=True),
    )
    assert said.report == "A nodule. Perhaps."
    assert not said.exhaustive


def test_sentences_about_no_organ_are_part_of_the_report_alone():
    said = report_text([row("Large lymph nodes.", ())], ("liver",))
    assert (said.statements, said.report) == ((), "Large lymph nodes.")


def test_a_study_without_rows_has_no_report():
    assert report_text((), ("liver",)) == NO_REPORT
    assert NO_REPORT.report is None


def test_an_organ_kept_as_a_whole_gets_what_is_found_in_a_part_but_not_that_a_part_is_normal():
    every = tuple(f"lung_{lobe}" for lobe in ("upper_lobe_left", "lower_lobe_left", "upper_lobe_right",
                                              "middle_lobe_right", "lower_lobe_right"))  # fmt: skip
    rows = [row("A nodule.", LOBES[:1]), row("One lobe is clear.", LOBES[:1], normal=True), row("Clear.", every, True)]
    said = report_text(rows, ("lung", "odd_structure"))
    assert [(s.organ, s.sentence) for s in said.statements] == [("lung", "A nodule."), ("lung", "Clear.")]
