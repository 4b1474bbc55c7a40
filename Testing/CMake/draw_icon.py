"""The extension's icon: a torso in which the organ that was asked for, the liver, lights up."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFilter

SIZE = 128
SCALE = 8  # drawn large, then reduced, which smooths the edges
BACKGROUND = (24, 32, 48, 255)
BODY = (104, 120, 140, 255)
BODY_EDGE = (190, 203, 216, 255)
LUNG = (52, 66, 88, 255)
SPINE = (205, 213, 222, 255)
LIVER = (253, 231, 37, 255)  # viridis' upper end: the organ that matches best
STOMACH = (33, 145, 140, 255)
SPLEEN = (59, 82, 139, 255)


def draw_icon() -> Image.Image:
    """The icon, 128x128, red, green, blue and opacity."""
    large = Image.new("RGBA", (SIZE * SCALE, SIZE * SCALE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(large)
    pen.rounded_rectangle([side * SCALE for side in (2, 2, 126, 126)], radius=22 * SCALE, fill=BACKGROUND)
    _torso(pen)
    glow = Image.new("RGBA", large.size, (*LIVER[:3], 0))
    _liver(ImageDraw.Draw(glow))
    large.alpha_composite(glow.filter(ImageFilter.GaussianBlur(5 * SCALE)))
    _organs(ImageDraw.Draw(large))
    return large.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _torso(pen: ImageDraw.ImageDraw) -> None:
    left = [
        (55, 8),
        (54, 20),
        (40, 27),
        (26, 31),
        (17, 42),
        (12, 66),
        (25, 68),
        (30, 52),
        (33, 74),
        (28, 98),
        (27, 120),
    ]
    right = [(SIZE - x, y) for x, y in reversed(left)]
    pen.polygon(_curve([*left, *right]), fill=BODY, outline=BODY_EDGE, width=2 * SCALE)


def _organs(pen: ImageDraw.ImageDraw) -> None:
    lung = [(55, 31), (58, 40), (58, 64), (48, 65), (37, 69), (38, 52), (45, 37)]
    pen.polygon(_curve(lung), fill=LUNG)
    pen.polygon(_curve([(SIZE - x, y) for x, y in lung]), fill=LUNG)
    pen.rounded_rectangle([side * SCALE for side in (61, 18, 67, 113)], radius=3 * SCALE, fill=SPINE)
    pen.polygon(_curve([(74, 70), (84, 72), (88, 80), (82, 92), (70, 95), (70, 90), (75, 84)]), fill=STOMACH)
    pen.polygon(_curve([(89, 72), (95, 76), (95, 86), (90, 91), (88, 82)]), fill=SPLEEN)
    _liver(pen)


def _liver(pen: ImageDraw.ImageDraw) -> None:
    pen.polygon(_curve([(38, 72), (52, 68), (68, 70), (80, 74), (70, 82), (56, 87), (46, 98), (37, 97)]), fill=LIVER)


def _curve(points: list[tuple[int, int]], steps: int = 12) -> list[tuple[float, float]]:
    """A smooth closed line through the points (Catmull-Rom), in the large picture's pixels."""
    line = []
    for index in range(len(points)):
        before, first, second, after = (points[(index + shift) % len(points)] for shift in (-1, 0, 1, 2))
        for t in (step / steps for step in range(steps)):
            line.append(tuple(SCALE * _between(corner, t) for corner in zip(before, first, second, after, strict=True)))
    return line


def _between(corner: tuple[int, ...], t: float) -> float:
    a, b, c, d = corner
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
