"""One streaming pass over a study: windows through the network, pooled per organ, projected.

No more than one window's features exist at a time. Guard: test_encode.py (equal to blend-then-pool to 1e-5).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import get_ident

import numpy as np
import torch
from torch import Tensor, nn

from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.core_and_shell import core_and_shell
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.intensity import organ_histograms
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.pooling import OrganPool
from CTGLIPLib.preprocess import Prepared, input_channels, sub_grid
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.windows import Box, plan_windows

ENCODING = "encoding windows"


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: if there is no such device in this machine.
    """
    if name != "auto":
        return _checked_device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _checked_device(name: str) -> torch.device:
    """The device, once a number was put there and read back."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).splitlines()[0]
        msg = (
            f"Expected a device of this machine (auto, cpu, cuda, cuda:1 or mps), got {name!r}: {cause} "
            "Try --device auto."
        )
        raise ConfigError(msg) from error
    return device


def autocast(device: torch.device) -> torch.autocast:
    """Reduced precision where the device computes it faster: fp16 or bf16 on CUDA, fp32 elsewhere.

    A CPU without bf16 matrix units runs bf16 convolutions some 25 times slower than fp32 (docs/benchmarks.md).
    """
    dtype = torch.bfloat16
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        dtype = torch.float16
    return torch.autocast(device.type, dtype=dtype, enabled=device.type == "cuda")


@torch.inference_mode()
def encode_organs(
    model: GroundedEncoder, prepared: Prepared, config: PreprocessConfig, progress: ProgressCallback | None = None
) -> np.ndarray:
    """Organ embeddings, float32, unit norm, shape (organ, dim); NaN for an organ without voxels.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    if not prepared.geometry.voxels.any():
        return np.full((len(prepared.segmentation.names), model.config.text_dim), np.nan, dtype=np.float32)
    descriptor = organ_descriptors(model, prepared, config, progress)
    embeddings = model.project(descriptor).float().cpu().numpy()
    embeddings[prepared.geometry.voxels == 0] = np.nan
    return embeddings


@torch.inference_mode()
def organ_descriptors(
    model: GroundedEncoder, prepared: Prepared, config: PreprocessConfig, progress: ProgressCallback | None = None
) -> Tensor:
    """What the projection reads of each organ, shape (organ, descriptor); at least one organ must have voxels.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    pool = OrganPool(len(prepared.segmentation.names), model.voxel_channels)
    for features, box, weight in stream_features(model, prepared, config, progress):
        for layer in prepared.segmentation.layers:
            numbers = layer[box].astype(np.uint16, order="C")  # torch takes no flipped view
            pool.add(features, torch.from_numpy(numbers), weight)
        del features, weight
    means = pool.means()
    return model.descriptor(means, torch.from_numpy(organ_measures(model.config, prepared, config)).to(means.device))


def organ_measures(model: ModelConfig, prepared: Prepared, config: PreprocessConfig) -> np.ndarray:
    """What `GroundedEncoder.descriptor` reads of each organ beside pooled voxels, float32, shape (organ, measure)."""
    return measures_in(
        model, prepared.geometry_features, prepared.image, prepared.segmentation.layers, config.window_hu
    )


def measures_in(
    model: ModelConfig, geometry: np.ndarray, image: np.ndarray, layers: np.ndarray, window_hu: tuple[float, float]
) -> np.ndarray:
    """The same, shape (organ, measure): geometry and, by option, core and shell, then histograms of HU, by the image.

    Args:
        model: whose options count.
        geometry: of each organ, shape (organ, 8).
        image: the CT in 0..1, shape (i, j, k).
        layers: number of the organ that each voxel belongs to, from 1 on, 0 for none, shape (layer, i, j, k).
        window_hu: the HU that 0 and 1 of the image stand for.
    """
    measures = [geometry]
    if model.core_and_shell:
        measures.append(core_and_shell(image, layers, len(geometry), window_hu))
    if model.intensity:
        measures.append(organ_histograms(image, layers, len(geometry), window_hu))
    return np.concatenate(measures, axis=1)


def stream_features(
    model: GroundedEncoder, prepared: Prepared, config: PreprocessConfig, progress: ProgressCallback | None = None
) -> Iterator[tuple[Tensor, Box, Tensor]]:
    """For each window: its features (feature, i, j, k), where it lies, and its share in the blended value.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    device = next(model.parameters()).device
    plan = plan_windows(prepared.segmentation.layers, config.patch_voxels, config.overlap)
    for done, box in enumerate(plan.boxes):
        report(progress, ENCODING, done, len(plan.boxes))
        with stoppable(model, progress, ENCODING, done, len(plan.boxes)):
            features = _window_features(model, prepared, box)
        yield features, box, torch.from_numpy(plan.weight(box)).to(device)
        del features  # before the next window's are computed
    report(progress, ENCODING, len(plan.boxes), len(plan.boxes))


@torch.inference_mode()
def _window_features(model: GroundedEncoder, prepared: Prepared, box: Box) -> Tensor:
    """The features of one window, float32, (feature, i, j, k)."""
    device = next(model.parameters()).device
    with autocast(device):
        return model.features(window_input(prepared, box, model.config.coordinates).to(device)[None])[0].float()


@contextmanager
def stoppable(
    model: nn.Module, progress: ProgressCallback | None, what: str, done: int, total: int
) -> Generator[None, None, None]:
    """Within it the model asks `progress` before each of its parts whether to go on: a window may take seconds.

    Other threads that use the model meanwhile are not asked: what they compute is another study.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    asker = get_ident()

    def ask(_part: nn.Module, _inputs: object) -> None:
        if get_ident() == asker:
            report(progress, what, done, total)

    parts = [] if progress is None else model.modules()
    hooks = [part.register_forward_pre_hook(ask) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def window_input(prepared: Prepared, box: Box, coordinates: bool) -> Tensor:
    """The network's input for one window, shape (channel, i, j, k)."""
    image = prepared.image[box]
    grid = sub_grid(prepared.grid, (box[0].start, box[1].start, box[2].start), image.shape)
    return torch.from_numpy(input_channels(image, grid, prepared.body_centre_ras_mm, coordinates))
