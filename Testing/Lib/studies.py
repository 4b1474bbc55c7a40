"""Encoded studies made by hand: organs whose embeddings are what a sentence's embedding would be."""

from __future__ import annotations

import numpy as np

from CTGLIPLib.config import ScoreConfig, TextConfig
from CTGLIPLib.results import ModelInfo, SegmentationInfo, StudyInfo
from CTGLIPLib.study import StudyEmbedding
from CTGLIPLib.text_bank import open_text_encoder


def make_study(says: dict[str, str | None] | None = None, score: ScoreConfig | None = None) -> StudyEmbedding:
    """A study without a scan.

    Args:
        says: organ -> sentence of the phrase bank that its embedding equals; None = too small to be measured.
        score: None is the configuration's own.
    """
    says = says or {"liver": "This is the liver in the CT scans.", "gallbladder": None}
    encoder = open_text_encoder("minilm")
    embeddings = np.full((len(says), 384), np.nan, dtype=np.float32)
    for row, sentence in enumerate(says.values()):
        if sentence is not None:
            embeddings[row] = encoder.encode([sentence])[0]
    return StudyEmbedding(
        study=StudyInfo(
            "ct.nii.gz", (4, 5, 6), (1.0, 1.0, 2.5), "RAS", ((0.0, 4.0), (0.0, 5.0), (0.0, 12.0)), ("thin",)
        ),
        model=ModelInfo("test", "a" * 64),
        segmentation=SegmentationInfo("organs.nii.gz", "names"),
        content_sha256="b" * 64,
        organs=tuple(says),
        states=tuple("too_small" if sentence is None else "present" for sentence in says.values()),
        volume_ml=np.arange(1.0, len(says) + 1),
        centroid_ras_mm=np.arange(3.0 * len(says)).reshape(-1, 3),
        embeddings=embeddings,
        text_mean=np.zeros(384, dtype=np.float32),
        text=TextConfig("minilm", "0.1.0"),
        score=score or ScoreConfig(),
    )
