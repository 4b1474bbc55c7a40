"""The commands `pairs`, `dictionary` and `pairs-measure` of `ctglip-train`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ctglip_training.evaluate_command import positive

if TYPE_CHECKING:
    from ctglip_training.pairs.llm import LanguageModelEngine


def add_pairs_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the three commands to the parser of `ctglip-train`."""
    _add_pairs(commands)
    _add_dictionary(commands)
    _add_measure(commands)


def _add_pairs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("pairs", help="reports -> sentences by organ, with normal or not and the finding")
    command.add_argument("--reports", type=Path, required=True, help="CSV or JSON lines; a manifest will do")
    command.add_argument("--out", type=Path, required=True, help="the table of pairs, JSON lines")
    command.add_argument("--engine", choices=("rules", "llm"), default="rules")
    command.add_argument("--study-column", default="", help="default: study_id, study, VolumeName or AccessionNo")
    command.add_argument("--report-column", nargs="+", default=["report"], metavar="NAME", help="several are joined")
    command.add_argument("--split-column", default="split")
    command.add_argument("--patient-column", default="patient")
    command.add_argument("--spot-check", type=Path, metavar="CSV", help="write a sheet for a person to judge")
    command.add_argument("--spot-check-count", type=int, default=100, metavar="N", help="pairs on the sheet")
    model = command.add_argument_group("language model (--engine llm): any OpenAI-compatible endpoint")
    model.add_argument("--endpoint", default="http://localhost:8000/v1", help="address without /chat/completions")
    model.add_argument("--model", default="", help="the endpoint's name of the model")
    model.add_argument("--key-variable", default="OPENAI_API_KEY", help="environment variable that holds the key")
    model.add_argument("--cache", type=Path, help="folder of kept answers (default: beside the table)")
    model.add_argument("--workers", type=int, default=4, help="reports asked at the same time")
    model.add_argument("--timeout", type=float, default=120.0, metavar="S")
    model.add_argument("--no-json-mode", action="store_true", help="for servers that refuse response_format")
    model.add_argument(
        "--price", type=float, nargs=2, default=(0.0, 0.0), metavar=("IN", "OUT"), help="per million tokens"
    )
    model.add_argument("--max-cost", type=float, help="stop when the run has cost this much")
    command.set_defaults(run=_pairs)


def _add_dictionary(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "dictionary", help="the abnormality dictionary, from the training reports' pairs only"
    )
    command.add_argument("--pairs", type=Path, required=True, help="table made by `ctglip-train pairs`")
    command.add_argument("--out", type=Path, required=True, help="the dictionary, JSON")
    command.add_argument("--size", type=positive, default=512, help="texts, at most")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--only-train", action="store_true", help="leave other splits out instead of refusing them")
    command.set_defaults(run=_dictionary)


def _add_measure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("pairs-measure", help="F1 of the rules on reports with CT-RATE's 18 labels")
    command.add_argument("--reports", type=Path, required=True, help="CSV with AccessionNo, report_text and the labels")
    command.add_argument("--organ-sentences", type=Path, help="JSON, study -> organ -> text, to measure routing")
    command.add_argument("--part", choices=("development", "test"), default="test")
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    command.set_defaults(run=_measure)


def _pairs(options: argparse.Namespace) -> None:
    from ctglip_training.pairs.reports import ReportColumns, read_reports
    from ctglip_training.pairs.rules import RuleEngine
    from ctglip_training.pairs.spot_check import write_sheet
    from ctglip_training.pairs.table import read_pairs, write_failures, write_pairs

    columns = ReportColumns(
        options.study_column, tuple(options.report_column), options.split_column, options.patient_column
    )
    reports = read_reports(options.reports, columns)
    lines = []
    if options.engine == "llm":
        engine = _language_model(options)
        outcome = write_pairs(reports, engine, options.out, _progress, options.workers)
        used = engine.usage
        lines.append(
            f"{used.asked} questions ({used.repairs} repairs), {used.from_cache} answers from the cache, "
            f"{used.prompt_tokens} + {used.completion_tokens} tokens, cost {used.cost(engine.prices):.2f}"
        )
    else:
        outcome = write_pairs(reports, RuleEngine(), options.out, _progress)
    lines.insert(0, f"{outcome.studies} reports, {outcome.pairs} pairs, {outcome.abnormal} of them abnormal")
    listed = options.out.with_name(f"{options.out.stem}-failed.csv")
    listed.unlink(missing_ok=True)  # of an earlier run
    if outcome.failed:
        write_failures(outcome.failed, listed)
        lines.append(f"{len(outcome.failed)} reports could not be read and are left out: {listed}")
    if options.spot_check:
        count = write_sheet(read_pairs(options.out), options.spot_check, options.spot_check_count)
        lines.append(f"{count} pairs to be judged by a person: {options.spot_check}")
    sys.stdout.write("\n".join(lines) + "\n")


def _language_model(options: argparse.Namespace) -> LanguageModelEngine:
    from ctglip_training.pairs.answer_cache import AnswerCache
    from ctglip_training.pairs.chat import ChatClient, ChatConfig
    from ctglip_training.pairs.llm import LanguageModelEngine, Prices
    from ctglip_training.pairs.prompt import VERSION

    config = ChatConfig(
        url=options.endpoint,
        model=options.model,
        key=os.environ.get(options.key_variable, ""),
        timeout_s=options.timeout,
        json_mode=not options.no_json_mode,
    )
    folder = options.cache or options.out.with_name(f"{options.out.stem}-answers")
    prices = Prices(options.price[0], options.price[1], options.max_cost)
    return LanguageModelEngine(ChatClient(config), AnswerCache(folder, config.model, VERSION), prices)


def _dictionary(options: argparse.Namespace) -> None:
    from ctglip_training.pairs.dictionary import build_dictionary, training_rows, write_dictionary
    from ctglip_training.pairs.table import read_pairs

    rows = training_rows(read_pairs(options.pairs), options.only_train)
    entries = build_dictionary(rows, options.size, options.seed)
    write_dictionary(entries, rows, options.out)
    kinds = len({(entry.group, entry.finding) for entry in entries})
    sys.stdout.write(f"{len(entries)} texts about {kinds} pairs of organ and finding: {options.out}\n")


def _measure(options: argparse.Namespace) -> None:
    from ctglip_training.pairs.measure import as_json, measure_files, summary
    from ctglip_training.pairs.rules import RuleEngine

    measures = measure_files(options.reports, options.organ_sentences, options.part, RuleEngine())
    sys.stdout.write((as_json(measures) if options.json else summary(measures)) + "\n")


def _progress(what: str, done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        sys.stderr.write(f"\r{what}: {done} of {total}" + ("\n" if done == total else ""))
        sys.stderr.flush()
