"""The engine that needs no network: sentences, clauses, anatomy, findings, denial, certainty, side.

A clause that names a finding says it of the organ named beside it that can have it, of every one it names ("aorta and
coronary arteries"), else of the organ that the finding implies. A clause that names organs alone says them normal or
abnormal; a remark on technique or follow-up gives nothing. Guarded by training/tests/test_pairs_rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ctglip_training.pairs.anatomy import Place, find_places, implied_place, living_groups, on_side, side_in
from ctglip_training.pairs.denial import is_denied, is_uncertain, says_normal
from ctglip_training.pairs.engine import OrganSentence
from ctglip_training.pairs.findings import Mention, find_mentions
from ctglip_training.pairs.sentences import is_report_part, split_clauses, split_heading, split_sentences

_NO_STATEMENT = re.compile(
    r"\b(?:could|can|cannot|can ?not)\b.{0,20}\b(?:not )?(?:be )?(?:optimally )?evaluat\w+"
    r"|\bevaluated (?:optimally|together)\b"
    r"|\bsuboptimal\w*|\brecommend\w*|\bwas made\b|\bnot (?:be )?(?:\w+ )?evaluat\w+|\bas far as\b(?!.*,)"
    r"|^\s*(?:when|in) (?:the )?(?:exam|evaluat)\w+[^,;]*(?:window)?\W*$|\bcontrast (?:agent|material|medium)\b",
    re.I,
)
_LOOSE_REGIONS = frozenset({"mediastinum", "abdomen", "chest wall", "diaphragm"})
"""Regions that say where something lies rather than what is ill."""


class RuleEngine:
    """Splits a report by rules."""

    name = "rules-1"

    def __call__(self, report: str) -> list[OrganSentence]:
        """The report's sentences by organ, in the report's order."""
        found: list[OrganSentence] = []
        section = ""
        for sentence in split_sentences(report):
            heading, rest = split_heading(sentence)
            if is_report_part(heading or sentence):
                section = ""
                found += _read_sentence(rest, section) if heading else ()
                continue
            if heading:
                section = heading if find_places(heading) else ""
            found += _read_sentence(sentence, section)
        return found


@lru_cache(maxsize=20_000)
def _read_sentence(sentence: str, section: str) -> tuple[OrganSentence, ...]:
    """What a sentence says under a heading; kept, for reports repeat most of their sentences word for word."""
    text = split_heading(sentence)[1] if section else sentence
    whole = find_places(text)
    if section and not whole:
        whole = find_places(section)
    else:
        section = ""
    said: dict[tuple[str, str | None, bool], OrganSentence] = {}
    for clause in split_clauses(text):
        for entry in _read_clause(clause.text, section, sentence, whole):
            key = (entry.group, entry.finding, entry.normal)
            said[key] = _joined(said[key], entry) if key in said else entry
    return tuple(_without_contradiction(list(said.values())))


def _joined(one: OrganSentence, other: OrganSentence) -> OrganSentence:
    organs = tuple(dict.fromkeys([*one.organs, *other.organs]))
    side = one.side if one.side == other.side else one.side or other.side
    if one.side and other.side and one.side != other.side:
        side = "both"
    return replace(one, organs=organs, side=side, uncertain=one.uncertain and other.uncertain)


def _without_contradiction(entries: Sequence[OrganSentence]) -> list[OrganSentence]:
    """A group that has a finding is not called normal by the same sentence, unless that denies another finding."""
    ill = {(entry.group, entry.finding) for entry in entries if not entry.normal}
    ill_groups = {group for group, _ in ill}
    return [
        entry
        for entry in entries
        if not entry.normal
        or (entry.finding is None and entry.group not in ill_groups)
        or (entry.finding is not None and (entry.group, entry.finding) not in ill)
    ]


def _read_clause(clause: str, section: str, sentence: str, whole: Sequence[Place]) -> list[OrganSentence]:
    """What a clause says; a heading, where there is one, stands before it but is no finding itself."""
    text = f"{section} {clause}" if section else clause
    places = find_places(text)
    mentions = [mention for mention in find_mentions(text) if mention.end > len(section)]
    if not mentions:
        return _without_finding(text, sentence, places)
    side = side_in(text) or (side_in(sentence) if not places else None)
    entries: list[OrganSentence] = []
    for mention in mentions:
        denied = is_denied(text, mention.start, mention.end)
        uncertain = not denied and is_uncertain(text)
        for place in _places_of(mention, text, places or whole):
            organs = on_side(place.organs, side)
            entries.append(OrganSentence(place.group, organs, sentence, denied, mention.finding, uncertain, side))
    named_too = [place for place in places if place.group not in {entry.group for entry in entries} | _LOOSE_REGIONS]
    if not any(not entry.normal for entry in entries) and not _about_findings(named_too, mentions):
        entries += _without_finding(text, sentence, named_too)
    return entries


def _about_findings(places: Sequence[Place], mentions: Sequence[Mention]) -> bool:
    return any(p.start < m.end and m.start < p.end for p in places for m in mentions)


def _places_of(mention: Mention, clause: str, places: Sequence[Place]) -> list[Place]:
    """The named organs that can have the finding; else the one that it implies; else the nearest that is named."""
    living = living_groups(mention.finding)
    fitting = [place for place in places if place.group in living]
    if fitting:
        return _merged_by_group(fitting)
    implied = implied_place(mention.finding, clause)
    if implied is not None and (implied.group in living or not places):
        return [implied]
    nearest = min(places, key=lambda place: max(place.start - mention.end, mention.start - place.end), default=None)
    return [nearest] if nearest else []


def _without_finding(clause: str, sentence: str, places: Sequence[Place]) -> list[OrganSentence]:
    """What a clause says of the organs that it names, where the catalogue has no word for it."""
    normal = says_normal(clause)
    if not normal and _NO_STATEMENT.search(clause):
        return []
    anatomy = [place for place in places if place.group not in _LOOSE_REGIONS] or list(places)
    if not anatomy:
        implied = implied_place(None, clause)
        anatomy = [implied] if implied else []
    uncertain = not normal and is_uncertain(clause)
    return [
        OrganSentence(place.group, place.organs, sentence, normal, None, uncertain, side_in(clause))
        for place in _merged_by_group(anatomy)
    ]


def _merged_by_group(places: Sequence[Place]) -> list[Place]:
    merged: dict[str, Place] = {}
    for place in places:
        before = merged.get(place.group)
        organs = tuple(dict.fromkeys([*(before.organs if before else ()), *place.organs]))
        merged[place.group] = replace(before or place, organs=organs)
    return list(merged.values())
