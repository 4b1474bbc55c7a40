"""The sub-command `ctglip-train ladder`: train the rows of Table 1, or take runs that exist, and print it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ctglip_training.evaluate_command import positive

if TYPE_CHECKING:
    from ctglip_training.ladder import Ladder


def add_ladder(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the sub-command."""
    command = commands.add_parser(
        "ladder", help="train the ablation ladder and print Table 1; the same command resumes a stopped one",
        description="Trains vanilla CLIP, diagnosis, anatomy + diagnosis, + dictionary (CT-GLIP) and ours from one "
        "stage 1 at equal budget, asks each about the subjects held out, and prints Table 1 with intervals over "
        "patients. Rows that are done are kept.",
    )  # fmt: skip
    command.add_argument("--config", type=Path, default=Path("training/configs/ladder.toml"), help="the ladder")
    command.add_argument("--out", type=Path, required=True, help="folder of the runs and of table1.md, table1.json")
    command.add_argument(
        "--hold-out", nargs="+", metavar="SUBJECT", default=[],
        help="a fold each: subjects that its runs never see, more than one joined by +; folds pool their patients",
    )  # fmt: skip
    command.add_argument("--rows", nargs="+", metavar="ROW", help="rows of the ladder (default: all)")
    command.add_argument(
        "--stage1", type=Path, nargs="+", default=[], metavar="RUN",
        help="finished runs of stage 1, one a fold in the order of --hold-out (default: trained)",
    )  # fmt: skip
    command.add_argument(
        "--runs", nargs="+", metavar="ROW=DIR",
        help="train nothing, table these runs; a row of several folds is given once a fold",
    )  # fmt: skip
    command.add_argument("--pool", help="folder of patients (default: the configuration's)")
    command.add_argument("--patients", type=positive, default=60, help="patients of each held-out subject")
    command.add_argument("--text-folder", type=Path, help="local folder of the text encoder")
    command.set_defaults(run=_ladder)


def _ladder(options: argparse.Namespace) -> None:
    from ctglip_training.evaluation.results_folder import plain
    from ctglip_training.ladder import read_ladder, with_pool
    from ctglip_training.ladder_table import gather_answers, make_table, table_json, table_markdown
    from ctglip_training.time_left import TimedProgress
    from CTGLIPLib.files import write_whole_text

    ladder = with_pool(read_ladder(options.config), options.pool)
    runs = _named_runs(options.runs) if options.runs else _trained(options, ladder)
    answers = gather_answers(runs, options.patients, options.text_folder, TimedProgress())
    table = make_table(answers, {row.name: (row.title, row.paper) for row in ladder.rows})
    words = table_markdown(table)
    write_whole_text(options.out / "table1.md", words)
    write_whole_text(options.out / "table1.json", json.dumps(plain(table_json(table)), indent=1, allow_nan=False))
    sys.stdout.write(words)


def _trained(options: argparse.Namespace, ladder: Ladder) -> dict[str, list[Path]]:
    from ctglip_training.ladder_runs import train_ladder
    from CTGLIPLib.errors import ConfigError
    from CTGLIPLib.text_bank import open_text_encoder

    if not options.hold_out:
        msg = "Expected the subjects to hold out, got none: nothing would test the rows. Give --hold-out SUBJECT."
        raise ConfigError(msg)
    if options.stage1 and len(options.stage1) != len(options.hold_out):
        msg = f"Expected a stage 1 for each of the {len(options.hold_out)} folds, got {len(options.stage1)}."
        raise ConfigError(msg)
    stages = options.stage1 or [None] * len(options.hold_out)
    folds = {tuple(fold.split("+")): stage for fold, stage in zip(options.hold_out, stages, strict=True)}
    text = ladder.stage1.text
    encoder = open_text_encoder(text.encoder, options.text_folder, revision=text.revision)
    return train_ladder(ladder, ladder.chosen(options.rows), folds, options.out, encoder)


def _named_runs(given: list[str]) -> dict[str, list[Path]]:
    from CTGLIPLib.errors import ConfigError

    runs: dict[str, list[Path]] = {}
    for text in given:
        row, equals, folder = text.partition("=")
        if not (row and equals and folder):
            msg = f"Expected ROW=DIR after --runs, got {text!r}."
            raise ConfigError(msg)
        runs.setdefault(row, []).append(Path(folder))
    return runs
