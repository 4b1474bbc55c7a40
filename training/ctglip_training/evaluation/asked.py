"""What was asked of organs as a table of scores and labels, a row an organ and a column a finding, for `scoring`.

Rows are grouped by patient, so that intervals are over patients. Guard: test_asked.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ctglip_training.evaluate import FindingCase
from ctglip_training.evaluation.paired import PairedCases
from ctglip_training.evaluation.zero_shot import Answers
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import InputError
from CTGLIPLib.similarity import finding_score

Key = tuple[object, ...]
"""Subject, patient, organ, and then the number of the patient's study."""


def asked_cases(answers: Mapping[str, Answers], score: ScoreConfig | None = None) -> PairedCases:
    """Margins and truths of every organ that was asked for anything; what an organ was not asked for is unknown.

    Args:
        answers: of each subject or split.
        score: makes the probabilities that calibration is measured on; None leaves them out.

    Raises:
        InputError: if nothing was asked.
    """
    asked: list[tuple[Key, FindingCase]] = [
        ((subject, case.patient, case.organ), case) for subject, own in answers.items() for case in own.findings
    ]
    if not asked:
        msg = "Expected findings asked of one organ or more, got none. Evaluate more patients, or name their findings."
        raise InputError(msg)
    asked = _study_by_study(asked)
    rows = {key: number for number, key in enumerate(dict.fromkeys(key for key, _ in asked))}
    findings = sorted({case.abnormality for _, case in asked})
    shape = (len(rows), len(findings))
    scores, sure = np.zeros(shape), np.zeros(shape)
    truth, known = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for key, case in asked:
        cell = rows[key], findings.index(case.abnormality)
        scores[cell], truth[cell], known[cell] = case.margin, case.truth, True
        sure[cell] = 0.0 if score is None else finding_score(case.margin, score, case.abnormality)
    return PairedCases(
        findings=tuple(findings),
        volumes=tuple("/".join(map(str, key)) for key in rows),
        patients=np.array([f"{subject}/{patient}" for subject, patient, *_ in rows]),
        scores=scores,
        truth=truth,
        known=known,
        filled=np.zeros(len(findings), dtype=int),
        only_predicted=(),
        only_labelled=(),
        left_out=(),
        probabilities=None if score is None else sure,
    )


def _study_by_study(asked: Sequence[tuple[Key, FindingCase]]) -> list[tuple[Key, FindingCase]]:
    """The same with the number of the study in each key: an organ asked a finding again is another study's."""
    times: Counter[tuple[object, ...]] = Counter()
    numbered = []
    for key, case in asked:
        again = (*key, case.abnormality)
        numbered.append(((*key, times[again]), case))
        times[again] += 1
    return numbered


def measurable(answers: Mapping[str, Answers]) -> bool:
    """Whether some finding is present in one case and absent in another, so that anything can be measured."""
    seen = {(case.abnormality, case.truth) for own in answers.values() for case in own.findings}
    return any((finding, not truth) in seen for finding, truth in seen)
