"""The abnormality dictionary: abnormal sentences of the training reports, spread over organs and findings.

Source: Lin et al. 2024, section 4.2: 512 abnormal descriptions by organ; how they were chosen is not said. Ours are
drawn in turns from every (organ group, finding), so that common findings do not crowd out rare ones. Reports of
validation or test never enter. Guarded by training/tests/test_pairs_dictionary.py.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ctglip_training.evaluation.tables import without_ending
from ctglip_training.pairs.table import PairRow
from CTGLIPLib.errors import InputError
from CTGLIPLib.files import whole_file

SIZE = 512
TRAINING_SPLITS = frozenset({"train", "training", "trn"})
LONGEST_WORDS = 40
"""Longer sentences list many findings; a text of the dictionary should say one thing."""


@dataclass(frozen=True)
class DictionaryText:
    """One text of the dictionary.

    Attributes:
        text: the sentence.
        group: the organ group that it speaks of.
        organs: their vocabulary names.
        finding: the catalogue's id; None where it has none.
        count: how many training studies say it.
    """

    text: str
    group: str
    organs: tuple[str, ...]
    finding: str | None
    count: int


def training_rows(rows: Sequence[PairRow], drop_others: bool = False) -> list[PairRow]:
    """The rows of the training split.

    Args:
        rows: of a table of pairs.
        drop_others: leave rows of other splits out instead of refusing them.

    Raises:
        InputError: if a row is of no split, of another split (unless dropped), or its patient is also in another.
    """
    unknown = sorted({row.study for row in rows if not row.split})
    if unknown:
        msg = (
            f"Expected a split for every study, got none for {len(unknown)}. Give `ctglip-train pairs` the column "
            "that says train, validation or test."
        )
        raise InputError(msg)
    train = [row for row in rows if row.split.lower() in TRAINING_SPLITS]
    others = [row for row in rows if row.split.lower() not in TRAINING_SPLITS]
    if others and not drop_others:
        splits = ", ".join(f"{count} pairs of {split!r}" for split, count in Counter(r.split for r in others).items())
        msg = f"Expected training reports only, got {splits} as well. Remove them, or leave them out with --only-train."
        raise InputError(msg)
    shared = {row.patient for row in train if row.patient} & {row.patient for row in others}
    if shared:
        msg = f"Expected patients of one split only, got {len(shared)} in training and another. Split by patient again."
        raise InputError(msg)
    return train


def build_dictionary(rows: Sequence[PairRow], size: int = SIZE, seed: int = 1) -> tuple[DictionaryText, ...]:
    """At most `size` texts of what training reports found, in turns over the (group, finding) pairs.

    A sentence counts where it is sure, speaks of an organ that has a mask, says one thing and is not too long.

    Raises:
        InputError: if a row is not of the training split, or none is fit.
    """
    groups: dict[tuple[str, str | None], list[DictionaryText]] = {}
    for entry in _texts(training_rows(rows)):
        groups.setdefault((entry.group, entry.finding), []).append(entry)
    if not groups:
        msg = "Expected abnormal sentences about organs in the pairs, got none. Do the training reports have findings?"
        raise InputError(msg)
    generator = random.Random(seed)
    queues = [generator.sample(group, len(group)) for group in groups.values()]
    chosen: list[DictionaryText] = []
    while queues and len(chosen) < size:
        generator.shuffle(queues)
        chosen += [queue.pop() for queue in queues[: size - len(chosen)]]
        queues = [queue for queue in queues if queue]
    return tuple(sorted(chosen, key=lambda entry: (entry.group, entry.finding or "", entry.text)))


def write_dictionary(entries: Sequence[DictionaryText], rows: Sequence[PairRow], out: Path) -> None:
    """Write the dictionary as JSON, with a key of every study and patient that it was made of.

    Raises:
        OutputError: if it cannot be written.
    """
    sources = {source_key(name) for row in rows for name in (row.study, row.patient) if name}
    content = {
        "schema_version": 1,
        "split": "train",
        "sources": sorted(sources),
        "entries": [asdict(entry) for entry in entries],
    }
    with whole_file(out) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def read_dictionary(path: Path) -> tuple[DictionaryText, ...]:
    """The texts of a written dictionary.

    Raises:
        InputError: if it cannot be read or is not one.
    """
    try:
        entries = [{**entry, "organs": tuple(entry["organs"])} for entry in _content(path)["entries"]]
        return tuple(DictionaryText(**entry) for entry in entries)
    except (KeyError, TypeError) as error:
        raise _no_dictionary(path, error) from error


def read_sources(path: Path) -> frozenset[str]:
    """The keys of the studies and patients that a written dictionary was made of.

    Raises:
        InputError: if it cannot be read or does not say.
    """
    try:
        return frozenset(str(key) for key in _content(path)["sources"])
    except (KeyError, TypeError) as error:
        raise _no_dictionary(path, error) from error


def source_key(name: str) -> str:
    """What a dictionary knows a study or patient by: the start of its name's SHA-256, for it may be handed on."""
    return hashlib.sha256(without_ending(name).encode()).hexdigest()[:20]


def _content(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_dictionary(path, error) from error


def _no_dictionary(path: Path, error: Exception) -> InputError:
    msg = f"Expected an abnormality dictionary at {path}, got {error!r}. Make one with `ctglip-train dictionary`."
    return InputError(msg)


def _texts(rows: Iterable[PairRow]) -> list[DictionaryText]:
    said: dict[str, set[tuple[str, str | None]]] = {}
    studies: dict[str, set[str]] = {}
    first: dict[str, PairRow] = {}
    for row in rows:
        key = " ".join(row.said.sentence.lower().split()).rstrip(".")
        said.setdefault(key, set()).add((row.said.group, row.said.finding))
        studies.setdefault(key, set()).add(row.study)
        first.setdefault(key, row)
    return [
        DictionaryText(row.said.sentence, row.said.group, row.said.organs, row.said.finding, len(studies[key]))
        for key, row in first.items()
        if len(said[key]) == 1 and _is_fit(row)
    ]


def _is_fit(row: PairRow) -> bool:
    said = row.said
    return not said.normal and not said.uncertain and bool(said.organs) and len(said.sentence.split()) <= LONGEST_WORDS
