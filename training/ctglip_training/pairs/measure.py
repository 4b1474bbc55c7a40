"""How well an engine reads reports: CT-RATE's 18 labels, and the organ under which a sentence belongs.

The studies are divided by the hash of the patient's name: rules are written with a view of the development part, the
figures that count are of the test part, of which only counts leave this module. Guarded by
training/tests/test_pairs_measure.py.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ctglip_training.pairs.engine import OrganSentence, PairEngine
from ctglip_training.pairs.findings import CT_RATE_LABELS
from ctglip_training.pairs.sentences import split_sentences
from CTGLIPLib.errors import InputError

Part = Literal["development", "test"]
DEVELOPMENT_SHARE = 0.4
REFERENCE_ORGANS = ("lung", "heart", "esophagus", "aorta")
_TEMPLATE = re.compile(r"\b(?:lung|heart|esophagus|aorta) shows no \w+ abnormalities\b\.?", re.I)


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where nothing was there and nothing was found."""
        total = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / total if total else 1.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )


@dataclass(frozen=True)
class Routing:
    """How sentences were routed.

    Attributes:
        sentences: how many the reference has.
        reached: how many came to the organ under which the reference files them.
        exact: how many came to that organ, or those organs, and to no other of the four.
        elsewhere: how many times a sentence came to another of the four organs.
    """

    sentences: int = 0
    reached: int = 0
    exact: int = 0
    elsewhere: int = 0

    @property
    def accuracy(self) -> float:
        """Share of the sentences that came where they belong."""
        return self.reached / self.sentences if self.sentences else 1.0


def part_of(study: str) -> Part:
    """The part that a study belongs to; all studies of a patient ("train_12_a", "train_12_b") to the same."""
    patient = re.sub(r"_[a-z]+$", "", study)
    share = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    return "development" if share < DEVELOPMENT_SHARE else "test"


def labels_of(report: str, engine: PairEngine) -> set[str]:
    """CT-RATE's labels that the report gets: what some sentence has and does not deny, suspected or not."""
    present = {entry.finding for entry in engine(report) if not entry.normal}
    return {label for label, finding in CT_RATE_LABELS.items() if finding in present}


def measure_report(row: Mapping[str, str], engine: PairEngine) -> dict[str, Counts]:
    """Counts by label of one report, a row with the columns `report_text` and one for each label."""
    found = labels_of(row["report_text"], engine)
    counts = {}
    for label in CT_RATE_LABELS:
        true, said = float(row[label]) > 0, label in found
        counts[label] = Counts(int(true and said), int(said and not true), int(true and not said))
    return counts


def bootstrap_interval(reports: Sequence[Counts], resamples: int = 2000, seed: int = 1) -> tuple[float, float]:
    """The 95 % interval of the F1 over reports drawn again and again; (0, 1) where there is none."""
    if not reports:
        return 0.0, 1.0
    table = np.array([(c.true_positive, c.false_positive, c.false_negative) for c in reports])
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(table), (resamples, len(table)))
    sums = table[drawn].sum(axis=1)
    total = 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]
    low, high = np.percentile(2 * sums[:, 0] / np.maximum(1, total), [2.5, 97.5])
    return float(low), float(high)


def measure_routing(studies: Iterable[Mapping[str, str]], engine: PairEngine) -> Routing:
    """How the reference's sentences of one study each are routed; every sentence is read alone."""
    total = Routing()
    for study in studies:
        filed: dict[str, set[str]] = {}
        for organ in REFERENCE_ORGANS:
            for sentence in split_sentences(_TEMPLATE.sub(" ", study[organ])):
                filed.setdefault(sentence, set()).add(organ)
        for sentence, organs in filed.items():
            came_to = _groups(engine(sentence))
            total = Routing(
                total.sentences + 1,
                total.reached + (organs <= came_to),
                total.exact + (organs == came_to),
                total.elsewhere + len(came_to - organs),
            )
    return total


def _groups(entries: Sequence[OrganSentence]) -> set[str]:
    """Those of the reference's four organs that the entries speak of; the great vessels include the aorta."""
    found = {
        "aorta" if entry.group == "great vessels" and "aorta" in entry.organs else entry.group for entry in entries
    }
    return found.intersection(REFERENCE_ORGANS)


