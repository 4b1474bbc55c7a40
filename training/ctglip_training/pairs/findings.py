"""The findings that a clause of a report names, in the words of reports.

CT-RATE's 18 findings have patterns of their own, for reports word them more freely than questions do; every other
finding is found by the catalogue's names. A pattern may need a word beside it ("calcific" beside "aorta") and may
be barred by one ("nodule" beside "thyroid"). Guarded by training/tests/test_pairs_findings.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from CTGLIPLib.abnormalities import ABNORMALITIES, match_abnormalities

CT_RATE_LABELS = {
    "Medical material": "medical_material",
    "Arterial wall calcification": "arterial_wall_calcification",
    "Cardiomegaly": "cardiomegaly",
    "Pericardial effusion": "pericardial_effusion",
    "Coronary artery wall calcification": "coronary_calcification",
    "Hiatal hernia": "hiatal_hernia",
    "Lymphadenopathy": "lymphadenopathy",
    "Emphysema": "emphysema",
    "Atelectasis": "atelectasis",
    "Lung nodule": "pulmonary_nodule",
    "Lung opacity": "lung_opacity",
    "Pulmonary fibrotic sequela": "pulmonary_fibrosis",
    "Pleural effusion": "pleural_effusion",
    "Mosaic attenuation pattern": "mosaic_attenuation",
    "Peribronchial thickening": "peribronchial_thickening",
    "Consolidation": "consolidation",
    "Bronchiectasis": "bronchiectasis",
    "Interlobular septal thickening": "interlobular_septal_thickening",
}
"""CT-RATE's label -> id in the catalogue, in the order of its files."""


@dataclass(frozen=True)
class FindingRule:
    """How reports word a finding.

    Attributes:
        finding: the catalogue's id.
        pattern: what names it.
        beside: what the clause must hold as well.
        barred: what the clause must not hold.
        blank: words that are left aside ("coronary arteries" where the arteries' wall is meant).
    """

    finding: str
    pattern: re.Pattern[str]
    beside: re.Pattern[str]
    barred: re.Pattern[str]
    blank: re.Pattern[str]

    def find(self, clause: str) -> Iterator[tuple[int, int]]:
        """Where the clause names the finding, as characters [start, end)."""
        rest = self.blank.sub(lambda found: " " * len(found.group()), clause)
        if self.beside.search(rest) and not self.barred.search(clause):
            yield from (found.span() for found in self.pattern.finditer(rest))


@dataclass(frozen=True)
class Mention:
    """A finding named at characters [start, end) of a clause."""

    finding: str
    start: int
    end: int


_NEVER = r"(?!)"


def _rule(finding: str, pattern: str, beside: str = "", barred: str = _NEVER, blank: str = _NEVER) -> FindingRule:
    return FindingRule(finding, *(re.compile(text, re.I) for text in (pattern, beside, barred, blank)))


_CALCIFIED = r"\b(?:calcif\w*|calcic\w*|athero\w*|plaques?)\b"
_CORONARY = r"\b(?:coronar\w*|LAD|RCA|LCX|CX|circumflex|anterior descending)\b"
_ARTERY = (
    r"\b(?:aorta|aortas|aortic|arter(?:y|ies|ial)|arch|subclavian|carotid|vascular|vessels?|brachiocephalic"
    r"|supraaortic|iliac)\b"
)
_OTHER_PLACE = (
    r"\b(?:thyroid\w*|adrenals?|surrenal|breasts?|liver|hepatic|spleen\w*|splenic|kidneys?|renal|pancrea\w*"
    r"|skin|muscles?"
    r"|subcutaneous|gland|peritone\w*|omental|mesenter\w*|bones?|vertebra\w*|lymph nodul\w*|stomach|axilla\w*"
    r"|gallbladder"
    r"|soft tissue|fatty?|inguinal|umbilic\w*|gynecomastia|rib|humer\w*|sternum|skeletal|thymic|thymus|suture"
    r"|calcul\w*)\b"
)
_DENSE = r"(?:consolid\w*|infiltra\w*|densit\w*|opaci\w*|thicken\w*|ground|glass|contour\w*|sequel\w*)"
_THICK = r"thick\w*"

