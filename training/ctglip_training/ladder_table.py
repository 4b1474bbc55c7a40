"""Table 1: the rows' figures over held-out patients, each beside the row before and the paper's, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctglip_training.config import DataConfig
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate
from ctglip_training.evaluation.published import SLIPS, published_beside
from ctglip_training.evaluation.zero_shot import Answers, difference, separate_thresholds, zero_shot_values
from ctglip_training.hold_out import held_out_answers, open_run, trained_organs
from ctglip_training.state import read_run_config
from CTGLIPLib.errors import ConfigError
from CTGLIPLib.progress import ProgressCallback

COLUMNS = {"top1": "organ top-1", "ppv": "PPV", "sensitivity": "sensitivity", "f1": "F1", "auc": "AUC"}
ENCODERS = ("nnUNet", "MiT")


@dataclass(frozen=True, eq=False)
class TableRow:
    """One row's figures.

    Attributes:
        title: of the row.
        paper: the published row beside it, without its encoder; "" for none.
        values: at equal similarity, see `zero_shot_values`.
        separate: at thresholds of the other subjects; empty where there is one subject alone.
    """

    title: str
    paper: str
    values: Mapping[str, np.ndarray]
    separate: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Table:
    """All rows over the same patients.

    Attributes:
        rows: in the order of the ladder.
        patients: of each held-out subject.
        repeats: resamplings of the intervals.
    """

    rows: tuple[TableRow, ...]
    patients: Mapping[str, int]
    repeats: int


def gather_answers(
    runs: Mapping[str, Sequence[Path]], patients: int, text_folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, dict[str, Answers]]:  # fmt: skip
    """What the runs of each row say of the subjects that they held out, by row and subject.

    Raises:
        CheckpointError: if a folder holds no finished run.
        ConfigError: if a run held nothing out, two runs of a row held out the same subject, or rows differ in it.
    """
    known: dict[DataConfig, frozenset[str]] = {}
    answers: dict[str, dict[str, Answers]] = {}
    for row, folders in runs.items():
        answers[row] = {}
        for folder in folders:
            config = read_run_config(folder)
            if config.data not in known and config.data.hold_out:
                known[config.data] = frozenset(trained_organs(config))
            found = held_out_answers(open_run(folder, text_folder, known.get(config.data)), patients, progress)
            twice = sorted(answers[row].keys() & found.keys())
            if twice:
                msg = f"Two runs of the row {row} held out {', '.join(twice)}. Give each fold's run once."
                raise ConfigError(msg)
            answers[row] |= found
    _check_alike(answers)
    return answers


def make_table(
    answers: Mapping[str, Mapping[str, Answers]],
    titles: Mapping[str, tuple[str, str]],
    repeats: int = REPEATS,
    seed: int = 0,
) -> Table:
    """The figures of every row.

    Args:
        answers: by row and subject, the same patients in each row.
        titles: title and published row of each row that has any.
        repeats: resamplings of the intervals.
        seed: of the resampling.
    """
    rows = []
    for name, own in answers.items():
        title, paper = titles.get(name, (name, ""))
        separate = zero_shot_values(own, separate_thresholds(own), repeats, seed) if len(own) > 1 else {}
        rows.append(TableRow(title, paper, zero_shot_values(own, None, repeats, seed), separate))
    first = next(iter(answers.values()))
    return Table(tuple(rows), {subject: len(own.patients) for subject, own in first.items()}, repeats)


def table_markdown(table: Table) -> str:
    """The table as the paper prints it, in percent, with intervals, differences and the paper's own figures."""
    counts = ", ".join(f"{count} of {subject}" for subject, count in table.patients.items())
    parts = [
        f"# Table 1: {sum(table.patients.values())} held-out patients ({counts})\n\n"
        f"Percent with 95 % intervals over patients ({table.repeats} resamplings). Findings are averaged. Patients "
        "that were made from one real subject share its anatomy: the intervals say how surely rows differ on it, not "
        "how the model does on other people. Research only, not for diagnosis.\n",
        "## Equal similarity, as the paper\n\n" + _rows([(row.title, row.values) for row in table.rows]),
        "## Difference to the row before\n\n" + _differences([(row.title, row.values) for row in table.rows]),
    ]
    if all(row.separate for row in table.rows):
        parts.append(
            "## Thresholds of best F1 on the other held-out subjects\n\n"
            + _rows([(row.title, row.separate) for row in table.rows])
        )
    parts.append(_published(table))
    return "\n".join(parts)


