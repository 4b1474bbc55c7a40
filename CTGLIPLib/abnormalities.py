"""The abnormality catalogue: findings with their names, the organs they live in, and how reports word them.

It holds the paper's 16, CT-RATE's 18 and Merlin's 30, merged where they are the same finding, and common others.
Which 5 of its 16 the paper leaves unnamed (gallbladder, lung) is our choice. Positive phrasings never hold a negation;
negative ones describe the normal organ. (Testing/Lib/test_abnormalities.py)
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, cast

from CTGLIPLib.errors import InputError
from CTGLIPLib.organs import Organ, match_organs, organs_like
from CTGLIPLib.phrases import SIDE_WORDS, Match, PhraseIndex, folded, tokens

Catalogue = Literal["paper", "ct-rate", "merlin"]

_ADJECTIVES = {
    "liver": "hepatic",
    "kidney": "renal",
    "spleen": "splenic",
    "lung": "pulmonary",
    "heart": "cardiac",
    "pancreas": "pancreatic",
    "stomach": "gastric",
    "aorta": "aortic",
    "bowel": "intestinal",
    "colon": "colonic",
    "brain": "cerebral",
    "prostate": "prostatic",
    "bladder": "vesical",
    "gallbladder": "gallbladder",
    "thyroid": "thyroid",
    "adrenal": "suprarenal",
    "pericardium": "pericardial",
    "pleura": "pleural",
}


@dataclass(frozen=True)
class Abnormality:
    """One finding of the catalogue.

    Attributes:
        id: stable key, "fatty_liver".
        name: what a report calls it, "fatty liver".
        synonyms: other names, each of which means this finding alone.
        words_with_organ: words that mean this finding only beside one of its organs ("enlarged" beside "spleen").
        organs: vocabulary names of the organs it lives in, both sides and both TotalSegmentator versions.
        positive: phrasings of a report that has it; may hold "{organ}".
        negative: phrasings of the normal organ; may hold "{organ}"; the first is the paper's template.
        codes: coding scheme -> code, where we are sure of it; "SCT" is SNOMED CT.
        catalogues: the published lists that hold it.
    """

    id: str
    name: str
    synonyms: tuple[str, ...]
    words_with_organ: tuple[str, ...]
    organs: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    codes: dict[str, str]
    catalogues: tuple[Catalogue, ...]


def _abnormality(entry: dict[str, Any]) -> Abnormality:
    return Abnormality(
        id=entry["id"],
        name=entry["name"],
        synonyms=tuple(entry["synonyms"]),
        words_with_organ=tuple(entry["words_with_organ"]),
        organs=tuple(organ.name for organ in organs_like(entry["organs"])),
        positive=tuple(entry["positive"]),
        negative=tuple(entry["negative"]),
        codes=dict(entry["codes"]),
        catalogues=cast("tuple[Catalogue, ...]", tuple(entry["catalogues"])),
    )


def _catalogue() -> tuple[Abnormality, ...]:
    text = (files("CTGLIPLib.data") / "abnormalities.json").read_text(encoding="utf-8")
    return tuple(_abnormality(entry) for entry in json.loads(text)["abnormalities"])


ABNORMALITIES: tuple[Abnormality, ...] = _catalogue()
_BY_ID = {abnormality.id: abnormality for abnormality in ABNORMALITIES}


def abnormality_named(id_or_name: str) -> Abnormality:
    """The abnormality of this id, name or synonym.

    Raises:
        InputError: if the catalogue has none of that name; the message offers the closest id.
    """
    known = _BY_ID.get(id_or_name) or find_abnormality(id_or_name)
    if known is not None:
        return known
    close = difflib.get_close_matches(id_or_name.lower().replace(" ", "_"), _BY_ID, n=1, cutoff=0.0)[0]
    msg = (
        f"Expected one of the catalogue's {len(ABNORMALITIES)} findings, got {id_or_name!r}. The closest is {close!r}."
    )
    raise InputError(msg)


def find_abnormality(text: str) -> Abnormality | None:
    """The one abnormality that the whole text names, organ and side words included, else None.

    "Renal calculi", "stone in the left kidney" and "enlarged spleen" name one; "large stone" and "no stone" do not.
    """
    named = _name_index().whole(text)
    if named is not None:
        return named
    found = match_abnormalities(text)
    if len(found) != 1:
        return None
    spans = [found[0][1:], *(span for _, *span in match_organs(text))]
    rest = [token.word for token in tokens(text) if not any(a <= token.start and token.end <= b for a, b in spans)]
    return found[0][0] if SIDE_WORDS.union({"in", "the", "a", "an"}).issuperset(rest) else None


def match_abnormalities(text: str) -> list[tuple[Abnormality, int, int]]:
    """The abnormalities that the text speaks of: (abnormality, start, end), characters [start, end), in text order.

    Longer names win, matches do not overlap, words match as wholes. What lies between the words of a name is part of
    the span ("stone in the left kidney"). A word such as "enlarged" counts where the organ beside it can have that
    finding: the organ after "in", else the nearest one. Negation is not looked at.
    """
    named = _name_index().find(text)
    taken = {place for match in named for place in range(match.first, match.last + 1)}
    found = [(match.value, match.start, match.end) for match in named]
    spoken_of = match_organs(text)
    for match in _word_index().find(text):
        if taken.isdisjoint(range(match.first, match.last + 1)):
            beside = {organ.name for organ in _organs_beside(match, spoken_of, text)}
            fitting = [abnormality for abnormality in match.value if beside.intersection(abnormality.organs)]
            found += [(abnormality, match.start, match.end) for abnormality in fitting[:1]]
    return sorted(found, key=lambda item: item[1])


def _organs_beside(
    match: Match[tuple[Abnormality, ...]], spoken_of: list[tuple[tuple[Organ, ...], int, int]], text: str
) -> tuple[Organ, ...]:
    text_tokens = tokens(text)
    goes_on_with_in = match.last + 1 < len(text_tokens) and text_tokens[match.last + 1].word == "in"
    after = [item for item in spoken_of if item[1] >= match.end]
    if goes_on_with_in and after:
        return after[0][0]
    near = min(spoken_of, key=lambda item: max(item[1] - match.end, match.start - item[2]), default=None)
    return near[0] if near else ()


@lru_cache(maxsize=1)
def _name_index() -> PhraseIndex[Abnormality]:
    def phrases() -> Iterator[tuple[str, Abnormality]]:
        for abnormality in ABNORMALITIES:
            yield from ((text, abnormality) for text in (abnormality.id, abnormality.name, *abnormality.synonyms))
        for abnormality in ABNORMALITIES:
            for text in (abnormality.name, *abnormality.synonyms):
                yield from ((variant, abnormality) for variant in _word_orders(text))

    return PhraseIndex(phrases())


def _word_orders(text: str) -> Iterator[str]:
    """The name with its organ as noun, adjective and behind "in": kidney stone, renal stone, stone in kidney."""
    words = folded(text)
    for noun, adjective in _ADJECTIVES.items():
        organ = folded(noun)
        if len(words) > 1 and words[0] in {*organ, adjective}:
            rest = " ".join(words[1:])
        elif len(words) > 2 and words[-2:] == ("in", *organ):
            rest = " ".join(words[:-2])
        else:
            continue
        yield from (f"{noun} {rest}", f"{adjective} {rest}", f"{rest} in {noun}")


@lru_cache(maxsize=1)
def _word_index() -> PhraseIndex[tuple[Abnormality, ...]]:
    meanings: dict[str, list[Abnormality]] = {}
    for abnormality in ABNORMALITIES:
        for word in abnormality.words_with_organ:
            meanings.setdefault(" ".join(folded(word)), []).append(abnormality)
    return PhraseIndex((word, tuple(abnormalities)) for word, abnormalities in meanings.items())
