"""What a language model is asked about a report, and the check of what it answers.

An answer counts only where every sentence stands in the report, and every organ and finding is one of ours: a model
that invents is asked again. Guarded by training/tests/test_pairs_llm.py.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from ctglip_training.pairs.anatomy import known_groups, organs_of
from ctglip_training.pairs.chat import Message
from ctglip_training.pairs.engine import FindingSide, OrganSentence
from ctglip_training.pairs.findings import FINDINGS

VERSION = "1"
"""Raise it with every change of the wording: kept answers to an older one are not used."""
_SIDES = (None, "left", "right", "both")
_FENCE = re.compile(r"^\s*```(?:json)?\s*|\s*```\s*$")

_TASK = """You split CT reports into statements about organs.
Answer with one JSON object: {"statements": [{"sentence": ..., "organ": ..., "normal": ..., "finding": ..., \
"uncertain": ..., "side": ...}, ...]}
- sentence: copied from the report, letter by letter.
- organ: what the sentence speaks of, one of ORGANS. Where it speaks of several organs, give one statement for each. \
Pleura and bronchi belong to "lung", coronary arteries and pericardium to "heart". A finding that names no organ is \
said of the organ that it lives in: pleural effusion of the lung, steatosis of the liver.
- normal: true where the sentence says that nothing is wrong there or denies a finding, else false.
- finding: one of FINDINGS, or null where none fits. For a denied finding give it, with normal true.
- uncertain: true where the finding is only suspected ("possible", "?", "cannot be excluded").
- side: "left", "right", "both" or null.
Leave out technique, comparison without a finding, and recommendations. Never add what the report does not say."""


class AnswerError(Exception):
    """An answer that does not hold what was asked for; the message is what the model is told."""


def question(report: str) -> list[Message]:
    """The messages that ask about a report."""
    organs, findings = ", ".join(known_groups()), ", ".join(FINDINGS)
    system = f"{_TASK}\nORGANS: {organs}\nFINDINGS: {findings}"
    return [{"role": "system", "content": system}, {"role": "user", "content": report}]


def repair(answer: str, problem: str) -> list[Message]:
    """The messages, after the question, that ask to mend an answer."""
    asked = f"Your answer was not valid: {problem} Give the whole JSON object again, corrected, and nothing else."
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": asked}]


def read_answer(answer: str, report: str) -> list[OrganSentence]:
    """What an answer says of a report.

    Raises:
        AnswerError: if it is no JSON, holds unknown organs or findings, or sentences that the report does not have.
    """
    try:
        content = json.loads(_FENCE.sub("", answer))
    except ValueError as error:
        msg = f"it is not JSON ({error})."
        raise AnswerError(msg) from error
    statements = content.get("statements") if isinstance(content, dict) else None
    if not isinstance(statements, list):
        msg = 'it is not an object with a list "statements".'
        raise AnswerError(msg)
    text = _plain(report)
    return [_statement(fields, text, number) for number, fields in enumerate(statements, start=1)]


def _statement(fields: object, report: str, number: int) -> OrganSentence:
    if not isinstance(fields, dict):
        msg = f"statement {number} is not an object."
        raise AnswerError(msg)
    stated = cast("dict[str, Any]", fields)
    problem = _problem(stated, report)
    if problem:
        msg = f"statement {number}: {problem}."
        raise AnswerError(msg)
    side = cast("FindingSide | None", stated.get("side"))
    return OrganSentence(
        group=stated["organ"],
        organs=organs_of(stated["organ"], stated["sentence"], side),
        sentence=" ".join(stated["sentence"].split()),
        normal=stated["normal"],
        finding=stated.get("finding"),
        uncertain=stated.get("uncertain") or False,
        side=side,
    )


def _problem(fields: dict[str, Any], report: str) -> str:
    """What is wrong with a statement; empty where nothing is."""
    sentence, finding = fields.get("sentence"), fields.get("finding")
    checks = (
        (isinstance(sentence, str) and bool(_plain(str(sentence))), '"sentence" must be a text'),
        (_plain(str(sentence)) in report, f'"sentence" is not in the report: {str(sentence)[:80]!r}'),
        (fields.get("organ") in known_groups(), f'"organ" must be one of ORGANS, got {fields.get("organ")!r}'),
        (isinstance(fields.get("normal"), bool), f'"normal" must be true or false, got {fields.get("normal")!r}'),
        (finding is None or str(finding) in FINDINGS, f'"finding" must be one of FINDINGS or null, got {finding!r}'),
        (fields.get("uncertain") in (None, True, False), '"uncertain" must be true or false'),
        (fields.get("side") in _SIDES, f'"side" must be left, right, both or null, got {fields.get("side")!r}'),
    )
    return next((message for holds, message in checks if not holds), "")


def _plain(text: str) -> str:
    """The words of a text, for comparison: case, spacing and punctuation left aside."""
    return " ".join(re.findall(r"\w+", text.lower()))
