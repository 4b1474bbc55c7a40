"""Splits by patient: official ones kept, the others drawn from the patient's hash.

Conventions:
- a patient is in one split with all studies (test_data_splits: `no patient is in two splits`);
- the split depends on the patient's id and the salt alone, not on who else is there: a data set that grows keeps its
  splits (test_data_splits: `a patient stays where it was when others come`);
- an official split is never changed; other studies of that patient follow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ctglip_training.data.study import Split, Study
from CTGLIPLib.errors import ConfigError

SPLITS: tuple[Split, Split, Split] = ("train", "val", "test")


@dataclass(frozen=True)
class Shares:
    """Which share of the patients without an official split goes to train, val and test."""

    train: float = 0.8
    val: float = 0.1
    test: float = 0.1
    salt: str = ""

    def __post_init__(self) -> None:
        shares = (self.train, self.val, self.test)
        if not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):  # NaN is neither
            msg = f"Shares of train, val and test must be 0 or more and add up to 1, got {shares}. Such as 0.8,0.1,0.1."
            raise ConfigError(msg)


def assign_splits(studies: Sequence[Study], shares: Shares | None = None) -> tuple[Study, ...]:
    """The studies, each with a split."""
    shares = shares or Shares()
    official: dict[str, Split] = {}
    for study in studies:
        if study.split:
            official.setdefault(study.patient, study.split)
    return tuple(
        study if study.split else replace(study, split=official.get(study.patient) or split_of(study.patient, shares))
        for study in studies
    )


def split_of(patient: str, shares: Shares) -> Split:
    """The split of a patient without an official one."""
    digest = hashlib.sha256(f"{shares.salt}\n{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < shares.train:
        return "train"
    return "val" if place < shares.train + shares.val else "test"


def patients_in_two_splits(studies: Iterable[Study]) -> dict[str, dict[Split, list[str]]]:
    """The patients with studies in more than one split: patient -> split -> ids of the studies."""
    found: dict[str, dict[Split, list[str]]] = {}
    for study in studies:
        if study.split:
            found.setdefault(study.patient, {}).setdefault(study.split, []).append(study.id)
    return {patient: splits for patient, splits in found.items() if len(splits) > 1}


def counts(studies: Iterable[Study]) -> dict[str, tuple[int, int]]:
    """Studies and patients of each split."""
    by_split: dict[str, list[str]] = {}
    for study in studies:
        by_split.setdefault(study.split or "none", []).append(study.patient)
    order = [*SPLITS, "none"]
    return {name: (len(by_split[name]), len(set(by_split[name]))) for name in order if name in by_split}
