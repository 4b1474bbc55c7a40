from __future__ import annotations

import json
import threading

import pytest

from ctglip_training.pairs.answer_cache import AnswerCache
from ctglip_training.pairs.chat import ChatConfig, ChatReply, EndpointError
from ctglip_training.pairs.engine import OrganSentence, ReportError
from ctglip_training.pairs.llm import LanguageModelEngine, Prices
from ctglip_training.pairs.prompt import AnswerError, question, read_answer, repair

REPORT = "A stone lies in the left kidney.\nThe liver is normal."
STONE = {
    "sentence": "A stone lies in the left kidney.",
    "organ": "kidney",
    "normal": False,
    "finding": "kidney_stone",
    "uncertain": False,
    "side": "left",
}
LIVER = {"sentence": "The liver is normal.", "organ": "liver", "normal": True}
READ = [
    OrganSentence("kidney", ("kidney_left",), "A stone lies in the left kidney.", False, "kidney_stone", side="left"),
    OrganSentence("liver", ("liver",), "The liver is normal.", True),
]


def answer(*statements):
    return json.dumps({"statements": list(statements)})


class Model:
    """Answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers, model="stub"):
        self.config = ChatConfig("http://localhost/v1", model)
        self.asked = []
        self._answers = answers

    def __call__(self, messages):
        self.asked.append(list(messages))
        return ChatReply(self._answers[min(len(self.asked), len(self._answers)) - 1], 1000, 200)


def engine(model, folder, prices=None):
    return LanguageModelEngine(model, AnswerCache(folder, model.config.model, "1"), prices)


def test_an_answer_becomes_sentences_with_the_organs_of_the_side(tmp_path):
    assert engine(Model(answer(STONE, LIVER)), tmp_path)(REPORT) == READ


def test_an_answer_in_a_code_fence_counts():
    assert read_answer(f"```json\n{answer(STONE, LIVER)}\n```", REPORT) == READ


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("Here you are:", "not JSON"),
        ("[]", "statements"),
        ('{"statements": {}}', "statements"),
        ('{"statements": ["stone"]}', "statement 1 is not an object"),
        (answer(LIVER, {**STONE, "organ": "kidneys, left"}), "statement 2: .*ORGANS"),
        (answer({**STONE, "finding": "nephrolithiasis"}), "FINDINGS"),
        (answer({**STONE, "finding": ["kidney_stone"]}), "FINDINGS"),
        (answer({**STONE, "normal": "no"}), "true or false"),
        (answer({**STONE, "uncertain": "maybe"}), "uncertain"),
        (answer({**STONE, "side": "l"}), "left, right"),
        (answer({**STONE, "sentence": "A stone lies in the right kidney."}), "not in the report"),
        (answer({**STONE, "sentence": " "}), "must be a text"),
        (answer({"organ": "liver"}), "must be a text"),
    ],
)
def test_an_answer_that_does_not_hold_is_refused_with_its_fault(wrong, problem):
    with pytest.raises(AnswerError, match=problem):
        read_answer(wrong, REPORT)


def test_spacing_and_case_of_a_copied_sentence_do_not_matter():
    copied = {**LIVER, "sentence": "the liver  is normal"}
    assert read_answer(answer(copied), "The liver is\nnormal.")[0].sentence == "the liver is normal"


def test_a_wrong_answer_is_sent_back_with_its_fault(tmp_path):
    model = Model("no JSON", answer(STONE, LIVER))
    asking = engine(model, tmp_path)
    assert asking(REPORT) == READ
    assert model.asked[1][: len(question(REPORT))] == question(REPORT)
    assert model.asked[1][-2]["content"] == "no JSON"
    assert "not JSON" in model.asked[1][-1]["content"]
    assert asking.usage.repairs == 1


def test_a_report_without_a_valid_answer_fails_alone(tmp_path):
    model = Model("no JSON")
    with pytest.raises(ReportError, match="3 answers that do not hold"):
        engine(model, tmp_path)(REPORT)
    assert len(model.asked) == 3


def test_what_was_asked_once_is_not_asked_or_charged_again(tmp_path):
    engine(Model("no JSON", answer(STONE, LIVER)), tmp_path)(REPORT)
    again = Model("never asked")
    asking = engine(again, tmp_path)
    assert asking(REPORT) == READ
    assert again.asked == []
    assert (asking.usage.asked, asking.usage.from_cache, asking.usage.cost(Prices(1, 1))) == (0, 2, 0.0)


def test_another_model_report_or_prompt_is_asked_anew(tmp_path):
    engine(Model(answer(LIVER)), tmp_path)(REPORT)
    other_model = Model(answer(LIVER), model="other")
    engine(other_model, tmp_path)(REPORT)
    other_report = Model(answer(LIVER))
    engine(other_report, tmp_path)(REPORT + " The spleen is normal.")
    other_prompt = Model(answer(LIVER))
    LanguageModelEngine(other_prompt, AnswerCache(tmp_path, "stub", "2"))(REPORT)
    assert [len(model.asked) for model in (other_model, other_report, other_prompt)] == [1, 1, 1]


def test_a_broken_file_in_the_cache_is_asked_anew(tmp_path):
    engine(Model(answer(LIVER)), tmp_path)(REPORT)
    kept = next(tmp_path.rglob("*.json"))
    kept.write_text("half", encoding="utf-8")
    model = Model(answer(LIVER))
    engine(model, tmp_path)(REPORT)
    assert len(model.asked) == 1
    assert json.loads(kept.read_text(encoding="utf-8"))["prompt_tokens"] == 1000


def test_cost_is_counted_in_tokens_and_the_limit_stops_the_run(tmp_path):
    prices = Prices(prompt=2.0, completion=10.0, limit=0.005)
    asking = engine(Model(answer(LIVER)), tmp_path, prices)
    asking(REPORT)
    assert asking.usage.cost(prices) == pytest.approx(0.004)
    asking(REPORT + " The spleen is normal.")
    with pytest.raises(EndpointError, match="cost 0.01 of at most 0.01.*--max-cost"):
        asking(REPORT + " The pancreas is normal.")
    assert asking(REPORT) == [READ[1]]


def test_threads_share_one_count(tmp_path):
    asking = engine(Model(answer(LIVER)), tmp_path)
    threads = [threading.Thread(target=asking, args=(f"{REPORT} Line {i}.",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asking.usage.asked == 8
    assert asking.usage.prompt_tokens == 8000


def test_the_question_lists_organs_and_findings_and_holds_the_report():
    system, user = question(REPORT)
    assert "kidney" in system["content"]
    assert "lymph node" in system["content"]
    assert "kidney_stone" in system["content"]
    assert user["content"] == REPORT
    assert [message["role"] for message in repair("x", "fault.")] == ["assistant", "user"]


def test_the_name_says_model_and_prompt(tmp_path):
    assert engine(Model(""), tmp_path).name == "stub/prompt-1"
