"""The sentences that stand for organs and findings before the text encoder.

Every sentence that a known question can need is listed by `all_bank_phrases`, so that their embeddings can be shipped.
Negated wording never stands for a finding: the counterpart of a finding describes the normal organ.
(Testing/Lib/test_prompts.py)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from CTGLIPLib.abnormalities import ABNORMALITIES, Abnormality
from CTGLIPLib.errors import InputError
from CTGLIPLib.organs import ORGANS, match_organs, readable_name


@dataclass(frozen=True)
class FindingPrompts:
    """Sentences that say a finding is there, and sentences that say the organ is normal."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def organ_prompt(readable: str) -> str:
    """The sentence that stands for an organ."""
    return f"This is the {readable} in the CT scans."


def normal_prompt(readable: str) -> str:
    """The sentence that stands for a normal organ.

    Source: Lin et al. 2024, arXiv:2404.15272v4, section 4.2: "no evident abnormality in {organ}".
    """
    return f"No evident abnormality in the {readable}."


def finding_prompts(abnormality: Abnormality, organ_name: str) -> FindingPrompts:
    """The catalogue's sentences for and against an abnormality in one organ.

    Args:
        abnormality: of the catalogue.
        organ_name: vocabulary name, or the name of an organ outside the vocabulary.
    """
    readable = readable_name(organ_name)
    return FindingPrompts(_filled(abnormality.positive, readable), _filled(abnormality.negative, readable))


def free_text_prompts(text: str, organ_name: str) -> FindingPrompts:
    """Sentences for and against a finding in the user's own words, negation already removed, in one organ.

    Raises:
        InputError: if the text holds no words.
    """
    finding = text.strip().rstrip(".?!;:, ")
    if not finding:
        msg = "Expected the finding in words, got an empty text. Write what to look for, such as 'cyst'."
        raise InputError(msg)
    readable = readable_name(organ_name)
    capital = finding[0].upper() + finding[1:]
    says_where = any(organ.name == organ_name for organs, _, _ in match_organs(finding) for organ in organs)
    where = "" if says_where else f" in the {readable}"
    positive = (
        f"{capital}{where}.",
        f"There is {finding}{where}.",
        f"Findings consistent with {finding}{where}.",
        f"The {readable} shows {finding}.",
    )
    negative = (
        normal_prompt(readable),
        f"The {readable} is normal.",
        f"The {readable} has a normal appearance.",
        f"The {readable} is unremarkable.",
    )
    return FindingPrompts(positive, negative)


def all_bank_phrases() -> tuple[str, ...]:
    """Every sentence for the vocabulary and the catalogue, each once: organs, normal organs, findings per organ."""
    organs = [sentence for o in ORGANS for sentence in (organ_prompt(o.readable), normal_prompt(o.readable))]
    findings = [
        sentence
        for abnormality in ABNORMALITIES
        for organ in abnormality.organs
        for prompts in (finding_prompts(abnormality, organ),)
        for sentence in (*prompts.positive, *prompts.negative)
    ]
    return tuple(dict.fromkeys([*organs, *findings]))


def _filled(templates: Iterable[str], readable: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(template.replace("{organ}", readable) for template in templates))
