"""What is known of the findings that an organ is asked for: stated, denied, suspected, or not mentioned.

Guard: test_truths.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from ctglip_training.simulate.catalogue import FINDINGS
from ctglip_training.statements import StudyText
from CTGLIPLib.abnormalities import abnormality_named

Unmentioned = Literal["negative", "unknown"]
"""What a finding counts as of which a report says nothing in an organ."""
Truths = Mapping[tuple[str, str], bool]
"""Whether an organ has a finding, by (finding, organ); what is not known is not there."""
SIMULATED: Mapping[str, Sequence[str]] = {finding.id: finding.organs for finding in FINDINGS.values()}
"""What simulated patients are asked: the organs of every finding that can be simulated."""


def known_truths(
    said: StudyText,
    organs: Collection[str],
    findings: Mapping[str, Sequence[str]] = SIMULATED,
    unmentioned: Unmentioned = "negative",
) -> dict[tuple[str, str], bool]:
    """The truth of each finding in each organ that it can live in, organ by organ.

    Stated is present; suspected is left out; denied is absent, as is every finding of an organ that is called normal.
    What is not mentioned is absent where the text says all that there is, and otherwise what `unmentioned` says. Of a
    study without a report nothing is known.

    Args:
        said: the study's text.
        organs: which to ask.
        findings: organs of each finding, by the finding's id.
        unmentioned: of real reports.
    """
    if not said.exhaustive and said.report is None and not said.statements:
        return {}
    abnormal = [statement for statement in said.statements if not statement.normal]
    stated = {(s.finding, s.organ) for s in abnormal if not s.uncertain}
    suspected = {(s.finding, s.organ) for s in abnormal if s.uncertain}
    calm = [statement for statement in said.statements if statement.normal and not statement.uncertain]
    denied = {(s.finding, s.organ) for s in calm if s.finding}
    normal = {s.organ for s in calm if not s.finding} - {s.organ for s in abnormal}
    closed = said.exhaustive or unmentioned == "negative"
    truths: dict[tuple[str, str], bool] = {}
    for organ in organs:
        for finding, living in findings.items():
            key = (finding, organ)
            if organ not in living or (key in suspected and key not in stated):
                continue
            if key in stated:
                truths[key] = True
            elif key in denied or organ in normal or closed:
                truths[key] = False
    return truths


def findings_of(texts: Collection[StudyText]) -> dict[str, Sequence[str]]:
    """The findings that some of the texts state for certain, and the organs that they can live in.

    A finding that nobody has tells nothing of a model, so it is not asked. Organs are the catalogue's, and those that
    the texts name with it.
    """
    stated: dict[str, set[str]] = {}
    for text in texts:
        for said in text.statements:
            if said.finding and not said.normal and not said.uncertain:
                stated.setdefault(said.finding, set()).add(said.organ)
    return {
        finding: tuple(dict.fromkeys([*abnormality_named(finding).organs, *sorted(organs)]))
        for finding, organs in sorted(stated.items())
    }
