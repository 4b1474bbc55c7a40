from __future__ import annotations

import pytest

from CTGLIPLib.abnormalities import ABNORMALITIES, abnormality_named
from CTGLIPLib.errors import InputError
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.prompts import all_bank_phrases, finding_prompts, free_text_prompts, normal_prompt, organ_prompt


def test_organ_and_normal_prompts_are_the_papers():
    assert organ_prompt("left kidney") == "This is the left kidney in the CT scans."
    assert normal_prompt("left kidney") == "No evident abnormality in the left kidney."


def test_every_finding_has_prompts_for_each_of_its_organs():
    bank = set(all_bank_phrases())
    for abnormality in ABNORMALITIES:
        for organ in abnormality.organs:
            prompts = finding_prompts(abnormality, organ)
            assert min(len(prompts.positive), len(prompts.negative)) >= 4
            assert bank.issuperset(prompts.positive + prompts.negative)


def test_the_first_negative_is_the_normal_prompt_of_that_organ():
    prompts = finding_prompts(abnormality_named("kidney_stone"), "kidney_left")
    assert prompts.negative[0] == normal_prompt("left kidney")
    assert "Stone in the left kidney." in prompts.positive


def test_finding_prompts_work_for_an_organ_outside_the_vocabulary():
    assert "Fracture of the left radius." in finding_prompts(abnormality_named("fracture"), "radius_left").positive


def test_no_prompt_holds_a_placeholder_or_a_doubled_article():
    wrong = [text for text in all_bank_phrases() if "{" in text or "the the" in text.lower() or "  " in text]
    assert wrong == []


def test_the_bank_holds_every_phrase_once_and_stays_small():
    bank = all_bank_phrases()
    assert len(set(bank)) == len(bank)
    assert {organ_prompt(o.readable) for o in ORGANS} | {normal_prompt(o.readable) for o in ORGANS} <= set(bank)
    assert 2000 < len(bank) < 4000


def test_free_text_is_said_of_the_organ_asked():
    prompts = free_text_prompts("pneumatosis?", "colon")
    assert prompts.positive[0] == "Pneumatosis in the colon."
    assert prompts.positive[3] == "The colon shows pneumatosis."
    assert prompts.negative[0] == "No evident abnormality in the colon."
    assert len(set(prompts.negative)) == 4


def test_free_text_that_names_its_organ_does_not_name_it_twice():
    assert free_text_prompts("hepatic abscess", "liver").positive[0] == "Hepatic abscess."
    assert free_text_prompts("hepatic abscess", "spleen").positive[0] == "Hepatic abscess in the spleen."


def test_empty_free_text_is_refused():
    with pytest.raises(InputError, match="in words"):
        free_text_prompts(" ?", "liver")
