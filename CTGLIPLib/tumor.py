"""Tumours in a CT: preprocess -> sliding window -> labels on the CT's own grid -> volumes and places.

No more than a slab of logits exists at a time. Research software, not a medical device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.inputs import StudyInput
from CTGLIPLib.label_slabs import labels_from_slabs
from CTGLIPLib.preprocess import Prepared, prepare_on_grid, sub_grid
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.results import ModelInfo, StudyInfo
from CTGLIPLib.segmentation_io import require_overlap, resample_segmentation
from CTGLIPLib.tumor_checkpoint import TumorFolder, load_tumor_network, open_tumor_model
from CTGLIPLib.tumor_measure import TumorFindings, measure_tumors
from CTGLIPLib.tumor_results import TumorResult
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.windows import Box, WindowPlan, plan_windows

if TYPE_CHECKING:
    from torch import Tensor

    from CTGLIPLib.tumor_model import TumorSegmenter

SEARCHING = "searching for tumours"
PREPARING = "preparing the scan"
NO_MODEL = (
    "Expected a tumour model with --model DIR, got none, for none comes with CT-GLIP. Fine-tune one on segmented "
    "tumours with `ctglip-train finetune` (training/README.md), and give the folder that it writes."
)


@dataclass(frozen=True)
class TumorModel:
    """A tumour model ready to be used; its network is loaded when it is first needed.

    Attributes:
        folder: its checked folder.
        device: "auto", or a torch device.
    """

    folder: TumorFolder
    device: str = "auto"

    @classmethod
    def from_pretrained(cls, folder: Path | None, device: str = "auto") -> TumorModel:
        """The model in `folder`.

        Raises:
            InputError: if there is no folder.
            CheckpointError: if it holds no tumour model, or a damaged one.
        """
        if folder is None:
            raise InputError(NO_MODEL)
        return cls(open_tumor_model(folder), device)

    @cached_property
    def network(self) -> TumorSegmenter:
        """The network, in eval mode on its device."""
        from CTGLIPLib.encode import choose_device

        return load_tumor_network(self.folder, str(choose_device(self.device)))


def find_tumors(
    given: StudyInput, model: TumorModel, organs: Segmentation | None = None, progress: ProgressCallback | None = None
) -> TumorFindings:
    """Tumours of a loaded scan, measured.

    Args:
        given: the scan; its own `segmentation` is not used.
        model: the tumour model.
        organs: to name the organ of each tumour; on the CT's grid or another that overlaps it.
        progress: told how far it is; answers False to cancel.

    Raises:
        InputError: if the CT shows nothing denser than air.
        GeometryError: if CT and organs do not overlap in space.
        CheckpointError: if the model's weights do not fit its configuration.
        Cancelled: if `progress` asks to stop.
    """
    volume, config = given.volume, model.folder.config
    if organs is not None:
        require_overlap(volume.grid, organs.grid)
    report(progress, PREPARING, 0, 1)
    segmentation = segment_tumor(volume, model.network, progress)
    near = None if organs is None else resample_segmentation(organs, volume.grid)
    tumors, others = measure_tumors(segmentation, config, near)
    result = TumorResult(
        study=StudyInfo.of(given.name, volume.grid, given.warnings),
        model=ModelInfo(config.name, model.folder.sha256),
        detected=any(row.detected for row in tumors),
        detection_ml=config.detection_ml,
        tumors=tumors,
        organs=others,
        organs_source=None if organs is None else organs.source,
    )
    return TumorFindings(result, segmentation)


def segment_tumor(volume: Volume, network: TumorSegmenter, progress: ProgressCallback | None = None) -> Segmentation:
    """Every class of the network on the CT's own grid, in one layer; classes without voxels keep their names.

    Raises:
        InputError: if the CT shows nothing denser than air.
        Cancelled: if `progress` asks to stop.
    """
    from CTGLIPLib.segment_own import body_box

    config = network.config
    grid = grid_at_spacing(canonical_grid(volume.grid), config.preprocess.spacing_mm)
    coarse = resample_volume(volume, grid)
    occupied = np.zeros(grid.shape_ijk, bool)
    occupied[body_box(coarse)] = True
    plan = plan_windows(occupied, config.preprocess.patch_voxels, config.preprocess.overlap)
    nothing = Segmentation(np.zeros((1, *grid.shape_ijk), np.uint16), grid, ())
    prepared = prepare_on_grid(coarse, nothing, config.preprocess)
    del coarse
    report(progress, PREPARING, 1, 1)
    covered = plan.covered
    source = sub_grid(grid, _corner(covered), _shape(covered))
    labels = labels_from_slabs(_slabs(network, prepared, plan, progress), source, volume.grid)
    name = f"tumour model {config.name}"
    return Segmentation(labels[None].astype(np.uint16), volume.grid, config.classes, name, tumors=config.tumors)


def _slabs(
    network: TumorSegmenter, prepared: Prepared, plan: WindowPlan, progress: ProgressCallback | None
) -> Iterator[np.ndarray]:
    """The blended logits, slab by slab, float32 (class, i, j, k)."""
    from CTGLIPLib.blend import blended_slabs
    from CTGLIPLib.encode import window_input

    def window_at(box: Box) -> Tensor:
        return window_input(prepared, box, network.config.coordinates)

    for _, logits in blended_slabs(network, network.logits, window_at, plan, progress, SEARCHING):
        yield logits.cpu().numpy()


def _corner(box: Box) -> tuple[int, int, int]:
    return box[0].start, box[1].start, box[2].start


def _shape(box: Box) -> tuple[int, int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start
