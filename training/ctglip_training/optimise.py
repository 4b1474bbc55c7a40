"""One step of the optimiser, alone or with several processes: average the gradients, clip, step, measure.

Several processes exchange all gradients of the parameters that each holds whole in one sum after the last part of a
step. Parameters of which each holds a share (FSDP) come averaged already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from ctglip_training.distributed import Ranks
from CTGLIPLib.errors import CTGLIPError


class NotFiniteError(CTGLIPError):
    """A loss, gradient or weight that is no finite number; the weights on disk are those from before it."""


def average_gradients(parameters: Sequence[Parameter], ranks: Ranks) -> None:
    """Replace gradients by their mean over the processes; a parameter that no process has one for keeps none."""
    if ranks.count == 1:
        return
    whole = [p for p in parameters if not _is_sharded(p)]
    used = ranks.sum(torch.tensor([p.grad is not None for p in whole], dtype=torch.int64)).tolist()
    learning = [p for p, number in zip(whole, used, strict=True) if number]
    if not learning:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
    mean = ranks.sum(flat) / ranks.count
    for p, gradient in zip(learning, mean.split([p.numel() for p in learning]), strict=True):
        p.grad = gradient.view_as(p)


def update(optimiser: Optimizer, lr: float, clip_norm: float, ranks: Ranks) -> dict[str, float]:
    """Clip the gradients to a norm and take one step; returns the norms of gradient, parameters and update.

    Raises:
        NotFiniteError: if the gradient is not finite, and then nothing is changed; or if the weights became so.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    gradient_norm = norm([p.grad for p in parameters if p.grad is not None], ranks)
    if not gradient_norm < float("inf"):
        msg = f"the gradient's norm is {gradient_norm}"
        raise NotFiniteError(msg)
    if gradient_norm > clip_norm:
        for p in parameters:
            if p.grad is not None:
                own_part(p.grad).mul_(clip_norm / (gradient_norm + 1e-6))
    for group in optimiser.param_groups:
        group["lr"] = lr
    before = [own_part(p.detach()).clone() for p in parameters]
    optimiser.step()
    change = [own_part(p.detach()) - old for p, old in zip(parameters, before, strict=True)]
    sharded = [_is_sharded(p) for p in parameters]
    norms = {
        "gradient_norm": gradient_norm,
        "parameter_norm": norm([p.detach() for p in parameters], ranks),
        "update_norm": _norm_of_parts(change, sharded, ranks),
    }
    if not norms["parameter_norm"] < float("inf"):
        msg = f"the weights' norm is {norms['parameter_norm']} after an update"
        raise NotFiniteError(msg)
    return norms


def norm(tensors: Sequence[Tensor], ranks: Ranks) -> float:
    """Euclidean norm of all the tensors together, the same in every process."""
    return _norm_of_parts([own_part(t) for t in tensors], [_is_sharded(t) for t in tensors], ranks)


def own_part(tensor: Any) -> Tensor:  # noqa: ANN401 - a tensor or DTensor
    """What this process holds of a tensor: all of it, or its share."""
    return tensor.to_local() if _is_sharded(tensor) else tensor


def _norm_of_parts(parts: Sequence[Tensor], sharded: Sequence[bool], ranks: Ranks) -> float:
    squares = {True: torch.zeros((), dtype=torch.float64), False: torch.zeros((), dtype=torch.float64)}
    for part, shared in zip(parts, sharded, strict=True):
        squares[shared] = squares[shared] + part.float().norm().square().to(squares[shared].device, torch.float64)
    shares = ranks.sum(squares[True]) if any(sharded) else squares[True]
    return float((squares[False] + shares).sqrt())


def _is_sharded(tensor: Any) -> bool:  # noqa: ANN401 - a tensor or DTensor
    return hasattr(tensor, "to_local")
