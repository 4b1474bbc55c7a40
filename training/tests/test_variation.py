"""Anatomy and acquisition variation: geometry kept, labels kept, sides kept, HU within what was promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from ctglip_training.simulate.variation import (
    acquire,
    crop_field_of_view,
    deform,
    resample_pair,
    set_phase,
    vary_contrast,
)
from ctglip_training.simulate.variation_anatomy import random_deformation, source_index
from ctglip_training.simulate.variation_contrast import PHASES
from CTGLIPLib.errors import GeometryError
from CTGLIPLib.geometry import Grid, canonical_grid, grid_at_spacing
from CTGLIPLib.volume import Segmentation, Volume

NAMES = ("aorta", "kidney_left", "kidney_right", "liver", "vertebrae_L1", "spleen")
CENTRES_RAS_MM = {
    "aorta": (-8.0, 0.0, 0.0),
    "kidney_left": (-62.0, -25.0, -5.0),
    "kidney_right": (62.0, -25.0, -10.0),
    "liver": (60.0, 30.0, 40.0),
    "vertebrae_L1": (0.0, -40.0, 10.0),
    "spleen": (-65.0, 5.0, 50.0),
}
NATIVE_HU = {"aorta": 42, "kidney_left": 33, "kidney_right": 33, "liver": 56, "vertebrae_L1": 250, "spleen": 48}
LANDMARK_HU = 900.0


def body(spacing_mm: float = 4.0, size_mm: float = 240.0, flip: bool = False) -> tuple[Volume, Segmentation]:
    """A soft-tissue cylinder in air with balls for organs; flip stores it with i towards the left."""
    n = round(size_mm / spacing_mm)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -spacing_mm * (n - 1) / 2
    if flip:
        affine[0] *= -1
    grid = Grid((n, n, n), affine)
    ras = grid.to_ras(np.moveaxis(np.indices(grid.shape_ijk), 0, -1))
    array = np.where(np.hypot(ras[..., 0], ras[..., 1]) < 105, -90.0, -1000.0).astype(np.float32)
    layers = np.zeros((2, n, n, n), dtype=np.uint16)
    for number, name in enumerate(NAMES, start=1):
        ball = np.linalg.norm(ras - CENTRES_RAS_MM[name], axis=-1) < 22
        layers[number % 2][ball] = number
        array[ball] = NATIVE_HU[name]
    return Volume(array, grid), Segmentation(layers, grid, NAMES, "phantom", "totalsegmentator_v2")


def centroid_ras(segmentation: Segmentation, name: str) -> np.ndarray:
    return segmentation.grid.to_ras(np.argwhere(segmentation.mask(name))).mean(axis=0)


def with_ball(volume: Volume, centre_ras_mm: tuple[float, float, float], radius_mm: float, hu: float) -> Volume:
    ras = volume.grid.to_ras(np.moveaxis(np.indices(volume.grid.shape_ijk), 0, -1))
    ball = np.linalg.norm(ras - centre_ras_mm, axis=-1) < radius_mm
    return Volume(np.where(ball, np.float32(hu), volume.array), volume.grid)


def test_everything_repeats_with_the_seed_and_leaves_its_input_alone() -> None:
    volume, segmentation = body()
    kept = volume.array.copy(), segmentation.layers.copy()

    def everything(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        ct, labels = deform(*crop_field_of_view(volume, segmentation, rng), volume.grid, rng)
        return acquire(vary_contrast(ct, labels, rng), rng).array, labels.layers

    first, second, other = everything(3), everything(3), everything(4)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])
    assert first[0].dtype == np.float32
    assert first[1].dtype == np.uint16
    assert np.array_equal(volume.array, kept[0])
    assert np.array_equal(segmentation.layers, kept[1])


def test_strength_zero_equals_plain_resampling() -> None:
    volume, segmentation = body()
    grid = grid_at_spacing(volume.grid, 5.0)
    ct, labels = deform(volume, segmentation, grid, np.random.default_rng(0), strength=0.0)
    plain_ct, plain_labels = resample_pair(volume, segmentation, grid)
    assert np.allclose(ct.array, plain_ct.array, atol=1e-2)
    assert np.array_equal(labels.layers, plain_labels.layers)


def test_resampling_onto_the_same_grid_returns_the_same_values() -> None:
    volume, segmentation = body()
    ct, labels = resample_pair(volume, segmentation, volume.grid)
    assert np.allclose(ct.array, volume.array, atol=1e-2)
    assert np.array_equal(labels.layers, segmentation.layers)


def test_resampling_to_a_finer_oblique_grid_equals_simpleitk(rng: np.random.Generator) -> None:
    source = Grid((14, 12, 10), np.array([[-3, 0, 0, 20], [0, 2, 0, -12], [0, 0, 4, -20], [0, 0, 0, 1.0]]))
    volume = Volume(rng.normal(0, 100, source.shape_ijk).astype(np.float32), source)
    layers = rng.integers(0, 7, (1, *source.shape_ijk)).astype(np.uint16)
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * 1.3, (-9.0, -4.0, -9.0)
    grid = Grid((13, 11, 12), affine)

    def image(array: np.ndarray) -> sitk.Image:
        lps = np.diag([-1.0, -1.0, 1.0]) @ source.affine[:3, :3]
        out = sitk.GetImageFromArray(array.transpose(2, 1, 0).astype(np.float32))
        out.SetSpacing(source.spacing_mm)
        out.SetDirection((lps / source.spacing_mm).ravel())
        out.SetOrigin(np.diag([-1.0, -1.0, 1.0]) @ source.affine[:3, 3])
        return out

    def independent(array: np.ndarray, how: int, default: float) -> np.ndarray:
        lps = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3, :3]
        result = sitk.Resample(
            image(array), grid.shape_ijk, sitk.Transform(), how, np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3, 3],
            grid.spacing_mm, (lps / grid.spacing_mm).ravel(), default,
        )  # fmt: skip
        return sitk.GetArrayFromImage(result).transpose(2, 1, 0)

    ct, labels = resample_pair(volume, Segmentation(layers, source, NAMES), grid)
    inside = independent(np.ones(source.shape_ijk), sitk.sitkLinear, 0.0) > 0.5
    assert 0.2 < inside.mean() < 1.0
    assert np.allclose(ct.array[inside], independent(volume.array, sitk.sitkLinear, -1000.0)[inside], atol=0.05)
    assert (labels.layers[0] == independent(layers[0], sitk.sitkNearestNeighbor, 0.0))[inside].mean() > 0.999
    assert (ct.array[~inside] == -1000).mean() > 0.99
    assert (labels.layers[0][~inside] == 0).mean() > 0.99


def test_downsampling_averages_noise_as_boxes_would(rng: np.random.Generator) -> None:
    grid = Grid((80, 80, 80), np.diag([1.0, 1.0, 1.0, 1.0]))
    noise = Volume(rng.normal(0, 40, grid.shape_ijk).astype(np.float32), grid)
    empty = Segmentation(np.zeros((1, 80, 80, 80), np.uint16), grid, ())
    ct, _ = resample_pair(noise, empty, grid_at_spacing(grid, 4.0))
    assert 40 / 8 * 0.5 < ct.array.std() < 40 / 8 * 2.0
    flat, _ = resample_pair(Volume(np.full(grid.shape_ijk, 55.0), grid), empty, grid_at_spacing(grid, 4.0))
    assert np.allclose(flat.array, 55.0, atol=1e-3)


def test_padding_outside_the_scanners_field_of_view_does_not_bleed_in() -> None:
    volume, segmentation = body()
    padded = Volume(np.where(volume.array < -999, -2048, volume.array).astype(np.float32), volume.grid)
    ct, _ = resample_pair(padded, segmentation, grid_at_spacing(volume.grid, 8.0))
    assert ct.array.min() >= -1024


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_deformation_never_folds(seed: int) -> None:
    grid = Grid((50, 45, 40), np.diag([5.0, 5.0, 5.0, 1.0]))
    deformation = random_deformation(grid, grid.centre_ras_mm, np.random.default_rng(seed))
    index = source_index(grid, grid, deformation)
    jacobian = np.stack([np.stack(np.gradient(index[c]), axis=-1) for c in range(3)], axis=-2)
    determinant = np.linalg.det(jacobian)
    assert determinant.min() > 0.15
    assert determinant.max() < 4.0


def test_the_bend_stays_below_eight_millimetres_and_does_bend() -> None:
    grid = Grid((60, 60, 60), np.diag([4.0, 4.0, 4.0, 1.0]))
    largest = []
    for seed in range(20):
        full = random_deformation(grid, grid.centre_ras_mm, np.random.default_rng(seed))
        straight = type(full)(full.matrix, full.centre_ras_mm, full.shift_mm, full.controls_mm * 0, 50.0)
        bend_mm = 4.0 * np.abs(source_index(grid, grid, full) - source_index(grid, grid, straight))
        largest.append(float(bend_mm.max()))
    assert np.median(largest) > 1.5
    assert max(largest) < 12.0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_landmark_stays_inside_its_organ_and_left_stays_left(seed: int, flip: bool) -> None:
    volume, segmentation = body(flip=flip)
    for name in ("kidney_left", "kidney_right"):
        marked = with_ball(volume, CENTRES_RAS_MM[name], 12.0, LANDMARK_HU)
        ct, labels = deform(marked, segmentation, canonical_grid(volume.grid), np.random.default_rng(seed))
        landmark = ct.array > 450
        assert landmark.sum() > 20
        assert labels.mask(name)[landmark].all()
        assert centroid_ras(labels, "kidney_left")[0] < centroid_ras(labels, "kidney_right")[0] - 50


@pytest.mark.parametrize("seed", range(5))
def test_deformed_labels_are_a_subset_and_keep_a_plausible_size(seed: int) -> None:
    volume, segmentation = body()
    _, labels = deform(volume, segmentation, volume.grid, np.random.default_rng(seed))
    assert set(np.unique(labels.layers)) <= set(np.unique(segmentation.layers))
    assert (labels.names, labels.source, labels.vocabulary) == (NAMES, "phantom", "totalsegmentator_v2")
    ratio = labels.voxel_counts()[0] / segmentation.voxel_counts()[0]
    assert 0.4 < ratio < 2.2


def test_a_strength_that_could_fold_is_refused() -> None:
    volume, segmentation = body(8.0)
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        deform(volume, segmentation, volume.grid, np.random.default_rng(0), strength=1.5)


def test_labels_on_another_grid_are_refused() -> None:
    volume, _ = body(8.0)
    _, other = body(12.0)
    rng = np.random.default_rng(0)
    with pytest.raises(GeometryError, match="same grid"):
        resample_pair(volume, other, volume.grid)
    with pytest.raises(GeometryError, match="same grid"):
        crop_field_of_view(volume, other, rng)
    with pytest.raises(GeometryError, match="same grid"):
        vary_contrast(volume, other, rng)


@pytest.mark.parametrize("flip", [False, True])
def test_a_cropped_field_of_view_leaves_every_voxel_where_it_was(flip: bool) -> None:
    volume, segmentation = body(flip=flip)
    ras = volume.grid.to_ras(np.moveaxis(np.indices(volume.grid.shape_ijk), 0, -1)).astype(np.float32)
    lengths_mm = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        where = [crop_field_of_view(Volume(ras[..., axis], volume.grid), segmentation, np.random.default_rng(seed))[0]
                 for axis in range(3)]  # fmt: skip
        ct, labels = crop_field_of_view(volume, segmentation, rng)
        expected = ct.grid.to_ras(np.moveaxis(np.indices(ct.grid.shape_ijk), 0, -1))
        assert np.allclose(np.stack([w.array for w in where], axis=-1), expected, atol=1e-3)
        assert labels.grid is ct.grid
        assert labels.layers.any()
        lengths_mm.append(ct.grid.shape_ijk[2] * ct.grid.spacing_mm[2])
    whole = np.isclose(lengths_mm, 240.0)
    assert 0.2 < whole.mean() < 0.6
    assert min(lengths_mm) >= 40.0
    assert min(lengths_mm) < 80.0


def test_contrast_reaches_each_phases_levels_and_is_sometimes_left_out() -> None:
    volume, segmentation = body()
    aorta, kidney = segmentation.mask("aorta"), segmentation.mask("kidney_left")
    medians = {p: np.median(set_phase(volume, segmentation, p, np.random.default_rng(1)).array[aorta]) for p in PHASES}
    assert medians["arterial"] > medians["portal"] > medians["delayed"] > medians["native"]
    assert 200 < medians["arterial"] < 450
    arterial = set_phase(volume, segmentation, "arterial", np.random.default_rng(1))
    deep = np.linalg.norm(np.argwhere(kidney) - np.argwhere(kidney).mean(axis=0), axis=1) * 4 < 10
    assert np.median(arterial.array[kidney][~deep]) > np.median(arterial.array[kidney][deep]) + 30
    unchanged = [vary_contrast(volume, segmentation, np.random.default_rng(s)) is volume for s in range(100)]
    assert 0.15 < np.mean(unchanged) < 0.45


@pytest.mark.parametrize("phase", PHASES)
def test_contrast_leaves_calcified_fat_air_and_bone_voxels_as_they_were(phase: str) -> None:
    volume, segmentation = body()
    marked = with_ball(volume, CENTRES_RAS_MM["aorta"], 7.0, 600.0)
    marked = with_ball(marked, CENTRES_RAS_MM["liver"], 7.0, -90.0)
    after = set_phase(marked, segmentation, phase, np.random.default_rng(0))  # type: ignore[arg-type]
    kept = (marked.array > 200) | (marked.array <= -80)
    assert np.allclose(after.array[kept], marked.array[kept], atol=0.01)
    assert (marked.array[segmentation.mask("aorta")] == 600).sum() > 10


def test_contrast_can_be_taken_out_again_without_making_organs_darker_than_native() -> None:
    volume, segmentation = body()
    arterial = set_phase(volume, segmentation, "arterial", np.random.default_rng(2))
    native = set_phase(arterial, segmentation, "native", np.random.default_rng(3))
    for name in ("aorta", "spleen", "kidney_left"):
        values = native.array[segmentation.mask(name)]
        assert abs(np.median(values) - NATIVE_HU[name]) < 20
        assert np.percentile(values, 5) > -60


def test_undiluted_contrast_medium_in_the_heart_is_taken_out_with_its_bright_voxels() -> None:
    volume, segmentation = body()
    renamed = Segmentation(segmentation.layers, segmentation.grid, ("heart", *NAMES[1:]))
    heart = segmentation.mask("aorta")
    filled = Volume(np.where(heart, np.float32(300.0), volume.array), volume.grid)
    filled = with_ball(filled, CENTRES_RAS_MM["aorta"], 10.0, 1100.0)
    native = set_phase(filled, renamed, "native", np.random.default_rng(0)).array[heart]
    assert np.median(native) < 80
    assert native.max() < 250


def test_taking_contrast_out_leaves_no_bright_rim_and_no_dark_one_in_muscle() -> None:
    volume, segmentation = body()
    aorta = segmentation.mask("aorta")
    ras = volume.grid.to_ras(np.moveaxis(np.indices(volume.grid.shape_ijk), 0, -1))
    blood = np.linalg.norm(ras - CENTRES_RAS_MM["aorta"], axis=-1) < 26
    muscle = np.where((volume.array > -999) & ~segmentation.layers.any(axis=0), 55.0, volume.array)
    filled = Volume(np.where(aorta | (blood & ~segmentation.layers.any(axis=0)), 300.0, muscle), volume.grid)
    native = set_phase(filled, segmentation, "native", np.random.default_rng(0)).array
    rim = (np.linalg.norm(ras - CENTRES_RAS_MM["aorta"], axis=-1) < 24) & (blood & ~segmentation.layers.any(axis=0))
    assert np.median(native[rim]) < 130
    assert native[muscle == 55].min() > 45


def test_a_fatty_liver_stays_darker_than_a_normal_one_in_every_phase() -> None:
    volume, segmentation = body()
    liver = segmentation.mask("liver")
    fatty = Volume(np.where(liver, np.float32(10.0), volume.array), volume.grid)
    for phase in PHASES:
        pair = [set_phase(v, segmentation, phase, np.random.default_rng(5)).array[liver] for v in (volume, fatty)]
        assert 30 < np.median(pair[0]) - np.median(pair[1]) < 60


def test_acquisition_noise_and_calibration_stay_within_their_ranges() -> None:
    grid = Grid((40, 40, 40), np.diag([3.0, 3.0, 3.0, 1.0]))
    flat = Volume(np.full(grid.shape_ijk, 50.0, dtype=np.float32), grid)
    for seed in range(30):
        array = acquire(flat, np.random.default_rng(seed)).array
        assert 4.99 < array.std() < 35.01
        assert abs(array.mean() - 50) < 8 + 0.02 * 1050 + 2
        neighbours = np.corrcoef(array[1:].ravel(), array[:-1].ravel())[0, 1]
        assert neighbours > 0.0


def test_acquisition_keeps_edges_in_place_and_air_above_the_scanners_floor() -> None:
    volume, _ = body()
    bone = (slice(20, 40), slice(13, 27), slice(25, 40))
    centre = np.argwhere(np.abs(volume.array[bone] - 250) < 1).mean(axis=0)
    for seed in range(10):
        ct = acquire(volume, np.random.default_rng(seed))
        assert ct.grid is volume.grid
        assert ct.array.min() >= -1024
        weight = np.clip(ct.array[bone], 100, None) - 100
        moved = (np.moveaxis(np.indices(weight.shape), 0, -1) * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()
        assert np.abs(moved - centre).max() < 0.3


def test_the_real_abdomen_keeps_its_sides_and_organs(data_folder: Path) -> None:
    image = sitk.ReadImage(str(data_folder / "abdomen_example" / "ct.nii.gz"))
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(data_folder / "abdomen_example" / "seg_v1_104.nii.gz")))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    grid = Grid(array.shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
    names = tuple(f"organ_{n}" if n not in (2, 3) else ("kidney_right", "kidney_left")[n - 2] for n in range(1, 105))
    segmentation = Segmentation(labels.transpose(2, 1, 0)[None].astype(np.uint16), grid, names)
    coarse = grid_at_spacing(grid, 4.0)
    ct, varied = deform(Volume(array, grid), segmentation, coarse, np.random.default_rng(7))
    assert centroid_ras(varied, "kidney_left")[0] < centroid_ras(varied, "kidney_right")[0]
    assert (
        np.abs(np.median(ct.array[varied.mask("kidney_left")]) - np.median(array[segmentation.mask("kidney_left")])) < 5
    )
