"""The findings asked of held-out patients as a table, so that a calibration can be repeated without the network."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctglip_training.evaluate import FindingCase
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.files import whole_file

CASES = "cases.csv"
COLUMNS = ["subject", "patient", "abnormality", "organ", "margin", "truth"]


def write_cases(cases: Mapping[str, Sequence[FindingCase]], path: Path) -> None:
    """Write the cases of each held-out subject; patients are numbered within their subject, truth is 1 or 0.

    Raises:
        OutputError: if the file cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for subject, own in cases.items():
            table.writerows(
                (subject, case.patient, case.abnormality, case.organ, repr(case.margin), int(case.truth))
                for case in own
            )


def read_cases(path: Path) -> dict[str, list[FindingCase]]:
    """The cases of each subject in a file of `write_cases`.

    Raises:
        ConfigError: if it is no such file.
    """
    cases: dict[str, list[FindingCase]] = {}
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        if header != COLUMNS:
            raise ValueError(", ".join(header))  # noqa: TRY301 - told below
        for subject, patient, abnormality, organ, margin, truth in rows:
            case = FindingCase(int(patient), abnormality, organ, float(margin), truth=bool(int(truth)))
            cases.setdefault(subject, []).append(case)
    except (OSError, ValueError) as error:
        msg = (
            f"Expected cases with the columns {', '.join(COLUMNS)} in {path}, got: {error}. "
            "Write them again with `ctglip-train evaluate`."
        )
        raise ConfigError(msg) from error
    return cases
