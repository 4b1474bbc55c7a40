"""Slicer's ways to pip: which one is taken, and what is held at its version or left away."""

from __future__ import annotations

import sys
import types

import pytest
from fake_python import FakePackaging, make_fake_python


@pytest.fixture
def tools(slicerApp):
    from CTGLIPSlicer import pip_tools

    return pip_tools


@pytest.fixture
def python(slicerApp, tmp_path, monkeypatch):
    return make_fake_python(tmp_path / "site", monkeypatch)


@pytest.mark.parametrize("name", ["slicer.packaging", "slicer.pydeps"])
def test_slicers_own_packaging_is_taken_under_both_its_names(tools, python, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    fake = FakePackaging(python)
    monkeypatch.setitem(sys.modules, name, fake)
    found = tools.slicerPipTools()
    assert isinstance(found, tools.PackagingTools)
    found.install(["jaxtyping>=0.2.36"])
    assert fake.ensured == [{"requirements": ["jaxtyping>=0.2.36"], "prompts": False}]


def test_without_it_slicer_util_is_taken(tools, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setitem(sys.modules, "slicer.pydeps", types.ModuleType("slicer.pydeps"))
    assert isinstance(tools.slicerPipTools(), tools.UtilTools)


def test_the_constraints_hold_what_is_there_and_keep_vtk_away(tools, python):
    python.addMetadata("torch", "2.9.0+cu126")
    python.addMetadata("pydicom", "of-slicer")
    with tools.heldVersions() as path:
        lines = path.read_text().splitlines()
    assert lines == ["numpy==2.4.0", "SimpleITK==2.5.0", "torch==2.9.0+cu126", "vtk<0"]
    assert not path.exists()


def test_dependencies_leave_out_what_is_skipped_other_extras_and_other_systems(tools, python):
    needs = ("Pillow>4", "blosc[all]>=1.1", 'pytest; extra == "dev"', 'colorama; sys_platform == "nowhere"', "tqdm")
    python.add("TotalSegmentator", requires=needs)
    assert tools.dependenciesOf("TotalSegmentator>=2.4", ["pillow"]) == ["blosc[all]>=1.1", "tqdm"]


def test_skipping_installs_the_packages_alone_and_then_their_other_dependencies(tools, python):
    fake = FakePackaging(python)
    skipped = ("torch", "fury", "SimpleITK")
    tools.installSkipping(tools.PackagingTools(fake), ("TotalSegmentator>=2.4", "nnunetv2>=2.5"), skipped)
    assert fake.installed == [["TotalSegmentator>=2.4", "--no-deps"], ["nnunetv2>=2.5", "--no-deps"]]
    assert [call["requirements"] for call in fake.ensured] == [["blosc[all]>=1.11"]]
