"""Parts of the training engine: guards, wordings, pictures, both encoders, configurations that are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_phantom import CYST, NAMES, FakeEncoder, phantom, smoke_config, stored

from ctglip_training import loop
from ctglip_training.config import ComputeConfig, LossConfig, OptimConfig
from ctglip_training.contrast import Contrast
from ctglip_training.distributed import Ranks
from ctglip_training.example_picture import example_picture
from ctglip_training.guard import check_same_everywhere
from ctglip_training.metrics_log import TimeLeft
from ctglip_training.network import new_model, shares_backbone
from ctglip_training.samples import draw_sample
from ctglip_training.texts import OrganTextSampler, TextTable, build_dictionary
from ctglip_training.wording import same_but_for_side, same_texts
from CTGLIPLib.backbones import BACKBONES
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.mit import MiT, MiTConfig

SMALL_MIT = MiTConfig((1, 1), (8, 16), (1, 2), (2, 1), stem_width=4, decoder_depth=1, native_size_ijk=(16, 16, 8))


def test_stages_one_and_two_run_with_the_transformer_too(pool, monkeypatch):
    monkeypatch.setitem(BACKBONES, "mit-small-test", lambda channels: MiT(channels, SMALL_MIT))
    config = smoke_config(pool, ("beta",))
    optim = OptimConfig(batch=2, segmentation_steps=1, contrast_steps=1)
    loss = LossConfig(segmentation_voxels=0, cross_patient=1.0, symmetric_same=True)
    compute = ComputeConfig(checkpoint_activations=True, precision="bf16")
    model = replace(config.model, backbone="mit-small-test")
    run = loop._Run(replace(config, model=model, optim=optim, loss=loss, compute=compute), FakeEncoder())
    for step in range(2):
        losses, norms = run.step(step, 1e-3)
        assert all(math.isfinite(value) for value in losses.values())
        assert norms["update_norm"] > 0
    assert "cross_patient_loss" in losses
    run.drawer.close()


def test_texts_are_the_same_up_to_the_side_for_pairs_of_organs_alone():
    texts = ("A cyst in the left kidney.", "A cyst in the right kidney.", "Cyst on the left.", "Cyst on the right.")
    organs = ("kidney_left", "kidney_right", "spleen", "kidney_right")
    assert torch.equal(same_texts(texts), torch.eye(4, dtype=torch.bool))
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = True
    assert torch.equal(same_but_for_side(texts, organs), expected)


class Others(Ranks):
    """A process whose one peer has other facts."""

    def collect(self, value):
        return [{**value, "patients of the pool": "other"}, value]


class OneOther(Ranks):
    """Process 1 of 2; what process 0 has is 1 everywhere, and gathering must need no way back."""

    def gather(self, rows):
        assert not rows.requires_grad
        return torch.cat([torch.ones_like(rows), rows])

    def own(self, rows):
        return slice(rows, 2 * rows)


def test_descriptors_follow_all_processes_but_need_no_other_process_for_their_gradient(tmp_path):
    model = new_model(smoke_config(tmp_path)).train()
    contrast = Contrast(model, TextTable(FakeEncoder()), torch.zeros(384), LossConfig(), OneOther(1, 2))
    rows = torch.zeros(3, model.projection[0].in_features, requires_grad=True)
    (embedded,) = contrast.project([rows], [torch.Generator()])
    embedded[:, 0].sum().backward()
    assert embedded.shape == (3, 384)
    assert torch.allclose(model.standardise.mean, torch.full_like(model.standardise.mean, 0.5))
    assert rows.grad is not None
    assert (rows.grad.abs().sum(dim=1) > 0).all()


def test_processes_that_see_other_patients_are_refused(pool):
    with pytest.raises(ConfigError, match="patients of the pool of process 1 is not that of process 0"):
        check_same_everywhere(smoke_config(pool), (), (), Others(1, 2))


def test_a_shared_backbone_and_a_stage_on_whole_patients_are_refused_together(pool):
    config = smoke_config(pool, compute=ComputeConfig(parallel="fsdp"))
    assert not shares_backbone(config, Ranks())
    with pytest.raises(ConfigError, match="cannot be used with head_steps"):
        shares_backbone(config, Ranks(0, 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ComputeConfig(precision="fp8"), "precision must be one of fp32, bf16"),  # type: ignore[arg-type]
        (lambda: ComputeConfig(parallel="tp"), "parallel must be one of ddp, fsdp"),  # type: ignore[arg-type]
        (lambda: OptimConfig(batch=8, accumulate=3), "divide batch = 8, got 3"),
        (lambda: LossConfig(cross_patient=-1), "must be 0 or more"),
    ],
)
def test_values_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_time_left_is_told_in_hours_and_minutes():
    now = iter([0.0, 60.0, 130.0])
    clock = TimeLeft(first=10, steps=112, clock=lambda: next(now))
    assert clock.after(8) == {"seconds": 60.0, "samples_per_s": pytest.approx(8 / 60, abs=1e-4)}
    assert clock.after(7)["samples_per_s"] == 0.1
    assert clock.left(12) == "1:48"


@pytest.mark.parametrize("contrasts", [False, True])
def test_the_example_picture_shows_organs_in_colour_and_the_heat_once_it_means_something(tmp_path, contrasts):
    config = smoke_config(tmp_path)
    model = new_model(config).train()
    sampler = OrganTextSampler(build_dictionary((), 64, seed=0), 2)
    entry = stored(phantom(1, (CYST,)), tmp_path / "pool" / "one")
    sample = draw_sample(entry, config, sampler, np.random.default_rng(0))
    contrast = Contrast(model, TextTable(FakeEncoder()), torch.zeros(384), LossConfig()) if contrasts else None
    features = model.features(sample.image[None])[0]
    picture = example_picture(model, sample, features, contrast)
    assert sample.organs == NAMES
    assert picture.shape == (340, 900 if contrasts else 600, 3)
    assert model.training
    coloured = picture.astype(int).max(axis=2) - picture.astype(int).min(axis=2) > 30
    third = coloured.shape[1] // (3 if contrasts else 2)
    assert coloured[:, :third].any()
    assert coloured[:, third : 2 * third].any()
    assert coloured[:, 2 * third :].any() == contrasts


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_steps_on_a_gpu_are_close_to_those_on_the_cpu(pool):
    figures = []
    for device in ("cpu", "cuda"):
        run = loop._Run(smoke_config(pool, ("beta",)), FakeEncoder(), Ranks(device=torch.device(device)))
        figures.append([run.step(step, 1e-3)[0]["loss"] for step in range(7)])
        run.drawer.close()
    assert figures[1] == pytest.approx(figures[0], rel=1e-2)
