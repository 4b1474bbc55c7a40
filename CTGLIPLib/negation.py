"""Negation in a question: which of its pieces say that something is not there.

In the manner of NegEx (Chapman et al. 2001): a table of trigger phrases, and a scope that ends at a stop, at
"but", at the next trigger or at a clause with a verb of its own. A trigger speaks of what follows it, or, where nothing
follows, of what comes before it ("gallstones were not seen"). Two triggers on the same words cancel ("not without").
Guarded by Testing/Lib/test_questions.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from CTGLIPLib.abnormalities import match_abnormalities
from CTGLIPLib.phrases import SIDE_WORDS, PhraseIndex, Token, folded, tokens

# Phrase -> what it says is missing ("" where the following or preceding words say so).
TRIGGERS: dict[str, str] = dict.fromkeys(
    (
        "no", "not", "never", "none", "nil", "without", "neither", "nor", "denies", "denied", "deny",
        "denying", "negative", "negative for", "negates", "absent", "absence", "absence of", "lack", "lack of", "lacks",
        "lacking", "free", "free of", "free from", "devoid of", "clear of", "rule out", "rules out", "ruled out",
        "ruling out", "exclude", "excludes", "excluded", "excluding", "exclusion of", "fails to show", "failed to show",
        "failed to reveal", "fails to reveal", "unlikely", "resolved", "disappeared",
    ),
    "",
)  # fmt: skip
TRIGGERS |= dict.fromkeys(
    ("normal", "nothing", "unremarkable", "healthy", "intact", "within normal limits", "clear", "inconspicuous"),
    "abnormality",
)
TRIGGERS |= dict.fromkeys(
    ("normal size", "normal sized", "normal in size", "of normal size", "not increased in size"), "enlarged"
)
TRIGGERS |= dict.fromkeys(
    ("normal caliber", "normal in caliber", "of normal caliber", "normal diameter", "normal width"), "dilated"
)
# Phrases that hold a trigger word but deny nothing: they are left out, and what they speak of is there.
NOT_TRIGGERS = (
    "not only", "not just", "no doubt", "no change in", "no significant change in", "no increase in", "no decrease in",
    "no improvement of", "no progression of",
)  # fmt: skip
# Words in which a trigger word is part of a finding's name.
KEPT = (
    "clear cell",
    "normal pressure",
    "normal variant",
    "free floating",
    "free wall",
    "free edge",
    "free air",
    "free fluid",
)
# Words that say nothing by themselves, in questions and around triggers.
FILLERS = frozenset(
    folded(
        "a an the is are was were be been being am there here any anything some something evidence sign signs "
        "indication of on at to for by with has have had having do does did done show shows shown showing see sees "
        "seen find found finding findings look looks looking like please me my our your his her their patient "
        "patients what where which who how why whether if about can could would should may might will you we i it its "
        "this that these those scan scans ct image images study question present visible identified detected noted "
        "demonstrated evident apparent appreciated visualized visualised suggestion suspicion suspected suggest "
        "suggests suggesting suggestive and or as well also both either appears appear contains contain containing "
        "tell check possible probable likely hand side sided s t so very quite really actually ok hello hi thanks "
        "from still yet now then than just only definite definitely obvious significant all exactly "
    )
)
_EMPTY = FILLERS | SIDE_WORDS | {"in"}
VERBS = frozenset({"is", "are", "was", "were", "ha", "has", "have", "show", "shows", "look", "appear", "contain"})

_TABLE: dict[tuple[str, ...], tuple[str, int]] = {
    **{folded(phrase): (extra, 1) for phrase, extra in TRIGGERS.items()},
    **{folded(phrase): ("", 0) for phrase in NOT_TRIGGERS},
}
_LONGEST = max(len(words) for words in _TABLE)
_KEPT = PhraseIndex((phrase, phrase) for phrase in KEPT)


@dataclass(frozen=True)
class Clause:
    """One piece of a question.

    Attributes:
        text: its words, negation removed once it went through `deny`.
        joint: what joins it to the piece before it: "start", "stop", "but", "comma", "colon", "and", "or", "trigger".
        said: the words of the user, negation included.
        denials: how many triggers speak of it.
        spreads: whether the triggers speak of what "and" and "or" join to it as well.
    """

    text: str
    joint: str
    said: str = ""
    denials: int = 0
    spreads: bool = True

    @property
    def negated(self) -> bool:
        """Whether the piece says that its finding or organ is not there."""
        return self.denials % 2 == 1


def deny(clauses: Sequence[Clause]) -> list[Clause]:
    """The clauses with triggers taken out of their texts, counted, and spread over their scope."""
    pieces: list[Clause] = []
    for clause in clauses:
        for piece in _without_triggers(clause):
            if has_content(piece.text):
                pieces.append(piece)
            elif pieces and piece.denials and piece.joint not in {"stop", "but"}:
                before = pieces[-1]
                said = f"{before.said} {piece.said}".strip()
                denials = before.denials + piece.denials
                pieces[-1] = replace(before, said=said, denials=denials, spreads=False)
                _spread_back(pieces)
    return _spread_forward(pieces)


def has_content(text: str) -> bool:
    """Whether the text says more than numbers, filler and side words."""
    return any(token.word not in _EMPTY and not token.word.isdigit() for token in tokens(text))


def _without_triggers(clause: Clause) -> list[Clause]:
    """The clause without its triggers, cut before each trigger that comes after words with content."""
    pieces = [replace(clause, text="")]
    for said, phrase in _runs(clause.text):
        extra, denials = _TABLE[phrase] if phrase else (said, 0)
        if denials and has_content(pieces[-1].text):
            pieces.append(Clause("", "trigger"))
        last = pieces[-1]
        pieces[-1] = replace(
            last,
            text=f"{last.text} {extra}".strip(),
            said=f"{last.said} {said}".strip(),
            denials=last.denials + denials,
            spreads=last.spreads and not (phrase and extra),
        )
    return pieces


def _runs(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The text as runs of (words, ()) and (trigger, its folded words), in order."""
    words = tokens(text)
    kept = _kept_tokens(text, words)
    first = index = 0
    while index < len(words):
        length = _trigger_length(words, index, kept)
        if length == 0:
            index += 1
            continue
        if index > first:
            yield text[words[first].start : words[index - 1].end], ()
        phrase = words[index : index + length]
        yield text[phrase[0].start : phrase[-1].end], tuple(token.word for token in phrase)
        index += length
        first = index
    if index > first:
        yield text[words[first].start : words[-1].end], ()


