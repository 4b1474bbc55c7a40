"""Which organs a clause of a report speaks of: by name, by a part that belongs to them, or by what implies them.

The library's vocabulary knows organs by name; reports also name their parts and surroundings ("left anterior
descending", "hilar", "costophrenic angle"). Regions that have no mask ("lymph node", "breast") are groups without
organs. A finding that lives in one group implies it: "pleural effusion" is said of the lungs. Guarded by
training/tests/test_pairs_anatomy.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ctglip_training.pairs.engine import FindingSide
from CTGLIPLib.abnormalities import ABNORMALITIES
from CTGLIPLib.organs import ORGANS, match_organs, organs_like
from CTGLIPLib.phrases import PhraseIndex

_LUNGS = "lung_*_lobe_*"
_HEART = "heart|heart_*"
_GREAT_VESSELS = "aorta|pulmonary_artery|superior_vena_cava|brachiocephalic_trunk"
_REPORT_WORDS: tuple[tuple[str, str, str], ...] = (
    ("lung", _LUNGS, "pleura|pleural|fissure|major fissure|minor fissure|hemithorax|lingula|lingular|segment bronchi"),
    ("lung", _LUNGS, "bronchial wall|bronchial|bronchi|bronchus|bronchiole|interlobular septa|parenchyma window"),
    ("lung", _LUNGS, "pleuroparenchymal|peribronchial|subpleural|intrapulmonary|pleural space|aeration|ventilation"),
    ("lung", _LUNGS, "costophrenic|costophrenic angle|costophrenic sinus|posterobasal|laterobasal|apicoposterior"),
    ("lung", "lung_middle_lobe_right", "middle lobe|right middle lobe"),
    ("trachea", "trachea", "main bronchi|main bronchus|right main bronchus|left main bronchus|carina|air passages"),
    ("heart", _HEART, "coronary|coronary artery|coronary arteries|LAD|RCA|circumflex|left anterior descending"),
    ("heart", _HEART, "pericardium|pericardial|epicardial|cardiothoracic ratio|cardiothoracic index"),
    ("heart", _HEART, "atrial|ventricular"),
    ("heart", _HEART, "mitral valve|aortic valve|mitral|tricuspid|interatrial septum|cardiac valve|left ventricle|CTR"),
    ("heart", _HEART, "anterior descending|anterior descending coronary artery"),
    ("heart", _HEART, "left main coronary artery|cardiac cavity"),
    ("great vessels", _GREAT_VESSELS, "mediastinal vascular structure|mediastinal main vascular structure"),
    ("great vessels", _GREAT_VESSELS, "vascular structure"),
    ("great vessels", _GREAT_VESSELS, "mediastinal major vascular structure|major vascular structure|great vessel"),
    ("great vessels", _GREAT_VESSELS, "main vascular structure|mediastinal vessel|mediastinal vessels"),
    ("great vessels", _GREAT_VESSELS, "supraaortic branch"),
    ("pulmonary artery", "pulmonary_artery", "pulmonary artery|main pulmonary artery|pulmonary trunk|pulmonary conus"),
    ("aorta", "aorta", "ascending aorta|descending aorta|aortic arch|thoracic aorta|abdominal aorta|arcus aorta|arch"),
    ("esophagus", "esophagus", "gastroesophageal junction|esophagogastric junction|esophageal wall|oesophagus"),
    ("lymph node", "", "lymph node|lymph nodes|lymphadenopathy|LAP|lymphadenomegaly|lymph nodule"),
    ("mediastinum", "", "mediastinum|mediastinal|thymus|thymic|paratracheal|subcarinal|hilar|hilum|hilus"),
    ("breast", "", "breast|gynecomastia|retroareolar|mammary"),
    ("chest wall", "", "chest wall|pectoral|pectoralis major muscle|pectoralis|pectoral muscle"),
    ("chest wall", "", "intercostal muscle|subcutaneous|skin|axilla|axillary|axillae"),
    ("bone", "vertebrae_*|rib_*|sternum|scapula_*|clavicula_*", "bone structure|bony structure|bone|osseous"),
    ("bone", "vertebrae_*|rib_*|sternum|scapula_*|clavicula_*", "bone structures"),
    ("vertebra", "vertebrae_*", "vertebral corpus|vertebral column|intervertebral disc|end plate|osteophyte"),
    ("vertebra", "vertebrae_*", "kyphosis|scoliosis"),
    ("diaphragm", "", "diaphragm|hemidiaphragm|diaphragmatic"),
    ("abdomen", "", "upper abdominal organ|upper abdomen|abdominal|peritoneum|omentum|intraabdominal|upper abdominal"),
)  # fmt: skip
_IMPLIED_GROUPS = {
    "pleural_effusion": "lung",
    "pericardial_effusion": "heart",
    "coronary_calcification": "heart",
    "cardiomegaly": "heart",
    "arterial_wall_calcification": "aorta",
    "aortic_calcification": "aorta",
    "hiatal_hernia": "esophagus",
    "lymphadenopathy": "lymph node",
}
_IMPLIED_WORDS = re.compile(
    r"\bcovid\w*|\bpneumon\w*|\bbronchopneumon\w*|\bbronchi\w*|\bbudding tree\b|\btree[\s-]in[\s-]bud"
    r"|\bground[\s-]glass"
    r"|\bconsolidat\w*|\bacinar\b|\bcentri(?:lobular|acinar)\b|\binfiltrat\w*|\bsequela\w* (?:fibro\w+"
    r"|chang\w+)|\bbudding"
    r"|\binfectious (?:process|patholog)\w*|\binfective patholog\w*|\bair bronchogram\w*|\blobectomy\b|\bnodules?\b"
    r"|\bfibro(?:sis|tic)\b|\bparenchymal (?:band|nodule|distortion)s?\b|\bair cysts?\b|\bpneumothorax\b"
    r"|\bbronchiolitis\b",
    re.I,
)
_NAMES = frozenset(organ.name for organ in ORGANS)
_SIDES = re.compile(r"\b(left|right|bilateral\w*|both)\b", re.I)


@dataclass(frozen=True)
class Place:
    """What characters [start, end) of a clause speak of.

    Attributes:
        group: what it is one of, "lung".
        organs: names of the vocabulary; empty for a region without a mask.
        start: first character.
        end: one past the last.
    """

    group: str
    organs: tuple[str, ...]
    start: int
    end: int


def find_places(clause: str) -> list[Place]:
    """The organs and regions that the clause names, in text order; longer names win."""
    named = [
        Place(_group_of(tuple(organ.name for organ in organs)), tuple(organ.name for organ in organs), start, end)
        for organs, start, end in match_organs(clause)
    ]
    ours = [
        Place(
            match.value[0],
            on_side(match.value[1], side_in(clause[max(0, match.start - 12) : match.start])),
            match.start,
            match.end,
        )
        for match in _report_index().find(clause)
    ]
    kept = [place for place in ours if not any(_inside(place, other) for other in named)]
    kept += [place for place in named if not any(_overlap(place, other) for other in kept)]
    return sorted(kept, key=lambda place: place.start)


def implied_place(finding: str | None, clause: str) -> Place | None:
    """Where a finding lives that the clause names without naming an organ; None where it may be anywhere."""
    if finding is not None:
        group = _IMPLIED_GROUPS.get(finding) or _only_group(finding)
        if group:
            return Place(group, _members(group), 0, 0)
    found = _IMPLIED_WORDS.search(clause)
    return Place("lung", _members("lung"), found.start(), found.end()) if found else None


def side_in(text: str) -> FindingSide | None:
    """The side that the text names; "both" for both."""
    words = {word.lower() for word in _SIDES.findall(text)}
    if not words:
        return None
    if words == {"left"}:
        return "left"
    return "right" if words == {"right"} else "both"


def on_side(organs: tuple[str, ...], side: FindingSide | None) -> tuple[str, ...]:
    """The organs of the side, where there are some; with their twins where both sides are named."""
    if side == "both":
        twins = [name.replace("left", "#").replace("right", "left").replace("#", "right") for name in organs]
        return tuple(name for name in dict.fromkeys([*organs, *twins]) if name in _NAMES)
    if side is None:
        return organs
    return tuple(name for name in organs if side in name.split("_")) or organs


def living_groups(finding: str) -> frozenset[str]:
    """The groups of the organs in which the catalogue's finding lives, own groups of reports included."""
    own = _IMPLIED_GROUPS.get(finding)
    return _catalogue_groups()[finding] | ({own} if own else set())


