# ruff: noqa: F722  (axis names of jaxtyping are not forward annotations)
"""Names for the tensor shapes that the networks pass to one another.

Spatial axes come last, in i, j, k order (see CTGLIPLib.geometry). The tests check these shapes at every call.
"""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

Image: TypeAlias = Float[Tensor, "batch channel i j k"]
Features: TypeAlias = Float[Tensor, "batch feature i j k"]
