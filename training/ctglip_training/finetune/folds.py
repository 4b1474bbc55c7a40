"""Which cases are trained on and which are left out, always by patient.

Conventions (test_finetune_cases.py):
- patients are ordered by their hash and dealt to the folds in turn, so folds differ by one patient at most;
- a patient is left out with all cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ctglip_training.data.study import Study
from CTGLIPLib.errors import ConfigError, InputError


@dataclass(frozen=True)
class Fold:
    """One training: the cases that it learns from, and those that it is measured on."""

    name: str
    train: tuple[Study, ...]
    test: tuple[Study, ...]


def deal_folds(studies: Sequence[Study], count: int, salt: str = "") -> tuple[Fold, ...]:
    """As many folds as asked; every case is left out once.

    Args:
        studies: the cases.
        count: number of folds.
        salt: another word, another deal.

    Raises:
        ConfigError: if there are fewer than two folds, or fewer patients than folds.
    """
    patients = sorted({study.patient for study in studies}, key=lambda patient: _hash(patient, salt))
    if not 2 <= count <= len(patients):
        msg = f"Expected 2 to {len(patients)} folds, one patient or more in each, got {count}. Change --folds."
        raise ConfigError(msg)
    return tuple(_fold(f"fold_{n}", studies, set(patients[n::count])) for n in range(count))


def official_fold(studies: Sequence[Study]) -> Fold:
    """The data set's own split: measured on its test cases, or on its validation cases where those have no masks.

    Raises:
        InputError: if it has neither.
    """
    for split in ("test", "val"):
        held = {study.patient for study in studies if study.split == split}
        if held:
            return _fold("official", studies, held)
    msg = "The data set has no test or validation cases with masks. Use --folds NUMBER."
    raise InputError(msg)


def fold_without(studies: Sequence[Study], cases: Sequence[str]) -> Fold:
    """One fold that leaves out the patients of the named cases.

    Raises:
        InputError: if there is no such case.
    """
    known = {study.id: study.patient for study in studies}
    missing = [case for case in cases if case not in known]
    if missing:
        msg = f"Expected cases of the data set to leave out, but it has no {', '.join(missing)}. Check --leave-out."
        raise InputError(msg)
    return _fold("left_out", studies, {known[case] for case in cases})


def _fold(name: str, studies: Sequence[Study], held: set[str]) -> Fold:
    train = tuple(study for study in studies if study.patient not in held)
    if not train:
        msg = f"{name} leaves out every patient: nothing is left to learn from. Leave out fewer."
        raise InputError(msg)
    return Fold(name, train, tuple(study for study in studies if study.patient in held))


def _hash(patient: str, salt: str) -> bytes:
    return hashlib.sha256(f"{salt}\n{patient}".encode()).digest()
