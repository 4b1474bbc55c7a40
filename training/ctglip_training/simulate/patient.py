"""A patient: a CT, its organs, the findings put into them or what the report says, and where all that is from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ctglip_training.statements import NOTHING_FOUND, Statement, StudyText
from CTGLIPLib.geometry import require_same_grid
from CTGLIPLib.volume import Segmentation, Volume


@dataclass(frozen=True)
class SimulatedFinding:
    """One abnormality in one organ, with the sentence a report would say.

    Attributes:
        abnormality: id in the abnormality catalogue, such as "renal_cyst".
        organ: name of the organ that has it, such as "kidney_left".
        sentence: what an impression would say, with side, place and size.
        details: figures of what was drawn; keys end in their unit (diameter_mm, attenuation_hu, volume_ml) or are
            counts, ratios and shares. Where several lesions were drawn, the largest one's.
    """

    abnormality: str
    organ: str
    sentence: str
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Where a patient's data come from; empty = not known.

    Attributes:
        study: the data set's name of it.
        patient: the data set's name of the patient.
        split: "train", "val" or "test", where the data set is split.
        dataset: the layout that it was read from, or what made it.
        licence: under which the data may be used.
        credit: whom to thank.
        notes: what to know about it.
    """

    study: str = ""
    patient: str = ""
    split: str = ""
    dataset: str = ""
    licence: str = ""
    credit: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Patient:
    """A CT in HU, its organ masks on the same grid, and what is known of them.

    Attributes:
        volume: the CT.
        segmentation: its organs.
        findings: those simulated so far.
        text: what a real report says; None where the findings are all that there is.
        origin: where the data come from.

    Raises:
        GeometryError: if the CT and the segmentation do not share a grid.
    """

    volume: Volume
    segmentation: Segmentation
    findings: tuple[SimulatedFinding, ...] = ()
    text: StudyText | None = None
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        require_same_grid(self.volume.grid, self.segmentation.grid, "The CT and the segmentation of a patient")

    @property
    def said(self) -> StudyText:
        """What is said of the patient: the real report, or what the findings say."""
        return findings_text(self.findings) if self.text is None else self.text


def findings_text(findings: Sequence[SimulatedFinding]) -> StudyText:
    """What findings say that are all that there is."""
    statements = tuple(Statement(f.organ, f.sentence, finding=f.abnormality) for f in findings)
    return StudyText(statements, " ".join(f.sentence for f in findings) or NOTHING_FOUND, exhaustive=True)


FindingFunction = Callable[[Patient, str, np.random.Generator], "Patient | None"]
"""(patient, organ name, generator) -> a new patient with the finding, or None where it does not fit the organ."""


@dataclass(frozen=True)
class Finding:
    """How one abnormality is simulated.

    Attributes:
        id: id in the abnormality catalogue.
        organs: names of the organs that it can be put into.
        apply: makes the new patient; never modifies the given one.
        moves_neighbours: whether organs around it are displaced, so that it must come before other findings.
    """

    id: str
    organs: tuple[str, ...]
    apply: FindingFunction
    moves_neighbours: bool = False
