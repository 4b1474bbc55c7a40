"""Pictures of scores: ROC curves, reliability, AUC of each finding with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctglip_training.evaluation.calibration import BINS, expected_calibration_error, reliability_bins
from ctglip_training.evaluation.paired import PairedCases
from ctglip_training.evaluation.scoring import FindingFigures, Scores
from ctglip_training.evaluation.thresholds import roc_points

OURS, CHANCE = "#1f5fa8", "#8a8a8a"
COLUMNS = 6
PANEL_INCHES = 2.1
TITLE_LETTERS = 36


def roc_figure(cases: PairedCases, scores: Scores) -> Figure:
    """A panel for each finding: its ROC curve and AUC."""
    figure, panels = _grid(len(cases.findings), "False positive rate", "True positive rate")
    for place, (panel, finding) in enumerate(zip(panels, scores.findings, strict=True)):
        known = cases.known[:, place]
        _, tpr, fpr = roc_points(cases.scores[known, place], cases.truth[known, place])
        panel.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle="--")
        if len(tpr):
            panel.plot(np.concatenate([[0], fpr]), np.concatenate([[0], tpr]), color=OURS, linewidth=1.4)
            words = f"AUC {finding.figures['auc'].value:.3f}"
        else:
            words = "one class only"
        panel.text(0.97, 0.05, words, ha="right", va="bottom", fontsize=8)
        _title(panel, finding)
    return figure


def reliability_figure(cases: PairedCases, scores: Scores) -> Figure:
    """Share of positives against the score, a dot's area growing with its cases: all findings, then each alone."""
    sure = cases.scores if cases.probabilities is None else cases.probabilities
    figure, panels = _grid(len(cases.findings) + 1, "Score", "Share that has the finding")
    error = scores.averages["micro"]["ece"]
    _reliability(panels[0], sure[cases.known], cases.truth[cases.known], error.value)
    panels[0].set_title("all findings together", fontsize=7, fontweight="bold")
    for place, (panel, finding) in enumerate(zip(panels[1:], scores.findings, strict=True)):
        known = cases.known[:, place]
        _reliability(panel, sure[known, place], cases.truth[known, place], finding.figures["ece"].value)
        _title(panel, finding)
    return figure


def _reliability(panel: Axes, sure: np.ndarray, truth: np.ndarray, error: float) -> None:
    panel.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle="--")
    if len(sure):
        bins = reliability_bins(sure, truth, BINS)
        area = 4 + 60 * bins.cases / max(1, bins.cases.max())
        panel.plot(bins.mean_score, bins.share_positive, color=OURS, linewidth=0.8, alpha=0.6)
        panel.scatter(bins.mean_score, bins.share_positive, s=area, color=OURS, linewidths=0)
        panel.text(0.03, 0.95, f"ECE {error:.3f}", ha="left", va="top", fontsize=8)


def auc_figure(scores: Scores) -> Figure:
    """A bar for each finding, the best on top: its AUC with the interval, and the mean of all."""
    measured = [f for f in scores.findings if not math.isnan(f.figures["auc"].value)]
    ordered = sorted(measured, key=lambda finding: finding.figures["auc"].value)
    figure = Figure(figsize=(8, 1.4 + 0.28 * len(ordered)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(ordered))
    auc = [finding.figures["auc"] for finding in ordered]
    values = np.array([e.value for e in auc])
    axes.barh(places, values, color=OURS, alpha=0.75, height=0.7)
    low, high = (np.array([getattr(e, end) for e in auc]) for end in ("low", "high"))
    spread = np.nan_to_num([np.maximum(values - low, 0), np.maximum(high - values, 0)])
    axes.errorbar(values, places, xerr=spread, fmt="none", ecolor="#111111", elinewidth=1, capsize=2)
    axes.set_yticks(places, [f"{_short(f.name)} ({f.positives}/{f.positives + f.negatives})" for f in ordered])
    axes.tick_params(labelsize=8)
    axes.axvline(0.5, color=CHANCE, linewidth=0.8, linestyle="--")
    mean = scores.averages["macro"]["auc"]
    axes.axvline(mean.value, color="#111111", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlabel("AUC, with its 95 % interval over patients")
    axes.set_title(f"Mean AUC {mean}; findings (present/asked)", fontsize=9)
    return figure


def calibration_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Share of positives against the score, a panel for each set of cases.

    Args:
        curves: scores and truths of each set, by its title; shapes (case,).
    """
    figure, panels = _grid(len(curves), "Score", "Share that has the finding")
    for panel, (title, (sure, truth)) in zip(panels, curves.items(), strict=True):
        _reliability(panel, sure, truth, expected_calibration_error(sure, truth))
        panel.set_title(title, fontsize=7)
    return figure


def confusion_figure(names: Sequence[str], given: Sequence[str], shares: np.ndarray) -> Figure:
    """Which name each organ was given.

    Args:
        names: the organs, a row each.
        given: names that were given, a column each.
        shares: of each organ's cases that got each name, shape (organ, given).
    """
    size = (2.6 + 0.15 * len(given), 2.2 + 0.15 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(given)), [_short(name) for name in given], rotation=90)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.tick_params(labelsize=6, length=1)
    axes.set_xlabel("name that came first", fontsize=8)
    axes.set_ylabel("organ", fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the organ's cases", shrink=0.6)
    return figure


def _grid(count: int, xlabel: str, ylabel: str) -> tuple[Figure, Sequence[Axes]]:
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    size = (max(4.0, PANEL_INCHES * columns + 0.6), PANEL_INCHES * rows + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    panels = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for place, panel in enumerate(panels):
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        panel.tick_params(labelsize=7, labelleft=place % columns == 0, labelbottom=place + columns >= count, length=2)
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    return figure, panels


def _title(panel: Axes, finding: FindingFigures) -> None:
    panel.set_title(_short(finding.name), fontsize=7)


def _short(name: str) -> str:
    return shorten(name.replace("_", " "), TITLE_LETTERS, placeholder="...")
