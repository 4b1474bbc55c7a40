"""The sub-commands `ctglip-train evaluate` and `calibrate`: what runs know of patients that they never saw."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ctglip_training.time_left import TimedProgress

if TYPE_CHECKING:
    from ctglip_training.hold_out import Asking

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser(
        "evaluate", help="organ recognition and findings of held-out patients, with intervals",
        description="Zero-shot organ recognition (top-1, top-5, each organ, confusion) and abnormality detection (PPV, "
        "sensitivity, F1, AUC, calibration error) of patients that a run never saw, with 95 % intervals over patients, "
        "beside the paper's figures.",
    )  # fmt: skip
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, dest="run_folder", help="folder of a pretrain run")
    which.add_argument("--model", type=Path, help="a model folder, with --store and --out")
    command.add_argument("--out", type=Path, help="folder of the results (default: results in the run's folder)")
    command.add_argument("--store", type=Path, help="real studies of `prepare` instead of the subjects held out")
    command.add_argument("--split", default="test", help="of --store (default test; val chooses thresholds)")
    command.add_argument(
        "--unmentioned", choices=("negative", "unknown"), default="negative",
        help="what a finding counts as of which a report of --store says nothing (default negative)",
    )  # fmt: skip
    command.add_argument(
        "--published-protocol", choices=("ct-rate", "merlin", "rad-chestct"),
        help="score the volumes of --store by a published protocol against --labels instead",
    )  # fmt: skip
    command.add_argument("--labels", type=Path, metavar="CSV", help="the data set's own label file, as for score")
    command.add_argument("--mapping", default="standard", help="of rad-chestct's labels, as for score")
    command.add_argument("--subjects", type=Path, default=Path("training/configs/subjects.toml"))
    command.add_argument(
        "--data", type=Path, help="folder that the list's paths are relative to (default $CTGLIP_DATA)"
    )
    command.add_argument("--patients", type=positive, default=60, help="simulated patients of each held-out subject")
    command.add_argument(
        "--threshold-cases", type=Path, nargs="+", default=[], metavar="CSV",
        help="cases.csv of runs that held other subjects out: thresholds and calibrated scores come from these",
    )  # fmt: skip
    command.add_argument("--text-folder", type=Path, help="local folder of the text encoder")
    command.set_defaults(run=_evaluate)


def add_calibrate(commands: Commands[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser("calibrate", help="fit a model's scores to the cases of runs that held subjects out")
    command.add_argument(
        "--runs", type=Path, nargs="+", required=True, metavar="RUN",
        help="folders of pretrain runs; a run's cases.csv is used, written by evaluate, or else its model is asked",
    )  # fmt: skip
    command.add_argument(
        "--model", type=Path, required=True, metavar="MODEL_FOLDER", help="the model whose scores are set"
    )
    command.add_argument("--out", type=Path, help="folder for calibration.json and reliability.png (default: neither)")
    command.add_argument("--patients", type=positive, default=60, help="simulated patients of each held-out subject")
    command.add_argument("--text-folder", type=Path, help="local folder of the text encoder")
    command.set_defaults(run=_calibrate)


def positive(text: str) -> int:
    """A whole number of 1 or more.

    Raises:
        ArgumentTypeError: if it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        msg = f"expected a whole number of 1 or more, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def whole_number(text: str) -> int:
    """A whole number of 0 or more.

    Raises:
        ArgumentTypeError: if it is none.
    """
    if not text.isdecimal():
        msg = f"expected a whole number of 0 or more, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _evaluate(options: argparse.Namespace) -> None:
    from ctglip_training.hold_out import Asking, evaluate_run
    from ctglip_training.state import read_run_config
    from ctglip_training.subjects import data_folder, read_subjects
    from CTGLIPLib.errors import ConfigError

    how = Asking(options.patients, options.text_folder, tuple(options.threshold_cases), TimedProgress())
    if options.store is not None:
        sys.stdout.write(_of_store(options, how) + "\n")
        return
    if options.run_folder is None or options.published_protocol:
        msg = "Expected --store with --model and with --published-protocol. Make a store with `ctglip-train prepare`."
        raise ConfigError(msg)
    read_run_config(options.run_folder)  # a missing run is told of before missing CTs
    subjects, data = read_subjects(options.subjects), data_folder(options.data)
    sys.stdout.write(evaluate_run(options.run_folder, subjects, data, how, options.out) + "\n")


def _of_store(options: argparse.Namespace, how: Asking) -> str:
    from ctglip_training.hold_out import RESULTS, open_run
    from ctglip_training.store_split import SplitQuestion, evaluate_split, open_model
    from ctglip_training.volume_scores import Published, score_split
    from CTGLIPLib.errors import ConfigError

    question = SplitQuestion(options.store, options.split, options.unmentioned)
    if (options.model is not None and options.out is None) or bool(options.published_protocol) != bool(options.labels):
        msg = "Expected --out with --model, and --labels with --published-protocol. Give both of each."
        raise ConfigError(msg)
    if options.model is not None:
        out = options.out
        opened = open_model(options.model, out, how.text_folder)
    else:
        out = options.out or options.run_folder / RESULTS
        opened = open_run(options.run_folder, how.text_folder, needs_hold_out=False)
    if options.published_protocol:
        published = Published(options.published_protocol, options.labels, options.mapping)
        return score_split(opened, question, published, out, how.progress)
    return evaluate_split(opened, question, how, out)


def _calibrate(options: argparse.Namespace) -> None:
    from ctglip_training.calibrate_model import calibrate_model

    summary = calibrate_model(options.runs, options.model, options.patients, options.text_folder, options.out)
    sys.stdout.write(summary + "\n")


def add_evaluate_masks(commands: Commands[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser(
        "evaluate-masks", help="predicted masks against true ones: Dice, HD95, surface Dice, detection AUC",
        description="Pairs two folders of label maps by file name and gives overlap, surface distance and detection by "
        "volume with 95 % intervals over patients.",
    )  # fmt: skip
    command.add_argument("--predictions", type=Path, required=True, metavar="DIR")
    command.add_argument("--truth", type=Path, required=True, metavar="DIR")
    command.add_argument("--out", type=Path, required=True, help="folder for masks.csv, masks.json, summary.md")
    command.add_argument("--label", type=int, help="value that is compared (default: every value but 0)")
    command.add_argument("--tolerance", type=float, metavar="MM", help="of the surface Dice (default 2 mm)")
    command.add_argument("--patient", metavar="PATTERN", help="its first group is the patient in a file's name")
    command.set_defaults(run=_evaluate_masks)


def _evaluate_masks(options: argparse.Namespace) -> None:
    from ctglip_training.evaluate_masks import MaskRules, evaluate_masks
    from ctglip_training.evaluation.segmentation import TOLERANCE_MM

    tolerance = TOLERANCE_MM if options.tolerance is None else options.tolerance
    rules = MaskRules(options.label, tolerance, options.patient)
    sys.stdout.write(evaluate_masks(options.predictions, options.truth, options.out, rules, TimedProgress()))
