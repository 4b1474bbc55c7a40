"""What a report says of a simulated finding, in many wordings."""
# ruff: noqa: E501  (a template is read and compared as one line)

from __future__ import annotations

import re

import numpy as np

from ctglip_training.simulate.region import Region
from CTGLIPLib.organs import readable_name

# [a|b|c] picks one wording, {slot} is filled in. A key that ends in "+" is for several lesions.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "fatty_liver": (
        "[Diffuse|Moderate diffuse|Marked] fatty infiltration of the {organ}.",
        "[Hepatic|Diffuse hepatic] steatosis.",
        "Decreased attenuation of the {organ} [relative to the spleen|with relatively bright vessels], [in keeping with steatosis|consistent with fatty change].",
        "The {organ} is [diffusely low in density|hypodense throughout|of low attenuation], [suggesting|compatible with] fatty [change|infiltration|liver disease].",
        "Fatty {organ}.",
    ),
    "cyst": (
        "[A|There is a|Solitary] {size} simple cyst in the {place} of the {organ}.",
        "{size} [water-density|well-defined hypodense|fluid-attenuation] lesion in the {place} of the {organ}, [consistent with a cyst|compatible with a simple cyst|likely a cyst].",
        "[Simple|Benign|Uncomplicated] {adjective} cyst, {place} of the {organ}, measuring {size}.",
        "{Organ} cyst of {size} in the {place}.",
        "A [thin-walled|non-enhancing|round] [cyst|cystic lesion] is [seen|noted|present] in the {organ}, {size} in size.",
    ),
    "cyst+": (
        "[Multiple|Several|A few|{count}] [simple |]cysts in the {organ}, the largest {size}.",
        "{Organ} with {count} [fluid-density lesions|cysts|simple cysts], up to {size}.",
        "[Scattered|Multiple] {adjective} cysts measuring up to {size} in the {organ}.",
    ),
    "calcification": (
        "[A|Single|Solitary] {size} calcification in the {place} of the {organ}.",
        "[Calcified|Densely calcified] [focus|granuloma] of {size} in the {organ}[, unchanged| ]",
        "[Focal|Punctate|Coarse] {adjective} calcification in the {place}.",
        "[Small |]{adjective} [calcified granuloma|calcification], {size}.",
    ),
    "calcification+": (
        "[Multiple|Several|Scattered|A few] [calcifications|calcified granulomas|punctate calcifications] in the {organ}.",
        "{Count} calcified foci in the {organ}, the largest {size}.",
        "[Old granulomatous|Granulomatous] calcifications of the {organ}.",
    ),
    "kidney_stone": (
        "[A|There is a|Non-obstructing] {size} [stone|calculus] in the {place} of the {organ}.",
        "{Side} [nephrolithiasis|renal calculus|renal stone], {size}[ in the {place}|].",
        "[Calyceal|Renal|Intrarenal] [stone|calculus] of {size} in the {organ}.",
        "{size} hyperdense calculus in the {side} renal [collecting system|pelvicalyceal system].",
    ),
    "kidney_stone+": (
        "[Multiple|Several|{Count}] [stones|calculi] in the {organ}, the largest {size}.",
        "{Side} nephrolithiasis with {count} calculi up to {size}.",
    ),
    "gallstone": (
        "[A|Single|Solitary] {size} [gallstone|calculus in the gallbladder|stone in the gallbladder].",
        "Cholelithiasis[, with a stone of {size}| with a single {size} stone].",
        "[Calcified|Hyperdense|Dependent] [gallstone|gallbladder calculus] measuring {size}.",
    ),
    "gallstone+": (
        "[Multiple|Several|{Count}|Numerous] gallstones[, up to {size}| layering in the gallbladder|].",
        "Cholelithiasis with [multiple|several|{count}] [dependent|layering] [stones|calculi].",
        "The gallbladder contains {count} stones, the largest {size}.",
    ),
    "splenomegaly": (
        "Splenomegaly[, the spleen measuring {size}| with a length of {size}|].",
        "The spleen is [enlarged|markedly enlarged|increased in size], measuring {size} [in length|craniocaudally].",
        "[Enlarged|Marked enlargement of the] spleen.",
    ),
    "hepatomegaly": (
        "Hepatomegaly[, the liver measuring {size}|].",
        "The liver is [enlarged|increased in size], with a length of {size}.",
        "[Enlarged liver|Enlargement of the liver] measuring {size} craniocaudally.",
    ),
    "cardiomegaly": (
        "Cardiomegaly.",
        "The heart is [enlarged|markedly enlarged|increased in size].",
        "[Enlarged|Globally enlarged] [heart|cardiac silhouette], {size} in transverse diameter.",
        "[Global|Moderate] cardiac enlargement.",
    ),
    "aortic_calcification": (
        "[Atherosclerotic|Arteriosclerotic|Calcified] plaques of the {organ} [wall|].",
        "[Mild|Moderate|Extensive|Scattered] [calcified atherosclerosis|wall calcification|arteriosclerosis] of the aorta.",
        "Calcified [plaques|atheroma] along the wall of the aorta.",
        "Aortic [atherosclerosis|arteriosclerosis|wall calcifications].",
    ),
    "acute_pancreatitis": (
        "[Acute|Findings of acute|Interstitial oedematous] pancreatitis with peripancreatic [fat stranding|stranding|inflammatory change].",
        "[Swollen|Enlarged|Oedematous] pancreas with [blurred|indistinct|ill-defined] margins and [stranding of the surrounding fat|peripancreatic fluid].",
        "Peripancreatic fat stranding, [consistent with|in keeping with|suspicious for] acute pancreatitis.",
        "The pancreas is [swollen|bulky] with [inflamed|hazy] surrounding fat.",
    ),
    "pancreatic_duct_stone": (
        "[Multiple|Several|Numerous] [calcifications|stones|calculi] along the pancreatic duct.",
        "Pancreatic duct [stones|calculi|lithiasis][, up to {size}|].",
        "[Intraductal|Ductal] [calculi|stones] in the pancreas, {count} in number.",
        "Punctate calcifications along the [course of the |]pancreatic duct[, chronic calcifying pancreatitis|].",
    ),
    "liver_metastases": (
        "[Multiple|Several|{Count}] hypodense [liver lesions|hepatic lesions|lesions in the liver], [suspicious for|in keeping with|consistent with] metastases, up to {size}.",
        "[Liver|Hepatic] metastases, the largest {size}.",
        "{Count} ill-defined hypoattenuating masses in the liver [suggesting|compatible with] metastatic disease.",
    ),
    "pulmonary_nodule": (
        "[A|There is a|Solitary] {size} {kind} [nodule|pulmonary nodule] in the {organ}.",
        "{Kind} pulmonary nodule of {size}, {place} {organ}.",
        "{size} [{kind} nodule|{kind} lung nodule] in the {place} {organ}.",
        "[Lung|Pulmonary] nodule in the {organ} measuring {size}, {kind}.",
    ),
    "consolidation": (
        "[Consolidation|Airspace consolidation|Dense consolidation] in the {organ} with air bronchograms.",
        "[Patchy|Confluent|Lobar] airspace [opacity|consolidation] of the {organ}.",
        "[Airspace filling|Consolidated lung|Dense opacification] in the {place} {organ}[ with air bronchograms|].",
        "{Lobe} [consolidation|airspace consolidation].",
    ),
    "pneumonia": (
        "[Pneumonia|Lobar pneumonia|Bronchopneumonia] [in|of] the {organ}.",
        "[Pneumonic|Infective|Infectious] [infiltrate|consolidation] in the {organ}[ with surrounding ground glass|].",
        "[Patchy|Ill-defined] opacities in the {place} {organ}, [suspicious for|in keeping with|consistent with] [infection|pneumonia].",
        "{Lobe} pneumonia.",
    ),
    "lung_opacity": (
        "[Patchy|Focal|Hazy] ground-glass [opacity|opacities|opacification] in the {organ}.",
        "[Ground-glass|Hazy ground-glass] [change|attenuation] in the {place} {organ}, [possibly infectious|likely inflammatory|suspicious for viral pneumonia].",
        "[Increased hazy attenuation|Ground-glass infiltrate] in the {organ}.",
    ),
    "emphysema": (
        "[{Kind}|Moderate|Marked] emphysema in the {organ}.",
        "[Emphysematous change|Emphysematous destruction|Emphysema] of the {organ}.",
        "[Multiple|Scattered] areas of [low attenuation|lung destruction] in the {organ}, [consistent with|in keeping with] emphysema.",
        "{Lobe} emphysema.",
    ),
    "pleural_effusion": (
        "[{extent} |]{side} pleural effusion.",
        "[{extent} |]{side} [pleural fluid|pleural effusion] [with adjacent compressive atelectasis|layering posteriorly|with passive atelectasis of the lower lobe].",
        "There is a[ {extent}|] pleural effusion on the {side} side.",
        "[Layering fluid|Fluid|Free fluid] in the {side} pleural space.",
    ),
    "atelectasis": (
        "[Linear|Plate-like|Subsegmental|Discoid] atelectasis in the {organ}.",
        "[Band-like|Linear] [opacity|density] in the {organ}, [consistent with|in keeping with] atelectasis.",
        "[Mild|Minor] [dystelectasis|atelectatic change] of the {organ}.",
    ),
}

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sentence(key: str, rng: np.random.Generator, **slots: str) -> str:
    """A report sentence for a finding, starting with a capital and ending with a full stop.

    Args:
        key: which templates; see TEMPLATES.
        rng: picks the wording.
        slots: values of the {slots}; each can also be used with a capital as {Slot}.
    """
    templates = TEMPLATES[key]
    text = templates[int(rng.integers(len(templates)))]
    text = re.sub(r"\[([^\]]*)\]", lambda found: _one_of(found.group(1).split("|"), rng), text)
    capital = {name.capitalize(): value[:1].upper() + value[1:] for name, value in slots.items()}
    text = " ".join(text.format(**slots, **capital).split()).rstrip(". ") + "."
    return text[:1].upper() + text[1:]


