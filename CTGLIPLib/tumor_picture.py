"""The picture of a tumour: three slices of the CT through the middle of its largest piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from CTGLIPLib.geometry import require_same_grid
from CTGLIPLib.picture_frame import Words, draw_frame, save_picture
from CTGLIPLib.pictures import footer, outline
from CTGLIPLib.slicer_segments import segment_colour
from CTGLIPLib.tumor_measure import TumorFindings
from CTGLIPLib.tumor_results import TumorRow, verdict
from CTGLIPLib.views import SOFT_TISSUE, upright, window_for
from CTGLIPLib.volume import Volume


def draw_tumors(volume: Volume, found: TumorFindings, path: Path) -> None:
    """Write a PNG of three slices through the largest tumour, the middle ones where there is none.

    Raises:
        GeometryError: if CT and findings lie on different grids.
        OutputError: if the file cannot be written.
    """
    save_picture(tumor_figure(volume, found), path)


def tumor_figure(volume: Volume, found: TumorFindings) -> Figure:
    """The figure that `draw_tumors` writes; every class has its outline."""
    segmentation = found.segmentation
    require_same_grid(volume.grid, segmentation.grid, "CT and tumours")
    largest = max(found.result.tumors, key=lambda row: row.largest_ml)
    place = np.zeros(volume.grid.shape_ijk, bool)
    if largest.centre_ras_mm is not None:
        place[tuple(volume.grid.to_index(np.array(largest.centre_ras_mm)).round().astype(int))] = True
    scene = upright(volume, place)
    views = scene.views(scene.turned(place))
    window = SOFT_TISSUE if largest.organ is None else window_for(largest.organ)
    words = Words(f"{found.result.model.name}: {verdict(found.result)}", _where(largest), footer(scene, window))
    figure, panels = draw_frame(scene.hu, views, window, words)
    labels = scene.turned(segmentation.layers[0])
    for number, name in enumerate(segmentation.names, 1):
        colour = [part / 255 for part in segment_colour(segmentation, name)]
        for panel, view in zip(panels, views, strict=True):
            outline(panel, view, view.cut(labels) == number, colour)
    return figure


def _where(largest: TumorRow) -> str:
    """The largest piece in words."""
    if largest.centre_ras_mm is None:
        return "Views through the middle of the scan."
    organ = f" in the {largest.organ.replace('_', ' ')}" if largest.organ else ""
    pieces = f"{largest.components} piece{'s' if largest.components > 1 else ''}"
    return f"Views through the largest piece of {largest.name}{organ}: {largest.largest_ml:.1f} ml, of {pieces}"
