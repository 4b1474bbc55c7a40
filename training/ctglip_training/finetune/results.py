"""The folder that a fine-tuning's results are written to: JSON, CSV, Markdown and the curves of training.

Guard: test_finetune_table.py.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ctglip_training.evaluation.intervals import Estimate
from ctglip_training.evaluation.published import CANCERS, published_beside
from ctglip_training.evaluation.results_folder import plain
from ctglip_training.finetune.config import FinetuneConfig
from ctglip_training.finetune.measure import TumorFigures
from ctglip_training.finetune.table import MEAN, Table
from ctglip_training.metrics_log import METRICS as METRICS_FILE
from CTGLIPLib.files import whole_file, write_whole_text

RESULTS_JSON, CASES_CSV, SUMMARY, CURVES = "results.json", "cases.csv", "summary.md", "curves.png"
PROTOCOL = "ct-glip-fine-tuning"
TITLES = {
    "dice": "Tumour segmentation: DSC, %",
    "auc": "Tumour detection by predicted volume: AUC, %",
    "hd95_mm": "Surface distance: HD95, mm",
    "nsd": "Surface agreement within 2 mm: NSD, %",
}
SMOOTHED_STEPS = 10


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that the folder tells.

    Attributes:
        config: the fine-tuning.
        sources: initialisation -> what it started from, in words.
        folds: how many trainings of each.
        found: every tumour of every left-out case.
        table: the figures.
        runs: initialisation -> folders of its trainings.
    """

    config: FinetuneConfig
    sources: Mapping[str, str]
    folds: int
    found: Sequence[TumorFigures]
    table: Table
    runs: Mapping[str, Sequence[Path]]


def write_results(results: Results, folder: Path) -> None:
    """Write the folder, each file whole.

    Raises:
        OutputError: if a file cannot be written.
    """
    write_whole_text(folder / RESULTS_JSON, json.dumps(_as_json(results), indent=1, allow_nan=False) + "\n")
    write_whole_text(folder / SUMMARY, markdown(results))
    _write_cases(results.found, folder / CASES_CSV)
    _draw_curves(results.runs, folder / CURVES)


def markdown(results: Results) -> str:
    """The summary: Table 2, who is ahead, the published table, notes."""
    table, schedule = results.table, results.config.schedule
    head = (
        f"# Fine-tuning {results.config.name}\n\n{table.cases} left-out cases of {table.patients} patients, "
        f"{results.folds} training(s) of {schedule.steps} steps for each initialisation, "
        f"batch {results.config.patch.batch}, crops of {results.config.patch.patch_voxels} voxels at "
        f"{results.config.patch.spacing_mm:g} mm. Intervals: 95 % over patients. Research only, not for diagnosis.\n"
    )
    parts = [head, *(_metric_table(table, metric) for metric in TITLES), _ahead(table), _published(), _notes(results)]
    return "\n".join(part for part in parts if part)


def _as_json(results: Results) -> dict[str, object]:
    table = results.table
    value = {
        "config": asdict(results.config),
        "initialisations": dict(results.sources),
        "folds": results.folds,
        "patients": table.patients,
        "cases": table.cases,
        "with_tumor": table.with_tumor,
        "rows": [asdict(row) for row in table.rows],
        "ahead_in_dice": [{"of": a, "over": b, "by": by} for (a, b), by in table.ahead.items()],
        "published_percent": published_beside(PROTOCOL, finding=None),
    }
    ready = plain(value)
    assert isinstance(ready, dict)
    return ready


def _metric_table(table: Table, metric: str) -> str:
    if all(math.isnan(row.figures[metric][MEAN].value) for row in table.rows):
        return ""
    columns = (*table.tumors, MEAN) if len(table.tumors) > 1 else table.tumors
    scale = 1 if metric == "hd95_mm" else 100
    lines = [_line("initialisation", *columns), _line(*["---"] * (len(columns) + 1))]
    lines += [_line(row.start, *(_words(row.figures[metric][name], scale) for name in columns)) for row in table.rows]
    return f"## {TITLES[metric]}\n\n" + "\n".join(lines) + "\n"


