"""Published figures: they agree with themselves, but for the slips that are named."""

from __future__ import annotations

import numpy as np
import pytest

from ctglip_training.evaluation.protocols import MERLIN_FINDINGS, PROTOCOLS, RADAR_21
from ctglip_training.evaluation.published import CANCERS, PUBLISHED, SLIPS, published_beside


def test_every_figure_is_a_percentage_with_a_source_and_a_protocol():
    assert all(0 <= figure.percent <= 100 and figure.source and figure.protocol for figure in PUBLISHED)
    assert {figure.dataset for figure in PUBLISHED} == {
        "ct-rate", "rad-chestct", "merlin", "ct-glip", "ct-glip-fine-tuning",
    }  # fmt: skip


def test_the_subsets_are_those_of_the_protocols():
    for figure in PUBLISHED:
        assert not figure.subset or figure.subset in PROTOCOLS[figure.dataset].subsets


def test_radars_mean_is_the_mean_of_its_findings():
    own = published_beside("merlin", "auc", None)
    single = {figure.finding: figure.percent for figure in own if figure.finding}
    [mean] = [figure for figure in published_beside("merlin", "auc") if figure.system == "RADAR"]
    assert set(single) == set(PROTOCOLS["merlin"].subsets[RADAR_21]) < set(MERLIN_FINDINGS)
    assert np.mean(list(single.values())) == pytest.approx(mean.percent, abs=0.1)


def test_f1_agrees_with_ppv_and_sensitivity_but_for_the_named_slip():
    rows: dict[str, dict[str, float]] = {}
    for figure in published_beside("ct-glip"):
        rows.setdefault(figure.system, {})[figure.metric] = figure.percent
    off = [
        system
        for system, row in rows.items()
        if abs(2 * row["ppv"] * row["sensitivity"] / (row["ppv"] + row["sensitivity"]) - row["f1"]) > 0.06
    ]
    assert len(rows) == 8
    assert off == ["nnUNet +ACL +DCL +A-Dict"]
    assert any(off[0] in slip for slip in SLIPS)


@pytest.mark.parametrize("metric", ["dsc", "auc"])
def test_the_means_of_table_2_are_the_means_of_their_rows(metric):
    rows: dict[str, list[float]] = {}
    for figure in published_beside("ct-glip-fine-tuning", metric, None):
        rows.setdefault(figure.system, []).append(figure.percent)
    assert {len(row) for row in rows.values()} == {len(CANCERS)}
    for *single, mean in rows.values():
        assert np.mean(single) == pytest.approx(mean, abs=0.011)


def test_figures_are_found_by_data_set_metric_and_finding():
    assert {figure.metric for figure in published_beside("ct-rate", "crg")} == {"crg"}
    assert [f.system for f in published_beside("ct-rate", "auc", "Cardiomegaly")] == ["fVLM"]
    assert published_beside("plain") == []
