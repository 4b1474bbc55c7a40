"""The palettes against matplotlib's own, and the colour node that legends and heat maps share."""

import numpy as np
import pytest
import slicer

from CTGLIPSlicer.colour_scale import PALETTES, ColourScale, colourNode

VALUES = np.linspace(0.0, 1.0, 501)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


@pytest.mark.parametrize("palette", PALETTES)
def test_a_palette_is_matplotlib_s_to_two_hundredths(palette):
    matplotlib = pytest.importorskip("matplotlib")
    expected = np.array(matplotlib.colormaps[palette].colors)
    scale = ColourScale("x", 0.0, 255.0, palette)

    got = np.array([scale.rgb(float(index)) for index in range(256)])

    assert np.abs(got - expected).max() < 0.02


@pytest.mark.parametrize("palette", PALETTES)
def test_higher_values_are_always_lighter_so_that_the_colour_blind_can_tell(palette):
    scale = ColourScale("x", 0.0, 1.0, palette)

    steps = np.diff(lightness(np.array([scale.rgb(float(value)) for value in VALUES])))

    assert steps.min() > 0
    assert steps.max() < 3 * steps.mean()


def test_the_range_decides_which_value_has_which_colour():
    narrow, wide = ColourScale("x", 0.2, 0.4), ColourScale("x", -1.0, 1.0)

    assert narrow.rgb(0.3) == pytest.approx(wide.rgb(0.0))
    assert narrow.position(0.25) == pytest.approx(0.25)


def test_values_outside_the_range_have_the_colours_of_its_ends():
    scale = ColourScale("x", 0.0, 1.0)

    assert scale.rgb(-5.0) == scale.rgb(0.0) == PALETTES["viridis"][0]
    assert scale.rgb(7.0) == scale.rgb(1.0) == PALETTES["viridis"][-1]


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(ValueError, match="needs low < high"):
        ColourScale("x", low, high)


def test_an_unknown_palette_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="viridis, plasma, got 'jet'"):
        ColourScale("x", 0.0, 1.0, "jet")


@pytest.mark.parametrize("palette", PALETTES)
def test_the_colour_node_has_the_scale_s_colours(scene, palette):
    scale = ColourScale("x", 0.0, 1.0, palette)

    table = colourNode(scene, scale).CreateLookupTableCopy()

    count = table.GetNumberOfTableValues()
    for index in (0, count // 3, count // 2, count - 1):
        assert table.GetTableValue(index)[:3] == pytest.approx(scale.rgb(index / (count - 1)), abs=0.01)


def test_scales_of_one_palette_share_one_node(scene):
    first = colourNode(scene, ColourScale("a", 0.0, 1.0))
    second = colourNode(scene, ColourScale("b", -1.0, 1.0))
    other = colourNode(scene, ColourScale("c", 0.0, 1.0, "plasma"))

    assert first is second
    assert other is not first
    assert len(slicer.util.getNodesByClass("vtkMRMLProceduralColorNode")) >= 2


def test_the_colour_node_is_saved_with_the_scene_and_found_again(scene, tmp_path):
    scale = ColourScale("x", 0.0, 1.0)
    before = colourNode(scene, scale).GetID()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))

    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)

    assert scene.GetNodeByID(before) is not None
    node = colourNode(scene, scale)
    assert node.GetID() == before
    assert node.CreateLookupTableCopy().GetTableValue(0)[:3] == pytest.approx(scale.rgb(0.0), abs=0.01)
