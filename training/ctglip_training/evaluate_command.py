"""The sub-commands `ctglip-train evaluate` and `calibrate`: what runs know of patients that they never saw."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser(
        "evaluate", help="organ recognition and findings of held-out patients, with intervals",
        description="Zero-shot organ recognition (top-1, top-5, each organ, confusion) and abnormality detection (PPV, "
        "sensitivity, F1, AUC, calibration error) of patients that a run never saw, with 95 % intervals over patients, "
        "beside the paper's figures.",
    )  # fmt: skip
    command.add_argument("--run", type=Path, required=True, dest="run_folder", help="folder of a pretrain run")
    command.add_argument("--out", type=Path, help="folder of the results (default: results in the run's folder)")
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


def show_progress(what: str, done: int, total: int) -> None:
    """One line that counts."""
    sys.stderr.write(f"\r{what}: {done} of {total}" + ("\n" if done == total else ""))
    sys.stderr.flush()


def _evaluate(options: argparse.Namespace) -> None:
    from ctglip_training.hold_out import Asking, evaluate_run
    from ctglip_training.subjects import data_folder, read_subjects

    subjects, data = read_subjects(options.subjects), data_folder(options.data)
    how = Asking(options.patients, options.text_folder, tuple(options.threshold_cases), show_progress)
    sys.stdout.write(evaluate_run(options.run_folder, subjects, data, how, options.out) + "\n")


def _calibrate(options: argparse.Namespace) -> None:
    from ctglip_training.calibrate_model import calibrate_model

    summary = calibrate_model(options.runs, options.model, options.patients, options.text_folder, options.out)
    sys.stdout.write(summary + "\n")
