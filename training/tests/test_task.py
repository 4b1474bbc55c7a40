"""Batch -> named losses: weights, what learns in which stage, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_phantom import CYST, FAT, FINDINGS, NAMES, FakeEncoder, phantom, smoke_config, stored

from ctglip_training.config import LossConfig
from ctglip_training.contrast import Contrast, Described
from ctglip_training.forward import CropFeatures
from ctglip_training.losses import OrganRows, cross_patient_loss, segmentation_loss
from ctglip_training.network import new_model
from ctglip_training.samples import draw_sample
from ctglip_training.task import Counts, Crop, Task
from ctglip_training.texts import OrganTexts, OrganTextSampler, TextTable, build_dictionary
from CTGLIPLib.encode import organ_descriptors, organ_measures
from CTGLIPLib.preprocess import prepare_on_grid

SAMPLER = OrganTextSampler(build_dictionary((), 512, seed=0), 2)


def make(tmp_path, method: str = "ct-glip", loss: LossConfig | None = None):
    config = smoke_config(tmp_path, method=method)
    loss = loss or config.loss
    model = new_model(config).train()
    task = make_task(model, loss)
    patients = [phantom(1, (CYST,)), phantom(2, FINDINGS)]
    entries = [stored(patient, tmp_path / "pool" / str(number)) for number, patient in enumerate(patients)]
    batch = [draw_sample(entry, config, SAMPLER, np.random.default_rng(i)) for i, entry in enumerate(entries)]
    return config, model, task, batch


def make_task(model, loss: LossConfig, text_mean: torch.Tensor | None = None) -> Task:
    mean = torch.zeros(384) if text_mean is None else text_mean
    return Task(model, CropFeatures(model), Contrast(model, TextTable(FakeEncoder()), mean, loss), loss)


def crops(batch) -> list[Crop]:
    return [Crop(sample, torch.Generator().manual_seed(number)) for number, sample in enumerate(batch)]


def described(descriptor: torch.Tensor, texts, seed: int = 0) -> Described:
    return Described(NAMES[: len(texts.anatomy)], descriptor, texts, torch.Generator().manual_seed(seed))


def head(task: Task, patients: list[Described]) -> dict[str, torch.Tensor]:
    return task.head(patients, Counts.of(patients))


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
    moved = with_gradient(model, task.total(task.segmentation(crops(batch), Counts.of(batch))))
    expected = parts(model, "backbone", "segmentation_head")
    assert moved <= expected
    assert expected - moved <= dead(expected)


@pytest.mark.parametrize("method", ["ct-glip", "vanilla-clip"])
def test_stage_two_moves_every_parameter(tmp_path, method):
    _, model, task, batch = make(tmp_path, method)
    step = task.grounded if method == "ct-glip" else task.whole_image
    losses = step(crops(batch), Counts.of(batch))
    names = (
        {"organ_top1", "anatomy_loss", "diagnosis_loss", "own_negatives_loss"}
        if method == "ct-glip"
        else {"global_loss"}
    )
    assert set(losses) == names | {"segmentation_loss"}
    moved = with_gradient(model, task.total(losses))
    every = {name for name, _ in model.named_parameters()}
    assert every - moved <= dead(every)


def test_the_head_stage_moves_the_projection_and_the_temperature_alone(tmp_path):
    _, model, task, batch = make(tmp_path)
    width = model.projection[0].in_features
    descriptors = [torch.randn(len(s.organs), width, generator=torch.Generator().manual_seed(1)) for s in batch]
    moved = with_gradient(
        model, task.total(head(task, [described(d, s.texts) for d, s in zip(descriptors, batch, strict=True)]))
    )
    assert moved == parts(model, "projection", "log_temperature")


def test_a_fixed_temperature_is_not_moved(tmp_path):
    config, model, task, batch = make(tmp_path, loss=LossConfig(learn_temperature=False, own_negatives=0.5))
    moved = with_gradient(model, task.total(task.grounded(crops(batch), Counts.of(batch))))
    assert "log_temperature" not in moved


def test_texts_are_centred_unit_norm_and_without_gradient(tmp_path):
    _, model, _, _ = make(tmp_path)
    mean = torch.full((384,), 0.02)
    embedded = make_task(model, LossConfig(), mean).contrast.embed(["a", "b"])
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
        measures = torch.from_numpy(organ_measures(config.model, prepared, config.preprocess))
        ours = task.pool(features, sample.layers, measures)
    assert sample.organs == NAMES
    assert torch.allclose(ours, organ_descriptors(model, prepared, config.preprocess), atol=2e-4)


def test_a_batch_of_single_organs_still_learns_to_segment(tmp_path):
    _, _, task, batch = make(tmp_path)
    single = [replace(sample, organs=sample.organs[:1]) for sample in batch]
    assert set(task.grounded(crops(single), Counts.of(single))) == {"segmentation_loss"}


def test_patients_of_whom_nothing_is_said_move_nothing_where_names_are_not_learned(tmp_path):
    _, model, task, batch = make(tmp_path, loss=LossConfig(anatomy=0.0))
    silent = OrganTexts(batch[0].texts.anatomy, (), (), (), (), (), "")
    losses = head(task, [described(torch.randn(len(batch[0].organs), model.projection[0].in_features), silent)])
    total = task.total(losses)
    assert set(losses) == {"organ_top1"}
    assert float(total) == 0
    assert not total.requires_grad


def test_organs_with_the_same_true_text_are_no_negatives(tmp_path):
    _, model, task, batch = make(tmp_path)
    texts = batch[0].texts
    count = len(texts.diagnosis)
    same = replace(texts, diagnosis=("Normal.",) * count, extra=(), own_negatives=((),) * count)
    descriptor = torch.randn(count, model.projection[0].in_features, generator=torch.Generator().manual_seed(2))
    losses = head(task, [described(descriptor, same)])
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
    for step in range(45):
        loss = task.total(head(task, [described(d, t) for d, t in zip(descriptors, texts, strict=True)]))
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
    first, again, other = (task.total(head(task, [described(descriptor, texts, seed)])).item() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_parts_of_a_batch_add_up_to_the_whole(tmp_path):
    _, model, task, batch = make(tmp_path)
    model.standardise.eval()  # its running statistics would follow the parts one after the other
    counts = Counts.of(batch)
    whole = task.grounded(crops(batch), counts)
    parts = [task.grounded([crop], replace(counts, parts=2)) for crop in crops(batch)]
    assert set(whole) == {name for part in parts for name in part}
    for name, value in whole.items():
        assert sum(part[name].item() for part in parts) == pytest.approx(value.item(), rel=1e-4)


def test_all_voxels_are_segmented_where_no_number_is_given(tmp_path):
    _, model, task, batch = make(tmp_path, loss=LossConfig(segmentation_voxels=0))
    (sample, *_) = batch
    losses = task.segmentation(crops([sample]), Counts.of([sample]))
    logits = model.segment(model.features(sample.image[None])[0].flatten(1).T)
    classes = torch.tensor([0, *(model.config.segmentation_organs.index(name) + 1 for name in sample.names)])
    expected = segmentation_loss(logits, classes[sample.labels.flatten()])
    assert losses["segmentation_loss"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_finding_on_both_sides_is_no_negative_of_itself_where_that_is_asked(tmp_path):
    said = ("A cyst in the left kidney.", "A cyst in the right kidney.")
    organs, texts = ("kidney_left", "kidney_right"), ("Left kidney.", "Right kidney.")
    both = OrganTexts(texts, (0, 1), said, (False, False), (), ((), ()), "")
    losses = []
    for same in (False, True):
        _, model, task, _ = make(tmp_path, loss=LossConfig(symmetric_same=same))
        rows = torch.randn(2, model.projection[0].in_features, generator=torch.Generator().manual_seed(1))
        losses.append(head(task, [Described(organs, rows, both, torch.Generator())])["diagnosis_loss"].item())
    assert losses[0] > 0.1
    assert losses[1] == pytest.approx(0.0, abs=1e-6)


def test_a_perfect_projection_has_an_organ_top1_of_one(tmp_path):
    _, model, task, batch = make(tmp_path)
    patient = described(torch.zeros(len(batch[0].organs), 1), batch[0].texts)
    patient = replace(patient, organs=batch[0].organs)
    names = task.contrast.embed(batch[0].texts.anatomy)
    assert task.contrast.of_patient(patient, names)["organ_top1"].item() == 1.0
    assert task.contrast.of_patient(patient, -names)["organ_top1"].item() == 0.0


def test_the_contrast_across_patients_is_that_of_its_rows(tmp_path):
    _, _, task, batch = make(tmp_path, loss=LossConfig(cross_patient=2.0))
    patients = [replace(described(torch.zeros(1, 1), s.texts), organs=s.organs) for s in batch]
    embedded = [torch.randn(len(s.organs), 384, generator=torch.Generator().manual_seed(9)) for s in batch]
    loss = task.contrast.across_patients(patients, embedded)
    said = [(o, t, n) for s in batch for o, t, n in zip(s.organs, s.texts.diagnosis, s.texts.normal, strict=True)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(x for o, t, _ in said for x in (o, t)))}
    rows = OrganRows(
        torch.cat(embedded),
        task.contrast.embed([text for _, text, _ in said]),
        torch.tensor([numbers[organ] for organ, _, _ in said]),
        torch.tensor([numbers[text] for _, text, _ in said]),
        torch.tensor([normal for _, _, normal in said]),
    )
    assert loss.item() == pytest.approx(cross_patient_loss(rows, task.contrast.temperature).item(), rel=1e-5)
    assert loss.item() > 0.1