def known_groups() -> tuple[str, ...]:
    """All groups that an engine may name: the vocabulary's, then the regions without a mask."""
    return tuple(
        dict.fromkeys([*(_merged(organ.group) for organ in ORGANS), *(group for group, _, _ in _REPORT_WORDS)])
    )


def organs_of(group: str, sentence: str, side: FindingSide | None) -> tuple[str, ...]:
    """The organs of a group, narrowed to the parts that the sentence names and to the side."""
    named = tuple(name for place in find_places(sentence) if place.group == group for name in place.organs)
    return on_side(tuple(dict.fromkeys(named)) or _members(group), side)


def _only_group(finding: str) -> str | None:
    groups = _catalogue_groups()[finding]
    return next(iter(groups)) if len(groups) == 1 else None


@lru_cache(maxsize=1)
def _catalogue_groups() -> dict[str, frozenset[str]]:
    groups = {organ.name: _merged(organ.group) for organ in ORGANS}
    return {known.id: frozenset(groups[name] for name in known.organs) for known in ABNORMALITIES}


def _merged(group: str) -> str:
    """Parts of the heart are said of the heart."""
    return "heart" if group.startswith("heart") else group


def _members(group: str) -> tuple[str, ...]:
    for name, patterns, _ in _REPORT_WORDS:
        if name == group and patterns != "lung_middle_lobe_right":
            return tuple(organ.name for organ in organs_like(patterns.split("|")))
    return tuple(organ.name for organ in ORGANS if _merged(organ.group) == group)


def _group_of(organs: tuple[str, ...]) -> str:
    groups = {_merged(organ.group) for organ in ORGANS if organ.name in organs}
    if len(groups) == 1:
        return groups.pop()
    if groups <= _catalogue_groups()["fracture"]:
        return "bone"
    return "great vessels" if "aorta" in organs else " and ".join(sorted(groups)[:3])


def _overlap(one: Place, other: Place) -> bool:
    return one.start < other.end and other.start < one.end


def _inside(one: Place, other: Place) -> bool:
    """Whether the first stands within a longer second one."""
    return other.start <= one.start and one.end <= other.end and one.end - one.start < other.end - other.start


@lru_cache(maxsize=1)
def _report_index() -> PhraseIndex[tuple[str, tuple[str, ...]]]:
    return PhraseIndex(
        (word, (group, tuple(organ.name for organ in organs_like(patterns.split("|"))) if patterns else ()))
        for group, patterns, words in _REPORT_WORDS
        for word in words.split("|")
    )
