"""Who finds the organs of a CT: the organ segmenters by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from CTGLIPLib.config import Config
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.segment_own import OwnSegmenter
from CTGLIPLib.segment_total import TotalSegmentatorSegmenter
from CTGLIPLib.volume import Segmentation, Volume

__all__ = [
    "SEGMENTERS",
    "OrganSegmenter",
    "OwnSegmenter",
    "SegmenterOptions",
    "TotalSegmentatorSegmenter",
    "build_segmenter",
]


@runtime_checkable
class OrganSegmenter(Protocol):
    """Finds the organs of a CT."""

    def __call__(self, volume: Volume, progress: ProgressCallback | None = None) -> Segmentation:
        """The organs, on the CT's grid or another one over the same body.

        Raises:
            Cancelled: if `progress` asks to stop.
        """
        ...


@dataclass(frozen=True, eq=False)
class SegmenterOptions:
    """What the segmenters can be told; each takes what concerns it.

    Attributes:
        device: where TotalSegmentator computes; the model's own head computes where its network is.
        fast: whether TotalSegmentator works at 3 mm instead of 1.5 mm.
        network: the network of the model in use; None where no model is loaded.
        config: that model's configuration.
    """

    device: str = "auto"
    fast: bool = True
    network: GroundedEncoder | None = None
    config: Config = Config()


def _total_segmentator(options: SegmenterOptions) -> OrganSegmenter:
    return TotalSegmentatorSegmenter(options.device, options.fast)


def _own(options: SegmenterOptions) -> OrganSegmenter:
    if options.network is None:
        msg = "The segmenter 'own' is a part of a model, and no model is loaded. Choose one with --model NAME."
        raise ConfigError(msg)
    return OwnSegmenter(options.network, options.config.preprocess, options.config.name)


SEGMENTERS: dict[str, Callable[[SegmenterOptions], OrganSegmenter]] = {
    "totalsegmentator": _total_segmentator,
    "own": _own,
}


def build_segmenter(name: str, options: SegmenterOptions | None = None) -> OrganSegmenter:
    """The organ segmenter of that name.

    Raises:
        ConfigError: if there is none of that name, its device is unknown, or it needs a model and none is loaded.
    """
    if name not in SEGMENTERS:
        close = difflib.get_close_matches(name.lower(), SEGMENTERS, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        msg = f"Unknown segmenter {name!r}; expected one of {', '.join(SEGMENTERS)}.{hint}"
        raise ConfigError(msg)
    return SEGMENTERS[name](options or SegmenterOptions())
