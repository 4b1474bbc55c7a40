from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_data import ball, prepared, small_config, write_tumor_set

from ctglip_training.finetune.augment import Augmentation, read_size
from ctglip_training.finetune.cache import OUTSIDE, CachedCase, labels_on_grid, prepare_cases
from ctglip_training.finetune.cases import open_cases
from ctglip_training.finetune.config import AugmentConfig
from ctglip_training.finetune.patches import Patches, draw_start, with_position
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.preprocess import input_channels, sub_grid
from CTGLIPLib.volume import Volume

STILL = AugmentConfig(0, (1, 1), False, 0, 0, 0, 0, 1, (1, 1))
WINDOW = (-1000.0, 1000.0)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> list[CachedCase]:
    return prepared(write_tumor_set(tmp_path_factory.mktemp("raw") / "Dataset007_Lung"))[1]


def test_a_prepared_case_at_its_own_spacing_is_the_ct_and_its_labels(ready: list[CachedCase]) -> None:
    hu, labels = ready[1].crop((0, 0, 0), 24)
    assert np.array_equal(labels == 2, ball("lung_1"))
    assert hu[ball("lung_1")].min() == hu[ball("lung_1")].max() == 400
    assert {number: len(places) for number, places in ready[3].places.items()} == {1: 10 * 8 * 12}


def test_outside_the_scan_its_border_is_repeated_and_has_no_label(ready: list[CachedCase]) -> None:
    hu, labels = ready[0].crop((-4, 0, 10), 24)
    assert (labels[:4] == OUTSIDE).all()
    assert (labels[4:, :, :14] != OUTSIDE).all()
    assert np.array_equal(hu[0], hu[4])
    assert np.array_equal(hu[5, :, -1], hu[5, :, 13])


def test_a_case_is_prepared_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "raw", ["lung_0"])
    (case,) = prepared(root)[1]
    written = (case.folder / "hu.b2nd").stat().st_mtime_ns
    assert prepared(root)[1][0].folder == case.folder
    assert (case.folder / "hu.b2nd").stat().st_mtime_ns == written
    (root / "labelsTr" / "lung_0.nii.gz").touch()
    assert prepared(root)[1][0].folder != case.folder


def test_a_broken_prepared_case_says_which_folder_to_delete(tmp_path: Path) -> None:
    root = write_tumor_set(tmp_path / "raw", ["lung_0"])
    (case,) = prepared(root)[1]
    (case.folder / "hu.b2nd").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is broken.*Delete that folder"):
        case.crop((0, 0, 0), 8)
    (case.folder / "facts.json").write_text("{}")
    with pytest.raises(InputError, match="is broken.*Delete that folder"):
        prepare_cases(open_cases(root), open_cases(root).studies, 5.0, tmp_path / "cache")


def test_a_coarse_voxel_takes_the_class_with_the_largest_share() -> None:
    fine = Grid((8, 4, 4), np.eye(4))
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = 1.5
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[0] = 1  # a quarter
    labels[1, :, :2] = 2  # an eighth; background has five
    labels[4:6] = 2  # a half
    labels[6, :, :3] = 1
    found = labels_on_grid(Volume(labels, fine), Grid((2, 1, 1), affine), 2)
    assert found.ravel().tolist() == [0, 2]


def test_volume_of_a_tumour_survives_a_coarser_grid(tmp_path: Path) -> None:
    case = prepared(write_tumor_set(tmp_path / "raw", ["lung_0"]), 8.0)[1][0]
    coarse = len(case.places[2]) * 8.0**3
    assert coarse == pytest.approx(ball("lung_0").sum() * 5.0**3, rel=0.15)


def test_the_last_third_of_a_batch_is_centred_on_a_labelled_voxel(ready: list[CachedCase]) -> None:
    grid = Grid((60, 60, 60), np.eye(4))
    wide = replace(ready[0], grid=grid, places={1: np.array([[30, 30, 30]]), 2: np.array([[40, 20, 59]])})
    rng = np.random.default_rng(0)
    forced = {draw_start(wide, 16, True, rng) for _ in range(40)}
    assert forced == {(22, 22, 22), (32, 12, 44)}  # the second as far as the border lets it
    free = np.array([draw_start(wide, 16, False, rng) for _ in range(300)])
    assert (free.min(), free.max()) == (0, 44)
    assert abs(free.mean() - 22) < 1.5


def test_a_scan_smaller_than_the_crop_lies_in_its_middle(ready: list[CachedCase]) -> None:
    rng = np.random.default_rng(0)
    assert draw_start(ready[0], 32, True, rng) == draw_start(ready[0], 32, False, rng) == (-4, -4, -4)


