"""The command `ctglip-train finetune`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ctglip_training.data.study import Study
from ctglip_training.evaluate_command import whole_number
from CTGLIPLib.errors import ConfigError

if TYPE_CHECKING:
    from ctglip_training.finetune.folds import Fold


def add_finetune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser(
        "finetune", help="fine-tune for tumour segmentation and detection, and compare initialisations",
        description="Train a tumour model from each initialisation on each fold, segment the left-out cases, and print "
        "Table 2: Dice and detection AUC of every tumour with intervals over patients. The same command goes on where "
        "it was stopped. Every training's model folder is read by `ctglip segment-tumor`.",
    )  # fmt: skip
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER|MANIFEST",
        help="MSD or nnU-Net raw folder as downloaded, or a manifest (CSV, Parquet) whose studies have masks",
    )  # fmt: skip
    command.add_argument(
        "--config", type=Path, required=True, metavar="TOML", help="see training/configs/finetune.toml"
    )
    command.add_argument(
        "--init", nargs="+", required=True, metavar="START",
        help="what to start from: scratch, NAME=run:FOLDER of a pretraining, NAME=model:FOLDER",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="checkpoints, models and results")
    command.add_argument(
        "--folds", default="5", metavar="N|official|all",
        help="cross-validation by patient (default 5), the data set's own split, or a model of all cases",
    )  # fmt: skip
    command.add_argument("--only-folds", type=int, nargs="+", metavar="N", help="run these folds alone, from 0")
    command.add_argument("--leave-out", nargs="+", metavar="CASE", help="one training without these cases' patients")
    command.add_argument("--tumors", nargs="+", default=(), metavar="NAME", help="classes that are tumours")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument(
        "--workers", type=whole_number, default=0, metavar="N", help="processes that draw crops (default 0)"
    )
    command.set_defaults(run=_finetune)


def _finetune(options: argparse.Namespace) -> None:
    from ctglip_training.finetune.cases import open_cases
    from ctglip_training.finetune.config import read_finetune_config
    from ctglip_training.finetune.experiment import Experiment, run_experiment
    from ctglip_training.finetune.results import markdown
    from ctglip_training.finetune.start import read_starts, resolved
    from ctglip_training.time_left import TimedProgress
    from CTGLIPLib.encode import choose_device

    device = str(choose_device(options.device))
    config = read_finetune_config(options.config)
    starts = read_starts(options.init)
    config = resolved(config, starts)
    cases = open_cases(options.data, options.tumors)
    folds = _folds(options, cases.studies)
    experiment = Experiment(cases, folds, starts, config, options.out, device, options.workers)
    results = run_experiment(experiment, TimedProgress())
    if results is None:
        sys.stdout.write(f"trained on all cases, none left out to measure: see {options.out}\n")
        return
    sys.stdout.write(markdown(results) + f"\nWritten to {options.out}\n")


def _folds(options: argparse.Namespace, studies: tuple[Study, ...]) -> tuple[Fold, ...]:
    from ctglip_training.finetune.folds import Fold, deal_folds, fold_without, official_fold

    if options.leave_out:
        return (fold_without(studies, options.leave_out),)
    if options.folds == "official":
        return (official_fold(studies),)
    if options.folds == "all":
        return (Fold("all", studies, ()),)
    if not options.folds.isdecimal():
        msg = f"--folds must be a number, official or all, got {options.folds!r}."
        raise ConfigError(msg)
    folds = deal_folds(studies, int(options.folds))
    if options.only_folds is None:
        return folds
    if not all(0 <= number < len(folds) for number in options.only_folds):
        msg = f"--only-folds must be numbers from 0 to {len(folds) - 1}, got {options.only_folds}."
        raise ConfigError(msg)
    return tuple(folds[number] for number in options.only_folds)
