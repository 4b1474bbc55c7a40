"""Questions about an encoded study: answers, absent organs, free text, negation, recognition of organs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from studies import make_study

from CTGLIPLib.abnormalities import abnormality_named
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import Cancelled, InputError
from CTGLIPLib.organs import readable_name
from CTGLIPLib.prompts import finding_prompts, organ_prompt
from CTGLIPLib.query import answer_questions, prompts_for, recognise_organs, require_questions
from CTGLIPLib.similarity import name_scores
from CTGLIPLib.text_bank import open_text_encoder


class Counting:
    """The shipped phrase bank, counting and recording what it is asked; unknown phrases get a vector of their own."""

    def __init__(self) -> None:
        self.bank, self.asked, self.calls = open_text_encoder("minilm"), [], 0

    def encode(self, texts):
        self.asked += list(texts)
        self.calls += 1
        rows = []
        for text in texts:
            known = self.bank._bank.get(text)
            if known is None:
                known = np.random.default_rng(len(text)).normal(size=384).astype(np.float32)
                known /= np.linalg.norm(known)
            rows.append(known)
        return np.stack(rows)


ENCODER = open_text_encoder("minilm")


def fatty(positive: bool) -> str:
    prompts = finding_prompts(abnormality_named("fatty_liver"), "liver")
    return (prompts.positive if positive else prompts.negative)[0]


def named(*organs: str) -> dict[str, str | None]:
    return {organ: organ_prompt(readable_name(organ)) for organ in organs}


def ask(study, *texts, encoder=ENCODER):
    return answer_questions(study, texts, encoder).queries


@pytest.mark.parametrize(("positive", "answer"), [(True, "found"), (False, "not_found")])
def test_a_liver_that_looks_like_the_sentence_is_found_and_a_normal_one_is_not(positive, answer):
    (result,) = ask(make_study({"liver": fatty(positive)}), "fatty liver")
    assert result.answer == answer
    assert result.finding == "fatty_liver"
    assert result.threshold == 0.5
    (row,) = result.organs
    assert (row.score > 0.5) == positive
    assert (row.similarity > row.normal_similarity) == positive


def test_similarity_and_score_are_those_of_the_prompts_that_are_told():
    study = make_study({"liver": fatty(positive=True)}, ScoreConfig(slope=5.0, intercept=-0.2))
    (result,) = ask(study, "fatty liver")
    positive, negative = ENCODER.encode(result.positive_prompts), ENCODER.encode(result.negative_prompts)
    a, b = (positive @ study.embeddings[0]).mean(), (negative @ study.embeddings[0]).mean()
    (row,) = result.organs
    assert row.similarity == pytest.approx(a, abs=1e-6)
    assert row.normal_similarity == pytest.approx(b, abs=1e-6)
    assert row.score == pytest.approx(1 / (1 + np.exp(-(5 * (a - b) - 0.2))), abs=1e-6)


def test_the_threshold_decides():
    study = make_study({"liver": fatty(positive=True)})
    (row,) = ask(study, "fatty liver")[0].organs
    for threshold, answer in ((row.score - 1e-3, "found"), (row.score + 1e-3, "not_found")):
        again = dataclasses.replace(study, score=ScoreConfig(threshold=threshold))
        assert ask(again, "fatty liver")[0].answer == answer


@pytest.mark.parametrize(("says", "state"), [({"liver": None}, "too_small"), (named("spleen"), "absent")])
def test_a_finding_in_an_organ_that_was_not_measured_cannot_be_answered(says, state):
    (result,) = ask(make_study(says), "fatty liver")
    assert result.answer == "unanswerable"
    (row,) = result.organs
    assert (row.organ, row.state, row.score, row.similarity) == ("liver", state, None, None)
    assert row.volume_ml == (1.0 if state == "too_small" else 0.0)
    assert (row.centroid_ras_mm is None) == (state == "absent")


def test_an_absent_twin_is_told_beside_the_measured_one():
    (result,) = ask(make_study(named("kidney_left")), "kidney stone")
    assert {row.organ: row.state for row in result.organs} == {"kidney_left": "present", "kidney_right": "absent"}
    assert result.answer in {"found", "not_found"}


def test_a_side_asks_one_side_only():
    (result,) = ask(make_study(named("kidney_left", "kidney_right")), "stone in the left kidney")
    assert [row.organ for row in result.organs] == ["kidney_left"]


def test_an_organ_with_a_mask_of_its_name_is_found_there_whatever_it_looks_like():
    study = make_study({"kidney_left": organ_prompt("spleen"), "spleen": organ_prompt("left kidney")})
    (result,) = ask(study, "left kidney")
    assert result.answer == "found"
    assert result.threshold is None
    assert [row.organ for row in result.organs] == ["kidney_left"]
    assert result.organs[0].score < 0.5


def test_an_organ_whose_mask_is_too_small_cannot_be_answered():
    assert ask(make_study({"spleen": None, "liver": organ_prompt("spleen")}), "spleen")[0].answer == "unanswerable"


def test_an_organ_without_a_mask_is_looked_for_among_all_masks():
    sharp = ScoreConfig(temperature=0.01)
    study = make_study({"thing 1": organ_prompt("liver"), "thing 2": organ_prompt("spleen")}, sharp)
    (result,) = ask(study, "spleen")
    assert result.answer == "found"
    assert result.best.organ == "thing 2"
    assert result.threshold == 0.5
    assert [(row.organ, row.state) for row in result.organs][-1] == ("spleen", "absent")
    assert ask(study, "aorta")[0].answer == "not_found"


def test_an_organs_score_is_its_share_of_the_softmax_over_104_names():
    study = make_study(named("liver"))
    (row,) = ask(study, "liver")[0].organs
    from CTGLIPLib.organs import PAPER_ORGANS

    names = [organ.name for organ in PAPER_ORGANS]
    rows = ENCODER.encode([organ_prompt(organ.readable) for organ in PAPER_ORGANS])
    scores = name_scores(rows @ study.embeddings[0], study.score.temperature)
    assert row.score == pytest.approx(scores[names.index("liver")], abs=1e-6)
    assert row.similarity == pytest.approx(1.0, abs=1e-5)


def test_free_text_is_asked_of_the_organ_it_names_in_the_users_words():
    encoder = Counting()
    (result,) = ask(make_study(named("liver", "spleen")), "zebra pattern of the liver", encoder=encoder)
    assert (result.kind, result.finding) == ("finding", None)
    assert [row.organ for row in result.organs] == ["liver"]
    assert any("zebra pattern" in sentence for sentence in result.positive_prompts)
    assert result.negative_prompts[0] == "No evident abnormality in the liver."


def test_free_text_without_an_organ_is_asked_of_all_organs():
    (result,) = ask(make_study(named("liver", "spleen")), "zebra pattern", encoder=Counting())
    assert [row.organ for row in result.organs] == ["liver", "spleen"]


@pytest.mark.parametrize("text", ["no fatty liver", "liver without steatosis", "no zebra pattern of the liver"])
def test_a_denied_finding_is_asked_positively_and_the_denial_never_reaches_the_encoder(text):
    encoder = Counting()
    study = make_study({"liver": fatty(positive=True)})
    (denied,) = ask(study, text, encoder=encoder)
    assert denied.negated
    assert not any(" no " in f" {s.lower()}" or "without" in s for s in denied.positive_prompts)
    assert not any(text in sentence for sentence in encoder.asked)
    if "zebra pattern" not in text:
        assert denied.answer == "found"


def test_the_sentences_of_all_organs_reach_the_encoder_together_and_once():
    encoder = Counting()
    ask(make_study(named("liver", "spleen", "kidney_left")), "strange glow", encoder=encoder)
    assert encoder.calls == 1
    assert len(encoder.asked) == len(set(encoder.asked)) == 24


def test_progress_is_told_for_every_question_and_stops_them():
    told = []
    study, texts = make_study(), ["fatty liver", "liver"]
    answer_questions(study, texts, ENCODER, lambda *step: told.append(step))
    assert told == [("answering questions", done, 2) for done in range(3)]
    encoder = Counting()
    with pytest.raises(Cancelled):
        answer_questions(study, texts, encoder, lambda what, done, total: done < 1)
    assert encoder.calls == 1


def test_one_text_may_ask_several_things():
    study = make_study(named("liver", "spleen", "kidney_left", "gallbladder"))
    results = ask(study, "fatty liver, splenomegaly and stone in the left kidney; gallbladder", "no gallstones")
    assert [result.finding for result in results] == ["fatty_liver", "splenomegaly", "kidney_stone", None, "gallstone"]
    assert [result.negated for result in results] == [False, False, False, False, True]
    assert results[3].kind == "organ"


def test_a_study_without_a_measured_organ_leaves_every_question_unanswerable():
    results = ask(make_study({"liver": None}), "fatty liver", "liver", "spleen", "zebra pattern", encoder=Counting())
    assert [result.answer for result in results] == ["unanswerable"] * 4


@pytest.mark.parametrize("text", ["", "   ", "?!", "x" * 501])
def test_a_text_that_asks_nothing_is_refused_before_and_after_encoding(text):
    with pytest.raises(InputError, match="Expected a question"):
        ask(make_study(), text)
    with pytest.raises(InputError, match="Expected a question"):
        require_questions(["fatty liver", text], ())


def test_prompts_are_the_catalogues_or_free_text():
    assert prompts_for("fatty_liver", "steatosis", "liver") == finding_prompts(
        abnormality_named("fatty_liver"), "liver"
    )
    assert prompts_for(None, "steatosis", "liver").positive[0] == "Steatosis in the liver."


def test_recognition_counts_its_own_name_first_and_among_five():
    says = named("liver", "spleen", "aorta") | {"kidney_left": organ_prompt("right kidney"), "stomach": None}
    study = make_study(says)
    result = recognise_organs(study, ENCODER)
    rows = {row.name: row for row in result.organs}
    assert rows["liver"].predicted == "liver"
    assert rows["kidney_left"].predicted == "kidney_right"
    assert "kidney_left" in dict(rows["kidney_left"].top5)
    assert rows["stomach"].predicted is None
    assert (result.top1, result.top5, result.n) == (0.75, 1.0, 4)
    similarities = [value for _, value in rows["liver"].top5]
    assert len(similarities) == 5
    assert similarities == sorted(similarities, reverse=True)


def test_open_vocabulary_masks_are_recognised_and_reported_but_not_counted():
    study = make_study(named("liver") | {"livertumor1": organ_prompt("spleen"), "skull": organ_prompt("skull")})
    result = recognise_organs(study, ENCODER)
    rows = {row.name: row for row in result.organs}
    assert rows["livertumor1"].predicted == "spleen"
    assert rows["skull"].predicted is not None
    assert (result.top1, result.n) == (1.0, 1)
    nothing = recognise_organs(make_study({"livertumor1": organ_prompt("spleen")}), ENCODER)
    assert (nothing.top1, nothing.top5, nothing.n) == (None, None, 0)


def test_an_open_vocabulary_mask_can_be_asked_for_by_its_name():
    (result,) = ask(
        make_study(named("liver") | {"livertumor1": organ_prompt("spleen")}), "livertumor1", encoder=Counting()
    )
    assert (result.kind, result.answer) == ("organ", "found")
    assert [row.organ for row in result.organs] == ["livertumor1"]


def test_permuting_the_organs_permutes_the_answers():
    says = named("liver", "spleen", "aorta")
    forward, backward = make_study(says), make_study(dict(reversed(says.items())))
    a = recognise_organs(forward, ENCODER).organs
    b = recognise_organs(backward, ENCODER).organs
    assert [row.name for row in b] == [row.name for row in reversed(a)]
    assert [row.predicted for row in b] == [row.predicted for row in reversed(a)]
