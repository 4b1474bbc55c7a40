"""Heat maps over the CT: right in place and colour, and the views come back as they were."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.study_nodes import addVolume

from CTGLIPLib.errors import GeometryError, InputError
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.io import read_array, write_volume
from CTGLIPSlicer import heat_overlay
from CTGLIPSlicer.colour_scale import ColourScale
from CTGLIPSlicer.nodes import exportStudy, volumeFromNode

LOW, HIGH = -0.1, 0.3


def writtenHeat(study, path, organ: str = "liver", grid: Grid | None = None) -> dict[str, object]:
    """The child's answer: a map that rises along the organ from LOW to HIGH."""
    grid = grid or study.arrays.grid
    number = next(number for number, name in study.arrays.names.items() if name == organ)
    inside = study.arrays.labels == number
    heat = np.full(inside.shape, -1.0, np.float32)
    heat[inside] = np.linspace(LOW, HIGH, inside.sum(), dtype=np.float32)
    write_volume(heat, grid, path)
    return {"path": str(path), "low": LOW, "high": HIGH, "outside": -1.0, "hottest_ras_mm": {}, "organs": [organ]}


def composites() -> dict:
    return {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


def foregrounds() -> dict[str, tuple]:
    return {name: (node.GetForegroundVolumeID(), node.GetForegroundOpacity()) for name, node in composites().items()}


@pytest.fixture
def shown(views, patientScene, tmp_path):
    """The patient in the views, with its heat map's file."""
    for name in ("Red", "Green", "Yellow"):
        views.sliceWidget(name).view.show(patientScene.volume)
    return patientScene, writtenHeat(patientScene, tmp_path / "heat.nii")


def test_the_map_lies_voxel_for_voxel_on_the_ct(shown):
    study, result = shown

    node = heat_overlay.showHeatmap(result, study.volume, "fatty liver")

    expected, _, _ = read_array(Path(result["path"]))
    read = volumeFromNode(node)
    assert read.array.dtype == np.float32
    assert np.array_equal(read.array, expected)
    assert same_grid(read.grid, volumeFromNode(study.volume).grid)
    assert node.GetName() == "CT-GLIP heat map: fatty liver"


def test_the_map_has_its_own_window_and_is_transparent_outside_the_organs(shown):
    study, result = shown
    ctWindow = study.volume.GetDisplayNode().GetWindow()

    look = heat_overlay.showHeatmap(result, study.volume, "x").GetDisplayNode()

    assert (look.GetWindowLevelMin(), look.GetWindowLevelMax()) == pytest.approx((LOW, HIGH))
    assert look.GetApplyThreshold()
    assert -1.0 < look.GetLowerThreshold() < -0.99
    assert look.GetUpperThreshold() >= 1.0
    assert not look.GetInterpolate()
    assert study.volume.GetDisplayNode().GetWindow() == ctWindow


def test_slices_show_the_map_over_the_organ_alone_in_its_colours(shown, views):
    study, result = shown
    study.segmentation.GetDisplayNode().SetVisibility(False)
    view = views.sliceWidget("Red").view
    centre = tuple(study.centreRas("liver"))
    view.node.JumpSliceByCentering(*centre)
    before = view.image().astype(int)

    heat_overlay.showHeatmap(result, study.volume, "x")

    after = view.image().astype(int)
    row, column = view.pixelOf(centre)
    colour = np.array(ColourScale("", LOW, HIGH, "plasma").rgb((LOW + HIGH) / 2)) * 255
    assert after[row, column] == pytest.approx((before[row, column] + colour) / 2, abs=12)
    row, column = view.pixelOf(tuple(study.centreRas("spleen")))
    assert np.array_equal(after[row, column], before[row, column])
    row, column = view.pixelOf((centre[0] + 4, centre[1] + 60, centre[2]))
    assert np.array_equal(after[row, column], before[row, column])


def test_every_slice_view_gets_the_map_as_half_transparent_foreground(shown):
    study, result = shown

    node = heat_overlay.showHeatmap(result, study.volume, "x")

    assert foregrounds() == {name: (node.GetID(), 0.5) for name in ("Red", "Green", "Yellow")}
    assert {c.GetBackgroundVolumeID() for c in composites().values()} == {study.volume.GetID()}
    assert heat_overlay.isShown(study.volume)


def test_the_legend_of_the_map_is_at_the_left_and_goes_with_it(shown, views):
    study, result = shown

    node = heat_overlay.showHeatmap(result, study.volume, "fatty liver")
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node.GetDisplayNode())
    assert legend.GetTitleText().replace("\n", " ") == "CT-GLIP heat map: fatty liver"
    picture = views.sliceWidget("Red").view.image().astype(int)
    coloured = (np.ptp(picture, axis=2) > 30)[:, : picture.shape[1] // 10]
    assert coloured.sum(axis=0).max() > 50

    heat_overlay.hideHeatmap(study.volume)
    assert slicer.modules.colors.logic().GetColorLegendDisplayNode(node.GetDisplayNode()) is None


def test_hiding_gives_every_view_its_former_foreground_and_opacity(shown, scene):
    study, result = shown
    pet = addVolume(study.arrays.hu, study.arrays.grid, "pet")
    composites()["Red"].SetForegroundVolumeID(pet.GetID())
    composites()["Red"].SetForegroundOpacity(0.37)
    composites()["Green"].SetForegroundOpacity(0.8)
    before = foregrounds()

    heat_overlay.showHeatmap(result, study.volume, "one")
    heat_overlay.showHeatmap(result, study.volume, "two")
    heat_overlay.hideHeatmap(study.volume)

    assert foregrounds() == before
    assert not heat_overlay.isShown(study.volume)
    assert heat_overlay.heatmapOf(study.volume) is not None


def test_what_the_user_put_over_the_ct_meanwhile_stays(shown):
    study, result = shown
    pet = addVolume(study.arrays.hu, study.arrays.grid, "pet")
    heat_overlay.showHeatmap(result, study.volume, "x")

    composites()["Red"].SetForegroundVolumeID(pet.GetID())
    heat_overlay.hideHeatmap(study.volume)

    assert foregrounds()["Red"] == (pet.GetID(), 0.5)
    assert foregrounds()["Green"] == (None, 0.0)


def test_a_second_map_of_the_same_ct_replaces_the_first(shown, tmp_path):
    study, result = shown
    first = heat_overlay.showHeatmap(result, study.volume, "fatty liver")

    second = heat_overlay.showHeatmap(writtenHeat(study, tmp_path / "b.nii", "spleen"), study.volume, "infarct")

    assert second is first
    assert second.GetName() == "CT-GLIP heat map: infarct"
    at = volumeFromNode(second).grid.to_index(study.centreRas("spleen")).round().astype(int)
    assert volumeFromNode(second).array[tuple(at)] > -1
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 2


def test_the_map_of_another_ct_takes_the_place_of_the_first(shown):
    study, result = shown
    other = addVolume(study.arrays.hu, study.arrays.grid, "follow-up")
    first = heat_overlay.showHeatmap(result, study.volume, "x")

    second = heat_overlay.showHeatmap(result, other, "x")

    assert second is not first
    assert not heat_overlay.isShown(study.volume)
    assert {view[0] for view in foregrounds().values()} == {second.GetID()}
    heat_overlay.hideHeatmap(other)
    assert {view[0] for view in foregrounds().values()} == {None}


def test_a_map_on_another_grid_is_refused_and_nothing_changes(shown, scene, tmp_path):
    study, _ = shown
    affine = study.arrays.grid.affine.copy()
    affine[0, 3] += 0.5
    result = writtenHeat(study, tmp_path / "moved.nii", grid=Grid(study.arrays.grid.shape_ijk, affine))
    before, count = foregrounds(), scene.GetNumberOfNodes()

    with pytest.raises(GeometryError, match="CT and heat map must lie on the same grid"):
        heat_overlay.showHeatmap(result, study.volume, "x")

    assert foregrounds() == before
    assert scene.GetNumberOfNodes() == count


def test_a_missing_file_is_refused(shown, tmp_path):
    study, result = shown

    with pytest.raises(InputError, match="There is no file"):
        heat_overlay.showHeatmap({**result, "path": str(tmp_path / "none.nii")}, study.volume, "x")


def test_a_map_without_any_range_has_a_window(shown):
    study, result = shown

    node = heat_overlay.showHeatmap({**result, "low": 0.2, "high": 0.2}, study.volume, "x")

    assert node.GetDisplayNode().GetWindow() > 0


def test_the_map_lies_beside_the_ct_in_its_study(shown, scene):
    study, result = shown
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    studyItem = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study 1")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(study.volume), studyItem)

    node = heat_overlay.showHeatmap(result, study.volume, "x")

    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == studyItem


def test_hiding_without_a_map_does_nothing(shown):
    study, _ = shown
    before = foregrounds()

    heat_overlay.hideHeatmap(study.volume)

    assert foregrounds() == before
    assert heat_overlay.heatmapOf(study.volume) is None


def test_the_map_and_what_was_below_it_survive_saving_and_loading(shown, scene, tmp_path):
    study, result = shown
    pet = addVolume(study.arrays.hu, study.arrays.grid, "pet")
    composites()["Red"].SetForegroundVolumeID(pet.GetID())
    composites()["Red"].SetForegroundOpacity(0.25)
    heat_overlay.showHeatmap(result, study.volume, "x")
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))

    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)

    volume = slicer.util.getNode("patient")
    assert heat_overlay.isShown(volume)
    look = heat_overlay.heatmapOf(volume).GetDisplayNode()
    assert (look.GetWindowLevelMin(), look.GetWindowLevelMax()) == pytest.approx((LOW, HIGH), abs=1e-5)
    heat_overlay.hideHeatmap(volume)
    assert foregrounds()["Red"] == (slicer.util.getNode("pet").GetID(), 0.25)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_a_map_of_an_exported_ct_lies_on_it_however_it_is_stored(scene, tmp_path, signs):
    affine = np.diag([*(np.array(signs) * (1.1, 1.3, 2.7)), 1.0])
    affine[:3, 3] = (-100.123456, 33.3, 777.7)
    rng = np.random.default_rng(1)
    ct = addVolume(rng.integers(-1000, 1000, (20, 18, 16)).astype(np.int16), Grid((20, 18, 16), affine), "ct")
    array, grid, _ = read_array(exportStudy(ct, None, tmp_path).ct)
    heat = (array / 2000).astype(np.float32)
    write_volume(heat, grid, tmp_path / "heat.nii")
    result = {"path": str(tmp_path / "heat.nii"), "low": -0.4, "high": 0.4, "outside": -1.0}

    node = heat_overlay.showHeatmap(result, ct, "x")

    assert np.array_equal(
        slicer.util.arrayFromVolume(node), (slicer.util.arrayFromVolume(ct) / 2000).astype(np.float32)
    )
