"""TotalSegmentator over a manifest: each study's organs into a folder, on one machine or many at once.

Conventions:
- a study whose masks are there is not made again, one that failed only if that is asked or its CT has changed: a
  stopped run goes on where it was (test_masks_command);
- machines that share the folder divide the work by claims, machines that do not by shards of the studies' hashes;
- what concerns one study is noted and the others go on; what concerns the machine (no package, no weights, a full disk,
  TotalSegmentator failing again and again) stops the run.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ctglip_training.data.claims import ClaimFolder, Shard
from ctglip_training.data.manifest import Manifest
from ctglip_training.data.mask_files import Failure, MaskFolder, file_name, has_own_masks
from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_volume
from CTGLIPLib.errors import (
    Cancelled,
    ConfigError,
    CTGLIPError,
    DependencyError,
    GeometryError,
    OutputError,
    UnfinishedError,
)
from CTGLIPLib.geometry import Grid, same_grid
from CTGLIPLib.progress import ProgressCallback, report

if TYPE_CHECKING:
    from CTGLIPLib.segment import OrganSegmenter  # which loads torch

logger = logging.getLogger(__name__)

MOST_UNFINISHED = 5
"""So many studies in a row that TotalSegmentator does not finish are the machine's fault, not theirs."""
WAIT_S = 0.5

Outcome = Literal["given", "kept", "made", "failed", "elsewhere"]


@dataclass(frozen=True)
class MaskOptions:
    """How masks are made.

    Attributes:
        shard: the part of the studies that is this run's.
        workers: studies to work on at once; each needs the memory of a whole run of TotalSegmentator.
        retry_failed: whether studies that failed before are tried again.
        instead_of_own: whether studies whose own masks the manifest names get masks too.
    """

    shard: Shard = Shard()
    workers: int = 1
    retry_failed: bool = False
    instead_of_own: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            msg = f"Expected one worker or more, got {self.workers}."
            raise ConfigError(msg)


def make_masks(
    manifest: Manifest,
    masks: MaskFolder,
    segment: OrganSegmenter,
    options: MaskOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Counter[Outcome]:
    """How many of the shard's studies came to which end; their masks are in the folder.

    Args:
        manifest: the studies; excluded ones are left out.
        masks: the folder.
        segment: finds the organs of a CT.
        options: None is the default of each.
        progress: told after each study; may stop the run, which keeps what was made.

    Raises:
        DependencyError: if TotalSegmentator or its weights are missing, or it fails again and again.
        OutputError: if a folder cannot be written or the disk is full.
        Cancelled: if `progress` says so.
    """
    options = options or MaskOptions()
    work = _Work(manifest, masks, segment, options.instead_of_own)
    ends: Counter[Outcome] = Counter()
    todo: list[Study] = []
    studies = [study for study in manifest.usable if options.shard.holds(study.id)]
    for looked_at, study in enumerate(studies, start=1):
        if options.retry_failed:
            masks.forget_failure(study)
        if end := work.known(study):
            ends[end] += 1
        else:
            todo.append(study)
        report(progress, "looking for masks", looked_at, len(studies))
    try:
        for done, end in enumerate(_in_threads(work, todo, options.workers), start=1):
            ends[end] += 1
            report(progress, "making masks", done, len(todo))
    finally:
        masks.write_failures(manifest)
    return ends


def _in_threads(work: _Work, todo: Sequence[Study], workers: int) -> Iterator[Outcome]:
    """How each study ended, as they end; whatever stops the caller stops the work."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[Outcome]] = {pool.submit(work.attempt, study) for study in todo}
        try:
            while waiting:
                ended, waiting = wait(waiting, WAIT_S, FIRST_COMPLETED)  # short, so that Ctrl-C comes through
                for future in ended:
                    if not isinstance(future.exception(), Cancelled):  # stopped by another one's error, which comes too
                        yield future.result()
        finally:
            work.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class _Work:
    """What the threads share: where masks go, what finds organs, and whether to stop."""

    manifest: Manifest
    masks: MaskFolder
    segment: OrganSegmenter
    instead_of_own: bool
    stop: threading.Event = field(default_factory=threading.Event)
    unfinished: list[Study] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self, study: Study) -> Outcome | None:
        """How a study ended that needs no work."""
        if not self.instead_of_own and has_own_masks(self.manifest, study):
            return "given"
        if self.masks.has(study):
            try:
                self.masks.require_of(self.manifest, study)
            except GeometryError as error:
                return self._failed(study, error)
            return "kept"
        return "failed" if self.masks.failure(self.manifest, study) else None

    def attempt(self, study: Study) -> Outcome:
        """Make the study's masks, unless another machine does or did; an error stops the other threads."""
        if self.stop.is_set():
            raise Cancelled
        try:
            with ClaimFolder(self.masks.folder / ".claims").claim(file_name(study.id)) as ours:
                return (self.known(study) or self._make(study)) if ours else "elsewhere"
        except BaseException:
            self.stop.set()
            raise

    def _make(self, study: Study) -> Outcome:
        try:
            volume = read_study_volume(self.manifest, study)
            found = self.segment(volume, lambda what, done, total: not self.stop.is_set())  # noqa: ARG005 - its interface
            _require_grid(volume.grid, found.grid)
            self.masks.keep(study, replace(found, grid=volume.grid))
        except UnfinishedError as error:
            self._count_unfinished(study, error)
            return self._failed(study, error)
        except (Cancelled, OutputError, DependencyError, ConfigError):
            raise
        except Exception as error:
            if self.stop.is_set():  # what breaks while the run is stopped is no fault of the study's
                raise
            return self._failed(study, error)
        with self.lock:
            self.unfinished.clear()
        return "made"

    def _failed(self, study: Study, error: Exception) -> Outcome:
        text = " ".join(str(error).split()) or "no details"
        message = text if isinstance(error, CTGLIPError) else f"Unexpected {type(error).__name__}: {text}"
        logger.warning("Study %s failed: %s", study.id, message)
        self.masks.note_failure(self.manifest, study, Failure(study.id, type(error).__name__, message))
        return "failed"

    def _count_unfinished(self, study: Study, error: UnfinishedError) -> None:
        """Raise DependencyError where too many studies in a row failed; they count as not tried."""
        with self.lock:
            self.unfinished.append(study)
            if len(self.unfinished) < MOST_UNFINISHED:
                return
            for one in self.unfinished:
                self.masks.forget_failure(one)
        msg = (
            f"TotalSegmentator did not finish {MOST_UNFINISHED} studies in a row, which is rather this machine's fault "
            f"than theirs. They will be tried again by the same command. The last said: {error}"
        )
        raise DependencyError(msg) from error


def _require_grid(ct: Grid, masks: Grid) -> None:
    if not same_grid(ct, masks):
        msg = (
            f"The masks that were found lie on another grid than the CT:\n  CT    {ct.describe()}\n"
            f"  masks {masks.describe()}\nPlease report it, with TotalSegmentator's version."
        )
        raise GeometryError(msg)
