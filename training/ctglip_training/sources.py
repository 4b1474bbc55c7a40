"""Which studies a run trains on, and that nothing of those which test it is among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctglip_training.config import TrainConfig
from ctglip_training.pairs.dictionary import read_dictionary, read_sources, source_key
from ctglip_training.store import PoolEntry, list_pool
from ctglip_training.texts import DictionaryEntry, build_dictionary
from CTGLIPLib.errors import ConfigError


def training_entries(config: TrainConfig) -> list[PoolEntry]:
    """The studies that a run may train on, of all its pools in turn.

    Raises:
        InputError: if a pool has no study, or a study is broken.
        ConfigError: if a pool is named twice; a held-out subject is in none (a typing error would train on the test
            subject); no study is left; a patient is in the splits that are trained on and in others as well; or a
            study has another spacing.
    """
    chosen, others = _divided(config)
    if not chosen:
        splits = ", ".join(f"{split} ({count})" for split, count in Counter(_split(e) for e in others).items())
        msg = (
            f"No study of the split {', '.join(config.data.splits)} is left to train on. The pools have, by split: "
            f"{splits}; subjects held out: {', '.join(config.data.hold_out) or 'none'}."
        )
        raise ConfigError(msg)
    shared = {entry.subject for entry in chosen} & {entry.subject for entry in others}
    if shared:
        msg = (
            f"{len(shared)} patients are in the splits to train on ({', '.join(config.data.splits)}) and in others "
            f"too, such as {min(shared)}. Split by patient again with `ctglip-train manifest`."
        )
        raise ConfigError(msg)
    for entry in chosen:
        _require_spacing(entry, config.preprocess.spacing_mm)
    return chosen


def training_dictionary(config: TrainConfig, entries: Sequence[PoolEntry]) -> tuple[DictionaryEntry, ...]:
    """The abnormality dictionary of a run on these studies.

    Raises:
        InputError: if the configuration's cannot be read.
        ConfigError: if it holds sentences of studies that the run is tested on.
    """
    if not config.data.dictionary:
        return build_dictionary(_abnormal_sentences(entries), config.loss.dictionary_size, config.data.seed)
    path = Path(config.data.dictionary)
    known, trained = read_sources(path), {entry.path for entry in entries}
    others = [entry for folder in config.data.pools for entry in list_pool(folder) if entry.path not in trained]
    tested = [entry for entry in others if _keys(entry) & known]
    if tested:
        msg = (
            f"The dictionary {path} was made of {len(tested)} studies that this run is not trained on. Make it of the "
            "training reports alone with `ctglip-train dictionary`."
        )
        raise ConfigError(msg)
    return tuple(
        DictionaryEntry(organ, entry.finding, entry.text) for entry in read_dictionary(path) for organ in entry.organs
    )


def _divided(config: TrainConfig) -> tuple[list[PoolEntry], list[PoolEntry]]:
    """The studies to train on, and all others of the pools."""
    data = config.data
    if len({folder.resolve() for folder in data.pools}) < len(data.pools):
        msg = f"Every pool must be named once, got {', '.join(map(str, data.pools))}. Remove the second one."
        raise ConfigError(msg)
    entries = [entry for folder in data.pools for entry in list_pool(folder)]
    subjects = {entry.subject for entry in entries}
    unknown = sorted(set(data.hold_out) - subjects)
    if unknown:
        msg = f"The pool has no subject {', '.join(unknown)} to hold out; it has {_some(subjects)}."
        raise ConfigError(msg)
    wanted = {"", *data.splits}
    chosen = [e for e in entries if e.subject not in data.hold_out and e.study.origin.split in wanted]
    taken = {entry.path for entry in chosen}
    return chosen, [entry for entry in entries if entry.path not in taken]


def _require_spacing(entry: PoolEntry, wanted_mm: float) -> None:
    spacing_mm = entry.study.grid.spacing_mm
    if not np.allclose(spacing_mm, wanted_mm, rtol=1e-3):
        made = ", ".join(f"{edge:.3g}" for edge in spacing_mm)
        msg = (
            f"The voxels of {entry.path.parents[1]} are {made} mm, but the configuration says {wanted_mm:g} mm. Make "
            f"the pool anew with `ctglip-train simulate` or `prepare` and --spacing {wanted_mm:g}."
        )
        raise ConfigError(msg)


def _abnormal_sentences(entries: Sequence[PoolEntry]) -> list[DictionaryEntry]:
    """The certain abnormal sentences of the run's own patients."""
    return [
        DictionaryEntry(said.organ, said.finding, said.sentence)
        for entry in entries
        for said in entry.study.said.statements
        if not said.normal and not said.uncertain
    ]


def _keys(entry: PoolEntry) -> set[str]:
    """What a dictionary knows the study and its patient by."""
    origin = entry.study.origin
    return {source_key(name) for name in (origin.study, origin.patient, entry.subject) if name}


def _split(entry: PoolEntry) -> str:
    return entry.study.origin.split or "none"


def _some(subjects: set[str]) -> str:
    """The first of many subjects."""
    names = sorted(subjects)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