def _trigger_length(words: Sequence[Token], index: int, kept: set[int]) -> int:
    """How many words the longest trigger at `index` has; 0 where there is none."""
    for length in range(min(_LONGEST, len(words) - index), 0, -1):
        place = range(index, index + length)
        if kept.isdisjoint(place) and tuple(words[i].word for i in place) in _TABLE:
            return length
    return 0


def _kept_tokens(text: str, words: Sequence[Token]) -> set[int]:
    """The tokens that belong to a finding's name, where no trigger is looked for ("absent gallbladder")."""
    spans = [(start, end) for _, start, end in match_abnormalities(text)]
    spans += [(match.start, match.end) for match in _KEPT.find(text)]
    return {i for i, word in enumerate(words) for start, end in spans if start <= word.start and word.end <= end}


def _spread_back(pieces: list[Clause]) -> None:
    """Let a trigger behind the last piece deny the pieces that "and" and "or" join to it as well."""
    for index in range(len(pieces) - 1, 0, -1):
        if pieces[index].joint not in {"and", "or"} or pieces[index - 1].denials:
            return
        pieces[index - 1] = replace(pieces[index - 1], denials=pieces[index].denials)


def _spread_forward(pieces: list[Clause]) -> list[Clause]:
    """Let a trigger deny the pieces that "and", "or", or a list that "or" closes, join to its own."""
    spread: list[Clause] = []
    for index, piece in enumerate(pieces):
        joined = piece.joint in {"and", "or"} or (piece.joint == "comma" and _list_ends_with_or(pieces[index:]))
        own_verb = any(token.word in VERBS for token in tokens(piece.text))
        inherits = bool(spread) and joined and not piece.denials and not own_verb and spread[-1].spreads
        spread.append(replace(piece, denials=spread[-1].denials) if inherits else piece)
    return spread


def _list_ends_with_or(pieces: Sequence[Clause]) -> bool:
    later = next((piece.joint for piece in pieces if piece.joint != "comma"), "")
    return later == "or"