RULES: tuple[FindingRule, ...] = (
    _rule(
        "medical_material",
        r"\b(?:stents?|stented|catheters?|pacemakers?|ports?|tubes?|clips?|prosthe\w+|sternotomy|sutures?|wires?"
        r"|electrodes?|valve replacement|(?:breast|silicone?|metallic|dental) implants?|cannula\w*|screws?"
        r"|nasogastric|tracheostomy|ICD|drains?|PICC|leads|chemo\s?port|devices?|fixators?|fixation|batter(?:y|ies)"
        r"|(?:surgical|metallic|foreign|operation|medical|prosthetic|stabili[sz]ation|synthetic|graft) materials?)\b",
    ),
    _rule("coronary_calcification", _CALCIFIED, beside=_CORONARY),
    _rule(
        "arterial_wall_calcification",
        _CALCIFIED,
        beside=_ARTERY,
        blank=r"\b(?:anterior descending |left |right )?(?:main )?coronary (?:and |vascular |artery|arteries"
        r"|vessels?|structures)"
        r"+(?:structures)?|\banterior descending artery|\baortic valve|\bmitral\b|\blymph nod\w+",
    ),
    _rule(
        "cardiomegaly",
        r"\bcardiomegaly\b|\b(?:heart|cardiac)\b.{0,40}\b(?:increased|enlarged|larger|enlargement|wider|big\w*)\b"
        r"|\b(?:increase|enlargement|enlarged)\b.{0,35}\b(?:heart|cardiac|cardiothoracic)\b"
        r"|\b(?:cardiothoracic|CTR|CTI)\b.{0,40}\bincreased\b",
        barred=r"\bapex of the heart\b",
    ),
    _rule(
        "pericardial_effusion",
        r"\bpericard\w+.{0,40}?\b(?:effusions?|fluid)\b|\b(?:effusions?|fluid)\b.{0,40}\bpericardi\w+",
    ),
    _rule("hiatal_hernia", r"\bhiat(?:al|us)\b.{0,15}\bherni\w*|\bherni\w*.{0,15}\bhiat\w*|\bhiatal\b"),
    _rule(
        "lymphadenopathy",
        r"\blymph\s?nod\w+|\bLAPs?\b|\blymphaden\w+",
        barred=r"\bintra-?pulmonary\b|\bintra-?parenchymal\b|\bsubpleural\b|\bfissur\w*",
    ),
    _rule("emphysema", r"\bemphysem\w*|\bbull(?:a|ae|ous|as)\b|\bblebs?\b", barred=r"\bsubcutaneous\b|\bmuscle"),
    _rule("atelectasis", r"\b(?!fibro)\w*(?<!fibro )(?<!fibro-)atele\w*"),
    _rule("atelectasis", r"\bcollapse[ds]?\b", beside=r"\b(?:lungs?|lobes?|lobar|segments?)\b"),
    _rule(
        "pulmonary_nodule", rf"\b(?:micro)?nodul\w+\b(?!\W+(?:and )?{_DENSE})", barred=_OTHER_PLACE + r"|\bmediastin\w*"
    ),
    _rule(
        "pulmonary_nodule",
        r"\blymph nod\w+",
        beside=r"\bintra-?pulmonary\b|\bintra-?parenchymal\b|\bsubpleural\b|\bfissur\w*",
    ),
    _rule("lung_opacity", r"\b(?:ground|frosted)[\s-]*glass\w*\b(?!\W+(?:density )?nodul)", barred=r"\bbone\b"),
    _rule("lung_opacity", r"\bopaci\w+", barred=_OTHER_PLACE),
    _rule(
        "lung_opacity",
        r"(?<!low )(?<!low-)\b(?:density|densities)\b",
        barred=_OTHER_PLACE
        + r"|\b(?:sequel\w+|fibro\w+|pleuroparenchymal|mosaic|emphysem\w*|nodules?|HU)\b|\bfat (?:plane|densit)\w*",
    ),
    _rule(
        "lung_opacity",
        r"\b(?<!acinar )(?<!nodular )infiltrat(?:ions?|es?|ive areas?)\b",
        barred=_OTHER_PLACE + r"|\bleuk\w*",
    ),
    _rule(
        "pulmonary_fibrosis",
        r"\bsequel\w+|\bfibro(?!adenom|glandular|lip)\w*|\bscar\w*|\bhoneycomb\w*|\bcicatri\w*"
        r"|\b(?:parenchymal|subpleural|pleuroparenchymal) (?:\w+ )?(?:bands?|recessions?|densit\w+)",
        barred=_OTHER_PLACE + r"|\blymph nod\w+|\bmediastin\w*|\bfractur\w*|\bground\b",
    ),
    _rule(
        "pleural_effusion",
        r"\bpleura\w*.{0,60}?\b(?:effusions?|fluid)\b|\b(?:effusions?|fluid)\b.{0,60}?\bpleura\w*"
        r"|\bhydro(?:pneumo)?thorax\b",
    ),
    _rule(
        "pleural_effusion",
        r"\beffusions?\b",
        barred=r"\bpericard\w*|\bjoint\w*|\babdom\w*|\bpelvi\w*|\bperihep\w*|\bperisplen\w*",
    ),
    _rule("mosaic_attenuation", r"\bmosaic\w*"),
    _rule(
        "peribronchial_thickening",
        rf"\b(?:peri)?bronch\w+.{{0,40}}{_THICK}|\b{_THICK}.{{0,40}}\b(?:peri)?bronch\w+"
        rf"|\bperibronchial (?:cuff|sheath)\w*",
        blank=r"\b\w*bronch?iect\w+",
    ),
    _rule("consolidation", r"\bconsolidat\w+", blank=r"\bground[\s-]*glass consolidat\w+"),
    _rule(
        "bronchiectasis",
        r"\b\w*bronchi?ect\w+|\bectas\w+.{0,40}\bbronch\w+|\bbronch\w+.{0,15}\b(?:ectas\w+|dilat\w+)",
    ),
    _rule(
        "interlobular_septal_thickening",
        rf"\b\w*sept(?:a|al|um)\b.{{0,30}}{_THICK}|\b{_THICK}.{{0,45}}\b\w*sept\w+|\bprominen\w+.{{0,30}}\bsepta\b",
        barred=r"\binteratrial\b|\bventric\w*|\bkidney\b|\bnasal\b",
    ),
)
_THORACIC = re.compile(r"\b(?:ascending|thoracic|descending|arch|arcus)\b", re.I)
_WITH_RULES = frozenset(rule.finding for rule in RULES) | {"aortic_calcification"}  # the arterial wall's
FINDINGS = {abnormality.id: abnormality for abnormality in ABNORMALITIES}


def _misread(finding: str, clause: str, start: int, end: int) -> bool:
    """Whether the catalogue's word means something else in a report ("secondary to")."""
    if clause[start:end].lower() == "secondary":
        return True
    return finding == "abdominal_aortic_aneurysm" and _THORACIC.search(clause) is not None


def find_mentions(clause: str) -> list[Mention]:
    """The findings that the clause names, denied ones too, in text order."""
    found = [Mention(rule.finding, start, end) for rule in RULES for start, end in rule.find(clause)]
    found += [
        Mention(abnormality.id, start, end)
        for abnormality, start, end in match_abnormalities(clause)
        if abnormality.id not in _WITH_RULES and not _misread(abnormality.id, clause, start, end)
    ]
    return sorted(found, key=lambda mention: mention.start)
