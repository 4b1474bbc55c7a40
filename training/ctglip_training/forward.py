"""Voxel features of the crops of a batch, in as few forward passes as their shapes allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ctglip_training.config import Precision
from ctglip_training.distributed import ALONE, Ranks
from ctglip_training.samples import Sample
from CTGLIPLib.model import GroundedEncoder

SLOW_KERNEL_VALUES = 20_480
"""Channels times i times j up to which torch (`use_mkldnn`, Convolution.cpp) leaves a single image to a slow kernel."""


class CropFeatures:
    """Computes the features of crops.

    The networks normalise each image by itself, so crops of one shape pass together and give what each gives alone.
    Guard: test_forward.py.

    Args:
        model: the network.
        precision: "bf16" computes the backbone under autocast.
        ranks: with `equal_passes`, every process makes as many passes as the one with the most shapes.
        equal_passes: as a network of which each process holds a share needs it.
    """

    def __init__(
        self,
        model: GroundedEncoder,
        precision: Precision = "fp32",
        ranks: Ranks = ALONE,
        *,
        equal_passes: bool = False,
    ) -> None:
        self._model, self._ranks, self._equal = model, ranks, equal_passes
        self._autocast = partial(
            torch.autocast, ranks.device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=True
        )

    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Features, float32, (feature, i, j, k), of each image (channel, i, j, k)."""
        by_shape: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(number)
        features: dict[int, Tensor] = {}
        for numbers in by_shape.values():
            together = self._together([images[number] for number in numbers])
            features.update(zip(numbers, together, strict=True))
        if self._equal:
            for _ in range(max(self._ranks.counts(len(by_shape))) - len(by_shape)):
                features[0] = features[0] + 0 * self._together(images[:1])[0]
        return [features[number] for number in range(len(images))]

    def _together(self, images: Sequence[Tensor]) -> Tensor:
        """Features of images of one shape, (image, feature, i, j, k).

        A single small one is doubled on the CPU: torch has a slow kernel for the gradients of its convolutions, so that
        two take half the time (Testing/Benchmarks/bench_crops_together.py).
        """
        size = self._model.backbone.out_channels * images[0].shape[1] * images[0].shape[2]
        doubled = len(images) == 1 and images[0].device.type == "cpu" and size <= SLOW_KERNEL_VALUES
        batch = torch.stack([*images, *images] if doubled else list(images))
        with self._autocast():
            features = self._model.features(batch)
        return features[: len(images)].float()


def on_device(sample: Sample, device: torch.device) -> Sample:
    """The sample with its tensors on a device."""
    tensors = {f.name: getattr(sample, f.name) for f in fields(sample)}
    return replace(sample, **{k: v.to(device, non_blocking=True) for k, v in tensors.items() if isinstance(v, Tensor)})


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """The stages of a vision encoder, those of its encoder and then those of its decoder."""
    stages: list[nn.Module] = []
    for name in ("encoder", "decoder"):
        half = backbone.get_submodule(name)
        stages.extend(getattr(half, "stages", half).children())
    return stages


def checkpoint_activations(backbone: nn.Module) -> None:
    """From now on each stage keeps its input alone and computes the rest again on the way back."""
    for stage in backbone_stages(backbone):
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)  # type: ignore[method-assign]
