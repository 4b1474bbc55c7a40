"""What CT-GLIP answers, as values.

Conventions:
- `answer` speaks of the finding or organ asked for, never of the sentence: "no gallstones" without a gallstone is
  `not_found` with `negated` true (test_wording: `the words of a negated question say whether it holds`);
- an organ that was not measured has None, never NaN (test_results: `nan becomes none`);
- positions are RAS mm, volumes millilitres, similarities cosines, scores probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from CTGLIPLib.geometry import Grid

SCHEMA_VERSION = "1.0"
NOTICE = "research software, not a medical device"

OrganState = Literal["present", "cut", "absent", "too_small"]
Answer = Literal["found", "not_found", "unanswerable"]
Kind = Literal["organ", "finding"]

ROUNDING = 1e-5
"""How far a float32 cosine may lie outside -1..1; it is then set to the end."""


@dataclass(frozen=True)
class StudyInfo:
    """The scan that was asked.

    Attributes:
        name: the file's or folder's name, without its path.
        extent_ras_mm: (low, high) along R, A and S, voxel edges included.
        warnings: what the reader of the results should know about the scan.

    Raises:
        ValueError: if the name is a path.
    """

    name: str
    shape_ijk: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    extent_ras_mm: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "/" in self.name or "\\" in self.name:
            msg = f"A study's name is a file name without folders, got {self.name!r}. Give path.name."
            raise ValueError(msg)

    @classmethod
    def of(cls, name: str, grid: Grid, warnings: Sequence[str] = ()) -> StudyInfo:
        """The description of a scan on `grid`."""
        low, high = (corner.tolist() for corner in grid.box_ras_mm())
        extent = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
        return cls(name, grid.shape_ijk, grid.spacing_mm, grid.orientation, extent, tuple(warnings))


@dataclass(frozen=True)
class ModelInfo:
    """The weights that answered: their name, and the SHA-256 that tells them apart."""

    name: str
    sha256: str


@dataclass(frozen=True)
class SegmentationInfo:
    """The organ masks that the answers stand on; see `volume.Segmentation`."""

    source: str
    vocabulary: str


@dataclass(frozen=True)
class OrganScore:
    """How well one organ matches one question.

    Attributes:
        organ: the organ's name in the segmentation or vocabulary, such as "kidney_left".
        readable: the same for people, such as "left kidney".
        similarity: cosine with the question's prompts, -1..1; None where the organ was not measured.
        score: calibrated probability, 0..1; None where there is none.
        centroid_ras_mm: the mask's centre of mass; None where there is no mask.
        normal_similarity: cosine with the "no evident abnormality" prompts; None where it was not asked.

    Raises:
        ValueError: if a value is out of its range, or the values do not fit the state.
    """

    organ: str
    readable: str
    state: OrganState
    similarity: float | None = None
    score: float | None = None
    volume_ml: float = 0.0
    centroid_ras_mm: tuple[float, float, float] | None = None
    normal_similarity: float | None = None

    def __post_init__(self) -> None:
        where = f"organ {self.organ!r}"
        for name, low in (("similarity", -1.0), ("normal_similarity", -1.0), ("score", 0.0)):
            object.__setattr__(self, name, _number(getattr(self, name), low, 1.0, f"{name} of {where}"))
        volume = _number(self.volume_ml, 0.0, math.inf, f"volume_ml of {where}")
        object.__setattr__(self, "volume_ml", volume or 0.0)
        if self.centroid_ras_mm is not None:
            r, a, s = (float(value) for value in self.centroid_ras_mm)
            if not all(map(math.isfinite, (r, a, s))):
                msg = f"A centroid has three finite RAS mm values, got {self.centroid_ras_mm} for {where}. Give None."
                raise ValueError(msg)
            object.__setattr__(self, "centroid_ras_mm", (r, a, s))
        if self.state == "absent" and (self.similarity is not None or self.score is not None):
            msg = f"An absent organ has no similarity and no score, got both or one for {where}. Give None."
            raise ValueError(msg)
        if self.state == "present" and self.similarity is None:
            msg = f"A present organ needs a similarity, got None or NaN for {where}. Give it, or another state."
            raise ValueError(msg)

    @property
    def is_scored(self) -> bool:
        """Whether the organ was compared with the question."""
        return self.score is not None or self.similarity is not None

    @property
    def rank_key(self) -> tuple[float, float]:
        """Larger is better: the score, then the similarity; unmeasured organs come last."""
        return (-1.0 if self.score is None else self.score, -2.0 if self.similarity is None else self.similarity)


@dataclass(frozen=True)
class QueryAnswer:
    """The answer to one question.

    Attributes:
        text: the question as the user wrote it.
        finding: the abnormality's id in the catalogue; None for an organ or for free text.
        negated: whether the text says that the finding is not there.
        organs_asked: names of the organs that the question is about.
        threshold: the score from which on it is found, 0..1; None where no threshold applies.
        positive_prompts: the sentences that the organs were compared with.
        negative_prompts: the sentences of the opposite; empty for an organ.
        organs: one entry for every organ asked, whether it is in the scan or not.
        phrase: what was compared, worded positively; differs from `text` where that denies or asks several things.

    Raises:
        ValueError: if a value is out of its range, an organ occurs twice, or a found answer has no scored organ.
    """

    text: str
    kind: Kind
    finding: str | None
    negated: bool
    organs_asked: tuple[str, ...]
    answer: Answer
    threshold: float | None
    positive_prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    organs: tuple[OrganScore, ...]
    phrase: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", _number(self.threshold, 0.0, 1.0, f"threshold of {self.text!r}"))
        names = [organ.organ for organ in self.organs]
        if len(set(names)) != len(names):
            msg = f"Every organ occurs once in an answer, got {names} for {self.text!r}. Merge the entries."
            raise ValueError(msg)
        if self.answer == "found" and self.best is None:
            msg = f"A found answer needs a scored organ, got none for {self.text!r}. Answer 'unanswerable'."
            raise ValueError(msg)

    @property
    def ranked(self) -> tuple[OrganScore, ...]:
        """The organs, best first; organs that were not measured come last, in the given order."""
        return tuple(sorted(self.organs, key=lambda organ: organ.rank_key, reverse=True))

    @property
    def best(self) -> OrganScore | None:
        """The organ that matches best; None where no organ was measured."""
        return next((organ for organ in self.ranked if organ.is_scored), None)


@dataclass(frozen=True)
class QueryResult:
    """Everything that `query` returns for one scan."""

    study: StudyInfo
    model: ModelInfo
    segmentation: SegmentationInfo
    queries: tuple[QueryAnswer, ...]


@dataclass(frozen=True)
class OrganRecognition:
    """The names that the model gives to one organ.

    Attributes:
        name: the mask's own name.
        predicted: the vocabulary name that fits best; None where the organ was not measured.
        top5: up to five (name, similarity) pairs, best first.

    Raises:
        ValueError: if a similarity is out of -1..1, there are over five, or `predicted` is not the first.
    """

    name: str
    state: OrganState
    predicted: str | None = None
    top5: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        pairs = tuple((name, _number(value, -1.0, 1.0, f"similarity of {name!r}")) for name, value in self.top5)
        object.__setattr__(self, "top5", pairs)
        first = pairs[0][0] if pairs else None
        if len(pairs) > 5 or any(value is None for _, value in pairs) or self.predicted != first:
            msg = (
                f"An organ has up to five names with a similarity each, the first of them predicted; "
                f"got predicted {self.predicted!r} and {pairs} for {self.name!r}."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class OrgansResult:
    """Everything that `organs` returns for one scan.

    Attributes:
        top1: share of the `n` organs whose own name came first, 0..1; None where n is 0.
        top5: share of the `n` organs whose own name came among the first five; None where n is 0.
        n: number of organs that were measured and whose mask has a vocabulary name.

    Raises:
        ValueError: if a share is out of 0..1 or `n` is not between 0 and the number of organs.
    """

    study: StudyInfo
    model: ModelInfo
    segmentation: SegmentationInfo
    organs: tuple[OrganRecognition, ...]
    top1: float | None
    top5: float | None
    n: int

    def __post_init__(self) -> None:
        for name in ("top1", "top5"):
            object.__setattr__(self, name, _number(getattr(self, name), 0.0, 1.0, name))
        if not 0 <= self.n <= len(self.organs):
            msg = f"n counts measured organs, so it lies in 0..{len(self.organs)}, got {self.n}."
            raise ValueError(msg)


def _number(value: float | None, low: float, high: float, what: str) -> float | None:
    """The value as a float; None for None and NaN.

    Raises:
        ValueError: if it lies outside low..high by more than a float32 cosine may.
    """
    if value is None or math.isnan(value):
        return None
    if not low - ROUNDING <= value <= high + ROUNDING or math.isinf(value):
        msg = f"The {what} must lie in {low:g}..{high:g}, got {value!r}."
        raise ValueError(msg)
    return float(min(max(value, low), high))
