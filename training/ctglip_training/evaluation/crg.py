"""The CRG score, which rewards rare findings found and punishes false alarms less than misses.

Source: Hamamci et al. 2025, "CRG Score", arXiv:2505.17167, as the VLM3D challenge computes it:
r = (X - A) / (2 A), U = (X - A) / 2, s = r TP - r FN - FP, CRG = U / (2 U - s), with X cells (findings times scans) and
A of them positive. All right is 1; calling nothing and calling everything are both 1/3. Guard: test_crg.py.
"""

from __future__ import annotations

import numpy as np

from ctglip_training.evaluation.classification import Counts


def crg_score(counts: Counts) -> np.ndarray:
    """CRG of counts added over all findings; NaN unless there are positives and negatives.

    Differs from the challenge: cells without a label do not count, theirs have none.
    """
    cells, positives = counts.cases, counts.positives
    defined = (positives > 0) & (cells > positives)
    reward = np.divide(cells - positives, 2 * positives, out=np.zeros_like(cells), where=defined)
    best = (cells - positives) / 2
    score = reward * counts.tp - reward * counts.fn - counts.fp
    return np.divide(best, 2 * best - score, out=np.full_like(cells, np.nan), where=defined)