def test_a_crop_depends_on_the_seed_and_its_number_alone(ready: list[CachedCase]) -> None:
    patches = Patches(ready, small_config())
    first = patches[3]
    patches[0], patches[1]
    again = Patches(ready, small_config())[3]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["labels"], again["labels"])
    assert not torch.equal(first["image"], patches[2]["image"])
    assert first["image"].shape == (1, 32, 32, 32)
    assert first["labels"].dtype == torch.int64


def test_intensities_stay_in_the_window_and_labels_among_the_classes(ready: list[CachedCase]) -> None:
    patches = Patches(ready, small_config())
    for number in range(12):
        crop = patches[number]
        assert 0 <= crop["image"].min() <= crop["image"].max() <= 1
        assert set(crop["labels"].unique().tolist()) <= {0, 1, 2, OUTSIDE}


def test_without_augmentation_a_crop_is_the_windowed_ct(ready: list[CachedCase]) -> None:
    patches = Patches(ready, replace(small_config(), augment=STILL))
    crop = patches[0]
    hu, labels = ready[int(crop["case"])].crop((-4, -4, -4), 32)
    assert np.allclose(crop["image"][0].numpy(), np.clip((hu + 1000) / 2000, 0, 1), atol=1e-6)
    assert np.array_equal(crop["labels"].numpy(), labels)


def _blob(centre: tuple[int, int, int], size: int = 48) -> torch.Tensor:
    away = np.indices((size,) * 3) - np.array(centre)[:, None, None, None]
    return torch.from_numpy((np.linalg.norm(away, axis=0) < 6).astype(np.float32))[None]


def test_image_and_labels_are_rotated_and_scaled_together() -> None:
    config = AugmentConfig(rotation_degrees=30, scaling=(0.7, 1.4))
    augmentation = Augmentation(config, WINDOW)
    image, moved_ones = _blob((30, 22, 20)), 0
    for seed in range(12):
        moved, labels, _ = augmentation.moved(image, image, 32, np.random.default_rng(seed))
        overlap = ((moved > 0.5) & (labels > 0.5)).sum() / (labels > 0.5).sum()
        assert moved.shape == labels.shape == (1, 32, 32, 32)
        assert overlap > 0.95
        moved_ones += int((labels > 0.5).sum() != (image > 0.5).sum())
    assert 2 <= moved_ones <= 10


def test_a_zoom_of_two_makes_a_ball_eight_times_as_large() -> None:
    augmentation = Augmentation(AugmentConfig(rotation_degrees=0, scaling=(2, 2), mirror=False), WINDOW)
    ball_labels = _blob((24, 24, 24))
    sizes = set()
    for seed in range(20):
        _, labels, _ = augmentation.moved(ball_labels, ball_labels, 32, np.random.default_rng(seed))
        sizes.add(round(float(labels.sum() / ball_labels.sum())))
    assert sizes == {1, 8}


def test_mirroring_tells_along_which_axes_it_was() -> None:
    augmentation = Augmentation(AugmentConfig(rotation_degrees=0, scaling=(1, 1)), WINDOW)
    image = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = set()
    for seed in range(20):
        moved, _, mirrored = augmentation.moved(image, image, 8, np.random.default_rng(seed))
        assert torch.equal(moved, image.flip([axis + 1 for axis in range(3) if mirrored[axis]]))
        seen.add(mirrored)
    assert len(seen) >= 6


def test_every_amount_of_zero_leaves_intensities_alone() -> None:
    augmentation = Augmentation(STILL, WINDOW)
    image = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    for seed in range(10):
        assert torch.allclose(augmentation.coloured(image.clone(), np.random.default_rng(seed)), image, atol=1e-5)
    assert read_size(STILL, 48) == 48
    assert read_size(AugmentConfig(), 48) == 72


def test_intensities_change_often_but_by_little() -> None:
    augmentation = Augmentation(AugmentConfig(), WINDOW)
    image = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.5
    changed = [augmentation.coloured(image.clone(), np.random.default_rng(seed)) for seed in range(30)]
    differing = [float((one - image).abs().mean()) for one in changed]
    assert 10 <= sum(value > 1e-4 for value in differing) <= 29
    assert max(differing) < 0.06  # 120 HU


def test_a_mirrored_patient_has_a_mirrored_position(ready: list[CachedCase]) -> None:
    case = ready[0]
    image = np.zeros((16, 16, 16), np.float32)
    start = (2, 5, 4)
    plain = with_position(image, case, start, (False, False, False), True)
    grid = sub_grid(case.grid, start, (16, 16, 16))
    assert np.allclose(plain, input_channels(image, grid, case.body_centre_ras_mm, True), atol=1e-6)
    flipped = with_position(image, case, start, (True, False, True), True)
    assert np.allclose(flipped[1], -plain[1][::-1], atol=1e-6)
    assert np.allclose(flipped[2], plain[2], atol=1e-6)
    assert with_position(image, case, start, (True, True, True), False).shape == (1, 16, 16, 16)
