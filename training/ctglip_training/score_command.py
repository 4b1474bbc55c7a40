"""The sub-command `ctglip-train score`: a table of scores made elsewhere against a table of labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    from ctglip_training.evaluation.intervals import REPEATS
    from ctglip_training.evaluation.protocols import PROTOCOLS, RAD_CHESTCT_MAPPINGS

    command = commands.add_parser(
        "score", help="score a table of predictions, a row a volume, against labels",
        description="AUC, PPV, sensitivity, specificity, F1, accuracy, CRG and calibration of every finding and their "
        "means, with 95 % intervals over patients, beside published figures. Both files are CSV, a row a volume and a "
        "column a finding.",
    )  # fmt: skip
    command.add_argument("--predictions", type=Path, required=True, metavar="CSV", help="a score for every finding")
    command.add_argument("--labels", type=Path, required=True, metavar="CSV", help="1, 0 (merlin: -1 not mentioned)")
    command.add_argument("--protocol", choices=tuple(PROTOCOLS), required=True, help="what is asked and how it counts")
    command.add_argument("--out", type=Path, required=True, help="folder for JSON, CSV, Markdown and pictures")
    command.add_argument(
        "--scores", choices=("probability", "margin"), default="probability",
        help="margin: differences of similarity or any other number; no calibration figures (default probability)",
    )  # fmt: skip
    command.add_argument(
        "--threshold-predictions", type=Path, metavar="CSV", help="other patients' scores, to choose thresholds on"
    )
    command.add_argument("--threshold-labels", type=Path, metavar="CSV", help="labels of --threshold-predictions")
    command.add_argument("--patient-column", metavar="NAME", help="column of the labels that names the patient")
    command.add_argument("--mapping", choices=tuple(RAD_CHESTCT_MAPPINGS), default="standard", help="of rad-chestct")
    command.add_argument("--missing-labels", action="store_true", help="leave out cells labelled -1 or nothing")
    command.add_argument("--allow-missing", action="store_true", help="score the findings that both tables have")
    command.add_argument("--resamplings", type=int, default=REPEATS, metavar="N", help=f"default {REPEATS}")
    command.add_argument("--seed", type=int, default=0, help="of the resampling")
    command.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from ctglip_training.evaluation.paired import PairRules, read_pair
    from ctglip_training.evaluation.protocols import protocol_named
    from ctglip_training.evaluation.results_folder import Outcome, summary_line, write_results
    from ctglip_training.evaluation.scoring import ScoreRules, score
    from ctglip_training.time_left import TimedProgress
    from CTGLIPLib.errors import ConfigError

    if (options.threshold_predictions is None) != (options.threshold_labels is None):
        msg = "Expected both --threshold-predictions and --threshold-labels or neither, got one. Give the other too."
        raise ConfigError(msg)
    protocol = protocol_named(options.protocol)
    if options.missing_labels:
        protocol = replace(protocol, ignores_missing_labels=True)
    rules = PairRules(options.scores, options.allow_missing, options.patient_column, options.mapping)
    cases = read_pair(options.predictions, options.labels, protocol, rules)
    inputs = {"predictions": options.predictions, "labels": options.labels}
    separate = None
    if options.threshold_predictions is not None:
        lenient = replace(rules, allow_missing=True)
        separate = read_pair(options.threshold_predictions, options.threshold_labels, protocol, lenient)
        inputs |= {"threshold_predictions": options.threshold_predictions, "threshold_labels": options.threshold_labels}
    how = ScoreRules(options.scores, protocol.rules, protocol.subsets, options.resamplings, options.seed)
    scores = score(cases, how, separate, TimedProgress())
    outcome = Outcome(protocol, cases, scores, {name: str(path) for name, path in inputs.items()})
    write_results(outcome, options.out)
    sys.stdout.write(summary_line(outcome, options.out) + "\n")
