"""Results refuse impossible values and rank organs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from CTGLIPLib.geometry import Grid
from CTGLIPLib.results import (
    ModelInfo,
    OrganRecognition,
    OrganScore,
    OrgansResult,
    QueryAnswer,
    SegmentationInfo,
    StudyInfo,
)

STUDY = StudyInfo("ct.nii.gz", (4, 5, 6), (1.0, 1.0, 2.0), "RAS", ((0.0, 4.0), (0.0, 5.0), (0.0, 12.0)))


def answer(*organs: OrganScore, state: str = "found", **changes: object) -> QueryAnswer:
    names = tuple(organ.organ for organ in organs)
    base = QueryAnswer("fatty liver", "finding", "fatty_liver", False, names, "not_found", 0.5, ("a",), ("b",), organs)
    return dataclasses.replace(base, answer=state, **changes)


def test_nan_becomes_none() -> None:
    organ = OrganScore("liver", "liver", "cut", similarity=float("nan"), score=float("nan"))
    assert organ.similarity is None
    assert organ.score is None
    assert not organ.is_scored


def test_a_float32_cosine_just_over_one_is_set_to_one() -> None:
    assert OrganScore("liver", "liver", "present", similarity=float(np.float32(1.000001))).similarity == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"similarity": 1.1}, r"similarity of organ 'liver' must lie in -1..1, got 1.1"),
        ({"similarity": 0.1, "score": -0.2}, r"score of organ 'liver' must lie in 0..1"),
        ({"similarity": 0.1, "normal_similarity": 2.0}, "normal_similarity"),
        ({"similarity": 0.1, "volume_ml": -1.0}, "volume_ml"),
        ({"similarity": 0.1, "volume_ml": float("inf")}, "volume_ml"),
        ({"similarity": 0.1, "centroid_ras_mm": (0.0, float("nan"), 0.0)}, "three finite RAS mm"),
        ({}, "present organ needs a similarity"),
        ({"state": "absent", "score": 0.1}, "absent organ has no similarity"),
    ],
)
def test_an_impossible_organ_score_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrganScore(**{"organ": "liver", "readable": "liver", "state": "present"} | values)  # type: ignore[arg-type]


def test_a_threshold_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold of 'fatty liver' must lie in 0..1, got 1.5"):
        answer(OrganScore("liver", "liver", "present", 0.3), threshold=1.5)


def test_a_found_answer_needs_a_scored_organ() -> None:
    with pytest.raises(ValueError, match="found answer needs a scored organ"):
        answer(OrganScore("liver", "liver", "absent"))


def test_an_organ_occurs_once_in_an_answer() -> None:
    liver = OrganScore("liver", "liver", "present", 0.3)
    with pytest.raises(ValueError, match="occurs once"):
        answer(liver, liver)


def test_organs_rank_by_score_then_similarity_with_unmeasured_ones_last() -> None:
    organs = (
        OrganScore("absent", "absent", "absent"),
        OrganScore("low", "low", "present", 0.9, 0.1),
        OrganScore("high", "high", "present", 0.2, 0.8),
        OrganScore("twin", "twin", "cut", 0.3, 0.8),
        OrganScore("raw", "raw", "present", -0.5),
    )
    ranked = answer(*organs).ranked
    assert [organ.organ for organ in ranked] == ["twin", "high", "low", "raw", "absent"]
    assert answer(*organs).best is ranked[0]


def test_an_answer_without_measured_organs_has_no_best_one() -> None:
    assert answer(OrganScore("liver", "liver", "too_small"), state="unanswerable").best is None


def test_a_study_name_with_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="without folders"):
        dataclasses.replace(STUDY, name="/home/someone/ct.nii.gz")


def test_a_study_describes_its_grid() -> None:
    study = StudyInfo.of("ct.mha", Grid((10, 20, 30), np.diag([-1.0, -2.0, 3.0, 1.0])), ["thin"])
    assert study.orientation == "LPS"
    assert study.spacing_mm == (1.0, 2.0, 3.0)
    assert study.extent_ras_mm == ((-9.5, 0.5), (-39.0, 1.0), (-1.5, 88.5))
    assert study.warnings == ("thin",)


@pytest.mark.parametrize(
    "values",
    [
        {"predicted": "spleen", "top5": (("liver", 0.5),)},
        {"predicted": None, "top5": (("liver", 0.5),)},
        {"predicted": "liver", "top5": ()},
        {"predicted": "liver", "top5": (("liver", float("nan")),)},
        {"predicted": "liver", "top5": (("liver", 0.5),) * 6},
    ],
)
def test_a_recognition_whose_names_do_not_fit_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="up to five names"):
        OrganRecognition("liver", "present", **values)  # type: ignore[arg-type]


def test_the_mean_of_no_organs_is_none_and_n_is_bounded() -> None:
    made = OrgansResult(STUDY, ModelInfo("m", "0"), SegmentationInfo("s", "names"), (), float("nan"), None, 0)
    assert made.top1 is None
    with pytest.raises(ValueError, match=r"lies in 0..0, got 3"):
        dataclasses.replace(made, n=3)


def test_results_load_without_torch_and_matplotlib() -> None:
    code = (
        "import sys, CTGLIPLib.result_files, CTGLIPLib.views, CTGLIPLib.wording\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
