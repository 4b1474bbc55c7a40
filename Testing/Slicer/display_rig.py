"""What the tests of coloured organs share: answers, looks, and a patient with looks of its own."""

from CTGLIPLib.results import OrganScore, QueryAnswer
from CTGLIPSlicer.segment_look import Look, lookOf

SCORES = {"liver": 0.9, "spleen": 0.4, "kidney_left": 0.1}


def row(organ: str, score: float | None, similarity: float | None = None, state: str = "present") -> OrganScore:
    if score is None and similarity is None and state == "present":
        state = "too_small"
    if similarity is None and score is not None:
        similarity = score / 2
    return OrganScore(organ, organ.replace("_", " "), state, similarity, score)


def answerOf(*rows: OrganScore, threshold: float | None = 0.5, text: str = "lesion", phrase: str = "") -> QueryAnswer:
    best = max((r.score or 0.0 for r in rows), default=0.0)
    scored = any(r.is_scored for r in rows)
    said = ("found" if best >= (threshold or 0.0) else "not_found") if scored else "unanswerable"
    asked = tuple(r.organ for r in rows)
    return QueryAnswer(text, "finding", None, False, asked, said, threshold, ("a",), ("b",), rows, phrase)


def lesion(**scores: float) -> QueryAnswer:
    return answerOf(*(row(organ, score) for organ, score in (scores or SCORES).items()))


def looks(study) -> dict[str, Look]:
    """The look of every organ."""
    node = study.segmentation
    return {organ: lookOf(node.GetDisplayNode(), study.segmentId(organ)) for organ in study.organs}


def ownColours(study) -> dict[str, tuple]:
    node = study.segmentation.GetSegmentation()
    return {organ: node.GetSegment(study.segmentId(organ)).GetColor() for organ in study.organs}


def giveOddLooks(study) -> None:
    """Another look for each organ, as a user may choose."""
    node = study.segmentation.GetDisplayNode()
    for number, organ in enumerate(study.organs):
        segmentId = study.segmentId(organ)
        node.SetSegmentOpacity3D(segmentId, 0.123456789 + 0.05 * number)
        node.SetSegmentOpacity2DFill(segmentId, 1 / 3 + 0.01 * number)
        node.SetSegmentOpacity2DOutline(segmentId, 0.9 - 0.07 * number)
        node.SetSegmentVisibility(segmentId, number != 3)
        node.SetSegmentVisibility3D(segmentId, number != 2)
    node.SetSegmentOverrideColor(study.segmentId("spleen"), 0.11, 0.22, 0.33)
