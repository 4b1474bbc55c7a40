"""Finding the phrases of a vocabulary in free text, whatever their case, number, spelling or word order.

Words are compared after folding: lower case, singular, American spelling, "of", "in", "within" and "inside" alike.
Between the words of a phrase the text may hold articles and side words: "stone in the left kidney" holds the phrase
"stone in kidney". (Testing/Lib/test_phrases.py)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

Value = TypeVar("Value")

SIDE_WORDS = frozenset({"left", "right", "both", "bilateral", "either", "each"})
_ARTICLES = frozenset({"the", "a", "an"})

_WORD = re.compile(r"[^\W_]+")
_LIKE_IN = frozenset({"of", "in", "within", "inside"})
_AMERICAN = (
    ("haem", "hem"),
    ("aemi", "emi"),
    ("oesoph", "esoph"),
    ("oedem", "edem"),
    ("tumour", "tumor"),
    ("caec", "cec"),
    ("coelia", "celia"),
    ("centre", "center"),
    ("fibre", "fiber"),
    ("calibre", "caliber"),
    ("grey", "gray"),
    ("diarrhoea", "diarrhea"),
)
_SINGULAR = {
    "calculi": "calculus",
    "thrombi": "thrombus",
    "emboli": "embolus",
    "bronchi": "bronchus",
    "vertebrae": "vertebra",
    "scapulae": "scapula",
    "bullae": "bulla",
    "costae": "costa",
    "atria": "atrium",
    "diverticula": "diverticulum",
    "femora": "femur",
    "humeri": "humerus",
    "metastases": "metastasis",
    "stenoses": "stenosis",
    "diagnoses": "diagnosis",
    "sacra": "sacrum",
    "sterna": "sternum",
    "bilaterally": "bilateral",
    "axes": "axis",
}


@dataclass(frozen=True)
class Token:
    """One word of a text: folded, with its place in the text as characters [start, end)."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Match(Generic[Value]):
    """A phrase found in a text.

    Attributes:
        value: what the phrase stands for.
        start: first character.
        end: one past the last character.
        first: index of the phrase's first token in the text.
        last: index of the phrase's last token.
        words: how many words the phrase has (words that only come between are not counted).
    """

    value: Value
    start: int
    end: int
    first: int
    last: int
    words: int


@lru_cache(maxsize=8192)
def fold(word: str) -> str:
    """The word in the form in which words are compared."""
    word = word.lower()
    if word in _LIKE_IN:
        return "in"
    for british, american in _AMERICAN:
        word = word.replace(british, american)
    if word in _SINGULAR:
        return _SINGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def tokens(text: str) -> tuple[Token, ...]:
    """The folded words of a text; underscores, hyphens and punctuation divide words."""
    return tuple(Token(fold(found.group()), found.start(), found.end()) for found in _WORD.finditer(text))


def folded(text: str) -> tuple[str, ...]:
    """The folded words of a text, without their places."""
    return tuple(token.word for token in tokens(text))


class PhraseIndex(Generic[Value]):
    """Phrases, each standing for a value; the first value given for a phrase is kept."""

    def __init__(self, phrases: Iterable[tuple[str, Value]]) -> None:
        self._values: dict[tuple[str, ...], Value] = {}
        for text, value in phrases:
            words = folded(text)
            if words:
                self._values.setdefault(words, value)
        self._by_first_word: dict[str, list[tuple[str, ...]]] = {}
        for words in self._values:
            self._by_first_word.setdefault(words[0], []).append(words)

    def exactly(self, text: str) -> Value | None:
        """The value of the phrase that is the whole text, leaving a leading article aside."""
        words = folded(text)
        if words and words[0] in _ARTICLES:
            words = words[1:]
        return self._values.get(words)

    def whole(self, text: str) -> Value | None:
        """The value of the longest phrase that spans the whole text, with words that may come between."""
        text_tokens = tokens(text)
        first = 0
        while first < len(text_tokens) and _may_come_between(text_tokens, first):
            first += 1
        matches = [match for match in self._matches_at(text_tokens, first) if match.last == len(text_tokens) - 1]
        return max(matches, key=lambda match: match.words).value if matches else None

    def find(self, text: str) -> list[Match[Value]]:
        """The phrases found in the text, in text order: longer phrases first take their words, none overlap."""
        text_tokens = tokens(text)
        every = [match for first in range(len(text_tokens)) for match in self._matches_at(text_tokens, first)]
        every.sort(key=lambda match: (-match.words, match.last - match.first, match.first))
        taken: set[int] = set()
        kept: list[Match[Value]] = []
        for match in every:
            span = range(match.first, match.last + 1)
            if taken.isdisjoint(span):
                taken.update(span)
                kept.append(match)
        return sorted(kept, key=lambda match: match.first)

    def _matches_at(self, text_tokens: tuple[Token, ...], first: int) -> Iterator[Match[Value]]:
        if first >= len(text_tokens):
            return
        for words in self._by_first_word.get(text_tokens[first].word, ()):
            last = _last_token(words, text_tokens, first)
            if last is not None:
                yield Match(
                    self._values[words], text_tokens[first].start, text_tokens[last].end, first, last, len(words)
                )


def _last_token(words: tuple[str, ...], text_tokens: tuple[Token, ...], first: int) -> int | None:
    place = first
    for word in words[1:]:
        place += 1
        while place < len(text_tokens) and text_tokens[place].word != word:
            if not _may_come_between(text_tokens, place):
                return None
            place += 1
        if place == len(text_tokens):
            return None
    return place


def _may_come_between(text_tokens: tuple[Token, ...], place: int) -> bool:
    word = text_tokens[place].word
    joins_sides = word in {"and", "or"} and place > 0 and text_tokens[place - 1].word in SIDE_WORDS
    return joins_sides or word in _ARTICLES or word in SIDE_WORDS
