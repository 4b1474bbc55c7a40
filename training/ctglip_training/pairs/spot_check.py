"""A sheet on which a person judges a sample of pairs.

Half of the sample is abnormal where there are enough, for these are rarer and matter more. Guarded by
training/tests/test_pairs_table.py.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

from ctglip_training.pairs.table import PairRow
from CTGLIPLib.files import whole_file

COLUMNS = (
    "study", "sentence", "organ", "normal", "finding", "side", "uncertain", "engine",
    "organ_correct", "normal_correct", "finding_correct", "comment",
)  # fmt: skip
"""The last four are for the person."""


def write_sheet(rows: Sequence[PairRow], out: Path, count: int, seed: int = 1) -> int:
    """How many pairs went onto the sheet, a CSV drawn by the seed.

    Raises:
        OutputError: if it cannot be written.
    """
    chosen = _sample(rows, count, seed)
    with whole_file(out) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for row in chosen:
            said = row.said
            finding, side = said.finding or "", said.side or ""
            about = (_as_text(said.sentence), said.group, said.normal, finding, side, said.uncertain, row.engine)
            table.writerow((row.study, *about, "", "", "", ""))
    return len(chosen)


def _sample(rows: Sequence[PairRow], count: int, seed: int) -> list[PairRow]:
    generator = random.Random(seed)
    abnormal = [row for row in rows if not row.said.normal]
    normal = [row for row in rows if row.said.normal]
    wanted = min(len(abnormal), max(count // 2, count - len(normal)))
    chosen = generator.sample(abnormal, wanted)
    chosen += generator.sample(normal, min(len(normal), count - wanted))
    generator.shuffle(chosen)
    return chosen


def _as_text(sentence: str) -> str:
    """The sentence, kept from being read as a formula by a spreadsheet."""
    return f"'{sentence}" if sentence[:1] in "=+-@" else sentence
