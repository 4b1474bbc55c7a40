"""Questions in plain words: a table of what each asks, and that negation never reaches the text encoder.

In TABLE an expectation reads "[not] WHAT @ WHERE": WHAT is a finding's id, "organ", or the free text in quotes.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CTGLIPLib.abnormalities import ABNORMALITIES, find_abnormality
from CTGLIPLib.errors import InputError
from CTGLIPLib.negation import NOT_TRIGGERS, TRIGGERS
from CTGLIPLib.organs import ORGANS, organ_named
from CTGLIPLib.phrases import folded
from CTGLIPLib.questions import Question, parse_question

KNOWN = tuple(organ.name for organ in ORGANS if organ.v2_id is not None)
LEFT_LUNG = ("lung_upper_lobe_left", "lung_lower_lobe_left")
RIGHT_LUNG = ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right")
PLACES = {
    "all": KNOWN,
    "lungs": LEFT_LUNG + RIGHT_LUNG,
    "left lung": LEFT_LUNG,
    "right lung": RIGHT_LUNG,
    "kidneys": ("kidney_right", "kidney_left"),
    "left kidney": ("kidney_left",),
    "right kidney": ("kidney_right",),
    "left organs": tuple(name for name in KNOWN if organ_named(name).side == "left"),
}

TABLE = {
    # organs
    "liver": ["organ @ liver"],
    "LIVER": ["organ @ liver"],
    "  the   liver ": ["organ @ liver"],
    "left kidney": ["organ @ left kidney"],
    "kidneys": ["organ @ kidneys"],
    "both kidneys": ["organ @ kidneys"],
    "left and right kidney": ["organ @ kidneys"],
    "show me the left third rib": ["organ @ rib_left_3"],
    "where is the spleen?": ["organ @ spleen"],
    "What about the aorta?": ["organ @ aorta"],
    "heart": ["organ @ heart"],
    "liver/spleen": ["organ @ liver", "organ @ spleen"],
    "liver and spleen": ["organ @ liver", "organ @ spleen"],
    "portal vein and splenic vein": ["organ @ portal_vein_and_splenic_vein"],
    # findings, their organs and sides
    "cyst in the left kidney": ["renal_cyst @ left kidney"],
    "Cyst in the LEFT kidney!!!": ["renal_cyst @ left kidney"],
    "left renal cyst": ["renal_cyst @ left kidney"],
    "a 3.5 cm cyst in the liver": ["hepatic_cyst @ liver"],
    "cysts in both kidneys": ["renal_cyst @ kidneys"],
    "cyst in kidney (left)": ["renal_cyst @ left kidney"],
    "right pleural effusion": ["pleural_effusion @ right lung"],
    "left-sided pleural effusion": ["pleural_effusion @ left lung"],
    "bilateral pleural effusions": ["pleural_effusion @ lungs"],
    "pleural effusion, right": ["pleural_effusion @ right lung"],
    "pneumothorax on the right side": ["pneumothorax @ right lung"],
    "pneumonia in the left lower lobe": ["pneumonia @ lung_lower_lobe_left"],
    "pulmonary nodule in the left lower lobe": ["pulmonary_nodule @ lung_lower_lobe_left"],
    "nodule in the right upper lobe": ["pulmonary_nodule @ lung_upper_lobe_right"],
    "fracture of the left third rib": ["fracture @ rib_left_3"],
    "aneurysm of the aorta": ["abdominal_aortic_aneurysm @ aorta"],
    "Does the patient have emphysema?": ["emphysema @ lungs"],
    "possible haemothorax": ["pleural_effusion @ lungs"],
    "stone\u00a0in\u2003the gall bladder": ["gallstone @ gallbladder"],
    "\uff46\uff41\uff54\uff54\uff59 liver": ["fatty_liver @ liver"],
    "free floating thrombus in the aorta": ["thrombosis @ aorta"],
    "clear cell carcinoma of the kidney": ["renal_mass @ kidneys"],
    # adjectives and predicates
    "is the spleen enlarged?": ["splenomegaly @ spleen"],
    "enlarged spleen": ["splenomegaly @ spleen"],
    "enlarged liver": ["hepatomegaly @ liver"],
    "the heart is enlarged": ["cardiomegaly @ heart"],
    "enlarged liver and spleen": ["hepatomegaly @ liver", "splenomegaly @ spleen"],
    "liver and spleen are enlarged": ["hepatomegaly @ liver", "splenomegaly @ spleen"],
    "dilated aorta": ["abdominal_aortic_aneurysm @ aorta"],
    "calcified aorta": ["aortic_calcification @ aorta"],
    "fatty infiltration of the liver": ["fatty_liver @ liver"],
    "low attenuation liver": ["fatty_liver @ liver"],
    "is the liver fatty": ["fatty_liver @ liver"],
    # several at once
    "left kidney, fatty liver and pleural effusion": [
        "organ @ left kidney",
        "fatty_liver @ liver",
        "pleural_effusion @ lungs",
    ],
    "kidney stones or renal cyst on the left": ["kidney_stone @ left kidney", "renal_cyst @ left kidney"],
    "cyst or stone in the left kidney": ["renal_cyst @ left kidney", "kidney_stone @ left kidney"],
    "emphysema or pneumonia in the left lung": ["emphysema @ left lung", "pneumonia @ left lung"],
    "pleural effusion in the left lung and emphysema": ["pleural_effusion @ left lung", "emphysema @ lungs"],
    "right renal stone, left hydronephrosis": ["kidney_stone @ right kidney", "hydronephrosis @ left kidney"],
    "left renal cyst and right renal cyst": ["renal_cyst @ left kidney", "renal_cyst @ right kidney"],
    "renal cyst on the left and gallstones": ["renal_cyst @ left kidney", "gallstone @ gallbladder"],
    "stone in gallbladder and kidney": ["gallstone @ gallbladder", "kidney_stone @ kidneys"],
    "kidney stones and cysts": ["kidney_stone @ kidneys", "renal_cyst @ kidneys"],
    "gallbladder: stones?": ["gallstone @ gallbladder"],
    "left lung: pleural effusion": ["pleural_effusion @ left lung"],
    "fatty liver; emphysema. gallstones": ["fatty_liver @ liver", "emphysema @ lungs", "gallstone @ gallbladder"],
    # free text
    "stone": ["'stone' @ all"],
    "hemangioma": ["'hemangioma' @ all"],
    "is there a hemangioma?": ["'hemangioma' @ all"],
    "lesion in segment 7 of the liver": ["'lesion in segment 7 of the liver' @ liver"],
    "steatosis of the pancreas": ["'steatosis of the pancreas' @ pancreas"],
    "hemangioma on the left": ["'hemangioma on the left' @ left organs"],
    "anything abnormal in the pancreas?": ["'abnormality' @ pancreas"],
    "normal pressure hydrocephalus": ["'normal pressure hydrocephalus' @ all"],
    # negation before the finding
    "no gallstones": ["not gallstone @ gallbladder"],
    "No evidence of a hemangioma": ["not 'hemangioma' @ all"],
    "without evidence of emphysema": ["not emphysema @ lungs"],
    "w/o emphysema": ["not emphysema @ lungs"],
    "patient denies gallstones": ["not gallstone @ gallbladder"],
    "rule out emphysema": ["not emphysema @ lungs"],
    "r/o emphysema": ["not emphysema @ lungs"],
    "lungs free of nodules": ["not pulmonary_nodule @ lungs"],
    "negative for pneumothorax": ["not pneumothorax @ lungs"],
    "absence of pleural effusion": ["not pleural_effusion @ lungs"],
    "gallbladder without stones": ["not gallstone @ gallbladder"],
    "gallbladder: no stones": ["not gallstone @ gallbladder"],
    "stone-free kidneys": ["not kidney_stone @ kidneys"],
    "no free air": ["not free_air @ liver stomach small_bowel duodenum colon"],
    # behind it
    "gallstones absent": ["not gallstone @ gallbladder"],
    "gallstones were not seen": ["not gallstone @ gallbladder"],
    "kidney stones: none": ["not kidney_stone @ kidneys"],
    "pneumonia has been ruled out": ["not pneumonia @ lungs"],
    "gallstones and cholecystitis are absent": ["not gallstone @ gallbladder", "not cholecystitis @ gallbladder"],
    # in the middle
    "the spleen is not enlarged": ["not splenomegaly @ spleen"],
    "the spleen isn't enlarged": ["not splenomegaly @ spleen"],
    "the spleen isn\u2019t enlarged": ["not splenomegaly @ spleen"],
    "liver not fatty": ["not fatty_liver @ liver"],
    "liver and spleen are not enlarged": ["not hepatomegaly @ liver", "not splenomegaly @ spleen"],
    # normal organs
    "unremarkable liver": ["not 'abnormality' @ liver"],
    "the liver is normal": ["not 'abnormality' @ liver"],
    "no abnormality in the liver": ["not 'abnormality' @ liver"],
    "lungs are clear": ["not 'abnormality' @ lungs"],
    "normal liver and spleen": ["not 'abnormality' @ liver", "not 'abnormality' @ spleen"],
    "liver, spleen and pancreas are normal": [
        "not 'abnormality' @ liver",
        "not 'abnormality' @ spleen",
        "not 'abnormality' @ pancreas",
    ],
    "spleen of normal size": ["not splenomegaly @ spleen"],
    "is the liver not normal?": ["'abnormality' @ liver"],
    # two negations, and none at all
    "not without emphysema": ["emphysema @ lungs"],
    "pneumonia cannot be ruled out": ["pneumonia @ lungs"],
    "cannot exclude pneumonia": ["pneumonia @ lungs"],
    "no change in renal cyst": ["renal_cyst @ kidneys"],
    "not only gallstones": ["gallstone @ gallbladder"],
    "Isn't there a cyst in the left kidney?": ["renal_cyst @ left kidney"],
    # scope
    "no gallstones or cholecystitis": ["not gallstone @ gallbladder", "not cholecystitis @ gallbladder"],
    "neither gallstones nor cholecystitis": ["not gallstone @ gallbladder", "not cholecystitis @ gallbladder"],
    "no pneumonia, emphysema or pleural effusion": [
        "not pneumonia @ lungs",
        "not emphysema @ lungs",
        "not pleural_effusion @ lungs",
    ],
    "no cyst, stone, or mass in the right kidney": [
        "not renal_cyst @ right kidney",
        "not kidney_stone @ right kidney",
        "not renal_mass @ right kidney",
    ],
    "no cyst in the liver or spleen": ["not hepatic_cyst @ liver", "not splenic_lesion @ spleen"],
    "lungs: no nodules, no masses": ["not pulmonary_nodule @ lungs", "not lung_mass @ lungs"],
    "no gallstones but fatty liver": ["not gallstone @ gallbladder", "fatty_liver @ liver"],
    "no gallstones, fatty liver": ["not gallstone @ gallbladder", "fatty_liver @ liver"],
    "no gallstones. fatty liver": ["not gallstone @ gallbladder", "fatty_liver @ liver"],
    "no gallstones and the liver is fatty": ["not gallstone @ gallbladder", "fatty_liver @ liver"],
    "gallstones absent and fatty liver": ["not gallstone @ gallbladder", "fatty_liver @ liver"],
    "normal liver and fatty pancreas": ["not 'abnormality' @ liver", "pancreatic_atrophy @ pancreas"],
    "fatty liver without hepatomegaly": ["fatty_liver @ liver", "not hepatomegaly @ liver"],
    "fatty liver, no ascites in the liver": ["fatty_liver @ liver", "not ascites @ liver"],
    "no abnormality except a renal cyst": ["not 'abnormality' @ all", "renal_cyst @ kidneys"],
    "liver, no gallstones": ["organ @ liver", "not gallstone @ gallbladder"],
    # an organ that is missing
    "absent gallbladder": ["absent_gallbladder @ gallbladder"],
    "no gallbladder": ["absent_gallbladder @ gallbladder"],
    "no right kidney": ["not organ @ right kidney"],
}


def expected(line: str) -> tuple[bool, str, set[str]]:
    what, _, where = line.partition(" @ ")
    negated = what.startswith("not ")
    places = set(PLACES[where]) if where in PLACES else {organ_named(name).name for name in where.split()}
    return negated, what.removeprefix("not "), places


def asked(question: Question) -> tuple[bool, str, set[str]]:
    free = f"'{question.phrase}'" if question.kind == "finding" else "organ"
    return question.negated, question.finding or free, set(question.organs)


@pytest.mark.parametrize("text", TABLE)
def test_every_question_of_the_table_is_understood(text: str) -> None:
    assert [asked(question) for question in parse_question(text, KNOWN)] == [expected(line) for line in TABLE[text]]


def test_the_table_holds_well_over_eighty_questions() -> None:
    assert len(TABLE) > 100


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("left kidney", "left"),
        ("cyst in the right kidney", "right"),
        ("right pleural effusion", "right"),
        ("kidney stone on the left", "left"),
        ("bilateral pleural effusions", None),
        ("both kidneys", None),
        ("fatty liver", None),
        ("left and right kidney", None),
    ],
)
def test_the_side_that_was_asked_for_is_told(text, side) -> None:
    (question,) = parse_question(text, KNOWN)
    assert question.side == side


def test_one_question_keeps_the_text_as_written_and_several_their_own_words() -> None:
    assert parse_question(" Isn't the  spleen enlarged? ", KNOWN)[0].text == "Isn't the spleen enlarged?"
    assert [q.text for q in parse_question("liver, no gallstones", KNOWN)] == ["liver", "no gallstones"]


def test_a_finding_of_the_catalogue_is_phrased_by_its_name_and_an_organ_by_its_readable_name() -> None:
    assert parse_question("is the spleen enlarged?", KNOWN)[0].phrase == "splenomegaly"
    assert parse_question("show me the kidney on the left", KNOWN)[0].phrase == "left kidney"


def test_an_organ_of_the_study_outside_the_vocabulary_can_be_asked() -> None:
    known = ("liver", "livertumor1", "body_skin")
    assert parse_question("livertumor1", known)[0].organs == ("livertumor1",)
    assert parse_question("nevus of the body skin", known)[0].organs == ("body_skin",)


def test_an_organ_that_this_version_does_not_segment_is_not_asked_but_a_missing_kidney_is() -> None:
    assert parse_question("cardiomegaly", KNOWN)[0].organs == ("heart",)
    chambers = tuple(organ.name for organ in ORGANS if organ.v2_id is None and organ.group == "heart")
    assert parse_question("cardiomegaly", chambers)[0].organs == chambers
    assert parse_question("kidney stone", ("kidney_left", "liver"))[0].organs == ("kidney_right", "kidney_left")
    assert parse_question("splenomegaly", ("liver",))[0].organs == ("spleen",)


def test_the_same_thing_asked_twice_is_asked_once() -> None:
    assert len(parse_question("liver, liver", KNOWN)) == 1


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "?!", "...", "\u200b"])
def test_a_text_without_words_is_refused(text) -> None:
    with pytest.raises(InputError, match="Expected a question in words"):
        parse_question(text, KNOWN)


@pytest.mark.parametrize(
    "text", ["the", "is there any", "what is it?", "no", "not without", "on the left", "42", "and or"]
)
def test_a_text_that_names_nothing_is_refused_with_examples(text) -> None:
    with pytest.raises(InputError, match="Name an organ or a finding, such as 'left kidney'"):
        parse_question(text, KNOWN)


def test_a_very_long_text_is_refused() -> None:
    assert parse_question("fatty liver " * 40, KNOWN)[0].finding == "fatty_liver"
    with pytest.raises(InputError, match="at most 500 characters, got 1199"):
        parse_question("fatty liver " * 100, KNOWN)


DENYING = sorted(phrase for phrase in TRIGGERS if not TRIGGERS[phrase] and phrase != "nor")
FINDINGS = [a for a in ABNORMALITIES if not set(folded(a.name)) & {"free", "absent", "gallbladder"}]
NEGATION_WORDS = {
    word for phrase in (*TRIGGERS, *NOT_TRIGGERS) for word in folded(phrase) if word not in {"in", "size", "to", "for"}
} - {"show", "reveal", "out", "limit", "increased", "change", "caliber", "diameter", "width", "sized", "from"}
NEGATION_WORDS -= {"only", "just", "doubt", "significant", "increase", "decrease", "improvement", "progression", "rule"}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DENYING), st.sampled_from(FINDINGS), st.booleans())
def test_a_denied_finding_is_asked_by_its_positive_name(trigger, abnormality, before) -> None:
    text = f"{trigger} {abnormality.name}" if before else f"{abnormality.name} {trigger}"
    questions = parse_question(text, KNOWN)
    assert [question.finding for question in questions] == [abnormality.id]
    assert questions[0].negated
    assert not NEGATION_WORDS & set(folded(questions[0].phrase))


UNKNOWN = ["hemangioma", "dislocation", "foreign gadget", "sarcoidosis", "textiloma"]
PLACED = ["", " in the liver", " of the left kidney", " on the right"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(TRIGGERS)), max_size=3),
    st.sampled_from(UNKNOWN),
    st.sampled_from(PLACED),
    st.sampled_from(["", " or cyst", ", textiloma", " and the spleen is not enlarged"]),
)
def test_no_word_of_negation_ever_reaches_the_encoder(triggers, finding, place, more) -> None:
    for question in parse_question(" ".join([*triggers, finding]) + place + more, KNOWN):
        assert not NEGATION_WORDS & set(folded(question.phrase)), question


@pytest.mark.parametrize("name", [text for a in FINDINGS for text in (a.name, *a.synonyms) if find_abnormality(text)])
def test_every_name_of_the_catalogue_asks_for_its_finding_and_a_no_before_it_denies_it(name) -> None:
    abnormality = find_abnormality(name)
    assert abnormality is not None
    assert {q.finding for q in parse_question(name, KNOWN)} == {abnormality.id}
    (denied,) = parse_question(f"no {name}", KNOWN)
    assert (denied.finding, denied.negated) == (abnormality.id, True)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_questions_or_an_input_error(text) -> None:
    try:
        questions = parse_question(text, KNOWN)
    except InputError:
        return
    assert all(question.phrase and question.organs and question.text for question in questions)
    assert not any(re.search(r"[\x00-\x1f]", question.text) for question in questions)
