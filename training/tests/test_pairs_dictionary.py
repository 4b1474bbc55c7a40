from __future__ import annotations

from dataclasses import replace

import pytest

from ctglip_training.pairs.dictionary import (
    build_dictionary,
    read_dictionary,
    read_sources,
    source_key,
    training_rows,
    write_dictionary,
)
from ctglip_training.pairs.engine import OrganSentence
from ctglip_training.pairs.table import PairRow
from CTGLIPLib.errors import InputError


def row(sentence, finding="hepatic_cyst", study="s1", split="train", **changes):
    said = OrganSentence("liver", ("liver",), sentence, False, finding)
    return PairRow(study, split, changes.pop("patient", ""), "rules-1", replace(said, **changes))


CYSTS = [row(f"A cyst of {i} mm in the liver.") for i in range(20)]
STONES = [
    row(f"A stone of {i} mm in the left kidney.", "kidney_stone", group="kidney", organs=("kidney_left",))
    for i in range(3)
]


def test_findings_take_turns_so_that_a_common_one_does_not_crowd_out_a_rare_one():
    entries = build_dictionary(CYSTS + STONES, size=6)
    assert [entry.finding for entry in entries].count("kidney_stone") == 3
    assert len(entries) == 6
    assert len(build_dictionary(CYSTS + STONES, size=10)) == 10


def test_the_same_seed_gives_the_same_dictionary():
    assert build_dictionary(CYSTS, size=5, seed=4) == build_dictionary(CYSTS, size=5, seed=4)
    assert build_dictionary(CYSTS, size=5, seed=4) != build_dictionary(CYSTS, size=5, seed=5)


def test_only_what_is_surely_wrong_with_an_organ_enters():
    unfit = [
        row("The liver is normal.", None, normal=True),
        row("Perhaps a cyst in the liver.", uncertain=True),
        row("Large lymph nodes.", "lymphadenopathy", group="lymph node", organs=()),
        row("A cyst " + "and a cyst " * 20 + "in the liver."),
        row("A cyst and a mass in the liver.", "hepatic_cyst"),
        row("A cyst and a mass in the liver.", "liver_mass"),
    ]
    assert [entry.text for entry in build_dictionary([*unfit, CYSTS[0]])] == [CYSTS[0].said.sentence]
    with pytest.raises(InputError, match="got none"):
        build_dictionary(unfit)


def test_a_text_enters_once_and_counts_the_studies_that_say_it():
    rows = [row("A cyst in the liver."), row("a cyst  in the liver", study="s2"), row("A cyst in the liver.")]
    (entry,) = build_dictionary(rows)
    assert (entry.text, entry.count) == ("A cyst in the liver.", 2)


@pytest.mark.parametrize("split", ["val", "validation", "valid", "test"])
def test_reports_of_validation_and_test_are_refused(split):
    rows = [*CYSTS, row("A cyst of another.", study="s9", split=split)]
    with pytest.raises(InputError, match=f"1 pairs of '{split}'.*--only-train"):
        build_dictionary(rows)
    kept = training_rows(rows, drop_others=True)
    assert kept == CYSTS
    assert "A cyst of another." not in {entry.text for entry in build_dictionary(kept)}


def test_reports_of_no_split_are_refused_even_when_others_are_left_out():
    with pytest.raises(InputError, match="Expected a split"):
        training_rows([*CYSTS, row("A cyst.", split="")], drop_others=True)


def test_a_patient_in_two_splits_is_refused():
    rows = [row("A cyst.", patient="p1"), row("A mass.", study="s2", split="test", patient="p1")]
    with pytest.raises(InputError, match="1 in training and another"):
        training_rows(rows, drop_others=True)


def test_a_dictionary_comes_back_as_it_was_written(tmp_path):
    entries = build_dictionary(CYSTS + STONES)
    write_dictionary(entries, CYSTS + STONES, tmp_path / "dictionary.json")
    assert read_dictionary(tmp_path / "dictionary.json") == entries
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="abnormality dictionary"):
        read_dictionary(tmp_path / "other.json")
    with pytest.raises(InputError, match="abnormality dictionary"):
        read_sources(tmp_path / "other.json")


def test_a_dictionary_knows_whom_it_was_made_of_without_naming_them(tmp_path):
    rows = [row("A cyst.", patient="p1", study="ct_1.nii.gz"), row("A mass.", study="s2", normal=True)]
    write_dictionary(build_dictionary(rows), rows, tmp_path / "dictionary.json")
    assert read_sources(tmp_path / "dictionary.json") == {source_key(name) for name in ("p1", "ct_1", "s2")}
    assert not any(name in (tmp_path / "dictionary.json").read_text() for name in ("p1", "ct_1", "s2"))
