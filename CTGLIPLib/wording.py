"""Results in plain words for people."""

from __future__ import annotations

from collections.abc import Sequence

from CTGLIPLib.results import OrganScore, QueryAnswer

STATE_WORDS: dict[str, str] = {
    "present": "present",
    "cut": "cut off by the scan's edge",
    "absent": "not in the segmentation",
    "too_small": "too small to score",
}


def answer_words(answer: QueryAnswer) -> str:
    """The whole answer in plain words, such as "found in the liver (score 0.87, threshold 0.50)"."""
    evidence = evidence_words(answer)
    return verdict_words(answer) + (f" ({evidence})" if evidence else "")


def verdict_words(answer: QueryAnswer) -> str:
    """The answer without its numbers, such as "found in the liver"."""
    best = answer.best
    if answer.answer == "unanswerable" or best is None:
        return f"cannot be answered: {_why_unanswerable(answer.organs)}"
    if answer.answer == "not_found":
        return f"not found{', as the text says' if answer.negated else ''}; closest: {best.readable}"
    if answer.kind == "organ" and best.organ not in answer.organs_asked:
        return f"no mask has that name; the mask that matches: {best.readable}"
    where = f": {best.readable}" if answer.kind == "organ" else f" in the {best.readable}"
    return f"found{where}{_others(answer)}{', although the text says that it is not there' if answer.negated else ''}"


def evidence_words(answer: QueryAnswer) -> str:
    """The best organ's numbers, such as "score 0.87, threshold 0.50"; empty where there are none."""
    best = answer.best
    if answer.answer == "unanswerable" or best is None:
        return ""
    if best.score is None:
        return f"similarity {best.similarity:.2f}"
    return f"score {best.score:.2f}" + ("" if answer.threshold is None else f", threshold {answer.threshold:.2f}")


def _others(answer: QueryAnswer) -> str:
    """How many more organs reach the threshold, such as " and 2 more organs"."""
    threshold = answer.threshold
    if threshold is None:
        return ""
    more = sum(organ.score is not None and organ.score >= threshold for organ in answer.organs) - 1
    if more < 1:
        return ""
    return f" and {more} more organ{'s' if more > 1 else ''}"


def _why_unanswerable(organs: Sequence[OrganScore]) -> str:
    if not organs:
        return "no organ of the segmentation belongs to the question"
    reasons = []
    for state, words in STATE_WORDS.items():
        names = [organ.readable for organ in organs if organ.state == state != "present"]
        if names:
            listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            reasons.append(f"{listed} {words}")
    return "; ".join(reasons) or "the organs asked were not scored"


def shortened(text: str, length: int) -> str:
    """The text on one line without control characters, at most `length` long, "..." for what is left out."""
    plain = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
    return plain if len(plain) <= length else plain[: max(length - 3, 0)].rstrip() + "..."
