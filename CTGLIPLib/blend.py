"""Overlapping windows blended to one map, which comes slab by slab from the feet up and is never held as a whole.

Guarded by test_segment.py and test_tumor.py: equal to blending all windows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from CTGLIPLib.encode import autocast, stoppable
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.windows import Box, WindowPlan

LEAST_WEIGHT = 1e-20
"""Far below any window's share of a voxel; divides the zeros of voxels that no window holds."""


def blended_slabs(
    network: nn.Module,
    compute: Callable[[Tensor], Tensor],
    window_at: Callable[[Box], Tensor],
    plan: WindowPlan,
    progress: ProgressCallback | None,
    what: str,
) -> Iterator[tuple[slice, Tensor]]:
    """The third axis' range of each slab, and its channels (channel, i, j, k) within `plan.covered` along i and j.

    The slabs follow each other without a gap, from the first voxel of `plan.covered` to its last. Where windows were
    left out the others' shares are brought back to 1.

    Args:
        network: whose layers ask `progress`; it tells the device.
        compute: channels (1, channel, i, j, k) of a window (1, channel, i, j, k).
        window_at: a window of the image, shape (channel, i, j, k).
        plan: the windows; along the third axis each must touch or overlap the next.
        progress: told how many windows are done.
        what: what it is told.

    Raises:
        Cancelled: if `progress` asks to stop.
    """
    device = next(network.parameters()).device
    (rows, columns, slices), total = plan.covered, len(plan.boxes)
    depth = plan.boxes[0][2].stop - plan.boxes[0][2].start
    starts = sorted({box[2].start for box in plan.boxes})
    held, done = torch.zeros(0), 0
    for start, following in zip(starts, [*starts[1:], slices.stop], strict=True):
        for box in (box for box in plan.boxes if box[2].start == start):
            report(progress, what, done, total)
            window = window_at(box).to(device)
            with torch.inference_mode(), autocast(device), stoppable(network, progress, what, done, total):
                channels = compute(window[None])[0].float()
            if not held.numel():
                width = columns.stop - columns.start
                held = channels.new_zeros(len(channels) + 1, rows.stop - rows.start, width, depth)
            weight = torch.from_numpy(plan.weight(box)).to(device)
            place = held[:, _shifted(box[0], rows.start), _shifted(box[1], columns.start)]
            place[:-1] += channels * weight
            place[-1] += weight
            done += 1
        final = following - start
        yield slice(start, following), held[:-1, ..., :final] / held[-1:, ..., :final].clamp_min(LEAST_WEIGHT)
        held = torch.cat([held[..., final:], torch.zeros_like(held[..., :final])], dim=-1)
    report(progress, what, done, total)


def _shifted(along: slice, by: int) -> slice:
    return slice(along.start - by, along.stop - by)
