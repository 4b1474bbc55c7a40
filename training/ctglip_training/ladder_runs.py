"""Training the ladder's rows fold by fold; what is done is kept, what was stopped goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ctglip_training.config import TrainConfig
from ctglip_training.export import export_model
from ctglip_training.ladder import Ladder, Row
from ctglip_training.loop import train
from ctglip_training.state import CHECKPOINT, read_run_config
from CTGLIPLib.checkpoint import CONFIG
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.text import TextEncoder

logger = logging.getLogger(__name__)

Fold = tuple[str, ...]
"""Subjects that the fold's runs never see."""


def train_ladder(
    ladder: Ladder, rows: Sequence[Row], folds: Mapping[Fold, Path | None], out: Path, encoder: TextEncoder
) -> dict[str, list[Path]]:
    """Train every row without every fold's subjects; returns each row's runs, one a fold.

    OUT/FOLD/stage1 is shared by the fold's rows; OUT/FOLD/ROW is a row's last run, OUT/FOLD/ROW-contrast its stage 2
    where a last stage follows.

    Args:
        ladder: stage 1.
        rows: which to train.
        folds: subjects to hold out, each with a finished run of stage 1, or None to train that too.
        out: folder of everything.
        encoder: the rows' text encoder.

    Raises:
        CheckpointError: if a folder holds a run of another configuration, or a stage 1 is none.
        ConfigError: if a given stage 1 has seen its fold's subjects.
    """
    for fold, given in folds.items():
        if given is not None:
            check_stage1(given, fold)
    runs: dict[str, list[Path]] = {row.name: [] for row in rows}
    for fold, given in folds.items():
        folder = out / "+".join(fold)
        stage1 = given or folder / "stage1"
        if given is None:
            logger.info("Ladder without %s: stage 1", ", ".join(fold))
            _train(_held_out(ladder.stage1, fold), stage1, encoder)
        for number, row in enumerate(rows, start=1):
            logger.info("Ladder without %s: row %d of %d, %s", ", ".join(fold), number, len(rows), row.name)
            runs[row.name].append(_train_row(row, fold, stage1, folder, encoder))
    return runs


def check_stage1(run: Path, fold: Fold) -> None:
    """Refuse a stage 1 that was trained on the fold's subjects.

    Raises:
        CheckpointError: if the folder holds no run.
        ConfigError: if the run did not hold them out.
    """
    seen = sorted(set(fold) - set(read_run_config(run).data.hold_out))
    if seen:
        msg = (
            f"The stage 1 in {run} was trained on {', '.join(seen)}, which this fold holds out. Give a run that held "
            "them out too, or leave --stage1 out."
        )
        raise ConfigError(msg)


def _train_row(row: Row, fold: Fold, stage1: Path, folder: Path, encoder: TextEncoder) -> Path:
    last = folder / row.name
    contrast = last if row.head is None else folder / f"{row.name}-contrast"
    before = stage1
    if row.contrast.optim.steps or row.head is None:
        _train(_after(_held_out(row.contrast, fold), stage1), contrast, encoder)
        before = contrast
    if row.head is not None:
        _train(_after(_held_out(row.head, fold), before), last, encoder)
    return last


def _train(config: TrainConfig, out: Path, encoder: TextEncoder) -> None:
    """Train, or go on, and export; a finished run of this configuration is left as it is."""
    if (out / "model" / CONFIG).is_file() and (out / CHECKPOINT).is_file() and read_run_config(out) == config:
        return
    network = train(config, out, encoder)
    used = replace(config, text=replace(config.text, revision=encoder.revision))
    export_model(used, network, out / "model")


def _held_out(config: TrainConfig, fold: Fold) -> TrainConfig:
    return replace(config, data=replace(config.data, hold_out=fold))


def _after(config: TrainConfig, run: Path) -> TrainConfig:
    return replace(config, init_from=f"run:{run}")
