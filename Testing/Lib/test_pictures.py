"""Pictures show the right organ on the right side, to scale, and the same every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from CTGLIPLib.errors import GeometryError, LabelError, OutputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.picture_frame import NARROWEST_PX, WIDTH_PX, arrange, drawable, save_picture, scale_length_mm
from CTGLIPLib.pictures import draw_heatmap, draw_query, heatmap_figure, query_figure
from CTGLIPLib.results import OrganScore, QueryAnswer
from CTGLIPLib.volume import Segmentation, Volume

SPACING = (2.0, 2.0, 5.0)
SHAPE = (60, 50, 30)


def phantom(axes: str = "RAS") -> tuple[Volume, Segmentation]:
    """A grey patient with a cube of 40 mm, "left", at the patient's left, and one of 20 mm, "right", at the right."""
    labels = np.zeros((1, *SHAPE), np.uint16)
    labels[0, 5:25, 15:35, 10:18] = 1
    labels[0, 45:55, 20:30, 12:16] = 2
    hu = np.full(SHAPE, 40.0)
    affine = np.diag([*SPACING, 1.0])
    if axes == "LPS":
        hu, labels = hu[::-1, ::-1], labels[:, ::-1, ::-1]
        affine[:2] *= -1
        affine[:2, 3] = (2.0 * 59, 2.0 * 49)
    grid = Grid(SHAPE, affine)
    return Volume(hu, grid), Segmentation(labels, grid, ("left", "right"))


def answered(*organs: OrganScore, **changes: object) -> QueryAnswer:
    names = tuple(organ.organ for organ in organs)
    base = QueryAnswer("a cyst", "finding", None, False, names, "not_found", 0.5, (), (), organs)
    return dataclasses.replace(base, **({"answer": "found"} | changes))


LEFT = OrganScore("left", "left cube", "present", 0.4, 0.9, 64.0)
RIGHT = OrganScore("right", "right cube", "present", 0.2, 0.1, 8.0)


def pixels(figure: Figure, path: Path) -> list[np.ndarray]:
    """The pixels of the three views, each shape (row, column, 3)."""
    save_picture(figure, path)
    with Image.open(path) as opened:
        image = np.asarray(opened).astype(int)
    height, width = image.shape[:2]
    boxes = [panel.get_position() for panel in figure.axes[:3]]
    return [
        image[round((1 - b.y1) * height) : round((1 - b.y0) * height), round(b.x0 * width) : round(b.x1 * width)]
        for b in boxes
    ]


def coloured(view: np.ndarray) -> np.ndarray:
    """Pixels that are not grey."""
    return view.max(axis=-1) - view.min(axis=-1) > 25


@pytest.mark.parametrize("axes", ["RAS", "LPS"])
def test_an_organ_at_the_patients_left_is_on_the_right_of_the_axial_and_coronal_view(axes: str, tmp_path: Path) -> None:
    axial, coronal, _ = pixels(query_figure(*phantom(axes), answered(LEFT)), tmp_path / "p.png")
    for view in (axial, coronal):
        _, columns = np.nonzero(coloured(view))
        assert len(columns) > 1000
        assert columns.min() > view.shape[1] / 2


def test_head_is_up_and_front_is_left_in_the_sagittal_view(tmp_path: Path) -> None:
    volume, segmentation = phantom()
    layers = np.zeros_like(segmentation.layers)
    layers[0, 20:40, 35:50, 20:30] = 1  # front and head
    figure = query_figure(volume, dataclasses.replace(segmentation, layers=layers), answered(LEFT))
    sagittal = coloured(pixels(figure, tmp_path / "p.png")[2])
    rows, columns = np.nonzero(sagittal)
    assert rows.max() < 0.4 * sagittal.shape[0]
    assert columns.max() < 0.35 * sagittal.shape[1]


