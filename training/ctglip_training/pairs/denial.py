"""Whether a clause of a report denies, or only suspects, what a span of it names.

Reports deny in front ("no effusion", "without effusion") and behind ("effusion was not observed"). A denial in front
ends at a word such as "except" (a clause ends there); one behind does not reach over a relative clause
("nodules that were not seen before"). Guarded by training/tests/test_pairs_denial.py.
"""

from __future__ import annotations

import re

_SEEN = (
    r"(?:observed|detected|seen|present|found|identified|distinguished|noted|visuali[sz]ed|encountered|noticed|selected"
    r"|monitored|recorded|determined|shown|demonstrated|evident|available|followed|appreciated|depicted|remarkable"
    r"|included|considered|watched|chosen|defined|revealed|suspected|existing|traced|received|tracked|formed|viewed)"
)
_IN_FRONT = re.compile(
    r"\b(?:no|without|neither|nor|never|absence of|free of|free from|devoid of|negative for|lack of|clear of|"
    r"not? (?:show|reveal|demonstrate|contain|have|reach|detect|observe|see|cause)|not any)\b(?!\s+(?:longer"
    r"|doubt|change))"
    r"|\bruled? out\b|\bexcluded?\b(?=\s+\w)",
    re.I,
)
_NOT_IN_FRONT = re.compile(
    r"\black of (?:\w+ )?contrast\w*|\bno contrast\b|\bwithout (?:\w+ )?contrast\b"
    r"|\bno (?:\w+ )?(?:increase|decrease) in (?:the )?(?:sizes?|numbers?|amount|dimensions?)\b"
    r"|\bno (?:significant |obvious |clear )?(?:change|difference|progression|regression)\b",
    re.I,
)
_BEHIND = re.compile(
    rf"\b(?:not|n't|never)\s+(?:(?!are\b|is\b|was\b|were\b|exceed|reach|larger)[\w-]+\s+){{0,4}}?{_SEEN}\b"
    rf"|\b(?:is|are|was|were)\s+(?:absent|excluded|ruled out|resolved|not there)\b|\bnot\s*$|\b(?:no longer)\b"
    rf"|\b(?:completely|totally)\s+(?:resolved|resorbed|disappeared|regressed)\b|\b(?:disappeared|resolved)\b"
    r"|\bcould not be (?:detected|observed|seen|identified|found|selected)\b|\b(?:negative|none)\b",
    re.I,
)
_RELATIVE = re.compile(r"\b(?:that|which|who|whose|where|because|since)\b", re.I)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have)\b(?!\s+(?:not|also not|been)\b)", re.I)
_UNCERTAIN = re.compile(
    r"\?|\b(?:possible|possibly|probable|probably|suspicio\w+|suspected|suggest\w*|may|might|could be"
    r"|cannot be excluded"
    r"|could not be excluded|can not be excluded|in favou?r of|likely|presumed|differential|questionable|doubtful"
    r"|cannot be ruled out|could not be ruled out|should be considered|must be excluded"
    r"|(?:cannot|can not|could not) be (?:\w+ )?evaluated)\b",
    re.I,
)
_NORMAL = re.compile(
    r"\b(?:normal|natural|open|patent|preserved|unremarkable|intact|regular|homogeneous|clear|ordinary|usual|healthy|midline"
    r"|no (?:feature|pathology|abnormalit\w+|finding)s?)\b",
    re.I,
)
_ABNORMAL = re.compile(
    r"\b(?:than normal|above normal|upper limit|abnormal|not normal|normal variant|near normal|lower than"
    r"|larger|wider)\b",
    re.I,
)


def is_denied(clause: str, start: int, end: int) -> bool:
    """Whether the clause says that what stands at [start, end) is not there; two denials cancel."""
    skipped = [found.span() for found in _NOT_IN_FRONT.finditer(clause)]
    front = [f for f in _IN_FRONT.finditer(clause, 0, start) if not any(a <= f.start() < b for a, b in skipped)]
    if front:
        return not _RELATIVE.search(clause, front[-1].end(), start)
    return any(_reaches_back(clause, end, found) for found in _BEHIND.finditer(clause, end))


def _reaches_back(clause: str, end: int, denial: re.Match[str]) -> bool:
    between = clause[end : denial.start()]
    return not _RELATIVE.search(between) and len(_VERB.findall(between)) <= _own_verbs(between)


def _own_verbs(between: str) -> int:
    """One where the verb that ends the gap belongs to the denial ("was not seen"), else none."""
    return 1 if re.search(r"\b(?:is|are|was|were|has|have|could|did|does|do)\s*$", between.strip(), re.I) else 0


def is_uncertain(clause: str) -> bool:
    """Whether the clause only suspects what it names."""
    return _UNCERTAIN.search(clause) is not None


def says_normal(clause: str) -> bool:
    """Whether the clause says that what it speaks of is normal, or that nothing was seen there."""
    if _ABNORMAL.search(clause):
        return False
    denied = any(not _NOT_IN_FRONT.match(clause, found.start()) for found in _IN_FRONT.finditer(clause))
    return bool(_NORMAL.search(clause)) or denied or bool(_BEHIND.search(clause))
