"""Pictures of answers made for the small boxes of a report: larger letters, and no title, which the caption says."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from CTGLIPLib.pictures import query_figure
from CTGLIPLib.predict import Study
from CTGLIPLib.results import QueryAnswer

LARGER, SLIGHTLY_LARGER, SMALL_PT = 1.5, 1.2, 10.0
"""Letters are so many times larger than in a picture of its own; those below 10 points (scales) have less room."""
BORDER_PX = 8


def report_picture(study: Study, answer: QueryAnswer) -> np.ndarray:
    """Three slices through the best organ, uint8, shape (row, column, 3), without title and empty borders."""
    figure = query_figure(study.volume, study.segmentation, answer)
    canvas = FigureCanvasAgg(figure)
    for text in list(figure.texts):
        text.remove()
    for axes in figure.axes:
        axes.set_ylabel("")  # the colour bar's, which the caption says
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            size = float(text.get_fontsize())
            text.set_fontsize(size * (SLIGHTLY_LARGER if size < SMALL_PT else LARGER))
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    used = np.flatnonzero(pixels.any(axis=(1, 2)))
    return pixels[max(used[0] - BORDER_PX, 0) : used[-1] + 1 + BORDER_PX].copy()


def png_bytes(pixels: np.ndarray) -> bytes:
    """The picture as a PNG file's content; the same pixels give the same bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=6)
    return stream.getvalue()
