"""The results folder of `ctglip-train evaluate`: organs and findings of patients that a run never saw.

`scores.json`, `findings.csv` and the findings' pictures are those of `results_folder`. Guard: test_evaluate_folder.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctglip_training.cases import CASES, write_cases
from ctglip_training.evaluate import FindingCase
from ctglip_training.evaluation.asked import asked_cases, measurable
from ctglip_training.evaluation.intervals import REPEATS, Estimate, estimate
from ctglip_training.evaluation.naming import OrganFigures, confusion, organ_figures
from ctglip_training.evaluation.protocols import Protocol
from ctglip_training.evaluation.published import SLIPS
from ctglip_training.evaluation.results_folder import SUMMARY, Outcome, markdown, plain, write_results
from ctglip_training.evaluation.scoring import ScoreRules, score
from ctglip_training.evaluation.zero_shot import Answers, zero_shot_values
from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.files import whole_file, write_whole_text
from CTGLIPLib.progress import ProgressCallback

ORGANS_CSV, ORGANS_JSON, CONFUSION_CSV, CONFUSION_PNG = "organs.csv", "organs.json", "confusion.csv", "confusion.png"

ZERO_SHOT = Protocol(
    "ct-glip",
    "zero-shot findings, organ by organ (CT-GLIP's protocol)",
    None,
    (),
    None,
    ignores_missing_labels=True,
    lowest_if_missing=False,
    rules=(),
    notes=(
        "A case is one organ of one patient asked for one finding; its margin is the mean similarity with the "
        "finding's prompts less that with the normal organ's. equal: the larger similarity wins, as in the paper.",
    ),
    unit="organs",
)
"""What `ctglip-train evaluate` asks; not a protocol of tables made elsewhere."""


@dataclass(frozen=True)
class Evaluation:
    """What a run said, and what a reader has to know about it.

    Attributes:
        title: what was evaluated.
        answers: of each held-out subject, or of the split.
        score: makes probabilities of margins; never fitted to these cases.
        separate: cases of other patients that thresholds are chosen on; empty for none.
        notes: about patients, truths, thresholds, scores.
        inputs: files and folders, by what they are.
    """

    title: str
    answers: Mapping[str, Answers]
    score: ScoreConfig
    separate: Mapping[str, Sequence[FindingCase]]
    notes: tuple[str, ...]
    inputs: Mapping[str, str]


def write_evaluation(
    evaluation: Evaluation, folder: Path, repeats: int = REPEATS, progress: ProgressCallback | None = None
) -> str:
    """Write the folder and return its headline.

    Raises:
        InputError: if nothing was asked, or the separate cases are of the same patients.
        OutputError: if a file cannot be written.
    """
    figures = organ_figures(evaluation.answers, repeats)
    values = zero_shot_values(evaluation.answers, None, repeats)
    top1, top5 = estimate(values["top1"]), estimate(values["top5"])
    outcome = _outcome(evaluation, top1, repeats, progress) if measurable(evaluation.answers) else None
    if outcome is not None:
        write_results(outcome, folder)
    _write_organs(figures, (top1, top5), folder)
    write_cases({name: own.findings for name, own in evaluation.answers.items()}, folder / CASES)
    findings = _unmeasured(evaluation) if outcome is None else markdown(outcome)
    write_whole_text(folder / SUMMARY, _organs_markdown(evaluation.title, figures, top1, top5) + "\n" + findings)
    mean = "no finding could be measured" if outcome is None else f"mean AUC {outcome.scores.averages['macro']['auc']}"
    return f"organ top-1 {top1}, top-5 {top5} of {sum(f.cases for f in figures)} organs; {mean}; written to {folder}"


def _outcome(
    evaluation: Evaluation, top1: Estimate, repeats: int, progress: ProgressCallback | None
) -> Outcome:  # fmt: skip
    cases = asked_cases(evaluation.answers, evaluation.score)
    others = {name: Answers((), tuple(own)) for name, own in evaluation.separate.items() if own}
    separate = asked_cases(others) if others else None
    scores = score(cases, ScoreRules("margin", (), {}, repeats), separate, progress)
    beside = {"top1": (top1, "104 names")}
    slips = tuple(f"Slip in the CT-GLIP paper: {where}: {what}." for where, what in SLIPS.items())
    return Outcome(ZERO_SHOT, cases, scores, evaluation.inputs, beside, (*evaluation.notes, *slips))


def _unmeasured(evaluation: Evaluation) -> str:
    notes = "\n".join(f"- {note}" for note in evaluation.notes)
    return (
        "## Findings\n\nNo finding is present in one organ asked and absent in another, so none can be measured.\n\n"
        f"## Notes\n\n{notes}\n"
    )


def _organs_markdown(title: str, figures: Sequence[OrganFigures], top1: Estimate, top5: Estimate) -> str:
    worst = sorted(figures, key=lambda figure: (figure.top1.value, figure.organ))[:10]
    lines = ["| organ | cases | top-1 | top-5 | taken for |", "|---|---|---|---|---|"]
    for figure in worst:
        wrong = ", ".join(f"{name} ({count})" for name, count in figure.taken_for if name != figure.organ) or "-"
        lines.append(f"| {figure.organ} | {figure.cases} | {figure.top1} | {figure.top5} | {wrong} |")
    return (
        f"# {title}\n\n## Organs\n\nTop-1 {top1}, top-5 {top5}, of {sum(f.cases for f in figures)} organs over 104 "
        f"names. The ten worst; {ORGANS_CSV} has all, {CONFUSION_CSV} and {CONFUSION_PNG} who was taken for whom.\n\n"
        + "\n".join(lines) + "\n"
    )  # fmt: skip


def _write_organs(figures: tuple[OrganFigures, ...], overall: tuple[Estimate, Estimate], folder: Path) -> None:
    facts = {"top1": overall[0], "top5": overall[1], "organs": figures}
    write_whole_text(folder / ORGANS_JSON, json.dumps(plain(facts), indent=1, allow_nan=False))
    header = ["organ", "cases", "top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high"]
    rows = [[f.organ, f.cases, f.top1.value, f.top1.low, f.top1.high, f.top5.value, f.top5.low, f.top5.high]
            for f in figures]  # fmt: skip
    _write_csv(folder / ORGANS_CSV, header, rows)
    named = [[f.organ, name, count] for f in figures for name, count in f.taken_for]
    _write_csv(folder / CONFUSION_CSV, ["organ", "named", "cases"], named)
    if figures:
        from ctglip_training.evaluation.plots import confusion_figure
        from CTGLIPLib.picture_frame import save_picture

        save_picture(confusion_figure(*confusion(figures)), folder / CONFUSION_PNG)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        table.writerows(rows)
