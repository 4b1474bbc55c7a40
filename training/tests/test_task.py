"""Batch -> named losses: weights, what learns in which stage, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_phantom import CYST, FAT, FINDINGS, NAMES, FakeEncoder, phantom, smoke_config, stored

from ctglip_training.config import LossConfig
from ctglip_training.loop import new_model
from ctglip_training.samples import draw_sample
from ctglip_training.task import Task
from ctglip_training.texts import OrganTextSampler, TextTable, build_dictionary
from CTGLIPLib.encode import organ_descriptors
from CTGLIPLib.preprocess import prepare_on_grid

SAMPLER = OrganTextSampler(build_dictionary((), 512, seed=0), 2)


def make(tmp_path, method: str = "ct-glip", loss: LossConfig | None = None):
    config = smoke_config(tmp_path, method=method)
    loss = loss or config.loss
    model = new_model(config).train()
    task = Task(model, TextTable(FakeEncoder()), torch.zeros(384), loss)
    patients = [phantom(1, (CYST,)), phantom(2, FINDINGS)]
    entries = [stored(patient, tmp_path / "pool" / str(number)) for number, patient in enumerate(patients)]
    batch = [draw_sample(entry, config, SAMPLER, np.random.default_rng(i)) for i, entry in enumerate(entries)]
    return config, model, task, batch


def with_gradient(model, loss: torch.Tensor) -> set[str]:
    """Names of the parameters that the loss moves."""
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}


def parts(model, *starts: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(starts)}


def dead(names: set[str]) -> set[str]:
    """Biases before an instance norm, which takes them out again."""
    return {name for name in names if name.endswith("conv.bias")}


def test_the_total_is_the_weighted_sum_of_equation_4(tmp_path):
    loss = LossConfig(anatomy=0.5, diagnosis=0.25, segmentation=1.0, own_negatives=2.0)
    _, _, task, _ = make(tmp_path, loss=loss)
    values = {"anatomy_loss": 1.0, "diagnosis_loss": 8.0, "segmentation_loss": 3.0, "own_negatives_loss": 10.0}
    total = task.total({name: torch.tensor(value) for name, value in values.items()})
    assert float(total) == pytest.approx(0.5 + 2 + 3 + 20)
    assert float(task.total({"global_loss": torch.tensor(7.0)})) == 7.0


def test_stage_one_moves_the_backbone_and_the_segmentation_head_alone(tmp_path):
    _, model, task, batch = make(tmp_path)
    moved = with_gradient(model, task.total(task.segmentation(batch, torch.Generator().manual_seed(0))))
    expected = parts(model, "backbone", "segmentation_head")
    assert moved <= expected
    assert expected - moved <= dead(expected)


@pytest.mark.parametrize("method", ["ct-glip", "vanilla-clip"])
def test_stage_two_moves_every_parameter(tmp_path, method):
    _, model, task, batch = make(tmp_path, method)
    generator = torch.Generator().manual_seed(0)
    losses = task.grounded(batch, generator) if method == "ct-glip" else task.whole_image(batch, generator)
    names = {"anatomy_loss", "diagnosis_loss", "own_negatives_loss"} if method == "ct-glip" else {"global_loss"}
    assert set(losses) == names | {"segmentation_loss"}
    moved = with_gradient(model, task.total(losses))
    every = {name for name, _ in model.named_parameters()}
    assert every - moved <= dead(every)


def test_the_head_stage_moves_the_projection_and_the_temperature_alone(tmp_path):
    _, model, task, batch = make(tmp_path)
    width = model.projection[0].in_features
    descriptors = [torch.randn(len(s.organs), width, generator=torch.Generator().manual_seed(1)) for s in batch]
    moved = with_gradient(model, task.total(task.head(descriptors, [s.texts for s in batch], torch.Generator())))
    assert moved == parts(model, "projection", "log_temperature")


def test_a_fixed_temperature_is_not_moved(tmp_path):
    config, model, task, batch = make(tmp_path, loss=LossConfig(learn_temperature=False, own_negatives=0.5))
    moved = with_gradient(model, task.total(task.grounded(batch, torch.Generator().manual_seed(0))))
    assert "log_temperature" not in moved


def test_texts_are_centred_unit_norm_and_without_gradient(tmp_path):
    _, model, _, _ = make(tmp_path)
    mean = torch.full((384,), 0.02)
    embedded = Task(model, TextTable(FakeEncoder()), mean, LossConfig()).embed(["a", "b"])
    raw = FakeEncoder().encode(["a", "b"]) - 0.02
    assert np.allclose(embedded.numpy(), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)
    assert not embedded.requires_grad


def test_pooling_in_training_equals_the_streaming_encoder(tmp_path):
    config, model, task, _ = make(tmp_path)
    model.eval()
    patient = phantom(3)
    sample = draw_sample(stored(patient, tmp_path / "pool" / "other"), config, SAMPLER, np.random.default_rng(0))
    prepared = prepare_on_grid(patient.volume, patient.segmentation, config.preprocess)
    with torch.no_grad():
        features = model.features(sample.image[None])[0]
        ours = task.pool(sample, features, sample.layers, torch.from_numpy(prepared.geometry_features))
    assert sample.organs == NAMES
    assert torch.allclose(ours, organ_descriptors(model, prepared, config.preprocess), atol=2e-4)


def test_a_batch_of_single_organs_still_learns_to_segment(tmp_path):
    _, _, task, batch = make(tmp_path)
    single = [replace(sample, organs=sample.organs[:1]) for sample in batch]
    assert set(task.grounded(single, torch.Generator().manual_seed(0))) == {"segmentation_loss"}
    assert task.head([torch.zeros(1, 5)], [batch[0].texts], torch.Generator()) == {}


def test_organs_with_the_same_true_text_are_no_negatives(tmp_path):
    _, model, task, batch = make(tmp_path)
    texts = batch[0].texts
    count = len(texts.diagnosis)
    same = replace(texts, diagnosis=("Normal.",) * count, extra=(), own_negatives=((),) * count)
    descriptor = torch.randn(count, model.projection[0].in_features, generator=torch.Generator().manual_seed(2))
    losses = task.contrast(descriptor, same, torch.Generator())
    assert losses["diagnosis_loss"].item() == pytest.approx(0.0, abs=1e-6)
    assert losses["own_negatives_loss"].item() == 0.0


def test_three_patients_are_learned_by_heart_in_the_head_stage(tmp_path):
    config, model, task, _ = make(tmp_path)
    patients = [phantom(1, (CYST,)), phantom(2, (FAT,)), phantom(3)]
    prepared = [prepare_on_grid(p.volume, p.segmentation, config.preprocess) for p in patients]
    descriptors = [organ_descriptors(model, p, config.preprocess).clone() for p in prepared]
    texts = [SAMPLER(p, NAMES, np.random.default_rng(7)) for p in patients]
    optimiser = torch.optim.Adam(model.projection.parameters(), lr=3e-3)
    first = last = float("inf")
    for step in range(150):
        loss = task.total(task.head(descriptors, texts, torch.Generator()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        last = loss.item()
        first = last if step == 0 else first
    assert last < 0.1 < 2.0 < first


def test_noise_and_dropout_disturb_the_descriptor_and_follow_the_generator(tmp_path):
    _, model, task, batch = make(tmp_path, loss=LossConfig(descriptor_noise=0.5, descriptor_dropout=0.3))
    texts = batch[0].texts
    descriptor = torch.randn(len(texts.diagnosis), model.projection[0].in_features)
    first, again, other = (
        task.total(task.contrast(descriptor, texts, torch.Generator().manual_seed(seed))).item() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
