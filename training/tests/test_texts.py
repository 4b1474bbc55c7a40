"""What is said of organs: balanced dictionary, false texts that are false, true texts that are true."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from training_phantom import BIG, CYST, FAT, NAMES, FakeEncoder, phantom

from ctglip_training.statements import Statement, StudyText
from ctglip_training.texts import DictionaryEntry, OrganTextSampler, TextTable, build_dictionary
from CTGLIPLib.abnormalities import ABNORMALITIES, abnormality_named
from CTGLIPLib.organs import readable_name
from CTGLIPLib.prompts import finding_prompts, normal_prompt, organ_prompt

SENTENCES = tuple(DictionaryEntry(f.organ, f.abnormality, f.sentence) for f in (CYST, FAT, BIG))


@pytest.fixture(scope="module")
def whole_dictionary() -> tuple[DictionaryEntry, ...]:
    return build_dictionary(SENTENCES, 100_000, seed=1)


def sampler(entries, count: int = 3) -> OrganTextSampler:
    return OrganTextSampler(entries, count)


def test_the_dictionary_has_the_size_asked_for_and_no_text_of_an_organ_twice():
    entries = build_dictionary(SENTENCES, 512, seed=1)
    assert len(entries) == 512
    assert len(set(entries)) == 512


def test_the_dictionary_is_spread_evenly_over_organs_and_abnormalities(whole_dictionary):
    pairs = len({(e.organ, e.abnormality) for e in whole_dictionary})
    counts = Counter((e.organ, e.abnormality) for e in build_dictionary(SENTENCES, pairs + 10, seed=2))
    assert len(counts) == pairs
    assert max(counts.values()) <= 2


def test_the_dictionary_holds_abnormal_texts_and_the_reports_sentences_only(whole_dictionary):
    known = {(organ, text) for a in ABNORMALITIES for organ in a.organs for text in finding_prompts(a, organ).positive}
    reports = {(e.organ, e.text) for e in SENTENCES}
    assert {(e.organ, e.text) for e in whole_dictionary} == known | reports
    assert not any(e.text == normal_prompt(readable_name(e.organ)) for e in whole_dictionary)


def test_the_dictionary_follows_its_seed_alone():
    first = build_dictionary(SENTENCES, 300, seed=3)
    assert build_dictionary(SENTENCES, 300, seed=3) == first
    assert set(build_dictionary(SENTENCES, 300, seed=4)) != set(first)


def test_an_abnormal_organ_never_gets_its_own_finding_as_a_false_text(whole_dictionary, rng):
    patient = phantom(0, (CYST,))
    own = {CYST.sentence, *finding_prompts(abnormality_named("renal_cyst"), "kidney_left").positive}
    for _ in range(200):
        texts = sampler(whole_dictionary)(patient, NAMES, rng)
        at = NAMES.index("kidney_left")
        assert texts.diagnosis[at] in own
        assert not own & set(texts.own_negatives[at])
        assert texts.own_negatives[at][0] == normal_prompt("left kidney")


def test_an_organ_with_two_findings_gets_neither_as_a_false_text(whole_dictionary, rng):
    second = CYST.__class__("kidney_stone", "kidney_left", "A stone in the left kidney.")
    patient = phantom(0, (CYST, second))
    ids = ("renal_cyst", "kidney_stone")
    own = {text for name in ids for text in finding_prompts(abnormality_named(name), "kidney_left").positive}
    own |= {CYST.sentence, second.sentence}
    for _ in range(100):
        texts = sampler(whole_dictionary, 8)(patient, NAMES, rng)
        assert not own & set(texts.own_negatives[NAMES.index("kidney_left")])


def test_no_dictionary_text_beside_the_crop_says_a_finding_of_the_patient(whole_dictionary, rng):
    patient = phantom(0, (CYST,))
    true = {CYST.sentence, *finding_prompts(abnormality_named("renal_cyst"), "kidney_left").positive}
    assert "Renal cyst." in true  # said of either kidney: it must not be drawn as false for the right one
    for _ in range(300):
        texts = sampler(whole_dictionary, 8)(patient, NAMES, rng)
        assert not true & set(texts.extra)


def test_a_normal_organ_is_called_normal_and_gets_false_texts_about_itself_only(whole_dictionary, rng):
    about = {organ: {e.text for e in whole_dictionary if e.organ == organ} for organ in NAMES}
    for _ in range(50):
        texts = sampler(whole_dictionary)(phantom(0), NAMES, rng)
        for organ, true, false in zip(NAMES, texts.diagnosis, texts.own_negatives, strict=True):
            assert true not in about[organ]
            assert len(false) == 3
            assert set(false) <= about[organ]
        assert len(texts.extra) == 3 * len(NAMES)
        assert texts.anatomy == tuple(organ_prompt(readable_name(organ)) for organ in NAMES)


@dataclass(frozen=True)
class Read:
    """A study of which only the report is known."""

    said: StudyText


def reported(*statements: Statement) -> Read:
    return Read(StudyText(statements, "The report."))


def drawn(entries, patient: Read, rng, times: int = 100, **options):
    make = OrganTextSampler(entries, 8, **options)
    return [make(patient, NAMES, rng) for _ in range(times)]


LIVER = NAMES.index("liver")
STEATOSIS = finding_prompts(abnormality_named("fatty_liver"), "liver").positive


def test_of_an_organ_with_several_findings_one_is_drawn_each_time(whole_dictionary, rng):
    odd = Statement("liver", "An odd liver.")
    fat = Statement("liver", "Fatty.", finding="fatty_liver")
    texts = {t.diagnosis[LIVER] for t in drawn(whole_dictionary, reported(odd, fat), rng)}
    assert {"An odd liver.", "Fatty."} < texts <= {"An odd liver.", "Fatty.", *STEATOSIS}


def test_a_finding_that_the_catalogue_does_not_know_is_never_called_false(whole_dictionary, rng):
    unknown = [DictionaryEntry("liver", None, "Another odd liver."), DictionaryEntry("liver", None, "An odd liver.")]
    for texts in drawn([*unknown, *whole_dictionary], reported(Statement("liver", "An odd liver.")), rng):
        assert texts.diagnosis[LIVER] == "An odd liver."
        assert not {"Another odd liver.", "An odd liver."} & {*texts.own_negatives[LIVER], *texts.extra}


def test_an_organ_that_the_report_calls_normal_gets_its_words_or_the_template(whole_dictionary, rng):
    clear = Statement("liver", "The liver is clear.", normal=True)
    texts = drawn(whole_dictionary, reported(clear), rng)
    assert {t.diagnosis[LIVER] for t in texts} == {"The liver is clear.", normal_prompt("liver")}
    assert all(t.normal[LIVER] for t in texts)


def test_an_organ_that_the_report_does_not_mention_gets_the_template(whole_dictionary, rng):
    for texts in drawn(whole_dictionary, reported(Statement("spleen", "Large.", finding="splenomegaly")), rng, 30):
        assert texts.diagnosis[LIVER] == normal_prompt("liver")
        assert texts.told == tuple(range(len(NAMES)))


def test_a_finding_that_the_report_denies_is_a_false_text(rng):
    denied = Statement("liver", "No fatty liver.", normal=True, finding="fatty_liver")
    texts = drawn((), reported(denied), rng, 20)
    assert all(set(t.own_negatives[LIVER]) <= set(STEATOSIS) and t.own_negatives[LIVER] for t in texts)
    both = drawn((), reported(denied, Statement("liver", "Fatty.", finding="fatty_liver")), rng, 20)
    assert all(set(t.own_negatives[LIVER]) == {normal_prompt("liver")} for t in both)


def test_what_is_only_suspected_is_neither_said_nor_called_false(whole_dictionary, rng):
    perhaps = Statement("liver", "Perhaps fatty.", finding="fatty_liver", uncertain=True)
    for texts in drawn(whole_dictionary, reported(perhaps), rng):
        assert LIVER not in texts.told
        assert len(texts.told) == len(texts.diagnosis) == len(texts.own_negatives) == len(NAMES) - 1
        assert not {"Perhaps fatty.", *STEATOSIS} & set(texts.extra)
    said = {t.diagnosis[LIVER] for t in drawn(whole_dictionary, reported(perhaps), rng, suspected="abnormal")}
    assert said == {"Perhaps fatty.", *STEATOSIS}


def test_a_finding_of_one_organ_is_not_called_false_beside_another_in_a_real_report(rng):
    entries = [DictionaryEntry(f"kidney_{side}", "renal_cyst", "A cyst of the kidney.") for side in ("left", "right")]
    cyst = Statement("kidney_left", "Cystic lesion.", finding="renal_cyst")
    assert all(not texts.extra for texts in drawn(entries, reported(cyst), rng, 20))


def test_nothing_is_told_of_a_study_without_a_report(whole_dictionary, rng):
    (texts,) = drawn(whole_dictionary, Read(StudyText()), rng, 1)
    assert len(texts.anatomy) == len(NAMES)
    assert (texts.told, texts.diagnosis, texts.extra, texts.own_negatives, texts.report) == ((), (), (), (), "")


def test_the_report_says_every_finding_or_that_there_is_none(rng):
    texts = sampler(())(phantom(0, (CYST, FAT)), (), rng)
    assert texts.report == f"{CYST.sentence} {FAT.sentence}"
    assert sampler(())(phantom(0), (), rng).report == "No evident abnormality in the CT scan."


def test_the_same_generator_draws_the_same_texts(whole_dictionary):
    drawn = [
        sampler(whole_dictionary)(phantom(0, (FAT,)), NAMES, np.random.default_rng([1, step])) for step in (5, 5, 6)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_text_is_embedded_once(monkeypatch):
    encoder, asked = FakeEncoder(8), []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts: (asked.extend(texts), encode(texts))[1])
    table = TextTable(encoder)
    rows = table(["a", "b", "a"])
    again = table(["b"])
    assert asked == ["a", "b"]
    assert np.allclose(rows.numpy(), encode(["a", "b", "a"]))
    assert np.allclose(again.numpy(), rows[1:2].numpy())
