"""Cutting a report into sentences, and a sentence into clauses that each make one statement.

A full stop ends a sentence also where the space behind it is missing, but not within a number, an abbreviation or a
segment's name; bullets, quotation marks and the ends of lines before a new beginning separate too. A comma separates
clauses where both sides have a verb of their own. Guarded by training/tests/test_pairs_sentences.py.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

LONGEST = 1500
"""Characters of a sentence; a longer text without full stops is cut, for reading time grows with the square."""
_ABBREVIATIONS = r"(?<!\bDr)(?<!\bvs)(?<!\bapprox)(?<!\be\.g)(?<!\bi\.e)(?<!\bFig)(?<!\bca)(?<!\bmax)(?<!\bmin)"
_SENTENCE_END = re.compile(
    rf"{_ABBREVIATIONS}\.(?!\d)(?=\s|[A-Z\u2022\u201c\u201d\"']|$)|(?<=[a-z\)])[.!](?=\d+[.)]?\s[A-Z])|\u2022+|"
    r"[\n\r]+(?=\s*(?:[-*]|\d|[A-Z]|$))|"
    r"\?(?=\s+[A-Z])|[\"\u201c\u201d]|\s\*\s|(?:^|\s)[-\u2013](?=\s*[A-Z])|;(?=\s*[A-Z])"
)
_SLASHED_DENIAL = re.compile(r"(?<=\w)\s+-\s+no\s+(?=\w)")
"""A denial of "this - no that" is of both."""
_REPORT_PART = re.compile(r"^(findings?|impressions?|results?|conclusions?|comments?|opinion)$", re.I)
_SECTION = re.compile(r"^((?:[\w&/-]+,? ){0,3}[\w&/-]+)\s*:\s+(?=\S)")
_MARK = re.compile(r"^[\s\-\u2013*.,:;)]*(?:\d{1,2}[.)]\s+)?|[\s\-\u2013*,:;(]+$")
_FINITE = re.compile(
    r"\b(is|are|was|were|has|have|had|shows?|showed|appears?|continues?|measures?|measured|reaches|extends?|contains?"
    r"|accompan(?:y|ies)|draws?|seems?|exists?|reveals?|revealed|demonstrates?)\b",
    re.I,
)
_BREAK = re.compile(
    r"\s*;\s*|\s*:\s+|,?\s+\b(?:but|however|although|though|while|whereas|except(?:\s+for)?|nevertheless)\b,?\s+"
    r"|\s+(?=\b(?:apart|aside)\s+from\b|\bother\s+than\b)"
    r"|,?\s+\band\s+(?=(?:there|no|it|its|the)\b)",
    re.I,
)
_COMMA = re.compile(r",\s+")
_STARTS_STATEMENT = re.compile(r"(?:and\s+)?(?:no|without|there|it)\b", re.I)


@dataclass(frozen=True)
class TextPart:
    """A piece of a text with its place in it, characters [start, end)."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """One past its last character."""
        return self.start + len(self.text)


def split_sentences(report: str) -> list[str]:
    """The sentences of a report, bullets removed, in order."""
    sentences = []
    last = 0
    for found in _SENTENCE_END.finditer(report):
        end = found.end() if found.group() in {".", "?", "!"} else found.start()
        sentences.append(report[last:end])
        last = found.end()
    sentences.append(report[last:])
    sentences = [_SLASHED_DENIAL.sub("-", sentence) for sentence in sentences]
    cleaned = (_MARK.sub("", " ".join(sentence.split())) for sentence in sentences)
    pieces = (piece for sentence in cleaned for piece in textwrap.wrap(sentence, LONGEST))
    return [piece for piece in pieces if re.search(r"[A-Za-z]{2}", piece)]


def split_heading(sentence: str) -> tuple[str, str]:
    """The heading of one to four words that a sentence begins with, empty where it has none, and the rest."""
    found = _SECTION.match(sentence)
    if found is None or _has_verb(found.group(1)):
        return "", sentence
    return found.group(1), sentence[found.end() :]


def is_report_part(text: str) -> bool:
    """Whether the text is the name of a part of a report ("Impression"), where no organ's section goes on."""
    return _REPORT_PART.match(text) is not None


def split_clauses(sentence: str) -> list[TextPart]:
    """The clauses of a sentence, in order; together they cover its statements."""
    clauses: list[TextPart] = []
    for part in _cut(sentence, _BREAK, 0):
        if clauses and _joined_by_and(sentence, part) and not (_has_verb(part.text) and _has_verb(clauses[-1].text)):
            clauses[-1] = TextPart(sentence[clauses[-1].start : part.end], clauses[-1].start)
        else:
            clauses += _cut_at_commas(part)
    return clauses


def _joined_by_and(sentence: str, part: TextPart) -> bool:
    return bool(re.search(r"\band\s+$", sentence[: part.start], re.I)) and not _STARTS_STATEMENT.match(part.text)


def _cut(text: str, pattern: re.Pattern[str], offset: int) -> list[TextPart]:
    parts, last = [], 0
    for found in pattern.finditer(text):
        parts.append(TextPart(text[last : found.start()], offset + last))
        last = found.end()
    parts.append(TextPart(text[last:], offset + last))
    return [part for part in parts if part.text.strip()]


def _cut_at_commas(part: TextPart) -> list[TextPart]:
    """The part cut where a statement begins: a piece without verb belongs to the next one, else to the one before."""
    clauses: list[TextPart] = []
    complete = True
    for piece in _cut(part.text, _COMMA, part.start):
        starts = _STARTS_STATEMENT.match(piece.text) is not None
        if clauses and not starts and not (complete and _has_verb(piece.text)):
            first = clauses[-1].start
            clauses[-1] = TextPart(part.text[first - part.start : piece.end - part.start], first)
        else:
            clauses.append(piece)
        complete = _has_verb(clauses[-1].text)
    return clauses


def _has_verb(text: str) -> bool:
    return _FINITE.search(text) is not None