@dataclass(frozen=True)
class PairMeasures:
    """The figures of one part.

    Attributes:
        part: which one.
        reports: how many labelled reports it has.
        labels: counts by label.
        micro_f1_interval: 95 %, by drawing the reports again.
        routing: of the reference sentences; None where no reference was given.
    """

    part: Part
    reports: int
    labels: dict[str, Counts]
    micro_f1_interval: tuple[float, float]
    routing: Routing | None

    @property
    def micro_f1(self) -> float:
        """F1 over all labels together."""
        return sum(self.labels.values(), Counts()).f1

    @property
    def macro_f1(self) -> float:
        """Mean of the labels' F1."""
        return sum(counts.f1 for counts in self.labels.values()) / len(self.labels)


def measure_files(reports: Path, reference: Path | None, part: Part, engine: PairEngine) -> PairMeasures:
    """The figures of one part of a file of labelled reports, and of a file of sentences by organ.

    Args:
        reports: CSV with `AccessionNo`, `report_text` and CT-RATE's 18 labels.
        reference: JSON, study -> organ -> text; None to leave routing out.
        part: which studies.
        engine: what reads the reports.

    Raises:
        InputError: if a file cannot be read or lacks columns.
    """
    rows = [row for row in _labelled_reports(reports) if part_of(row["AccessionNo"]) == part]
    routing = None
    if reference is not None:
        studies = _reference(reference)
        routing = measure_routing([study for name, study in studies.items() if part_of(name) == part], engine)
    counts = [measure_report(row, engine) for row in rows]
    labels = {label: sum((report[label] for report in counts), Counts()) for label in CT_RATE_LABELS}
    interval = bootstrap_interval([sum(report.values(), Counts()) for report in counts])
    return PairMeasures(part, len(rows), labels, interval, routing)


def summary(measures: PairMeasures) -> str:
    """The figures as a Markdown table."""
    lines = [f"{measures.part} part, {measures.reports} reports", "", "| label | positive | precision | recall | F1 |"]
    lines.append("|---|---|---|---|---|")
    for label, counts in [*measures.labels.items(), ("all (micro)", sum(measures.labels.values(), Counts()))]:
        true, false, missed = counts.true_positive, counts.false_positive, counts.false_negative
        precision, recall = true / max(1, true + false), true / max(1, true + missed)
        lines.append(f"| {label} | {true + missed} | {precision:.3f} | {recall:.3f} | {counts.f1:.3f} |")
    lines.append(f"| mean of labels (macro) | | | | {measures.macro_f1:.3f} |")
    low, high = measures.micro_f1_interval
    lines += ["", f"Micro-F1 {measures.micro_f1:.3f}, 95 % interval {low:.3f} to {high:.3f}."]
    routing = measures.routing
    if routing is not None:
        lines += [
            f"Routing of {routing.sentences} sentences: {routing.accuracy:.3f} came to their organ, "
            f"{routing.exact / max(1, routing.sentences):.3f} to it alone, {routing.elsewhere} visits to another.",
        ]
    return "\n".join(lines)


def as_json(measures: PairMeasures) -> str:
    """The figures and all counts as JSON."""
    return json.dumps(
        {**asdict(measures), "micro_f1": round(measures.micro_f1, 4), "macro_f1": round(measures.macro_f1, 4)}, indent=1
    )


def _labelled_reports(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            titles, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Could not read the labelled reports {path}: {error}. Give a CSV with a row for each report."
        raise InputError(msg) from error
    missing = {"AccessionNo", "report_text", *CT_RATE_LABELS} - set(titles)
    if missing:
        msg = f"Expected AccessionNo, report_text and CT-RATE's 18 labels in {path}, missing: {sorted(missing)}."
        raise InputError(msg)
    return rows


def _reference(path: Path) -> dict[str, dict[str, str]]:
    try:
        studies = json.loads(path.read_text(encoding="utf-8"))
        return {name: {organ: str(texts[organ]) for organ in REFERENCE_ORGANS} for name, texts in studies.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"Expected JSON of study -> {', '.join(REFERENCE_ORGANS)} -> text in {path}, got {error!r}. "
            "Name another file, or leave the option out."
        )
        raise InputError(msg) from error
