"""Splits by patient: official ones kept, others by hash, no leaks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctglip_training.data.splits import Shares, assign_splits, counts, patients_in_two_splits, split_of
from ctglip_training.data.study import Study
from CTGLIPLib.errors import ConfigError

PINNED = ["val", "train", "train", "val", "test", "test"]


def study(number: int, patient: str, split: str = "") -> Study:
    return Study(id=str(number), patient=patient, volume=f"{number}.nii", layout="x", split=split)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60))
def test_no_patient_is_in_two_splits(rows):
    official = {patient: ("train", "val", "test")[patient % 3] for patient in range(31)}
    studies = [study(n, f"p{p}", official[p] if known else "") for n, (p, known) in enumerate(rows)]
    split = assign_splits(studies)
    assert patients_in_two_splits(split) == {}
    assert all(item.split for item in split)
    assert all(after.split == before.split for before, after in zip(studies, split, strict=True) if before.split)


def test_a_patient_stays_where_it_was_when_others_come():
    few = assign_splits([study(n, f"p{n}") for n in range(50)])
    many = assign_splits([study(n, f"p{n}") for n in reversed(range(500))])
    later = {item.id: item.split for item in many}
    assert [later[item.id] for item in few] == [item.split for item in few]


def test_the_shares_are_met_and_another_salt_draws_others():
    patients = [f"p{n}" for n in range(4000)]
    drawn = [split_of(name, Shares(0.7, 0.1, 0.2)) for name in patients]
    assert [drawn.count(name) / 4000 for name in ("train", "val", "test")] == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
    assert drawn != [split_of(name, Shares(0.7, 0.1, 0.2, salt="other")) for name in patients]


def test_the_split_of_a_patient_never_changes_between_versions():
    assert [split_of(f"train_{n}", Shares()) for n in (1, 2, 3, 9, 16, 22)] == PINNED


def test_official_splits_that_leak_are_kept_and_told():
    studies = assign_splits([study(1, "p", "train"), study(2, "p", "test"), study(3, "q")])
    assert patients_in_two_splits(studies) == {"p": {"train": ["1"], "test": ["2"]}}


def test_studies_and_patients_are_counted():
    studies = [study(1, "p", "train"), study(2, "p", "train"), study(3, "q", "test"), study(4, "r")]
    assert counts(studies) == {"train": (2, 1), "test": (1, 1), "none": (1, 1)}


@pytest.mark.parametrize("shares", [(0.5, 0.1, 0.1), (1.2, -0.1, -0.1)])
def test_shares_that_do_not_add_up_are_refused(shares):
    with pytest.raises(ConfigError, match="add up to 1"):
        Shares(*shares)
