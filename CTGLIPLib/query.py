"""Answering questions about an encoded study: parse, embed the prompts, compare, decide. Needs no torch.

A question costs the embedding of its prompts and a product with a few hundred numbers per organ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.organs import PAPER_ORGANS, readable_name
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.prompts import FindingPrompts, finding_prompts, free_text_prompts, organ_prompt
from CTGLIPLib.questions import Question, parse_question
from CTGLIPLib.results import (
    Answer,
    OrganRecognition,
    OrganScore,
    OrgansResult,
    OrganState,
    QueryAnswer,
    QueryResult,
)
from CTGLIPLib.similarity import EncodesText, embed_texts, finding_score, finding_similarities, name_scores
from CTGLIPLib.study import StudyEmbedding

ANSWERING = "answering questions"


def answer_questions(
    study: StudyEmbedding, texts: Sequence[str], encoder: EncodesText, progress: ProgressCallback | None = None
) -> QueryResult:
    """The answer to every question; a text that asks several things gives several answers.

    Raises:
        InputError: if a text is empty or asks nothing.
        Cancelled: if `progress` asks to stop.
    """
    answers: list[QueryAnswer] = []
    for number, text in enumerate(texts):
        report(progress, ANSWERING, number, len(texts))
        for question in parse_question(text, study.organs):
            answer = _answer_organ if question.kind == "organ" else _answer_finding
            answers.append(answer(study, question, encoder))
    report(progress, ANSWERING, len(texts), len(texts))
    return QueryResult(study.study, study.model, study.segmentation, tuple(answers))


def require_questions(texts: Sequence[str], known_organs: Sequence[str]) -> None:
    """Refuse what `answer_questions` would refuse, before a scan is encoded in vain.

    Raises:
        InputError: if a text is empty or asks nothing.
    """
    for text in texts:
        parse_question(text, known_organs)


def recognise_organs(study: StudyEmbedding, encoder: EncodesText) -> OrgansResult:
    """Zero-shot organ recognition: every organ's five nearest of the 104 names.

    Top-1 counts the measured organs whose mask has one of the 104 names.
    """
    names = [organ.name for organ in PAPER_ORGANS]
    prompts = embed_texts(encoder, [organ_prompt(readable_name(name)) for name in names], study.text_mean)
    rows = []
    for name, state, embedding in zip(study.organs, study.states, study.embeddings, strict=True):
        if np.isnan(embedding).any():
            rows.append(OrganRecognition(name, state))
            continue
        similarity = prompts @ embedding
        best = [(names[i], float(similarity[i])) for i in np.argsort(-similarity)[:5]]
        rows.append(OrganRecognition(name, state, best[0][0], tuple(best)))
    counted = [row for row in rows if row.predicted is not None and row.name in names]
    top1 = float(np.mean([row.predicted == row.name for row in counted])) if counted else None
    top5 = float(np.mean([row.name in dict(row.top5) for row in counted])) if counted else None
    return OrgansResult(study.study, study.model, study.segmentation, tuple(rows), top1, top5, len(counted))


def prompts_for(finding: str | None, phrase: str, organ: str) -> FindingPrompts:
    """Positive and negative sentences for a finding in one organ.

    Args:
        finding: id in the catalogue; None asks for `phrase` as free text.
        phrase: the finding in the user's words, worded positively.
        organ: the organ's name.
    """
    return free_text_prompts(phrase, organ) if finding is None else finding_prompts(abnormality_named(finding), organ)


def _answer_finding(study: StudyEmbedding, question: Question, encoder: EncodesText) -> QueryAnswer:
    measured = [organ for organ in question.organs if _organ(study, organ)[1] is not None]
    prompts = {organ: prompts_for(question.finding, question.phrase, organ) for organ in measured}
    positives = [sentence for pair in prompts.values() for sentence in pair.positive]
    negatives = [sentence for pair in prompts.values() for sentence in pair.negative]
    sentences = list(dict.fromkeys(positives + negatives))
    texts = embed_texts(encoder, sentences, study.text_mean) if sentences else np.empty((0, 0), dtype=np.float32)
    place = {sentence: index for index, sentence in enumerate(sentences)}
    rows = []
    for organ in question.organs:
        state, embedding = _organ(study, organ)
        if embedding is None:
            rows.append(_unmeasured(study, organ, state))
            continue
        positive, negative = (
            [place[text] for text in side] for side in (prompts[organ].positive, prompts[organ].negative)
        )
        similarity, normal = finding_similarities(embedding, texts[positive], texts[negative])
        score = finding_score(similarity - normal, study.score, question.finding)
        rows.append(_measured(study, organ, state, similarity, score, normal))
    scores = [row.score for row in rows if row.score is not None]
    answer: Answer = "unanswerable"
    if scores:
        answer = "found" if max(scores) >= study.score.threshold else "not_found"
    return _build(question, answer, study.score.threshold, (positives, negatives), rows)


def _answer_organ(study: StudyEmbedding, question: Question, encoder: EncodesText) -> QueryAnswer:
    """An organ is found where a mask of that name is; without one, every mask is compared with the name."""
    named = [organ for organ in question.organs if organ in study.organs]
    searched = named or list(study.organs)
    names = list(dict.fromkeys([organ.name for organ in PAPER_ORGANS] + list(question.organs)))
    prompts = [organ_prompt(readable_name(name)) for name in names]
    texts = embed_texts(encoder, prompts, study.text_mean)
    asked = [names.index(organ) for organ in question.organs]
    rows = []
    for organ in searched:
        state, embedding = _organ(study, organ)
        if embedding is None:
            rows.append(_unmeasured(study, organ, state))
            continue
        similarity = texts @ embedding
        score = name_scores(similarity, study.score.temperature)[asked].max()
        rows.append(_measured(study, organ, state, float(similarity[asked].max()), float(score)))
    rows += [_unmeasured(study, organ, "absent") for organ in question.organs if organ not in study.organs]
    measured = [row for row in rows if row.score is not None]
    answer: Answer = "unanswerable"
    if named and measured:
        answer = "found"
    elif measured:
        answer = "found" if max(row.score or 0.0 for row in measured) >= study.score.threshold else "not_found"
    threshold = None if named else study.score.threshold
    return _build(question, answer, threshold, ([prompts[i] for i in asked], []), rows)


def _organ(study: StudyEmbedding, organ: str) -> tuple[OrganState, np.ndarray | None]:
    """State and embedding of an organ; no embedding where it was not measured."""
    if organ not in study.organs:
        return "absent", None
    index = study.organs.index(organ)
    embedding = study.embeddings[index]
    return study.states[index], None if np.isnan(embedding).any() else embedding


def _measured(
    study: StudyEmbedding, organ: str, state: OrganState, similarity: float, score: float, normal: float | None = None
) -> OrganScore:
    volume, centroid = _place(study, organ)
    return OrganScore(organ, readable_name(organ), state, similarity, score, volume, centroid, normal)


def _unmeasured(study: StudyEmbedding, organ: str, state: OrganState) -> OrganScore:
    volume, centroid = _place(study, organ)
    return OrganScore(organ, readable_name(organ), state, None, None, volume, centroid)


def _place(study: StudyEmbedding, organ: str) -> tuple[float, tuple[float, float, float] | None]:
    if organ not in study.organs:
        return 0.0, None
    index = study.organs.index(organ)
    r, a, s = study.centroid_ras_mm[index]
    return float(study.volume_ml[index]), None if np.isnan(r) else (float(r), float(a), float(s))


def _build(
    question: Question,
    answer: Answer,
    threshold: float | None,
    prompts: tuple[list[str], list[str]],
    rows: list[OrganScore],
) -> QueryAnswer:
    return QueryAnswer(
        text=question.text,
        kind=question.kind,
        finding=question.finding,
        negated=question.negated,
        organs_asked=question.organs,
        answer=answer,
        threshold=threshold,
        positive_prompts=tuple(dict.fromkeys(prompts[0])),
        negative_prompts=tuple(dict.fromkeys(prompts[1])),
        organs=tuple(rows),
        phrase=question.phrase,
    )
