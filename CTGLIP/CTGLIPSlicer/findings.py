"""Answers as rows of the findings table, every organ asked in one, those that were not measured too.

An organ that is asked for and has no mask was compared with every mask there is: then only the organ itself and the
masks that come closest are rows (test_findings: `an organ without a mask comes first, then the closest masks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from CTGLIPLib.results import Answer, OrganScore, OrganState, QueryAnswer, QueryResult

CLOSEST = 3
"""Masks shown for an organ that has none of its own."""


@dataclass(frozen=True)
class FindingRow:
    """One question and one organ.

    Attributes:
        question: the question as it was asked, or the part of it that this row answers.
        organ: the organ's name for people; empty in the row of a question that no organ belongs to.
        side: "left", "right" or empty.
        score: calibrated probability; None where the organ was not scored.
        similarity: cosine; None where it was not measured.
        state: how the organ lies in the scan, in words.
        answer: whether it was found in this organ, in words.
        volumeMl: None where the organ is not in the scan.
        questionIndex: number of the answer in the result, from 0.
        organName: the organ's name in the segmentation, such as "kidney_left"; empty as `organ`.
        centroidRas: RAS mm; None where there is no mask.
        answerCode: the same as `answer` for programs.
        stateCode: the same as `state` for programs; empty as `organ`.
    """

    question: str
    organ: str
    side: str
    score: float | None
    similarity: float | None
    state: str
    answer: str
    volumeMl: float | None
    questionIndex: int
    organName: str
    centroidRas: tuple[float, float, float] | None
    answerCode: Answer
    stateCode: OrganState | str


def rowsOf(result: QueryResult) -> list[FindingRow]:
    """Rows of all questions, in their order; within a question the organ that matches best comes first."""
    rows: list[FindingRow] = []
    for index, answer in enumerate(result.queries):
        question = questionOf(result, index)
        rows += [_row(question, index, answer, organ) for organ in _shown(answer)] or [
            _rowWithoutOrgan(question, index)
        ]
    return rows


def questionOf(result: QueryResult, index: int) -> str:
    """The question as it was asked; the part of it that this answer is for, where it asked several things."""
    answer = result.queries[index]
    parts = sum(other.text == answer.text for other in result.queries)
    return answer.phrase if parts > 1 and answer.phrase else answer.text


def answerWords(code: str) -> str:
    """An answer's code in words."""
    words = {"found": _("found"), "not_found": _("asked, not found"), "unanswerable": _("cannot be answered")}
    return words[code]


def stateWords(code: str) -> str:
    """A state's code in words."""
    words = {
        "present": _("present"),
        "cut": _("cut off by the scan's edge"),
        "absent": _("not in the segmentation"),
        "too_small": _("too small to score"),
        "": _("no organ of the segmentation belongs to the question"),
    }
    return words[code]


def _shown(answer: QueryAnswer) -> list[OrganScore]:
    """The organs of an answer that are rows, in their order."""
    if not _isSearch(answer):
        return list(answer.ranked)
    asked = [organ for organ in answer.organs if organ.organ in answer.organs_asked]
    others = [organ for organ in answer.ranked if organ.is_scored and organ not in asked]
    return [*asked, *others[:CLOSEST]]


def _isSearch(answer: QueryAnswer) -> bool:
    """Whether an organ without a mask was looked for among the masks of others."""
    return answer.kind == "organ" and any(organ.organ not in answer.organs_asked for organ in answer.organs)


def _isOtherMask(answer: QueryAnswer, organ: OrganScore) -> bool:
    """Whether a mask under another name was compared with an organ that has no mask of its own."""
    return _isSearch(answer) and organ.organ not in answer.organs_asked and organ.is_scored


def _otherMaskWords(code: str) -> str:
    return _("matching mask") if code == "found" else _("closest mask")


def _row(question: str, index: int, answer: QueryAnswer, organ: OrganScore) -> FindingRow:
    code = _answerOf(answer, organ)
    return FindingRow(
        question=question,
        organ=organ.readable,
        side=_side(organ.organ),
        score=organ.score,
        similarity=organ.similarity,
        state=stateWords(organ.state),
        answer=_otherMaskWords(code) if _isOtherMask(answer, organ) else answerWords(code),
        volumeMl=None if organ.state == "absent" else organ.volume_ml,
        questionIndex=index,
        organName=organ.organ,
        centroidRas=organ.centroid_ras_mm,
        answerCode=code,
        stateCode=organ.state,
    )


def _rowWithoutOrgan(question: str, index: int) -> FindingRow:
    return FindingRow(
        question=question,
        organ="",
        side="",
        score=None,
        similarity=None,
        state=stateWords(""),
        answer=answerWords("unanswerable"),
        volumeMl=None,
        questionIndex=index,
        organName="",
        centroidRas=None,
        answerCode="unanswerable",
        stateCode="",
    )


def _answerOf(answer: QueryAnswer, organ: OrganScore) -> Answer:
    """The answer of one organ: that of the question where no threshold applies, as for an organ that has a mask.

    An organ that was asked for and is not in the segmentation was asked and not found, whatever other masks answered.
    """
    if not organ.is_scored:
        asked = answer.kind == "organ" and organ.organ in answer.organs_asked and organ.state == "absent"
        return "not_found" if asked else "unanswerable"
    if answer.threshold is None or organ.score is None:
        return answer.answer
    return "found" if organ.score >= answer.threshold else "not_found"


def _side(organName: str) -> str:
    """The side of what the body has on both sides; a left atrium has no twin and so no side."""
    sides = _knownSides()
    if organName in sides:
        return sides[organName]
    words = organName.lower().replace("_", " ").split()
    return next((side for side in ("left", "right") if side in words), "")


@lru_cache(maxsize=1)
def _knownSides() -> dict[str, str]:
    from CTGLIPLib.organs import ORGANS

    return {organ.name: organ.side or "" for organ in ORGANS}
