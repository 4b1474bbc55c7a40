"""The loop: all stages run, a stopped run resumes to the bit, the rate follows its cosine, NaN stops with names."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from training_phantom import FakeEncoder, smoke_config

from ctglip_training import loop
from ctglip_training.config import OptimConfig, TrainConfig
from ctglip_training.loop import learning_rate, train
from ctglip_training.optimise import NotFiniteError
from ctglip_training.stopping import StoppedError
from CTGLIPLib.errors import CTGLIPError, OutputError


def metrics(out: Path) -> list[dict[str, float]]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in {"seconds", "samples_per_s"}} for line in lines]


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
    expected = {"checkpoint.pt", "stage1.pt", "metrics.jsonl", "tensorboard"}
    assert {path.name for path in tmp_path.iterdir()} == expected
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
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "nan_batch.json", "tensorboard"}
    written = json.loads((tmp_path / "nan_batch.json").read_text())
    assert [one["seed"] for one in written["patients"]] == [[0, 0, 0], [0, 0, 1]]


def test_a_gradient_that_is_not_finite_changes_no_weight(pool, tmp_path):
    run = loop._Run(smoke_config(pool, ("beta",)), FakeEncoder())
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.segmentation_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NotFiniteError, match="gradient's norm is"):
        run.step(0, 1e-3)
    run.drawer.close()
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_sigterm_saves_the_running_step_and_says_how_to_go_on(pool, smoke_run, tmp_path, monkeypatch):
    config = smoke_config(pool, ("beta",))
    whole = loop._Run.step

    def step(self, number, lr):
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, number, lr)

    with monkeypatch.context() as patched:
        patched.setattr(loop._Run, "step", step)
        with pytest.raises(StoppedError, match=r"SIGTERM after step 5 of 10.*same command"):
            train(config, tmp_path, FakeEncoder())
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 5
    train(config, tmp_path, FakeEncoder())
    expected = weights(smoke_run)
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path).items())


def test_a_run_in_parts_resumes_to_the_bit_and_trains_as_one_in_whole_batches(pool, tmp_path, monkeypatch):
    losses = {}
    for parts in (1, 2):
        optim = OptimConfig(batch=2, accumulate=parts, segmentation_steps=3, contrast_steps=0)
        config = smoke_config(pool, ("beta",), optim=optim)
        train(config, tmp_path / str(parts), FakeEncoder())
        losses[parts] = [line["loss"] for line in metrics(tmp_path / str(parts))]
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", FakeEncoder())
    train(config, tmp_path / "stopped", FakeEncoder())
    expected = weights(tmp_path / "2")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "stopped").items())


def test_the_end_of_stage_one_is_kept_and_another_run_can_start_from_it(pool, smoke_run):
    kept = torch.load(smoke_run / "stage1.pt", weights_only=True)
    assert kept["step"] == 3
    started = loop.new_model(smoke_config(pool, init_from=f"stage1:{smoke_run}")).state_dict()
    for name, value in kept["model"].items():
        if name.startswith(("backbone.", "segmentation_head.")):
            assert torch.equal(started[name], value)


def test_a_full_disk_is_named_and_leaves_the_last_checkpoint(pool, tmp_path):
    config = smoke_config(pool, ("beta",), optim=OptimConfig(batch=1, segmentation_steps=4, contrast_steps=0))
    whole = loop.save_state

    def save(*arguments):
        if arguments[2] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        whole(*arguments)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "save_state", save)
        try:
            with pytest.raises(OutputError, match=r"Could not write .*checkpoint\.pt.*Free space"):
                train(config, tmp_path, FakeEncoder())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not list(tmp_path.glob(".checkpoint*"))