def test_a_cube_in_the_patient_is_square_in_every_view(tmp_path: Path) -> None:
    for view in pixels(query_figure(*phantom(), answered(LEFT)), tmp_path / "p.png"):
        rows, columns = np.nonzero(coloured(view))
        high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert high / wide == pytest.approx(1.0, abs=0.05)


def test_organs_that_were_not_asked_stay_grey(tmp_path: Path) -> None:
    axial, *_ = pixels(query_figure(*phantom(), answered(LEFT)), tmp_path / "p.png")
    assert not coloured(axial)[:, : axial.shape[1] // 2].any()


def test_colours_follow_the_score(tmp_path: Path) -> None:
    axial, *_ = pixels(query_figure(*phantom(), answered(LEFT, RIGHT)), tmp_path / "p.png")
    height, width = axial.shape[:2]
    good, bad = axial[height // 2, round(0.75 * width)], axial[height // 2, round(0.16 * width)]
    assert good[1] > good[2] + 40  # towards yellow and green
    assert bad[2] > bad[1] + 10  # towards violet


def test_an_asked_organ_without_a_score_gets_an_outline_only(tmp_path: Path) -> None:
    small = OrganScore("right", "right cube", "too_small", volume_ml=8.0)
    axial, *_ = pixels(query_figure(*phantom(), answered(LEFT, small)), tmp_path / "p.png")
    half = axial[:, : axial.shape[1] // 2]
    assert not coloured(half).any()
    levels = [half[half.shape[0] // 2, x, 0] for x in range(30, half.shape[1] - 10)]
    assert max(levels) - min(levels) > 30


def test_the_letters_numbers_and_notice_are_in_the_picture() -> None:
    figure = query_figure(*phantom(), answered(LEFT, RIGHT))
    letters = [{text.get_text() for text in panel.texts} for panel in figure.axes[:3]]
    assert [set("RLAPSI") & words for words in letters] == [set("RLAP"), set("RLSI"), set("APSI")]
    assert all("20 mm" in words for words in letters)
    title, subtitle, footer = (text.get_text() for text in figure.texts)
    assert title == '"a cyst": found in the left cube'
    assert subtitle == "Score 0.90, threshold 0.50 | Views through: left cube (pink outline), 64.0 ml | 2 organs asked"
    assert footer == "Soft tissue window, -160 to 240 HU | Research software, not a medical device"
    assert figure.axes[3].get_ylabel() == "score (probability)"


def test_a_letter_lies_at_its_edge() -> None:
    panel = query_figure(*phantom(), answered(LEFT)).axes[0]
    places = {text.get_text(): text.xy for text in panel.texts}
    assert (places["R"], places["L"], places["A"], places["P"]) == ((0, 0.5), (1, 0.5), (0.5, 1), (0.5, 0))


def test_without_scores_the_colours_are_similarities_over_their_own_range() -> None:
    organs = (dataclasses.replace(LEFT, score=None), dataclasses.replace(RIGHT, score=None))
    figure = query_figure(*phantom(), answered(*organs, threshold=None))
    assert figure.axes[3].get_ylabel() == "similarity (cosine)"
    assert figure.axes[3].get_ylim() == pytest.approx((0.2, 0.4))


def test_an_unanswerable_question_is_drawn_without_colour(tmp_path: Path) -> None:
    absent = OrganScore("gallbladder", "gallbladder", "absent")
    figure = query_figure(*phantom(), answered(absent, answer="unanswerable"))
    assert len(figure.axes) == 3
    assert "gallbladder not in the segmentation" in figure.texts[0].get_text()
    assert not any(coloured(view).any() for view in pixels(figure, tmp_path / "p.png"))


def test_a_long_question_leaves_room_for_its_answer() -> None:
    title = query_figure(*phantom(), answered(LEFT, text="why " * 60)).texts[0].get_text()
    assert title.endswith('...": found in the left cube')


def test_an_oblique_scan_says_that_it_is_drawn_along_its_own_axes() -> None:
    volume, segmentation = phantom()
    affine = volume.grid.affine.copy()
    affine[:3, :3] = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]) @ affine[:3, :3]
    grid = Grid(SHAPE, affine)
    figure = query_figure(Volume(volume.array, grid), dataclasses.replace(segmentation, grid=grid), answered(LEFT))
    assert "Oblique scan, drawn along its own axes" in figure.texts[2].get_text()


def test_the_same_answer_gives_the_same_bytes_and_a_small_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_query(*phantom(), answered(LEFT, RIGHT), tmp_path / name)
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert len(first) < 1_000_000
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] == WIDTH_PX
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write"):
        draw_query(*phantom(), answered(LEFT), tmp_path / "file" / "p.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_masks_on_another_grid_are_refused() -> None:
    volume, segmentation = phantom()
    other = Segmentation(segmentation.layers, Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])), segmentation.names)
    with pytest.raises(GeometryError, match="same grid"):
        query_figure(volume, other, answered(LEFT))