def table_json(table: Table) -> dict[str, object]:
    """All figures as shares of 1."""
    rows = []
    for number, row in enumerate(table.rows):
        before = table.rows[number - 1].values if number else {}
        rows.append(
            {
                "title": row.title,
                "equal": {name: estimate(values) for name, values in row.values.items()},
                "separate": {name: estimate(values) for name, values in row.separate.items()},
                "difference": {name: difference(row.values[name], values) for name, values in before.items()},
            }
        )
    published = [figure for figure in published_beside("ct-glip")]
    return {
        "rows": rows, "patients": dict(table.patients), "resamplings": table.repeats,
        "published_percent": published, "published_slips": SLIPS,
    }  # fmt: skip


def _check_alike(answers: Mapping[str, Mapping[str, Answers]]) -> None:
    asked = {
        row: {subject: (own.patients, [(c.patient, c.abnormality, c.organ) for c in own.findings])
              for subject, own in by_subject.items()}
        for row, by_subject in answers.items()
    }  # fmt: skip
    first, *others = asked
    for other in others:
        if asked[other].keys() != asked[first].keys():
            msg = (
                f"The rows {first} and {other} held out different subjects ({', '.join(sorted(asked[first]))}; "
                f"{', '.join(sorted(asked[other]))}), so they cannot be compared. Give each row a run for each fold."
            )
            raise ConfigError(msg)
        if asked[other] != asked[first]:
            msg = (
                f"The rows {first} and {other} were not asked the same of the same patients. Evaluate runs of one pool."
            )
            raise ConfigError(msg)


def _rows(rows: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> str:
    body = [_line(title, [_percent(estimate(values[name])) for name in COLUMNS]) for title, values in rows]
    return "\n".join([*_header("row"), *body]) + "\n"


def _differences(rows: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> str:
    body = [
        _line(f"{title} - {before}", [_percent(difference(values[name], old[name]), signed=True) for name in COLUMNS])
        for (before, old), (title, values) in zip(rows, rows[1:], strict=False)
    ]
    return "\n".join([*_header("rows"), *body]) + "\n"


def _published(table: Table) -> str:
    lines = []
    figures = published_beside("ct-glip")
    for row in table.rows:
        for encoder in ENCODERS if row.paper else ():
            system = f"{encoder} {row.paper}"
            own = {figure.metric: f"{figure.percent:.2f}" for figure in figures if figure.system == system}
            if own:
                lines.append(_line(f"{row.title}: {system}", [own.get(name, "-") for name in COLUMNS]))
    if not lines:
        return ""
    [protocol] = {figure.protocol for figure in figures}
    slips = "\n".join(f"- {where}: {what}" for where, what in SLIPS.items())
    return (
        "## The paper's Table 1, arXiv 2404.15272v4\n\nOther patients, findings and training data than ours: "
        f"{protocol}.\n\n" + "\n".join([*_header("row"), *lines]) + f"\n\nKnown slips:\n\n{slips}\n"
    )


def _header(first: str) -> list[str]:
    return [_line(first, list(COLUMNS.values())), "|---" * (len(COLUMNS) + 1) + "|"]


def _line(first: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([first.replace("|", "/"), *cells]) + " |"


def _percent(found: Estimate, *, signed: bool = False) -> str:
    if np.isnan(found.value):
        return "-"
    sign = "+" if signed else ""
    span = "" if np.isnan(found.low) else f" ({100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f})"
    return f"{100 * found.value:{sign}.1f}{span}"
