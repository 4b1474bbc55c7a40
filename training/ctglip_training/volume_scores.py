"""A model's score of every finding of a published protocol for every volume, and these scores judged by it.

A volume's score is the highest among its organs that the finding can live in; a volume without such an organ has none,
which the protocols count as the lowest. Guard: test_volume_scores.py.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ctglip_training.evaluate import PatientEmbeddings
from ctglip_training.evaluation.paired import PairRules, read_pair
from ctglip_training.evaluation.protocols import CT_RATE_FINDINGS, protocol_named
from ctglip_training.evaluation.results_folder import Outcome, summary_line, write_results
from ctglip_training.evaluation.scoring import ScoreRules, score
from ctglip_training.hold_out import OpenRun
from ctglip_training.store import PoolEntry
from ctglip_training.store_split import SplitQuestion, refuse_trained, split_entries
from CTGLIPLib.abnormalities import Abnormality, abnormality_named
from CTGLIPLib.files import whole_file
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.similarity import finding_score

PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class Published:
    """By what the scores are judged.

    Attributes:
        protocol: name in `protocols.PROTOCOLS`.
        labels: the data set's own label file.
        mapping: of Rad-ChestCT's labels.
    """

    protocol: str
    labels: Path
    mapping: str = "standard"


def score_split(
    run: OpenRun, question: SplitQuestion, published: Published, out: Path, progress: ProgressCallback | None = None
) -> str:
    """Write every volume's scores and their results into `out`, and return the headline.

    Raises:
        ConfigError: if the split is empty, or the run was trained on one of its patients.
        InputError: if a study or the label file is broken, or the volumes' names are not the label file's.
    """
    protocol = protocol_named(published.protocol)
    entries = split_entries(question.store, question.split)
    refuse_trained(run, entries, question.split)
    findings = {name: abnormality_named(name.replace("_", " ")) for name in protocol.findings or CT_RATE_FINDINGS}
    rows: dict[str, dict[str, float | None]] = {}
    for done, entry in enumerate(entries):
        report(progress, "scoring volumes", done, len(entries))
        rows[volume_name(entry)] = volume_scores(run, run.embed(entry), findings)
    report(progress, "scoring volumes", len(entries), len(entries))
    predictions = out / PREDICTIONS
    _write(predictions, next(filter(None, protocol.volume_columns)), rows)
    cases = read_pair(predictions, published.labels, protocol, PairRules("probability", True, None, published.mapping))
    judged = score(cases, ScoreRules("probability", protocol.rules, protocol.subsets), None, progress)
    inputs = {"predictions": PREDICTIONS, "labels": published.labels.name, "model": run.config.name}
    words = (
        "A volume's score is the highest among its organs that the finding can live in, by this project's own prompts: "
        "neither the prompts nor the organs are those of the published systems.",
    )
    outcome = Outcome(protocol, cases, judged, inputs, {}, words)
    write_results(outcome, out)
    return summary_line(outcome, out)


def volume_scores(
    run: OpenRun, seen: PatientEmbeddings, findings: Mapping[str, Abnormality]
) -> dict[str, float | None]:
    """The highest probability of each finding among the organs that it can live in; None where there is none.

    Raises:
        InputError: if a similarity is no number.
    """
    scores: dict[str, float | None] = {}
    for name, finding in findings.items():
        organs = [organ for organ in seen.organs if organ in finding.organs and organ in run.trained]
        own = [finding_score(run.evaluator.margin(seen, finding.id, organ), run.score, finding.id) for organ in organs]
        scores[name] = max(own, default=None)
    return scores


def volume_name(entry: PoolEntry) -> str:
    """The data set's own name of a study, or else its folder's."""
    return entry.study.origin.study or entry.path.name


def _write(path: Path, key: str, rows: Mapping[str, Mapping[str, float | None]]) -> None:
    """A row a volume, a column a finding that some volume has a score of; empty where a volume has none."""
    findings = [name for name in next(iter(rows.values())) if any(row[name] is not None for row in rows.values())]
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([key, *findings])
        table.writerows([name, *(row[finding] for finding in findings)] for name, row in rows.items())