def test_a_scored_organ_outside_the_segmentation_is_refused() -> None:
    with pytest.raises(LabelError, match="no organ 'liver'"):
        query_figure(*phantom(), answered(dataclasses.replace(LEFT, organ="liver")))


def test_a_heat_map_is_drawn_through_its_hottest_place(tmp_path: Path) -> None:
    volume, segmentation = phantom()
    heat = np.where(segmentation.mask("left"), 0.1, np.nan)
    heat[8:11, 18:21, 11:13] = 0.7
    figure = heatmap_figure(volume, heat, "metastasis", organ="rib_left_1")
    assert figure.texts[0].get_text() == '"metastasis": heat map'
    assert figure.texts[1].get_text() == "highest similarity 0.70"
    assert figure.texts[2].get_text().startswith("Bone window")
    axial, *_ = pixels(figure, tmp_path / "p.png")
    _, columns = np.nonzero(coloured(axial))
    assert columns.min() > axial.shape[1] / 2
    draw_heatmap(volume, heat, "metastasis", tmp_path / "heat.png", organ="rib_left_1")
    assert (tmp_path / "heat.png").read_bytes() == (tmp_path / "p.png").read_bytes()


def test_an_empty_heat_map_says_so_and_a_wrong_shape_is_refused() -> None:
    volume, _ = phantom()
    figure = heatmap_figure(volume, np.full(SHAPE, np.nan), "x")
    assert figure.texts[1].get_text() == "no voxel has a similarity"
    with pytest.raises(GeometryError, match=r"shape \(60, 50, 30\), got \(2, 2, 2\)"):
        heatmap_figure(volume, np.zeros((2, 2, 2)), "x")


@pytest.mark.parametrize(
    "sizes",
    [
        [(360.0, 360.0), (360.0, 330.0), (360.0, 330.0)],
        [(60.0, 60.0), (60.0, 450.0), (60.0, 450.0)],
        [(30.0, 400.0), (30.0, 300.0), (400.0, 300.0)],
    ],
)
def test_views_keep_one_scale_and_never_overlap(sizes: list[tuple[float, float]]) -> None:
    layout = arrange(sizes)
    scales = [
        length / size
        for box, pair in zip(layout.boxes_px, sizes, strict=True)
        for length, size in zip(box[2:], pair, strict=True)
    ]
    assert np.ptp(scales) < 1e-9
    centres = [box[0] + box[2] / 2 for box in layout.boxes_px]
    assert min(np.diff(centres)) >= NARROWEST_PX
    ends = [(box[0], box[0] + box[2]) for box in layout.boxes_px]
    assert all(a[1] < b[0] for a, b in zip(ends, ends[1:], strict=False))
    assert ends[-1][1] < WIDTH_PX


def test_the_scale_is_a_round_length_that_fits() -> None:
    assert [scale_length_mm(width) for width in (400.0, 300.0, 100.0, 2.0)] == [100, 50, 20, 1]


def test_characters_that_the_font_lacks_become_question_marks() -> None:
    assert drawable("Zyste \u80dd $a$ \u00fc") == "Zyste ? $a$ \u00fc"