def _one_of(choices: list[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def size_text(diameter_mm: float, rng: np.random.Generator) -> str:
    """A size as reports write it: "23 mm", "2.3 cm"."""
    if diameter_mm >= 10 and rng.random() < 0.4:
        return f"{diameter_mm / 10:.1f} cm"
    return f"{max(1, round(diameter_mm))} mm"


def count_text(count: int) -> str:
    """A small number as a word, a larger one as digits."""
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)


def organ_text(organ: str, rng: np.random.Generator) -> str:
    """The organ as a report names it; lobes are sometimes told without "lung"."""
    words = organ.split("_")
    if words[0] == "lung" and rng.random() < 0.5:
        return lobe_text(organ)
    return readable_name(organ)


def lobe_text(organ: str) -> str:
    """A lobe of the lung in short: "left upper lobe"."""
    words = organ.split("_")
    return f"{words[-1]} {words[1]} lobe"


def side_text(organ: str) -> str:
    """Return "left", "right", or "" for an organ without side."""
    side = organ.rsplit("_", 1)[-1]
    return side if side in {"left", "right"} else ""


def pole(region: Region, point_ras: np.ndarray) -> str:
    """Which third of a kidney, along the body's axis, a point lies in."""
    height = _height(region, point_ras)
    return "upper pole" if height > 2 / 3 else "lower pole" if height < 1 / 3 else "interpolar region"


def third(region: Region, point_ras: np.ndarray) -> str:
    """Which third of an organ, along the body's axis, a point lies in."""
    height = _height(region, point_ras)
    return "upper part" if height > 2 / 3 else "lower part" if height < 1 / 3 else "middle part"


def liver_lobe(region: Region, point_ras: np.ndarray) -> str:
    """The liver's lobe by how far to the patient's right the point lies."""
    across = region.points_ras[..., 0][region.mask]
    low, high = float(across.min()), float(across.max())
    share = (float(point_ras[0]) - low) / max(high - low, 1e-6)
    return "right lobe" if share > 0.5 else "left lobe" if share < 0.4 else "central part"


def lobe_part(region: Region, point_ras: np.ndarray) -> str:
    """Front or back, or upper or lower part of a lung's lobe."""
    depth = region.points_ras[..., 1][region.mask]
    low, high = float(depth.min()), float(depth.max())
    share = (float(point_ras[1]) - low) / max(high - low, 1e-6)
    if share < 0.35:
        return "posterior"
    if share > 0.65:
        return "anterior"
    return "basal" if _height(region, point_ras) < 0.4 else "central"


def _height(region: Region, point_ras: np.ndarray) -> float:
    heights = region.points_ras[..., 2][region.mask]
    low, high = float(heights.min()), float(heights.max())
    return (float(point_ras[2]) - low) / max(high - low, 1e-6)
