"""Several processes train as one: same losses and gradients; one that dies stops the others with its fate."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import rank_worker
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from training_phantom import FakeEncoder

from ctglip_training import launch
from ctglip_training.loop import train

HERE = Path(__file__).resolve().parent
PATHS = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def two_processes(pool, tmp_path_factory):
    """The folder in which two processes left what rank_worker does."""
    out = tmp_path_factory.mktemp("two")
    ports = {"MASTER_PORT": str(free_port()), "SECOND_PORT": str(free_port())}
    environment = {**os.environ, **ports, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "rank_worker.py"), str(pool), str(out)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return out


@functools.cache
def steps_of_one(pool: Path, method: str) -> dict:
    """What one process does; a share of the backbone changes nothing of it but that the third stage is left out."""
    return rank_worker.steps(rank_worker.config_of(pool, method, "ddp"))


@pytest.mark.parametrize(
    ("method", "parallel", "count"), [("ct-glip", "ddp", 3), ("vanilla-clip", "ddp", 2), ("ct-glip", "fsdp", 2)]
)
def test_two_processes_give_the_losses_and_gradients_of_one(pool, two_processes, method, parallel, count):
    ours, one = torch.load(two_processes / f"{method}-{parallel}.pt", weights_only=True), steps_of_one(pool, method)
    assert len(ours["figures"]) == count
    for mine, theirs in zip(ours["figures"], one["figures"][:count], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    gradients = {name: gradient for name, gradient in one["gradients"].items() if int(name.split()[0]) < count}
    assert set(ours["gradients"]) == set(gradients)
    for name, gradient in gradients.items():
        if not name.endswith("conv.bias"):  # an instance norm takes these out: their gradients are noise
            assert (ours["gradients"][name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-7, name


def test_a_process_that_is_killed_stops_the_others_which_name_it(two_processes):
    told = (two_processes / "told.txt").read_text()
    assert "Process 1 of 2" in told
    assert "died without a word" in told
    assert "process 0 of 2 stops too" in told


def test_what_two_processes_began_one_can_finish(pool, two_processes):
    assert torch.load(two_processes / "checkpoint.pt", weights_only=True)["step"] == 1
    train(rank_worker.config_of(pool, "ct-glip", "ddp"), two_processes, FakeEncoder())
    lines = [json.loads(line) for line in (two_processes / "metrics.jsonl").read_text().splitlines()]
    alone = steps_of_one(pool, "ct-glip")["figures"]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["loss"] for line in lines] == pytest.approx([one["loss"] for one in alone], rel=2e-2)


def failure(rank: int, code: int) -> ProcessFailure:
    return ProcessFailure(local_rank=rank, pid=4711 + rank, exitcode=code, error_file="<N/A>")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, r"process 0 \(number 4711\).*died of signal 9, SIGKILL \(killed from outside"),
        (-15, "died of signal 15, SIGTERM"),
        (1, "stopped with exit code 1; its message is above"),
    ],
)
def test_the_launcher_says_which_process_died_and_of_what(code, words):
    told = launch.describe_failures(ChildFailedError("ctglip", {0: failure(0, code), 1: failure(1, code)}))
    assert re.search(words, told)
    assert "After it process 1 stopped." in told
    assert "same command again" in told
    assert ("Once that is mended" in told) == (code == 1)


def test_torchrun_options_come_before_the_command():
    given = launch._with_module(["--nproc-per-node", "2", "pretrain", "--out", "x"])
    assert given == ["--nproc-per-node", "2", "-m", "ctglip_training.cli", "pretrain", "--out", "x"]
