"""Answers made by hand for the tests of what is shown and kept."""

from __future__ import annotations

import numpy as np

from CTGLIPLib.geometry import Grid
from CTGLIPLib.organs import readable_name
from CTGLIPLib.results import ModelInfo, OrganScore, QueryAnswer, QueryResult, SegmentationInfo, StudyInfo

STUDY = StudyInfo.of("CT", Grid((40, 34, 28), np.diag([7.0, 7.0, 7.0, 1.0])))


def organ(name: str, score: float | None = 0.5, state: str = "present", **values: object) -> OrganScore:
    similarity = None if score is None else score / 2
    place = {} if state == "absent" else {"volume_ml": 123.4, "centroid_ras_mm": (1.0, 2.0, 3.0)}
    return OrganScore(name, readable_name(name), state, similarity, score, **(place | values))


def answer(text: str, *organs: OrganScore, verdict: str = "found", **values: object) -> QueryAnswer:
    defaults = {
        "kind": "finding",
        "finding": None,
        "negated": False,
        "organs_asked": tuple(one.organ for one in organs),
        "threshold": 0.5,
        "positive_prompts": (text,),
        "negative_prompts": (),
        "phrase": text,
    }
    return QueryAnswer(text=text, answer=verdict, organs=organs, **(defaults | values))


def result(*answers: QueryAnswer, model: str = "a", source: str = "organs.nii") -> QueryResult:
    sha = model * 64
    return QueryResult(
        STUDY, ModelInfo(f"model {model}", sha), SegmentationInfo(source, "totalsegmentator_v2"), answers
    )
