"""Variation of anatomy and acquisition: the one place that callers import from."""

from __future__ import annotations

from ctglip_training.simulate.variation_acquisition import acquire
from ctglip_training.simulate.variation_anatomy import crop_field_of_view, deform, resample_pair
from ctglip_training.simulate.variation_contrast import set_phase, vary_contrast

__all__ = ["acquire", "crop_field_of_view", "deform", "resample_pair", "set_phase", "vary_contrast"]
