"""What a question in plain words asks: which organs, which finding, on which side, and whether it is denied.

The way: clean -> `clauses.split_clauses` -> `negation.deny` -> here, the vocabulary and the catalogue. A finding that
the catalogue does not know is kept in the user's words and goes to the text encoder. Negation never does: it is taken
out of `phrase` and told in `negated`, since a text encoder places "no fatty liver" beside "fatty liver".
Rules and tables of our own rather than spaCy or medspaCy: a language model larger than this whole library would be a
heavy dependency for one-line questions, and a table can be read and mended. Guarded by Testing/Lib/test_questions.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from CTGLIPLib.abnormalities import Abnormality, abnormality_named, match_abnormalities
from CTGLIPLib.clauses import is_organ_alone, split_clauses
from CTGLIPLib.errors import InputError
from CTGLIPLib.negation import FILLERS, Clause, deny, has_content
from CTGLIPLib.organs import ORGANS, Side, match_organs, readable_name
from CTGLIPLib.phrases import PhraseIndex, tokens

MAX_CHARACTERS = 500
# An organ that is said to be missing, where the catalogue has that as a finding.
MISSING_ORGANS = {"gallbladder": "absent_gallbladder"}
# Words that place a finding more exactly than its organ: it then stays in the user's words.
EXACT_PLACES = frozenset({"segment"})
# Words that ask for whatever is not normal.
ANY_ABNORMALITY = frozenset({"abnormality", "abnormal", "wrong"})

_VOCABULARY = {organ.name: organ for organ in ORGANS}
_EXAMPLES = "Name an organ or a finding, such as 'left kidney', 'fatty liver' or 'stone in the left kidney'."
_REWRITES = (
    (re.compile(r"[\u2018\u2019\u02bc`\u00b4]"), "'"),
    (
        re.compile(r"^(is|are|was|were|does|do|has|have|could|can)n't\b", re.I),
        r"\1",
    ),  # "isn't there a cyst?" asks for it
    (re.compile(r"\bcan(not|'t)\b", re.I), "can not"),
    (re.compile(r"n't\b", re.I), " not"),
    (re.compile(r"\bw/o\b", re.I), "without"),
    (re.compile(r"\br/o\b", re.I), "rule out"),
    (re.compile(r"\b(\w+)-free\b", re.I), r"no \1"),
    (re.compile(r"\bnon-?(enlarged|dilated|calcified)\b", re.I), r"not \1"),
)


@dataclass(frozen=True)
class Question:
    """One thing that is asked.

    Attributes:
        text: the user's words for it.
        kind: "organ" asks where or whether an organ is, "finding" whether an organ shows something.
        finding: id in the catalogue; None for an organ, and for a finding that the catalogue does not know.
        phrase: what is asked, worded positively, for the text encoder.
        organs: names of the organs to look in, in the vocabulary's order.
        side: the one side that was asked for.
        negated: whether the text says that it is not there; asked positively all the same.
    """

    text: str
    kind: Literal["organ", "finding"]
    finding: str | None
    phrase: str
    organs: tuple[str, ...]
    side: Side | None = None
    negated: bool = False


@dataclass(frozen=True)
class _Spoken:
    """Organs in a clause: their names and where they stand."""

    organs: tuple[str, ...]
    start: int
    end: int


def parse_question(text: str, known_organs: Sequence[str]) -> tuple[Question, ...]:
    """The questions that a text asks, in its order.

    Args:
        text: one line in plain words.
        known_organs: the organs of the study, searched where the text names none; names outside the vocabulary can be
            asked for by their names.

    Raises:
        InputError: if the text is empty, longer than 500 characters, or asks nothing.
    """
    cleaned = _cleaned(text)
    clauses = _with_organ_before(deny(split_clauses(_rewritten(cleaned))), known_organs)
    questions = list(dict.fromkeys(q for clause in clauses for q in _questions_of(clause, known_organs)))
    if not questions:
        msg = f"Expected a question about an organ or a finding, got {cleaned!r}. {_EXAMPLES}"
        raise InputError(msg)
    return (replace(questions[0], text=cleaned),) if len(questions) == 1 else tuple(questions)


def _cleaned(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(c if c.isprintable() else " " for c in plain)
    plain = " ".join(plain.split())
    if len(plain) > MAX_CHARACTERS:
        msg = f"Expected a question of at most {MAX_CHARACTERS} characters, got {len(plain)}. Ask less at once."
        raise InputError(msg)
    if not tokens(plain):
        msg = f"Expected a question in words, got {'an empty text' if not plain else repr(plain)}. {_EXAMPLES}"
        raise InputError(msg)
    return plain


def _rewritten(text: str) -> str:
    for pattern, written in _REWRITES:
        text = pattern.sub(written, text)
    return text


def _with_organ_before(clauses: Sequence[Clause], known: Sequence[str]) -> list[Clause]:
    """The clauses, where one that names no organ takes that of the clause before, if it speaks of it.

    "gallbladder without stones" and "lungs: no nodules" speak of the organ before; "kidney stones and cysts" does so
    because the catalogue has cysts of the kidney; "left kidney and hemangioma" does not.
    """
    taken: list[Clause] = []
    for clause in clauses:
        before = taken[-1] if taken else None
        organ = _organ_words(before.text, known) if before else ""
        if before is None or not organ or _places(clause.text, known)[1]:
            taken.append(clause)
            continue
        placed = replace(clause, text=f"{clause.text} in the {organ}")
        alone = is_organ_alone(before.text) and not before.denials
        if alone and clause.joint in {"trigger", "colon"} and _fits(clause.text, placed.text):
            mark = ":" if clause.joint == "colon" else ""
            taken[-1] = replace(placed, joint=before.joint, said=f"{before.said}{mark} {clause.said}")
        elif not alone and clause.joint in {"and", "or", "comma"} and _becomes_known(clause.text, placed.text):
            taken.append(placed)
        else:
            taken.append(clause)
    return taken


def _fits(text: str, placed: str) -> bool:
    """Whether what the text finds can be in the organ that was added in `placed`."""
    organs = {organ.name for organ in match_organs(placed)[-1][0]} if match_organs(placed) else set()
    return all(organs & set(abnormality.organs) for abnormality, _, _ in match_abnormalities(text))


def _becomes_known(text: str, placed: str) -> bool:
    return not match_abnormalities(text) and bool(match_abnormalities(placed))


def _questions_of(clause: Clause, known: Sequence[str]) -> list[Question]:
    every, outside = _places(clause.text, known)
    spoken = outside or every
    found = match_abnormalities(clause.text)
    places = _unique(name for item in spoken for name in item.organs)
    side = _side(clause.text, spoken)
    rest = _rest(clause.text, [(item.start, item.end) for item in every])
    in_catalogue = {item.id: item for item, _, _ in found if not outside or set(places) & set(item.organs)}
    if in_catalogue and not EXACT_PLACES & _rest(clause.text, [(start, end) for _, start, end in found]):
        return [_finding(clause, item, places, side, known) for item in in_catalogue.values()]
    if found or rest:
        organs = places or _on_side(tuple(known), side)
        return [
            Question(clause.said, "finding", None, _phrase(clause.text), _asked(organs, known), side, clause.negated)
        ]
    return [_organ(clause, item, known) for item in spoken]


def _finding(
    clause: Clause, abnormality: Abnormality, places: Sequence[str], side: Side | None, known: Sequence[str]
) -> Question:
    organs = tuple(name for name in abnormality.organs if name in places) or abnormality.organs
    organs = _asked(_on_side(organs, side), known)
    return Question(clause.said, "finding", abnormality.id, abnormality.name, organs, side, clause.negated)


def _organ(clause: Clause, spoken: _Spoken, known: Sequence[str]) -> Question:
    side = _side(clause.text, [spoken])
    organs = _asked(_on_side(spoken.organs, side), known)
    name = organs[0] if len(organs) == 1 else ""
    if clause.negated and name in MISSING_ORGANS:
        return _finding(replace(clause, denials=0), abnormality_named(MISSING_ORGANS[name]), organs, side, known)
    phrase = readable_name(name) if name else clause.text[spoken.start : spoken.end]
    return Question(clause.said, "organ", None, phrase, organs, side, clause.negated)


def _spoken_organs(text: str, known: Sequence[str]) -> list[_Spoken]:
    """The organs that a text names: those of the vocabulary, and the study's own."""
    spoken = [_Spoken(tuple(o.name for o in organs), start, end) for organs, start, end in match_organs(text)]
    own = [name for name in known if name not in _VOCABULARY]
    for match in PhraseIndex((words, name) for name in own for words in (name, readable_name(name))).find(text):
        spoken = [item for item in spoken if item.end <= match.start or item.start >= match.end]
        spoken.append(_Spoken((match.value,), match.start, match.end))
    return sorted(spoken, key=lambda item: item.start)


