"""Studies of a manifest -> the store: resampled once, cropped to the body, with what the reports say of the organs.

A study is prepared whole or not at all; one that fails is told of and does not stop the others. Guarded by
training/tests/test_prepare.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ctglip_training.data.manifest import Manifest
from ctglip_training.data.mask_files import file_name
from ctglip_training.data.masks import FINDING_WORDS, matched_organs, read_study_masks
from ctglip_training.data.study import Study
from ctglip_training.data.volumes import read_study_volume
from ctglip_training.pairs.table import PairRow
from ctglip_training.report_text import report_text
from ctglip_training.simulate.patient import Origin, Patient
from ctglip_training.store import write_patient
from ctglip_training.study_file import STUDY_FILE, read_study, rewrite_text
from CTGLIPLib.errors import ConfigError, CTGLIPError, InputError, OutputError
from CTGLIPLib.geometry import canonical_array, canonical_grid, grid_at_spacing
from CTGLIPLib.organ_geometry import BODY_HU
from CTGLIPLib.organs import find_organ, organs_in_group
from CTGLIPLib.preprocess import sub_grid
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import require_overlap, resample_segmentation
from CTGLIPLib.volume import Segmentation, Volume

MARGIN_MM = 10.0
"""Kept around the body and the organs, where the scan goes on."""
FEWEST_IN_PLANE = 20
"""Voxels denser than -300 HU that make a plane part of the body; fewer are noise."""


@dataclass(frozen=True)
class Job:
    """A study to prepare.

    Attributes:
        root: folder that the study's paths start from.
        study: of the manifest.
        rows: what its report says; None where no table of pairs was given.
        folder: the store's, of this study.
        spacing_mm: edge of the store's voxels.
        licence: of the data set.
        credit: whom to thank for it.
    """

    root: Path
    study: Study
    rows: tuple[PairRow, ...] | None
    folder: Path
    spacing_mm: float
    licence: str = ""
    credit: str = ""

    @property
    def origin(self) -> Origin:
        """Where the study comes from."""
        study = self.study
        return Origin(study.id, study.patient, study.split, study.layout, self.licence, self.credit)


def study_folder(store: Path, study: Study) -> Path:
    """Where the store keeps a study."""
    return store / file_name(study.patient) / file_name(study.id)


def prepare_studies(jobs: Sequence[Job], workers: int = 1, progress: ProgressCallback | None = None) -> dict[str, str]:
    """Write the studies that the store does not have; returns study -> why it could not be prepared.

    Of those that it has, split, source and report are brought up to date, voxels are kept.

    Args:
        jobs: of one spacing.
        workers: processes that prepare at the same time.
        progress: told after every study.

    Raises:
        ConfigError: if the store has one of the studies at another spacing.
        OutputError: if the store cannot be written or the disk is full.
        CTGLIPError: if a process died.
        Cancelled: if `progress` answers False.
    """
    failed: dict[str, str] = {}
    todo: list[Job] = []
    for job in jobs:
        if not (job.folder / STUDY_FILE).is_file():
            todo.append(job)
        elif reason := _tried(_update, job):
            failed[job.study.id] = reason
    done = len(jobs) - len(todo)
    report(progress, "preparing studies", done, len(jobs))
    for job, reason in _outcomes(todo, workers):
        done += 1
        if reason:
            failed[job.study.id] = reason
        report(progress, "preparing studies", done, len(jobs))
    return failed


def prepare_study(job: Job) -> Patient:
    """The study at the store's spacing, cropped to body and organs.

    Raises:
        InputError: if a file is missing or broken, or the study has no organ.
        GeometryError: if the CT and the masks do not belong together.
        LabelError: if organs have no names.
    """
    manifest = Manifest(job.root, (job.study,))
    loaded = read_study_masks(manifest, job.study)
    volume = read_study_volume(manifest, job.study)
    require_overlap(volume.grid, loaded.segmentation.grid)
    grid = grid_at_spacing(canonical_grid(volume.grid), job.spacing_mm)
    segmentation = _without_findings(loaded.segmentation)
    canonical = replace(
        segmentation,
        layers=canonical_array(segmentation.layers, segmentation.grid),
        grid=canonical_grid(segmentation.grid),
    )
    patient = _cropped(resample_volume(volume, grid), resample_segmentation(canonical, grid))
    text = report_text(job.rows or (), patient.segmentation.names)
    return replace(patient, text=text, origin=replace(job.origin, notes=loaded.warnings))


def _prepare(job: Job) -> None:
    write_patient(prepare_study(job), job.folder)


def _update(job: Job) -> None:
    """Bring a study that is there up to date with the manifest and the pairs."""
    known = read_study(job.folder)
    if not np.allclose(known.grid.spacing_mm, job.spacing_mm, rtol=1e-3):
        made = known.grid.spacing_mm[0]
        msg = f"{job.folder.parents[1]} holds studies of {made:g} mm, not {job.spacing_mm:g} mm. Choose another --out."
        raise ConfigError(msg)
    text = known.text if job.rows is None else report_text(job.rows, known.names)
    origin = replace(job.origin, notes=known.origin.notes)
    if (text, origin) != (known.text, known.origin):
        rewrite_text(job.folder, text, origin)


def _tried(what: Callable[[Job], None], job: Job) -> str:
    """Why it failed; empty if it did not. A store that cannot be used stops everything."""
    try:
        what(job)
    except (OutputError, ConfigError):
        raise
    except CTGLIPError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - one odd file among thousands must not stop the others
        return f"{type(error).__name__}: {error}"
    return ""


def _attempt(job: Job) -> str:
    return _tried(_prepare, job)


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, str]]:
    """Each job with why it failed, as they are done."""
    if workers <= 1:
        yield from ((job, _attempt(job)) for job in jobs)
        return
    with ProcessPoolExecutor(min(workers, max(len(jobs), 1)), get_context("spawn"), _ignore_interrupts) as pool:
        futures = {pool.submit(_attempt, job): job for job in jobs}
        try:
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        except BrokenProcessPool as error:
            msg = (
                "A process that prepared a study died, perhaps for want of memory. Start the same command again with "
                "fewer --workers; the studies that are done are kept."
            )
            raise CTGLIPError(msg) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # those in work are finished, so that nothing is half done


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _without_findings(segmentation: Segmentation) -> Segmentation:
    """The organs alone: tumour data sets label findings too."""
    names = segmentation.names
    kept = [i for i, name in enumerate(names) if _is_organ(name)]
    renumber = np.zeros(len(names) + 1, dtype=segmentation.layers.dtype)
    renumber[np.array(kept, dtype=int) + 1] = np.arange(1, len(kept) + 1)
    if not matched_organs(names):
        msg = (
            f"Expected organs among the masks, got {', '.join(names[:8])}, which match none. Name them in the manifest "
            "(mask_names), or make masks with `ctglip-train masks`."
        )
        raise InputError(msg)
    return replace(segmentation, layers=renumber[segmentation.layers], names=tuple(names[i] for i in kept))


def _is_organ(name: str) -> bool:
    words = name.lower().replace("_", " ")
    return bool(find_organ(name) or organs_in_group(name)) or not FINDING_WORDS.search(words)


def _cropped(volume: Volume, segmentation: Segmentation) -> Patient:
    """The part that holds the body and the organs, with a margin; the scan's own ends stay its ends."""
    margin = int(np.ceil(MARGIN_MM / min(volume.grid.spacing_mm)))
    inside = volume.array > BODY_HU
    organs = np.asarray((segmentation.layers > 0).any(axis=0))
    box = []
    for axis, length in enumerate(volume.grid.shape_ijk):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero((inside.sum(axis=others) >= FEWEST_IN_PLANE) | organs.any(axis=others))
        first, last = (int(planes[0]), int(planes[-1])) if len(planes) else (0, length - 1)
        box.append(slice(max(first - margin, 0), min(last + margin + 1, length)))
    array, layers = volume.array[tuple(box)], segmentation.layers[(slice(None), *box)]
    size = (array.shape[0], array.shape[1], array.shape[2])
    grid = sub_grid(volume.grid, (box[0].start, box[1].start, box[2].start), size)
    return Patient(Volume(array, grid), replace(segmentation, layers=layers, grid=grid))
