"""The folder that scores are written to: JSON, CSV, Markdown and pictures.

`volumes.json` alone names volumes: those of one table that the other lacks. Guard: test_results_folder.py.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path

from ctglip_training.evaluation.intervals import Estimate
from ctglip_training.evaluation.paired import PairedCases
from ctglip_training.evaluation.protocols import Protocol
from ctglip_training.evaluation.published import Published, published_beside
from ctglip_training.evaluation.scoring import EQUAL, Scores
from CTGLIPLib.files import whole_file

SCORES_JSON, FINDINGS_CSV, SUMMARY, VOLUMES_JSON = "scores.json", "findings.csv", "summary.md", "volumes.json"
PICTURES = ("auc.png", "roc.png", "reliability.png")
CALL_COLUMNS = ("ppv", "sensitivity", "specificity", "f1", "accuracy", "balanced_accuracy", "two_class_f1")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that the folder tells.

    Attributes:
        protocol: how was compared.
        cases: what was scored.
        scores: the figures.
        inputs: the files, by what they are.
        beside: further figures of ours that published ones are shown beside, by metric, and as what.
        told: further notes.
    """

    protocol: Protocol
    cases: PairedCases
    scores: Scores
    inputs: Mapping[str, str]
    beside: Mapping[str, tuple[Estimate, str]] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know about these cases, in words."""
        cases, scores = self.cases, self.scores
        told = list(self.told)
        if cases.only_predicted or cases.only_labelled:
            told.append(
                f"Not scored, listed in {VOLUMES_JSON}: volumes with scores but no labels: "
                f"{len(cases.only_predicted)}, with labels but no scores: {len(cases.only_labelled)}."
            )
        if cases.left_out:
            told.append(f"Not scored, missing from a table: {', '.join(cases.left_out)}.")
        if cases.filled.any():
            told.append(f"{int(cases.filled.sum())} missing scores count as the lowest.")
        single = [f.name for f in scores.findings if not f.positives or not f.negatives]
        if single:
            told.append(f"One class only, so no AUC and not in its mean: {', '.join(single)}.")
        few = [f.name for f in scores.findings if 0 < min(f.positives, f.negatives) < 10]
        if few:
            told.append(f"Fewer than 10 positives or negatives, so little is known of: {', '.join(few)}.")
        ece = scores.averages["macro"].get("ece")
        if ece is not None and ece.value < ece.low:
            told.append("The calibration error grows in resamplings of few cases: its interval lies above it.")
        return told


def write_results(outcome: Outcome, folder: Path) -> None:
    """Write the folder: tables and pictures, each file whole.

    Raises:
        OutputError: if a file cannot be written.
        DependencyError: if matplotlib is missing.
    """
    _write_json(as_json(outcome), folder / SCORES_JSON)
    cases = outcome.cases
    _write_json({"only_predicted": cases.only_predicted, "only_labelled": cases.only_labelled}, folder / VOLUMES_JSON)
    _write_csv(outcome.scores, folder / FINDINGS_CSV)
    with whole_file(folder / SUMMARY) as temporary:
        temporary.write_text(markdown(outcome), encoding="utf-8")
    _draw(outcome, folder)


def as_json(outcome: Outcome) -> dict[str, object]:
    """All figures as plain values."""
    cases, scores, protocol = outcome.cases, outcome.scores, outcome.protocol
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "notes": protocol.notes,
        "warnings": outcome.warnings,
        "inputs": dict(outcome.inputs),
        "volumes": scores.volumes,
        "patients": scores.patients,
        "only_predicted": len(cases.only_predicted),
        "only_labelled": len(cases.only_labelled),
        "findings_left_out": cases.left_out,
        "resamplings": scores.repeats,
        "seed": scores.seed,
        "rules": scores.rules,
        "findings": scores.findings,
        "averages": scores.averages,
        "published_percent": published_beside(protocol.name, finding=None),
    }


def plain(value: object) -> object:
    """The same in values that JSON has: None for NaN and infinity, lists for tuples, objects for dataclasses."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(outcome: Outcome) -> str:
    """The summary: averages, findings, published figures, notes."""
    scores, protocol = outcome.scores, outcome.protocol
    header = (
        f"# Scores: {protocol.title}\n\n"
        f"{scores.volumes} {protocol.unit} of {scores.patients} patients, {len(scores.findings)} findings. Figures "
        f"with their 95 % interval over patients ({scores.repeats} resamplings, seed {scores.seed}; thresholds are "
        "chosen once and kept in all of them). Research only, not for diagnosis.\n"
    )
    parts = [header, _averages_table(scores), _findings_table(scores), _published_tables(outcome)]
    notes = [*outcome.warnings, *protocol.notes]
    parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join(part for part in parts if part)