def _places(text: str, known: Sequence[str]) -> tuple[list[_Spoken], list[_Spoken]]:
    """The organs that a text names, and those of them that are not words of a finding ("pulmonary nodule")."""
    spoken = _spoken_organs(text, known)
    found = [(start, end) for _, start, end in match_abnormalities(text)]
    return spoken, [item for item in spoken if not any(item.start < end and start < item.end for start, end in found)]


def _organ_words(text: str, known: Sequence[str]) -> str:
    """The words of the last organ in a text, with its side."""
    spoken = _spoken_organs(text, known)
    return text[spoken[-1].start : spoken[-1].end] if spoken else ""


def _side(text: str, spoken: Sequence[_Spoken]) -> Side | None:
    """The one side that a text asks for, by its own word or by its organs."""
    said = {
        word.word
        for word in tokens(text)
        if not any(item.start <= word.start and word.end <= item.end for item in spoken)
    }
    if said & {"both", "bilateral"}:
        return None
    organs = [_VOCABULARY[name] for item in spoken for name in item.organs if name in _VOCABULARY]
    sides: set[Side] = {organ.side for organ in organs if organ.side is not None}
    if len(sides) == 1 and all(organ.side is not None for organ in organs):
        return next(iter(sides))
    words: set[Side] = {side for side in _SIDES if side in said}
    return next(iter(words)) if len(words) == 1 else None


