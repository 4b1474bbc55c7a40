"""Colours for scores: even to the eye and safe for the colour-blind.

Organs are coloured by viridis; heat maps, which lie over them, by plasma, whose low end is blue and not black, so that
it does not pass for low density on a CT. Guarded by Testing/Slicer/test_colour_scale.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import slicer
import vtk

PALETTES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "viridis": (
        (0.267, 0.005, 0.329), (0.282, 0.090, 0.412), (0.280, 0.166, 0.476), (0.264, 0.238, 0.519),
        (0.237, 0.305, 0.542), (0.209, 0.368, 0.553), (0.182, 0.426, 0.557), (0.159, 0.482, 0.558),
        (0.138, 0.537, 0.555), (0.121, 0.593, 0.545), (0.128, 0.648, 0.523), (0.181, 0.701, 0.488),
        (0.274, 0.752, 0.437), (0.395, 0.797, 0.368), (0.536, 0.836, 0.282), (0.689, 0.865, 0.183),
        (0.846, 0.887, 0.100), (0.993, 0.906, 0.144),
    ),
    "plasma": (
        (0.050, 0.030, 0.528), (0.186, 0.019, 0.587), (0.287, 0.011, 0.627), (0.381, 0.002, 0.653),
        (0.471, 0.006, 0.660), (0.557, 0.047, 0.643), (0.636, 0.112, 0.605), (0.706, 0.178, 0.554),
        (0.768, 0.245, 0.498), (0.823, 0.311, 0.445), (0.872, 0.379, 0.393), (0.915, 0.449, 0.343),
        (0.951, 0.523, 0.292), (0.978, 0.602, 0.241), (0.993, 0.687, 0.192), (0.993, 0.778, 0.153),
        (0.974, 0.875, 0.144), (0.940, 0.975, 0.131),
    ),
}  # fmt: skip
"""Evenly spaced anchors (red, green, blue, 0 to 1), from the lowest value to the highest."""


@dataclass(frozen=True)
class ColourScale:
    """Which value has which colour.

    Attributes:
        label: what the colours mean, as the legend says it.
        low: the value of the first colour.
        high: the value of the last colour.
        palette: a key of PALETTES.

    Raises:
        ValueError: if the range is empty or not finite, or the palette unknown.
    """

    label: str
    low: float
    high: float
    palette: str = "viridis"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            msg = f"A colour scale needs low < high, got {self.low!r} and {self.high!r}. Widen the range."
            raise ValueError(msg)
        if self.palette not in PALETTES:
            msg = f"The palette must be one of {', '.join(PALETTES)}, got {self.palette!r}."
            raise ValueError(msg)

    def position(self, value: float) -> float:
        """Where the value lies between low (0) and high (1); values outside are at the ends."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def rgb(self, value: float) -> tuple[float, float, float]:
        """Red, green and blue of a value, 0 to 1."""
        anchors = PALETTES[self.palette]
        place = self.position(value) * (len(anchors) - 1)
        first = min(int(place), len(anchors) - 2)
        share = place - first
        red, green, blue = (a + share * (b - a) for a, b in zip(anchors[first], anchors[first + 1], strict=True))
        return red, green, blue


def colourNode(scene: slicer.vtkMRMLScene, scale: ColourScale) -> slicer.vtkMRMLProceduralColorNode:
    """The scene's colour node with the scale's palette, made where there is none.

    It runs from 0 to 1: a legend or a volume's window spreads it over the scale's values, so that all scales of one
    palette share one node.
    """
    tag = f"CTGLIP_{scale.palette}"
    node = scene.GetSingletonNode(tag, "vtkMRMLProceduralColorNode")
    if node is not None:
        return node
    function = vtk.vtkDiscretizableColorTransferFunction()
    function.SetColorSpaceToRGB()
    anchors = PALETTES[scale.palette]
    for number, colour in enumerate(anchors):
        function.AddRGBPoint(number / (len(anchors) - 1), *colour)
    node = slicer.vtkMRMLProceduralColorNode()
    node.SetName(f"CT-GLIP {scale.palette}")
    node.SetSingletonTag(tag)
    node.SetAttribute("Category", "CT-GLIP")
    node.SetAndObserveColorTransferFunction(function)
    return scene.AddNode(node)
