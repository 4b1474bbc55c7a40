"""The loop: all stages run, a stopped run resumes to the bit, the rate follows its cosine, NaN stops with names."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from training_phantom import FakeEncoder, smoke_config

from ctglip_training import loop
from ctglip_training.config import OptimConfig, TrainConfig
from ctglip_training.loop import learning_rate, train
from CTGLIPLib.errors import CTGLIPError


def metrics(out: Path) -> list[dict[str, float]]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoint.pt", weights_only=True)["model"]


def stop_at(monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Make Ctrl-C arrive while step `stop` is computed."""
    whole = loop._Run.step

    def step(self, number, lr):
        if number == stop:
            raise KeyboardInterrupt
        return whole(self, number, lr)

    monkeypatch.setattr(loop._Run, "step", step)


def test_a_smoke_run_passes_through_all_three_stages(smoke_run):
    lines = metrics(smoke_run)
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["samples_seen"] for line in lines] == [2, 4, 6, 8, 10, 12, 15, 18, 21, 24]
    assert ["segmentation_loss" in line for line in lines] == [True] * 6 + [False] * 4
    assert ["diagnosis_loss" in line for line in lines] == [False] * 3 + [True] * 7
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert all(line["update_norm"] > 0 for line in lines)


def test_tensorboard_curves_lie_beside_the_metrics(smoke_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(smoke_run / "tensorboard"))
    curves.Reload()
    losses = [line["loss"] for line in metrics(smoke_run)]
    assert [event.value for event in curves.Scalars("loss")] == pytest.approx(losses)
    assert [event.step for event in curves.Scalars("loss")] == list(range(1, 11))


@pytest.mark.parametrize("stop", [3, 9])
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(pool, smoke_run, tmp_path, monkeypatch, stop):
    config = smoke_config(pool, ("beta",))
    with monkeypatch.context() as patched:
        stop_at(patched, stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, FakeEncoder())
    assert len(metrics(tmp_path)) == stop
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "metrics.jsonl", "tensorboard"}
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": ')  # killed while it wrote a line
    train(config, tmp_path, FakeEncoder())
    assert metrics(tmp_path) == metrics(smoke_run)
    expected = weights(smoke_run)
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path).items())


def test_a_finished_run_started_again_changes_nothing(pool, tmp_path):
    config = smoke_config(pool, ("beta",), optim=OptimConfig(batch=1, segmentation_steps=1, contrast_steps=0))
    train(config, tmp_path, FakeEncoder())
    lines, before = metrics(tmp_path), weights(tmp_path)
    train(config, tmp_path, FakeEncoder())
    assert metrics(tmp_path) == lines
    assert all(torch.equal(value, before[name]) for name, value in weights(tmp_path).items())


def test_the_vanilla_baseline_trains_in_its_stages_too(pool, tmp_path):
    optim = OptimConfig(batch=2, segmentation_steps=0, contrast_steps=1, head_steps=1, head_batch=2)
    train(smoke_config(pool, method="vanilla-clip", optim=optim), tmp_path, FakeEncoder())
    first, second = metrics(tmp_path)
    assert {"global_loss", "segmentation_loss"} <= set(first)
    assert "global_loss" in second
    assert "segmentation_loss" not in second


def test_the_learning_rate_falls_along_a_cosine_in_each_stage():
    optim = OptimConfig(lr=1e-3, final_lr=1e-6, segmentation_steps=10, contrast_steps=20, head_steps=4)
    config = TrainConfig(optim=optim)
    rates = [learning_rate(config, step) for step in range(34)]
    assert [rates[0], rates[10], rates[30]] == pytest.approx([1e-3] * 3)
    assert rates[5] == pytest.approx((1e-3 + 1e-6) / 2) == rates[20] == rates[32]
    assert rates[29] == pytest.approx(1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * 19 / 20)) / 2)
    assert all(a > b for a, b in zip(rates[:9], rates[1:10], strict=True))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_patients(pool, tmp_path, monkeypatch):
    nothing = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(loop.Task, "segmentation", lambda *_: {"segmentation_loss": nothing * 1})
    with pytest.raises(CTGLIPError, match=r"step 0 is not finite.*alpha/0000\d[.;].*learning rate"):
        train(smoke_config(pool, ("beta",)), tmp_path, FakeEncoder())
    assert not (tmp_path / "checkpoint.pt").exists()
