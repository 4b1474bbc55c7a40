"""Pictures of an answer: the organs, or a heat map, coloured on three slices of the CT.

Colours come from viridis, which is even to the eye and safe for the colour-blind. A calibrated score is always drawn
on 0..1, so that pictures compare; similarities span the range of the answer's own organs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CTGLIPLib.errors import GeometryError
from CTGLIPLib.geometry import require_same_grid
from CTGLIPLib.picture_frame import (
    TITLE_LETTERS,
    ColourScale,
    Words,
    add_colour_bar,
    draw_frame,
    save_picture,
    show_slice,
)
from CTGLIPLib.results import NOTICE, QueryAnswer
from CTGLIPLib.views import SOFT_TISSUE, Upright, View, Window, upright, window_for
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.wording import STATE_WORDS, evidence_words, shortened, verdict_words

FILL_ALPHA, HEAT_ALPHA = 0.35, 0.5
BEST_COLOUR, UNSCORED_COLOUR = "#ff5cc8", "#b4b4b4"
"""Pink for the best organ's outline: not in viridis, and not white, which would look like calcification."""
NARROWEST_SIMILARITY_RANGE = 0.1
"""Similarities that differ by less are not spread over the whole colour range."""
HOT_PERCENTILE = 98.0
"""The views of a heat map show its hottest voxels: those from this percentile on."""


def draw_query(volume: Volume, segmentation: Segmentation, answer: QueryAnswer, path: Path) -> None:
    """Write a PNG of three slices through the best organ, with the organs asked coloured.

    Args:
        volume: the CT.
        segmentation: the organs, on the CT's grid.
        answer: what to draw.
        path: the PNG file.

    Raises:
        GeometryError: if the CT and the segmentation lie on different grids.
        LabelError: if the best organ is not in the segmentation.
        OutputError: if the file cannot be written.
    """
    save_picture(query_figure(volume, segmentation, answer), path)


def query_figure(volume: Volume, segmentation: Segmentation, answer: QueryAnswer) -> Figure:
    """The figure that `draw_query` writes; it raises the same errors, but for writing."""
    require_same_grid(volume.grid, segmentation.grid, "CT and organ masks")
    best = answer.best
    mask = np.zeros(volume.array.shape, bool) if best is None else segmentation.mask(best.organ)
    scene = upright(volume, mask)
    turned = scene.turned(mask)
    views = scene.views(turned)
    window = SOFT_TISSUE if best is None else window_for(best.organ)
    words = Words(_title(answer), _organ_line(answer), footer(scene, window))
    figure, panels = draw_frame(scene.hu, views, window, words)
    values, scale = _organ_values(answer)
    numbers = {name: number for number, name in enumerate(segmentation.names, 1)}
    asked = {numbers[organ.organ]: values.get(organ.organ) for organ in answer.organs if organ.organ in numbers}
    layers = scene.turned(segmentation.layers)
    for panel, view in zip(panels, views, strict=True):
        _colour_organs(panel, view, view.cut(layers), asked, scale)
        if len(values) > 1:
            outline(panel, view, view.cut(turned), BEST_COLOUR)
    if values:
        add_colour_bar(figure, panels, scale)
    return figure


def draw_heatmap(
    volume: Volume, heat: np.ndarray, text: str, path: Path, *, organ: str | None = None, label: str = "similarity"
) -> None:
    """Write a PNG of three slices through the hottest place of a heat map.

    Args:
        volume: the CT.
        heat: text similarity of each voxel, shape (i, j, k) on the CT's grid; NaN where there is none.
        text: the question, for the title.
        path: the PNG file.
        organ: the organ whose window to use; None for the soft-tissue window.
        label: what the colours mean.

    Raises:
        GeometryError: if the heat map has another shape than the CT.
        OutputError: if the file cannot be written.
    """
    save_picture(heatmap_figure(volume, heat, text, organ=organ, label=label), path)


def heatmap_figure(
    volume: Volume, heat: np.ndarray, text: str, *, organ: str | None = None, label: str = "similarity"
) -> Figure:
    """The figure that `draw_heatmap` writes; it raises the same errors, but for writing."""
    if heat.shape != volume.array.shape:
        msg = f"A heat map must have the CT's shape {volume.array.shape}, got {heat.shape}. Resample it onto the CT."
        raise GeometryError(msg)
    known = heat[np.isfinite(heat)]
    hot = heat >= np.percentile(known, HOT_PERCENTILE) if known.size else np.zeros(heat.shape, bool)
    scene = upright(volume, hot)
    views = scene.views(scene.turned(hot))
    window = SOFT_TISSUE if organ is None else window_for(organ)
    peak = f"highest {label} {known.max():.2f}" if known.size else f"no voxel has a {label}"
    figure, panels = draw_frame(scene.hu, views, window, Words(f'"{text}": heat map', peak, footer(scene, window)))
    if known.size:
        low, high = np.percentile(known, (1, 99)).tolist()
        scale = ColourScale(label, *_widened(low, high))
        turned = scene.turned(heat)
        for panel, view in zip(panels, views, strict=True):
            _fill(panel, view, view.cut(turned), scale, HEAT_ALPHA)
        add_colour_bar(figure, panels, scale)
    return figure


