"""Organs found by the model's own segmentation head.

Conventions, guarded by Testing/Lib/test_segment.py: overlapping windows are blended as in encode.py, and the result
equals classifying the whole blended feature map at once, of which only a slab is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from CTGLIPLib.blend import blended_slabs
from CTGLIPLib.config import PreprocessConfig
from CTGLIPLib.encode import window_input
from CTGLIPLib.errors import ConfigError, InputError, LabelError
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.organs import find_organ
from CTGLIPLib.preprocess import Prepared, prepare_on_grid
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_names import vocabulary_of
from CTGLIPLib.volume import Segmentation, Volume
from CTGLIPLib.windows import Box, WindowPlan, bounding_box, plan_windows

SEGMENTING = "segmenting windows"
BODY_HU = -500.0
SMALLEST_ORGAN_ML = 0.5
PIECE_SHARE = 0.2
CHUNK_VOXELS = 200_000
GROUPS_IN_PIECES = frozenset(
    {
        "aorta",
        "bowel",
        "costal cartilage",
        "iliac artery",
        "iliac vein",
        "kidney cyst",
        "portal vein and splenic vein",
        "pulmonary artery",
        "pulmonary vein",
        "rib",
        "scapula",
    }
)
"""Organs that a scan may rightly show as several separate pieces."""


@dataclass(frozen=True)
class OwnSegmenter:
    """The segmentation head that the model was trained with in its first stage.

    It is coarse: it works at the model's spacing, was trained on far fewer scans than TotalSegmentator, and mistakes
    neighbours such as vertebrae and ribs. It needs nothing but the model; take TotalSegmentator's masks if you can.

    Attributes:
        network: the model's network, on the device where it computes.
        preprocess: the model's preprocessing.
        name: the model's name, for results.

    Raises:
        ConfigError: if the model has no segmentation head.
    """

    network: GroundedEncoder
    preprocess: PreprocessConfig
    name: str = "unnamed"

    def __post_init__(self) -> None:
        if not self.network.config.segmentation_organs:
            msg = (
                f"Model {self.name} was trained without organs for a segmentation of its own. "
                "Use --segmenter totalsegmentator or give a label map with --segmentation FILE."
            )
            raise ConfigError(msg)

    def __call__(self, volume: Volume, progress: ProgressCallback | None = None) -> Segmentation:
        """The organs on the model's grid: isotropic, along RAS.

        Raises:
            InputError: if the CT shows nothing denser than air.
            LabelError: if no organ was found.
            Cancelled: if `progress` asks to stop.
        """
        grid = grid_at_spacing(canonical_grid(volume.grid), self.preprocess.spacing_mm)
        coarse = resample_volume(volume, grid)
        nothing = Segmentation(np.zeros((1, *grid.shape_ijk), np.uint16), grid, ())
        prepared = prepare_on_grid(coarse, nothing, self.preprocess)
        occupied = np.zeros(grid.shape_ijk, dtype=bool)
        occupied[body_box(coarse)] = True
        plan = plan_windows(occupied, self.preprocess.patch_voxels, self.preprocess.overlap)
        organs = self.network.config.segmentation_organs
        labels = keep_plausible(classify(self.network, prepared, plan, progress), organs, grid.voxel_volume_ml)
        return _named(Segmentation(labels[None], grid, organs, f"own head of model {self.name}", vocabulary_of(organs)))


def body_box(volume: Volume) -> Box:
    """The smallest box that holds all voxels denser than -500 HU.

    Raises:
        InputError: if there are none.
    """
    body = volume.array > BODY_HU
    if not body.any():
        msg = (
            f"The CT has no voxel above {BODY_HU:g} HU, so it shows no body (highest: {volume.array.max():.0f} HU). "
            "Give a CT of a patient, in HU."
        )
        raise InputError(msg)
    return bounding_box(body)


@torch.inference_mode()
def classify(
    network: GroundedEncoder, prepared: Prepared, plan: WindowPlan, progress: ProgressCallback | None = None
) -> np.ndarray:
    """The most likely class at every voxel of the windows (0 background), uint16, shape (i, j, k).

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    labels = np.zeros(prepared.grid.shape_ijk, dtype=np.uint16)
    rows, columns, _ = plan.covered

    def window_at(box: Box) -> Tensor:
        return window_input(prepared, box, network.config.coordinates)

    for slices, features in blended_slabs(network, network.features, window_at, plan, progress, SEGMENTING):
        labels[rows, columns, slices] = _most_likely(network, features)
    return labels


def _most_likely(network: GroundedEncoder, features: Tensor) -> np.ndarray:
    """The class of each voxel of features (feature, i, j, k), in chunks: all classes at once would be large."""
    parts = features.flatten(1).split(CHUNK_VOXELS, dim=1)
    classes = torch.cat([network.segment(part.T).argmax(dim=1) for part in parts])
    return classes.reshape(features.shape[1:]).cpu().numpy().astype(np.uint16)


def keep_plausible(labels: np.ndarray, organs: tuple[str, ...], voxel_ml: float) -> np.ndarray:
    """The labels without stray pieces and specks.

    Of each organ the largest connected piece stays; of organs that may lie in pieces (`GROUPS_IN_PIECES`) those of at
    least a fifth of the largest too. Pieces below 0.5 ml go.

    Args:
        labels: shape (i, j, k); n is organs[n - 1].
        organs: names of the labels.
        voxel_ml: volume of a voxel.
    """
    kept = np.zeros_like(labels)
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32), max_label=len(organs)), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == number, structure=np.ones((3, 3, 3)))  # type: ignore[misc]
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        organ = find_organ(organs[number - 1])
        in_pieces = organ is not None and organ.group in GROUPS_IN_PIECES
        stays = sizes >= sizes.max() * PIECE_SHARE if in_pieces else np.arange(len(sizes)) == sizes.argmax()
        stays &= sizes * voxel_ml >= SMALLEST_ORGAN_ML
        kept[box][stays[pieces]] = number
    return kept


def _named(segmentation: Segmentation) -> Segmentation:
    """The segmentation with only the organs that have voxels.

    Raises:
        LabelError: if none has.
    """
    found = np.flatnonzero(segmentation.voxel_counts())
    if len(found) == 0:
        msg = (
            f"The {segmentation.source} found no organ in this CT ({segmentation.grid.describe()}). "
            "Check that it is a CT of the body, or give a label map with --segmentation FILE."
        )
        raise LabelError(msg)
    lookup = np.zeros(len(segmentation.names) + 1, dtype=np.uint16)
    lookup[found + 1] = np.arange(1, len(found) + 1)
    names = tuple(segmentation.names[organ] for organ in found)
    return Segmentation(
        lookup[segmentation.layers], segmentation.grid, names, segmentation.source, segmentation.vocabulary
    )
