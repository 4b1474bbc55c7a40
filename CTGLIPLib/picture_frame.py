"""The frame of a result picture: three slices of a CT with title, letters, scale, colour bar, notice.

Conventions:
- one scale for all three views, so that a millimetre is equally long everywhere (test_pictures: `a cube in the
  patient is square in every view`);
- figures are made without pyplot and without touching matplotlib's settings; the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patheffects import withStroke
from PIL import Image

from CTGLIPLib.files import whole_file
from CTGLIPLib.views import View, Window
from CTGLIPLib.wording import shortened

DPI = 120
WIDTH_PX = 1500
MAX_VIEW_HEIGHT_PX = 620
LEFT_PX, GAP_PX, BAR_PX, TOP_PX, BOTTOM_PX = 20, 16, 132, 112, 44
"""Free space at the left, between the views, for the colour bar, the title and the footer."""
NARROWEST_PX, ROOM_FOR_LETTERS_PX = 190, 48
"""A view's caption needs this width, its upper and lower letter and scale this height; lower views go without."""
TITLE_LETTERS, SUBTITLE_LETTERS = 96, 150
BACKGROUND, TEXT, FAINT = "black", "white", "#b4b4b4"
FONT = "DejaVu Sans"
SCALE_LENGTHS_MM = (200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
SCALE_SHARE = 0.3
"""The scale is the longest of these lengths that fits this share of the narrowest view."""


@dataclass(frozen=True)
class ColourScale:
    """What the colours mean: a label, the values at both ends, and a threshold to mark (None: no mark)."""

    label: str
    low: float
    high: float
    threshold: float | None = None

    @property
    def norm(self) -> Normalize:
        """The values' place between both ends, 0..1."""
        return Normalize(self.low, self.high)

    @property
    def colours(self) -> Colormap:
        """Viridis without its darkest tenth, which could not be told from black on a CT."""
        return ListedColormap(colormaps["viridis"](np.linspace(0.1, 1.0, 256)), name="viridis_on_black")


@dataclass(frozen=True)
class Words:
    """The texts of a picture; what does not fit is shortened."""

    title: str
    subtitle: str
    footer: str


@dataclass(frozen=True)
class Layout:
    """Where the views lie, in pixels from the figure's lower left corner.

    Attributes:
        size_px: the figure's width and height.
        boxes_px: (left, bottom, width, height) of each view.
    """

    size_px: tuple[int, int]
    boxes_px: tuple[tuple[float, float, float, float], ...]

    def share(self, box_px: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box as shares of the figure, as matplotlib wants it."""
        (width, height), (left, bottom, across, up) = self.size_px, box_px
        return left / width, bottom / height, across / width, up / height


def arrange(sizes_mm: Sequence[tuple[float, float]]) -> Layout:
    """Views side by side at one scale, as large as the width of 1500 pixels and the height limit allow.

    Args:
        sizes_mm: width and height of each view.
    """
    room = WIDTH_PX - LEFT_PX - BAR_PX - GAP_PX * (len(sizes_mm) - 1)
    height_mm = max(height for _, height in sizes_mm)
    scale = MAX_VIEW_HEIGHT_PX / height_mm
    for _ in sizes_mm:  # each pass may make one more view narrower than its caption
        wide = [width for width, _ in sizes_mm if width * scale >= NARROWEST_PX]
        narrow = len(sizes_mm) - len(wide)
        if wide:
            scale = min(scale, (room - NARROWEST_PX * narrow) / sum(wide))
    slots = [max(width * scale, NARROWEST_PX) for width, _ in sizes_mm]
    left = LEFT_PX + (room - sum(slots)) / 2
    boxes = []
    for (width, height), slot in zip(sizes_mm, slots, strict=True):
        bottom = BOTTOM_PX + (height_mm - height) * scale / 2
        boxes.append((left + (slot - width * scale) / 2, bottom, width * scale, height * scale))
        left += slot + GAP_PX
    return Layout((WIDTH_PX, round(TOP_PX + BOTTOM_PX + height_mm * scale)), tuple(boxes))


def draw_frame(hu: np.ndarray, views: Sequence[View], window: Window, words: Words) -> tuple[Figure, list[Axes]]:
    """A figure with the CT's slices, and their axes in mm from the upper left corner.

    Args:
        hu: the CT, shape (i, j, k) on the views' grid.
        views: the slices, left to right.
        window: the HU range of the grey levels.
        words: the texts.
    """
    layout = arrange([view.size_mm for view in views])
    figure = Figure(figsize=(layout.size_px[0] / DPI, layout.size_px[1] / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    bar_mm = scale_length_mm(min(view.size_mm[0] for view in views))
    panels = []
    for view, box in zip(views, layout.boxes_px, strict=True):
        panel = figure.add_axes(layout.share(box))
        show_slice(panel, view, view.cut(hu), cmap="gray", norm=Normalize(window.low_hu, window.high_hu))
        panel.set_axis_off()
        _letters(panel, view)
        if box[3] >= ROOM_FOR_LETTERS_PX:
            _scale_bar(panel, view, bar_mm)
        caption = f"{view.plane.name}   {view.position}"
        _write(panel, (0.5, 1.0), caption, size=10, ha="center", va="bottom", offset=(0.0, 5.0))
        panels.append(panel)
    height = layout.size_px[1]
    left = LEFT_PX / WIDTH_PX
    _write(figure, (left, 1 - 16 / height), shortened(words.title, TITLE_LETTERS), size=15, va="top", weight="bold")
    _write(figure, (left, 1 - 52 / height), shortened(words.subtitle, SUBTITLE_LETTERS), size=11, va="top")
    _write(figure, (left, 13 / height), shortened(words.footer, 200), size=9, va="bottom", colour=FAINT)
    return figure, panels


def show_slice(panel: Axes, view: View, flat: np.ndarray, **style: object) -> None:
    """Draw a slice, shape (row, column), in mm; `style` goes to matplotlib's imshow."""
    width, height = view.size_mm
    options = {"interpolation": "bilinear", "aspect": "equal", "origin": "upper"} | style
    panel.imshow(flat, extent=(0, width, height, 0), **options)  # pyright: ignore[reportArgumentType] - mixed options


def add_colour_bar(figure: Figure, panels: Sequence[Axes], scale: ColourScale) -> None:
    """Draw the colour bar at the right, as high as the highest view, with the threshold marked."""
    bottom, top = (
        min(panel.get_position().y0 for panel in panels),
        max(panel.get_position().y1 for panel in panels),
    )
    bar = figure.add_axes(((WIDTH_PX - BAR_PX + 22) / WIDTH_PX, bottom, 18 / WIDTH_PX, top - bottom))
    colour_bar = figure.colorbar(ScalarMappable(scale.norm, scale.colours), cax=bar)
    colour_bar.outline.set_edgecolor(FAINT)  # pyright: ignore[reportCallIssue] - a Spine, typed as callable
    bar.tick_params(colors=TEXT, labelsize=9, labelfontfamily=FONT)
    bar.set_ylabel(scale.label, color=TEXT, fontsize=10, fontfamily=FONT)
    if scale.threshold is not None and scale.low <= scale.threshold <= scale.high:
        bar.axhline(scale.threshold, color=TEXT, linewidth=2.5)
        bar.annotate(
            "threshold", (0, scale.threshold), (-5, 0), textcoords="offset points", rotation=90, color=TEXT,
            fontsize=8, fontfamily=FONT, ha="right", va="center", annotation_clip=False,
        )  # fmt: skip


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes.

    Raises:
        OutputError: if the file cannot be written.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG", compress_level=6, dpi=(DPI, DPI))


def scale_length_mm(width_mm: float) -> float:
    """The longest round length that fits three tenths of a width."""
    return next((length for length in SCALE_LENGTHS_MM if length <= SCALE_SHARE * width_mm), SCALE_LENGTHS_MM[-1])


def _letters(panel: Axes, view: View) -> None:
    """The patient's directions at the four edges."""
    places = (
        ((0.0, 0.5), "left", "center", (5.0, 0.0)),
        ((1.0, 0.5), "right", "center", (-5.0, 0.0)),
        ((0.5, 1.0), "center", "top", (0.0, -4.0)),
        ((0.5, 0.0), "center", "bottom", (0.0, 4.0)),
    )
    shown = 4 if panel.get_window_extent().height >= ROOM_FOR_LETTERS_PX else 2
    for letter, (place, ha, va, offset) in list(zip(view.plane.letters, places, strict=True))[:shown]:
        _write(panel, place, letter, size=12, weight="bold", ha=ha, va=va, offset=offset)


def _scale_bar(panel: Axes, view: View, length_mm: float) -> None:
    """A white line of `length_mm` with its length, at the lower right."""
    width, height = view.size_mm
    right, low = width * 0.97, height - 0.035 * width
    outline = [withStroke(linewidth=4, foreground=BACKGROUND)]
    panel.plot([right - length_mm, right], [low, low], color=TEXT, linewidth=2, path_effects=outline)
    panel.annotate(
        f"{length_mm:g} mm", (right - length_mm / 2, low), (0, 3), textcoords="offset points", color=TEXT, fontsize=9,
        fontfamily=FONT, ha="center", va="bottom", path_effects=[withStroke(linewidth=2.5, foreground=BACKGROUND)],
    )  # fmt: skip


def _write(
    parent: Axes | Figure,
    place: tuple[float, float],
    text: str,
    offset: tuple[float, float] = (0.0, 0.0),
    **style: object,
) -> None:
    """Write text at a share of the parent's size, outlined so that it is legible on bright bone."""
    options = {"fontfamily": FONT, "color": style.pop("colour", TEXT), "fontsize": style.pop("size")} | style
    options |= {"parse_math": False, "path_effects": [withStroke(linewidth=2.5, foreground=BACKGROUND)]}
    if isinstance(parent, Figure):
        parent.text(*place, drawable(text), **options)  # pyright: ignore[reportArgumentType] - mixed options
    else:
        parent.annotate(drawable(text), place, offset, xycoords="axes fraction", textcoords="offset points", **options)  # pyright: ignore[reportArgumentType] - mixed options


def drawable(text: str) -> str:
    """The text with "?" for every character that the pictures' font lacks."""
    font = get_font(findfont(FontProperties(family=FONT)))
    return "".join(character if font.get_char_index(ord(character)) else "?" for character in text)
