"""An example picture of training: a slice of a crop with true and predicted organs and the heat of a sentence."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from ctglip_training.contrast import Contrast
from ctglip_training.samples import Sample
from CTGLIPLib.intensity import histograms, hu_maps, to_hu
from CTGLIPLib.model import GroundedEncoder

NEIGHBOURHOOD_VOXELS = 5
COLOURS = 20
PANEL_INCHES, DPI = 3.0, 100


@torch.no_grad()
def example_picture(model: GroundedEncoder, sample: Sample, features: Tensor, contrast: Contrast | None) -> np.ndarray:
    """RGB, uint8, shape (row, column, 3): the slice through most of one organ, patient's right on the left.

    Args:
        model: the network.
        sample: the crop.
        features: its voxel features, shape (feature, i, j, k).
        contrast: embeds the organ's sentence for the heat; None before the projection has learned.
    """
    organ = _organ(sample) if contrast and sample.texts.told else None
    k = _fullest_slice(sample, organ)
    ct = sample.intensity[..., k].cpu().numpy()
    figure = Figure(figsize=(PANEL_INCHES * (3 if organ is not None else 2), PANEL_INCHES + 0.4), dpi=DPI)
    panels = figure.subplots(1, 3 if organ is not None else 2)
    _show(panels[0], ct, _numbers(sample, k), "organs")
    predicted = model.segment(features[..., k].flatten(1).T).argmax(dim=1).reshape(ct.shape).cpu().numpy()
    _show(panels[1], ct, _renamed(predicted, model, sample), "predicted")
    if organ is not None and contrast is not None:
        text = sample.texts.diagnosis[sample.texts.told.index(organ)]
        heat = _heat(model, sample, features, (organ, k), contrast.embed([text])[0])
        _show(panels[2], ct, None, text if len(text) < 38 else text[:36] + " ...")
        body = np.ma.masked_where(~sample.body[..., k].cpu().numpy(), heat.cpu().numpy())
        panels[2].imshow(_turned(body), cmap="viridis", alpha=0.5, interpolation="nearest")
        mask = (sample.layers[..., k] == organ + 1).any(dim=0).cpu().numpy()
        if mask.any():
            panels[2].contour(_turned(mask.astype(float)), [0.5], colors="white", linewidths=0.8)
    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _organ(sample: Sample) -> int:
    """The organ whose sentence is shown: an abnormal one before a normal one, then the largest in the crop."""
    sizes = torch.bincount(sample.layers.flatten(), minlength=len(sample.organs) + 1)[1:].tolist()
    normal = dict(zip(sample.texts.told, sample.texts.normal, strict=True))
    return max(sample.texts.told, key=lambda number: (not normal[number], sizes[number]))


def _fullest_slice(sample: Sample, organ: int | None) -> int:
    """The slice with most voxels of an organ, or of all."""
    shown = sample.labels > 0 if organ is None else (sample.layers == organ + 1).any(dim=0)
    return int(shown.sum(dim=(0, 1)).argmax())


def _numbers(sample: Sample, k: int) -> np.ndarray:
    """Number of the organ of each voxel in the patient's own list, from 1; 0 elsewhere."""
    return sample.labels[..., k].cpu().numpy()


def _renamed(predicted: np.ndarray, model: GroundedEncoder, sample: Sample) -> np.ndarray:
    """Predicted classes by the patient's own numbers, so that colours agree; organs the patient lacks come after."""
    own = {name: number for number, name in enumerate(sample.names, 1)}
    after = len(sample.names) + 1
    classes = [0, *(own.get(name, after + n) for n, name in enumerate(model.config.segmentation_organs))]
    return np.array(classes)[predicted]


def _heat(model: GroundedEncoder, sample: Sample, features: Tensor, where: tuple[int, int], text: Tensor) -> Tensor:
    """Similarity of each voxel's neighbourhood in a slice with a text, as if it were the organ; shape (i, j)."""
    organ, k = where
    shape = features.shape[1:3]
    channels = model.voxel_channels(features[..., k].flatten(1).T)
    width = channels.shape[1]
    if model.config.intensity:
        maps = hu_maps(to_hu(sample.intensity.cpu().numpy(), model.window_hu))
        shares = torch.from_numpy(histograms([one[..., k].ravel() for one in maps]))
        channels = torch.cat([channels, shares.to(channels.device)], dim=1)
    image = channels.T.reshape(1, -1, *shape)
    half = NEIGHBOURHOOD_VOXELS // 2
    near = functional.avg_pool2d(image, NEIGHBOURHOOD_VOXELS, 1, half, count_include_pad=False)[0].flatten(1).T
    geometry = sample.geometry[organ][None].expand(len(near), -1)
    geometry = torch.cat([geometry[:, : geometry.shape[1] + width - near.shape[1]], near[:, width:]], dim=1)
    was_training = model.training
    model.eval()
    embedded = model.project(model.descriptor(near[:, :width], geometry))
    model.train(was_training)
    return (embedded @ text).reshape(shape)


def _show(panel: Axes, ct: np.ndarray, numbers: np.ndarray | None, title: str) -> None:
    panel.imshow(_turned(ct), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if numbers is not None:
        shown = np.ma.masked_where(numbers == 0, numbers % COLOURS)
        panel.imshow(_turned(shown), cmap="tab20", vmin=0, vmax=COLOURS - 1, alpha=0.5, interpolation="nearest")
    panel.set_title(title, fontsize=8)
    panel.set_axis_off()


def _turned(slice_ij: np.ndarray) -> np.ndarray:
    """A slice (i, j) of a grid in RAS as radiologists look at it: the patient's right on the left, front on top."""
    return slice_ij.T[::-1, ::-1]
