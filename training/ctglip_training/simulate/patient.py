"""A simulated patient: a CT, its organs, the findings put into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Patient:
    """A CT in HU, its organ masks on the same grid, and the findings simulated so far.

    Raises:
        GeometryError: if the CT and the segmentation do not share a grid.
    """

    volume: Volume
    segmentation: Segmentation
    findings: tuple[SimulatedFinding, ...] = ()

    def __post_init__(self) -> None:
        require_same_grid(self.volume.grid, self.segmentation.grid, "The CT and the segmentation of a patient")


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
