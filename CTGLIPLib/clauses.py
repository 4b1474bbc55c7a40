"""Cutting a question into clauses that each ask one thing, with organ and side said once given to all they speak of.

"cyst or stone in the left kidney" asks for a cyst in the left kidney and for a stone in the left kidney; "liver and
spleen are normal" speaks of both. Clauses still hold their negation. Guarded by Testing/Lib/test_questions.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from CTGLIPLib.abnormalities import match_abnormalities
from CTGLIPLib.negation import Clause, has_content
from CTGLIPLib.organs import match_organs
from CTGLIPLib.phrases import SIDE_WORDS, Token, tokens

# Words between two clauses -> how they join them.
_CONJUNCTIONS = {
    "and": "and",
    "plus": "and",
    "or": "or",
    "versus": "or",
    "vs": "or",
    "nor": "or",
    "but": "but",
    "however": "but",
    "although": "but",
    "though": "but",
    "except": "but",
    "while": "but",
    "whereas": "but",
    "yet": "but",
}
_STARTS_CLAUSE = {"nor"}  # they also deny what follows: they stay in their clause
_PUNCTUATION = ((re.compile(r"[?!;]|\.\s"), "stop"), (re.compile(r":"), "colon"), (re.compile(r"/"), "or"))
_COMMA = re.compile(r"[,()\[\]]|\s[-\u2013\u2014]+\s|\u2014")
_COPULA = re.compile(r"\s*(is|are|was|were|look|looks|appear|appears|show|shows|has|have|both|with|without)\b", re.I)
_SIDE_AT_END = re.compile(
    r"\b(on|at|in|to)\s+(the\s+|both\s+)?(left|right|sides|both sides)(\s+(hand\s+)?side)?\W*$", re.I
)
_ADJECTIVE_AT_END = re.compile(r"^.*\b(normal|unremarkable|healthy|intact|clear|abnormal|enlarged|large|big)\s+$", re.I)
_LISTED = {"and", "or", "comma"}


def split_clauses(text: str) -> list[Clause]:
    """The clauses of a question, in order."""
    clauses = _with_sides_joined(_cut(text))
    clauses = _with_predicate_shared(clauses)
    clauses = _with_place_shared(clauses)
    return _with_head_shared(clauses)


def is_organ_alone(text: str) -> bool:
    """Whether the text names organs, with no more than filler and side words around them."""
    organs = match_organs(text)
    return bool(organs) and not has_content(_outside(text, organs)) and not match_abnormalities(text)


def place_at_end(text: str) -> str:
    """The "in the left kidney" or "on the left" that ends the text, else nothing."""
    organs = match_organs(text)
    words = tokens(text)
    if organs and words and organs[-1][2] >= words[-1].end:
        before = [word for word in words if word.end <= organs[-1][1]]
        while before and before[-1].word in {"the", "a", "an", *SIDE_WORDS}:
            before = before[:-1]
        if before and before[-1].word in {"in", "on", "at", "near", "around"}:
            return text[before[-1].start :]
    side = _SIDE_AT_END.search(text)
    return side.group() if side else ""


def _outside(text: str, spans: Sequence[tuple[object, int, int]]) -> str:
    return " ".join(
        word.word for word in tokens(text) if not any(a <= word.start and word.end <= b for _, a, b in spans)
    )


def _cut(text: str) -> list[Clause]:
    words = tokens(text)
    clauses: list[Clause] = []
    joint, first = "start", 0
    protected = _named_with_and(text)
    for index, word in enumerate(words):
        between = _joint_of(text[words[index - 1].end : word.start]) if index else ""
        conjunction = "" if _is_inside(words, index, protected) else _CONJUNCTIONS.get(word.word, "")
        if not (between or conjunction):
            continue
        if index > first:
            clauses.append(Clause(text[words[first].start : words[index - 1].end], joint))
            joint = between or conjunction
        if conjunction:
            joint = conjunction
        first = index + 1 if conjunction and word.word not in _STARTS_CLAUSE else index
    if first < len(words):
        clauses.append(Clause(text[words[first].start : words[-1].end], joint))
    return clauses


def _joint_of(gap: str) -> str:
    for pattern, joint in _PUNCTUATION:
        if pattern.search(gap):
            return joint
    return "comma" if _COMMA.search(gap) else ""


def _is_inside(words: Sequence[Token], index: int, protected: Sequence[tuple[int, int]]) -> bool:
    """Whether the conjunction stands between two sides, or within a name."""
    sides = 0 < index < len(words) - 1 and {words[index - 1].word, words[index + 1].word} <= {"left", "right"}
    return sides or any(start <= words[index].start < end for start, end in protected)


def _named_with_and(text: str) -> list[tuple[int, int]]:
    """Where names stand that have an "and" ("portal vein and splenic vein", "true and false lumen")."""
    organs = [
        (start, end) for organs, start, end in match_organs(text) if any(" and " in organ.readable for organ in organs)
    ]
    findings = [
        (start, end)
        for finding, start, end in match_abnormalities(text)
        if any(" and " in name for name in (finding.name, *finding.synonyms))
    ]
    return [(start, end) for start, end in organs + findings if " and " in text[start:end].lower()]


def _with_sides_joined(clauses: Sequence[Clause]) -> list[Clause]:
    """A clause of side words alone ("pleural effusion, right") joins the one before it."""
    joined: list[Clause] = []
    for clause in clauses:
        words = {word.word for word in tokens(clause.text)}
        if joined and words & SIDE_WORDS and not has_content(clause.text):
            joined[-1] = replace(joined[-1], text=f"{joined[-1].text} {clause.text}")
        else:
            joined.append(clause)
    return joined


def _with_predicate_shared(clauses: Sequence[Clause]) -> list[Clause]:
    """What is said of the last organ of a list is said of all: "liver and spleen are normal"."""
    shared = list(clauses)
    for index in range(len(shared) - 1, 0, -1):
        here, before = shared[index], shared[index - 1]
        organs = match_organs(here.text)
        predicate = here.text[organs[0][2] :] if organs else ""
        starts_with_organ = bool(organs) and not has_content(here.text[: organs[0][1]])
        if here.joint in _LISTED and starts_with_organ and _COPULA.match(predicate) and is_organ_alone(before.text):
            shared[index - 1] = replace(before, text=before.text + predicate)
    return shared


def _with_place_shared(clauses: Sequence[Clause]) -> list[Clause]:
    """The place at the end of a list is that of all its findings: "cyst or stone in the left kidney"."""
    shared = list(clauses)
    for index in range(len(shared) - 1, 0, -1):
        here, before = shared[index], shared[index - 1]
        place = place_at_end(here.text)
        if here.joint not in _LISTED or not place or not _takes_place(before.text, place):
            continue
        if here.joint == "comma" and not _goes_on(shared[index + 1 :]):
            continue
        shared[index - 1] = replace(before, text=f"{before.text} {place}")
    return shared


def _goes_on(later: Sequence[Clause]) -> bool:
    return bool(later) and later[0].joint in {"and", "or"}


def _takes_place(text: str, place: str) -> bool:
    """Whether a finding without a place of its own can be where `place` says."""
    if not match_organs(place):
        return not SIDE_WORDS & {word.word for word in tokens(text)} and not is_organ_alone(text)
    if match_organs(text):
        return False
    there = {organ.name for organs, _, _ in match_organs(place) for organ in organs}
    return all(there & set(abnormality.organs) for abnormality, _, _ in match_abnormalities(text))


def _with_head_shared(clauses: Sequence[Clause]) -> list[Clause]:
    """What is said before the first organ of a list is said of all: "cyst in the liver or spleen"."""
    shared: list[Clause] = []
    for clause in clauses:
        head = _shared_head(shared[-1].text) if shared else ""
        if head and clause.joint in {"and", "or"} and is_organ_alone(clause.text):
            organ = re.sub(r"^\W*(in|of|on|at)\b\s*", "", clause.text, flags=re.IGNORECASE)
            shared.append(replace(clause, text=f"{head}{organ}"))
        else:
            shared.append(clause)
    return shared


def _shared_head(text: str) -> str:
    """The words before the organ that may be said of a further organ too."""
    place = place_at_end(text)
    if place and match_organs(place):
        head = text[: -len(place)]
        return f"{head}in the " if has_content(head) else ""
    organs = match_organs(text)
    adjective = _ADJECTIVE_AT_END.search(text[: organs[0][1]]) if len(organs) == 1 else None
    return f"{adjective.group()}" if adjective else ""
