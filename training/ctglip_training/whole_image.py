"""The whole body as one organ: what vanilla CLIP pools over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctglip_training.simulate.patient import Patient
from CTGLIPLib.organ_geometry import BODY_HU, measure_organs
from CTGLIPLib.preprocess import Prepared
from CTGLIPLib.volume import Segmentation


def whole_body(patient: Patient, prepared: Prepared) -> Prepared:
    """The prepared patient with one organ, all that is denser than -300 HU, whatever the HU window of the network."""
    layers = (patient.volume.array > BODY_HU)[None].astype(np.uint16)
    body = Segmentation(layers, prepared.grid, ("body",))
    return replace(prepared, segmentation=body, geometry=measure_organs(body))
