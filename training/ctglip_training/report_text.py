"""Pairs of real reports -> what is said of a study's organs.

Conventions (guarded by training/tests/test_report_text.py):
- a study without rows has no report: nothing is known of its organs, and none of them is called normal;
- organs that the study keeps as a whole ("lung") get what is found in a part of it; that a part is normal says nothing
  of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ctglip_training.evaluation.tables import without_ending
from ctglip_training.pairs.engine import OrganSentence
from ctglip_training.pairs.table import PairRow, read_pairs
from ctglip_training.statements import Statement, StudyText
from CTGLIPLib.organs import find_organ, organs_in_group, readable_name

NO_REPORT = StudyText()


def read_rows(path: Path) -> dict[str, list[PairRow]]:
    """The rows of a table of pairs by study, without the ending of a file's name.

    Raises:
        InputError: if it cannot be read or is not such a table.
    """
    rows: dict[str, list[PairRow]] = {}
    for row in read_pairs(path):
        rows.setdefault(without_ending(row.study), []).append(row)
    return rows


def report_text(rows: Sequence[PairRow], organs: Sequence[str]) -> StudyText:
    """What the rows of one study say of its organs; `NO_REPORT` where there are none."""
    if not rows:
        return NO_REPORT
    parts = {organ: _parts(organ) for organ in organs}
    statements = [
        Statement(organ, row.said.sentence, row.said.normal, row.said.finding, row.said.uncertain)
        for row in rows
        for organ in organs
        if _is_about(row.said, organ, parts)
    ]
    report = " ".join(dict.fromkeys(row.said.sentence for row in rows))
    return StudyText(tuple(dict.fromkeys(statements)), report)


def _parts(organ: str) -> frozenset[str]:
    """The vocabulary's organs that an organ outside the vocabulary is made of."""
    return frozenset() if find_organ(organ) else frozenset(o.name for o in organs_in_group(readable_name(organ)))


def _is_about(said: OrganSentence, organ: str, parts: Mapping[str, frozenset[str]]) -> bool:
    named = set(said.organs)
    return organ in named or bool(parts[organ] <= named if said.normal and parts[organ] else parts[organ] & named)
