"""The organ vocabulary: TotalSegmentator's classes under the names that people use for them.

The first 104 organs are TotalSegmentator v1's in the order of their ids (the paper's 104), then the 20 of v2 alone.
`side` is for what the body has on both sides: a left atrium has none, for it is no mirrored twin of the right one.
Cysts of the kidney are segmented structures that can be named, but words such as "renal cyst" in a question mean the
finding, so `match_organs` leaves them out. (Testing/Lib/test_organs.py)
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from CTGLIPLib.errors import LabelError
from CTGLIPLib.phrases import SIDE_WORDS, Match, PhraseIndex, Token, folded, tokens

Side = Literal["left", "right"]

_OTHER_LANGUAGE = {"vena": "vein", "clavicula": "clavicle", "arteria": "artery"}
_SIDES: dict[str, Side] = {"left": "left", "right": "right"}


@dataclass(frozen=True)
class Organ:
    """One class of the vocabulary.

    Attributes:
        name: TotalSegmentator's name, "kidney_left".
        readable: what a report calls it, "left kidney".
        synonyms: other names for it.
        side: of the body; None where there is no mirrored twin.
        group: what it is one of, "kidney".
        snomed: SNOMED CT code of the structure, without its side.
        snomed_meaning: the code's meaning.
        v1_id: label value in TotalSegmentator v1's 104 classes, None where it is not one of them.
        v2_id: label value in TotalSegmentator v2's 117 classes, None where it is not one of them.
        colour: red, green, blue, 0 to 255.
    """

    name: str
    readable: str
    synonyms: tuple[str, ...]
    side: Side | None
    group: str
    snomed: str
    snomed_meaning: str
    v1_id: int | None
    v2_id: int | None
    colour: tuple[int, int, int]


def _data_rows(name: str) -> list[dict[str, str]]:
    text = (files("CTGLIPLib.data") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _organ(row: dict[str, str]) -> Organ:
    return Organ(
        name=row["name"],
        readable=row["readable"],
        synonyms=tuple(row["synonyms"].split("|")),
        side=_SIDES.get(row["side"]),
        group=row["group"],
        snomed=row["snomed"],
        snomed_meaning=row["snomed_meaning"],
        v1_id=int(row["v1_id"]) if row["v1_id"] else None,
        v2_id=int(row["v2_id"]) if row["v2_id"] else None,
        colour=(int(row["r"]), int(row["g"]), int(row["b"])),
    )


ORGANS: tuple[Organ, ...] = tuple(_organ(row) for row in _data_rows("organs.csv"))
PAPER_ORGANS: tuple[Organ, ...] = ORGANS[:104]
_BY_NAME = {organ.name: organ for organ in ORGANS}


def organ_named(name: str) -> Organ:
    """The organ of exactly this vocabulary name.

    Raises:
        LabelError: if the vocabulary has no such name; the message offers the closest one.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    known = find_organ(name)
    close = [known.name] if known else difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)
    msg = f"Expected one of the {len(ORGANS)} organ names, got {name!r}. Use the closest, {close[0]!r}, or find_organ."
    raise LabelError(msg)


def find_organ(text: str) -> Organ | None:
    """The one organ that the whole text names (by name, readable form or synonym), else None.

    Case, number, underscores and British or American spelling do not matter. A word for several organs ("kidneys")
    gives None: see `organs_in_group`.
    """
    return _one_organ_index().exactly(text)


def readable_name(name: str) -> str:
    """The name as a report would write it; works for names outside the vocabulary too ("rib_left_13")."""
    organ = _BY_NAME.get(name)
    if organ is not None:
        return organ.readable
    words = [_OTHER_LANGUAGE.get(word, word) for word in name.replace("_", " ").split()]
    sides = [word for word in words if word in _SIDES]
    if len(sides) == 1 and words[0] != sides[0]:
        words = sides + [word for word in words if word != sides[0]]
    return " ".join(words) or name


def organs_in_group(text: str) -> tuple[Organ, ...]:
    """All organs that the whole text names, in vocabulary order: "kidneys", "left lung", "lumbar spine", "liver".

    Empty where the text names none, or says more than an organ.
    """
    text_tokens = [token for token in tokens(text) if token.word != "the"]
    matches = match_organs(text)
    if len(matches) != 1 or not text_tokens:
        return ()
    organs, start, end = matches[0]
    outside = [token.word for token in text_tokens if token.end <= start or token.start >= end]
    return organs if all(word in SIDE_WORDS | {"and"} for word in outside) else ()


def organs_like(patterns: Iterable[str]) -> tuple[Organ, ...]:
    """The organs whose name is like one of the patterns ("kidney_*"), in vocabulary order."""
    wanted = tuple(patterns)
    return tuple(organ for organ in ORGANS if any(fnmatchcase(organ.name, pattern) for pattern in wanted))


def match_organs(text: str) -> list[tuple[tuple[Organ, ...], int, int]]:
    """The organs that the text speaks of: (organs, start, end) with characters [start, end), in text order.

    Longer names win, matches do not overlap, words match as wholes. Sides before or inside the name choose the twin:
    "left kidney", "left and right kidney", "lower lobe of the left lung"; without a side both are meant.
    """
    text_tokens = tokens(text)
    found: list[tuple[tuple[Organ, ...], int, int]] = []
    for match in _any_organ_index().find(text):
        sides, first = _sides(match, text_tokens)
        chosen = tuple(organ for organ in match.value if organ.side in sides) if len(sides) == 1 else ()
        found.append((chosen or match.value, text_tokens[first].start if chosen else match.start, match.end))
    return found


def _sides(match: Match[tuple[Organ, ...]], text_tokens: tuple[Token, ...]) -> tuple[set[str], int]:
    """The sides said of a match, and the index of the first token that says so."""
    inside = [token.word for token in text_tokens[match.first : match.last + 1]]
    sides = {word for word in inside if word in SIDE_WORDS}
    first = place = match.first
    while place > 0 and text_tokens[place - 1].word in SIDE_WORDS | {"and", "or", "the"}:
        place -= 1
        if text_tokens[place].word in SIDE_WORDS:
            first = place
            sides.add(text_tokens[place].word)
    return ({"left", "right"} if sides - set(_SIDES) else sides), first


@lru_cache(maxsize=1)
def _one_organ_index() -> PhraseIndex[Organ]:
    return PhraseIndex((text, organ) for organ in ORGANS for text in (organ.name, organ.readable, *organ.synonyms))


@lru_cache(maxsize=1)
def _any_organ_index() -> PhraseIndex[tuple[Organ, ...]]:
    asked = [organ for organ in ORGANS if organ.group != "kidney cyst"]
    twins: dict[tuple[str, ...], list[Organ]] = {}
    for organ in asked:
        for text in (organ.readable, *organ.synonyms):
            words = tuple(word for word in folded(text) if organ.side is None or word != organ.side)
            same = twins.setdefault(words, [])
            if organ not in same:
                same.append(organ)

    def phrases() -> Iterator[tuple[str, tuple[Organ, ...]]]:
        yield from ((organ.name, (organ,)) for organ in asked if "_" in organ.name)
        for row in _data_rows("organ_groups.csv"):
            members = organs_like(row["members"].split("|"))
            yield from ((text, members) for text in row["words"].split("|"))
        yield from ((" ".join(words), tuple(organs)) for words, organs in twins.items())

    return PhraseIndex(phrases())
