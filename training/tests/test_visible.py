"""A simulated finding counts only where the finished picture shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_phantom import SPACING_MM, phantom

from ctglip_training import pool
from ctglip_training.simulate.patient import Patient, SimulatedFinding
from ctglip_training.simulate.visible import signal_to_noise, visible_findings
from CTGLIPLib.volume import Volume

STONE = SimulatedFinding("kidney_stone", "kidney_left", "A stone in the left kidney.")
KNOWN = SimulatedFinding("kidney_stone", "kidney_right", "A stone in the right kidney.")


def with_stone(hu: float, voxels: int) -> tuple[Patient, np.ndarray]:
    """A patient with that much added to the first voxels of the left kidney, and the picture without it."""
    healthy = phantom(2)
    kidney = np.argwhere(healthy.segmentation.mask("kidney_left"))[:voxels]
    array = healthy.volume.array.copy()
    array[tuple(kidney.T)] += hu
    grid = healthy.volume.grid
    return Patient(Volume(array, grid), healthy.segmentation, (KNOWN, STONE)), healthy.volume.array


def test_a_bright_stone_stays_and_a_faint_one_is_no_finding():
    bright, healthy = with_stone(300.0, 4)
    assert visible_findings(bright, healthy, [STONE]) == (KNOWN, STONE)
    faint, healthy = with_stone(6.0, 4)
    assert visible_findings(faint, healthy, [STONE]) == (KNOWN,)


def test_what_was_not_drawn_is_kept_though_nothing_changed():
    healthy = phantom(2)
    patient = Patient(healthy.volume, healthy.segmentation, (KNOWN,))
    assert visible_findings(patient, healthy.volume.array, []) == (KNOWN,)


def test_signal_grows_with_the_root_of_the_changed_voxels():
    ratios = []
    for voxels in (4, 16):
        patient, healthy = with_stone(100.0, voxels)
        ratios.append(signal_to_noise(patient, healthy, patient.volume.array - healthy, "kidney_left"))
    assert ratios[1] == pytest.approx(2 * ratios[0], rel=1e-6)


def test_an_organ_of_hardly_a_voxel_shows_nothing():
    patient, healthy = with_stone(100.0, 4)
    layers = np.where(patient.segmentation.layers == 3, 0, patient.segmentation.layers)
    gone = replace(patient, segmentation=replace(patient.segmentation, layers=layers))
    assert visible_findings(gone, healthy, [STONE]) == (KNOWN,)


def test_a_patient_of_the_pool_lists_only_what_it_shows(monkeypatch):
    base = phantom(1)
    layers = base.segmentation.layers.max(axis=0, keepdims=True)
    segmentation = type(base.segmentation)(layers, base.volume.grid, base.segmentation.names)

    def drawn(patient: Patient, _rng: np.random.Generator, _count: int) -> Patient:
        array = patient.volume.array.copy()
        array[patient.segmentation.mask("liver")] -= 60.0
        found = (SimulatedFinding("fatty_liver", "liver", "Fatty liver."), STONE)
        return Patient(Volume(array, patient.volume.grid), patient.segmentation, patient.findings + found)

    monkeypatch.setattr(pool, "simulate_findings", drawn)
    monkeypatch.setattr(pool, "WHOLE_SHARE", 1.0)
    made = pool.make_patient(Patient(base.volume, segmentation), SPACING_MM, np.random.default_rng(0))
    assert [finding.abnormality for finding in made.findings] == ["fatty_liver"]
