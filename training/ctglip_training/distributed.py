"""The processes of one training run, as torchrun starts them: who they are, what they add up and show each other.

A loss that is a mean over patients is divided by the patients of all processes and multiplied by the number of
processes; gradients are averaged over the processes. A loss across patients is computed by every process from the
gathered embeddings. Both give the gradient of one process that has the whole batch. Guard: test_distributed.py.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from CTGLIPLib.encode import choose_device
from CTGLIPLib.errors import CTGLIPError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in one exchange; reading a patient takes seconds."""
NOTICE_S = 5.0
"""How long a process that lost contact looks for the reason."""


@dataclass(frozen=True)
class Ranks:
    """This process among all; alone by default.

    Attributes:
        rank: its number, from 0; number 0 writes what there is to write.
        count: how many there are.
        device: where this one computes.
        peers: host and process number of each.
        store: where a process that stops leaves its reason.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")
    peers: tuple[tuple[str, int], ...] = ()
    store: Store | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, without gradient."""
        if self.count == 1:
            return values
        total = values.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(values.device)

    def counts(self, value: int) -> list[int]:
        """A number of every process, in their order."""
        if self.count == 1:
            return [value]
        own = torch.tensor([value], device=self.device)
        values = [torch.zeros_like(own) for _ in range(self.count)]
        dist.all_gather(values, own)
        return [int(one) for one in values]

    def collect(self, value: Any) -> list[Any]:  # noqa: ANN401 - any value that can be sent
        """The value of every process, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes below one another, in their order; gradients flow back to each row's process.

        Args:
            rows: shape (row, ...); the number of rows may differ between the processes.
        """
        return rows if self.count == 1 else _Gather.apply(rows, self)  # type: ignore[return-value]

    def own(self, rows: int) -> slice:
        """Where this process's rows lie among the gathered ones."""
        counts = self.counts(rows)
        start = sum(counts[: self.rank])
        return slice(start, start + rows)


ALONE = Ranks()


class _Gather(torch.autograd.Function):
    """All rows of all processes; the gradient of a row is the sum of what the processes make of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:  # noqa: ANN401 - autograd's context
        """Padded to one length, sent, cut."""
        counts = ranks.counts(len(rows))
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        everyones = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(everyones, padded)
        ctx.own = slice(sum(counts[: ranks.rank]), sum(counts[: ranks.rank + 1]))
        return torch.cat([part[:count] for part, count in zip(everyones, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - autograd's context
        """Summed over the processes, cut to the own rows."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total[ctx.own], None


def is_first_process() -> bool:
    """Whether this process is the one that writes, as torchrun numbers them; also where there is no other."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def process_group(device: str) -> Generator[Ranks, None, None]:
    """Join the processes that torchrun started, or be alone where it started none.

    A CUDA device is this process's own of its machine. An error within leaves its reason to the other processes, and
    one that comes from losing them names those that are gone.

    Raises:
        ConfigError: if there is no such device in this machine.
        CTGLIPError: if another process stopped.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(device=choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        peers = tuple(Ranks(rank, count, chosen).collect((socket.gethostname(), os.getpid())))
        ranks = Ranks(rank, count, chosen, peers, store)
        with _reasons(ranks):
            yield ranks
    finally:
        with suppress(RuntimeError):  # others may be gone
            dist.destroy_process_group()


@contextmanager
def _reasons(ranks: Ranks) -> Generator[None, None, None]:
    """Leave the reason of an error to the others; where the error is that they are gone, say who and why."""
    try:
        yield
    except RuntimeError as error:
        told = stopped_peers(ranks)
        if told or isinstance(error, dist.DistError) or "gloo" in str(error):
            who = "; ".join(told) or "Another process (of another machine) does not answer"
            msg = f"{who}. So process {ranks.rank} of {ranks.count} stops too. The last checkpoint is whole."
            raise CTGLIPError(msg) from error
        _leave_reason(ranks, error)
        raise
    except BaseException as error:
        _leave_reason(ranks, error)
        raise


def _leave_reason(ranks: Ranks, error: BaseException) -> None:
    if ranks.store is not None:
        text = (str(error).splitlines() or [""])[0]
        with suppress(RuntimeError):  # the store may be gone with its process
            ranks.store.set(f"reason/{ranks.rank}", f"{type(error).__name__}: {text}")


def stopped_peers(ranks: Ranks) -> list[str]:
    """A sentence on each process that has stopped: its reason where it left one. Waits for one to show."""
    until = time.monotonic() + NOTICE_S
    while True:
        told = [text for peer in range(ranks.count) if peer != ranks.rank and (text := _fate(ranks, peer))]
        if told or time.monotonic() > until:
            return told
        time.sleep(0.1)


def _fate(ranks: Ranks, peer: int) -> str:
    """What became of a process; empty if it lives or lives elsewhere without a word."""
    host, number = ranks.peers[peer]
    name = f"Process {peer} of {ranks.count} (number {number} on {host})"
    with suppress(RuntimeError):
        if ranks.store is not None and ranks.store.check([f"reason/{peer}"]):
            return f"{name} stopped with {ranks.store.get(f'reason/{peer}').decode(errors='replace')}"
    if host == socket.gethostname() and not _lives(number):
        return f"{name} died without a word, as when it is killed or the memory is full"
    return ""


def _lives(number: int) -> bool:
    """Whether a process of this machine runs; one that has ended but was not yet collected does not."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True
