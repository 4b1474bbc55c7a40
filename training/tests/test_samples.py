"""Crops: inside the scan, renumbered right, every organ that counts named, the same for the same generator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_phantom import CYST, NAMES, phantom, smoke_config, stored

from ctglip_training.config import TrainConfig
from ctglip_training.samples import MIN_SHARE, Sample, draw_sample
from ctglip_training.texts import OrganTextSampler, build_dictionary
from CTGLIPLib.core_and_shell import CORE_AND_SHELL_FEATURES, core_and_shell
from CTGLIPLib.intensity import BINS, organ_histograms

SAMPLER = OrganTextSampler(build_dictionary((), 512, seed=0), 2)
SIZE = 40


def config(tmp_path, crop: int = 24, **changes) -> TrainConfig:
    base = smoke_config(tmp_path, **changes)
    return replace(base, data=replace(base.data, crop_voxels=crop))


def draw(config: TrainConfig, seed: int = 0, patient=None) -> Sample:
    patient = patient or phantom(1, (CYST,), SIZE)
    entry = stored(patient, Path(config.data.pool) / f"with-{len(patient.findings)}" / "0")
    return draw_sample(entry, config, SAMPLER, np.random.default_rng(seed))


def place_of(sample: Sample, patient) -> tuple[slice, ...]:
    """Where the crop lies, found by its noise."""
    image = np.clip((patient.volume.array + 1000) / 2000, 0, 1).astype(np.float32)
    crop = sample.intensity.numpy()
    for start in np.ndindex(*(n - m + 1 for n, m in zip(image.shape, crop.shape, strict=True))):
        box = tuple(slice(s, s + n) for s, n in zip(start, crop.shape, strict=True))
        if image[box][0, 0, 0] == crop[0, 0, 0] and np.array_equal(image[box], crop):
            return box
    raise AssertionError("the crop is no part of the patient")


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_is_a_part_of_the_patient_with_its_organs_numbered_right(tmp_path, seed):
    patient = phantom(1, (CYST,), SIZE)
    sample = draw(config(tmp_path), seed, patient)
    box = place_of(sample, patient)
    assert sample.intensity.shape == (24, 24, 24)
    for number, name in enumerate(sample.organs, start=1):
        expected = patient.segmentation.mask(name)[box]
        assert np.array_equal((sample.layers == number).any(dim=0).numpy(), expected)
    assert int(sample.layers.max()) == len(sample.organs)


@pytest.mark.parametrize("seed", range(4))
def test_an_organ_counts_exactly_where_enough_of_it_is_inside(tmp_path, seed):
    patient = phantom(1, (CYST,), SIZE)
    sample = draw(config(tmp_path), seed, patient)
    box = place_of(sample, patient)
    for name in NAMES:
        mask = patient.segmentation.mask(name)
        assert (name in sample.organs) == (mask[box].sum() >= max(MIN_SHARE * mask.sum(), 8))


def test_the_segmentation_learns_every_organ_voxel_also_of_organs_that_do_not_count(tmp_path):
    patient = phantom(1, (), SIZE)
    partly = 0
    for seed in range(12):
        sample = draw(config(tmp_path, crop=16), seed, patient)
        box = place_of(sample, patient)
        assert sample.names == patient.segmentation.names
        assert np.array_equal(sample.labels.numpy(), patient.segmentation.layers.max(axis=0)[box])
        for number, name in enumerate(sample.names, start=1):
            partly += name not in sample.organs and bool((sample.labels == number).any())
    assert partly > 0


def test_a_crop_larger_than_the_scan_is_the_scan(tmp_path):
    sample = draw(config(tmp_path, crop=99))
    assert sample.intensity.shape == (SIZE, SIZE, SIZE)
    assert sample.organs == NAMES


def test_each_organ_has_eight_measures_near_the_true_ones_and_a_sentence(tmp_path):
    sample = draw(config(tmp_path, crop=99))
    assert sample.geometry.shape == (len(NAMES), 8 + BINS)
    voxels = phantom(1, (CYST,), SIZE).segmentation.voxel_counts()
    assert np.allclose(sample.geometry[:, 0], np.log10(voxels * 0.512 + 0.01), atol=0.15)
    assert len(sample.texts.diagnosis) == len(sample.texts.anatomy) == len(NAMES)


def test_core_and_shell_and_histograms_are_measured_in_the_crop_for_the_organs_that_count(tmp_path):
    base = config(tmp_path, crop=99)
    sample = draw(replace(base, model=replace(base.model, core_and_shell=True)))
    hu = np.clip(phantom(1, (CYST,), SIZE).volume.array, -1000, 1000)
    expected = core_and_shell(hu, sample.layers.numpy(), len(NAMES))
    assert sample.geometry.shape == (len(NAMES), 8 + CORE_AND_SHELL_FEATURES + BINS)
    assert np.allclose(sample.geometry[:, 8:-BINS], expected, atol=1e-5)
    shares = organ_histograms(hu, sample.layers.numpy(), len(NAMES))
    assert np.allclose(sample.geometry[:, -BINS:], shares, atol=1e-5)
    assert sample.body_geometry.shape == (0, 8)
    whole = draw(replace(base, method="vanilla-clip", model=replace(base.model, core_and_shell=True)))
    assert whole.body_geometry.shape == (1, 8 + CORE_AND_SHELL_FEATURES + BINS)


def test_the_input_has_position_channels_only_where_the_model_reads_them(tmp_path):
    base = config(tmp_path)
    assert draw(base).image.shape[0] == 3
    assert draw(replace(base, model=replace(base.model, coordinates=False))).image.shape[0] == 1


def test_the_whole_body_is_measured_for_vanilla_clip_alone(tmp_path):
    assert draw(config(tmp_path)).body_geometry.shape == (0, 8)
    whole = draw(config(tmp_path, method="vanilla-clip")).body_geometry
    litres = (phantom(1, (CYST,), SIZE).volume.array > -300).sum() * 0.512
    assert whole.shape == (1, 8 + BINS)
    assert float(whole[0, 0]) == pytest.approx(np.log10(litres), abs=1e-3)


def test_the_same_generator_draws_the_same_crop_and_another_one_another(tmp_path):
    first, again, other = (draw(config(tmp_path), seed) for seed in (3, 3, 4))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.geometry, again.geometry)
    assert first.texts == again.texts
    assert not torch.equal(first.intensity, other.intensity)


def test_half_of_the_crops_are_laid_around_an_organ_with_a_finding(tmp_path):
    patient = phantom(1, (CYST,), SIZE)
    mask = patient.segmentation.mask("kidney_left")
    inside = [
        float(mask[place_of(draw(config(tmp_path, crop=12), seed, patient), patient)].sum() / mask.sum())
        for seed in range(30)
    ]
    share = np.mean(np.array(inside) > 0.5)  # 0.5 + 0.5 / 6 organs = 0.58 expected
    assert 0.35 < share < 0.8
