"""Protocols and prompts: counts, names, what published systems ask."""

from __future__ import annotations

import pytest

from ctglip_training.evaluation.protocols import (
    BOTH_CALCIFICATIONS,
    CT_RATE_FINDINGS,
    FVLM_16,
    FVLM_LEFT_OUT,
    MERLIN_FINDINGS,
    PROMPT_SETS,
    PROTOCOLS,
    RAD_CHESTCT_MAPPINGS,
    RADAR_21,
    fvlm_organ,
    fvlm_prompts,
    patient_of,
    protocol_named,
)
from ctglip_training.evaluation.thresholds import RULES
from CTGLIPLib.errors import ConfigError, InputError


def test_the_lists_have_the_published_lengths():
    assert (len(set(CT_RATE_FINDINGS)), len(set(MERLIN_FINDINGS))) == (18, 30)
    assert len(PROTOCOLS["ct-rate"].subsets[FVLM_16]) == 16
    assert len(PROTOCOLS["merlin"].subsets[RADAR_21]) == 21
    assert {name: len(mapping) for name, mapping in RAD_CHESTCT_MAPPINGS.items()} == {
        "standard": 16, "extended": 18, "hlip": 14,
    }  # fmt: skip


def test_the_mappings_name_findings_of_ct_rate_alone():
    for mapping in RAD_CHESTCT_MAPPINGS.values():
        assert set(mapping) <= {*CT_RATE_FINDINGS, BOTH_CALCIFICATIONS}
        assert all(mapping.values())


def test_every_protocol_uses_rules_that_exist_and_says_what_to_know():
    for protocol in PROTOCOLS.values():
        assert set(protocol.rules) <= set(RULES)
        assert protocol.notes
        assert protocol_named(protocol.name) is protocol


def test_patients_are_read_from_ct_rates_names_alone():
    ct_rate, plain = PROTOCOLS["ct-rate"], PROTOCOLS["plain"]
    assert {patient_of(f"valid_12_{scan}_{recon}", ct_rate) for scan in "ab" for recon in (1, 2)} == {"valid_12"}
    assert patient_of("train_7_a_1", ct_rate) == "train_7"
    assert patient_of("other", ct_rate) == "other"
    assert patient_of("valid_12_a_1", plain) == "valid_12_a_1"


def test_the_prompt_sets_ask_as_their_systems_do():
    assert PROMPT_SETS["ct-clip"]("Emphysema") == (("Emphysema is present.", "Emphysema is not present."),)
    assert PROMPT_SETS["fvlm"]("Lung nodule") == (("Nodule.", "Not Nodule."),)
    assert PROMPT_SETS["fvlm"]("Hiatal hernia") == (("Hiatal hernia.", "Not Hiatal hernia."),)
    assert (fvlm_organ("Hiatal hernia"), fvlm_organ("Emphysema")) == ("esophagus", "lung")
    seven = PROMPT_SETS["radfinder"]("Atelectasis")
    assert len(set(seven)) == 7
    assert seven[2] == ("There is Atelectasis.", "There is no Atelectasis.")


@pytest.mark.parametrize("finding", [*FVLM_LEFT_OUT, "splenomegaly"])
def test_what_fvlm_does_not_ask_is_refused(finding):
    with pytest.raises(InputError, match="which fVLM leaves out, got"):
        fvlm_prompts(finding)


def test_an_unknown_protocol_is_refused_with_the_names():
    with pytest.raises(ConfigError, match="ct-rate, rad-chestct, merlin, plain, got 'ctrate'"):
        protocol_named("ctrate")