def _averages_table(scores: Scores) -> str:
    lines = ["| average | AUC | ECE | Brier |", "|---|---|---|---|"]
    for kind, figures in scores.averages.items():
        lines.append(_row(kind, *(_words(figures.get(name)) for name in ("auc", "ece", "brier"))))
    lines += ["", "| average | threshold | chosen on | PPV | sensitivity | specificity | F1 | accuracy | "
              "balanced accuracy | two-class F1 | CRG |", "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for rule, chosen_on in scores.rules.items():
        for kind, figures in scores.averages.items():
            cells = (_words(figures.get(f"{rule}: {name}")) for name in (*CALL_COLUMNS, "crg"))
            lines.append(_row(kind, rule, chosen_on, *cells))
    return "## Averages\n\n" + "\n".join(lines) + "\n"


def _findings_table(scores: Scores) -> str:
    rule = next(iter(scores.rules))
    lines = [
        f"| finding | present | absent | AUC | ECE | PPV ({rule}) | sensitivity | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for finding in scores.findings:
        names = ("auc", "ece", *(f"{rule}: {name}" for name in ("ppv", "sensitivity", "f1")))
        cells = (_words(finding.figures.get(name)) for name in names)
        lines.append(_row(finding.name, finding.positives, finding.negatives, *cells))
    return f"## Findings\n\n{FINDINGS_CSV} has every threshold rule.\n\n" + "\n".join(lines) + "\n"


def _published_tables(outcome: Outcome) -> str:
    """Published figures beside ours, each with the protocol that it was measured by."""
    means = published_beside(outcome.protocol.name)
    if not means:
        return ""
    lines = ["| system | metric | published, % | ours, % | threshold and findings of ours | their protocol | source |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for figure in means:
        rule, ours = _beside(outcome, figure)
        system = f"{figure.system} (supervised)" if figure.supervised else figure.system
        lines.append(_row(system, figure.metric, f"{figure.percent:g}", ours, rule, figure.protocol, figure.source))
    own = {finding.name: finding for finding in outcome.scores.findings}
    single = [f for f in published_beside(outcome.protocol.name, "auc", None) if f.finding in own]
    if single:
        lines += ["", "| finding | system | published AUC, % | ours, % | source |", "|---|---|---|---|---|"]
        for figure in single:
            ours = _percent(own[figure.finding].figures["auc"])
            lines.append(_row(figure.finding, figure.system, f"{figure.percent:g}", ours, figure.source))
    return (
        "## Published figures\n\nOthers' figures are comparable only where their protocol, findings and volumes are "
        "these.\n\n" + "\n".join(lines) + "\n"
    )


def _beside(outcome: Outcome, figure: Published) -> tuple[str, str]:
    """Our threshold rule and figure that belong beside a published one, over the same findings where we know them."""
    scores = outcome.scores
    if figure.metric in outcome.beside:
        found, over = outcome.beside[figure.metric]
        return over, _percent(found)
    kind = "micro" if figure.metric == "crg" else f"macro, {figure.subset}" if figure.subset else "macro"
    ours = scores.averages.get(kind, scores.averages["macro"])
    over = figure.subset if kind in scores.averages and figure.subset else f"all {len(scores.findings)}"
    if figure.metric == "auc":
        return f"none; {over}", _percent(ours["auc"])
    rule = next((rule for rule, chosen_on in scores.rules.items() if chosen_on == "the test set itself"), EQUAL)
    return f"{rule}; {over}", _percent(ours.get(f"{rule}: {figure.metric}"))


def _write_json(value: object, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(plain(value), indent=1, allow_nan=False), encoding="utf-8")


def _write_csv(scores: Scores, path: Path) -> None:
    """A row for each finding, rule and figure."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["finding", "present", "absent", "rule", "threshold", "figure", "value", "low", "high"])
        for finding in scores.findings:
            for name, found in finding.figures.items():
                rule, _, figure = name.rpartition(": ")
                threshold = finding.thresholds.get(rule, math.nan)
                table.writerow(
                    [finding.name, finding.positives, finding.negatives, rule, _cell(threshold), figure]
                    + [_cell(value) for value in (found.value, found.low, found.high)]
                )


def _draw(outcome: Outcome, folder: Path) -> None:
    from ctglip_training.evaluation.plots import auc_figure, reliability_figure, roc_figure
    from CTGLIPLib.picture_frame import save_picture

    figures = [auc_figure(outcome.scores), roc_figure(outcome.cases, outcome.scores)]
    if "ece" in outcome.scores.averages["macro"]:
        figures.append(reliability_figure(outcome.cases, outcome.scores))
    for name, figure in zip(PICTURES, figures, strict=False):
        save_picture(figure, folder / name)
    for name in PICTURES[len(figures) :]:  # of an earlier run: nothing old beside the new
        (folder / name).unlink(missing_ok=True)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _words(found: Estimate | None) -> str:
    return "-" if found is None else str(found)


def _percent(found: Estimate | None) -> str:
    if found is None or math.isnan(found.value):
        return "-"
    span = "" if math.isnan(found.low) else f" ({100 * found.low:.1f}-{100 * found.high:.1f})"
    return f"{100 * found.value:.1f}{span}"


def _cell(value: float) -> str | float:
    return "" if math.isnan(value) else value


def summary_line(outcome: Outcome, folder: Path) -> str:
    """What the command prints."""
    mean = outcome.scores.averages["macro"]["auc"]
    measured = sum(bool(finding.positives and finding.negatives) for finding in outcome.scores.findings)
    lines: Sequence[str] = [
        f"mean AUC {mean} over {measured} findings, {outcome.scores.volumes} volumes of "
        f"{outcome.scores.patients} patients ({outcome.protocol.name}); written to {folder}",
        *outcome.warnings,
    ]
    return "\n".join(lines)
