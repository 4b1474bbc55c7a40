"""The set-up section's lines: plain, cheap, and right about what is lost."""

from __future__ import annotations

import time

import pytest
import slicer
from fake_python import NEWEST, add_pytorch_extension, make_fake_python

DESCRIPTION = {
    "gpu": "NVIDIA RTX A2000",
    "memory_free_mb": 20480,
    "totalsegmentator_weights": False,
    "models": [{"name": "default", "licence": "Apache-2.0"}],
}


@pytest.fixture
def python(slicerApp, tmp_path, monkeypatch):
    monkeypatch.delattr(slicer.modules, "totalsegmentator", raising=False)
    return make_fake_python(tmp_path / "site", monkeypatch)


@pytest.fixture
def lines(slicerApp):
    from CTGLIPSlicer.install_status import statusLines

    return lambda description=None: {line.name: line for line in statusLines(description)}


def test_an_empty_slicer_lacks_what_asking_needs_and_loses_the_rest(python, lines):
    assert {name: line.state for name, line in lines().items()} == {
        "PyTorch": "missing",
        "Python packages": "missing",
        "Model": "ok",
        "TotalSegmentator": "warning",
        "Free text": "warning",
        "Computer": "ok",
    }


def test_without_the_pytorch_extension_the_line_says_to_install_it(python, lines, monkeypatch):
    assert "install that from the Extensions Manager" in lines()["PyTorch"].text
    add_pytorch_extension(python, monkeypatch)
    assert lines()["PyTorch"].text == "torch is not installed. Install puts it in through the PyTorch extension."


def test_a_full_slicer_has_nothing_but_ok(python, lines):
    for name in NEWEST:
        python.add(name)
    assert {line.state for line in lines(DESCRIPTION).values()} == {"ok"}
    assert lines()["PyTorch"].text == "2.9.0+cpu is installed."


def test_the_childs_description_names_card_memory_and_models(python, lines):
    found = lines(DESCRIPTION)
    assert found["Computer"].text == "NVIDIA RTX A2000; 20.0 GB of memory are free."
    assert found["Model"].text == "default (Apache-2.0). Research software, not a medical device."


def test_weights_still_to_be_downloaded_are_announced(python, lines):
    python.add("TotalSegmentator")
    python.add("nnunetv2")
    assert lines(DESCRIPTION)["TotalSegmentator"].text == (
        "2.11.0 is installed; it downloads its weights when it first runs."
    )


def test_little_memory_is_a_warning_that_says_what_to_do(python, lines):
    line = lines({**DESCRIPTION, "gpu": None, "memory_free_mb": 2048})["Computer"]
    assert line.state == "warning"
    assert line.text.startswith("no graphics card that PyTorch can use")
    assert line.text.endswith("close other programs, or crop the volume.")


def test_an_old_torch_is_missing_with_both_versions(python, lines):
    python.add("torch", "2.1.0")
    assert lines()["PyTorch"].state == "missing"
    assert lines()["PyTorch"].text.startswith("torch is 2.1.0, needed is >=2.6")


def test_the_lines_cost_less_than_a_fifth_of_a_second(lines):
    start = time.perf_counter()
    assert len(lines()) == 6
    assert time.perf_counter() - start < 0.2
