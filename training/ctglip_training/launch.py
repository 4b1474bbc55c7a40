"""torchrun for `ctglip-train` that says in one line which process died and of what.

    python -m ctglip_training.launch --nproc-per-node 8 pretrain --config C.toml --out RUN

The options before the command are torchrun's own. The other processes are stopped by it and say so themselves.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import get_args_parser, run

COMMAND = "ctglip_training.cli"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 ok, 1 a process failed, 2 wrong usage, 143 stopped by SIGTERM."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = get_args_parser().parse_args(_with_module(given))
    try:
        run(options)
    except ChildFailedError as error:
        sys.stderr.write("ctglip-train: " + describe_failures(error) + "\n")
        return 1
    except SignalException as error:
        sys.stderr.write(f"ctglip-train: stopped by {signal.Signals(error.sigval).name}; its processes were told.\n")
        return 128 + error.sigval
    return 0


def describe_failures(error: ChildFailedError) -> str:
    """Which processes of this machine failed, the first of them first, how, and what to do."""
    first_rank, first = error.get_first_failure()
    others = sorted(rank for rank in error.failures if rank != first_rank)
    after = f" After it process {', '.join(map(str, others))} stopped." if others else ""
    then = "Once that is mended, start" if first.exitcode >= 0 else "The last checkpoint is whole: start"
    return (
        f"process {first_rank} (number {first.pid}) of this run {_fate(first)}.{after} {then} the same command again "
        "to go on."
    )


def _fate(failure: ProcessFailure) -> str:
    """How a process ended."""
    if failure.exitcode >= 0:
        return f"stopped with exit code {failure.exitcode}; its message is above"
    name = signal.Signals(-failure.exitcode).name
    cause = " (killed from outside, as when the memory is full)" if name == "SIGKILL" else ""
    return f"died of signal {-failure.exitcode}, {name}{cause}"


def _with_module(arguments: Sequence[str]) -> list[str]:
    """The arguments as torchrun reads them, with the module that it runs put before our command."""
    at = next((n for n, word in enumerate(arguments) if word == "pretrain"), len(arguments))
    return [*arguments[:at], "-m", COMMAND, *arguments[at:]]


if __name__ == "__main__":
    sys.exit(main())
