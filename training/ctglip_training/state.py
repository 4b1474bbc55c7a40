"""Saving a run so that it resumes at the step where it was stopped, to the bit on a CPU.

Random choices need no saved state: every one is drawn from (seed, step, number), see draw.py. A checkpoint holds whole
tensors however many processes made it, so another number of them can go on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ctglip_training.config import TrainConfig
from ctglip_training.distributed import is_first_process
from CTGLIPLib.config import from_dict
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.files import whole_file
from CTGLIPLib.model import GroundedEncoder

CHECKPOINT, STAGE_1 = "checkpoint.pt", "stage1.pt"
MAY_DIFFER = ("compute", "save_every", "picture_every")
"""Parts of a configuration that a resumed run may have changed: they say how it is computed and what is written."""

logger = logging.getLogger(__name__)


def save_state(folder: Path, config: TrainConfig, step: int, model: GroundedEncoder, optimiser: Optimizer) -> None:
    """Write the run's state after `step` steps; after the last of stage 1 also as `stage1.pt`, which stays.

    All processes must call this together; the first one writes.

    Raises:
        OutputError: if it cannot be written; the last checkpoint is then as it was.
    """
    state = {
        "config": _plain_config(config),
        "step": step,
        "model": _whole(model.state_dict()),
        "optimiser": _whole(optimiser.state_dict()),
    }
    if not is_first_process():
        return
    for name in (CHECKPOINT, STAGE_1) if step == config.optim.segmentation_steps else (CHECKPOINT,):
        write_checkpoint(state, folder / name)


def write_checkpoint(state: Mapping[str, object], path: Path) -> None:
    """Write a state, whole or not at all.

    Raises:
        OutputError: if it cannot be written, also where torch hides a full disk behind an error of its own.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_state(folder: Path, config: TrainConfig, model: GroundedEncoder, optimiser: Optimizer) -> int:
    """Restore a run and return how many steps it has done; 0 where there is nothing to resume.

    Raises:
        CheckpointError: if the checkpoint is broken or belongs to a run with another configuration.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        saved, step = dict(state["config"]), int(state["step"])
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a checkpoint of this run at {path}, but it cannot be read: {error}. Delete it to start anew."
        raise CheckpointError(msg) from error
    _check_config(path, saved, config)
    try:
        _load_whole(model, optimiser, state)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for weights that do not fit
        msg = f"The weights in {path} do not fit this version of the network: {error}. Choose another --out folder."
        raise CheckpointError(msg) from error
    return step


def load_run_weights(folder: Path, model: GroundedEncoder, name: str = CHECKPOINT) -> None:
    """Start the backbone and the segmentation head from those of another run; the projection stays fresh.

    Args:
        folder: of the other run.
        model: is changed.
        name: which of its checkpoints.

    Raises:
        CheckpointError: if the folder holds no run, or one with another backbone.
    """
    folder = folder.expanduser()
    try:
        state = torch.load(folder / name, weights_only=True, map_location="cpu")
        for part in ("backbone", "segmentation_head"):
            prefix = f"{part}."
            weights = {k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)}
            model.get_submodule(part).load_state_dict(weights)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a run of the same backbone in {folder} with {name}: {error}."
        raise CheckpointError(msg) from error


def read_run_config(folder: Path) -> TrainConfig:
    """The configuration that a run was made with.

    Raises:
        CheckpointError: if the folder holds no run.
    """
    try:
        state = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu", mmap=True)
        return from_dict(TrainConfig, state["config"], where=str(folder))
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a training run with {CHECKPOINT} in {folder}: {error}."
        raise CheckpointError(msg) from error


def _check_config(path: Path, saved: Mapping[str, object], config: TrainConfig) -> None:
    """Refuse a checkpoint of another configuration; keys that its version did not know yet have their defaults."""
    try:
        complete = _plain_config(from_dict(TrainConfig, saved, where=str(path)))
    except ConfigError as error:
        msg = f"{path} belongs to a run of another version: {error} Choose another --out folder."
        raise CheckpointError(msg) from error
    wanted = _plain_config(config)
    differing = sorted(key for key in wanted if complete[key] != wanted[key])
    changed = [key for key in differing if key in MAY_DIFFER]
    if len(changed) < len(differing):
        msg = (
            f"{path} belongs to a run with another configuration ({', '.join(differing)}). Choose another --out folder."
        )
        raise CheckpointError(msg)
    if changed:
        logger.info("resuming with changed %s", ", ".join(changed))


def _whole(value: Any) -> Any:  # noqa: ANN401 - a state: tensors, numbers, lists and dictionaries
    """A state with whole tensors on the CPU, where processes hold shares of some."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if hasattr(value, "full_tensor"):
        return value.full_tensor().cpu()
    return value.cpu() if isinstance(value, Tensor) else value


def _load_whole(model: GroundedEncoder, optimiser: Optimizer, state: Mapping[str, Any]) -> None:
    """Load whole tensors; each process keeps its share of those that are shared."""
    own = model.state_dict()
    model.load_state_dict({name: _like(value, own.get(name)) for name, value in state["model"].items()})
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    moments = {
        number: {name: value if value.ndim == 0 else _like(value, parameters[number]) for name, value in kept.items()}
        for number, kept in state["optimiser"]["state"].items()
    }
    optimiser.load_state_dict({**state["optimiser"], "state": moments})


def _like(value: Tensor, own: Tensor | None) -> Tensor:
    """The value as it is, or shared between the processes as `own` is."""
    if own is None or not hasattr(own, "full_tensor"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(own, DTensor)
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)


def _plain_config(config: TrainConfig) -> dict[str, object]:
    return {key: _plain(value) for key, value in asdict(config).items()}


def _plain(value: object) -> object:
    """Tuples as lists, so that a configuration compares equal after a round trip."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
