"""Temporary folders: nothing of a killed Slicer stays behind, nothing of a running one goes."""

import os
import subprocess
import sys

import pytest

from CTGLIPSlicer import temporary_folders
from CTGLIPSlicer.temporary_folders import newFolder


@pytest.fixture
def deadPid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_bears_this_process_s_number(tmp_path):
    folder = newFolder(tmp_path)
    assert folder.is_dir()
    assert folder.name.startswith(f"ctglip-{os.getpid()}-")


def test_folders_of_processes_that_are_gone_are_removed_and_others_stay(tmp_path, deadPid):
    dead, alive = tmp_path / f"ctglip-{deadPid}-ab12", tmp_path / f"ctglip-{os.getppid()}-cd34"
    others = [tmp_path / name for name in ("ctglip-notes", "ctglip-12-a b", "other")]
    for folder in (dead, alive, *others):
        folder.mkdir()
        (folder / "ct.nii").write_text("voxels")
    mine = newFolder(tmp_path)
    newFolder(tmp_path)
    assert not dead.exists()
    assert all((folder / "ct.nii").exists() for folder in (alive, *others))
    assert mine.exists()


def test_where_processes_cannot_be_asked_for_only_old_folders_go(tmp_path, deadPid, monkeypatch):
    monkeypatch.setattr(temporary_folders.sys, "platform", "win32")
    young, old = tmp_path / f"ctglip-{deadPid}-young", tmp_path / f"ctglip-{deadPid}-old"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (1, 1))
    newFolder(tmp_path)
    assert young.exists()
    assert not old.exists()
