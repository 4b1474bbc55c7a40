"""What the module installs is what the library says it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11, Slicer has 3.12")
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
OF_SLICER = {"numpy", "scipy", "SimpleITK", "pillow"}


@pytest.fixture
def needed(slicerApp):
    from CTGLIPSlicer import needed_packages

    return needed_packages


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]


def test_the_versions_are_those_of_pyproject(needed, project):
    extras = project["optional-dependencies"]
    ours = {Requirement(text).name: Requirement(text) for texts in needed.requirements().values() for text in texts}
    theirs = {
        Requirement(text).name: Requirement(text)
        for text in [*project["dependencies"], *extras["text"], *extras["totalsegmentator"]]
    }
    theirs.pop("isal")  # only unpacks files faster, and Slicer hands over scans that it has read itself
    encoder = ours.pop(Requirement(needed.TEXT_ENCODER).name)
    assert ours == {name: text for name, text in theirs.items() if name not in OF_SLICER}
    assert f"{encoder}" in (PROJECT.parent / "README.md").read_text(encoding="utf-8")


def test_the_file_parses_as_slicer_parses_it_and_names_nothing_that_slicer_brings(needed):
    lines = needed.REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines()
    names = {Requirement(line.strip()).name for line in lines if line.strip() and line[0] not in "#-"}
    assert names == {"jaxtyping", "safetensors", "matplotlib", "transformers"}
    assert names.isdisjoint(OF_SLICER | {"torch", "TotalSegmentator"})


def test_pytorch_is_installed_before_what_needs_it(needed):
    assert list(needed.requirements()) == ["PyTorch", "Python packages", "Free text", "TotalSegmentator"]


def test_a_preview_version_fits(needed, monkeypatch):
    monkeypatch.setattr(needed, "versionOf", lambda name: "3.11.0.dev1")
    assert needed.lack("matplotlib>=3.8") == ""
    assert needed.lack("matplotlib>=3.12") == "matplotlib is 3.11.0.dev1, needed is >=3.12"
