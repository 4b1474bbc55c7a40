"""The vision encoder computed by OpenVINO where its package is installed: the same features, sooner (extra `openvino`).

Measured on two cores without bf16: docs/benchmarks.md. On processors that compute bf16 OpenVINO does so by itself, as
long as features stay those of torch (`AGREEMENT`). CTGLIP_OPENVINO=off leaves everything to torch.
Guard: test_openvino_backbone.py.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from CTGLIPLib.conv_blocks import check_image_size
from CTGLIPLib.errors import OutputError
from CTGLIPLib.files import whole_files
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.plain_unet import PlainConvUNet
from CTGLIPLib.text_bank import cache_root
from CTGLIPLib.types import Features, Image

SWITCH = "CTGLIP_OPENVINO"
AGREEMENT = 0.999
"""Least cosine of OpenVINO's and torch's features of a small image."""
WAIT_MS = 50
MODEL = "backbone.xml"

logger = logging.getLogger(__name__)


def use_openvino(network: GroundedEncoder, model_sha256: str) -> GroundedEncoder:
    """The network with its vision encoder computed by OpenVINO, or as it is where that cannot be.

    It can be for a U-Net on the CPU with the package installed. The converted encoder is kept in the folder `openvino`
    of the cache, as converting takes seconds.

    Args:
        network: in eval mode, on its device.
        model_sha256: names the kept file.
    """
    backbone = network.backbone
    on_cpu = next(network.parameters()).device.type == "cpu"
    if not (on_cpu and isinstance(backbone, PlainConvUNet) and is_wanted()):
        return network
    try:
        network.backbone = OpenVinoBackbone(backbone, model_sha256)  # type: ignore[assignment]
    except Exception as error:  # noqa: BLE001 - torch computes the same: whatever OpenVINO lacks, users get their answer
        logger.warning("OpenVINO is not used: %s", " ".join(str(error).split())[:300])
    return network


def is_wanted() -> bool:
    """Whether the package is installed and not switched off."""
    return os.environ.get(SWITCH, "").lower() not in {"off", "0", "no"} and find_spec("openvino") is not None


class _Requests(threading.local):
    """A thread's requests by the shape of their images: a request serves one thread."""

    def __init__(self) -> None:
        self.by_shape: dict[tuple[int, ...], Any] = {}


class OpenVinoBackbone(nn.Module):
    """A U-Net computed by OpenVINO; where that fails, by torch. Of `backbones.Backbone` it lacks the pyramid.

    Args:
        backbone: the U-Net.
        model_sha256: names the kept file.

    Raises:
        RuntimeError: if OpenVINO cannot convert or compile it, or computes other features.
    """

    def __init__(self, backbone: PlainConvUNet, model_sha256: str) -> None:
        super().__init__()
        import openvino

        self.unet = backbone
        self.in_channels, self.out_channels = backbone.in_channels, backbone.out_channels
        self.stride_ijk = backbone.stride_ijk
        self.asks = nn.Identity()  # called while OpenVINO computes, for those who hook modules to stop (`stoppable`)
        self._core = openvino.Core()
        self._model = _converted(self._core, backbone, model_sha256)
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        self._requests, self._compiling = _Requests(), threading.Lock()
        if not self._agrees():
            self._options["INFERENCE_PRECISION_HINT"] = "f32"
            self._requests.by_shape.clear()
            if not self._agrees():
                msg = "it computes other features than torch"
                raise RuntimeError(msg)

    def forward(self, image: Image) -> Features:
        """The features of `image`, at its size.

        Raises:
            ConfigError: if a side is not a multiple of `stride_ijk`, or the image is too small to be normalised.
        """
        check_image_size(image.shape[2:], self.stride_ijk, self.stride_ijk)
        try:
            return self._computed(image)
        except RuntimeError as error:
            logger.warning("OpenVINO failed, torch computes this window: %s", " ".join(str(error).split())[:300])
            return self.unet(image)

    def _computed(self, image: Image) -> Features:
        """The features by OpenVINO."""
        import openvino

        request = self._request(tuple(image.shape))
        features = torch.empty(len(image), self.out_channels, *image.shape[2:])
        request.set_output_tensor(openvino.Tensor(features.numpy(), shared_memory=True))
        request.start_async({0: np.ascontiguousarray(image.numpy())}, share_inputs=True)
        try:
            while not request.wait_for(WAIT_MS):
                self.asks(image)
        except BaseException:
            request.cancel()
            with suppress(RuntimeError):  # it says that it was cancelled
                request.wait()
            raise
        return features

    def _request(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - openvino is imported where it is used
        """This thread's request for images of one shape: only the last shape's memory is held.

        Threads of OpenVINO are not bound to cores: those of two requests would be bound to the same.
        """
        requests = self._requests.by_shape
        if shape not in requests:
            requests.clear()
            options = self._options | {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "ENABLE_CPU_PINNING": False,
            }
            with self._compiling:
                self._model.reshape(list(shape))
                requests[shape] = self._core.compile_model(self._model, "CPU", options).create_infer_request()
        return requests[shape]

    @torch.inference_mode()
    def _agrees(self) -> bool:
        """Whether the features of noise have torch's direction."""
        size = [2 * side for side in self.stride_ijk]
        image = torch.rand(1, self.in_channels, *size, generator=torch.Generator().manual_seed(0))
        ours, theirs = (encode(image).flatten() for encode in (self._computed, self.unet))
        return float(torch.cosine_similarity(ours, theirs, dim=0)) >= AGREEMENT


def _converted(core: Any, backbone: PlainConvUNet, model_sha256: str) -> Any:  # noqa: ANN401 - see `_request`
    """The encoder in OpenVINO's form, from the cache, or made and kept there."""
    import openvino

    folder = cache_root() / "openvino" / f"{model_sha256[:24]}-{openvino.__version__.split('-')[0]}"
    if (folder / MODEL).is_file():
        try:
            return core.read_model(folder / MODEL)
        except RuntimeError as error:
            logger.warning("Converting anew: %s", " ".join(str(error).split())[:300])
    model = _convert(backbone)
    try:
        _keep(model, folder)
    except OutputError as error:
        logger.warning("The converted network was not kept: %s", error)
    return model


def _convert(backbone: PlainConvUNet) -> Any:  # noqa: ANN401 - see `_request`
    import openvino

    logger.info("Converting the network for OpenVINO, once")
    example = torch.rand(1, backbone.in_channels, *[2 * side for side in backbone.stride_ijk])
    shape = [-1, backbone.in_channels, -1, -1, -1]
    whole = nn.Sequential(backbone.encoder, backbone.decoder)  # without the size check, which `forward` makes itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO records the network in a way that torch calls outdated
        return openvino.convert_model(whole, example_input=example, input=shape)


def _keep(model: Any, folder: Path) -> None:  # noqa: ANN401 - see `_request`
    import openvino

    with whole_files(folder) as temporary:
        openvino.save_model(model, temporary / MODEL, compress_to_fp16=False)