_SIDES: tuple[Side, Side] = ("left", "right")


def _on_side(organs: tuple[str, ...], side: Side | None) -> tuple[str, ...]:
    """The organs on that side; all of them where none has it."""
    chosen = tuple(name for name in organs if name in _VOCABULARY and _VOCABULARY[name].side == side)
    return chosen if side is not None and chosen else organs


def _asked(organs: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The organs to ask: those that the study has, and those it lacks though every TotalSegmentator version names them.

    A heart that version 2 segments whole is not told to lack its chambers; a missing right kidney is.
    """
    organs = tuple(organs)
    if not set(organs) & set(known):
        return organs
    return tuple(name for name in organs if name in known or _in_both_versions(name))


def _in_both_versions(name: str) -> bool:
    organ = _VOCABULARY.get(name)
    return organ is not None and organ.v1_id is not None and organ.v2_id is not None


def _rest(text: str, spans: Sequence[tuple[int, int]]) -> set[str]:
    """The words with content that lie outside the spans."""
    outside = [word for word in tokens(text) if not any(a <= word.start and word.end <= b for a, b in spans)]
    return {word.word for word in outside if has_content(word.word)}


def _phrase(text: str) -> str:
    """The text without the filler words at its ends ("is there a hemangioma" -> "hemangioma")."""
    if _rest(text, [(start, end) for _, start, end in match_organs(text)]) <= ANY_ABNORMALITY:
        return "abnormality"
    words = list(tokens(text))
    while words and words[0].word in FILLERS | {"in"}:
        words = words[1:]
    while words and words[-1].word in FILLERS | {"in"}:
        words = words[:-1]
    return text[words[0].start : words[-1].end]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