def _ahead(table: Table) -> str:
    lines = [
        f"- {a} over {b}: {_words(by[MEAN], 100)} points of DSC{_verdict(by[MEAN])}"
        for (a, b), by in table.ahead.items()
    ]
    return "## Differences, case by case\n\n" + "\n".join(lines) + "\n" if lines else ""


def _verdict(by: Estimate) -> str:
    if math.isnan(by.low) or by.low <= 0 <= by.high:
        return ", interval holds 0"
    return ", ahead" if by.low > 0 else ", behind"


def _published() -> str:
    figures = published_beside(PROTOCOL, finding=None)
    lines = []
    for metric in ("dsc", "auc"):
        rows = [figure for figure in figures if figure.metric == metric]
        by_system: dict[str, dict[str, float]] = {}
        for figure in rows:
            by_system.setdefault(figure.system, {})[figure.finding] = figure.percent
        lines += [
            f"{metric.upper()}, %:\n",
            _line("system", *(name or MEAN for name in CANCERS)),
            _line(*["---"] * (len(CANCERS) + 1)),
            *(_line(system, *(f"{row[name]:.2f}" for name in CANCERS)) for system, row in by_system.items()),
            "",
        ]
    return f"## Published (Table 2 of the paper: {figures[0].protocol})\n\n" + "\n".join(lines)


def _notes(results: Results) -> str:
    table = results.table
    notes = [f"{row.start}: {row.missed} tumours missed, {row.invented} invented" for row in table.rows]
    notes += [f"{name} started from {source}" for name, source in results.sources.items() if name != source]
    notes.append("DSC, HD95 and NSD are over cases with the tumour: " + ", ".join(
        f"{name} {count}" for name, count in table.with_tumor.items()))  # fmt: skip
    if table.patients < 20:
        notes.append(f"{table.patients} patients are few: a percentile interval over so few is too narrow")
    notes.append("the published figures are of other patients and tumours: a look at the order of size, no comparison")
    return "## Notes\n\n" + "\n".join(f"- {note}." for note in notes) + "\n"


def _write_cases(found: Sequence[TumorFigures], path: Path) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        names = ("dice", "hd95_mm", "nsd", "predicted_mm3", "true_mm3")
        writer.writerow(["initialisation", "fold", "case", "patient", "tumor", *names])
        for row in found:
            values = [getattr(row.figures, name) for name in names]
            shown = [round(value, 4) if math.isfinite(value) else "" for value in values]
            writer.writerow([row.start, row.fold, row.case, row.patient, row.tumor, *shown])


def _draw_curves(runs: Mapping[str, Sequence[Path]], path: Path) -> None:
    """The training loss of each initialisation, mean over its trainings, averaged over ten steps."""
    from matplotlib.figure import Figure

    from CTGLIPLib.picture_frame import save_picture

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    panel = figure.subplots()
    for name, folders in runs.items():
        losses = [training_losses(folder) for folder in folders]
        length = min(map(len, losses), default=0)
        if length:
            mean = np.mean([one[:length] for one in losses], axis=0)
            width = min(SMOOTHED_STEPS, length)
            smooth = np.convolve(mean, np.ones(width) / width, mode="valid")
            panel.plot(np.arange(width, length + 1), smooth, label=name, linewidth=1.4)
    panel.set(xlabel="step", ylabel="training loss")
    panel.legend(frameon=False)
    save_picture(figure, path)


def training_losses(run: Path) -> list[float]:
    """The loss of every step of a training, from its metrics.jsonl."""
    path = run / METRICS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [float(json.loads(line)["loss"]) for line in lines]


def _words(found: Estimate, scale: float) -> str:
    if math.isnan(found.value):
        return "-"
    span = "" if math.isnan(found.low) else f" ({scale * found.low:.1f} to {scale * found.high:.1f})"
    return f"{scale * found.value:.1f}{span}"


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"