def _organ_values(answer: QueryAnswer) -> tuple[dict[str, float], ColourScale]:
    """Each scored organ's value, and the scale to colour it: scores if every scored organ has one."""
    scored = [organ for organ in answer.organs if organ.is_scored]
    scores = {organ.organ: organ.score for organ in scored if organ.score is not None}
    if len(scores) == len(scored):
        return scores, ColourScale("score (probability)", 0.0, 1.0, answer.threshold)
    values = {organ.organ: organ.similarity for organ in scored if organ.similarity is not None}
    return values, ColourScale("similarity (cosine)", *_widened(min(values.values()), max(values.values())))


def _widened(low: float, high: float) -> tuple[float, float]:
    """The range, made at least 0.1 wide about its middle."""
    missing = max(NARROWEST_SIMILARITY_RANGE - (high - low), 0.0)
    return low - missing / 2, high + missing / 2


def _colour_organs(
    panel: Axes, view: View, labels: np.ndarray, asked: Mapping[int, float | None], scale: ColourScale
) -> None:
    """Fill and outline the organs asked in one view; an organ without a value gets a grey outline only.

    `labels` has shape (layer, row, column); `asked` holds the value of each organ number that was asked.
    """
    table = np.full(int(labels.max(initial=0)) + 1, np.nan)
    visible = {number: asked[number] for number in np.unique(labels).tolist() if number in asked}
    for number, value in visible.items():
        table[number] = np.nan if value is None else value
    _fill(panel, view, np.fmax.reduce(table[labels]), scale, FILL_ALPHA)
    for number, value in visible.items():
        colour = UNSCORED_COLOUR if value is None else scale.colours(scale.norm(value))
        outline(panel, view, (labels == number).any(axis=0), colour)


def _fill(panel: Axes, view: View, values: np.ndarray, scale: ColourScale, alpha: float) -> None:
    """Colour the finite values, shape (row, column), half transparent."""
    shown = np.ma.masked_invalid(values)
    if shown.count():
        show_slice(panel, view, shown, cmap=scale.colours, norm=scale.norm, alpha=alpha, interpolation="nearest")


def outline(panel: Axes, view: View, mask: np.ndarray, colour: object) -> None:
    """Draw the edge of a mask, shape (row, column)."""
    if not mask.any():
        return
    (width, height), (rows, columns) = view.size_mm, mask.shape
    across = (np.arange(-1, columns + 1) + 0.5) * width / columns
    down = (np.arange(-1, rows + 1) + 0.5) * height / rows
    panel.contour(across, down, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=1.4)
    panel.set_xlim(0, width)
    panel.set_ylim(height, 0)


def _title(answer: QueryAnswer) -> str:
    """The question, shortened so that the answer fits beside it."""
    verdict = verdict_words(answer)
    return f'"{shortened(answer.text, max(TITLE_LETTERS - 4 - len(verdict), 30))}": {verdict}'


def _organ_line(answer: QueryAnswer) -> str:
    """The numbers, the organ that the views go through and how many organs were asked."""
    best = answer.best
    if best is None:
        return "No organ is coloured, because none could be scored."
    count = len(answer.organs)
    outline, asked = (" (pink outline)", f" | {count} organs asked") if count > 1 else ("", "")
    evidence = evidence_words(answer)
    numbers = f"{evidence[0].upper()}{evidence[1:]} | " if evidence else ""
    state = "" if best.state == "present" else f", {STATE_WORDS[best.state]}"
    return f"{numbers}Views through: {best.readable}{outline}, {best.volume_ml:.1f} ml{state}{asked}"


def footer(scene: Upright, window: Window) -> str:
    """The window of the grey levels, how an oblique scan is drawn, the notice."""
    along = " | Oblique scan, drawn along its own axes" if scene.grid.is_oblique else ""
    grey = f"{window.name.capitalize()} window, {window.low_hu:.0f} to {window.high_hu:.0f} HU"
    return f"{grey}{along} | {NOTICE.capitalize()}"
