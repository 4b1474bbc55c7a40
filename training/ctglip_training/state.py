"""Saving a run so that it resumes at the step where it was stopped, to the bit on a CPU.

Random choices need no saved state: every one is drawn from (seed, step), see loop.py.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch.optim import Optimizer

from ctglip_training.config import TrainConfig
from CTGLIPLib.config import from_dict
from CTGLIPLib.errors import CheckpointError
from CTGLIPLib.files import whole_file
from CTGLIPLib.model import GroundedEncoder

CHECKPOINT = "checkpoint.pt"


def save_state(folder: Path, config: TrainConfig, step: int, model: GroundedEncoder, optimiser: Optimizer) -> None:
    """Write the run's state after `step` steps."""
    state = {
        "config": _plain_config(config),
        "step": step,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with whole_file(folder / CHECKPOINT) as temporary:
        torch.save(state, temporary)


def load_state(folder: Path, config: TrainConfig, model: GroundedEncoder, optimiser: Optimizer) -> int:
    """Restore a run and return how many steps it has done; 0 where there is nothing to resume.

    Raises:
        CheckpointError: if the checkpoint is broken or belongs to a run with another configuration.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        saved, step = dict(state["config"]), int(state["step"])
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a checkpoint of this run at {path}, but it cannot be read: {error}. Delete it to start anew."
        raise CheckpointError(msg) from error
    wanted = _plain_config(config)
    if saved != wanted:
        differing = sorted(key for key in {**saved, **wanted} if saved.get(key) != wanted.get(key))
        msg = (
            f"{path} belongs to a run with another configuration ({', '.join(differing)}). Choose another --out folder."
        )
        raise CheckpointError(msg)
    try:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for weights that do not fit
        msg = f"The weights in {path} do not fit this version of the network: {error}. Choose another --out folder."
        raise CheckpointError(msg) from error
    return step


def load_run_weights(folder: Path, model: GroundedEncoder) -> None:
    """Start the backbone and the segmentation head from those of another run; the projection stays fresh.

    Raises:
        CheckpointError: if the folder holds no run, or one with another backbone.
    """
    folder = folder.expanduser()
    try:
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        for part in ("backbone", "segmentation_head"):
            prefix = f"{part}."
            weights = {k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)}
            model.get_submodule(part).load_state_dict(weights)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a run of the same backbone in {folder} with {CHECKPOINT}: {error}."
        raise CheckpointError(msg) from error


def read_run_config(folder: Path) -> TrainConfig:
    """The configuration that a run was made with.

    Raises:
        CheckpointError: if the folder holds no run.
    """
    try:
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        return from_dict(TrainConfig, state["config"], where=str(folder))
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a training run with {CHECKPOINT} in {folder}: {error}."
        raise CheckpointError(msg) from error


def _plain_config(config: TrainConfig) -> dict[str, object]:
    return {key: _plain(value) for key, value in asdict(config).items()}


def _plain(value: object) -> object:
    """Tuples as lists, so that a configuration compares equal after a round trip."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
