"""What a one-page report says, as values; report_layout fits it onto the page.

"Asked, not found" and "cut off by the scan's edge" are said in the table, never left out (test_report: `what was asked
and not found is a row in plain words`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from CTGLIPLib.results import NOTICE, QueryAnswer, QueryResult
from CTGLIPLib.study import StudyEmbedding
from CTGLIPLib.wording import STATE_WORDS, shortened, verdict_words

WARNING = f"{NOTICE[0].upper()}{NOTICE[1:]}. Not for diagnosis or treatment."
COLUMNS = ("Question", "Answer", "Organ", "Score", "Threshold", "State", "Volume ml")
NUMBERS = ("Score", "Threshold", "Volume ml")
MOST_PICTURES, FEWEST_PICTURES = 4, 2
MOST_WARNINGS, LONGEST_WARNING = 3, 170
MOST_NAMES = 4
"""So many organs are named in a row's note."""


@dataclass(frozen=True)
class ReportRow:
    """One question and its answer.

    Attributes:
        cells: what each column of `COLUMNS` says.
        answer: found, not_found or unanswerable.
        note: which of the organs asked could not be seen whole; a line below the cells, or empty.
    """

    cells: tuple[str, ...]
    answer: str
    note: str = ""


@dataclass(frozen=True)
class ReportPage:
    """The texts of a report.

    Attributes:
        title: the heading.
        facts: name and value of each line about scan, organs, model and date.
        warnings: what the reader should know about the scan.
        rows: one for each question.
        pictured: the answers worth a picture, best first.
        meaning: what the scores mean.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    pictured: tuple[QueryAnswer, ...]
    meaning: str


def report_page(study: StudyEmbedding, result: QueryResult, now: datetime | None = None) -> ReportPage:
    """What the report of a query says.

    Args:
        study: the encoded scan.
        result: its answers.
        now: when the report is made; None is now.
    """
    date = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return ReportPage(
        title=f"CT-GLIP report: {shortened(result.study.name, 60)}",
        facts=_facts(study, result, date),
        warnings=_warnings(result.study.warnings),
        rows=tuple(map(_row, result.queries)),
        pictured=_worth_a_picture(result),
        meaning=_meaning(study),
    )


def caption(answer: QueryAnswer) -> str:
    """The text below an answer's picture."""
    best = answer.best
    told = [f'"{answer.text}"', _plain_verdict(answer)]
    if best is not None:
        told += ["no score" if best.score is None else f"score {best.score:.2f}", f"views through: {best.readable}"]
    return " | ".join([*told, "colours: score, 0 to 1" if best and best.score is not None else "colours: similarity"])


def _facts(study: StudyEmbedding, result: QueryResult, date: datetime) -> tuple[tuple[str, str], ...]:
    scan = result.study
    shape = " x ".join(map(str, scan.shape_ijk))
    spacing = " x ".join(f"{value:.3g}" for value in scan.spacing_mm)
    size = " x ".join(f"{high - low:.0f}" for low, high in scan.extent_ras_mm)
    organs = f"{len(study.organs)} from {result.segmentation.source}"
    return (
        ("Scan", scan.name),
        ("Size", f"{shape} voxels of {spacing} mm; {size} mm (R-L, A-P, S-I)"),
        ("Orientation", scan.orientation),
        ("Organs", organs),
        ("Model", f"{result.model.name} (SHA-256 {result.model.sha256[:12]})"),
        ("Calibration", study.score.calibrated_on or "none: scores are not probabilities of disease"),
        ("Report of", f"{date:%Y-%m-%d %H:%M} UTC"),
    )


def _warnings(warnings: tuple[str, ...]) -> tuple[str, ...]:
    shown = [shortened(warning, LONGEST_WARNING) for warning in warnings[:MOST_WARNINGS]]
    more = len(warnings) - MOST_WARNINGS
    return (*shown, f"... and {more} more, in findings.json.") if more > 0 else tuple(shown)


def _row(answer: QueryAnswer) -> ReportRow:
    best = answer.best
    cells = (
        answer.text,
        _plain_verdict(answer),
        _organ(answer),
        _decimals(best.score if best else None),
        _decimals(answer.threshold),
        _state(answer),
        f"{best.volume_ml:.1f}" if best else "-",
    )
    return ReportRow(cells, answer.answer, _note(answer))


def _plain_verdict(answer: QueryAnswer) -> str:
    """The verdict in words; what is not there is said to have been asked for. The organ has a column of its own."""
    words = verdict_words(answer)
    return f"asked, {words.partition('; closest')[0]}" if answer.answer == "not_found" else words


def _organ(answer: QueryAnswer) -> str:
    if answer.best is None:
        return "-"
    return f"closest: {answer.best.readable}" if answer.answer == "not_found" else answer.best.readable


def _state(answer: QueryAnswer) -> str:
    """The state of the best organ, or of the organs asked where none could be scored."""
    if answer.best is not None:
        return STATE_WORDS[answer.best.state]
    states = {STATE_WORDS[organ.state] for organ in answer.organs}
    return states.pop() if len(states) == 1 else "-"


def _note(answer: QueryAnswer) -> str:
    """The organs asked, the best apart, that are missing, cut or too small."""
    if answer.best is None:  # the answer itself says why
        return ""
    others = [organ for organ in answer.organs if organ.organ in answer.organs_asked and organ is not answer.best]
    told = []
    for state, words in STATE_WORDS.items():
        names = [organ.readable for organ in others if organ.state == state]
        if names and state != "present":
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            told.append(f"{', '.join(names[:MOST_NAMES])}{more} {words}")
    return f"Of the organs asked: {'; '.join(told)}." if told else ""


def _worth_a_picture(result: QueryResult) -> tuple[QueryAnswer, ...]:
    """What was found, findings before organs, by score; then, where that is little, the findings that came closest."""

    def key(answer: QueryAnswer) -> tuple[bool, bool, float, float]:
        score, similarity = answer.best.rank_key if answer.best else (-1.0, -2.0)
        return answer.answer == "found", answer.kind == "finding", score, similarity

    ordered = sorted((answer for answer in result.queries if answer.best), key=key, reverse=True)
    found = sum(answer.answer == "found" for answer in ordered)
    return tuple(ordered[: min(max(found, FEWEST_PICTURES), MOST_PICTURES)])


def _meaning(study: StudyEmbedding) -> str:
    calibrated = (
        "It is calibrated as stated above: a probability for scans like those, not of disease in this patient."
        if study.score.calibrated_on
        else "It is not calibrated: it orders the organs, and is no probability of disease."
    )
    return (
        "Score: how well the organ matches the sentences of what was asked, 0 to 1; from the threshold on it counts as "
        f"found. {calibrated} An organ asked by name is found where a mask has that name, and has no threshold. "
        "A missing or cut organ says nothing about what lies outside the scan."
    )


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
