"""Threads that answer the studies of a batch, several at once.

Conventions:
- a study keeps its thread from its files to its record; the cores are shared out among the threads;
- no thread outlives the batch, however it ends (test_batch_threads: `no thread goes on when a batch was stopped`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from CTGLIPLib.progress import ProgressCallback, report

WAKE_S = 0.2
"""How long Ctrl+C may have to wait on Windows, where it does not end the waiting for a thread."""

Item = TypeVar("Item")


@contextmanager
def study_threads(count: int, share_torch: bool) -> Iterator[ThreadPoolExecutor]:
    """So many threads, with an equal share of torch's own threads each.

    A core for each of two studies is faster than both on all cores, or one in the network on all cores beside the
    reading of the next: torch's threads wait for each other after each step, so that one that is held up holds up all.

    Args:
        count: number of threads; 0 is taken for 1.
        share_torch: whether torch will be used in them; else it is not imported.
    """
    count = max(1, count)
    if not share_torch:
        with ThreadPoolExecutor(count) as pool:
            yield pool
        return
    import torch

    all_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, "study", torch.set_num_threads, (max(1, all_threads // count),)) as pool:
            yield pool
    finally:
        torch.set_num_threads(all_threads)


def for_each(
    pool: ThreadPoolExecutor,
    work: Callable[[Item], None],
    items: Sequence[Item],
    told: BatchProgress,
    then: Callable[[], None],
) -> None:
    """Work on all items, `then` after each in this thread; before anything is raised, all that is under way has ended.

    Raises:
        whatever `work` or `then` raises, and KeyboardInterrupt.
    """
    try:
        running = {pool.submit(work, item) for item in items}
        while running:
            done, running = wait(running, WAKE_S, FIRST_COMPLETED)
            for future in done:
                future.result()
                then()
    except BaseException:
        told.stop()
        pool.shutdown(cancel_futures=True)
        raise


class BatchProgress:
    """The progress of all studies at once: one call at a time, counts never fall, and once stopped it stays stopped.

    Args:
        progress: whom to tell.
        begun: how many studies were begun or answered before.
        total: how many there are.
    """

    def __init__(self, progress: ProgressCallback | None, begun: int, total: int) -> None:
        self._progress, self._begun, self._total = progress, begun, total
        self._stopped, self._one_at_a_time = False, Lock()

    def begin(self, name: str) -> None:
        """Tell that a study is begun.

        Raises:
            Cancelled: if the batch is to stop.
        """
        with self._one_at_a_time:
            report(self._tell, name, self._begun, self._total)
            self._begun += 1

    def inside(self, name: str) -> ProgressCallback:
        """What tells about the work inside a study; the counts stay those of the whole batch."""

        def tell(what: str, done: int, total: int) -> bool:
            with self._one_at_a_time:
                return self._tell(f"{name}: {what} {done} of {total}", self._begun - 1, self._total)

        return tell

    def stop(self) -> None:
        """Stop every study at its next call."""
        self._stopped = True

    def _tell(self, what: str, done: int, total: int) -> bool:
        if not self._stopped and self._progress is not None:
            self._stopped = self._progress(what, done, total) is False
        return not self._stopped
