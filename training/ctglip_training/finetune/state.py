"""Saving a fine-tuning so that it resumes where it was stopped, to the bit on a CPU.

Random choices need no saved state: crop n is drawn from (seed, n), see patches.py. Guard: test_finetune_train.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.optim import Optimizer

from ctglip_training.state import CHECKPOINT, write_checkpoint
from CTGLIPLib.errors import CheckpointError
from CTGLIPLib.tumor_model import TumorSegmenter


def save_state(
    folder: Path, identity: Mapping[str, object], step: int, network: TumorSegmenter, optimiser: Optimizer
) -> None:
    """Write the run's state after `step` steps, with everything that it depends on.

    Raises:
        OutputError: if it cannot be written; the last checkpoint is then as it was.
    """
    state = {
        "identity": dict(identity),
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    write_checkpoint(state, folder / CHECKPOINT)


def load_state(folder: Path, identity: Mapping[str, object], network: TumorSegmenter, optimiser: Optimizer) -> int:
    """Restore a run and return how many steps it has done; 0 where there is nothing to resume.

    Raises:
        CheckpointError: if the checkpoint is broken, or belongs to a run with other choices, cases or weights.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        saved, step = dict(state["identity"]), int(state["step"])
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file
        msg = f"Expected a checkpoint of this run at {path}, but it cannot be read: {error}. Delete it to start anew."
        raise CheckpointError(msg) from error
    differing = sorted(key for key in {**saved, **identity} if saved.get(key) != identity.get(key))
    if differing:
        msg = f"{path} belongs to a fine-tuning with another {', '.join(differing)}. Choose another --out folder."
        raise CheckpointError(msg)
    try:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for weights that do not fit
        msg = f"The weights in {path} do not fit this version of the network: {error}. Choose another --out folder."
        raise CheckpointError(msg) from error
    return step
