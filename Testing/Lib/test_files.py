"""A file appears whole or not at all, and the old one stays when writing fails."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from CTGLIPLib.errors import Cancelled, InputError, OutputError
from CTGLIPLib.files import shown_name, whole_file, whole_files, write_whole_text
from CTGLIPLib.text_bank import cache_root


def stop_halfway(path: Path, error: BaseException) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise error


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "findings.json"
    with whole_file(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "done"
    assert names_in(path.parent) == ["findings.json"]


@pytest.mark.parametrize("error", [ValueError("broken"), Cancelled("stop"), KeyboardInterrupt(), SystemExit(1)])
def test_whatever_stops_the_writing_the_old_file_stays_and_no_half_file_is_left(tmp_path, error):
    path = tmp_path / "study.npz"
    path.write_text("old")
    with pytest.raises(type(error)):
        stop_halfway(path, error)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["study.npz"]


def test_a_full_disk_is_told_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "map.nii.gz"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"Could not write .*map.nii.gz: No space left on device. Free space"):
        stop_halfway(path, OSError(errno.ENOSPC, "No space left on device"))
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["map.nii.gz"]


@pytest.mark.parametrize(
    ("name", "ending"), [("a.nii.gz", ".nii.gz"), ("b.json", ".json"), ("c.1.2.png", ".png"), ("plain", "")]
)
def test_the_temporary_name_has_the_same_ending(tmp_path, name, ending):
    with whole_file(tmp_path / name) as temporary:
        assert temporary.name.endswith(ending)
        assert temporary.name.startswith(".")
        temporary.write_text("x")
    assert names_in(tmp_path) == [name]


def test_a_folder_that_is_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "blocked").write_text("I am a file")
    with pytest.raises(OutputError, match="Could not write"), whole_file(tmp_path / "blocked" / "x.json") as temporary:
        temporary.write_text("never")
    assert names_in(tmp_path) == ["blocked"]


def test_a_path_that_is_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(OutputError, match="Could not write"), whole_file(tmp_path / "out.json") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "out.json").is_dir()
    assert names_in(tmp_path) == ["out.json"]


def test_the_file_can_be_read_by_others(tmp_path):
    with whole_file(tmp_path / "x.csv") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "x.csv").stat().st_mode & 0o777 == 0o644


def test_text_with_bytes_of_file_names_that_are_no_utf8_is_written(tmp_path):
    write_whole_text(tmp_path / "a.json", '"caf\u00e9 \udcff"\n')
    assert (tmp_path / "a.json").read_bytes() == b'"caf\xc3\xa9 \\udcff"\n'


def test_shown_names_can_be_written_anywhere():
    assert shown_name("caf\u00e9\\b\udcff") == "caf\u00e9_b_udcff"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def none() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.delenv("CTGLIP_CACHE", raising=False)
    with pytest.raises(InputError, match=r"home folder, but this user has none. Set CTGLIP_CACHE to a folder"):
        cache_root()
    monkeypatch.setenv("CTGLIP_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere")


def test_several_files_appear_together_or_not_at_all(tmp_path):
    with whole_files(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        (folder / "b").write_text("2")
        assert not (tmp_path / "out" / "a").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]

    def fail() -> None:
        with whole_files(tmp_path / "out") as folder:
            (folder / "a").write_text("3")
            raise Cancelled

    with pytest.raises(Cancelled):
        fail()
    assert (tmp_path / "out" / "a").read_text() == "1"
    with pytest.raises(OutputError, match="Could not write"), whole_files(tmp_path / "out" / "a"):
        pass
