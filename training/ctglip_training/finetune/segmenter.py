"""A network in memory as the function that `measure` asks for, before it is exported."""

from __future__ import annotations

import numpy as np
import torch

from ctglip_training.finetune.measure import Segmenter
from CTGLIPLib.geometry import canonical_grid, grid_at_spacing
from CTGLIPLib.organ_geometry import body_centre_ras_mm
from CTGLIPLib.preprocess import input_channels
from CTGLIPLib.resample import resample_volume
from CTGLIPLib.segmentation_io import resample_segmentation
from CTGLIPLib.tumor_model import TumorSegmenter
from CTGLIPLib.volume import Segmentation, Volume


def network_segmenter(network: TumorSegmenter, device: str) -> Segmenter:
    """Segments CTs with `network`, which is in eval mode on `device`."""
    from monai.inferers import SlidingWindowInferer  # pyright: ignore[reportPrivateImportUsage]

    config = network.config
    inferer = SlidingWindowInferer(config.preprocess.patch_voxels, 1, config.preprocess.overlap, mode="gaussian")

    def segment(volume: Volume) -> Segmentation:
        grid = grid_at_spacing(canonical_grid(volume.grid), config.preprocess.spacing_mm)
        resampled = resample_volume(volume, grid)
        low, high = config.preprocess.window_hu
        image = np.clip((resampled.array - low) / (high - low), 0, 1).astype(np.float32)
        channels = input_channels(image, grid, body_centre_ras_mm(resampled), config.coordinates)
        with torch.no_grad():
            logits = inferer(torch.from_numpy(channels)[None].to(device), network.logits)
        assert isinstance(logits, torch.Tensor)
        labels = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        found = Segmentation(labels[None].astype(np.uint16), grid, config.classes, config.name)
        return resample_segmentation(found, volume.grid)

    return segment
