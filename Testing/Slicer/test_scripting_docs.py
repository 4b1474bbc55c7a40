"""The recipes of docs/slicer_scripting.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer")

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "slicer_scripting.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def names(patientScene, tmp_path, monkeypatch, capsys):
    """What a recipe finds in Slicer's console, with the shipped model on a small patient."""
    pytest.importorskip("torch")
    from harness.module_loader import loadModule, unloadModule

    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path / "cache"))
    loadModule(REPOSITORY / "CTGLIP" / "CTGLIP.py")
    patientScene.volume.SetName("CT")
    patientScene.segmentation.SetName("organs")
    yield {"slicer": slicer, "folder": str(tmp_path)}
    unloadModule("CTGLIP")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_python(recipe):
    assert compile(recipe, "recipe", "exec") is not None


def test_the_first_recipes_run_one_after_another(names, capsys, tmp_path):
    from CTGLIPSlicer.display import isRecoloured

    for recipe in RECIPES[:3]:
        exec(recipe, names)  # noqa: S102 - that is the test
    told = capsys.readouterr().out
    assert "left kidney found ('left kidney'" in told
    assert not isRecoloured(names["organs"])
    assert [answer.text for answer in names["history"].queries] == ["fatty liver", "left kidney"]
    assert {path.name for path in tmp_path.glob("*.*")} == {"findings.csv", "findings.json", "report.html"}
    assert names["heat"].GetImageData().GetDimensions() == names["ct"].GetImageData().GetDimensions()


def test_the_batch_recipe_uses_options_that_there_are():
    from CTGLIPSlicer.script_options import ScriptOptions

    given = set(re.findall(r"\b(\w+)=", "".join(re.findall(r"logic\.\w+\(.*\)", "".join(RECIPES)))))
    assert given <= set(ScriptOptions.__dataclass_fields__)
