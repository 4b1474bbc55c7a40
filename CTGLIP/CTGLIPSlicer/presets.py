"""Ready sets of questions for common examinations."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _


@dataclass(frozen=True)
class Preset:
    """A set of questions under a name that users see."""

    name: str
    questions: tuple[str, ...]

    @property
    def text(self) -> str:
        """The questions, one a line."""
        return "\n".join(self.questions)


CHEST = (
    "pulmonary nodule",
    "lung mass",
    "pneumonia",
    "consolidation",
    "atelectasis",
    "emphysema",
    "bronchiectasis",
    "pleural effusion",
    "pneumothorax",
    "pulmonary embolism",
    "cardiomegaly",
    "pericardial effusion",
    "coronary artery calcification",
    "lymphadenopathy",
    "hiatal hernia",
    "fracture",
)
ABDOMEN = (
    "fatty liver",
    "liver mass",
    "hepatic cyst",
    "gallstone",
    "cholecystitis",
    "biliary ductal dilation",
    "acute pancreatitis",
    "pancreatic mass",
    "splenomegaly",
    "adrenal nodule",
    "kidney stone",
    "renal mass",
    "hydronephrosis",
    "abdominal aortic aneurysm",
    "bowel obstruction",
    "appendicitis",
    "free air",
    "ascites",
)
ORGANS = (
    "liver",
    "gallbladder",
    "pancreas",
    "spleen",
    "stomach",
    "duodenum",
    "small bowel",
    "colon",
    "kidneys",
    "adrenal glands",
    "urinary bladder",
    "lungs",
    "trachea",
    "esophagus",
    "heart",
    "aorta",
    "inferior vena cava",
    "portal vein and splenic vein",
    "pulmonary artery",
    "iliac arteries",
    "iliac veins",
    "brain",
    "face",
    "vertebrae",
    "sacrum",
    "ribs",
    "clavicles",
    "scapulae",
    "humeri",
    "hips",
    "femurs",
    "gluteal muscles",
    "autochthonous back muscles",
    "iliopsoas muscles",
)


def presets() -> tuple[Preset, ...]:
    """The sets in the order of the list."""
    return (
        Preset(_("Chest screening"), CHEST),
        Preset(_("Abdomen screening"), ABDOMEN),
        Preset(_("All organs"), ORGANS),
    )
