"""Recorders in place of pop-ups, pip and sample data (harness/dialogs.py, packaging_fake.py, sample_data_fake.py)."""

from __future__ import annotations

import hashlib
import importlib
import logging
import subprocess

import pytest

CHECKSUM = f"SHA256:{hashlib.sha256(b'ct').hexdigest()}"


def test_a_pop_up_of_slicer_util_is_recorded_and_logged(scene, dialogs, caplog):
    import slicer

    with caplog.at_level(logging.INFO):
        slicer.util.errorDisplay("It failed.", windowTitle="CT-GLIP", detailedText="line 1")
    assert dialogs.texts == ["It failed."]
    assert dialogs.shown[0].options == {"windowTitle": "CT-GLIP", "detailedText": "line 1"}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    ("function", "answer"),
    [("confirmOkCancelDisplay", True), ("confirmYesNoDisplay", True), ("confirmRetryCloseDisplay", False)],
)
def test_a_question_is_answered_as_in_testing_mode_unless_a_test_says_otherwise(scene, dialogs, function, answer):
    import slicer

    dialogs.answer(function, not answer)
    ask = getattr(slicer.util, function)
    assert [ask("Sure?"), ask("Sure?")] == [not answer, answer]
    assert len(dialogs.of(function)) == 2


def test_an_error_in_a_try_with_error_display_is_shown_outside_of_testing_mode(scene, slicerApp, dialogs):
    import slicer

    slicerApp.setTesting(False)
    with pytest.raises(ZeroDivisionError), slicer.util.tryWithErrorDisplay("Scoring failed.", waitCursor=True):
        _ = 1 / 0
    assert dialogs.texts == ["Scoring failed.\n\ndivision by zero"]


def test_a_file_dialog_gives_one_text_as_pythonqt_does(scene, dialogs):
    import qt

    dialogs.answer("getSaveFileName", "/tmp/findings.csv")
    chosen = [qt.QFileDialog.getSaveFileName(None, "Export", "", "CSV (*.csv)") for _ in range(2)]
    assert chosen == ["/tmp/findings.csv", ""]


def test_no_dialog_blocks(scene, dialogs):
    import ctk
    import qt

    box = ctk.ctkMessageBox()
    box.text = "Install?"
    assert box.exec_() == qt.QDialog.Rejected
    dialogs.answer("question", qt.QMessageBox.No)
    assert qt.QMessageBox.question(None, "CT-GLIP", "Really?") == qt.QMessageBox.No
    assert dialogs.texts == ["Install?", "Really?"]


def test_pip_ensure_asks_then_installs_only_what_is_missing(scene, slicerApp, packaging, dialogs):
    import slicer

    slicerApp.setTesting(False)
    wanted = ["numpy>=1.20", "findingslib>=2"]
    slicer.packaging.pip_ensure(wanted, requester="CTGLIP")
    assert [call["requirements"] for call in packaging.installed] == [["findingslib>=2"]]
    assert dialogs.shown[0].options["detailedText"] == "findingslib>=2"
    slicer.packaging.pip_ensure(wanted, requester="CTGLIP")
    assert len(packaging.installed) == 1


def test_requirements_are_read_without_comments_and_options(scene, tmp_path):
    import slicer

    (tmp_path / "requirements.txt").write_text("# ours\n\nnumpy>=1.20\n--no-deps\nscipy ; python_version < '2'\n")
    requirements = slicer.packaging.load_requirements(tmp_path / "requirements.txt")
    assert [requirement.name for requirement in requirements] == ["numpy", "scipy"]
    assert slicer.packaging.pip_check(requirements)


def test_pip_ensure_installs_nothing_in_testing_mode(scene, packaging):
    import slicer

    slicer.packaging.pip_ensure("findingslib")
    slicer.packaging.pip_ensure("findingslib", skip_in_testing=False, prompt_install=False)
    assert ([call["missing"] for call in packaging.ensured], len(packaging.installed)) == ([["findingslib"]] * 2, 1)


def test_a_declined_installation_is_a_runtime_error(scene, slicerApp, packaging, dialogs):
    import slicer

    slicerApp.setTesting(False)
    dialogs.answer("confirmOkCancelDisplay", False)
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure("findingslib", requester="CTGLIP")
    assert packaging.installed == []


def test_a_failing_installation_raises_as_pip_does(scene, packaging):
    import slicer

    packaging.failWith()
    with pytest.raises(subprocess.CalledProcessError):
        slicer.packaging.pip_install("findingslib")
    assert not slicer.packaging.pip_check("findingslib")


def test_an_unknown_argument_of_pip_ensure_is_refused(scene):
    import slicer

    with pytest.raises(TypeError, match="unexpected keyword"):
        slicer.packaging.pip_ensure("findingslib", ask=True)


def test_slicer_5_10_has_no_packaging_but_pip_install(scene, slicerApp, packaging):
    import slicer
    from harness import application, packaging_fake

    packaging_fake.remove()
    with pytest.raises(ImportError):
        importlib.import_module("slicer.packaging")
    assert (hasattr(slicer, "packaging"), slicerApp.minorVersion) == (False, 10)
    slicer.util.pip_install("findingslib>=2 other")
    assert packaging.installed == [{"requirements": ["findingslib>=2", "other"]}]
    application.clear()
    assert (hasattr(slicer, "packaging"), slicerApp.minorVersion) == (True, 12)


def register(**changes):
    import SampleData

    arguments = {
        "category": "CT-GLIP",
        "sampleName": "CTGLIPChest",
        "uris": ["https://example.org/ct.nii.gz", "https://example.org/organs.seg.nrrd"],
        "fileNames": ["ct.nii.gz", "organs.seg.nrrd"],
        "nodeNames": ["Chest CT", "Organs"],
        "loadFileType": ["VolumeFile", "SegmentationFile"],
        "checksums": [CHECKSUM, CHECKSUM],
    }
    SampleData.SampleDataLogic.registerCustomSampleDataSource(**arguments | changes)


def test_sample_data_are_registered_once(scene):
    import slicer

    register()
    register()
    (source,) = slicer.modules.sampleDataSources["CT-GLIP"]
    assert (source.fileNames, source.checksums) == (["ct.nii.gz", "organs.seg.nrrd"], [CHECKSUM, CHECKSUM])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"filenames": ["ct.nii.gz"]}, TypeError, "unexpected keyword argument 'filenames'"),
        ({"nodeNames": ["Chest CT"]}, ValueError, "same length"),
        ({"checksums": ["abc", "def"]}, ValueError, "checksums like"),
        ({"loadFileType": ["VolumeFile", "SegmentFile"]}, ValueError, "unknown file types"),
        ({"thumbnailFileName": "/no/such.png"}, ValueError, "no thumbnail"),
    ],
)
def test_sample_data_that_slicer_would_not_take_are_refused(scene, change, error, message):
    with pytest.raises(error, match=message):
        register(**change)
