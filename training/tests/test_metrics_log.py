"""The record of a run: later lines dropped on resume, and a plain message where TensorBoard is missing."""

from __future__ import annotations

import json
import sys

import pytest

from ctglip_training.metrics_log import MetricsLog
from CTGLIPLib.errors import DependencyError


def test_lines_after_the_resumed_step_do_not_stay(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.add(step, {"loss": step / 2})
    with MetricsLog(tmp_path, 1) as log:
        log.add(2, {"loss": 9.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 9.0}]


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DependencyError, match=r"ctglip\[training\]"):
        MetricsLog(tmp_path, 0)
